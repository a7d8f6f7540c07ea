/**
 * Groups whose policy keeps history: their messages are appended to a log before anybody hears them, and
 * every member hears them in the order of the log. Who comes back is given what it missed, or told that it
 * cannot be given.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { LayerUnavailable } from "../errors.ts";
import type { Facts } from "../facts.ts";
import { decodePayload, deepFreeze } from "../payload.ts";
import type { EventPosition, Frame, FrameCodec, Message } from "../types.ts";
import type { Claim } from "./claims.ts";
import { decodeEnvelope, type Envelope, type Header } from "./envelope.ts";
import { type FanOut, type Member, type Tidings, tellMember } from "./fan-out.ts";
import { type Announced, continuation, type GapReason, GroupLog, type GroupLogHost } from "./group-log.ts";
import type { PolicyTable } from "./group-policy.ts";
import type { Appended, HistoryStore, LogEntry, Position } from "./history-store.ts";
import type { Receipts } from "./receipts.ts";

export interface LoggedGroupsOptions {
  readonly store: HistoryStore;
  readonly policies: PolicyTable;
  readonly receipts: Receipts;
  readonly fanOut: FanOut;
  readonly facts: Facts;
  /** Who comes and goes, where the log tells it. */
  readonly presence: LoggedPresence;
  /** Tells the other nodes that an entry was appended. */
  announce(group: string, header: Header & { readonly kind: "logged" }, text: string): void;
}

export interface LoggedPresence {
  /**
   * The next entry: what each member who has heard all before it is told, if anything. Throws if it cannot be
   * read.
   */
  follow(
    group: string,
    json: string,
    position: Position,
  ): ((channel: string) => Tidings | undefined) | undefined;
  /** An entry for whoever missed it. Throws if it cannot be read. */
  tidings(group: string, json: string): Tidings | undefined;
  /** Some entries cannot be had; the members go on after them. */
  lost(group: string): void;
}

/** A message of a group's history. */
export interface HistoryMessage {
  readonly offset: number;
  readonly id: string;
  /** Milliseconds since 1970, by the store's clock. */
  readonly at: number;
  /** The event's name, if it went to the members' clients by `groupEmit`. */
  readonly event?: string;
  /** The event's payload, or the message that went to the members' handlers by `groupSend`. */
  readonly payload: unknown;
}

export interface History {
  /** Empty when nothing was ever published, or all is forgotten. */
  readonly epoch: string;
  /** Oldest first. */
  readonly messages: readonly HistoryMessage[];
  /** Whether there are older ones. */
  readonly more: boolean;
}

/** Where a member may come in. */
export interface Entrance {
  readonly claim: Claim | "too_many" | undefined;
}

/** From joining to leaving. */
interface Stay {
  readonly member: Member;
  epoch: string;
  /** The offset at which the member was let in; it may read what came after. */
  since: number;
  /** Where the log was when it joined, or went on elsewhere: whatever came later it is given, if it is kept. */
  joinedAt: Position;
  /** To be done when it has heard as much as the others. */
  whenHeld: (() => void) | undefined;
  readonly over: AbortController;
}

interface Followed {
  readonly log: GroupLog;
  users: number;
  readonly stays: Map<string, Stay>;
  /** Offsets of the last messages before it was followed, once somebody needed them. */
  saidBefore: readonly number[] | undefined;
  readingSaid: Promise<void> | undefined;
  /** And since then; together as many as newcomers are given. */
  said: number[];
}

const CHUNK = 100;
/** Messages that one replay gives at most. */
const MAX_REPLAY = 1_000;
/** Bytes that may wait for a client, and messages for its consumer, while it is given what it missed. */
const MAX_OUTSTANDING_BYTES = 262_144;
const MAX_OUTSTANDING_MESSAGES = 100;
/** How soon it is looked whether there is room again; twice as long each time in vain. */
const LOOK_AGAIN_MS = 10;
const MAX_LOOK_AGAIN_MS = 640;
const RETRY_MS = 500;
/** How often the logs in use are compared with the store: an announcement may be lost without a trace. */
const CHECK_MS = 10_000;
const CHECKED_AT_ONCE = 500;

