/** The HTTP side: `http` routes behind their middleware, and how errors look in JSON. */
import type { ServerResponse } from "node:http";
import type { ErrorRequestHandler, Request, RequestHandler, Response } from "express";
import type { Application } from "../application.ts";
import { ConnectionDenied, isForClient, statusOf, verdictOf } from "../errors.ts";
import type { ConnectionFact } from "../facts.ts";
import { connectionLost } from "../reasons.ts";
import { ConnectionScope, ScopeSource } from "../scope.ts";
import type { DisconnectReason, Handshake, Scope, ScopeConnection } from "../types.ts";
import { isGone, onGone } from "./gone.ts";
import { clientAddress, handshakeOf } from "./scope.ts";

/**
 * Aborts when the client has left, or the answer is complete. For Express routes of your own; in an `http` route
 * it is `scope.closed`.
 */
export function closedOf(response: ServerResponse): AbortSignal {
  const closed = new AbortController();
  onLeft(response, (reason) => closed.abort(reason));
  return closed.signal;
}

function onLeft(response: ServerResponse, hear: (reason: DisconnectReason) => void): void {
  const tell = () => hear(connectionLost("answered, or the client has left"));
  if (response.closed || isGone(response)) tell();
  else onGone(response, tell);
}

/** Answers `{ error: { code, message, closeCode? } }`, or ends the answer if it has begun. */
export function sendError(response: Response, error: unknown): void {
  if (response.headersSent) return void response.destroy();
  const { closeCode, ...report } = verdictOf(error);
  const isDenial = error instanceof ConnectionDenied;
  response.status(statusOf(closeCode)).json({ error: isDenial ? { ...report, closeCode } : report });
}

/** Runs the application's `http` routes; what none of them matches goes on. */
export function httpRoutes(app: Application, trustedProxies: number): RequestHandler {
  return async (request, response, next) => {
    const match = app.router.httpAt(request.method, request.path);
    if (match === undefined) return next();
    const handshake = handshakeOf(request, "http", request.path, {}, trustedProxies);
    const scope = requestScope(app, handshake, match.params, request, response);
    response.set("X-Request-Id", scope.requestId);
    try {
      await match.route.admit(scope, (admitted) => handle(match.route.handler, request, response, admitted));
    } catch (error) {
      const isOfParser = typeof (error as { type?: unknown } | undefined)?.type === "string";
      if (isOfParser && refuseBody(app, error, request, response, trustedProxies)) return;
      fail(app, response, error, { route: match.route.pattern, scope });
    }
  };
}

/** The scope of one request, whose connection is nothing that stays. */
export function requestScope(
  app: Application,
  handshake: Handshake,
  params: object,
  request: Request,
  response: Response,
): ConnectionScope {
  const current = () => (response.locals.scope as ConnectionScope | undefined) ?? scope;
  const face: ScopeConnection = {
    get scope() {
      return current();
    },
    ...(handshake.protocol === "http" ? { http: { request, response } } : {}),
    close: (code, reason) => sendError(response, new ConnectionDenied(code, reason)),
    change: async (changes) => {
      response.locals.scope = current().with(changes);
    },
    tell: () => {},
    around: () => {},
    onRefresh: () => {},
    key: () => {},
    unkey: () => {},
    closeKeyed: (key, code, reason) => app.closeKeyed(key, code, reason),
    // The stream that a POST of `sse` belongs to has a seat already.
    sit: async (of, room, seats) => handshake.protocol !== "http" || app.sit(of, room, seats, scope.closed),
    userId: (user) => app.userId(user),
    failed: (error) => app.signals.failed.announce({ hook: "middleware", error }),
  };
  const source = new ScopeSource(handshake, handshake.auth, params, { face });
  onLeft(response, (reason) => source.end(reason));
  const scope = new ConnectionScope(source);
  return scope;
}

const UNREADABLE = { code: "bad_request", message: "the request could not be read" };
const TOO_LARGE = { code: "message_too_large", message: "the request is larger than this server takes" };

/** The last resort of the Express app: a stack never reaches a client. */
export function lastErrors(app: Application, trustedProxies: number): ErrorRequestHandler {
  return (error: unknown, request: Request, response: Response, _next: unknown) => {
    if (!refuseBody(app, error, request, response, trustedProxies)) fail(app, response, error);
  };
}

/** Answers what Express' own parsers say: malformed JSON, a body too large. Says whether it was that. */
export function refuseBody(
  app: Application,
  error: unknown,
  request: Request,
  response: Response,
  trustedProxies: number,
): boolean {
  const { status, type } = (error ?? {}) as { readonly status?: unknown; readonly type?: unknown };
  if (typeof status !== "number" || status < 400 || status >= 500 || response.headersSent) return false;
  if (type === "entity.too.large") {
    const remoteAddress = clientAddress(request, trustedProxies);
    app.signals.limited.announce({ limit: "maxPayloadBytes", namespace: request.path, remoteAddress });
  }
  response.status(status).json({ error: status === 413 ? TOO_LARGE : UNREADABLE });
  return true;
}

async function handle(
  handler: RequestHandler,
  request: Request,
  response: Response,
  scope: Scope,
): Promise<void> {
  response.locals.scope = scope;
  await new Promise<void>((resolve, reject) => {
    onGone(response, resolve);
    Promise.resolve(
      handler(request, response, (error?: unknown) =>
        reject(error ?? new ConnectionDenied(4404, "not found")),
      ),
    ).catch(reject);
  });
}

/** Answers with an error, and announces it if it is a bug. */
export function fail(
  app: Application,
  response: Response,
  error: unknown,
  about: Partial<ConnectionFact> = {},
): void {
  if (!isForClient(error)) app.signals.failed.announce({ ...about, hook: "http", error });
  sendError(response, error);
}
