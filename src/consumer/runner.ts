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
  CloseCode,
  ConnectionClosed,
  ConnectionDenied,
  checkCloseCode,
  isForClient,
  JoinRefused,
  RateLimited,
} from "../errors.ts";
import type { ConnectionFact, Hook, LimitName } from "../facts.ts";
import type { Claim, Claims } from "../layer/claims.ts";
import type { PositionEvent } from "../layer/fan-out.ts";
import type { MayJoin } from "../layer/group-policy.ts";
import type { Position } from "../layer/history-store.ts";
import { channelName } from "../names.ts";
import { encodePayload } from "../payload.ts";
import { ConnectionScope, ScopeSource } from "../scope.ts";
import type { Soon } from "../soon.ts";
import type { Handling, Tracer } from "../tracer.ts";
import type {
  Acknowledge,
  Allowances,
  AroundHook,
  ClientLink,
  DisconnectReason,
  EventPosition,
  Frame,
  FrameCodec,
  Message,
  OutgoingEvent,
  Scope,
  ScopeConnection,
} from "../types.ts";
import type { ConnectionContext, RunnerClient, RunnerRoute } from "./connection-context.ts";
import type { Consumer } from "./consumer.ts";
import { disconnect, Patience } from "./ending.ts";
import { EventBudget } from "./event-budget.ts";
import { isThenable, type PayloadCodec } from "./handlers.ts";
import { Intake, type IntakeHost } from "./intake.ts";
import { Outbox } from "./outbox.ts";
import { type Host, Staying } from "./staying.ts";
import type { UserPlace, Users } from "./users.ts";
import { type Speaker, Verbs } from "./verbs.ts";

export interface RunnerContext extends ConnectionContext {
  /** It is closed, and nothing of it is left. */
  readonly finished: (runner: Runner) => void;
}

const NONE: readonly never[] = [];

export class Runner implements Speaker, Host, IntakeHost {
  readonly channel: string;
  readonly codec: FrameCodec;
  readonly link: ClientLink;
  readonly allowances: Allowances;
  readonly #context: RunnerContext;
  readonly #route: RunnerRoute;
  readonly #claims: Claims | undefined;
  readonly #intake: Intake;
  readonly #verbs: Verbs;
  /** Of what is sent before its client is let in. */
  #outbox: Outbox | undefined;
  readonly #events: EventBudget;
  /** Of its user. */
  #place: UserPlace | undefined;
  readonly #startedAt = performance.now();
  #state: "connecting" | "open" | "closing" | "closed" = "connecting";
  readonly #source: ScopeSource;
  #scope: ConnectionScope;
  #user: string | undefined;
  #info = "";
  #consumer: Consumer | undefined;
  #reason: DisconnectReason | undefined;
  /** The constructor and `connect`, while they run; `disconnect` waits for them. */
  #connecting: Promise<void> | undefined;
  #staying: Staying | undefined;
  #keys: readonly string[] = NONE;
  /** The message of a group's history whose handler runs, and how many events it has sent. */
  #handling: { readonly position: Position; readonly group: string; parts: number } | undefined;
  /** What waits for it to open, to be admitted, to end, or to be given up; made when somebody waits. */
  #whenOpen: Promise<boolean> | undefined;
  #settleOpen: ((isOpen: boolean) => void) | undefined;
  #endAdmission: (() => void) | undefined;
  #finished: Promise<void> | undefined;
  #finish: (() => void) | undefined;
  #patience: Patience | undefined;

  constructor(context: RunnerContext, route: RunnerRoute, client: RunnerClient) {
    this.#context = context;
    this.#route = route;
    this.link = client.link;
    this.#claims = client.claims;
    this.allowances = client.allowances;
    this.#source = new ScopeSource(client.handshake, client.auth, client.params, this);
    this.#scope = new ConnectionScope(this.#source);
    this.channel = channelName(context.layer.node, this.#source.id);
    this.#events = new EventBudget(client.link.events);
    this.#events.add("eventsPerSecondPerAddress", client.allowances.events);
    this.#verbs = new Verbs(context, this);
    const timings = context.tally.timingsOf(route.pattern);
    this.#intake = new Intake(this, route.handlers, this.#events, context, timings);
    this.codec = (client.claims && client.link.positionedCodec) ?? client.link.codec;
  }

  /** Resolves when `disconnect` has run and nothing is left. */
  get finished(): Promise<void> {
    if (this.#state === "closed") return Promise.resolve();
    this.#finished ??= new Promise((resolve) => {
      this.#finish = resolve;
    });
    return this.#finished;
  }

