/**
 * What comes to one consumer: events of its client and messages of others. Each is checked, waits its
 * turn in the mailbox, runs its handler and, if it is an event, is answered.
 */
import {
  ChannelFull,
  CloseCode,
  ConnectionDenied,
  INTERNAL_ERROR,
  InvalidMessage,
  isForClient,
  NoHandler,
  RateLimited,
  Refusal,
  verdictOf,
} from "../errors.ts";
import type { ConnectionFact, DropCause, Facts, Hook, LimitName } from "../facts.ts";
import type { Position } from "../layer/history-store.ts";
import { checkEventName, ReservedEvent } from "../names.ts";
import { FLOOD, TOO_SLOW } from "../reasons.ts";
import type { RouteTimings, Tally } from "../tally.ts";
import { isClientTrace, type TraceOrigin, type Tracer } from "../tracer.ts";
import type { Acknowledge, AroundHook, DisconnectReason, Frame, Message, OutgoingEvent } from "../types.ts";
import type { Consumer } from "./consumer.ts";
import type { EventBudget } from "./event-budget.ts";
import { type EventRow, type HandlerTable, isThenable, type PayloadCodec, validated } from "./handlers.ts";
import { Mailbox } from "./mailbox.ts";

/** The machine around it. */
export interface IntakeHost {
  readonly channel: string;
  readonly route: string;
  readonly user: string | undefined;
  readonly isOpen: boolean;
  readonly fact: ConnectionFact;
  /** What facts are announced by: the consumer's class. */
  readonly sender: unknown;
  readonly consumer: Consumer | undefined;
  isIn(group: string): boolean;
  /** The handler of a message of a group's history begins, after this event to the client; and has ended. */
  begins(group: string, position: Position, preface: OutgoingEvent | undefined): void;
  completes(group: string, position: Position): void;
  /** What the client asks of a group's history. */
  readHistory(payload: unknown): Promise<unknown>;
  /** Shows new credentials to the middleware that stays. */
  refresh(auth: Readonly<Record<string, unknown>>): Promise<unknown>;
  /** Runs a hook or handler within the middleware that stays. */
  around<T>(hook: AroundHook, run: () => T | Promise<T>): T | Promise<T>;
  write(frame: Frame): void;
  /** To the client, in order. */
  tell(event: string, payload: unknown, maxBytes?: number): void;
  /** Ends the connection; the client is told. */
  end(reason: DisconnectReason): void;
  close(code: number, reason: string): void;
  /** The client has come to a limit. */
  limited(limit: LimitName): void;
  /** Announces a failure and ends the connection, unless it is only the aftermath of its end. */
  fail(hook: Hook, error: unknown): void;
}

export interface IntakeLimits {
  readonly mailbox: number;
  readonly pendingEvents: number;
  readonly floodEvents: number;
}

/** What all intakes of an application share. */
export interface IntakeContext {
  readonly facts: Facts;
  readonly limits: IntakeLimits;
  readonly tally: Tally;
  readonly tracer: Tracer | undefined;
}

interface EventItem {
  readonly event: string;
  readonly payload: unknown;
  readonly row: EventRow | undefined;
  readonly acknowledge: Acknowledge | undefined;
  readonly trace: TraceOrigin | undefined;
}

interface MessageItem {
  readonly message: Message;
  /** The group it was sent to, if it was. */
  readonly group: string | undefined;
  /** In the group's history, if it keeps one. */
  readonly position: Position | undefined;
  /** What the client is told first. */
  readonly preface: OutgoingEvent | undefined;
  readonly trace: TraceOrigin | undefined;
}

interface FactItem {
  /** The signal's name. */
  readonly signal: string;
  readonly hear: () => unknown;
}

interface FrameItem {
  /** For the client, after the handlers of the messages of histories before it. */
  readonly frame: Frame;
}

type Item = EventItem | MessageItem | FactItem | FrameItem;

const CONNECTION_CLOSED = new Refusal({
  code: "connection_closed",
  closeCode: CloseCode.unavailable,
  message: "the connection was closed before this event was handled",
});