export class LoggedGroups implements GroupLogHost {
  readonly #options: LoggedGroupsOptions;
  readonly #followed = new Map<string, Followed>();
  #checking: NodeJS.Timeout | undefined;

  constructor(options: LoggedGroupsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#followed.size;
  }

  keepsHistory(group: string): boolean {
    return this.#options.policies.of(group).history !== undefined;
  }

  async open(): Promise<void> {
    await this.#options.store.open();
  }

  async close(): Promise<void> {
    clearInterval(this.#checking);
    for (const { log, stays } of this.#followed.values()) {
      log.close();
      for (const { over } of stays.values()) over.abort();
    }
    this.#followed.clear();
    await this.#options.store.close();
  }

  /**
   * Appends, then tells: members here at once, other nodes by the backplane.
   *
   * @throws LayerUnavailable; whether it was appended all the same is then unknown
   */
  async publish(group: string, text: string, idempotencyKey?: string): Promise<Appended> {
    const { store, policies } = this.#options;
    const policy = policies.of(group).history;
    if (policy === undefined) throw new Error(`the group "${group}" keeps no history`);
    const { size, ttlMs, conflate } = policy;
    const key = idempotencyKey === undefined ? {} : { idempotencyKey };
    const appended = await store.append(group, text, { size: conflate ? 1 : size, ttlMs, ...key });
    if (appended.isKnown) return appended;
    const { epoch, offset, id, at } = appended;
    this.appended(group, { epoch, offset, id, at, text });
    return appended;
  }

  /** Tells members here at once, other nodes by the backplane. */
  appended(group: string, entry: Announced): void {
    const { epoch, offset, id, at, text } = entry;
    this.#followed.get(group)?.log.hear(entry);
    this.#options.announce(group, { kind: "logged", epoch, offset, id, at }, text);
  }

  /** What a presence store needs. */
  get logs(): unknown {
    return this.#options.store.logs;
  }

  /** Up to where it was heard; undefined if it is not followed. */
  positionOf(group: string): Position | undefined {
    return this.#followed.get(group)?.log.position;
  }

  /** Whether the log was heard up to there, without a hole; also if it is not followed. */
  hasReached(group: string, top: Position | undefined): boolean {
    const log = this.#followed.get(group)?.log;
    return log === undefined || (!log.hasHole && (top === undefined || isReached(top, log.position)));
  }

  /** Reads what is missing of a log. Never rejects. */
  async heal(group: string): Promise<void> {
    await this.#followed.get(group)?.log.heal();
  }

  /** Runs it when the member has heard as much as the others: at once, or after what it is given first. */
  whenHeld(group: string, channel: string, run: () => void): void {
    const stay = this.#followed.get(group)?.stays.get(channel);
    if (stay === undefined || this.#options.fanOut.has(group, channel)) run();
    else stay.whenHeld = run;
  }

  /** Another node has appended. */
  hear(group: string, { epoch, offset, id, at }: Position & { readonly at: number }, text: string): void {
    this.#followed.get(group)?.log.hear({ epoch, offset, id, at, text });
  }

  /** Announcements of a group, or of any, may not have been heard. */
  suspect(group?: string): void {
    if (group === undefined) void this.#check();
    else void this.#followed.get(group)?.log.heal();
  }

  /**
   * Begins to follow a group's log, once for all members here; each needs one `release`. All that a member
   * must wait for before it can `join`.
   */
  async acquire(group: string, member: Member): Promise<Entrance> {
    const { policies, store } = this.#options;
    const policy = policies.of(group).history;
    if (policy === undefined) throw new Error(`the group "${group}" keeps no history`);
    let followed = this.#followed.get(group);
    if (followed === undefined) {
      const log = new GroupLog(group, policy, store, this);
      const nothing = { saidBefore: undefined, readingSaid: undefined, said: [] };
      followed = { log, users: 0, stays: new Map(), ...nothing };
      this.#followed.set(group, followed);
      this.#checking ??= setInterval(() => void this.#check(), CHECK_MS);
    }
    followed.users += 1;
    try {
      const { log } = followed;
      await log.opened;
      const needsSaid = policy.newcomers > 0 && this.#tellsPresence(group);
      if (needsSaid) await this.#readSaid(followed);
      // It counts once: nothing may fail after it.
      const claim = member.claim(group);
      // It may have heard from another node what is not announced here yet.
      const isAhead =
        isClaim(claim) && claim.epoch === log.position.epoch && claim.offset > log.position.offset;
      if (isAhead && this.#isHonest(claim, group, member)) {
        await log.heal();
        if (needsSaid) await this.#readSaid(followed).catch(() => {});
      }
      return { claim };
    } catch (error) {
      this.release(group);
      // One that could not be opened is of no use to whoever comes next either.
      if (this.#followed.get(group) === followed && !followed.log.isOpen) this.#forget(group, followed);
      throw error;
    }
  }

  /** Once, not for each newcomer: what it reads is all that they are given. */
  async #readSaid(followed: Followed): Promise<void> {
    if (followed.saidBefore !== undefined) return;
    const { group, policy } = followed.log;
    followed.readingSaid ??= this.#options.store
      .readBefore(group, undefined, policy.newcomers)
      .then(({ entries }) => {
        if (followed.readingSaid === reading) followed.saidBefore = entries.map(({ offset }) => offset);
      })
      .finally(() => {
        if (followed.readingSaid === reading) followed.readingSaid = undefined;
      });
    const reading = followed.readingSaid;
    await reading;
  }

  /** The first message for a newcomer who comes now. */
  #firstForNewcomers({ log, saidBefore, said }: Followed): number {
    const { newcomers } = log.policy;
    // Where the log has just gone on elsewhere, no more is known.
    if (saidBefore === undefined) return log.position.offset - newcomers + 1;
    const [next = Number.POSITIVE_INFINITY] = said;
    const all = [...saidBefore.filter((offset) => offset < next), ...said];
    return all[Math.max(all.length - newcomers, 0)] ?? Number.POSITIVE_INFINITY;
  }

  release(group: string): void {
    const followed = this.#followed.get(group);
    if (followed === undefined) return;
    followed.users -= 1;
    if (followed.users <= 0) this.#forget(group, followed);
  }

  /**
   * Lets a member in, now or when it has been given what it missed. At once, or one that has gone meanwhile
   * would stay for ever.
   *
   * @param entrance - what `acquire` returned
   */
  join(group: string, member: Member, entrance: Entrance): void {
    const followed = this.#followed.get(group);
    if (followed === undefined) throw new LayerUnavailable(`the log of "${group}" is not followed`);
    const { log, stays } = followed;
    const start = this.#startOf(followed, member, entrance);
    const stay: Stay = {
      member,
      epoch: start.position.epoch,
      since: start.since,
      joinedAt: log.position,
      whenHeld: undefined,
      over: new AbortController(),
    };
    stays.set(member.channel, stay);
    if (start.gap !== undefined) this.#tellGap(group, stay, start.gap, start.position, false);
    this.#tellJoined(group, stay, start.position, start.isRecovered);
    if (isSame(start.position, log.position)) this.#options.fanOut.add(group, member);
    else void this.#catchUp(log, stay, start.position, start.isRecovered);
  }

  leave(group: string, member: Member): void {
    const stays = this.#followed.get(group)?.stays;
    const stay = stays?.get(member.channel);
    if (stay === undefined) return;
    stays?.delete(member.channel);
    stay.over.abort();
    member.tellPosition("sluice.left", { group });
    this.release(group);
  }

  /** From where a member of this node may read, if it is one and its client may read at all. */
  readableSince(group: string, channel: string): number | undefined {
    if (this.#options.policies.of(group).history?.clientsMayRead !== true) return undefined;
    return this.#followed.get(group)?.stays.get(channel)?.since;
  }

  async history(group: string, limit: number, before: number | undefined): Promise<History> {
    const { top, entries } = await this.#options.store.readBefore(group, before, limit + 1);
    const messages = entries.slice(-limit).flatMap(toHistoryMessage);
    return { epoch: top?.epoch ?? "", messages, more: entries.length > limit };
  }

  /**
   * For a client: no more than may wait for one at once, but one message in any case.
   *
   * @param since - nothing up to this offset is given
   */
  async clientHistory(
    group: string,
    limit: number,
    before: number | undefined,
    since: number,
  ): Promise<History> {
    const { top, entries } = await this.#options.store.readBefore(group, before, limit + 1);
    const allowed = entries.filter(({ offset }) => offset > since);
    let [first, bytes] = [allowed.length, 0];
    for (const { text } of allowed.slice(-limit).reverse()) {
      bytes += Buffer.byteLength(text);
      if (bytes > MAX_OUTSTANDING_BYTES && first < allowed.length) break;
      first -= 1;
    }
    const messages = allowed.slice(first).flatMap(toHistoryMessage);
    return { epoch: top?.epoch ?? "", messages, more: first > 0 };
  }

  // ---- what a group's log says ------------------------------------------------------------------

  deliver(group: string, entry: LogEntry, position: Position): void {
    const envelope = decodeEnvelope(entry.text);
    const { fanOut } = this.#options;
    if (envelope?.header.kind !== "presence") this.#noteSaid(group, position.offset);
    const { epoch, offset, id } = position;
    const eventPosition: EventPosition = [group, epoch, offset, id];
    switch (envelope?.header.kind) {
      case "emit": {
        const { event, except } = envelope.header;
        const outgoing = { event, ...envelope.payload, position: eventPosition };
        return fanOut.emit(group, outgoing, except && new Set(except));
      }
      case "send":
        return fanOut.send(group, toMessage(envelope), position);
      case "presence":
        return this.#tellWho(group, envelope, position);
      default:
        this.#unreadable(group);
        fanOut.tellPosition(group, "sluice.position", { group, epoch, offset, id });
    }
  }

  #tellWho(group: string, { payload }: Envelope, position: Position): void {
    const { fanOut, presence } = this.#options;
    const told = this.#readable(group, () => presence.follow(group, payload.json, position));
    const frames = new Map<Tidings, Map<FrameCodec, Frame>>();
    for (const member of fanOut.all(group)) {
      const tidings = told?.(member.channel);
      if (tidings === undefined) {
        member.skip([group, position.epoch, position.offset, position.id]);
        continue;
      }
      const encoded = frames.get(tidings) ?? new Map<FrameCodec, Frame>();
      frames.set(tidings, encoded);
      tellMember(member, group, tidings, position, encoded);
    }
  }

  /** The first entry of a log: all who are here were let in before it. */
  begin(group: string, position: Position): void {
    this.#forgetSaid(group);
    for (const stay of this.#heldStays(group)) this.#restate(group, stay, position);
  }

  gap(group: string, reason: GapReason, position: Position): void {
    this.#forgetSaid(group);
    for (const stay of this.#heldStays(group)) {
      this.#tellGap(group, stay, reason, position, true);
      this.#restate(group, stay, position);
    }
    this.#options.presence.lost(group);
  }

  #noteSaid(group: string, offset: number): void {
    const followed = this.#followed.get(group);
    if (followed === undefined || !this.#tellsPresence(group)) return;
    followed.said.push(offset);
    if (followed.said.length > followed.log.policy.newcomers) followed.said.shift();
  }

  #forgetSaid(group: string): void {
    const followed = this.#followed.get(group);
    if (followed === undefined) return;
    followed.said = [];
    followed.saidBefore = undefined;
    followed.readingSaid = undefined;
  }

  // ---- joining ----------------------------------------------------------------------------------

  #startOf(followed: Followed, member: Member, { claim }: Entrance) {
    const { log } = followed;
    const { epoch, offset } = log.position;
    const { newcomers } = log.policy;
    const tellsWho = newcomers > 0 && this.#tellsPresence(log.group);
    const first = tellsWho ? this.#firstForNewcomers(followed) : offset - newcomers + 1;
    const oldest = Math.min(Math.max(first - 1, 0), offset);
    const newcomer = {
      position: oldest === offset ? log.position : { epoch, offset: oldest, id: "" },
      since: oldest,
      isRecovered: false,
    };
    if (claim === undefined) return { ...newcomer, gap: undefined };
    const reason = claim === "too_many" ? claim : this.#refusalOf(claim, log, member);
    if (reason !== undefined) return { ...newcomer, gap: reason };
    const { since, offset: from, id } = claim as Claim;
    if (offset - from <= MAX_REPLAY) {
      return { position: { epoch, offset: from, id }, since, isRecovered: true, gap: undefined };
    }
    const position = { epoch, offset: offset - MAX_REPLAY, id: "" };
    return { position, since, isRecovered: true, gap: "too_old" as const };
  }

