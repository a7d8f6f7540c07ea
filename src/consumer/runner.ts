/**
 * The machine that runs one consumer, from the first middleware to `disconnect`.
 *
 *     connecting --accepted--> open --ended--> closing --> closed
 *          \________________________________/
 *
 * Whatever ends it (the client, the transport, an error, a limit, the server) comes through `#end`, whose
 * first reason wins; so the groups are left and `disconnect` runs exactly once on every way out.
 */
import {
  ChannelFull,
  ClientError,
  CloseCode,
  ConnectionClosed,
  ConnectionDenied,
  checkCloseCode,
  InvalidMessage,
  NoHandler,
  RateLimited,
  Refusal,
} from "../errors.ts";
import type { ConnectionFact, Facts, Hook } from "../facts.ts";
import type { ChannelLayer } from "../layer/channel-layer.ts";
import type { Member } from "../layer/fan-out.ts";
import { channelName, checkEventName, checkGroupName, isEventName, ReservedEvent } from "../names.ts";
import { encodePayload } from "../payload.ts";
import type {
  Acknowledge,
  Budget,
  ClientLink,
  DisconnectReason,
  Frame,
  FrameCodec,
  Message,
  Scope,
} from "../types.ts";
import type { AskOptions, Consumer, ConsumerClass, ConsumerVerbs, EmitOptions } from "./consumer.ts";
import { type EventRow, type HandlerTable, validateLater } from "./handlers.ts";
import { Mailbox } from "./mailbox.ts";
import { Outbox } from "./outbox.ts";

/** What all connections of an application share. */
export interface RunnerContext {
  readonly layer: ChannelLayer;
  readonly facts: Facts;
  readonly limits: RunnerLimits;
}

export interface RunnerLimits {
  /** Messages and events that may wait for one consumer. */
  readonly mailbox: number;
  /** Of those, events of its client. */
  readonly pendingEvents: number;
  readonly groupsPerConnection: number;
  readonly maxMessageBytes: number;
  /** Bytes that may wait for one client. */
  readonly maxWaitingBytes: number;
  /** Refused events in a row after which a client is cut. */
  readonly floodEvents: number;
  /** How long middleware and `connect` may take together. */
  readonly connectTimeoutMs: number;
  /** How long handlers may go on after the connection ended, before `disconnect` runs all the same. */
  readonly closeTimeoutMs: number;
}

/** The route as a runner needs it. */
export interface RunnerRoute {
  readonly pattern: string;
  readonly consumer: ConsumerClass;
  readonly handlers: HandlerTable;
  readonly options: unknown;
  /** All middleware of the route, made one. */
  admit(scope: Scope, inner: (scope: Scope) => Promise<void>): Promise<void>;
}

type Item =
  | {
      readonly event: string;
      readonly payload: unknown;
      readonly row: EventRow | undefined;
      readonly acknowledge: Acknowledge | undefined;
    }
  | { readonly message: Message };

export class Runner implements Member, ConsumerVerbs {
  readonly channel: string;
  readonly #context: RunnerContext;
  readonly #route: RunnerRoute;
  readonly #link: ClientLink;
  readonly #newGroups: Budget;
  readonly #mailbox: Mailbox<Item>;
  readonly #outbox: Outbox;
  readonly #closed: AbortController;
  readonly #groups = new Set<string>();
  readonly #startedAt = performance.now();
  #state: "connecting" | "open" | "closing" | "closed" = "connecting";
  #scope: Scope;
  #consumer: Consumer | undefined;
  #reason: DisconnectReason | undefined;
  /** The constructor, `connect` or nothing; `disconnect` waits for it. */
  #connecting: Promise<unknown> = Promise.resolve();
  #pendingEvents = 0;
  #finish: () => void = () => {};
  /** Resolves when `disconnect` has run and nothing is left. */
  readonly finished: Promise<void>;