export class Intake {
  readonly #host: IntakeHost;
  readonly #handlers: HandlerTable;
  readonly #budget: EventBudget;
  readonly #facts: Facts;
  readonly #limits: IntakeLimits;
  readonly #mailbox: Mailbox<Item>;
  readonly #tally: Tally;
  readonly #tracer: Tracer | undefined;
  readonly #timings: RouteTimings | undefined;
  /** The item whose waiting is measured, and since when. */
  #probe: Item | undefined;
  #probedAt = 0;
  #pendingEvents = 0;
  /** Readings of histories: one after another, or a client would have the server read all at once. */
  #reading: Promise<void> | undefined;
  #pendingReadings = 0;
  #isRefreshing = false;
  /** Messages of histories that wait or are handled, and frames behind them. */
  #pendingLogged = 0;
  #pendingBytes = 0;

  /** @param budget - how many events the client may send */
  constructor(
    host: IntakeHost,
    handlers: HandlerTable,
    budget: EventBudget,
    { facts, limits, tally, tracer }: IntakeContext,
    timings: RouteTimings | undefined,
  ) {
    this.#tally = tally;
    this.#tracer = tracer;
    this.#timings = timings;
    this.#host = host;
    this.#handlers = handlers;
    this.#budget = budget;
    this.#facts = facts;
    this.#limits = limits;
    const capacity = handlers.mailbox ?? limits.mailbox;
    this.#mailbox = new Mailbox(capacity, handlers.concurrency, this);
  }

  /** `connect` has ended: what waits may run. */
  open(): void {
    this.#mailbox.open();
  }

  /** An event of the client, as it came: nothing about it has been checked. Never throws. */
  receive(event: unknown, args: readonly unknown[], acknowledge: Acknowledge | undefined): void {
    try {
      this.#post(event, args, acknowledge);
    } catch (error) {
      this.#refuse(typeof event === "string" ? event : "", error, acknowledge);
    }
  }

