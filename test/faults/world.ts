/** Nodes, Redis and clients, and what is done to them; all of it is written down. */
import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { until } from "../redis/redis-server.ts";
import { GROUPS, kindOf } from "./groups.ts";
import { Guest } from "./guest.ts";
import { NodeRefusal } from "./node.ts";
import { NodeSlot } from "./node-slot.ts";
import type { PlanSettings, Step } from "./plan.ts";
import type { LossNote, Place, Publish, Records } from "./records.ts";
import { RedisPlace } from "./redis-place.ts";
import { callTheRoll } from "./roll-call.ts";

export interface WorldSettings extends PlanSettings {
  /** False: clients come back without their positions. For trying whether that is noticed. */
  readonly recovers: boolean;
}

/** How long all may take to be well again when nothing is broken any more. */
const CALM_MS = 40_000;
/** Runs of at least this length wait until nodes end by themselves, and until Redis has forgotten what it should. */
const PATIENT_MS = 15_000;
const SAY_AGAIN_MS = 3_000;
/** The promise; a short run may be one on a machine that has much else to do. */
const STALE_MS = 5_000;
const GROUPS_AT_FIRST = 4;
const TRANSPORTS = [["websocket"], ["websocket"], ["polling"], ["polling", "websocket"]] as const;

export class World {
  readonly #settings: WorldSettings;
  readonly #redis: RedisPlace;
  readonly #slots: NodeSlot[] = [];
  readonly #guests: Guest[] = [];
  readonly #publishes: Publish[] = [];
  readonly #losses: LossNote[] = [];
  readonly #killed: { at: number; node: string }[] = [];
  readonly #amnesias: number[] = [];
  /** What nodes could not explain. */
  readonly bugs: string[] = [];
  readonly done = new Map<string, number>();
  recoveredMessages = 0;
  /** How long it took until all lists were right, in milliseconds. */
  presence: Readonly<Record<string, number>> = {};
  #turn = 0;
  /** What is done to Redis. */
  #breaking: Promise<void> = Promise.resolve();
  #underWay = new Set<Promise<unknown>>();
  #endedAt = 0;

  private constructor(settings: WorldSettings, redis: RedisPlace) {
    this.#settings = settings;
    this.#redis = redis;
  }

  static async create(settings: WorldSettings): Promise<World> {
    const redis = await RedisPlace.start(settings.topology);
    const world = new World(settings, redis);
    await world.#populate();
    return world;
  }

  get records(): Records {
    return {
      clients: this.#guests,
      publishes: this.#publishes,
      losses: this.#losses,
      killed: this.#killed,
      amnesias: this.#amnesias,
      policies: new Map(GROUPS.map((group) => [group, kindOf(group)])),
      endedAt: this.#endedAt,
    };
  }

