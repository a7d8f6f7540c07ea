/**
 * One group's log as this node follows it. What the backplane announces is a hint; the log in the store is
 * the truth. Whoever is in the group here hears its messages in order of offset, each once; a hole is read
 * from the log, and what cannot be read is told as a gap.
 */
import type { GapReason } from "../facts.ts";
import type { ResolvedPolicy } from "./group-policy.ts";
import type { HistoryStore, LogEntry, Position } from "./history-store.ts";

/** An entry and the log it is of. */
export interface Announced extends LogEntry {
  readonly epoch: string;
}

export interface GroupLogHost {
  /** To all members here, in order. */
  deliver(group: string, entry: LogEntry, position: Position): void;
  /** The group had no log; this is where its first one begins. */
  begin(group: string, position: Position): void;
  /** Members go on at this position. */
  gap(group: string, reason: GapReason, position: Position): void;
  /** An entry that was not announced here was read. */
  healed?(): void;
}

/** In a group without a log. */
const NOWHERE: Position = { epoch: "", offset: 0, id: "" };
/** Entries of one reading. */
const CHUNK = 200;
/** Entries that may wait for those before them. */
const MAX_EARLY = 1_000;
/** How long those before may take: nodes that publish at the same moment are heard in any order. */
const HOLE_WAIT_MS = 100;
/** How soon a store that failed is asked again. */
const RETRY_MS = 1_000;

