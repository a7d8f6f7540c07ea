import { randomBytes } from "node:crypto";
import {
  ConfigurationError,
  type Given,
  LayerUnavailable,
  type Position,
  type PresenceChange,
  type PresenceList,
  type PresenceListener,
  type PresenceLog,
  type PresenceStore,
  type Statement,
  type StoredUser,
} from "../index.ts";
import {
  APPEND_COMMANDS,
  groupKeys,
  RedisCommands,
  type RedisCommandsSettings,
  RedisLogs,
  type RedisOptions,
  type RedisRights,
  readOptions,
} from "../redis/index.ts";
import { BURY, CHANGE, LEAVE, LIST, NOTE, REMOVE, RENEW, STRANGERS, TOUCH } from "./redis-scripts.ts";

export const redisPresenceDefaults = {
  /** Begins every key. Applications that share a Redis need different ones. */
  prefix: "sluice",
  /** A node that says nothing for so long counts as gone. */
  leaseMs: 3_000,
  /** How often each node says that it is there. */
  renewMs: 1_000,
  /** What was left by nodes that were all killed is gone so long after, unless one starts before. */
  orphanTtlMs: 86_400_000,
};

export type RedisPresenceSettings = typeof redisPresenceDefaults;
/** Where Redis is, and how {@link RedisPresence} tells who lives. */
export interface RedisPresenceOptions
  extends RedisOptions,
    Given<RedisCommandsSettings>,
    Given<RedisPresenceSettings> {}

/** A group in which this node has users, or had until a moment ago. */
interface UsedGroup {
  readonly users: Set<string>;
  /** Resolves when Redis knows that this node is in the group. */
  noted: Promise<void> | undefined;
  /** Nobody was there when it was last looked at. */
  wasEmpty: boolean;
  /** From when its keys are to be prolonged, by `performance.now()`. */
  touchAt: number;
}

const NODES = "sluice.nodes";
const REHEARSAL = "sluice.rehearsal";
const ONE_PLACE =
  "groups with history and presence need both in the same Redis under the same prefix, so that who comes and goes is told in the order of the messages: give RedisHistory and RedisPresence the same options";
const GONE = -1;
/** More than a group can have. */
const ALL = "2147483647";
/** Groups of a dead node that are seen to at once. */
const AT_ONCE = 32;
/** Users that one script removes. */
const SLICE = 200;
/** Longer than two commands may take: it is read after it was appended. */
const REHEARSAL_TTL_MS = 5_000;
/** How often the keys of a group are prolonged before they would expire. */
const TOUCHES = 4;
const TOUCHED_AT_ONCE = 500;
/** How long a node that was seen to have a lease is not asked for again. */
const VOUCHED_MS = 10_000;

/**
 * Who is where, in Redis 7 or Valkey: one server, Sentinel or a cluster. Each node renews one lease, judged by
 * Redis' clock; what a node has stated is removed by the first who sees its lease expired. Redis is written
 * to when users come and go, and once each `renewMs` by each node.
 *
 * @example
 * new RedisPresence({ url: "redis://127.0.0.1:6379", prefix: "shop" });
 */
export class RedisPresence implements PresenceStore {
  readonly #settings: RedisPresenceSettings;
  readonly #commands: RedisCommands;
  readonly #groups = new Map<string, UsedGroup>();
  /** Groups that Redis is to be told of at the end of this turn. */
  #toNote: string[] = [];
  #noting: Promise<void> | undefined;
  #node = "";
  /** A node that was given up comes back under another number, so that what is removed is never what is new. */
  #lives = 0;
  #listener: PresenceListener | undefined;
  /** Those of the history, if any group keeps both. */
  #logs: RedisLogs | undefined;
  #logFor: PresenceListener["logFor"] = () => undefined;
  #timer: NodeJS.Timeout | undefined;
  #renewing: Promise<void> | undefined;
  /** When the renewal was sent that succeeded last, by `performance.now()`. */
  #renewedAt = Number.NEGATIVE_INFINITY;
  #quietUntil = 0;
  #mustRestate = false;
  #restating: Promise<void> = Promise.resolve();
  readonly #removing = new Map<string, Promise<void>>();
  readonly #vouched = new Map<string, number>();

