/**
 * The catalogue of facts: who reads it knows the life of a connection and of a message. The core tells
 * nothing in any other way; logs, metrics and dashboards are receivers of these signals.
 */
import type { LimitName } from "./errors.ts";
import { Signal } from "./signals.ts";
import type { DisconnectReason, Scope } from "./types.ts";

/** Who a fact is about. `scope` may hold secrets (headers, auth): receivers choose what they show. */
export interface ConnectionFact {
  readonly channel: string;
  readonly route: string;
  readonly scope: Scope;
}

export type Hook =
  | "middleware"
  | "constructor"
  | "connect"
  | "receive"
  | "message"
  | "disconnect"
  | "http"
  | "layer";

/** Why a message or event did not arrive. */
export type DropCause =
  /** The mailbox of the consumer had no room. */
  | "mailbox-full"
  /** No method handles that type of message. */
  | "no-handler"
  /** The channel is not (or no longer) there. */
  | "no-channel"
  /** The connection ended before it was its turn. */
  | "ended"
  /** It came from another node and could not be read. */
  | "bad-envelope"
  /** It waited too long for the backplane, or too much waited. */
  | "backplane";

/** Why what followed a position in a history cannot be given. */
export type GapReason = "trimmed" | "epoch" | "id" | "ahead" | "receipt" | "too_many" | "too_old";

/** Something that came from a carrier is not read: see `encryptionKeys`. */
export interface UnopenedFact {
  readonly carrier: "backplane" | "history" | "presence" | "tasks";
  /** The topic, group or job. */
  readonly target: string;
  readonly reason: "no-keys" | "unknown-key" | "altered" | "not-encrypted";
}

/** `user` as `userId` names it; without it nobody, or nobody yet. */
export interface LimitFact {
  readonly limit: LimitName;
  readonly remoteAddress: string;
  readonly namespace?: string;
  readonly user?: string;
}

export type { LimitName };

/**
 * The signals of an application, one for each fact of a connection's life. Receivers run in the order in
 * which they were connected; they cannot change what happens.
 */
export interface Facts {
  /** A consumer accepted a client. */
  readonly connected: Signal<ConnectionFact & { readonly tookMs: number }>;
  /** A client was refused. Without `channel` when no route matched. */
  readonly denied: Signal<Partial<ConnectionFact> & Denial>;
  /** An event came from a client and was let through to its handler. */
  readonly received: Signal<ConnectionFact & { readonly event: string }>;
  /** A handler has ended well. `what` is an event's name or a message's type. */
  readonly handled: Signal<ConnectionFact & { readonly what: string; readonly tookMs: number }>;
  /** A client's event was refused and the client told so: `code` says why. */
  readonly refused: Signal<ConnectionFact & { readonly event: string; readonly code: string }>;
  /** A client has come to a limit: what it wanted was refused, or it was cut. */
  readonly limited: Signal<LimitFact>;
  /** A hook, handler, middleware or HTTP route threw what was not meant for a client. */
  readonly failed: Signal<Partial<ConnectionFact> & { readonly hook: Hook; readonly error: unknown }>;
  /** `disconnect` has run; nothing of the connection is left. `wasOpen`: the client had been accepted. */
  readonly disconnected: Signal<
    ConnectionFact & {
      readonly reason: DisconnectReason;
      readonly wasOpen: boolean;
      readonly lastedMs: number;
    }
  >;
  readonly groupAdded: Signal<GroupFact>;
  readonly groupDiscarded: Signal<GroupFact>;
  /** A message or event went to a group; `members` counts those on this node. */
  readonly groupSent: Signal<{
    /** Of the application's layers that one in which the group is. */
    readonly layer: string;
    readonly group: string;
    readonly what: string;
    readonly members: number;
  }>;
  /** A message did not arrive, or several. */
  readonly dropped: Signal<Drop>;
  /**
   * What other nodes sent did not arrive, or may not have: after a hole in a sender's numbers (`missed`
   * says how many), and after the backplane had to subscribe anew (then without `group`: any of them).
   */
  readonly lost: Signal<{ readonly group?: string; readonly missed?: number }>;
  /** Something from outside this process could not be decrypted, or should have been encrypted; it is left out. */
  readonly unopened: Signal<UnopenedFact>;
  /** A client that came back has been given what it missed in a group. */
  readonly recovered: Signal<GroupFact & { readonly messages: number }>;
  /** What a client missed in a group with history cannot be given; it was told. */
  readonly gap: Signal<GroupFact & { readonly reason: GapReason }>;
  /** A user came to a group, left it or has other info, as members on this node were told. */
  readonly present: Signal<{
    readonly group: string;
    readonly type: "join" | "leave" | "update";
    readonly user: string;
  }>;
  /** `layer:down`: other nodes cannot be reached over the layer of that name (`default`). Members of groups on this node go on. */
  readonly layerDown: Signal<{ readonly layer: string; readonly reason: string }>;
  /** `layer:up`: they can again; all groups hear all nodes from now on. */
  readonly layerUp: Signal<{ readonly layer: string; readonly downMs: number }>;
  /** Somebody who watches over the application did something, or tried to: see the dashboard. */
  readonly audited: Signal<AuditFact>;
  /** An HTTP request was answered, or its client left before; WebSockets are not among them. */
  readonly answered: Signal<Answered>;
  /** A receiver of a signal threw. */
  readonly receiverFailed: Signal<{ readonly signal: string; readonly error: unknown }>;
  readonly started: Signal<{ readonly node: string }>;
  /**
   * A server has begun to stop: no longer ready, but as it was for `delayMs`; then `connections` (as many
   * as there were) are told to move over `drainMs`.
   */
  readonly draining: Signal<{
    readonly node: string;
    readonly connections: number;
    readonly delayMs: number;
    readonly drainMs: number;
  }>;
  readonly stopped: Signal<{ readonly node: string }>;
}

