/** A place in a group's history: the last of its events that this client has got. */
export interface Position {
  readonly group: string;
  /** Another one means another log, which counts from 1 again. */
  readonly epoch: string;
  readonly offset: number;
  /** Of the entry at that offset; empty where the server does not say. */
  readonly id: string;
}

/** The consumer has joined a group with history; what follows comes after this position. */
export interface Joined extends Position {
  /** It goes on where this client was. */
  readonly recovered: boolean;
}

/**
 * Why what was missed cannot be given: no longer kept, another log, another message at that offset, the log
 * is shorter, not (or not yet) let in then, too many positions, further back than one replay goes.
 */
export type GapReason = "trimmed" | "epoch" | "id" | "ahead" | "receipt" | "too_many" | "too_old";

/** What came between this client's position and this one is lost to it. */
export interface Gap extends Position {
  readonly reason: GapReason;
}

/** The consumer has left the group. */
export interface Left {
  readonly group: string;
}

/** What {@link recover} tells, by event. */
export interface RecoveryEvents {
  readonly joined: Joined;
  readonly gap: Gap;
  readonly left: Left;
}

/** Somebody who came, went or changed in a group with presence. */
export interface Somebody<Info = unknown> {
  readonly user: string;
  /** Of one who went, the last. */
  readonly info: Info;
  /** It happened while this client was away. */
  readonly isLate: boolean;
}

/**
 * What {@link presence} tells, by event. `list`: the list has come; `change`: after any of the others, and
 * when the connection is lost.
 */
export interface PresenceEvents<Info = unknown> {
  readonly join: Somebody<Info>;
  readonly leave: Somebody<Info>;
  readonly update: Somebody<Info> & { readonly before: Info };
  readonly list: undefined;
  readonly change: undefined;
}

/** One message of a group's history. */
export interface HistoryMessage {
  readonly event: string;
  readonly payload: unknown;
  readonly offset: number;
  readonly id: string;
  /** Milliseconds since 1970, by the server's clock. */
  readonly at: number;
}

/** A part of a group's history. */
export interface HistoryPage {
  readonly epoch: string;
  /** Oldest first. */
  readonly messages: readonly HistoryMessage[];
  /** Whether there are older ones. */
  readonly more: boolean;
}

/** Which part of a history is asked for. */
export interface HistoryOptions {
  /** How many at most; the server's default is 50, its most 100. */
  readonly limit?: number;
  /** Messages before this offset; without it the last ones. */
  readonly before?: number;
  /** Default 10,000. */
  readonly timeoutMs?: number;
}

/** `sessionStorage`, or what looks like it. */
export interface StorageArea {
  getItem(key: string): string | null;
  setItem(key: string, value: string): void;
}

/** What {@link recover} may be told. */
export interface RecoverOptions {
  /**
   * Keeps the positions over a reload of the page. Only for a page that keeps what it showed as well: it is
   * given what came after, not what it had before.
   */
  readonly storage?: {
    readonly area: StorageArea;
    /** Who is logged in; each user has positions of their own. */
    readonly user: string;
  };
}

/** What is needed of a `socket.io-client` socket, version 4. */
export interface StockSocket {
  readonly connected: boolean;
  /** Whether it will try by itself to (re)connect. */
  readonly active: boolean;
  readonly id?: string | undefined;
  connect(): unknown;
  disconnect(): unknown;
}

/** A run of a task, as the server tells it. */
export interface TaskStatus {
  readonly id: string;
  readonly task: string;
  readonly state: "queued" | "running" | "retrying" | "succeeded" | "failed" | "cancelled" | "expired";
  /** 0 before the first. */
  readonly attempt: number;
  /** Of one attempt a later one is newer. */
  readonly step: number;
  /** `total` 0: not known. */
  readonly progress?: { readonly done: number; readonly total: number; readonly note?: string };
  readonly result?: unknown;
  readonly error?: { readonly code: string; readonly message: string };
  /** Milliseconds since 1970, by the server's clock. */
  readonly at: number;
}

/** W3C Trace Context (https://www.w3.org/TR/trace-context/), as the propagators of OpenTelemetry fill it in. */
export interface TraceFields {
  readonly traceparent: string;
  readonly tracestate?: string | undefined;
}

/** What {@link useToken} tells, by event. */
export interface TokenEvents {
  readonly refreshed: undefined;
  readonly failed: unknown;
}

/**
 * What {@link watchTask} tells, by event. `progress` comes any number of times, then `done` or `failed`
 * once.
 */
export interface TaskEvents {
  readonly progress: TaskStatus;
  readonly done: { readonly result: unknown; readonly status: TaskStatus };
  readonly failed: { readonly code: string; readonly message: string; readonly status: TaskStatus };
}
