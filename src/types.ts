/**
 * The contracts, on one page. Everything else implements them.
 *
 * A message walks: {@link ClientLink} -> {@link Middleware} -> route -> consumer -> layer ->
 * {@link Backplane} -> other nodes -> consumer or {@link ClientLink}.
 */
import type { IncomingHttpHeaders } from "node:http";
import type { Request, Response } from "express";
import type { BackplaneReadings } from "./readings.ts";

/** What is known of a connection. Each middleware hands its own copy down; nobody changes another's. */
export interface Scope<Params = Readonly<Record<string, string>>, User = unknown> {
  /** Unguessable, unique over all nodes; the part of the channel's name after `!`. */
  readonly id: string;
  /** What carries the connection: `socket.io`, `sse`, `http` or `test`. */
  readonly protocol: Protocol;
  /** What the client asked for, e.g. `/chat/lobby`. */
  readonly namespace: string;
  /** The path of the HTTP request underneath, e.g. `/socket.io/`. */
  readonly path: string;
  /** The route's parameters, decoded and converted. */
  readonly params: Params;
  readonly query: URLSearchParams;
  readonly headers: Readonly<IncomingHttpHeaders>;
  readonly cookies: ReadonlyMap<string, string>;
  /** Set by a session middleware. */
  readonly session: unknown;
  /** Set by an authentication middleware; `undefined` before that. */
  readonly user: User;
  /** What the client sent as `auth`; never trusted, never checked by the framework. */
  readonly auth: Readonly<Record<string, unknown>>;
  /** The client's address, behind trusted proxies the one they report. */
  readonly remoteAddress: string;
  /**
   * What the HTTP request underneath is called in the log: what a trusted proxy calls it in `X-Request-Id`, or a
   * name of ours. Undefined where there was none.
   */
  readonly requestId?: string | undefined;
  /** Aborts when the connection ends; its `reason` is the {@link DisconnectReason}. */
  readonly closed: AbortSignal;
  /** Notes that middleware leaves for what comes after it. */
  readonly state: Readonly<Record<string, unknown>>;
  /** The connection itself, for middleware that stays with it. */
  readonly connection: ScopeConnection;
}

/** What a hook is that runs for one connection. */
export type AroundHook = "connect" | "receive" | "message" | "disconnect";

/** Runs a hook or handler, and may do something before and after it; refuses it by throwing. */
export type Around = (run: () => Promise<void>, hook: AroundHook) => Promise<void>;

/**
 * Takes new credentials that the client sent over the open connection, as it would send `auth`. What it
 * returns is the answer; a `ConnectionDenied` ends the connection.
 */
export type Refresh = (auth: Readonly<Record<string, unknown>>) => unknown;

/**
 * A connection as middleware holds it that stays: timers it sets end with `scope.closed`. Of an HTTP
 * request nothing stays, so `around` and `onRefresh` do nothing there.
 */
export interface ScopeConnection {
  /** As it is now, after a login or with newer claims; scopes that were handed out earlier stay as they were. */
  readonly scope: Scope;
  /** Of an `http` route: Express' own. */
  readonly http?: { readonly request: Request; readonly response: Response };
  /** Ends it; its client is told code and reason. */
  close(code: number, reason: string): void;
  /**
   * Changes what is known of an open connection. Another user leaves presence as the old one and joins as
   * the new one, and leaves the groups that the new one may not join.
   *
   * @throws Error while it is being admitted: hand it to `next` then
   */
  change(changes: ScopeChanges): Promise<void>;
  /** Sends its client an event, also one of the framework's names. */
  tell(event: string, payload: unknown): void;
  /** Around each hook and handler of its consumer; what was added first is the outermost. */
  around(around: Around): void;
  /** Asked when the client sends new credentials. */
  onRefresh(refresh: Refresh): void;
  /** `closeKeyed(key)` finds it by this, from when it is admitted; a key it had may be given up for it. */
  key(key: string, instead?: string): void;
  /** No longer. */
  unkey(key: string): void;
  /** Ends all connections with that key, on every node; promises what `layer.closeUser` does. */
  closeKeyed(key: string, code: number, reason: string): Promise<void>;
  /**
   * Takes one of so many seats in a room until the connection ends. They are counted over all nodes if the
   * application has `sharedLimits`, and else, or while these are away, by this node.
   *
   * @param of - whose rooms: a middleware is found on other nodes by its place in the table of routes. One that is
   * not there, but called by another, is known to this node alone; give a name then, which is the same everywhere
   * @param room - any text
   * @returns whether there was one
   */
  sit(of: Middleware | string, room: string, seats: number): Promise<boolean>;
  /** Who a user is, by the application's `userId`. */
  userId(user: unknown): string | undefined;
  /** Announces a failure that no client is to hear of. */
  failed(error: unknown): void;
}