  async play(plan: readonly Step[]): Promise<void> {
    const begun = performance.now();
    for (const step of plan) {
      await sleep(Math.max(0, begun + step.atMs - performance.now()));
      this.#track(this.#do(step));
    }
    // What was broken for a time is whole again.
    await Promise.all(this.#underWay);
  }

  /**
   * Heals everything and waits until all clients are where they want to be and know the last message.
   *
   * @returns what did not come true
   */
  async calm(): Promise<readonly string[]> {
    await this.#redis.heal();
    for (const slot of this.#slots) slot.heal();
    for (const guest of this.#guests) {
      guest.way.restore();
      guest.way.delayMs = () => 0;
    }
    const gathered = await isSoon(() => this.#guests.every(({ isIn }) => isIn));
    const faults: string[] = [];
    if (!gathered) {
      const missing = this.#guests.filter(({ isIn }) => !isIn).map(({ name }) => name);
      faults.push(`${missing.join(", ")} did not come back into their groups within ${CALM_MS} ms`);
    }
    const heard = await Promise.all([...new Set(GROUPS)].map((group) => this.#lastWord(group)));
    faults.push(...heard.flat());
    this.#endedAt = performance.now();
    if (!gathered) return faults;
    return [...faults, ...(await this.#callTheRoll())];
  }

  async #callTheRoll(): Promise<readonly string[]> {
    const { faults, figures } = await callTheRoll({
      guests: this.#guests,
      slots: this.#slots,
      redis: this.#redis,
      mostMs: CALM_MS,
      mostStaleMs: this.#isPatient ? STALE_MS : CALM_MS,
    });
    this.presence = figures;
    await Promise.all(this.#slots.filter(({ node }) => node === undefined).map((slot) => slot.start()));
    return faults;
  }

  get #isPatient(): boolean {
    return this.#settings.durationMs >= PATIENT_MS;
  }

  /** Everybody goes. @returns what is left behind */
  async empty(): Promise<readonly string[]> {
    const faults: string[] = [];
    await Promise.all(this.#guests.map((guest) => guest.leaveForGood()));
    for (const [i, { node }] of this.#slots.entries()) {
      if (node === undefined) {
        faults.push(`no node lives in place ${i}`);
        continue;
      }
      let left = "";
      const isEmpty = await isSoon(async () => {
        const sizes = (await node.call("sizes")) as Record<string, number>;
        left = JSON.stringify(sizes);
        return Object.values(sizes).every((size) => size === 0);
      });
      if (!isEmpty) faults.push(`node ${i} keeps ${left} when nobody is there`);
      // A short run has no time for what Engine.IO waits for.
      if (!this.#isPatient) continue;
      const isFree = await isSoon(async () => {
        const handles = (await node.call("handles")) as Record<string, number>;
        const more = Object.entries(handles).filter(
          ([kind, count]) => count > (node.handlesAtStart[kind] ?? 0) + SOME_MORE,
        );
        left = JSON.stringify(more);
        return more.length === 0;
      });
      if (!isFree) faults.push(`node ${i} holds more than when it began: ${left}`);
    }
    faults.push(...(await this.#end()));
    // Redis does not know yet that who was silenced is gone.
    for (const { way } of this.#slots) way.reset();
    return [...faults, ...(await this.#leftInRedis())];
  }

  async close(): Promise<void> {
    await Promise.all(this.#guests.map((guest) => guest.leaveForGood().catch(() => {})));
    await Promise.all(this.#slots.map((slot) => slot.close()));
    await this.#redis.close();
  }

  async #populate(): Promise<void> {
    const { nodes, clients } = this.#settings;
    const secret = randomBytes(36).toString("base64");
    const ear = {
      fact: (node: string, { fact, group, what, messages }: { [field: string]: unknown }) =>
        this.#fact(node, String(fact), group, what, messages),
    };
    this.#slots.push(
      ...(await Promise.all(Array.from({ length: nodes }, () => NodeSlot.open(this.#redis, secret, ear)))),
    );
    for (let i = 0; i < clients; i++) {
      const groups = Array.from(
        { length: GROUPS_AT_FIRST },
        (_, k) => GROUPS[(i * 3 + k * 2) % GROUPS.length],
      );
      const guest = await Guest.invite({
        name: `client ${i}`,
        user: userOf(i, clients),
        transports: TRANSPORTS[i % TRANSPORTS.length] ?? ["websocket"],
        groups: [...new Set(groups as string[])],
        recovers: this.#settings.recovers,
        nextPort: () => this.#nextPort(),
      });
      this.#guests.push(guest);
      guest.come();
    }
    await until(() => this.#guests.every(({ isIn }) => isIn));
  }

  #fact(node: string, fact: string, group: unknown, what: unknown, messages: unknown): void {
    const at = performance.now();
    if (fact === "failed") this.bugs.push(`on ${node}: ${String(what)}`);
    else if (fact === "recovered") this.recoveredMessages += Number(messages);
    else if (fact === "dropped" || fact === "lost") {
      this.#losses.push({ at, node, fact, ...(typeof group === "string" ? { group } : {}) });
    }
  }

  /** As a balancer does it: in turn, and past those that do not live. */
  #nextPort(): number {
    for (let n = 0; n < this.#slots.length; n++) {
      const slot = this.#slots[this.#turn++ % this.#slots.length];
      if (slot?.node !== undefined) return slot.port;
    }
    return this.#slots[0]?.port ?? 0;
  }

  #track(task: Promise<void>): void {
    const tracked: Promise<void> = task
      .catch((error: Error) => void this.bugs.push(`the checker itself: ${error.stack}`))
      .finally(() => this.#underWay.delete(tracked));
    this.#underWay.add(tracked);
  }

  async #do(step: Step): Promise<void> {
    this.done.set(step.kind, (this.done.get(step.kind) ?? 0) + 1);
    switch (step.kind) {
      case "say":
        return this.#say(step);
      case "join":
        return this.#guests[step.client]?.join(step.group);
      case "leave":
        return this.#guests[step.client]?.leave(step.group);
      case "cut":
      case "silence":
      case "slow":
      case "go away":
        return this.#breakClient(step);
      case "kill node":
      case "stop node":
      case "freeze node":
      case "cut node off":
      case "silence node":
      case "slow node":
        return this.#breakNode(step);
      default:
        return this.#breakRedis(step);
    }
  }

  async #breakClient(step: Step & { kind: "cut" | "silence" | "slow" | "go away" }): Promise<void> {
    const guest = this.#guests[step.client];
    if (guest === undefined) return;
    const { way } = guest;
    if (step.kind === "cut") way.block();
    else if (step.kind === "silence") way.silence();
    else if (step.kind === "slow") way.delayMs = () => step.delayMs;
    else guest.goAway();
    await sleep(step.forMs);
    way.restore();
    way.delayMs = () => 0;
    if (step.kind === "go away") guest.come();
  }

  async #breakNode(step: Step & { node: number; forMs: number }): Promise<void> {
    const slot = this.#slots[step.node];
    if (slot === undefined) return;
    const { way } = slot;
    switch (step.kind) {
      case "freeze node":
        return slot.freeze(step.forMs);
      case "kill node":
      case "stop node": {
        const name = step.kind === "kill node" ? await slot.kill() : await slot.stop();
        if (name !== undefined) this.#killed.push({ at: performance.now(), node: name });
        await sleep(step.forMs);
        return slot.start();
      }
      case "cut node off":
        way.block();
        break;
      case "silence node":
        way.silence();
        break;
      case "slow node":
        way.delayMs = () => step.delayMs;
    }
    await sleep(step.forMs);
    way.restore();
    way.delayMs = () => 0;
  }

  /** One after the other: on a busy machine it may take Redis longer to begin than the plan thinks. */
  #breakRedis(step: Step & { forMs: number }): Promise<void> {
    const broken = this.#breaking.then(() => this.#breakRedisNow(step));
    this.#breaking = broken.catch(() => {});
    return broken;
  }

  async #breakRedisNow({ kind, forMs }: Step & { forMs: number }): Promise<void> {
    const redis = this.#redis;
    const forgets = () => void this.#amnesias.push(performance.now());
    switch (kind) {
      case "kill redis":
        return redis.kill(forMs);
      case "freeze redis":
        // Meanwhile a sentinel makes another one master.
        if (redis.topology === "sentinel") forgets();
        await redis.freeze(forMs);
        if (redis.topology === "sentinel") forgets();
        return;
      case "empty redis":
        // It may be away just now: then nothing is lost.
        await redis.empty().catch(() => {});
        return forgets();
      case "restart redis empty":
        await redis.restartEmpty(forMs);
        return forgets();
      case "fail over":
        forgets();
        await redis.failOver(forMs);
        return forgets();
    }
  }

  async #say({ client, node, group, verb, exceptSelf, count }: Step & { kind: "say" }): Promise<void> {
    const order = { group, verb, exceptSelf: exceptSelf && verb === "emit" };
    const all = Array.from({ length: count }, () =>
      client === undefined ? this.#nodeSays(node ?? 0, order) : this.#guestSays(client, order),
    );
    await Promise.all(all);
  }

  async #guestSays(index: number, order: Order): Promise<void> {
    const guest = this.#guests[index];
    if (guest === undefined || !guest.isConnected) return;
    const except = order.exceptSelf ? { except: guest.name } : {};
    const publish = this.#publish({ ...order, ...guest.sender, ...except });
    try {
      const refusal = await guest.say({ ...order, number: publish.number });
      // `layer_unavailable`: the append may have happened all the same.
      end(publish, refusal === undefined ? "acknowledged" : outcomeOf(refusal));
    } catch {
      end(publish, "unknown");
    }
  }

  async #nodeSays(index: number, { group, verb }: Order): Promise<Publish | undefined> {
    const node = this.#slots[index]?.node;
    if (node === undefined) return undefined;
    const publish = this.#publish({ group, verb, node: node.name, sender: node.name });
    try {
      await node.call("say", { group, verb, number: publish.number });
      end(publish, "acknowledged");
    } catch (error) {
      const code = error instanceof NodeRefusal ? error.code : "gone";
      if (code === "bug") this.bugs.push(`on ${node.name}: ${(error as Error).message}`);
      end(publish, outcomeOf(code));
    }
    return publish;
  }

  #publish(given: Pick<Publish, "group" | "verb" | "node" | "sender" | "except">): Publish {
    const { group, verb, node, sender, except } = given;
    const publish: Publish = {
      ...{ number: this.#publishes.length, group, verb, node, sender },
      ...(except === undefined ? {} : { except }),
      startedAt: performance.now(),
      endedAt: Infinity,
      outcome: "pending",
    };
    this.#publishes.push(publish);
    return publish;
  }

  /** Said when all is well; whoever is in the group must get it, and with it all before. */
  async #lastWord(group: string): Promise<readonly string[]> {
    let deaf: readonly Guest[] = this.#guests;
    let number = -1;
    const isHeard = await isSoon(async () => {
      const last = await this.#nodeSays(this.#publishes.length % this.#slots.length, { group, verb: "emit" });
      if (last?.outcome !== "acknowledged") return false;
      number = last.number;
      const isKnown = () => {
        const place = this.#placeOf(last);
        deaf = this.#guests.filter((guest) => guest.wanted.has(group) && !guest.knowsOf(last, place));
        return deaf.length === 0;
      };
      // What is lost without history, as by a node whose way has just been mended, is said again.
      return until(isKnown, kindOf(group).history ? CALM_MS : SAY_AGAIN_MS).then(
        () => true,
        () => kindOf(group).history,
      );
    });
    if (number === -1) return [`nothing can be said to ${group} when all is well`];
    if (isHeard && deaf.length === 0) return [];
    return [`${deaf.map(({ name }) => name)} did not hear the last word in ${group} (${number})`];
  }

  /** Where it stands, if anybody has seen it. */
  #placeOf({ number, startedAt }: Publish): Place | undefined {
    for (const guest of this.#guests) {
      for (const entry of guest.since(startedAt)) {
        if (entry.kind === "event" && entry.publish === number && entry.place !== undefined)
          return entry.place;
      }
    }
    return undefined;
  }

  async #end(): Promise<readonly string[]> {
    if (!this.#isPatient) {
      await Promise.all(this.#slots.map((slot) => slot.stop()));
      return [];
    }
    const ends = await Promise.all(this.#slots.map((slot) => slot.end()));
    return ends
      .filter((end) => end !== 0)
      .map((end) => `a node that was stopped ended with ${end ?? "nothing, and went on"}`);
  }

  async #leftInRedis(): Promise<readonly string[]> {
    const faults: string[] = [];
    const wanted = new Set(GROUPS.filter((group) => kindOf(group).history));
    let left: readonly string[] = [];
    const isTidy = await isSoon(async () => {
      const keys = await this.#redis.keys();
      left = [...keys]
        .filter(([name, ttlMs]) => !isExpected(name, ttlMs, wanted, this.#isPatient))
        .map(([name]) => name);
      return left.length === 0;
    });
    if (!isTidy) faults.push(`Redis keeps ${left.join(", ")}`);
    const isQuiet = await isSoon(async () => {
      left = await this.#redis.topics();
      return left.length === 0;
    });
    if (!isQuiet) faults.push(`Redis still has subscriptions: ${left.join(", ")}`);
    return faults;
  }
}

interface Order {
  readonly group: string;
  readonly verb: "emit" | "send";
  readonly exceptSelf?: boolean;
}

/** Timers of requests that have just ended, and the like. */
const SOME_MORE = 2;

/** Some have several connections, some are nobody. */
function userOf(index: number, clients: number): string | undefined {
  return index % 8 === 7 ? undefined : `user ${index % Math.ceil(clients * 0.6)}`;
}

function end(publish: Publish, outcome: Publish["outcome"]): void {
  Object.assign(publish, { outcome, endedAt: performance.now() });
}

function outcomeOf(code: string): Publish["outcome"] {
  return code === "layer_unavailable" || code === "gone" || code === "internal_error" ? "unknown" : "refused";
}

/**
 * A group's log and meta may stay, for a time; of groups whose time is over, nothing. And the name of a node
 * that was killed so shortly before the last has stopped that its lease still ran.
 */
function isExpected(name: string, ttlMs: number, groups: ReadonlySet<string>, isPatient: boolean): boolean {
  if (name.startsWith("faults:{sluice.nodes}:")) return ttlMs > 0;
  if (/^faults:\{sluice\.logs\}:(appended|until)$/.test(name)) return ttlMs > 0;
  const [, group = "", key] = /^faults:\{(.+)\}:(log|meta|presence)$/.exec(name) ?? [];
  const isOver = kindOf(group).isBrief && (key !== "meta" || isPatient);
  return groups.has(group) && !isOver && ttlMs > 0;
}

async function isSoon(holds: () => boolean | Promise<boolean>): Promise<boolean> {
  return until(holds, CALM_MS).then(
    () => true,
    () => false,
  );
}
