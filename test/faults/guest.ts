import { setTimeout as sleep } from "node:timers/promises";
import { io, type Socket } from "socket.io-client";
import { CuttableWay } from "../redis/cut-off.ts";
import { type Heard, PositionCarrier } from "./carrier.ts";
import { kindOf } from "./groups.ts";
import type { SayOrder } from "./node-program.ts";
import type { ClientRecord, Entry, Place, Publish } from "./records.ts";

export interface GuestSettings {
  readonly name: string;
  /** Undefined: it is nobody. */
  readonly user: string | undefined;
  readonly transports: readonly ("polling" | "websocket")[];
  readonly groups: readonly string[];
  /** False: comes back without its positions, as a client would that cannot recover. */
  readonly recovers: boolean;
  /** The port of the node that a balancer would give it now. */
  nextPort(): number;
}

const ANSWER_MS = 8_000;
const COME_BACK_MS = 200;
const ASK_AGAIN_MS = 300;
const GOODBYE_MS = 300;

/** A stock client on a way of its own that writes down all it sees. */
export class Guest implements ClientRecord {
  readonly name: string;
  readonly user: string | undefined;
  readonly entries: Entry[] = [];
  readonly way: CuttableWay;
  readonly #settings: GuestSettings;
  readonly #socket: Socket;
  readonly #carrier = new PositionCarrier();
  /** What it means to be in. */
  readonly #wanted: Set<string>;
  /** What its consumer has said it is in, on this connection. */
  readonly #entered = new Set<string>();
  /** Who is there, by the list and what was told since; on this connection. */
  readonly #present = new Map<string, Set<string>>();
  /** How often it was told that somebody came or left. */
  tidings = 0;
  /** One question about membership at a time. */
  #asking: Promise<void> = Promise.resolve();
  #greeted: readonly string[] = [];
  #node = "";
  #connection = 0;
  #isAway = false;
  #isGone = false;
  #target: { port: number };
  #comeBack: NodeJS.Timeout | undefined;