  /** A message of another consumer. */
  deliver(message: Message, group?: string, position?: Position, preface?: OutgoingEvent): void {
    const trace = this.#tracer?.origin();
    if (this.#take({ message, group, position, preface, trace })) {
      if (position !== undefined) this.#pendingLogged += 1;
      return;
    }
    this.#drop(this.#mailbox.hasEnded ? "ended" : "mailbox-full", message.type);
    // Nothing of a history is left out: who cannot keep up comes back and goes on where it was.
    if (position !== undefined && !this.#mailbox.hasEnded) this.#host.end(TOO_SLOW);
  }

  /** Takes a frame if messages of histories wait before it; else says false. */
  write(frame: Frame): boolean {
    if (this.#pendingLogged === 0 || this.#mailbox.hasEnded) return false;
    if (this.#mailbox.post({ frame })) {
      this.#pendingLogged += 1;
      this.#pendingBytes += frame.bytes;
    } else this.#host.end(TOO_SLOW);
    return true;
  }

  /** Items that wait. */
  get waiting(): number {
    return this.#mailbox.size;
  }

  /** Of frames that wait. */
  get waitingBytes(): number {
    return this.#pendingBytes;
  }

  /** A fact that a signal announced. */
  hear(signal: string, hear: () => unknown): void {
    if (!this.#mailbox.post({ signal, hear }) && !this.#mailbox.hasEnded) this.#drop("mailbox-full", signal);
  }

  /** Takes nothing more. What waits is dropped and told, but for events of a client if `isHeard`. */
  end(isHeard: boolean): void {
    for (const item of this.#mailbox.end((waiting) => isHeard && "event" in waiting)) {
      if ("message" in item) this.#drop("ended", item.message.type);
      else if ("event" in item) item.acknowledge?.(CONNECTION_CLOSED);
    }
  }

  /** Resolves when nothing runs and nothing that may run waits. */
  idle(): Promise<void> {
    return this.#mailbox.idle();
  }

  get isIdle(): boolean {
    return this.#mailbox.isIdle;
  }

  #post(event: unknown, args: readonly unknown[], acknowledge: Acknowledge | undefined): void {
    if (!this.#budget.take()) {
      if (this.#budget.refusals > this.#limits.floodEvents) {
        this.#host.end(FLOOD);
      }
      const limit = this.#budget.refusedBy;
      this.#host.limited(limit);
      throw new RateLimited("too many events in too little time; slow down", limit);
    }
    if (event === ReservedEvent.history) return this.#readHistory(args[0], acknowledge);
    if (event === ReservedEvent.auth) return this.#refresh(args[0], acknowledge);
    const name = checkEventName(event);
    let payload = args[0];
    let trace: TraceOrigin | undefined;
    if (args.length > 1) {
      const second = args.length === 2 ? args[1] : undefined;
      if (!isClientTrace(second)) {
        throw new InvalidMessage(`an event takes one payload, not ${args.length}; put them into one object`);
      }
      if (second.bare === true) payload = undefined;
      trace = this.#tracer?.clientOrigin(second);
    }
    const row = this.#handlers.events.get(name);
    if (row === undefined && this.#host.consumer?.receive === undefined) {
      throw new NoHandler("nothing here handles an event of that name");
    }
    if (this.#pendingEvents >= this.#limits.pendingEvents) {
      this.#host.limited("pendingEvents");
      throw new ChannelFull("too many events wait to be handled; wait for acknowledgements");
    }
    if (!this.#take({ event: name, payload, row, acknowledge, trace })) {
      throw new ChannelFull("the mailbox is full; try again later");
    }
    this.#pendingEvents += 1;
    this.#tally.received += 1;
    const { received } = this.#facts;
    if (received.hasReceivers) received.announce({ ...this.#host.fact, event: name }, this.#host.sender);
  }

  /** Puts it into the mailbox; of what waits there, one at a time is measured, if somebody wants to know. */
  #take(item: EventItem | MessageItem): boolean {
    if (!this.#mailbox.post(item)) return false;
    if (this.#timings !== undefined && this.#probe === undefined) {
      this.#probe = item;
      this.#probedAt = performance.now();
    }
    return true;
  }

  /** A promise only if something has to be waited for: most handlers of most applications do not. */
  run(item: Item): Promise<void> | undefined {
    if ("frame" in item) {
      this.#pendingLogged -= 1;
      this.#pendingBytes -= item.frame.bytes;
      this.#host.write(item.frame);
      return undefined;
    }
    const startedAt = this.#beginTiming(item);
    const isWell = this.#tracer === undefined ? this.#run(item) : this.#trace(this.#tracer, item);
    if (isWell instanceof Promise) return isWell.then((isWell) => this.#handled(item, isWell, startedAt));
    this.#handled(item, isWell, startedAt);
    return undefined;
  }

  /** When its handler begins; undefined if nobody wants to know. */
  #beginTiming(item: Item): number | undefined {
    const timings = this.#timings;
    if (timings === undefined && !this.#facts.handled.hasReceivers) return undefined;
    const now = performance.now();
    if (item === this.#probe) {
      this.#probe = undefined;
      timings?.waited.note(now - this.#probedAt);
    }
    return now;
  }

  #handled(item: Exclude<Item, FrameItem>, isWell: boolean, startedAt: number | undefined): void {
    const { handled } = this.#facts;
    if (startedAt === undefined) return;
    const endedAt = performance.now();
    this.#timings?.handled.note(endedAt - startedAt);
    if (!isWell || !handled.hasReceivers) return;
    const what = "message" in item ? item.message.type : "event" in item ? item.event : item.signal;
    handled.announce({ ...this.#host.fact, what, tookMs: endedAt - startedAt }, this.#host.sender);
  }

  /** As `#run`, followed: what has no handler is not. */
  #trace(tracer: Tracer, item: Exclude<Item, FrameItem>): boolean | Promise<boolean> {
    const run = () => this.#run(item);
    const isEvent = "event" in item;
    if (!isEvent && !("message" in item && this.#handlers.messages.has(item.message.type))) {
      return tracer.outside(run);
    }
    const { channel, route, user } = this.#host;
    const what = isEvent ? item.event : item.message.type;
    const hook = isEvent ? "event" : "message";
    return tracer.handles({ hook, route, channel, user, what }, item.trace, run);
  }

  /** Says whether it went well. */
  #run(item: Exclude<Item, FrameItem>): boolean | Promise<boolean> {
    if ("event" in item) return this.#handleEvent(item);
    if ("message" in item) return this.#handleMessage(item);
    return this.#handleQuietly(item.hear);
  }

  #handleEvent(item: EventItem): boolean | Promise<boolean> {
    this.#pendingEvents -= 1;
    try {
      const answer = this.#host.around("receive", () => this.#answerOf(item));
      if (!isThenable(answer)) return this.#answer(item, answer);
      return Promise.resolve(answer).then(
        (answer) => this.#answer(item, answer),
        (error) => this.#eventFailed(item, error),
      );
    } catch (error) {
      return this.#eventFailed(item, error);
    }
  }

  #answerOf({ event, payload: sent, row }: EventItem): unknown {
    const consumer = this.#host.consumer as Consumer;
    const { codec } = this.#handlers;
    const payload = codec === undefined ? sent : decoded(codec, sent);
    if (row === undefined) return consumer.receive?.(event, payload);
    const valid = checked(row, payload);
    if (isThenable(valid)) return Promise.resolve(valid).then((valid) => row.handler(consumer, valid));
    return row.handler(consumer, valid);
  }

  #answer({ acknowledge }: EventItem, answer: unknown): boolean {
    if (acknowledge === undefined) return true;
    const { codec } = this.#handlers;
    try {
      acknowledge(codec === undefined ? answer : codec.encode(answer));
      return true;
    } catch (error) {
      // An answer that cannot be put into JSON is the handler's fault, not the client's.
      this.#tracer?.failed(error);
      this.#fail("receive", error, acknowledge);
      return false;
    }
  }

  #eventFailed({ event, acknowledge }: EventItem, error: unknown): boolean {
    this.#tracer?.failed(error);
    if (isForClient(error)) this.#refuse(event, error, acknowledge);
    else this.#fail("receive", error, acknowledge);
    if (error instanceof ConnectionDenied) this.#host.close(error.closeCode, error.message);
    return false;
  }

  #handleMessage({ message, group, position, preface }: MessageItem): boolean | Promise<boolean> {
    if (group === undefined) return this.#handleOf(message);
    // Otherwise it left the group while the message waited.
    const isMember = this.#host.isIn(group);
    if (position !== undefined) return this.#handleLogged(message, isMember, group, position, preface);
    return isMember && this.#handleOf(message);
  }

  async #handleLogged(
    message: Message,
    isMember: boolean,
    group: string,
    position: Position,
    preface: OutgoingEvent | undefined,
  ): Promise<boolean> {
    if (isMember) this.#host.begins(group, position, preface);
    const isWell = isMember && (await this.#handleOf(message));
    this.#pendingLogged -= 1;
    if (isMember) this.#host.completes(group, position);
    return isWell;
  }

  #handleOf(message: Message): boolean | Promise<boolean> {
    const handler = this.#handlers.messages.get(message.type);
    if (handler === undefined) {
      this.#drop("no-handler", message.type);
      return false;
    }
    return this.#handleQuietly(() => handler.call(this.#host.consumer as Consumer, message));
  }