  /** Resolves when it is open, with true, or has ended before. */
  get whenOpen(): Promise<boolean> {
    if (this.#state !== "connecting") return Promise.resolve(this.#state === "open");
    this.#whenOpen ??= new Promise((resolve) => {
      this.#settleOpen = resolve;
    });
    return this.#whenOpen;
  }

  get scope(): ConnectionScope {
    return this.#scope;
  }

  get namespace(): string {
    return this.#source.handshake.namespace;
  }

  get user(): string | undefined {
    return this.#user;
  }

  get keys(): readonly string[] {
    return this.#keys;
  }

  get info(): string {
    return this.#info;
  }

  get consumer(): Consumer | undefined {
    return this.#consumer;
  }

  get isOpen(): boolean {
    return this.#state === "open";
  }

  /** Since it came. */
  get ageMs(): number {
    return performance.now() - this.#startedAt;
  }

  /** Why it ended, once it has. */
  get reason(): DisconnectReason | undefined {
    return this.#reason;
  }

  /** Whether nothing runs and nothing waits to be handled. */
  get isIdle(): boolean {
    return this.#state === "closed" || (this.#state === "open" && this.#intake.isIdle);
  }

  // ---- what the carrier calls -------------------------------------------------------------------

  /**
   * Runs middleware and `connect`. Resolves when the client is accepted; the carrier then lets it in and
   * calls `opened`. Rejects with ConnectionDenied: the carrier tells the client, the rest is done here.
   */
  async admit(): Promise<void> {
    const { tracer } = this.#context;
    if (this.#reason === undefined) {
      await (tracer === undefined ? this.#untilConnectedOrEnded() : this.#traceConnect(tracer));
    }
    if (this.#reason !== undefined) throw this.#denied(this.#reason);
  }

  /** The client has been let in: what waited for it goes out, events are taken. */
  opened(): void {
    if (this.#state !== "connecting") return;
    this.#state = "open";
    this.#outbox?.open();
    this.#outbox = undefined;
    this.#intake.open();
    this.#settleOpen?.(true);
    this.#context.tally.accepted.add(this.route);
    const { connected } = this.#context.facts;
    if (!connected.hasReceivers) return;
    connected.announce({ ...this.fact, tookMs: performance.now() - this.#startedAt }, this.sender);
  }

  /** An event of the client, as it came: nothing about it has been checked. */
  receive(event: unknown, args: readonly unknown[], acknowledge?: Acknowledge): void {
    if (this.#state === "open") this.#intake.receive(event, args, acknowledge);
  }

  async readHistory(payload: unknown): Promise<unknown> {
    try {
      return await this.#context.layer.clientHistory(this, payload);
    } catch (error) {
      if (error instanceof RateLimited) this.limited("replayedPerSecond");
      throw error;
    }
  }

  limited(limit: LimitName): void {
    const { limited } = this.#context.facts;
    if (!limited.hasReceivers) return;
    const { namespace, remoteAddress } = this.#scope;
    const user = this.#user === undefined ? {} : { user: this.#user };
    limited.announce({ limit, namespace, remoteAddress, ...user }, this.sender);
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
    if (wasOpen) this.link.close(reason.code, reason.message);
  }

  /** Waits no longer for hooks and handlers that still run. The connection must have been ended. */
  abandon(): void {
    this.#endAdmission?.();
    this.#patience ??= new Patience();
    this.#patience.giveUp();
  }

  /** As if its process had been killed: nothing runs any more, and nobody is told. For the test kit. */
  vanish(): void {
    if (this.#state === "closed") return;
    this.#reason ??= { kind: "transport", code: 4001, message: "the node was killed" };
    this.#state = "closed";
    this.#outbox = Outbox.closed;
    this.#settleOpen?.(false);
    this.#verbs.endListening();
    this.abandon();
    this.#over();
    // After whoever carries it has learnt that nobody answers any more.
    void this.finished.then(() => this.#intake.end(false));
  }

  // ---- what the layer calls ---------------------------------------------------------------------

  write(frame: Frame): void {
    if (this.#state === "connecting") {
      this.#outbox ??= new Outbox(this.link, this.#context.limits.maxWaitingBytes);
    }
    if (this.#outbox === undefined) return this.link.write(frame);
    if (this.#outbox.write(frame) || this.#state !== "connecting") return;
    const message = "too much to send before the client was let in";
    this.#end({ kind: "limit", code: CloseCode.tooSlow, message });
  }

  deliver(message: Message, group?: string, position?: Position, preface?: OutgoingEvent): void {
    this.#intake.deliver(message, group, position, preface);
  }

  writeInTurn(frame: Frame): void {
    if (!this.#intake.write(frame)) this.write(frame);
  }

  handles(type: string): boolean {
    return this.#route.handlers.messages.has(type);
  }

  skip([group, epoch, offset, id]: EventPosition): void {
    const frame = this.#positionFrame("sluice.position", { group, epoch, offset, id });
    if (frame !== undefined) this.writeInTurn(frame);
  }

  tellPosition(event: PositionEvent, payload: object, isInTurn = false): void {
    const frame = this.#positionFrame(event, payload);
    if (frame === undefined) return;
    if (isInTurn) this.writeInTurn(frame);
    else this.write(frame);
  }

  #positionFrame(event: PositionEvent, payload: object): Frame | undefined {
    if (this.#claims === undefined || this.#reason !== undefined) return undefined;
    return this.codec.encode({ event, json: JSON.stringify(payload), attachments: [] });
  }

  claim(group: string): Claim | "too_many" | undefined {
    return this.#claims?.take(group);
  }

  mayBeGiven(messages: number): boolean {
    return this.allowances.replayed.take(messages);
  }

  get backlog(): { readonly bytes: number; readonly messages: number } {
    const { waiting, waitingBytes } = this.#intake;
    return { bytes: this.link.waitingBytes + waitingBytes, messages: waiting };
  }

  get route(): string {
    return this.#route.pattern;
  }

  /** What its client's connection is known by: the same for all routes open on it. */
  get connection(): unknown {
    return this.link.events;
  }

  /** Written to its client, by any route of the connection, and not gone yet. */
  get waitingBytes(): number {
    return this.link.waitingBytes;
  }

  /** In its mailbox. */
  get waitingItems(): number {
    return this.#intake.waiting;
  }

  isIn(group: string): boolean {
    return this.#context.layer.isIn(group, this.channel);
  }

  mayJoin(group: string): Promise<void> | undefined {
    const { mayJoin } = this.#context.policies.of(group);
    return mayJoin && this.#checkMayJoin(mayJoin, group);
  }

  async #checkMayJoin(mayJoin: MayJoin, group: string): Promise<void> {
    if ((await mayJoin(this.#scope, group)) !== true) {
      throw new JoinRefused(`this connection may not join the group "${group}"`);
    }
  }

  // ---- what middleware that stays calls, and what calls it ----------------------------------------

  get face(): ScopeConnection {
    return this.#stays.face;
  }

  get #stays(): Staying {
    this.#staying ??= new Staying(this.#context, this);
    return this.#staying;
  }

  become(scope: ConnectionScope, user: string | undefined, info: string): void {
    [this.#scope, this.#user, this.#info] = [scope, user, info];
  }

  answerTo(keys: readonly string[]): void {
    this.#keys = keys;
  }

  refresh(auth: Readonly<Record<string, unknown>>): Promise<unknown> {
    return this.#stays.refresh(auth);
  }

  around<T>(hook: AroundHook, run: () => T | Promise<T>): T | Promise<T> {
    return this.#staying?.isAround ? this.#staying.around(hook, run) : run();
  }

  // ---- what the consumer's verbs need -------------------------------------------------------------

  get payloadCodec(): PayloadCodec | undefined {
    return this.#route.handlers.codec;
  }

  hear(what: string, run: () => unknown): void {
    this.#intake.hear(what, run);
  }

  close(code: number, reason: string): void {
    this.end({ kind: "closed", code: checkCloseCode(code), message: reason });
  }

  // ---- connecting -------------------------------------------------------------------------------

  #untilConnectedOrEnded(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#end({ kind: "denied", code: CloseCode.connectTimeout, message: "connect took too long" });
      }, this.#context.limits.connectTimeoutMs);
      const over = () => {
        clearTimeout(timer);
        this.#endAdmission = undefined;
        resolve();
      };
      this.#endAdmission = over;
      const admission = this.#route.admit(this.#scope, (scope) => {
        this.#connecting = this.#connect(scope);
        return this.#connecting;
      });
      admission.then(
        () => {
          if (this.#reason === undefined) this.#connecting = undefined;
          over();
        },
        (error) => {
          // Of what goes on after its end nobody hears.
          if (this.#endAdmission === over) this.#end(this.#denialOf(error));
          over();
        },
      );
    });
  }

  #traceConnect(tracer: Tracer): Promise<void> {
    const { auth, headers } = this.#scope;
    const origin = tracer.clientOrigin(auth) ?? tracer.clientOrigin(headers);
    return tracer.handles(this.#hookOf("connect"), origin, async () => {
      await this.#untilConnectedOrEnded();
      const reason = this.#reason;
      if (reason === undefined) return;
      tracer.failed(
        reason.kind === "failed" ? reason.error : new ConnectionDenied(reason.code, reason.message),
      );
    });
  }

  #hookOf(hook: "connect" | "disconnect"): Handling {
    return { hook, route: this.route, channel: this.channel, user: this.#user, what: "" };
  }

  async #connect(scope: ConnectionScope): Promise<void> {
    this.#checkConnecting();
    this.#scope = scope;
    const { userId, userInfo, users, layer } = this.#context;
    this.#user = userId(scope.user);
    if (this.#user !== undefined && users.areLimited) await this.#enter(users, this.#user);
    if (this.#user !== undefined) this.#info = layer.encodeInfo(() => userInfo(scope.user));
    layer.attach(this);
    try {
      this.#consumer = this.#construct(scope);
    } catch (error) {
      throw this.#reported("constructor", error);
    }
    try {
      for (const group of this.#route.handlers.groupsOf(scope)) await this.#verbs.groupAdd(group);
      this.#checkConnecting();
      const consumer = this.#consumer;
      const connected = this.around("connect", () => consumer.connect());
      if (isThenable(connected)) await connected;
    } catch (error) {
      throw this.#reported("connect", error);
    }
    this.#checkConnecting();
  }

  async #enter(users: Users, user: string): Promise<void> {
    try {
      // One for all routes of a connection, as it is its allowance.
      this.#place = await users.enter(user, this.link.events);
    } catch (error) {
      if (error instanceof RateLimited) this.limited("connectionsPerUser");
      throw error;
    }
    if (this.#reason !== undefined) this.#place.leave();
    this.#checkConnecting();
    this.#events.add("eventsPerSecondPerUser", this.#place.events);
  }

  #construct(scope: Scope): Consumer {
    const { consumer: Class, options } = this.#route;
    return new Class({ scope, options, verbs: this.#verbs });
  }

  #checkConnecting(): void {
    if (this.#state !== "connecting") {
      throw new ConnectionClosed("the connection ended before it was accepted");
    }
  }

  #denialOf(error: unknown): DisconnectReason {
    if (isForClient(error)) return { kind: "denied", code: error.closeCode, message: error.message };
    if (error instanceof Reported) return failure(error.cause);
    this.#reported("middleware", error);
    return failure(error);
  }

  /** What the carrier tells the client; announced here. */
  #denied({ kind, code, message }: DisconnectReason): ConnectionDenied {
    const { denied } = this.#context.facts;
    if (denied.hasReceivers && kind !== "client" && kind !== "transport") {
      const { namespace, remoteAddress } = this.#scope;
      denied.announce({ ...this.fact, namespace, remoteAddress, code, reason: message }, this.sender);
    }
    return new ConnectionDenied(code >= 4400 ? code : CloseCode.unavailable, message);
  }

  // ---- what the intake needs --------------------------------------------------------------------

  tell(event: string, payload: unknown, maxBytes = this.#context.limits.maxMessageBytes): void {
    this.#tellEncoded({ event, ...encodePayload(payload, maxBytes) });
  }

  #tellEncoded(event: OutgoingEvent): void {
    const position = this.#nextPart();
    this.write(this.codec.encode(position === undefined ? event : { ...event, position }));
  }

  begins(group: string, position: Position, preface: OutgoingEvent | undefined): void {
    // With several handlers at once nobody can say which of them sends.
    if (this.#route.handlers.concurrency === 1) this.#handling = { group, position, parts: 0 };
    if (preface !== undefined) this.#tellEncoded(preface);
  }

  /** The message at that position is done with: a client that comes back need not have it repeated. */
  completes(group: string, { epoch, offset, id }: Position): void {
    this.#handling = undefined;
    this.tellPosition("sluice.position", { group, epoch, offset, id });
  }

  /** What the handler of a message of a group's history sends is numbered, so that a repetition is known. */
  #nextPart(): EventPosition | undefined {
    if (this.#handling === undefined) return undefined;
    const { group, position } = this.#handling;
    this.#handling.parts += 1;
    return [group, position.epoch, position.offset, position.id, this.#handling.parts];
  }

  fail(hook: Hook, error: unknown): void {
    if (this.#isAftermath(error)) return;
    this.announceFailure(hook, error);
    this.end(failure(error));
  }

  get fact(): ConnectionFact {
    return { channel: this.channel, route: this.#route.pattern, scope: this.#scope };
  }

  get sender(): unknown {
    return this.#route.consumer;
  }

  // ---- failures ---------------------------------------------------------------------------------

  /** Reports what `connect` threw, once, and returns it so marked. Refusals pass as they are. */
  #reported(hook: Hook, error: unknown): unknown {
    if (isForClient(error) || this.#isAftermath(error)) return error;
    this.announceFailure(hook, error);
    return new Reported(error);
  }

  announceFailure(hook: Hook, error: unknown): void {
    this.#context.facts.failed.announce({ ...this.fact, hook, error }, this.sender);
  }

  /** A verb failed because the connection ended while the hook ran: nothing is wrong with the hook. */
  #isAftermath(error: unknown): boolean {
    return error instanceof ConnectionClosed && this.#reason !== undefined;
  }

  // ---- the end ----------------------------------------------------------------------------------

  #end(reason: DisconnectReason): void {
    if (this.#reason !== undefined) return;
    this.#reason = reason;
    const wasOpen = this.#state === "open";
    this.#state = "closing";
    if (!wasOpen) this.#outbox = Outbox.closed;
    this.#settleOpen?.(false);
    this.#verbs.endListening();
    this.#context.layer.detach(this.channel, reason.kind === "stopping");
    this.#place?.leave();
    if (reason.kind === "limit") {
      this.limited(reason.code === CloseCode.flood ? "floodEvents" : "maxWaitingBytes");
    }
    // A client that went of itself may have said something last; it is heard. Messages have nowhere to go.
    this.#intake.end(wasOpen && (reason.kind === "client" || reason.kind === "transport"));
    // Not at once: it may be in the middle of a delivery to others, and this runs code of the application.
    queueMicrotask(() => {
      this.#source.end(reason);
      this.#endAdmission?.();
      void this.#finishUp(reason, wasOpen);
    });
  }

  async #finishUp(reason: DisconnectReason, wasOpen: boolean): Promise<void> {
    const { facts, tally } = this.#context;
    if (this.#connecting !== undefined || !this.#intake.isIdle) {
      const running = Promise.all([this.#connecting?.catch(() => {}), this.#intake.idle()]);
      if (!(await this.#inTime(running))) {
        this.announceFailure("receive", new Error("a handler still ran and was given up"));
      }
    }
    this.#intake.end(false);
    if (this.#state === "closed") return;
    const { tracer } = this.#context;
    const disconnecting =
      tracer === undefined || this.#consumer === undefined
        ? this.#disconnect(reason)
        : tracer.handles(this.#hookOf("disconnect"), undefined, () => this.#disconnect(reason));
    if (disconnecting instanceof Promise && !(await this.#inTime(disconnecting))) {
      this.announceFailure("disconnect", new Error("disconnect still ran and was given up"));
    }
    this.#state = "closed";
    if (wasOpen) tally.ended.add(reason.kind);
    if (this.#consumer !== undefined && facts.disconnected.hasReceivers) {
      const lastedMs = performance.now() - this.#startedAt;
      facts.disconnected.announce({ ...this.fact, reason, wasOpen, lastedMs }, this.sender);
    }
    this.#over();
  }

  #over(): void {
    this.#context.finished(this);
    this.#finish?.();
  }

  /** Waits for what runs still, `closeTimeoutMs` at most, and says whether it ended. */
  #inTime(work: Promise<unknown>): Promise<boolean> {
    this.#patience ??= new Patience();
    return this.#patience.with(work, this.#context.limits.closeTimeoutMs);
  }

  /** Never rejects. */
  #disconnect(reason: DisconnectReason): Soon<void> {
    if (this.#consumer === undefined) return undefined;
    return disconnect(this.#consumer, reason, this.#staying, (error) => this.#disconnectFailed(error));
  }

  #disconnectFailed(error: unknown): void {
    if (this.#isAftermath(error)) return;
    this.#context.tracer?.failed(error);
    this.announceFailure("disconnect", error);
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
