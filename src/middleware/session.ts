import { parse as parseCookie } from "cookie";
import type { Request, RequestHandler, Response } from "express";
import type { Store } from "express-session";

import {
  CloseCode,
  ConfigurationError,
  ConnectionDenied,
  isForClient,
  isSameSignature,
  type MarkedMiddleware,
  mark,
  peerNow,
  type Scope,
  statusOf,
  verdictOf,
} from "../index.ts";
import { secretsOf } from "./cookies.ts";
import { asExpressStore, ForeignStore } from "./express-store.ts";
import { type ExpressSessionStore, MemorySessions, type SessionStore } from "./session-store.ts";
import { unsignedCookie } from "./signatures.ts";
import {
  idDigest,
  SESSION_ENDED,
  type Session,
  type SessionTerms,
  type SessionValues,
  SocketSession,
  sessionKey,
  ticketSignature,
} from "./socket-session.ts";

type ExpressSession = typeof import("express-session");

/** The session's cookie, as express-session takes it. */
export interface SessionCookie {
  /** Milliseconds; without it the cookie ends with the browser. */
  readonly maxAge?: number;
  readonly path?: string;
  readonly domain?: string;
  readonly httpOnly?: boolean;
  readonly sameSite?: boolean | "lax" | "strict" | "none";
  /** `auto`: as the connection is. */
  readonly secure?: boolean | "auto";
  readonly partitioned?: boolean;
  readonly priority?: "low" | "medium" | "high";
}

/** How sessions are kept, and what their cookie is like. */
export interface SessionOptions {
  /** Signs the cookie; at least 32 characters, the same on all nodes. Of several the first signs, all are believed. */
  readonly secret: string | readonly string[];
  /** `new RedisSessions(...)` for several nodes, or any store of express-session. By default this process keeps them. */
  readonly store?: SessionStore | ExpressSessionStore;
  /** The cookie's name. Default `connect.sid`, as express-session's. */
  readonly name?: string;
  /** As express-session takes it. Default `{ httpOnly: true, sameSite: "lax", secure: "auto" }`. */
  readonly cookie?: SessionCookie;
  /** How long a session is kept that is not used, where the cookie has no `maxAge`. Default a day. */
  readonly ttlMs?: number;
  /** Bytes that one may have as JSON. Default 65,536. */
  readonly maxBytes?: number;
}

/** Middleware of the application, and two handlers for Express. */
export interface Sessions<Values extends SessionValues>
  extends MarkedMiddleware<{ readonly session: Session<Values> }> {
  /** express-session itself, for pages and routes of your own: `server.express.use(sessions.express)`. */
  readonly express: RequestHandler;
  /**
   * Gives a browser the cookie of the session that its connection got a new id for, by `session.ticket()`;
   * answers 204, or 403: `server.express.post("/session", sessions.express, sessions.adopt)`.
   */
  readonly adopt: RequestHandler;
}

const DAY_MS = 24 * 3_600_000;
const TICKET_HEADER = "sluice-session";

/**
 * One express-session, shared by Express and all connections, as `scope.session`.
 *
 * A connection that stays reads it anew before each hook and handler, and saves it after one that has ended
 * well and changed it, before the client gets its answer. What was destroyed elsewhere, or has expired,
 * is never written again: the hook does not run, and the client is told to come back (4510).
 *
 * @throws ConfigurationError without a usable secret, or if express-session is not installed
 * @example
 * const sessions = session<{ cart: string[] }>({ secret });
 * const app = createApplication({ middleware: [sessions], routes });
 * server.express.use(sessions.express);
 */
export function session<Values extends SessionValues = Record<string, unknown>>(
  options: SessionOptions,
): Sessions<Values> {
  const secrets = secretsOf(options.secret, "sessions");
  const { name = "connect.sid", ttlMs = DAY_MS, maxBytes = 65_536 } = options;
  const cookie: SessionCookie = { httpOnly: true, sameSite: "lax", secure: "auto", ...options.cookie };
  for (const [option, value] of Object.entries({ ttlMs, maxBytes })) {
    if (Number.isSafeInteger(value) && value > 0) continue;
    throw new ConfigurationError([`session.${option} must be a whole number of at least 1`]);
  }
  const given = options.store ?? new MemorySessions();
  const expressSession = peerNow<ExpressSession>("express-session");
  const isOurs = "swap" in given;
  const store: SessionStore = isOurs ? given : new ForeignStore(given);
  const expressStore = isOurs
    ? asExpressStore(expressSession.Store as never, given, ttlMs)
    : (given as unknown as Store);
  const express = expressSession({
    secret: [...secrets],
    store: expressStore,
    name,
    cookie,
    resave: false,
    saveUninitialized: false,
  });
  const { maxAge = null, path = "/", httpOnly = true } = cookie;
  const terms: SessionTerms = {
    store,
    ttlMs,
    maxBytes,
    secrets,
    newCookie: () => ({
      originalMaxAge: maxAge,
      ...(typeof maxAge === "number" ? { expires: new Date(Date.now() + maxAge).toISOString() } : {}),
      httpOnly,
      path,
      sameSite: cookie.sameSite,
    }),
  };
  const middleware = mark({ provides: ["session"] }, async function session(scope, next) {
    const { http } = scope.connection;
    const id = unsignedCookie(scope.cookies.get(name), secrets);
    if (http !== undefined) return next({ session: await requestSession(scope, http, express, store, id) });
    const opened = await SocketSession.open(scope, terms, id);
    stay(scope, opened);
    return next({ session: opened });
  });
  const adopt: RequestHandler = async (request, response, next) => {
    try {
      await adoptTicket(request, name, terms);
      response.status(204).end();
    } catch (error) {
      if (!isForClient(error)) return next(error);
      const { code, message, closeCode } = verdictOf(error);
      response.status(statusOf(closeCode)).json({ error: { code, message } });
    }
  };
  return Object.assign(middleware, { express, adopt }) as never;
}