  /** @throws ConfigurationError that lists every fault of the options */
  constructor(options: RedisPresenceOptions = {}) {
    const own = { defaults: redisPresenceDefaults, purpose: "presence", faultsOf };
    const { made, settings } = readOptions(options, own, (others, { prefix }) => {
      const listener = { down: () => this.#down(), up: () => void this.#renew() };
      return new RedisCommands({ ...QUIET_HEARTBEAT, ...others }, listener, presenceRights(prefix));
    });
    this.#settings = settings;
    this.#commands = made;
  }

  get prefix(): string {
    return this.#settings.prefix;
  }

  get leaseMs(): number {
    return this.#settings.leaseMs;
  }

  /**
   * @param logs - of a `RedisHistory` with the same Redis and prefix
   * @throws ConfigurationError when Redis cannot be used, or the logs are elsewhere, with what to do
   */
  async open(node: string, listener: PresenceListener, logs?: unknown): Promise<void> {
    this.#node = node;
    this.#lives = 1;
    this.#logs = logs === undefined ? undefined : checkedLogs(logs);
    this.#logFor = (group) => listener.logFor(group);
    await this.#commands.open(() => this.#rehearse());
    this.#listener = listener;
    this.#timer = setInterval(() => void this.#renew(), this.#settings.renewMs);
  }

  async state(
    group: string,
    user: string,
    { connections, info, isUpdate, maxUsers }: Statement,
  ): Promise<PresenceChange | "full" | undefined> {
    const used = this.#use(group);
    // So that it is not forgotten meanwhile.
    used.users.add(user);
    const life = this.#life;
    this.#checkLease();
    await this.#note(group, used);
    if (life !== this.#life) throw new LayerUnavailable("the lease was lost meanwhile");
    const made = await this.#change(group, user, connections, info, isUpdate, maxUsers);
    if (made === "full") used.users.delete(user);
    return made;
  }

  async withdraw(group: string, user: string): Promise<PresenceChange | undefined> {
    this.#checkLease();
    const made = await this.#change(group, user, GONE, "", false, 0);
    this.#groups.get(group)?.users.delete(user);
    return made === "full" ? undefined : made;
  }

  async list(group: string, isAgain = false): Promise<PresenceList> {
    const { who, on, meta } = this.#keys(group);
    const [life, askedAt] = [this.#life, performance.now()];
    const answer = await this.#commands.run(LIST, [who, on, meta], []);
    const [version, rows, nodes, top] = isList(answer) ? answer : [];
    if (typeof version !== "number" || !isTextList(rows) || !isTextList(nodes)) throw strange(group);
    const users: StoredUser[] = [];
    for (let i = 0; i < rows.length; i += 2) users.push(userOf(group, rows[i] ?? "", rows[i + 1] ?? ""));
    if (isAgain) await this.#keepLease(life, askedAt);
    void this.#lookForStrangers(group, nodes).catch(() => {});
    return { version, users, top: topOf(group, top) };
  }

  async count(group: string): Promise<number> {
    const { who } = this.#keys(group);
    return Number(await this.#commands.command(who, ["HLEN", who]));
  }

  async close(holdMs: number): Promise<void> {
    clearInterval(this.#timer);
    const isOpen = this.#listener !== undefined;
    this.#listener = undefined;
    await this.#renewing;
    if (isOpen) await this.#leave(holdMs).catch(() => {});
    this.#commands.close();
    this.#groups.clear();
    this.#vouched.clear();
  }

  get #life(): string {
    return `${this.#node}~${this.#lives}`;
  }

  async #change(
    group: string,
    user: string,
    connections: number,
    info: string,
    isUpdate: boolean,
    maxUsers: number,
  ): Promise<PresenceChange | "full" | undefined> {
    const { orphanTtlMs } = this.#settings;
    const args = [this.#life, user, connections, info, isUpdate ? 1 : 0, maxUsers, orphanTtlMs];
    const { keys, log } = this.#writing(group, this.#life);
    const made = changeOf(group, await this.#commands.run(CHANGE, keys, [...log, ...args]));
    if (isChange(made)) this.#noteAppended(group, made);
    return made;
  }

  #noteAppended(group: string, { appended }: PresenceChange): void {
    const log = group === REHEARSAL ? undefined : this.#logFor(group);
    if (appended !== undefined && log !== undefined) this.#logs?.appended(group, appended, log.ttlMs);
  }

  /** What each script that changes a group begins with. */
  #writing(group: string, life: string) {
    const { who, on, meta, presence, log } = this.#keys(group);
    const keys = [who, this.#at(group, life), on, meta, presence, log];
    const told = this.#logOf(group);
    if (told === undefined || this.#logs === undefined) return { keys, log: ["", "", "", 0, 0, 0] };
    const { header, size, ttlMs } = told;
    const ttls = group === REHEARSAL ? [ttlMs, ttlMs] : [ttlMs, this.#logs.positionTtlMs(ttlMs)];
    return { keys, log: [randomText(), randomText(), header, size, ...ttls] };
  }

  #logOf(group: string): PresenceLog | undefined {
    return group === REHEARSAL ? { size: 1, ttlMs: REHEARSAL_TTL_MS, header: "" } : this.#logFor(group);
  }

  // ---- the lease --------------------------------------------------------------------------------

  /** One that may have been given up, as after a freeze, states nothing before it knows. */
  #checkLease(): void {
    if (performance.now() - this.#renewedAt < this.#settings.leaseMs) return;
    throw new LayerUnavailable("this node's lease in Redis must be renewed first");
  }

  /**
   * Rejects if the lease was lost before that moment, in that life: then Redis may have been emptied, and what
   * others have stated since is not all there is.
   */
  async #keepLease(life: string, sinceMs: number): Promise<void> {
    // One that is under way may have been sent before.
    for (let tries = 0; tries < 2 && this.#renewedAt <= sinceMs; tries++) await this.#renew();
    if (life !== this.#life || this.#renewedAt <= sinceMs) {
      throw new LayerUnavailable("this node's lease in Redis must be renewed first");
    }
  }

  #down(): void {
    this.#renewedAt = Number.NEGATIVE_INFINITY;
    this.#mustRestate = true;
    this.#listener?.down();
  }

  /** Never rejects. */
  #renew(): Promise<void> {
    this.#renewing ??= this.#renewAll().finally(() => {
      this.#renewing = undefined;
    });
    return this.#renewing;
  }

  async #renewAll(): Promise<void> {
    try {
      const old = this.#life;
      if (!(await this.#renewNow(false))) {
        this.#lives += 1;
        this.#mustRestate = true;
        await this.#renewNow(true);
      }
      await this.#forgetEmpty();
      await this.#touch();
      if (this.#mustRestate) this.#restate(old);
    } catch {
      // Redis is away, which the connection tells, or refuses: then it does so too where somebody hears of it.
    }
  }

  /** Says whether there was a lease, or is one now. */
  async #renewNow(isNew: boolean): Promise<boolean> {
    const { leaseMs, orphanTtlMs } = this.#settings;
    const { leases, dead, pulse } = this.#nodeKeys;
    const sentAt = performance.now();
    const keys = [leases, dead, pulse, this.#groupsOf(this.#life)];
    const terms = [leaseMs, longestPauseMs(leaseMs), orphanTtlMs, isNew ? 1 : 0];
    const answer = await this.#commands.run(RENEW, keys, [this.#life, ...terms, ...this.#removing.keys()]);
    const [hasLease, quietMs, claimed] = isList(answer) ? answer : [];
    if (typeof quietMs !== "number" || !isTextList(claimed)) throw strange(NODES);
    this.#quietUntil = performance.now() + quietMs;
    for (const life of claimed) this.#remove(life);
    if (hasLease !== 1) return false;
    this.#renewedAt = sentAt;
    return true;
  }

  #restate(old: string): void {
    this.#mustRestate = false;
    const quietMs = Math.max(this.#quietUntil - performance.now(), 0);
    for (const used of this.#groups.values()) used.noted = undefined;
    const groups = [...this.#groups.keys()];
    this.#restating = this.#restating.then(async () => {
      await this.#listener?.restate(quietMs);
      // What it stated in its former life somebody else may have removed before the last of it arrived.
      if (old !== this.#life) await atMost(AT_ONCE, groups, (group) => this.#removeFrom(group, old, false));
      else await this.#withdrawReturned(groups);
    });
    this.#restating = this.#restating.catch(() => {});
  }

  /** A Redis that failed over may have forgotten the last that was withdrawn. */
  async #withdrawReturned(used: readonly string[]): Promise<void> {
    const life = this.#life;
    const key = this.#groupsOf(life);
    const noted = await this.#commands.command(key, ["SMEMBERS", key]);
    if (!isTextList(noted)) throw strange(NODES);
    await atMost(AT_ONCE, [...new Set([...used, ...noted])], async (group) => {
      const at = this.#at(group, life);
      const users = await this.#commands.command(at, ["HRANDFIELD", at, ALL]);
      if (!isTextList(users)) throw strange(group);
      for (const user of users) {
        if (life !== this.#life) return;
        // Whoever comes from now on is stated after this.
        if (this.#groups.get(group)?.users.has(user)) continue;
        const made = await this.#change(group, user, GONE, "", false, 0);
        if (isChange(made)) await this.#listener?.removed(group, [made]);
      }
    });
  }

  async #leave(holdMs: number): Promise<void> {
    // All that it has withdrawn is told by now: nobody need look there.
    await this.#forget([...this.#groups].filter(([, { users }]) => users.size === 0).map(([group]) => group));
    const { leaseMs, orphanTtlMs } = this.#settings;
    const { leases, dead, pulse } = this.#nodeKeys;
    const terms = [Math.ceil(holdMs), longestPauseMs(leaseMs), orphanTtlMs];
    const left = await this.#commands.run(LEAVE, [leases, dead, pulse], [this.#life, ...terms]);
    if (!isTextList(left)) throw strange(NODES);
    for (const life of left) await this.#removeAll(life);
  }

  // ---- groups of this node ----------------------------------------------------------------------

  #use(group: string): UsedGroup {
    const used = this.#groups.get(group) ?? {
      ...{ users: new Set<string>(), noted: undefined, wasEmpty: false },
      touchAt: performance.now() + this.#settings.orphanTtlMs / TOUCHES,
    };
    this.#groups.set(group, used);
    used.wasEmpty = false;
    return used;
  }

  /** Before the first entry: whoever removes this node must find it. */
  #note(group: string, used: UsedGroup): Promise<void> {
    if (used.noted !== undefined) return used.noted;
    this.#toNote.push(group);
    this.#noting ??= Promise.resolve().then(() => this.#sendNotes());
    const noted = this.#noting;
    used.noted = noted;
    noted.catch(() => {
      if (used.noted === noted) used.noted = undefined;
    });
    return noted;
  }