/** What carries a connection; `test` is the test kit. */
export type Protocol = "socket.io" | "sse" | "http" | "test";

/** The part of a scope that the carrier of the connection knows; the application adds the rest. */
export type Handshake = Pick<
  Scope,
  "protocol" | "namespace" | "path" | "query" | "headers" | "auth" | "remoteAddress" | "requestId"
>;

/** What a middleware may change for those after it. */
export interface ScopeChanges {
  readonly session?: unknown;
  readonly user?: unknown;
  readonly state?: Readonly<Record<string, unknown>>;
}

/**
 * Goes on to the next middleware and at last to the consumer. Resolves when the consumer has accepted,
 * rejects when it (or anything between) refused. May be called once.
 */
export type Next = (changes?: ScopeChanges) => Promise<void>;

/** A function around admission. Refuse by `deny(code, reason)`, go on by `next()`. */
export type Middleware = (scope: Scope, next: Next) => unknown;

/** Why a consumer ended; what `disconnect(reason)` gets. */
export type DisconnectReason =
  /** The client left on purpose. */
  | { readonly kind: "client"; readonly code: 4000; readonly message: string }
  /** The connection was lost: closed, timed out, broken. */
  | { readonly kind: "transport"; readonly code: 4001; readonly message: string }
  /** `connect` or a middleware refused. */
  | { readonly kind: "denied"; readonly code: number; readonly message: string }
  /** `close(code, reason)` was called, here or from elsewhere. */
  | { readonly kind: "closed"; readonly code: number; readonly message: string }
  /** A hook or handler threw something that was not meant for the client. */
  | { readonly kind: "failed"; readonly code: 4500; readonly message: string; readonly error: unknown }
  /** The client broke a limit: too slow to read, or too many events. */
  | { readonly kind: "limit"; readonly code: number; readonly message: string }
  /** The server is stopping. */
  | { readonly kind: "stopping"; readonly code: 4503; readonly message: string };

/** What travels between consumers. `chat.message` runs the method `chatMessage`. */
export interface Message {
  readonly type: string;
  readonly [field: string]: unknown;
}

/** A value as it travels: JSON text once, and beside it the binary parts that the text points to. */
export interface EncodedPayload {
  /** JSON; empty when there is no payload at all. */
  readonly json: string;
  /** What `{"_placeholder":true,"num":n}` in the JSON stands for. */
  readonly attachments: readonly Uint8Array[];
}

/** An event on its way to clients. */
export interface OutgoingEvent extends EncodedPayload {
  readonly event: string;
  /** Where its client is when it has got it, if its group keeps history. */
  readonly position?: EventPosition;
}

/**
 * Group, epoch, offset and id; with a part it is the so-manieth event that the handler of the message at
 * that offset sent.
 */
export type EventPosition =
  | readonly [group: string, epoch: string, offset: number, id: string]
  | readonly [group: string, epoch: string, offset: number, id: string, part: number];

/** One event in the form that some clients take, encoded once for all of them. */
export interface Frame {
  /** Bytes that count while it waits for a client. */
  readonly bytes: number;
}

/** Makes an event the bytes that some clients take. */
export interface FrameCodec<F extends Frame = Frame> {
  encode(event: OutgoingEvent): F;
}

