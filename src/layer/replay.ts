import { setTimeout as sleep } from "node:timers/promises";
import type { Facts } from "../facts.ts";
import type { EventPosition } from "../types.ts";
import { decodeEnvelope, type Envelope, toMessage } from "./envelope.ts";
import { type FanOut, type Member, type Tidings, tellMember } from "./fan-out.ts";
import { continuation, type GroupLog, isReached, isSame } from "./group-log.ts";
import type { HistoryStore, LogEntry, Position } from "./history-store.ts";
import type { Stay } from "./stay.ts";

export interface ReplayOptions {
  readonly store: HistoryStore;
  readonly fanOut: FanOut;
  readonly facts: Facts;
  /** Whether the group's log tells who comes and goes. */
  readonly tellsPresence: boolean;
  /** What an entry about who came or left tells; nothing if it cannot be read. */
  tidings(envelope: Envelope): Tidings | undefined;
  /** An entry that cannot be read. */
  unreadable(): void;
}

/** Bytes that may wait for a client, and messages for its consumer, while it is given what it missed. */
export const MAX_OUTSTANDING_BYTES = 262_144;
const MAX_OUTSTANDING_MESSAGES = 100;
/** Entries of one reading. */
const CHUNK = 100;
/** How soon it is looked whether there is room again; twice as long each time in vain. */
const LOOK_AGAIN_MS = 10;
const MAX_LOOK_AGAIN_MS = 640;
const RETRY_MS = 500;

/** Gives one member what it missed, until it is where the others are. */
export class Replay {
  readonly #log: GroupLog;
  readonly #stay: Stay;
  /** Whether it goes on where it was; a newcomer otherwise. */
  readonly #isRecovered: boolean;
  readonly #options: ReplayOptions;

  constructor(log: GroupLog, stay: Stay, isRecovered: boolean, options: ReplayOptions) {
    this.#log = log;
    this.#stay = stay;
    this.#isRecovered = isRecovered;
    this.#options = options;
  }

