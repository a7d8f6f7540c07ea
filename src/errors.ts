/**
 * One family of errors. Each has a stable `code`, and a message that says what was expected, what was
 * seen and what to do. Anything else that is thrown is a bug: its stack goes to the log and the client
 * hears "internal error".
 *
 * Close codes come in two ranges, so that a client needs no table: with 4400-4499 it must not come back
 * unchanged, with 4500-4599 it may come back later.
 */

/**
 * The codes that connections are refused and closed with: 44xx do not come back unchanged, 45xx come back
 * later.
 */
export const CloseCode = {
  badRequest: 4400,
  unauthenticated: 4401,
  forbidden: 4403,
  notFound: 4404,
  tooLarge: 4413,
  flood: 4429,
  internalError: 4500,
  unavailable: 4503,
  connectTimeout: 4508,
  /** A token or session has ended: come back with another one. */
  expired: 4510,
  tooSlow: 4513,
  tooMany: 4529,
} as const;

/** Whether a client that was closed or denied with this code may try again unchanged. */
export function isRetryable(closeCode: number): boolean {
  return closeCode >= 4500 && closeCode <= 4599;
}

/** The HTTP status for a close code: 4401 is 401 and so on; what may come back later is 503. */
export function statusOf(closeCode: number): number {
  switch (closeCode) {
    case CloseCode.badRequest:
    case CloseCode.unauthenticated:
    case CloseCode.forbidden:
    case CloseCode.notFound:
    case CloseCode.tooLarge:
      return closeCode - 4000;
    case CloseCode.flood:
    case CloseCode.tooMany:
      return 429;
    case CloseCode.expired:
      return 401;
    case CloseCode.internalError:
      return 500;
    default:
      return closeCode < 4500 ? 403 : 503;
  }
}

/** The root of the family. */
export abstract class SluiceError extends Error {
  abstract readonly code: string;

  override get name(): string {
    return this.constructor.name;
  }
}

/** Refuses to start, and lists every fault at once. */
export class ConfigurationError extends SluiceError {
  readonly code = "configuration";
  readonly faults: readonly string[];

  constructor(faults: readonly string[]) {
    super(faults.length === 1 ? faults[0] : `${faults.length} faults:\n- ${faults.join("\n- ")}`);
    this.faults = faults;
  }
}

/** Collects faults from several checks, so that all are told at once. */
export class Faults {
  readonly list: string[] = [];

  /** What `make` makes; undefined, and its faults noted, if it throws. */
  collect<T>(make: () => T): T | undefined {
    try {
      return make();
    } catch (error) {
      const found = error instanceof ConfigurationError ? error.faults : [(error as Error).message];
      for (const fault of found) if (!this.list.includes(fault)) this.list.push(fault);
      return undefined;
    }
  }
}

/** A verb was used when it cannot work, e.g. `groupAdd` after the connection ended. */
export class ConnectionClosed extends SluiceError {
  readonly code = "connection_closed";
}

/**
 * An error that the client may read: thrown while an event is handled, it becomes the acknowledgement
 * `{ error: { code, message } }` and the connection goes on; thrown in `connect`, it refuses the
 * connection with `closeCode`. Extend it for refusals of your own.
 *
 * @example
 * class RoomFull extends ClientError {
 *   readonly code = "room_full";
 * }
 */
export abstract class ClientError extends SluiceError {
  readonly closeCode: number = CloseCode.badRequest;
  /** More for programs, e.g. the issues of a validation; goes to the client as `error.details`. */
  readonly details?: unknown;
}

/** Refuses a connection, or ends an open one: `code` and reason reach the client. */
export class ConnectionDenied extends ClientError {
  readonly code = "connection_denied";
  override readonly closeCode: number;

  constructor(closeCode: number, reason: string) {
    super(reason);
    this.closeCode = checkCloseCode(closeCode);
  }
}

/**
 * Refuses a connection from a middleware (consumers have `this.deny`).
 *
 * @example
 * const onlyFriends: Middleware = (scope, next) => (isFriend(scope.user) ? next() : deny(4403, "friends only"));
 */
export function deny(code: number = CloseCode.forbidden, reason = "forbidden"): never {
  throw new ConnectionDenied(code, reason);
}

/** No route matches. */
export class RouteNotFound extends ClientError {
  readonly code = "route_not_found";
  override readonly closeCode = CloseCode.notFound;
}

/** An event or message is not what it must be. */
export class InvalidMessage extends ClientError {
  readonly code = "invalid_message";
  override readonly details: readonly Issue[] | undefined;

  constructor(message: string, issues?: readonly Issue[]) {
    super(message);
    this.details = issues;
  }
}