  /**
   * @param scope - the scope as the carrier knows it
   * @param closed - the controller of `scope.closed`
   * @param newGroups - how many groups that have no member here yet this client may open
   */
  constructor(
    context: RunnerContext,
    route: RunnerRoute,
    scope: Scope,
    link: ClientLink,
    closed: AbortController,
    newGroups: Budget,
  ) {
    this.#context = context;
    this.#route = route;
    this.#scope = scope;
    this.#link = link;
    this.#closed = closed;
    this.#newGroups = newGroups;
    this.channel = channelName(context.layer.node, scope.id);
    const { mailbox, maxWaitingBytes } = context.limits;
    this.#mailbox = new Mailbox(mailbox, route.handlers.concurrency, (item) => this.#handle(item));
    this.#outbox = new Outbox(link, maxWaitingBytes);
    this.finished = new Promise((resolve) => {
      this.#finish = resolve;
    });
  }

  get scope(): Scope {
    return this.#scope;
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  /** Whether nothing runs and nothing waits to be handled. */
  get isIdle(): boolean {
    return this.#state === "closed" || (this.#state === "open" && this.#mailbox.isIdle);
  }

  // ---- what the carrier calls -------------------------------------------------------------------

  /**
   * Runs middleware and `connect`. Resolves when the client is accepted; the carrier then lets it in and
   * calls `opened`. Rejects with ConnectionDenied: the carrier tells the client, the rest is done here.
   */
  async admit(): Promise<void> {
    if (this.#reason === undefined) await this.#untilConnectedOrEnded();
    if (this.#reason !== undefined) throw this.#denied(this.#reason);
  }

  async #untilConnectedOrEnded(): Promise<void> {
    const timer = setTimeout(() => {
      this.#end({ kind: "denied", code: CloseCode.connectTimeout, message: "connect took too long" });
    }, this.#context.limits.connectTimeoutMs);
    const ended = new Promise<void>((resolve) => {
      this.#closed.signal.addEventListener("abort", () => resolve(), { once: true });
    });
    try {
      // Begun a moment later, so that an end from within `connect` already finds it to wait for.
      const admission = Promise.resolve().then(() =>
        this.#route.admit(this.#scope, (scope) => this.#connect(scope)),
      );
      this.#connecting = admission.catch(() => {});
      await Promise.race([admission, ended]);
    } catch (error) {
      this.#end(this.#denialOf(error));
    } finally {
      clearTimeout(timer);
    }
  }

  /** What the carrier tells the client; announced here. */
  #denied({ kind, code, message }: DisconnectReason): ConnectionDenied {
    const { denied } = this.#context.facts;
    if (denied.hasReceivers && kind !== "client" && kind !== "transport") {
      const { namespace, remoteAddress } = this.#scope;
      denied.announce({ ...this.#fact, namespace, remoteAddress, code, reason: message });
    }
    return new ConnectionDenied(code >= 4400 ? code : CloseCode.unavailable, message);
  }

  /** The client has been let in: what waited for it goes out, events are taken. */
  opened(): void {
    if (this.#state !== "connecting") return;
    this.#state = "open";
    this.#outbox.open();
    this.#mailbox.open();
    if (!this.#context.facts.connected.hasReceivers) return;
    this.#context.facts.connected.announce({ ...this.#fact, tookMs: performance.now() - this.#startedAt });
  }

  /** An event of the client, as it came: nothing about it has been checked. */
  receive(event: unknown, args: readonly unknown[], acknowledge?: Acknowledge): void {
    if (this.#state !== "open") return;
    try {
      this.#post(event, args, acknowledge);
    } catch (error) {
      this.#refuse(typeof event === "string" ? event : "", error, acknowledge);
    }
  }

  /** The carrier has lost the client. */
  lost(reason: DisconnectReason): void {
    this.#end(reason);
  }

  /** Ends the connection; the client is told. */
  end(reason: DisconnectReason): void {
    const wasOpen = this.#state === "open";
    // First the reason, or what closing the link brings about would pass for it.
    this.#end(reason);
    if (wasOpen) this.#link.close(reason.code, reason.message);
  }

  // ---- what the layer calls ---------------------------------------------------------------------

  get codec(): FrameCodec {
    return this.#link.codec;
  }

  write(frame: Frame): void {
    if (this.#outbox.write(frame) || this.#state !== "connecting") return;
    this.#end({
      kind: "limit",
      code: CloseCode.tooSlow,
      message: "too much to send before the client was let in",
    });
  }

  deliver(message: Message): void {
    if (this.#state === "closing" || this.#state === "closed") return;
    if (!this.#mailbox.post({ message })) this.#drop("mailbox-full", message.type);
  }

  // ---- the consumer's verbs ---------------------------------------------------------------------

  send(event: string, payload: unknown): void {
    checkEventName(event);
    this.#write(event, payload);
  }

  async ask(event: string, payload: unknown, { timeoutMs = 10_000 }: AskOptions = {}): Promise<unknown> {
    checkEventName(event);
    encodePayload(payload, this.#context.limits.maxMessageBytes);
    if (this.#state !== "open") {
      throw new ConnectionClosed(
        this.#state === "connecting"
          ? "ask() works once the client is let in: not in connect()"
          : "the client cannot be asked: the connection has ended",
      );
    }
    return this.#link.ask(event, payload, timeoutMs);
  }

  close(code: number, reason: string): void {
    checkCloseCode(code);
    this.end({ kind: "closed", code, message: reason });
  }

  async groupAdd(group: string): Promise<void> {
    checkGroupName(group);
    if (this.#state !== "connecting" && this.#state !== "open") {
      throw new ConnectionClosed(`cannot join the group "${group}": the connection has ended`);
    }
    const { layer, limits } = this.#context;
    if (!this.#groups.has(group)) {
      if (this.#groups.size >= limits.groupsPerConnection) {
        throw new RateLimited(`a connection may be in ${limits.groupsPerConnection} groups at once`);
      }
      if (!layer.isUsed(group) && !this.#newGroups.take()) {
        throw new RateLimited("too many new groups in too little time; try again in a second");
      }
    }
    this.#groups.add(group);
    try {
      await layer.groupAdd(group, this.channel);
    } catch (error) {
      this.#groups.delete(group);
      throw error;
    }
  }

  async groupDiscard(group: string): Promise<void> {
    checkGroupName(group);
    this.#groups.delete(group);
    await this.#context.layer.groupDiscard(group, this.channel);
  }

  groupSend(group: string, message: Message): Promise<void> {
    return this.#context.layer.groupSend(group, message);
  }

  groupEmit(group: string, event: string, payload: unknown, options?: EmitOptions): Promise<void> {
    return this.#context.layer.groupEmit(group, event, payload, options);
  }

  // ---- connecting -------------------------------------------------------------------------------

  async #connect(scope: Scope): Promise<void> {
    this.#checkConnecting();
    this.#scope = scope;
    this.#context.layer.attach(this);
    const { consumer: Class, handlers, options } = this.#route;
    // The class's own types are the route's business; here it is a consumer like any other.
    this.#consumer = this.#construct(Class, scope, options);
    for (const group of handlers.groupsOf(scope)) await this.groupAdd(group);
    this.#checkConnecting();
    try {
      await this.#consumer.connect();
    } catch (error) {
      throw this.#reported("connect", error);
    }
    this.#checkConnecting();
  }

  #construct(Class: ConsumerClass, scope: Scope, options: unknown): Consumer {
    try {
      return new Class({ scope, options, verbs: this });
    } catch (error) {
      throw this.#reported("constructor", error);
    }
  }

  #checkConnecting(): void {
    if (this.#state !== "connecting")
      throw new ConnectionClosed("the connection ended before it was accepted");
  }

  #denialOf(error: unknown): DisconnectReason {
    if (error instanceof ClientError) {
      return { kind: "denied", code: error.closeCode, message: error.message };
    }
    if (!(error instanceof Reported)) this.#reported("middleware", error);
    return failure(error instanceof Reported ? error.cause : error);
  }

  // ---- events and messages ----------------------------------------------------------------------

  #post(event: unknown, args: readonly unknown[], acknowledge: Acknowledge | undefined): void {
    const { limits } = this.#context;
    if (!this.#link.events.take()) {
      if (this.#link.events.refusals > limits.floodEvents) {
        this.end({ kind: "limit", code: CloseCode.flood, message: "too many events" });
      }
      throw new RateLimited("too many events in too little time; slow down");
    }
    if (!isEventName(event)) throw new InvalidMessage("an event needs a name of 1 to 99 characters");
    if (args.length > 1) {
      throw new InvalidMessage(`an event takes one payload, not ${args.length}; put them into one object`);
    }
    const row = this.#route.handlers.events.get(event);
    if (row === undefined && this.#consumer?.receive === undefined) {
      throw new NoHandler("nothing here handles an event of that name");
    }
    if (this.#pendingEvents >= limits.pendingEvents) {
      throw new ChannelFull("too many events wait to be handled; wait for acknowledgements");
    }
    if (!this.#mailbox.post({ event, payload: args[0], row, acknowledge })) {
      throw new ChannelFull("the mailbox is full; try again later");
    }
    this.#pendingEvents += 1;
    if (this.#context.facts.received.hasReceivers) {
      this.#context.facts.received.announce({ ...this.#fact, event });
    }
  }

  async #handle(item: Item): Promise<void> {
    const startedAt = performance.now();
    if ("message" in item) await this.#handleMessage(item.message);
    else await this.#handleEvent(item);
    if (!this.#context.facts.handled.hasReceivers) return;
    const what = "message" in item ? item.message.type : item.event;
    this.#context.facts.handled.announce({ ...this.#fact, what, tookMs: performance.now() - startedAt });
  }

  async #handleEvent({
    event,
    payload,
    row,
    acknowledge,
  }: Exclude<Item, { message: Message }>): Promise<void> {
    this.#pendingEvents -= 1;
    let answer: unknown;
    try {
      const consumer = this.#consumer as Consumer;
      answer = await (row === undefined
        ? consumer.receive?.(event, payload)
        : row.handler(consumer, await checked(row, payload)));
    } catch (error) {
      if (error instanceof ConnectionDenied) this.close(error.closeCode, error.message);
      else if (error instanceof ClientError) this.#refuse(event, error, acknowledge);
      else this.#fail("receive", error, acknowledge);
      return;
    }
    try {
      acknowledge?.(answer);
    } catch (error) {
      // An answer that cannot be put into JSON is the handler's fault, not the client's.
      this.#fail("receive", error, acknowledge);
    }
  }

  async #handleMessage(message: Message): Promise<void> {
    const handler = this.#route.handlers.messages.get(message.type);
    if (handler === undefined) return this.#drop("no-handler", message.type);
    try {
      await handler.call(this.#consumer as Consumer, message);
    } catch (error) {
      if (error instanceof ConnectionDenied) this.close(error.closeCode, error.message);
      else this.#fail("message", error, undefined);
    }
  }

  /** Answers an event that was refused; the connection goes on. */
  #refuse(event: string, error: unknown, acknowledge: Acknowledge | undefined): void {
    const refusal = new Refusal(error);
    if (this.#context.facts.refused.hasReceivers) {
      this.#context.facts.refused.announce({ ...this.#fact, event, code: refusal.error.code });
    }
    const named = { event: event.slice(0, 99) };
    const { code, message } = refusal.error;
    const short = { code, message: message.slice(0, 200) };
    try {
      if (acknowledge !== undefined) acknowledge(refusal);
      else if (this.#state === "open") this.#write(ReservedEvent.error, { ...named, ...refusal.error });
    } catch {
      // Details that cannot be encoded, or that the client itself has made too large.
      if (acknowledge !== undefined) acknowledge({ error: short });
      else this.#write(ReservedEvent.error, { ...named, ...short }, Number.POSITIVE_INFINITY);
    }
  }

  /** What a hook threw was not meant for the client: a bug, and the end of this connection. */
  #fail(hook: Hook, error: unknown, acknowledge: Acknowledge | undefined): void {
    if (this.#isAftermath(error)) return;
    this.#announceFailure(hook, error);
    acknowledge?.(new Refusal(undefined));
    this.end(failure(error));
  }

  /** Reports what `connect` threw, once, and returns it so marked. Refusals pass as they are. */
  #reported(hook: Hook, error: unknown): unknown {
    if (error instanceof ClientError || this.#isAftermath(error)) return error;
    this.#announceFailure(hook, error);
    return new Reported(error);
  }

  #announceFailure(hook: Hook, error: unknown): void {
    this.#context.facts.failed.announce({ ...this.#fact, hook, error });
  }

  /** A verb failed because the connection ended while the hook ran: nothing is wrong with the hook. */
  #isAftermath(error: unknown): boolean {
    return error instanceof ConnectionClosed && this.#reason !== undefined;
  }

  #drop(cause: "mailbox-full" | "no-handler", what: string): void {
    this.#context.facts.dropped.announce({ cause, target: this.channel, what });
  }