  /** Resolves when the member is one of the others, in the same moment, or has left. Never rejects. */
  async run(from: Position): Promise<void> {
    const { member, over, group } = this.#stay;
    const log = this.#log;
    let position = from;
    let replayed = 0;
    let lookAgainMs = LOOK_AGAIN_MS;
    if (!(await member.whenOpen)) return;
    while (!over.signal.aborted) {
      if (isSame(position, log.position)) {
        this.#options.fanOut.add(group, member);
        this.#stay.whenHeld?.();
        if (this.#isRecovered)
          this.#options.facts.recovered.announce({ group, channel: member.channel, messages: replayed });
        return;
      }
      const missing = Math.abs(log.position.offset - position.offset);
      if (isCrowded(member) || !member.mayBeGiven(Math.min(missing, CHUNK))) {
        await pause(lookAgainMs, over.signal);
        lookAgainMs = Math.min(lookAgainMs * 2, MAX_LOOK_AGAIN_MS);
        continue;
      }
      lookAgainMs = LOOK_AGAIN_MS;
      const next = await this.#giveSome(position);
      if (next !== undefined && !isSame(next, position)) {
        replayed += Math.max(next.offset - position.offset, 0);
        position = next;
      } else if (!isCrowded(member)) {
        // The others here are elsewhere than the store is: first things first.
        await log.heal();
        await pause(RETRY_MS, over.signal);
      }
    }
  }

  /** Where the member is then, or undefined if it cannot go on yet. */
  async #giveSome(from: Position): Promise<Position | undefined> {
    const { group, policy } = this.#log;
    const { store } = this.#options;
    const reading = policy.conflate
      ? store.readBefore(group, undefined, 1)
      : store.read(group, Math.max(from.offset, 1), CHUNK);
    const slice = await reading.catch(() => undefined);
    if (slice === undefined || this.#stay.over.signal.aborted) return undefined;
    const end = this.#log.position;
    // The store has another log than this node follows.
    if (slice.top !== undefined && slice.top.epoch !== end.epoch) return undefined;
    if (policy.conflate) return this.#giveLatest(from, slice.entries.at(-1), end);
    return this.#giveNext(from, slice.top ?? end, slice.entries, end);
  }

  #giveLatest(from: Position, latest: LogEntry | undefined, end: Position): Position {
    // Or the same log, set back to before where it was.
    const isOther = !isReached(from, end) || (from.offset === end.offset && !isSame(from, end));
    const isNewer = latest !== undefined && (isOther || latest.offset > from.offset);
    const given = isNewer && latest.offset <= end.offset ? [latest] : [];
    const [next] = given;
    const start = next === undefined ? end : { epoch: end.epoch, offset: next.offset - 1, id: "" };
    if (isOther) this.#stay.restate(start);
    return next === undefined ? end : (this.#give(end.epoch, given) ?? from);
  }

  /** @param end - where the others here are */
  #giveNext(from: Position, top: Position, read: readonly LogEntry[], end: Position): Position | undefined {
    const step = continuation(from, top, read);
    const { gap, entries } = step;
    const stay = this.#stay;
    const { joinedAt } = stay;
    // Of a log that was set back it is given all that came after it joined; but once it is there, not again.
    const isFork = gap === "id" && isReached(from, joinedAt) && from.id !== joinedAt.id;
    const position = isFork && isReached(joinedAt, top) ? joinedAt : step.position;
    // The others here are not there yet, and may still hear some of what is not kept any more.
    if (gap !== undefined && position.offset > end.offset) return undefined;
    // What newcomers are not given leaves holes.
    const isExpected =
      gap === "trimmed" &&
      !this.#isRecovered &&
      (from.offset <= stay.since || (this.#options.tellsPresence && position.offset <= joinedAt.offset));
    if (gap !== undefined && !isExpected) {
      stay.tellGap(gap, position, true);
      stay.restate(position);
      if (gap !== "trimmed") stay.joinedAt = position;
    }
    // What is newer than the others here have heard they are given together.
    const missed = entries.filter(({ offset }) => offset <= end.offset);
    const last = this.#give(end.epoch, missed) ?? position;
    return last.offset > end.offset ? end : last;
  }

  /**
   * Gives as much as there is room for; where the member is then. Newcomers are given messages; who came and
   * left before them they find in the list.
   */
  #give(epoch: string, entries: readonly LogEntry[]): Position | undefined {
    const { member, group, joinedAt, over } = this.#stay;
    let last: LogEntry | undefined;
    let isLastGiven = true;
    for (const entry of entries) {
      if (over.signal.aborted || isCrowded(member)) break;
      last = entry;
      const envelope = decodeEnvelope(entry.text);
      const isOld = !this.#isRecovered && entry.offset <= joinedAt.offset;
      isLastGiven = !(isOld && envelope?.header.kind === "presence");
      if (isLastGiven) this.#deliver({ epoch, offset: entry.offset, id: entry.id }, envelope);
    }
    if (last === undefined) return undefined;
    if (!isLastGiven) member.skip([group, epoch, last.offset, last.id]);
    return { epoch, offset: last.offset, id: last.id };
  }

  #deliver(at: Position, envelope: Envelope | undefined): void {
    const { member, group } = this.#stay;
    const position: EventPosition = [group, at.epoch, at.offset, at.id];
    switch (envelope?.header.kind) {
      case "emit": {
        const { event, except } = envelope.header;
        if (except?.includes(member.channel)) return member.skip(position);
        return member.writeInTurn(member.codec.encode({ event, ...envelope.payload, position }));
      }
      case "send":
        return member.deliver(toMessage(envelope.payload), group, at);
      case "presence": {
        const tidings = this.#options.tidings(envelope);
        if (tidings === undefined) return member.skip(position);
        return tellMember(member, group, tidings, at);
      }
      default:
        this.#options.unreadable();
        member.skip(position);
    }
  }
}

/** Whether the client or its consumer has not taken yet what it was given. */
function isCrowded({ backlog: { bytes, messages } }: Member): boolean {
  return bytes > MAX_OUTSTANDING_BYTES || messages > MAX_OUTSTANDING_MESSAGES;
}

/** Not worth keeping a process alive for. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { ref: false, signal }).catch(() => {});
}