/** One thing a schema found wrong. */
export interface Issue {
  /** Where, e.g. `user.name`; empty for the whole payload. */
  readonly path: string;
  readonly message: string;
}

/** The name of a group, channel or event breaks the rules of `names.ts`. */
export class InvalidName extends ClientError {
  readonly code = "invalid_name";
}

/** Limits of which the breaking is told: names of options. */
export type LimitName =
  | "eventsPerSecond"
  | "eventsPerSecondPerUser"
  | "eventsPerSecondPerAddress"
  | "pendingEvents"
  | "groupsPerConnection"
  | "newGroupsPerSecond"
  | "replayedPerSecond"
  | "connectionsPerUser"
  | "connectionsPerAddress"
  | "handshakesPerSecond"
  | "handshakesPerSecondPerAddress"
  | "namespacesPerConnection"
  | "floodEvents"
  | "maxWaitingBytes"
  | "maxPayloadBytes";

/** Too much in too little time. */
export class RateLimited extends ClientError {
  readonly code = "rate_limited";
  override readonly closeCode = CloseCode.tooMany;
  /** The option that says how much, if it is one. */
  readonly limit: LimitName | undefined;

  constructor(message: string, limit?: LimitName) {
    super(message);
    this.limit = limit;
  }
}

/** The policy of a group (`mayJoin`) does not let this connection in. */
export class JoinRefused extends ClientError {
  readonly code = "join_refused";
  override readonly closeCode = CloseCode.forbidden;
}

/** Nothing here handles that event or message type. */
export class NoHandler extends ClientError {
  readonly code = "no_handler";
}

/** Something that is to be sent can be put neither into JSON nor into bytes: a bug of the sender. */
export class Unencodable extends SluiceError {
  readonly code = "unencodable";
}

/** The consumer's mailbox has no room left. */
export class ChannelFull extends ClientError {
  readonly code = "channel_full";
  override readonly closeCode = CloseCode.tooMany;
}

/** A message is larger than the configured limit. */
export class MessageTooLarge extends ClientError {
  readonly code = "message_too_large";
  override readonly closeCode = CloseCode.tooLarge;
}

/** A channel layer that is not open (any more) or cannot reach its backplane. Worth another try. */
export class LayerUnavailable extends ClientError {
  readonly code = "layer_unavailable";
  override readonly closeCode = CloseCode.unavailable;
}

/** The client did not answer an `ask` in time. */
export class AskTimeout extends ClientError {
  readonly code = "ask_timeout";
}

/** What the outside learns of an error, whatever carries it there. */
export interface Verdict {
  readonly code: string;
  readonly closeCode: number;
  readonly message: string;
  readonly details?: unknown;
}

/** What a client is told of a bug: nothing that it might tell. */
export const INTERNAL_ERROR: Verdict = {
  code: "internal_error",
  closeCode: CloseCode.internalError,
  message: "internal error",
};

/** Whether a client may read it. One with a wrong close code is a bug like any other. */
export function isForClient(error: unknown): error is ClientError {
  return error instanceof ClientError && isCloseCode(error.closeCode);
}

/** What the outside learns of an error: a `ClientError` as it is, anything else as an internal error. */
export function verdictOf(error: unknown): Verdict {
  if (!isForClient(error)) return INTERNAL_ERROR;
  const { code, closeCode, message, details } = error;
  return details === undefined ? { code, closeCode, message } : { code, closeCode, message, details };
}

/** The acknowledgement of an event that was refused: `{ error: { code, message, details? } }`. */
export class Refusal {
  readonly error: Omit<Verdict, "closeCode">;
  readonly #closeCode: number;

  constructor({ closeCode, ...error }: Verdict) {
    this.error = error;
    this.#closeCode = closeCode;
  }

  /** For carriers that answer with a status; not part of what the client gets. */
  get closeCode(): number {
    return this.#closeCode;
  }
}

/** What was thrown, in words: whatever it is, and whatever it does when it is asked for them. */
export function thrownText(thrown: unknown): string {
  try {
    return String(thrown instanceof Error ? thrown.message : thrown);
  } catch {
    return "something that cannot be said in words";
  }
}

/** Close codes are 4400-4499 (do not come back unchanged) and 4500-4599 (come back later). */
export function checkCloseCode(code: number): number {
  if (isCloseCode(code)) return code;
  throw new RangeError(
    `a close code is an integer from 4400 to 4499 (do not come back unchanged) or 4500 to 4599 (come back later), not ${String(code)}`,
  );
}

function isCloseCode(code: number): boolean {
  return Number.isInteger(code) && code >= 4400 && code <= 4599;
}
