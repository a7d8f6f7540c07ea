/** What the machine around a consumer is given: by the application, by the route, and by whoever carries the client. */
import type { Facts } from "../facts.ts";
import type { ChannelLayer } from "../layer/channel-layer.ts";
import type { Claims } from "../layer/claims.ts";
import type { PolicyTable } from "../layer/group-policy.ts";
import type { ConnectionScope } from "../scope.ts";
import type { Tally } from "../tally.ts";
import type { Tracer } from "../tracer.ts";
import type { Allowances, ClientLink, Handshake, Middleware, Scope } from "../types.ts";
import type { ConsumerClass } from "./consumer.ts";
import type { HandlerTable } from "./handlers.ts";
import type { IntakeLimits } from "./intake.ts";
import type { Users } from "./users.ts";

/** What all connections of an application share. */
export interface ConnectionContext {
  readonly layer: ChannelLayer;
  readonly facts: Facts;
  readonly tally: Tally;
  readonly tracer: Tracer | undefined;
  readonly userId: (user: unknown) => string | undefined;
  readonly userInfo: (user: unknown) => unknown;
  readonly policies: PolicyTable;
  /** Ends all connections with that key, on all layers. */
  readonly closeKeyed: (key: string, code: number, reason: string) => Promise<void>;
  /** See `ScopeConnection.sit`. */
  readonly sit: (
    of: Middleware | string,
    room: string,
    seats: number,
    until: AbortSignal,
  ) => Promise<boolean>;
  readonly users: Users;
  /** As in `options.ts`. */
  readonly limits: IntakeLimits & {
    readonly groupsPerConnection: number;
    readonly maxMessageBytes: number;
    readonly maxWaitingBytes: number;
    readonly connectTimeoutMs: number;
    readonly closeTimeoutMs: number;
  };
}

/** The route as a runner needs it. */
export interface RunnerRoute {
  readonly pattern: string;
  readonly consumer: ConsumerClass;
  readonly handlers: HandlerTable;
  readonly options: unknown;
  /** All middleware of the route, made one. */
  admit(scope: ConnectionScope, inner: (scope: ConnectionScope) => Promise<void>): Promise<void>;
}

/** A connection as its carrier knows it. */
export interface RunnerClient {
  readonly handshake: Handshake;
  /** What the client sent, without the framework's part of it. */
  readonly auth: Scope["auth"];
  readonly params: object;
  readonly link: ClientLink;
  /** What a client that carries positions hands over; undefined for a stock client. */
  readonly claims: Claims | undefined;
  /** Shared by all clients of its address. */
  readonly allowances: Allowances;
}
