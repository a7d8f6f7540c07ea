import { Tally } from "../tally.ts";
import type { EventPosition, Frame, FrameCodec, Message, OutgoingEvent } from "../types.ts";
import type { Claim } from "./claims.ts";
import type { Position } from "./history-store.ts";

/** A consumer as the layer sees it: a mailbox and a client. */
export interface Member {
  readonly channel: string;
  /** Whose connection it is, if anybody's; see `userId` of the application. */
  readonly user?: string | undefined;
  readonly codec: FrameCodec;
  /** To the client, in order; never throws. */
  write(frame: Frame): void;
  /**
   * The same, but after the handlers of all messages of histories that were delivered before: in a group
   * with history there is one order for what goes to handlers and what goes to clients.
   */
  writeInTurn(frame: Frame): void;
  /** What the others see of its user, where they are told who is there; as JSON. */
  readonly info: string;
  /** Whether it has a handler for messages of that type. */
  handles(type: string): boolean;
  /**
   * To the mailbox; with the group it was sent to, if it was, and its position there, if it keeps history.
   * With a preface its client is told that first, when the message's turn has come.
   */
  deliver(message: Message, group?: string, position?: Position, preface?: OutgoingEvent): void;
  /** Its client is now at this position, without an event of its own; in turn as well. */
  skip(position: EventPosition): void;
  /**
   * What follows is for clients that carry positions; others hear nothing of it.
   *
   * @param isInTurn - after the handlers of all messages of histories that were delivered before
   */
  tellPosition(event: PositionEvent, payload: object, isInTurn?: boolean): void;
  /** What its client says of a group when it comes back. */
  claim(group: string): Claim | "too_many" | undefined;
  /** Resolves when it is open, with true, or has ended. */
  readonly whenOpen: Promise<boolean>;
  /** Whether its client may be given so many messages of histories now; they are counted then. */
  mayBeGiven(messages: number): boolean;
  /** How much waits for it to be read. */
  readonly backlog: { readonly bytes: number; readonly messages: number };
  /** By which it is found beside its user; see `ScopeConnection.key`. */
  readonly keys?: readonly string[];
  /** Whether a group's policy lets it in: rejects if not. Undefined where nobody has to be asked. */
  mayJoin?(group: string): Promise<void> | undefined;
  /** Ends the connection; the client is told code and reason. */
  close(code: number, reason: string): void;
}

/** Who came or left: an event for the clients, and a message for consumers that handle it. */
export interface Tidings {
  readonly event: OutgoingEvent;
  readonly message: Message;
}

/** Events about positions, from the server to clients that carry them. */
export type PositionEvent = "sluice.joined" | "sluice.position" | "sluice.gap" | "sluice.left";

/** The groups' members on this node, and delivery to them. */
export class FanOut {
  readonly #groups = new Map<string, Map<string, Member>>();
  readonly #tally: Tally;

  constructor(tally = new Tally()) {
    this.#tally = tally;
  }

  add(group: string, member: Member): void {
    const members = this.#groups.get(group) ?? new Map<string, Member>();
    this.#groups.set(group, members);
    members.set(member.channel, member);
  }

  remove(group: string, channel: string): void {
    const members = this.#groups.get(group);
    if (members?.delete(channel) && members.size === 0) this.#groups.delete(group);
  }

  /** Channels, in the order of joining. */
  members(group: string): readonly string[] {
    return [...(this.#groups.get(group)?.keys() ?? [])];
  }

  /** Those that joined last, in the order of joining. */
  last(group: string, most: number): readonly Member[] {
    const last: Member[] = [];
    if (most <= 0) return last;
    let before = this.count(group) - most;
    for (const member of this.all(group)) {
      before -= 1;
      if (before < 0) last.push(member);
    }
    return last;
  }

  all(group: string): Iterable<Member> {
    return this.#groups.get(group)?.values() ?? [];
  }

  has(group: string, channel: string): boolean {
    return this.#groups.get(group)?.has(channel) === true;
  }

  count(group: string): number {
    return this.#groups.get(group)?.size ?? 0;
  }

  get size(): number {
    return this.#groups.size;
  }

  /** Each group, and how many members it has here. */
  *sizes(): Generator<readonly [group: string, members: number]> {
    for (const [group, members] of this.#groups) yield [group, members.size];
  }

  /** To the members' clients: encoded once for each codec, the same frame for all who share it. */
  emit(group: string, event: OutgoingEvent, except: ReadonlySet<string> | undefined): void {
    const members = this.#groups.get(group);
    if (members === undefined) return;
    this.#tally.deliveredToClients += members.size;
    if (except !== undefined) {
      for (const channel of except) if (members.has(channel)) this.#tally.deliveredToClients -= 1;
    }
    // Most groups have one codec, so the last one is kept at hand.
    let codec: FrameCodec | undefined;
    let frame: Frame = NOTHING;
    let others: Map<FrameCodec, Frame> | undefined;
    for (const member of members.values()) {
      if (except?.has(member.channel)) {
        if (event.position !== undefined) member.skip(event.position);
        continue;
      }
      if (member.codec !== codec) {
        if (codec !== undefined) {
          others ??= new Map();
          others.set(codec, frame);
        }
        codec = member.codec;
        frame = others?.get(codec) ?? codec.encode(event);
      }
      if (event.position === undefined) member.write(frame);
      else member.writeInTurn(frame);
    }
  }

  /** To the members' mailboxes. */
  send(group: string, message: Message, position?: Position): void {
    const members = this.#groups.get(group);
    if (members === undefined) return;
    this.#tally.deliveredToConsumers += members.size;
    for (const member of members.values()) member.deliver(message, group, position);
  }

  /**
   * In turn with the messages of histories.
   *
   * @param to - channels; without it to all members
   */
  tell(group: string, tidings: Tidings, to?: ReadonlySet<string>): void {
    const frames = new Map<FrameCodec, Frame>();
    for (const member of this.all(group)) {
      if (to?.has(member.channel) !== false) tellMember(member, group, tidings, undefined, frames);
    }
  }

  /** Something about the group's log to the members' clients. */
  tellPosition(group: string, event: PositionEvent, payload: object): void {
    for (const member of this.#groups.get(group)?.values() ?? []) member.tellPosition(event, payload, true);
  }
}

/** @param frames - what was encoded already */
export function tellMember(
  member: Member,
  group: string,
  { event, message }: Tidings,
  position: Position | undefined,
  frames = new Map<FrameCodec, Frame>(),
): void {
  const isHandled = member.handles(message.type);
  // Its handler may send events that belong to the same position.
  if (isHandled && position !== undefined) return member.deliver(message, group, position, event);
  const marked: OutgoingEvent =
    position === undefined
      ? event
      : { ...event, position: [group, position.epoch, position.offset, position.id] };
  const frame = frames.get(member.codec) ?? member.codec.encode(marked);
  frames.set(member.codec, frame);
  member.writeInTurn(frame);
  if (isHandled) member.deliver(message, group);
}

const NOTHING: Frame = { bytes: 0 };