  /** Why a client cannot go on where it was. */
  #refusalOf(claim: Claim, log: GroupLog, member: Member): GapReason | undefined {
    const { epoch, offset, id } = claim;
    const { position } = log;
    if (!this.#isHonest(claim, log.group, member)) return "receipt";
    // Let in before anything was ever said here: then it has missed the log from its beginning.
    const isFromBefore = epoch === "" && offset === 0;
    if (epoch !== position.epoch && !isFromBefore) return "epoch";
    if (offset > position.offset) return "ahead";
    const isOther = offset === position.offset && id !== "" && position.id !== "" && id !== position.id;
    return isOther ? "id" : undefined;
  }

  #isHonest({ epoch, offset, since, receipt }: Claim, group: string, { user }: Member): boolean {
    return offset >= since && this.#options.receipts.isGenuine(receipt, group, user, epoch, since);
  }

  /** Brings one member to where the others are; it is one of them in the same moment. */
  async #catchUp(log: GroupLog, stay: Stay, from: Position, isRecovered: boolean): Promise<void> {
    const { group } = log;
    const { member, over } = stay;
    let position = from;
    let replayed = 0;
    let lookAgainMs = LOOK_AGAIN_MS;
    if (!(await member.whenOpen)) return;
    while (!over.signal.aborted) {
      if (isSame(position, log.position)) {
        this.#options.fanOut.add(group, member);
        stay.whenHeld?.();
        if (isRecovered)
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
      const next = await this.#replay(log, stay, position, isRecovered);
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

  /** Gives one member some of what it missed; where it is then, or undefined if it cannot go on yet. */
  async #replay(
    log: GroupLog,
    stay: Stay,
    from: Position,
    isRecovered: boolean,
  ): Promise<Position | undefined> {
    const { group, policy } = log;
    const { store } = this.#options;
    const reading = policy.conflate
      ? store.readBefore(group, undefined, 1)
      : store.read(group, Math.max(from.offset, 1), CHUNK);
    const slice = await reading.catch(() => undefined);
    if (slice === undefined || stay.over.signal.aborted) return undefined;
    const end = log.position;
    // The store has another log than this node follows.
    if (slice.top !== undefined && slice.top.epoch !== end.epoch) return undefined;
    const top = slice.top ?? end;
    const latest = slice.entries.at(-1);
    if (policy.conflate) {
      // Or the same log, set back to before where it was.
      const isOther = !isReached(from, end) || (from.offset === end.offset && !isSame(from, end));
      const isNewer = latest !== undefined && (isOther || latest.offset > from.offset);
      const given = isNewer && latest.offset <= end.offset ? [latest] : [];
      const [next] = given;
      const start = next === undefined ? end : { epoch: end.epoch, offset: next.offset - 1, id: "" };
      if (isOther) this.#restate(group, stay, start);
      return next === undefined ? end : (this.#give(stay, group, end.epoch, given, isRecovered) ?? from);
    }
    const step = continuation(from, top, slice.entries);
    const { gap, entries } = step;
    const { joinedAt } = stay;
    // Of a log that was set back it is given all that came after it joined; but once it is there, not again.
    const isFork = gap === "id" && isReached(from, joinedAt) && from.id !== joinedAt.id;
    const position = isFork && isReached(joinedAt, top) ? joinedAt : step.position;
    // The others here are not there yet, and may still hear some of what is not kept any more.
    if (gap !== undefined && position.offset > end.offset) return undefined;
    // What newcomers are not given leaves holes.
    const isExpected =
      gap === "trimmed" &&
      !isRecovered &&
      (from.offset <= stay.since || (this.#tellsPresence(group) && position.offset <= joinedAt.offset));
    if (gap !== undefined && !isExpected) {
      this.#tellGap(group, stay, gap, position, true);
      this.#restate(group, stay, position);
      if (gap !== "trimmed") stay.joinedAt = position;
    }
    // What is newer than the others here have heard they are given together.
    const missed = entries.filter(({ offset }) => offset <= end.offset);
    const last = this.#give(stay, group, end.epoch, missed, isRecovered) ?? position;
    return last.offset > end.offset ? end : last;
  }

  /**
   * Gives as much as there is room for; where the member is then. Newcomers are given messages; who came and
   * left before them they find in the list.
   */
  #give(
    { member, joinedAt, over }: Stay,
    group: string,
    epoch: string,
    entries: readonly LogEntry[],
    isRecovered: boolean,
  ): Position | undefined {
    let last: LogEntry | undefined;
    let isLastGiven = true;
    for (const entry of entries) {
      if (over.signal.aborted || isCrowded(member)) break;
      last = entry;
      const envelope = decodeEnvelope(entry.text);
      const isOld = !isRecovered && entry.offset <= joinedAt.offset;
      isLastGiven = !(isOld && envelope?.header.kind === "presence");
      if (isLastGiven) this.#deliverTo(member, group, epoch, entry, envelope);
    }
    if (last === undefined) return undefined;
    if (!isLastGiven) member.skip([group, epoch, last.offset, last.id]);
    return { epoch, offset: last.offset, id: last.id };
  }

  #deliverTo(
    member: Member,
    group: string,
    epoch: string,
    { offset, id }: LogEntry,
    envelope: Envelope | undefined,
  ): void {
    const position: EventPosition = [group, epoch, offset, id];
    switch (envelope?.header.kind) {
      case "emit": {
        const { event, except } = envelope.header;
        if (except?.includes(member.channel)) return member.skip(position);
        return member.writeInTurn(member.codec.encode({ event, ...envelope.payload, position }));
      }
      case "send":
        return member.deliver(toMessage(envelope), group, { epoch, offset, id });
      case "presence": {
        const { json } = envelope.payload;
        const tidings = this.#readable(group, () => this.#options.presence.tidings(group, json));
        if (tidings === undefined) return member.skip(position);
        return tellMember(member, group, tidings, { epoch, offset, id });
      }
      default:
        this.#unreadable(group);
        member.skip(position);
    }
  }

  // ---- telling ----------------------------------------------------------------------------------

  #tellJoined(
    group: string,
    { member, epoch, since }: Stay,
    position: Position,
    recovered: boolean,
    isInTurn = false,
  ): void {
    const receipt = this.#options.receipts.issue(group, member.user, epoch, since);
    member.tellPosition("sluice.joined", { group, ...position, since, receipt, recovered }, isInTurn);
  }

  /** @param isInTurn - after what it was given before */
  #tellGap(group: string, { member }: Stay, reason: GapReason, position: Position, isInTurn: boolean): void {
    member.tellPosition("sluice.gap", { group, reason, ...position }, isInTurn);
    this.#options.facts.gap.announce({ group, channel: member.channel, reason });
  }

  /** A new receipt for who was a member before: of another log, or of one that is shorter than it was. */
  #restate(group: string, stay: Stay, position: Position): void {
    stay.since = stay.epoch === position.epoch ? Math.min(stay.since, position.offset) : 0;
    stay.epoch = position.epoch;
    this.#tellJoined(group, stay, position, true, true);
  }

  /** Of members that are where the log is; the others find out by themselves. */
  #heldStays(group: string): readonly Stay[] {
    const held = new Set(this.#options.fanOut.members(group));
    const stays = this.#followed.get(group)?.stays.values() ?? [];
    return [...stays].filter(({ member }) => held.has(member.channel));
  }

  #tellsPresence(group: string): boolean {
    return this.#options.policies.of(group).presence?.isLogged === true;
  }

  /** What an entry about who came or left tells; nothing if it cannot be read. */
  #readable<T>(group: string, read: () => T): T | undefined {
    try {
      return read();
    } catch {
      this.#unreadable(group);
      return undefined;
    }
  }

  #unreadable(group: string): void {
    this.#options.facts.dropped.announce({ cause: "bad-envelope", target: group, what: "" });
  }

  // ---- following --------------------------------------------------------------------------------

  #forget(group: string, { log }: Followed): void {
    log.close();
    this.#followed.delete(group);
    if (this.#followed.size > 0) return;
    clearInterval(this.#checking);
    this.#checking = undefined;
  }

  /** Reads the logs that have gone on without this node noticing. */
  async #check(): Promise<void> {
    const groups = [...this.#followed.keys()];
    for (let i = 0; i < groups.length; i += CHECKED_AT_ONCE) {
      const some = groups.slice(i, i + CHECKED_AT_ONCE);
      const tops = await this.#options.store.tops(some).catch(() => []);
      for (const [k, top] of tops.entries()) {
        const log = this.#followed.get(some[k] as string)?.log;
        const isThere = top === undefined ? log?.position.epoch === "" : isSame(top, log?.position ?? top);
        if (!isThere) void log?.heal();
      }
    }
  }
}

function isClaim(claim: Claim | "too_many" | undefined): claim is Claim {
  return typeof claim === "object";
}

function isSame(a: Position, b: Position): boolean {
  return a.epoch === b.epoch && a.offset === b.offset && (a.id === b.id || a.id === "" || b.id === "");
}

function isReached(position: Position, top: Position): boolean {
  return position.epoch === top.epoch && position.offset <= top.offset;
}

function toMessage({ payload }: Envelope): Message {
  return deepFreeze(decodePayload(payload)) as Message;
}

function toHistoryMessage({ offset, id, at, text }: LogEntry): readonly HistoryMessage[] {
  const envelope = decodeEnvelope(text);
  if (envelope === undefined) return [];
  const { header, payload } = envelope;
  const event = header.kind === "emit" ? { event: header.event } : {};
  return [{ offset, id, at, ...event, payload: decodePayload(payload) }];
}

/** Whether the client or its consumer has not taken yet what it was given. */
function isCrowded({ backlog: { bytes, messages } }: Member): boolean {
  return bytes > MAX_OUTSTANDING_BYTES || messages > MAX_OUTSTANDING_MESSAGES;
}

/** Not worth keeping a process alive for. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { ref: false, signal }).catch(() => {});
}