/** Reads it before each hook, and saves it after. */
function stay(scope: Scope, session: SocketSession): void {
  scope.connection.around(async (run, hook) => {
    if (hook === "disconnect") {
      // It runs in any case, and what it cannot save has no answer to be told in.
      if (!session.isGone) await session.reload().catch(() => {});
      await run();
      if (!session.isGone && !session.isNew && session.isChanged) await session.save();
      return;
    }
    // Destroyed while the client was being admitted: whoever closed its connections then did not find this one.
    if (hook === "connect") await session.checkStored();
    // Handlers that run at once share it: to read it anew would take away what one has not saved.
    else if (session.running === 0) await session.reload();
    session.running += 1;
    try {
      await run();
    } finally {
      session.running -= 1;
      if (session.isGone && session.running === 0) session.leaveSoon();
    }
    // One that no cookie names is its connection's own, until somebody saves it.
    if (session.isGone || session.isNew) return;
    if (session.isChanged) await session.save();
    else await session.keepAlive();
  });
}

/** Of a request of an `http` route: what express-session makes of it. */
async function requestSession(
  scope: Scope,
  { request, response }: { readonly request: Request; readonly response: Response },
  express: RequestHandler,
  store: SessionStore,
  cookieId: string | undefined,
): Promise<Session> {
  await new Promise<void>((resolve, reject) => {
    express(request, response, (error?: unknown) => (error ? reject(error) : resolve()));
  });
  const { connection } = scope;
  // Another id than the cookie's is one that express-session has just made.
  let isStored = cookieId === request.sessionID;
  const done = (act: (callback: (error: unknown) => void) => unknown) =>
    new Promise<void>((resolve, reject) => {
      act((error) => (error ? reject(error) : resolve()));
    });
  const checked = () => {
    if (request.session) return request.session;
    throw new ConnectionDenied(CloseCode.expired, SESSION_ENDED);
  };
  const closeAll = (id: string) => connection.closeKeyed(sessionKey(id), CloseCode.expired, SESSION_ENDED);
  return {
    get id() {
      return request.sessionID;
    },
    get data() {
      return checked() as unknown as Record<string, unknown>;
    },
    get isNew() {
      checked();
      return !isStored;
    },
    async save() {
      await done((callback) => checked().save(callback));
      isStored = true;
    },
    reload: () => done((callback) => checked().reload(callback)),
    async regenerate({ keepData = false } = {}) {
      const id = request.sessionID;
      const { cookie: _, ...data } = checked() as unknown as Record<string, unknown>;
      const isGone = isStored && !(await store.remove(id));
      isStored = !isGone;
      if (isGone) throw new ConnectionDenied(CloseCode.expired, SESSION_ENDED);
      await done((callback) => checked().regenerate(callback));
      if (keepData) Object.assign(request.session, data);
      await done((callback) => request.session.save(callback));
      await closeAll(id);
    },
    async destroy() {
      const id = request.sessionID;
      await done((callback) => checked().destroy(callback));
      await closeAll(id);
    },
    async ticket() {
      throw new Error("an HTTP answer sets the cookie itself; tickets are for connections that stay");
    },
    stored: async () => (request.session as unknown as Record<string, unknown> | undefined) ?? undefined,
  };
}

/** Puts the session of a ticket in the place of the request's; express-session then sets its cookie. */
async function adoptTicket(request: Request, name: string, { store, secrets }: SessionTerms): Promise<void> {
  const refuse = () => new ConnectionDenied(CloseCode.forbidden, "this ticket is not valid (any more)");
  const ticket = request.get(TICKET_HEADER) ?? "";
  const at = ticket.lastIndexOf(".");
  const [body, shown] = [ticket.slice(0, at), ticket.slice(at + 1)];
  const isOurs = secrets.some((secret) => isSameSignature(shown, ticketSignature(body, secret)));
  const [id, endsAt, cookie] = body.split(".");
  if (!isOurs || id === undefined || Number(endsAt) < Date.now()) throw refuse();
  // For the browser of that connection alone.
  const { [name]: own } = parseCookie(request.headers.cookie ?? "");
  if (cookie !== idDigest(unsignedCookie(own, secrets) ?? "")) throw refuse();
  const text = await store.read(id);
  if (text === undefined) throw refuse();
  request.sessionID = id;
  const secure = request.session.cookie.secure ?? false;
  request.sessionStore.createSession(request, JSON.parse(text));
  request.session.cookie.secure = secure;
}
