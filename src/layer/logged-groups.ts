/**
 * Groups whose policy keeps history: their messages are appended to a log before anybody hears them, and
 * every member hears them in the order of the log. Who comes back is given what it missed, or told that it
 * cannot be given.
 */
import { LayerUnavailable } from "../errors.ts";
import type { Facts, GapReason } from "../facts.ts";
import type { Tally } from "../tally.ts";
import type { Tracer } from "../tracer.ts";
import type { EventPosition, Frame, FrameCodec } from "../types.ts";
import { isAhead, type Return, startOf } from "./entrance.ts";
import { decodeEnvelope, type Envelope, type Header, toMessage } from "./envelope.ts";
import { type FanOut, type Member, type Tidings, tellMember } from "./fan-out.ts";
import { type Announced, GroupLog, type GroupLogHost, isReached, isSame } from "./group-log.ts";
import type { PolicyTable } from "./group-policy.ts";
import type { Appended, HistoryStore, LogEntry, Position } from "./history-store.ts";
import { LastSaid } from "./last-said.ts";
import type { Receipts } from "./receipts.ts";
import { Replay } from "./replay.ts";
import { Stay } from "./stay.ts";

export interface LoggedGroupsOptions {
  readonly store: HistoryStore;
  readonly policies: PolicyTable;
  readonly receipts: Receipts;
  readonly fanOut: FanOut;
  readonly facts: Facts;
  readonly tally: Tally;
  readonly tracer: Tracer | undefined;
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

interface Followed {
  readonly log: GroupLog;
  users: number;
  readonly stays: Map<string, Stay>;
  /** Where newcomers are given messages of a log that tells other things as well. */
  readonly said: LastSaid | undefined;
}

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
    this.#options.tally.appended += 1;
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

  get store(): HistoryStore {
    return this.#options.store;
  }

  /** What a presence store needs. */
  get logs(): unknown {
    return this.#options.store.logs;
  }

  /** Up to where it was heard; undefined if it is not followed. */
  positionOf(group: string): Position | undefined {
    return this.#followed.get(group)?.log.position;
  }

  /** The log of a group that is in use here. */
  followedLog(group: string): Pick<GroupLog, "position" | "policy"> | undefined {
    return this.#followed.get(group)?.log;
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
  async acquire(group: string, member: Member): Promise<Return> {
    const { policies, store, receipts } = this.#options;
    const policy = policies.of(group).history;
    if (policy === undefined) throw new Error(`the group "${group}" keeps no history`);
    let followed = this.#followed.get(group);
    if (followed === undefined) {
      const log = new GroupLog(group, policy, store, this);
      const { newcomers } = policy;
      const needsSaid = newcomers > 0 && this.#tellsPresence(group);
      const said = needsSaid ? new LastSaid(group, newcomers, store) : undefined;
      followed = { log, users: 0, stays: new Map(), said };
      this.#followed.set(group, followed);
      this.#checking ??= setInterval(() => void this.#check(), CHECK_MS);
    }
    followed.users += 1;
    try {
      const { log, said } = followed;
      await log.opened;
      await said?.read();
      // It counts once: nothing may fail after it.
      const claim = member.claim(group);
      // It may have heard from another node what is not announced here yet.
      if (isAhead(claim, log, member, receipts)) {
        await log.heal();
        await said?.read().catch(() => {});
      }
      return claim;
    } catch (error) {
      this.release(group);
      // One that could not be opened is of no use to whoever comes next either.
      if (this.#followed.get(group) === followed && !followed.log.isOpen) this.#forget(group, followed);
      throw error;
    }
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
   * @param claim - what `acquire` returned
   */
  join(group: string, member: Member, claim: Return): void {
    const followed = this.#followed.get(group);
    if (followed === undefined) throw new LayerUnavailable(`the log of "${group}" is not followed`);
    const { log, stays, said } = followed;
    const start = startOf(log, member, claim, this.#options.receipts, said?.first);
    const stay = new Stay(group, member, log.position, start, this.#options);
    stays.set(member.channel, stay);
    if (start.gap !== undefined) stay.tellGap(start.gap, start.position, false);
    stay.tellJoined(start.position, start.isRecovered);
    if (isSame(start.position, log.position)) return this.#options.fanOut.add(group, member);
    const { store, fanOut, facts, presence } = this.#options;
    const replay = new Replay(log, stay, start.isRecovered, {
      ...{ store, fanOut, facts, tellsPresence: this.#tellsPresence(group) },
      tidings: ({ payload }) => this.#readable(group, () => presence.tidings(group, payload.json)),
      unreadable: () => this.#unreadable(group),
    });
    void replay.run(start.position);
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

  // ---- what a group's log says ------------------------------------------------------------------

  deliver(group: string, entry: LogEntry, position: Position): void {
    const envelope = decodeEnvelope(entry.text);
    const { tracer, fanOut } = this.#options;
    if (tracer === undefined) return this.#handOver(group, envelope, position);
    const run = () => this.#handOver(group, envelope, position);
    const header = envelope?.header;
    if (header?.kind !== "emit" && header?.kind !== "send") return tracer.outside(run);
    const { kind } = header;
    const what = kind === "emit" ? header.event : "";
    tracer.delivers({ kind, what, group, members: fanOut.count(group) }, header.trace, run);
  }

  #handOver(group: string, envelope: Envelope | undefined, position: Position): void {
    const { fanOut } = this.#options;
    if (envelope?.header.kind !== "presence") this.#followed.get(group)?.said?.note(position.offset);
    const { epoch, offset, id } = position;
    const eventPosition: EventPosition = [group, epoch, offset, id];
    switch (envelope?.header.kind) {
      case "emit": {
        const { event, except } = envelope.header;
        const outgoing = { event, ...envelope.payload, position: eventPosition };
        return fanOut.emit(group, outgoing, except && new Set(except));
      }
      case "send":
        return fanOut.send(group, toMessage(envelope.payload), position);
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
    this.#followed.get(group)?.said?.forget();
    for (const stay of this.#heldStays(group)) stay.restate(position);
  }

  healed(): void {
    this.#options.tally.healed += 1;
  }

  gap(group: string, reason: GapReason, position: Position): void {
    this.#followed.get(group)?.said?.forget();
    for (const stay of this.#heldStays(group)) {
      stay.tellGap(reason, position, true);
      stay.restate(position);
    }
    this.#options.presence.lost(group);
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