  private constructor(settings: GuestSettings, way: CuttableWay, target: { port: number }) {
    this.name = settings.name;
    this.user = settings.user;
    this.way = way;
    this.#settings = settings;
    this.#target = target;
    this.#wanted = new Set(settings.groups);
    this.#socket = io(`http://127.0.0.1:${way.port}/room`, {
      transports: [...settings.transports],
      forceNew: true,
      autoConnect: false,
      timeout: 2_500,
      reconnectionDelay: 100,
      reconnectionDelayMax: 800,
      auth: (give) => give(this.#auth()),
    });
    this.#listen();
  }

  static async invite(settings: GuestSettings): Promise<Guest> {
    const target = { port: settings.nextPort() };
    return new Guest(settings, await CuttableWay.to(() => target.port), target);
  }

  get isIn(): boolean {
    return this.isConnected && [...this.#wanted].every((group) => this.#entered.has(group));
  }

  get isConnected(): boolean {
    return this.#socket.connected && this.#node !== "";
  }

  /** The node that serves it, and the name under which its order is judged. */
  get sender(): { readonly node: string; readonly sender: string } {
    return { node: this.#node, sender: `${this.name}#${this.#connection}` };
  }

  /** How many it has had. */
  get connections(): number {
    return this.#connection;
  }

  get wanted(): ReadonlySet<string> {
    return this.#wanted;
  }

  come(): void {
    if (this.#isGone) return;
    this.#isAway = false;
    this.#target.port = this.#settings.nextPort();
    this.#socket.connect();
  }

  /** Closes its connection in order; its positions it keeps. */
  goAway(): void {
    this.#isAway = true;
    clearTimeout(this.#comeBack);
    this.#socket.disconnect();
  }

  /**
   * It has heard the message, or that it cannot: of a group whose log is forgotten within moments a gap is as good.
   *
   * @param place - where the message stands, if that is known
   */
  knowsOf({ number, group, startedAt }: Publish, place: Place | undefined): boolean {
    return this.since(startedAt).some((entry) => {
      if (entry.kind === "event") return entry.publish === number;
      if (!kindOf(group).isBrief || entry.kind !== "gap" || entry.group !== group || entry.at < startedAt)
        return false;
      return place === undefined || place.epoch !== entry.place.epoch || entry.place.offset >= place.offset;
    });
  }

  /** What happened to it since then; does not look at what is older. */
  since(at: number): readonly Entry[] {
    return this.entries.slice(this.entries.findLastIndex((entry) => entry.at < at) + 1);
  }

  join(group: string): void {
    this.#wanted.add(group);
    this.#ask(() => this.#join(group));
  }

  leave(group: string): void {
    this.#ask(() => this.#leave(group));
  }

  /** Undefined without a list. */
  presentIn(group: string): ReadonlySet<string> | undefined {
    return this.#present.get(group);
  }

  askForList(group: string): void {
    void this.#question("list", group);
  }

  /** Resolves with the code of the refusal; undefined if it was done. Rejects when nobody knows. */
  async say(order: SayOrder): Promise<string | undefined> {
    const answer = (await this.#socket.timeout(ANSWER_MS).emitWithAck("say", order)) as {
      error?: { code: string };
    };
    return answer.error?.code;
  }

  /** For good. */
  async leaveForGood(): Promise<void> {
    this.#isGone = true;
    const said = this.#socket.connected;
    this.goAway();
    // A polling client says goodbye by one more request.
    if (said) await sleep(GOODBYE_MS);
    await this.way.close();
  }

  #auth(): object {
    this.#greeted = [...this.#wanted];
    const { user, recovers } = this.#settings;
    const sluice = this.#carrier.greeting(recovers ? this.#greeted : []);
    return { user, groups: this.#greeted, sluice };
  }

  #listen(): void {
    const socket = this.#socket;
    socket.on("disconnect", () => {
      this.#note({ kind: "disconnected" });
      this.#node = "";
      this.#entered.clear();
      this.#present.clear();
      this.#comeBackSoon();
    });
    socket.on("connect_error", () => this.#comeBackSoon());
    socket.io.on("reconnect_attempt", () => {
      this.#target.port = this.#settings.nextPort();
    });
    socket.onAny((event: string, ...args: unknown[]) => this.#hear(event, args));
  }

  /** A stock client stays away when only its namespace was refused or closed. */
  #comeBackSoon(): void {
    if (this.#isAway || this.#socket.active) return;
    clearTimeout(this.#comeBack);
    this.#comeBack = setTimeout(() => this.come(), COME_BACK_MS);
  }

  #hear(event: string, args: readonly unknown[]): void {
    if (event === "here") return this.#welcome(args[0] as { node: string });
    if (event !== "told" && !/^sluice\.(joined|gap|position|left|presence)$/.test(event)) return;
    const heard = this.#carrier.hear(event, args);
    this.#learn(heard);
    if (heard.kind !== "event") return this.#note(heard);
    const { group, number, part: told } = args[0] as SayOrder & { readonly part?: number };
    const { place, part = place === undefined ? told : undefined } = heard;
    const where = { ...(place && { place }), ...(part === undefined ? {} : { part }) };
    this.#note({ kind: "event", group: heard.group ?? group, publish: number, ...where });
  }

  #learn(heard: Heard): void {
    if (heard.kind === "list") this.#present.set(heard.group, new Set(heard.users));
    if (heard.kind !== "presence") return;
    this.tidings += 1;
    const users = this.#present.get(heard.group);
    if (heard.type === "leave") users?.delete(heard.user);
    else users?.add(heard.user);
  }

  /** The first that it hears on each connection. */
  #welcome({ node }: { readonly node: string }): void {
    this.#node = node;
    this.#connection += 1;
    for (const group of this.#greeted) this.#entered.add(group);
    this.#note({ kind: "connected", groups: this.#greeted, node });
    // What was asked for while the handshake was under way.
    for (const group of this.#wanted) if (!this.#entered.has(group)) this.join(group);
    for (const group of this.#greeted) if (!this.#wanted.has(group)) this.#ask(() => this.#quit(group));
  }

  #ask(question: () => Promise<void>): void {
    this.#asking = this.#asking.then(question, question);
  }

  async #join(group: string): Promise<void> {
    while (this.#socket.connected && this.#wanted.has(group) && !this.#entered.has(group)) {
      const connection = this.#connection;
      this.#note({ kind: "joining", group });
      this.#present.delete(group);
      const answer = await this.#question("join", group);
      if (answer === undefined || connection !== this.#connection) return;
      if (answer.error === undefined) {
        this.#entered.add(group);
        this.#note({ kind: "entered", group });
      } else await sleep(ASK_AGAIN_MS);
    }
  }

  async #leave(group: string): Promise<void> {
    if (this.#wanted.delete(group)) await this.#quit(group);
  }

  async #quit(group: string): Promise<void> {
    this.#entered.delete(group);
    this.#note({ kind: "leaving", group });
    const connection = this.#connection;
    const answer = this.#socket.connected ? await this.#question("leave", group) : undefined;
    this.#carrier.forget(group);
    if (connection === this.#connection && answer?.error === undefined && answer !== undefined) {
      this.#note({ kind: "left", group });
    }
  }

  async #question(event: string, group: string): Promise<{ error?: { code: string } } | undefined> {
    return this.#socket
      .timeout(ANSWER_MS)
      .emitWithAck(event, { group })
      .catch(() => undefined);
  }

  #note(entry: DistributiveOmit<Entry, "at">): void {
    this.entries.push({ at: performance.now(), ...entry } as Entry);
  }
}

type DistributiveOmit<T, K extends string> = T extends unknown ? Omit<T, K> : never;