  /** What nobody waits for an answer of. */
  #handleQuietly(handle: () => unknown): boolean | Promise<boolean> {
    try {
      const work = this.#host.around("message", handle);
      if (!isThenable(work)) return true;
      return Promise.resolve(work).then(
        () => true,
        (error) => this.#messageFailed(error),
      );
    } catch (error) {
      return this.#messageFailed(error);
    }
  }

  #messageFailed(error: unknown): boolean {
    this.#tracer?.failed(error);
    if (error instanceof ConnectionDenied) this.#host.close(error.closeCode, error.message);
    else this.#host.fail("message", error);
    return false;
  }

  /** Not through the mailbox: no hook or handler is concerned. */
  #readHistory(payload: unknown, acknowledge: Acknowledge | undefined): void {
    if (acknowledge === undefined) return;
    if (this.#pendingReadings >= this.#limits.pendingEvents) {
      throw new ChannelFull("too many readings wait; wait for their answers");
    }
    this.#pendingReadings += 1;
    this.#reading = (this.#reading ?? Promise.resolve()).then(() =>
      this.#answerHistory(payload, acknowledge),
    );
  }

  /** Not through the mailbox either: a handler that takes its time must not let a token end. */
  #refresh(auth: unknown, acknowledge: Acknowledge | undefined): void {
    if (this.#isRefreshing) throw new RateLimited("new credentials are being looked at already; wait");
    if (typeof auth !== "object" || auth === null || Array.isArray(auth)) {
      throw new InvalidMessage("send new credentials as an object, as in auth: { token }");
    }
    this.#isRefreshing = true;
    void this.#answerRefresh(auth as Readonly<Record<string, unknown>>, acknowledge);
  }

  async #answerRefresh(
    auth: Readonly<Record<string, unknown>>,
    acknowledge: Acknowledge | undefined,
  ): Promise<void> {
    try {
      const answer = await this.#host.refresh(auth);
      if (this.#host.isOpen) acknowledge?.(answer);
    } catch (error) {
      if (!isForClient(error)) return this.#fail("middleware", error, acknowledge);
      this.#refuse(ReservedEvent.auth, error, acknowledge);
      if (error instanceof ConnectionDenied) this.#host.close(error.closeCode, error.message);
    } finally {
      this.#isRefreshing = false;
    }
  }

  async #answerHistory(payload: unknown, acknowledge: Acknowledge): Promise<void> {
    this.#pendingReadings -= 1;
    if (!this.#host.isOpen) return acknowledge(CONNECTION_CLOSED);
    try {
      acknowledge(await this.#host.readHistory(payload));
    } catch (error) {
      this.#refuse(ReservedEvent.history, error, acknowledge);
    }
  }

  /** Answers an event that was refused; the connection goes on. */
  #refuse(event: string, error: unknown, acknowledge: Acknowledge | undefined): void {
    const refusal = new Refusal(verdictOf(error));
    const { code, message } = refusal.error;
    if (this.#facts.refused.hasReceivers) {
      this.#facts.refused.announce({ ...this.#host.fact, event, code }, this.#host.sender);
    }
    const named = { event: event.slice(0, 99) };
    const short = { code, message: message.slice(0, 200) };
    try {
      if (acknowledge !== undefined) acknowledge(refusal);
      else if (this.#host.isOpen) this.#host.tell(ReservedEvent.error, { ...named, ...refusal.error });
    } catch {
      // Details that cannot be encoded, or that the client itself has made too large.
      if (acknowledge !== undefined) acknowledge({ error: short });
      else this.#host.tell(ReservedEvent.error, { ...named, ...short }, Number.POSITIVE_INFINITY);
    }
  }

  #fail(hook: Hook, error: unknown, acknowledge: Acknowledge | undefined): void {
    acknowledge?.(new Refusal(INTERNAL_ERROR));
    this.#host.fail(hook, error);
  }

  #drop(cause: DropCause, what: string): void {
    this.#facts.dropped.announce({ cause, target: this.#host.channel, what }, this.#host.sender);
  }
}

/** A payload that cannot be decoded is its client's fault. */
function decoded(codec: PayloadCodec, payload: unknown): unknown {
  try {
    return codec.decode(payload);
  } catch (error) {
    if (isForClient(error)) throw error;
    throw new InvalidMessage("the payload cannot be decoded");
  }
}

function checked(row: EventRow, payload: unknown): unknown {
  if (row.schema !== undefined) return validated(row.schema, payload);
  if (payload === undefined) return undefined;
  throw new InvalidMessage("this event takes no payload");
}
