import { createHash, randomBytes } from "node:crypto";
import { type Clock, type ClockTimer, realClock } from "../clock.ts";
import { LayerUnavailable } from "../errors.ts";
import { type Given, resolveOptions } from "../options.ts";
import type { Appended, AppendOptions, HistoryStore, LogEntry, LogSlice, Position } from "./history-store.ts";
import type { Delay } from "./memory-backplane.ts";

export const memoryLogsDefaults = {
  /** Groups with a log; beyond that the one appended to longest ago is forgotten, position and all. */
  maxGroups: 10_000,
  /** Of all texts together; beyond that, likewise. */
  maxBytes: 268_435_456,
  /**
   * How long after the last append to a group its position is remembered; ten times the group's `ttlMs`
   * where that is longer.
   */
  positionTtlMs: 604_800_000,
  /** How long an idempotency key is remembered. */
  idempotencyTtlMs: 600_000,
  /** Idempotency keys that are remembered; beyond that the oldest is forgotten. */
  maxIdempotencyKeys: 100_000,
};

/** Bounds of {@link MemoryLogs}. */
export interface MemoryLogsOptions extends Given<typeof memoryLogsDefaults> {
  /** For tests: milliseconds since 1970, or a clock, by which delays go as well. Default the machine's. */
  readonly clock?: (() => number) | Clock;
}

interface Log {
  readonly epoch: string;
  offset: number;
  id: string;
  readonly messages: LogEntry[];
  /** Who came and left. */
  readonly presence: LogEntry[];
  bytes: number;
  entriesUntil: number;
  until: number;
}

interface Known {
  readonly appended: Appended;
  readonly until: number;
}

/** What {@link MemoryLogs} hold, as a structured clone takes it. */
export interface LogsSnapshot {
  readonly logs: readonly (readonly [group: string, log: Log])[];
  readonly known: readonly (readonly [name: string, known: Known])[];
}

/** Nothing is looked for that is past its time more often than this; until then it only costs memory. */
const SWEEP_MS = 10_000;
/** What an entry costs beside its text, roughly. */
const ENTRY_BYTES = 150;

/**
 * The logs of the memory histories of one process. With a delay, what is asked and what is answered take
 * that long each, as over a network, so that races show; the order per node is kept. No timers: what is
 * past its time goes when something else is asked.
 */
export class MemoryLogs {
  readonly #settings: typeof memoryLogsDefaults;
  /** @internal */
  readonly clock: Clock;
  /** In the order of their last append. */
  readonly #logs = new Map<string, Log>();
  /** By group and hash of the key. All live equally long, so the first is the oldest. */
  readonly #known = new Map<string, Known>();
  #bytes = 0;
  #sweepAt = 0;
  delayMs: Delay;

  /** @throws ConfigurationError that lists every fault */
  constructor({ clock = realClock, ...given }: MemoryLogsOptions = {}, delayMs: Delay = 0) {
    this.#settings = resolveOptions(memoryLogsDefaults, given, "history");
    this.clock = typeof clock === "function" ? { ...realClock, now: clock } : clock;
    this.delayMs = delayMs;
  }

  /** Groups, and idempotency keys, that are remembered. */
  get size(): number {
    return this.#logs.size + this.#known.size;
  }

  /** Of all entries, roughly. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Forgets everything, as a server does that is restarted empty. */
  clear(): void {
    this.#logs.clear();
    this.#known.clear();
    this.#bytes = 0;
  }