export class GroupLog {
  readonly group: string;
  readonly policy: NonNullable<ResolvedPolicy["history"]>;
  /** Resolves when the position is known; from then on nothing is missed. */
  readonly opened: Promise<void>;
  readonly #store: HistoryStore;
  readonly #host: GroupLogHost;
  #position = NOWHERE;
  #isOpened = false;
  #isClosed = false;
  /** Came before those before them, by offset. */
  readonly #early = new Map<number, Announced>();
  #healing: Promise<void> | undefined;
  #healAgain = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    group: string,
    policy: NonNullable<ResolvedPolicy["history"]>,
    store: HistoryStore,
    host: GroupLogHost,
  ) {
    this.group = group;
    this.policy = policy;
    this.#store = store;
    this.#host = host;
    this.opened = this.#open();
  }

  /** Of the last message that was delivered here. */
  get position(): Position {
    return this.#position;
  }

  /** An entry was appended, here or elsewhere. */
  hear(entry: Announced): void {
    if (this.#isClosed) return;
    if (!this.#isOpened) return this.#keep(entry);
    if (this.#position.epoch === "" && entry.offset === 1)
      this.#begin({ epoch: entry.epoch, offset: 0, id: "" });
    const { epoch, offset } = this.#position;
    const isFork = entry.offset === offset && isOther(entry, this.#position);
    if (entry.epoch !== epoch || isFork) return void this.heal();
    if (entry.offset <= offset) return;
    if (entry.offset === offset + 1 || this.policy.conflate) return this.#advance(entry);
    this.#keep(entry);
    this.#healIn(HOLE_WAIT_MS);
  }

  /** Reads what is missing, if anything is. Never rejects: it tries again until it succeeds or is closed. */
  heal(): Promise<void> {
    this.#healAgain = true;
    this.#healing ??= this.#healAll();
    return this.#healing;
  }

  get isOpen(): boolean {
    return this.#isOpened;
  }

  /** Whether something came before what is before it. */
  get hasHole(): boolean {
    return this.#early.size > 0;
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
    this.#early.clear();
  }

  async #open(): Promise<void> {
    const [top] = await this.#store.tops([this.group]);
    if (top !== undefined) this.#position = top;
    this.#isOpened = true;
    // What was announced meanwhile.
    const early = [...this.#early.values()];
    this.#early.clear();
    for (const entry of early) this.hear(entry);
  }

  #begin(position: Position): void {
    this.#position = position;
    this.#host.begin(this.group, position);
  }

  #keep(entry: Announced): void {
    if (this.#early.size < MAX_EARLY) this.#early.set(entry.offset, entry);
  }

  #advance(entry: LogEntry): void {
    this.#deliver(entry);
    for (let next = this.#next(); next !== undefined; next = this.#next()) this.#deliver(next);
    if (this.#early.size === 0) this.#endTimer();
  }

  #heal(entry: LogEntry): void {
    this.#host.healed?.();
    this.#advance(entry);
  }

  #next(): Announced | undefined {
    const next = this.#early.get(this.#position.offset + 1);
    if (next === undefined) return undefined;
    this.#early.delete(next.offset);
    return next.epoch === this.#position.epoch ? next : undefined;
  }

  #deliver(entry: LogEntry): void {
    this.#position = { epoch: this.#position.epoch, offset: entry.offset, id: entry.id };
    this.#host.deliver(this.group, entry, this.#position);
  }

  #healIn(delayMs: number): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.heal();
    }, delayMs);
  }

  #endTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #healAll(): Promise<void> {
    await this.opened.catch(() => {});
    while (this.#healAgain && !this.#isClosed && this.#isOpened) {
      this.#healAgain = false;
      try {
        while (await this.#read()) {
          // There was more than one reading holds.
        }
      } catch {
        // The store cannot be reached: nothing is known to be lost yet.
        if (!this.#isClosed) this.#healIn(RETRY_MS);
      }
    }
    // In the turn in which nobody had asked again, or who asks in the next is not heard.
    this.#healing = undefined;
  }

  /** @returns whether there may be more */
  async #read(): Promise<boolean> {
    if (this.policy.conflate) return this.#readLatest();
    const before = this.#position;
    const announced = [...this.#early.values()];
    // From the last known one on, to see whether it is still the same.
    const { top, entries } = await this.#store.read(this.group, Math.max(before.offset, 1), CHUNK);
    if (this.#isClosed) return false;
    // What was announced before it was read is in there, or in a log that was set back since.
    for (const entry of announced) {
      if (this.#early.get(entry.offset) === entry) this.#early.delete(entry.offset);
    }
    if (top === undefined) return this.#vanished(before);
    const step = this.#stepFrom(before, top, entries);
    if (this.#position.epoch === "") this.#begin({ epoch: top.epoch, offset: 0, id: "" });
    if (step.gap !== undefined) {
      // What was announced meanwhile may be of the log as it is now.
      if (this.#position !== before) this.#healAgain = true;
      this.#position = step.position;
      this.#early.clear();
      this.#host.gap(this.group, step.gap, step.position);
    }
    for (const entry of step.entries) {
      // Announcements may have brought some of them meanwhile.
      if (this.#position.epoch === top.epoch && entry.offset === this.#position.offset + 1) this.#heal(entry);
    }
    for (const early of [...this.#early.keys()])
      if (early <= this.#position.offset) this.#early.delete(early);
    if (this.#early.size === 0) this.#endTimer();
    return this.#position.epoch === top.epoch && this.#position.offset < top.offset;
  }

  /**
   * How it goes on from here, by an answer that announcements may have overtaken. Whether the log is still the
   * same only the place says from which it was read.
   */
  #stepFrom(before: Position, top: Position, entries: readonly LogEntry[]): Continuation {
    const step = continuation(before, top, entries);
    const position = this.#position;
    const isOtherLog = step.gap !== undefined && step.gap !== "trimmed";
    if (isOtherLog || position === before) return step;
    const isOvertaken = position.epoch === top.epoch && position.offset > top.offset;
    return isOvertaken ? { gap: undefined, position, entries: [] } : continuation(position, top, entries);
  }

  /** There is no log; unless one began while that was being said, the one that was followed is gone. */
  #vanished(before: Position): false {
    if (before.epoch === "" || before !== this.#position) return false;
    this.#position = NOWHERE;
    this.#early.clear();
    this.#endTimer();
    this.#host.gap(this.group, "epoch", NOWHERE);
    return false;
  }

  async #readLatest(): Promise<false> {
    const before = this.#position;
    const { top, entries } = await this.#store.readBefore(this.group, undefined, 1);
    const latest = entries.at(-1);
    const { position } = this;
    if (this.#isClosed || top === undefined || latest === undefined) return false;
    const isShorter =
      top.offset < position.offset || (top.offset === position.offset && isOther(top, position));
    // Unless announcements have brought newer ones meanwhile.
    const isSetBack = position === before && isShorter;
    const goesOn = position.epoch === top.epoch && !isSetBack;
    if (goesOn && latest.offset <= position.offset) return false;
    const start = { epoch: top.epoch, offset: latest.offset - 1, id: "" };
    if (goesOn) this.#position = start;
    else this.#begin(start);
    this.#host.healed?.();
    this.#deliver(latest);
    return false;
  }
}

/** Whether two ids at one offset say that it was handed out twice; not all ids are known. */
export function isOther(a: Pick<Position, "id">, b: Pick<Position, "id">): boolean {
  return a.id !== "" && b.id !== "" && a.id !== b.id;
}

/** Whether two positions are one. */
export function isSame(a: Position, b: Position): boolean {
  return a.epoch === b.epoch && a.offset === b.offset && !isOther(a, b);
}

/** Whether whoever is at `top` has heard what is at `position`. */
export function isReached(position: Position, top: Position): boolean {
  return position.epoch === top.epoch && position.offset <= top.offset;
}

/** How a log goes on from a position, as one reading from that position on shows it. */
export interface Continuation {
  /** What cannot be given, if anything; the position is then another. */
  readonly gap: GapReason | undefined;
  readonly position: Position;
  readonly entries: readonly LogEntry[];
}

/** @param entries - read from the position's own offset on */
export function continuation(from: Position, top: Position, entries: readonly LogEntry[]): Continuation {
  if (from.epoch !== top.epoch) {
    // Another log. Whoever had a position in the one before is told, then hears this one from its beginning.
    const gap = from.epoch === "" && from.offset === 0 ? undefined : "epoch";
    const start = { epoch: top.epoch, offset: 0, id: "" };
    if (from.offset > 0) return { gap, position: start, entries: [] };
    return { ...continuation(start, top, entries), ...(gap && { gap }) };
  }
  if (top.offset < from.offset) return { gap: "ahead", position: top, entries: [] };
  const same =
    entries[0]?.offset === from.offset ? entries[0].id : top.offset === from.offset ? top.id : from.id;
  if (from.id !== "" && same !== from.id && from.offset > 0) return { gap: "id", position: top, entries: [] };
  const newer = entries.filter(({ offset }) => offset > from.offset);
  const first = newer[0]?.offset ?? top.offset + 1;
  // Messages, and who came and left, are kept apart: what is behind a hole is another reading's.
  const hole = newer.findIndex(({ offset }, i) => offset !== first + i);
  const together = hole < 0 ? newer : newer.slice(0, hole);
  if (first === from.offset + 1) return { gap: undefined, position: from, entries: together };
  // What is between is not kept any more.
  const position = newer.length === 0 ? top : { epoch: top.epoch, offset: first - 1, id: "" };
  return { gap: "trimmed", position, entries: together };
}