  async #sendNotes(): Promise<void> {
    const groups = this.#toNote;
    this.#toNote = [];
    this.#noting = undefined;
    await this.#commands.run(NOTE, [this.#groupsOf(this.#life)], [this.#settings.orphanTtlMs, ...groups]);
  }

  /**
   * Prolongs what groups keep, some of them each time, so that no renewal waits for long. Entries of nodes that
   * nobody knows are found before the part of them that only their node prolongs is gone.
   */
  async #touch(): Promise<void> {
    const { orphanTtlMs } = this.#settings;
    const now = performance.now();
    const due: [string, UsedGroup][] = [];
    for (const entry of this.#groups) {
      if (entry[1].touchAt <= now) due.push(entry);
      if (due.length === TOUCHED_AT_ONCE) break;
    }
    await atMost(AT_ONCE, due, async ([group, used]) => {
      const { who, on } = this.#keys(group);
      const keys = [who, this.#at(group, this.#life), on];
      const fields = await this.#commands.run(TOUCH, keys, [orphanTtlMs]);
      if (!isTextList(fields)) throw strange(group);
      used.touchAt = now + orphanTtlMs / TOUCHES;
      const nodes = fields.filter((name, i) => i % 2 === 0 && name !== "version");
      await this.#lookForStrangers(group, nodes);
    });
  }

  /** A while after the last user, so that what it changed has been told before this node is not looked for there. */
  async #forgetEmpty(): Promise<void> {
    const empty: string[] = [];
    for (const [group, used] of this.#groups) {
      if (used.users.size > 0) continue;
      if (used.wasEmpty) empty.push(group);
      used.wasEmpty = true;
    }
    await this.#forget(empty);
  }

  async #forget(groups: readonly string[]): Promise<void> {
    if (groups.length === 0) return;
    for (const group of groups) this.#groups.delete(group);
    const key = this.#groupsOf(this.#life);
    await this.#commands.command(key, ["SREM", key, ...groups]);
  }

  // ---- nodes that are gone ----------------------------------------------------------------------

  #remove(life: string): void {
    if (this.#removing.has(life)) return;
    const removing = this.#removeAll(life)
      // Whoever renews a lease later than this claim lasts does it.
      .catch(() => {})
      .finally(() => this.#removing.delete(life));
    this.#removing.set(life, removing);
  }

  async #removeAll(life: string): Promise<void> {
    const key = this.#groupsOf(life);
    const groups = await this.#commands.command(key, ["SMEMBERS", key]);
    if (!isTextList(groups)) throw strange(NODES);
    await atMost(AT_ONCE, groups, (group) => this.#removeFrom(group, life, true));
    const { leases, dead, pulse } = this.#nodeKeys;
    await this.#commands.run(BURY, [leases, dead, pulse, key], [life]);
  }

  /** @param isClaimed - another may have begun and not told */
  async #removeFrom(group: string, life: string, isClaimed: boolean): Promise<void> {
    for (let more: unknown = 1, isFirst = true; more === 1; isFirst = false) {
      const { keys, log } = this.#writing(group, life);
      const answer = await this.#commands.run(REMOVE, keys, [...log, life, SLICE]);
      const [isMore, made] = isList(answer) ? answer : [];
      if (!isList(made)) throw strange(group);
      more = isMore;
      const changes = made.map((change) => changeOf(group, change)).filter((change) => isChange(change));
      for (const change of changes) this.#noteAppended(group, change);
      if (changes.length > 0 || (isClaimed && isFirst)) await this.#listener?.removed(group, changes);
    }
  }

  /** Entries of nodes that nobody knows: what a failover brought back, or a node wrote with its last breath. */
  async #lookForStrangers(group: string, nodes: readonly string[]): Promise<void> {
    const now = performance.now();
    if (now < this.#quietUntil || this.#renewedAt < 0) return;
    const unknown = nodes.filter((life) => life !== this.#life && (this.#vouched.get(life) ?? 0) < now);
    if (unknown.length === 0) return;
    const { leases, dead } = this.#nodeKeys;
    const strangers = await this.#commands.run(STRANGERS, [leases, dead], unknown);
    if (!isTextList(strangers)) throw strange(NODES);
    if (this.#vouched.size > 1_000) this.#vouched.clear();
    for (const life of unknown) if (!strangers.includes(life)) this.#vouched.set(life, now + VOUCHED_MS);
    for (const life of strangers) await this.#removeFrom(group, life, true);
  }

  /** All that will be done, once, so that rights that lack are told now; it ends with the first lease. */
  async #rehearse(): Promise<void> {
    const group = REHEARSAL;
    const key = this.#groupsOf(this.#life);
    await this.#commands.run(NOTE, [key], [this.#settings.orphanTtlMs, group]);
    await this.#commands.command(key, ["SREM", key, group]);
    await this.#commands.command(key, ["SMEMBERS", key]);
    const made = await this.#change(group, this.#life, 0, "", false, Number.MAX_SAFE_INTEGER);
    await this.#checkLogs(made);
    await this.list(group);
    await this.count(group);
    await this.#removeFrom(group, this.#life, false);
    await this.#renewNow(true);
  }

  /** Whether the history reads what is appended here: only then are they in one place. */
  async #checkLogs(made: PresenceChange | "full" | undefined): Promise<void> {
    if (this.#logs === undefined) return;
    const appended = isChange(made) ? made.appended : undefined;
    const top = await this.#logs.top(REHEARSAL);
    if (appended !== undefined && top?.epoch === appended.epoch && top.offset >= appended.offset) return;
    throw new ConfigurationError([ONE_PLACE]);
  }

  // ---- names ------------------------------------------------------------------------------------

  #keys(group: string) {
    const { prefix } = this.#settings;
    const base = `${prefix}:{${group}}:`;
    return { who: `${base}who`, on: `${base}on`, ...groupKeys(prefix, group) };
  }

  #at(group: string, life: string): string {
    return `${this.#settings.prefix}:{${group}}:at:${life}`;
  }

  get #nodeKeys(): { readonly leases: string; readonly dead: string; readonly pulse: string } {
    const base = `${this.#settings.prefix}:{${NODES}}:`;
    return { leases: `${base}leases`, dead: `${base}dead`, pulse: `${base}pulse` };
  }

  #groupsOf(life: string): string {
    return `${this.#settings.prefix}:{${NODES}}:groups:${life}`;
  }
}