  /** All of it, for another process; texts are not copied. @internal */
  snapshot(): LogsSnapshot {
    return { logs: [...this.#logs], known: [...this.#known] };
  }

  /** Goes on where another process has ended; what is here is forgotten. @internal */
  restore({ logs, known }: LogsSnapshot): void {
    this.clear();
    for (const [group, log] of logs) {
      this.#logs.set(group, log);
      this.#bytes += log.bytes;
    }
    for (const [name, value] of known) this.#known.set(name, value);
  }

  /** @internal */
  append(
    group: string,
    text: string,
    { size, ttlMs, idempotencyKey }: AppendOptions,
    kind: "messages" | "presence" = "messages",
  ): Appended {
    const now = this.#now();
    const log = this.#find(group, now) ?? newLog();
    const name = idempotencyKey === undefined ? undefined : `${group} ${hashed(idempotencyKey)}`;
    const known = name === undefined ? undefined : this.#known.get(name);
    // Keys belong to a log: of one that is lost, nothing was appended.
    if (known !== undefined && known.until > now && known.appended.epoch === log.epoch) {
      return { ...known.appended, isKnown: true };
    }
    const entry = { offset: log.offset + 1, id: randomBytes(9).toString("base64url"), at: now, text };
    log.offset = entry.offset;
    log.id = entry.id;
    log.entriesUntil = now + ttlMs;
    log.until = now + Math.max(this.#settings.positionTtlMs, ttlMs * 10);
    log[kind].push(entry);
    this.#count(log, bytesOf(entry));
    while (log[kind].length > size) this.#dropFirst(log, log[kind]);
    this.#logs.delete(group);
    this.#logs.set(group, log);
    this.#keepWithinBounds(group, log);
    const appended = { epoch: log.epoch, offset: entry.offset, id: entry.id, at: now, isKnown: false };
    if (name !== undefined) this.#remember(name, appended, now);
    return appended;
  }

  /** @internal */
  read(group: string, from: number, limit: number): LogSlice {
    const log = this.#find(group, this.#now());
    if (log === undefined) return { top: undefined, entries: [] };
    const entries = [log.messages, log.presence].flatMap((kept) => {
      const start = countBefore(kept, from);
      return kept.slice(start, start + limit);
    });
    if (log.presence.length > 0) entries.sort((a, b) => a.offset - b.offset);
    return { top: topOf(log), entries: entries.slice(0, limit) };
  }

  /** @internal */
  readBefore(group: string, before: number, limit: number): LogSlice {
    const log = this.#find(group, this.#now());
    if (log === undefined) return { top: undefined, entries: [] };
    const end = countBefore(log.messages, before);
    return { top: topOf(log), entries: log.messages.slice(Math.max(end - limit, 0), end) };
  }

  /** @internal */
  tops(groups: readonly string[]): (Position | undefined)[] {
    const now = this.#now();
    return groups.map((group) => {
      const log = this.#find(group, now);
      return log === undefined ? undefined : topOf(log);
    });
  }

  /** @internal */
  drawDelay(): number {
    return typeof this.delayMs === "function" ? this.delayMs() : this.delayMs;
  }

  #now(): number {
    const now = this.clock.now();
    if (now < this.#sweepAt && now >= this.#sweepAt - SWEEP_MS) return now;
    this.#sweepAt = now + SWEEP_MS;
    for (const group of this.#logs.keys()) this.#find(group, now);
    for (const [name, { until }] of this.#known) {
      if (until > now) break;
      this.#known.delete(name);
    }
    return now;
  }

  /** The log, without what is past its time. */
  #find(group: string, now: number): Log | undefined {
    const log = this.#logs.get(group);
    if (log === undefined) return undefined;
    if (log.entriesUntil <= now) this.#empty(log);
    if (log.until > now) return log;
    this.#logs.delete(group);
    return undefined;
  }

  #keepWithinBounds(group: string, log: Log): void {
    const { maxGroups, maxBytes } = this.#settings;
    for (const [oldest, other] of this.#logs) {
      if (oldest === group || (this.#logs.size <= maxGroups && this.#bytes <= maxBytes)) break;
      this.#empty(other);
      this.#logs.delete(oldest);
    }
    while (this.#bytes > maxBytes && log.messages.length + log.presence.length > 1) {
      const [message, change] = [log.messages[0], log.presence[0]];
      const isMessage = change === undefined || (message !== undefined && message.offset < change.offset);
      this.#dropFirst(log, isMessage ? log.messages : log.presence);
    }
  }

  #remember(name: string, appended: Appended, now: number): void {
    const { maxIdempotencyKeys, idempotencyTtlMs } = this.#settings;
    this.#known.delete(name);
    this.#known.set(name, { appended, until: now + idempotencyTtlMs });
    for (const oldest of this.#known.keys()) {
      if (this.#known.size <= maxIdempotencyKeys) break;
      this.#known.delete(oldest);
    }
  }

  #dropFirst(log: Log, entries: LogEntry[]): void {
    const first = entries.shift();
    if (first !== undefined) this.#count(log, -bytesOf(first));
  }

  #empty(log: Log): void {
    log.messages.length = 0;
    log.presence.length = 0;
    this.#count(log, -log.bytes);
  }

  #count(log: Log, bytes: number): void {
    log.bytes += bytes;
    this.#bytes += bytes;
  }
}

/**
 * The history of an application that lives in one process, and of tests; several nodes in one process
 * share their logs. Nothing of it survives the process: clients that return to another are told of the gap.
 */
export class MemoryHistory implements HistoryStore {
  readonly isShared = false;
  readonly logs: MemoryLogs;
  readonly #asked: Way;
  readonly #answered: Way;
  #isOpen = false;