  #write(event: string, payload: unknown, maxBytes = this.#context.limits.maxMessageBytes): void {
    const encoded = encodePayload(payload, maxBytes);
    this.write(this.#link.codec.encode({ event, ...encoded }));
  }

  get #fact(): ConnectionFact {
    return { channel: this.channel, route: this.#route.pattern, scope: this.#scope };
  }

  // ---- the end ----------------------------------------------------------------------------------

  #end(reason: DisconnectReason): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    const wasOpen = this.#state === "open";
    this.#state = "closing";
    if (!wasOpen) this.#outbox.discard();
    this.#context.layer.detach(this.channel);
    this.#groups.clear();
    // A client that went of itself may have said something last; it is heard. Messages have nowhere to go.
    const isHeard = reason.kind === "client" || reason.kind === "transport";
    this.#mailbox.end((item) => isHeard && "event" in item);
    this.#closed.abort(reason);
    void this.#finishUp(reason, wasOpen);
  }

  async #finishUp(reason: DisconnectReason, wasOpen: boolean): Promise<void> {
    const { facts, limits } = this.#context;
    await within(limits.closeTimeoutMs, Promise.all([this.#connecting, this.#mailbox.idle()]));
    try {
      await within(limits.closeTimeoutMs, this.#consumer?.disconnect(reason));
    } catch (error) {
      if (!this.#isAftermath(error)) this.#announceFailure("disconnect", error);
    }
    this.#state = "closed";
    if (this.#consumer !== undefined && facts.disconnected.hasReceivers) {
      const lastedMs = performance.now() - this.#startedAt;
      facts.disconnected.announce({ ...this.#fact, reason, wasOpen, lastedMs });
    }
    this.#finish();
  }
}

/** An error that `failed` has been announced for. */
class Reported extends Error {
  constructor(cause: unknown) {
    super("reported", { cause });
  }
}

function failure(error: unknown): DisconnectReason {
  return { kind: "failed", code: CloseCode.internalError, message: "internal error", error };
}

function checked(row: EventRow, payload: unknown): unknown {
  if (row.schema !== undefined) return validateLater(row.schema, payload);
  if (payload === undefined) return undefined;
  throw new InvalidMessage("this event takes no payload");
}

/** Waits for a promise, but not for longer; what it throws is thrown. */
async function within(timeoutMs: number, work: unknown): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeoutMs);
  });
  try {
    await Promise.race([work, timeout]);
  } finally {
    clearTimeout(timer);
  }
}