/** Braces would make another hash tag. */
const LEASES_PER_TTL = 10;
/** A lease that is renewed is heartbeat enough. */
const QUIET_HEARTBEAT = { heartbeatMs: 10_000 };
/** Its own, and those of its scripts, but for what appends. */
const COMMANDS = [
  ...["sadd", "srem", "smembers", "hget", "hmget", "hset", "hdel", "hlen", "hgetall", "hrandfield", "time"],
  ...["exists", "del", "pexpire", "zadd", "zrem", "zscore", "zrange", "zrangebyscore"],
];

/** Between renewals; after a longer one Redis was away, and nobody is judged. */
function longestPauseMs(leaseMs: number): number {
  return Math.ceil(leaseMs / 2);
}

/** Beside those that all commands need. @internal */
export function presenceRights(prefix: string): RedisRights {
  return { names: `resetkeys ~${prefix}:*`, commands: [...new Set([...COMMANDS, ...APPEND_COMMANDS])] };
}

function checkedLogs(logs: unknown): RedisLogs {
  if (logs instanceof RedisLogs) return logs;
  throw new ConfigurationError([ONE_PLACE]);
}

/** Of settings of which each by itself is right. */
function faultsOf({ renewMs, leaseMs, orphanTtlMs }: RedisPresenceSettings): readonly string[] {
  const faults: string[] = [];
  if (renewMs * 2 > leaseMs) {
    faults.push(
      `redis.leaseMs (${leaseMs}) must be at least twice redis.renewMs (${renewMs}), or a node is given up when one renewal is late`,
    );
  }
  if (leaseMs * LEASES_PER_TTL > orphanTtlMs) {
    faults.push(
      `redis.orphanTtlMs (${orphanTtlMs}) must be at least ${LEASES_PER_TTL} times redis.leaseMs (${leaseMs}), or what is in use expires`,
    );
  }
  return faults;
}

