/** Who may come in: what applications import from `sluice/middleware`. */
export {
  type AuthenticateOptions,
  authenticate,
  login,
  logout,
  requireUser,
  type Strategy,
  sessionUser,
} from "./authenticate.ts";
export {
  type BearerTokenOptions,
  bearerToken,
  InvalidToken,
  type TokenClaims,
  type TokenUser,
} from "./bearer-token.ts";
export { type CookiesOptions, cookies } from "./cookies.ts";
export { type LimitConnectionsOptions, limitConnections } from "./limit-connections.ts";
export {
  MemoryRevocations,
  RedisRevocations,
  type RedisRevocationsOptions,
  type RevocationOptions,
  type Revocations,
} from "./redis-revocations.ts";
export { RedisSessions, type RedisSessionsOptions } from "./redis-sessions.ts";
export { type RequireOriginOptions, requireOrigin } from "./require-origin.ts";
export { type SessionCookie, type SessionOptions, type Sessions, session } from "./session.ts";
export {
  type ExpressSessionStore,
  MemorySessions,
  type MemorySessionsOptions,
  type SessionStore,
} from "./session-store.ts";
export type { Session, SessionValues } from "./socket-session.ts";