/** What was done, by whom and to what; for a record that stays. */
export interface AuditFact {
  /** E.g. `login`, `disconnect user`, `cancel task`. */
  readonly action: string;
  /** Whom or what it was done to; empty where it is nobody. */
  readonly target: string;
  /** Who it was, as far as it is known. */
  readonly by: string;
  readonly remoteAddress: string;
  readonly outcome: "done" | "refused" | "failed";
  /** Why not. */
  readonly reason?: string;
}

export interface Drop {
  readonly cause: DropCause;
  /** The channel, group or node it was for. */
  readonly target: string;
  /** The message's type or the event's name, where it is known. */
  readonly what: string;
  /** How many; 1 if left out. */
  readonly count?: number;
}

export interface Denial {
  readonly namespace: string;
  readonly remoteAddress: string;
  readonly code: number;
  readonly reason: string;
}

/** One HTTP request, Socket.IO's own included, when it is over. */
export interface Answered {
  /** As `scope.requestId`. */
  readonly requestId: string;
  readonly method: string;
  /** Without its query, which may hold secrets. */
  readonly path: string;
  /** 0: the client left before there was one. */
  readonly status: number;
  readonly remoteAddress: string;
  /** From the first line of the request to the last byte of the answer. */
  readonly tookMs: number;
}

export interface GroupFact {
  readonly group: string;
  readonly channel: string;
}

/** A catalogue of an application's own: two applications in one process do not hear each other. */
export function createFacts(): Facts {
  const receiverFailed: Facts["receiverFailed"] = new Signal("receiverFailed", () => {});
  const signal = <Fact>(name: string) =>
    new Signal<Fact>(name, (error) => receiverFailed.announce({ signal: name, error }));
  return {
    connected: signal("connected"),
    denied: signal("denied"),
    received: signal("received"),
    handled: signal("handled"),
    refused: signal("refused"),
    limited: signal("limited"),
    failed: signal("failed"),
    disconnected: signal("disconnected"),
    groupAdded: signal("groupAdded"),
    groupDiscarded: signal("groupDiscarded"),
    groupSent: signal("groupSent"),
    dropped: signal("dropped"),
    lost: signal("lost"),
    unopened: signal("unopened"),
    recovered: signal("recovered"),
    gap: signal("gap"),
    present: signal("present"),
    layerDown: signal("layer:down"),
    layerUp: signal("layer:up"),
    audited: signal("audited"),
    answered: signal("answered"),
    receiverFailed,
    started: signal("started"),
    draining: signal("draining"),
    stopped: signal("stopped"),
  };
}