function changeOf(group: string, answer: unknown): PresenceChange | "full" | undefined {
  const [kind, user, info, connections, before, version, ...entry] = isList(answer) ? answer : [];
  if (kind === "none") return undefined;
  if (kind === "full") return kind;
  const isKind = kind === "join" || kind === "leave" || kind === "update" || kind === "count";
  const isRest = typeof connections === "number" && typeof before === "number" && typeof version === "number";
  if (!isKind || !isRest || typeof user !== "string" || typeof info !== "string") throw strange(group);
  const change = { kind, user, info, connections, before, version } as const;
  if (entry.length === 0) return change;
  const [epoch, offset, id, at, text] = entry;
  const isPlace = typeof epoch === "string" && typeof offset === "number" && typeof id === "string";
  if (!isPlace || typeof at !== "number" || typeof text !== "string") throw strange(group);
  return { ...change, appended: { epoch, offset, id, at, text } };
}

function topOf(group: string, answer: unknown): Position | undefined {
  const [epoch, offset, id] = isList(answer) ? answer : [];
  if (epoch === null && offset === null && id === null) return undefined;
  if (typeof epoch !== "string" || typeof id !== "string") throw strange(group);
  return { epoch, offset: Number(offset), id };
}

function randomText(): string {
  return randomBytes(9).toString("base64url");
}

function isChange(change: PresenceChange | "full" | undefined): change is PresenceChange {
  return typeof change === "object";
}

function userOf(group: string, user: string, row: string): StoredUser {
  const [, connections, info] = /^\d+ (\d+) (.*)$/s.exec(row) ?? [];
  if (info === undefined) throw strange(group);
  return { user, info, connections: Number(connections) };
}

function strange(group: string): Error {
  return new Error(
    `Redis holds something else than the presence of "${group}"; does another program write below this prefix?`,
  );
}

function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

function isTextList(value: unknown): value is readonly string[] {
  return isList(value) && value.every((part) => typeof part === "string");
}

/** Does it for each, some at a time; ends with the first that fails. */
async function atMost<T>(
  count: number,
  items: readonly T[],
  work: (item: T) => Promise<void>,
): Promise<void> {
  const waiting = items.values();
  const some = async () => {
    for (const item of waiting) await work(item);
  };
  await Promise.all(Array.from({ length: count }, some));
}