/** One client, as its carrier (Socket.IO, Server-Sent Events, the test kit) shows it to the core. */
export interface ClientLink<F extends Frame = Frame> {
  /** Shared by all links whose frames are the same bytes. */
  readonly codec: FrameCodec<F>;
  /** The same for clients that carry positions; a carrier without one has no such clients. */
  readonly positionedCodec?: FrameCodec<F>;
  /** How many events this client may send; shared by all routes open on one connection. */
  readonly events: Budget;
  /** Bytes that were written and have not left; a replay waits for them. */
  readonly waitingBytes: number;
  /** In order, never throws, never waits; a client that does not read is cut by the carrier. */
  write(frame: F): void;
  /** Resolves with the client's answer; rejects with `AskTimeout` or `ConnectionClosed`. */
  ask(event: string, payload: unknown, timeoutMs: number): Promise<unknown>;
  /** Tells the client code and reason after all that was written before, then ends the connection. */
  close(code: number, reason: string): void;
}

/** A bounded allowance that refills with time. */
export interface Budget {
  /** True when there was one left, or as many as asked; they are spent then. */
  take(count?: number): boolean;
  /** How often `take` said no; forgotten at the rate at which the allowance refills. */
  readonly refusals: number;
}

/** One that tells when nothing is missing. */
export interface RefillingBudget extends Budget {
  /** Whether nothing has been taken that has not come back. */
  readonly isFull: boolean;
}

/** What the clients of one address may still do. */
export interface Allowances<B extends Budget = Budget> {
  /** How many events they may send together; undefined: as many as each of them may. */
  readonly events?: B;
  /** How many groups that have no member here yet they may open. */
  readonly newGroups: B;
  /** How many messages of histories they may be given. */
  readonly replayed: B;
}

/** Answers one event of a client, with what its handler returned or a `Refusal`; called at most once. */
export type Acknowledge = (answer: unknown) => void;

/**
 * What carries text between nodes. It knows topics and text, not groups, sockets or consumers.
 *
 * Delivery is at most once; per sender and topic in order; a node never hears itself. What is lost is told
 * to the listener, as far as anybody can know.
 */
export interface Backplane {
  /** What tells this application from others on the same carrier; what is encrypted is bound to it. */
  readonly prefix?: string;
  /**
   * Begins; once.
   *
   * @throws ConfigurationError when it cannot work as it was set up, with what to do
   */
  open(listener: BackplaneListener): Promise<void>;
  /** Resolved: whatever any node publishes from now on is heard. Rejects with LayerUnavailable. */
  subscribe(topic: string): Promise<void>;
  /** Resolved: nothing of the topic is heard any more. */
  unsubscribe(topic: string): Promise<void>;
  /**
   * Hands a text over; never throws, never waits. `text` is a function so that nobody pays for encoding a
   * message that no other node can hear.
   *
   * @param left - hears, once, that this text has left this node, or that it is lost. Texts that somebody
   * asks about have some room of their own where what waits is bounded.
   */
  publish(topic: string, text: () => string, left?: (isLost: boolean) => void): void;
  /**
   * Resolves when all that was published before has left this node; rejects with LayerUnavailable when
   * something was dropped since the last time.
   */
  flush(): Promise<void>;
  /** How much waits here, for whoever watches; undefined if it does not know. */
  readings?(): BackplaneReadings | undefined;
  /** Ends, after what waits has left (or its time is up); nothing is heard afterwards. Idempotent. */
  close(): Promise<void>;
}

/** Who hears a backplane. None of these may throw. */
export interface BackplaneListener {
  /** What another node published to a topic that is open here. */
  hear(topic: string, text: string): void;
  /** Texts that this node published and that never left. */
  dropped(topic: string, count: number): void;
  /** A text of this node reached no other node: none has the topic open. Not every backplane can tell. */
  unheard(topic: string): void;
  /** Texts of other nodes may not have been heard, or have not. */
  lost(loss: Loss): void;
  /**
   * Other nodes cannot be reached; what is published waits, bounded, or is dropped. Told again when the
   * reason changes.
   */
  down(reason: string): void;
  /** They can again, and all subscriptions are in force. Comes after `down` only. */
  up(): void;
}

/** What other nodes said and this one did not hear. */
export interface Loss {
  /** Of which topic; undefined: of any that is open here. */
  readonly topic?: string;
  /** How many texts; undefined: some, or none. */
  readonly missed?: number;
}

/** One thing that was found out without starting: it is `fine`, or works, but (`hint`), or does not (`fault`). */
export interface PartFinding {
  readonly level: "fine" | "hint" | "fault";
  /** What is so; of a fault also what to do. Anybody may read it. */
  readonly what: string;
}
