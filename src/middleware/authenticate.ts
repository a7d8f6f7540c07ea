import {
  CloseCode,
  ConfigurationError,
  ConnectionDenied,
  deny,
  isForClient,
  LayerUnavailable,
  type MarkedMiddleware,
  mark,
  type Present,
  type Scope,
} from "../index.ts";
import type { Session } from "./socket-session.ts";

/** Whose connection it is; undefined: nobody's, which `requireUser` refuses. Refuses itself by `deny`. */
export type Strategy<User, Needs = unknown> = ((
  scope: Scope & Needs,
) => User | undefined | Promise<User | undefined>) & {
  /** Fields of the scope that it needs, e.g. `session`. */
  readonly requires?: readonly string[];
};

/** How {@link authenticate} asks who it is, and when again. */
export interface AuthenticateOptions {
  /**
   * How often the strategy is asked again whether an open connection is still this user's; by default never.
   * Nobody: the connection is closed with 4401; somebody else: with 4403. One that throws what no client is to
   * hear (a database that is down), or `LayerUnavailable`, leaves it as it is, until the next time.
   */
  readonly recheckMs?: number;
}

/**
 * Makes `scope.user` what the strategy says. Credentials that a client sends later over the open connection
 * (the event `sluice.auth`, in the form of `auth`) go the same way; they must be the same user's. Who was
 * nobody and is somebody comes back (4510) to be admitted as such.
 *
 * @throws ConfigurationError for a wrong option
 * @example
 * authenticate((scope) => users.findByApiKey(scope.headers["x-api-key"]));
 */
export function authenticate<User, Needs = unknown>(
  strategy: Strategy<User, Needs>,
  { recheckMs }: AuthenticateOptions = {},
): MarkedMiddleware<{ readonly user: User | undefined }, Needs> {
  if (typeof strategy !== "function") {
    throw new ConfigurationError(["authenticate needs a strategy: a function (scope) => user"]);
  }
  checkDuration("authenticate.recheckMs", recheckMs);
  const requires = strategy.requires ?? [];
  const ask = async (scope: Scope) => (await strategy(scope as Scope & Needs)) ?? undefined;
  return mark({ requires, provides: ["user"] }, async function authenticate(scope, next) {
    const user = await ask(scope);
    if (!stays(scope)) return next({ user });
    const { connection } = scope;
    let { auth } = scope;
    const again = async () => {
      const now = connection.scope;
      const fresh = await ask({ ...now, auth });
      checkSame(scope, now.user, fresh);
      if (connection.scope.user === now.user) await connection.change({ user: fresh });
    };
    connection.onRefresh(async (given) => {
      const before = auth;
      auth = given;
      try {
        await again();
      } catch (error) {
        auth = before;
        throw error;
      }
      return {};
    });
    await next({ user });
    if (recheckMs !== undefined) repeat(scope, recheckMs, again);
  });
}

/** Refuses who is nobody, with 4401. */
export function requireUser(): MarkedMiddleware<{ readonly user: Present }, { readonly user: unknown }> {
  return mark({ requires: ["user"], provides: ["user"] }, function requireUser({ user }, next) {
    return user === undefined || user === null ? deny(CloseCode.unauthenticated, "log in first") : next();
  });
}

interface WithSession {
  // biome-ignore lint/suspicious/noExplicitAny: whatever else the application keeps in it
  readonly session: Session<any>;
}

const USER = "sluice.user";

/**
 * A strategy: the user who logged in by {@link login}, as `find` knows them by their id. Asked again (option
 * `recheckMs`) it looks at what the store has then.
 *
 * @example
 * [session({ secret }), authenticate(sessionUser((id) => users.find(id)), { recheckMs: 30_000 })]
 */
export function sessionUser<User>(
  find: (id: string) => User | undefined | Promise<User | undefined>,
): Strategy<User, WithSession> {
  const strategy = async ({ session, connection }: Scope & WithSession) => {
    const data = connection.scope.session === session ? await session.stored() : session.data;
    if (data === undefined) deny(CloseCode.expired, "the session has ended");
    const id = (data as Record<string, unknown>)[USER];
    return typeof id === "string" ? find(id) : undefined;
  };
  return Object.assign(strategy, { requires: ["session"] });
}