  constructor(logs: MemoryLogs = new MemoryLogs()) {
    this.logs = logs;
    this.#asked = new Way(logs.clock);
    this.#answered = new Way(logs.clock);
  }

  async open(): Promise<void> {
    this.#isOpen = true;
  }

  append(group: string, text: string, options: AppendOptions): Promise<Appended> {
    return this.#ask(() => this.logs.append(group, text, options));
  }

  read(group: string, from: number, limit: number): Promise<LogSlice> {
    return this.#ask(() => this.logs.read(group, wholeNumber(from), wholeNumber(limit)));
  }

  readBefore(group: string, before: number | undefined, limit: number): Promise<LogSlice> {
    const end = wholeNumber(before ?? Number.POSITIVE_INFINITY);
    return this.#ask(() => this.logs.readBefore(group, end, wholeNumber(limit)));
  }

  tops(groups: readonly string[]): Promise<readonly (Position | undefined)[]> {
    return this.#ask(() => this.logs.tops(groups));
  }

  async close(): Promise<void> {
    this.#isOpen = false;
    this.#asked.close();
    this.#answered.close();
  }

  async #ask<T>(answer: () => T): Promise<T> {
    this.#checkOpen();
    await this.#asked.go(this.logs.drawDelay());
    this.#checkOpen();
    const value = answer();
    await this.#answered.go(this.logs.drawDelay());
    this.#checkOpen();
    return value;
  }

  #checkOpen(): void {
    if (!this.#isOpen) throw new LayerUnavailable("the memory history is not open");
  }
}

/** A way on which nothing overtakes. */
class Way {
  readonly #clock: Clock;
  readonly #timers = new Set<ClockTimer>();
  #underWay: (() => void)[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Resolves on arrival, or early when the way is closed. */
  async go(delayMs: number): Promise<void> {
    if (delayMs <= 0 && this.#underWay.length === 0) return;
    await new Promise<void>((arrive) => {
      this.#underWay.push(arrive);
      // Whichever timer comes first lets the first arrive.
      const timer = this.#clock.setTimeout(() => {
        this.#timers.delete(timer);
        this.#underWay.shift()?.();
      }, delayMs);
      this.#timers.add(timer);
    });
  }

  close(): void {
    for (const timer of this.#timers) this.#clock.clearTimeout(timer);
    this.#timers.clear();
    for (const arrive of this.#underWay.splice(0)) arrive();
  }
}

function newLog(): Log {
  const epoch = randomBytes(9).toString("base64url");
  return { epoch, offset: 0, id: "", messages: [], presence: [], bytes: 0, entriesUntil: 0, until: 0 };
}

function topOf({ epoch, offset, id }: Log): Position {
  return { epoch, offset, id };
}

/** How many entries stand before that offset. */
function countBefore(entries: readonly LogEntry[], offset: number): number {
  let [low, high] = [0, entries.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((entries[middle]?.offset ?? 0) < offset) low = middle + 1;
    else high = middle;
  }
  return low;
}

function bytesOf({ text }: LogEntry): number {
  return ENTRY_BYTES + Buffer.byteLength(text);
}

/** Keys may be of any length, and are another's secret perhaps. */
function hashed(key: string): string {
  return createHash("sha256").update(key).digest("base64url");
}

/** At least 0, and no more than can be counted, whatever is given. */
function wholeNumber(value: number): number {
  return value > 0 ? Math.min(Math.trunc(value), Number.MAX_SAFE_INTEGER) : 0;
}