/**
 * From now on the session is this user's: it gets a new id (so that whoever knew the old one knows nothing),
 * and keeps what was in it unless that was another user's. Other connections with the old id come back
 * (4510). On a connection that stays `scope.user` is the user at once; its browser learns the new id by
 * `scope.session.ticket()`. In an `http` route the answer brings it.
 *
 * @throws Error without a session, or for a user that has no id
 */
export async function login(scope: Scope, user: unknown): Promise<void> {
  const { connection } = scope;
  const session = sessionOf(scope);
  const id = connection.userId(user);
  if (id === undefined) throw new Error("login() needs a user with an id; see the option userId");
  const before = (session.data as Record<string, unknown>)[USER];
  try {
    await session.regenerate({ keepData: before === undefined || before === id });
  } catch (error) {
    // Another tab has logged in or out meanwhile: nothing of the old one goes along.
    if (!(error instanceof ConnectionDenied && error.closeCode === CloseCode.expired)) throw error;
    await session.regenerate();
  }
  (session.data as Record<string, unknown>)[USER] = id;
  await session.save();
  await connection.change({ user });
}

/**
 * Ends the session, and with it every connection that has it, in all tabs of the browser, on all nodes: their
 * clients hear 4510 and come back as whoever they are then. The connection that this is called on ends
 * when its handler has answered.
 *
 * @throws Error without a session
 */
export async function logout(scope: Scope): Promise<void> {
  await sessionOf(scope).destroy();
  await scope.connection.change({ user: undefined });
}

function sessionOf({ connection }: Scope): Session {
  const { session } = connection.scope;
  if (session !== undefined) return session as Session;
  throw new Error("login() and logout() need the middleware session(...)");
}

/** Whether the connection outlives this admission. */
export function stays({ connection, protocol }: Scope): boolean {
  return connection.http === undefined && protocol !== "http";
}

/**
 * Checks so long after the last time, and so on, until the connection ends: what says no closes it, what cannot
 * tell (a database or Redis is down) does not.
 */
export function repeat({ connection, closed }: Scope, everyMs: number, check: () => Promise<void>): void {
  if (closed.aborted) return;
  let timer: NodeJS.Timeout;
  const again = () => {
    timer = setTimeout(() => void once(), everyMs);
  };
  const once = async () => {
    try {
      await check();
    } catch (error) {
      if (closed.aborted) return;
      if (isForClient(error) && !(error instanceof LayerUnavailable)) {
        return connection.close(error.closeCode, error.message);
      }
      connection.failed(error);
    }
    if (!closed.aborted) again();
  };
  again();
  closed.addEventListener("abort", () => clearTimeout(timer), { once: true });
}

/** @throws ConnectionDenied for somebody else, or nobody */
export function checkSame({ connection }: Scope, before: unknown, fresh: unknown): void {
  const [was, is] = [connection.userId(before), connection.userId(fresh)];
  if (was === is && (fresh === undefined) === (before === undefined)) return;
  if (before === undefined) throw new ConnectionDenied(CloseCode.expired, "come back as who you are now");
  throw fresh === undefined
    ? new ConnectionDenied(CloseCode.unauthenticated, "log in again")
    : new ConnectionDenied(CloseCode.forbidden, "these credentials are somebody else's");
}

/** @throws ConfigurationError */
export function checkDuration(name: string, value: number | undefined, least = 1): void {
  if (value === undefined || (Number.isSafeInteger(value) && value >= least && value < 2 ** 31)) return;
  throw new ConfigurationError([`${name} must be a whole number of at least ${least} (below 2^31)`]);
}

/** Whether a token was issued before that moment; one that does not say when was. */
export function revokedBefore(iat: number | undefined, at: number): boolean {
  return (iat ?? 0) * 1_000 <= at;
}
