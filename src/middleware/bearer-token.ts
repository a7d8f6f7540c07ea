import type { JWTVerifyGetKey, JWTVerifyOptions } from "jose";
import {
  ClientError,
  CloseCode,
  ConfigurationError,
  ConnectionDenied,
  type MarkedMiddleware,
  mark,
  peer,
  type Scope,
} from "../index.ts";
import { checkDuration, checkSame, repeat, stays } from "./authenticate.ts";
import { Jwks } from "./jwks.ts";

/** What a valid token says; `sub` and `exp` are there always. */
export interface TokenClaims {
  readonly sub: string;
  /** Seconds since 1970, as the next two. */
  readonly exp: number;
  readonly iat?: number;
  readonly nbf?: number;
  readonly iss?: string;
  readonly aud?: string | readonly string[];
  readonly jti?: string;
  readonly [claim: string]: unknown;
}

/** Which tokens {@link bearerToken} believes, and what it makes of them. */
export interface BearerTokenOptions<User> {
  /** For tokens that this application signs itself (HS256); of several all are believed. */
  readonly secret?: string | readonly string[];
  /** Where the public keys of whoever issues the tokens are, as a JWK Set. */
  readonly jwksUrl?: string;
  /** Who the token must be for. */
  readonly audience: string | readonly string[];
  /** Who must have issued it. */
  readonly issuer: string | readonly string[];
  /** How far clocks may be apart. Default 5,000. */
  readonly clockToleranceMs?: number;
  /** Default HS256 with a secret, and RS256, PS256, ES256 and EdDSA with keys; never both kinds, never none. */
  readonly algorithms?: readonly string[];
  /** Longer ones are refused unread. Default 8,192. */
  readonly maxTokenBytes?: number;
  /** Where else it is. By default `auth.token`, or the header `Authorization: Bearer`. */
  readonly tokenOf?: (scope: Scope) => string | undefined;
  /** What `scope.user` is. By default `{ id: claims.sub, claims }`. */
  readonly user?: (claims: TokenClaims) => User | undefined | Promise<User | undefined>;
  /** Whether it counts no longer, although it has not expired: asked at admission, right after, and again every `recheckMs`. */
  readonly isRevoked?: (claims: TokenClaims) => boolean | Promise<boolean>;
  /** How often `isRevoked` and `user` are asked again on an open connection; by default never. */
  readonly recheckMs?: number;
  /** How long before its end a client is told (`sluice.expiring`), at most half of what is left. Default 60,000. */
  readonly refreshBeforeMs?: number;
  /** How the JWK Set is fetched. */
  readonly jwks?: {
    /** How long a fetch may take. Default 5,000. */
    readonly timeoutMs?: number;
    /** After so long keys are fetched anew. Default 600,000. */
    readonly cacheMs?: number;
    /** The least time between two fetches, whatever tokens ask for. Default 30,000. */
    readonly cooldownMs?: number;
  };
}

/** A token that is no good. It says which rule it breaks, and nothing of what is in it. */
export class InvalidToken extends ClientError {
  readonly code = "invalid_token";
  override readonly closeCode: number;

  constructor(reason: string, closeCode: number = CloseCode.unauthenticated) {
    super(reason);
    this.closeCode = closeCode;
  }
}

const SYMMETRIC = ["HS256", "HS384", "HS512"];
const ASYMMETRIC = [
  "RS256",
  "RS384",
  "RS512",
  "PS256",
  "PS384",
  "PS512",
  "ES256",
  "ES384",
  "ES512",
  "EdDSA",
  "Ed25519",
];
const USUAL_ASYMMETRIC = ["RS256", "PS256", "ES256", "EdDSA", "Ed25519"];
const MIN_SECRET = 32;

interface Checked {
  readonly claims: TokenClaims;
  /** By our clock, the tolerance included. */
  readonly endsAt: number;
}

/** The rules for tokens, and nothing about connections. */
class TokenRules {
  readonly #keys: readonly (Uint8Array | JWTVerifyGetKey)[];
  readonly #options: JWTVerifyOptions;
  readonly #toleranceMs: number;
  readonly #maxBytes: number;

  /** @throws ConfigurationError that lists every fault */
  constructor(options: BearerTokenOptions<unknown>) {
    const { secret, jwksUrl, audience, issuer, clockToleranceMs = 5_000, maxTokenBytes = 8_192 } = options;
    const faults: string[] = [];
    const secrets = [secret ?? []].flat() as unknown as readonly string[];
    if (secrets.length > 0 === (jwksUrl !== undefined)) {
      faults.push("bearerToken needs a secret or a jwksUrl, one of them");
    }
    if (secrets.some((text) => typeof text !== "string" || text.length < MIN_SECRET)) {
      faults.push(`a secret of bearerToken must be text of at least ${MIN_SECRET} characters`);
    }
    // Who shows the public key as the secret would believe what anybody signs with it.
    if (secrets.some((text) => /-----BEGIN|"kty"/.test(String(text)))) {
      faults.push("a secret of bearerToken looks like a key of a pair; give the keys by jwksUrl");
    }
    if (jwksUrl !== undefined && !/^https?:$/.test(URL.canParse(jwksUrl) ? new URL(jwksUrl).protocol : "")) {
      faults.push("bearerToken.jwksUrl must be a URL, as https://login.example/.well-known/jwks.json");
    }
    for (const [name, value] of Object.entries({ audience, issuer })) {
      const texts = [value ?? []].flat();
      if (texts.length > 0 && texts.every((text) => typeof text === "string" && text !== "")) continue;
      faults.push(`bearerToken.${name} must be text, or a list: which tokens are meant for this application`);
    }
    const known = jwksUrl === undefined ? SYMMETRIC : ASYMMETRIC;
    const { algorithms = jwksUrl === undefined ? ["HS256"] : USUAL_ASYMMETRIC } = options;
    if (algorithms.length === 0 || algorithms.some((algorithm) => !known.includes(algorithm))) {
      faults.push(
        `bearerToken.algorithms must be of ${known.join(", ")} with a ${jwksUrl === undefined ? "secret" : "jwksUrl"}`,
      );
    }
    const { timeoutMs = 5_000, cacheMs = 600_000, cooldownMs = 30_000 } = options.jwks ?? {};
    const durations = { timeoutMs, cacheMs, cooldownMs, maxTokenBytes };
    for (const [name, value] of Object.entries(durations)) {
      if (!Number.isSafeInteger(value) || value < 1) faults.push(`bearerToken: ${name} must be at least 1`);
    }
    if (!Number.isSafeInteger(clockToleranceMs) || clockToleranceMs < 0) {
      faults.push("bearerToken.clockToleranceMs must be a whole number of at least 0");
    }
    if (faults.length > 0) throw new ConfigurationError(faults);
    this.#toleranceMs = clockToleranceMs;
    this.#maxBytes = maxTokenBytes;
    this.#keys =
      jwksUrl === undefined
        ? secrets.map((text) => new TextEncoder().encode(text))
        : [new Jwks({ url: new URL(jwksUrl), timeoutMs, cacheMs, cooldownMs }).getKey];
    this.#options = {
      audience: [audience].flat(),
      issuer: [issuer].flat(),
      algorithms: [...algorithms],
      clockTolerance: clockToleranceMs / 1_000,
    };
  }

  /** @throws InvalidToken; LayerUnavailable if there are no keys at present */
  async check(token: unknown): Promise<Checked> {
    if (typeof token !== "string") throw new InvalidToken("a token is text");
    if (token.length > this.#maxBytes) throw new InvalidToken("the token is too long", CloseCode.tooLarge);
    let wrong: InvalidToken = new InvalidToken("the token is not valid");
    for (const key of this.#keys) {
      try {
        return await this.#checkBy(key, token);
      } catch (error) {
        wrong = refusalOf(error);
        // The signature is good, so no other key says anything else.
        if (wrong.closeCode === CloseCode.expired) break;
      }
    }
    throw wrong;
  }

  async #checkBy(key: Uint8Array | JWTVerifyGetKey, token: string): Promise<Checked> {
    const { jwtVerify } = await peer("jose", () => import("jose"));
    const { payload } = await jwtVerify(token, key as JWTVerifyGetKey, this.#options);
    const { sub, exp } = payload;
    if (typeof sub !== "string" || sub === "" || typeof exp !== "number") {
      throw new InvalidToken("the token says not whose it is, or until when");
    }
    return { claims: { ...payload, sub, exp } as TokenClaims, endsAt: exp * 1_000 + this.#toleranceMs };
  }
}

/** What jose found, in words that say nothing of the token. */
function refusalOf(error: unknown): InvalidToken {
  if (error instanceof InvalidToken) return error;
  const { code, claim } = error as { readonly code?: unknown; readonly claim?: unknown };
  if (code === "ERR_JWT_EXPIRED") return new InvalidToken("the token has expired", CloseCode.expired);
  if (code === "ERR_JWT_CLAIM_VALIDATION_FAILED") {
    const known = ["aud", "iss", "nbf", "iat", "sub", "exp"].find((name) => name === claim);
    return new InvalidToken(
      known === undefined ? "the token is not valid" : `the token's "${known}" is wrong`,
    );
  }
  const isToken = typeof code === "string" && /^ERR_J(OSE|W)/.test(code);
  if (isToken || error instanceof TypeError) return new InvalidToken("the token is not valid");
  throw error;
}

/** What a token of the default form makes of its user. */
export interface TokenUser {
  readonly id: string;
  readonly claims: TokenClaims;
}

/**
 * Makes `scope.user` of a JSON Web Token, for as long as the token is valid: then the connection is closed
 * with 4510 (come back with another), unless the client sends a new one of the same user before, as the event
 * `sluice.auth` with `{ token }`; `sluice/client` does. It is answered with `{ expiresInMs }`. Without any
 * token nobody is the user, and `requireUser` refuses; a token that is no good is refused here.
 *
 * The package `jose` must be installed.
 *
 * @throws ConfigurationError that lists every fault of the options
 */
export function bearerToken<User = TokenUser>(
  options: BearerTokenOptions<User>,
): MarkedMiddleware<{ readonly user: User | undefined }> {
  const rules = new TokenRules(options as BearerTokenOptions<unknown>);
  const { recheckMs, refreshBeforeMs = 60_000, isRevoked, tokenOf = usualToken } = options;
  checkDuration("bearerToken.recheckMs", recheckMs);
  checkDuration("bearerToken.refreshBeforeMs", refreshBeforeMs);
  const userOf =
    options.user ?? ((claims: TokenClaims) => ({ id: claims.sub, claims }) as TokenUser as unknown as User);

  const checkRevoked = async (claims: TokenClaims) => {
    if (await isRevoked?.(claims)) throw new InvalidToken("the token has been revoked");
  };

  return mark({ provides: ["user"] }, async function bearerToken(scope, next) {
    const token = tokenOf(scope);
    if (token === undefined) return next();
    let current = await rules.check(token);
    await checkRevoked(current.claims);
    const user = await userOf(current.claims);
    if (!stays(scope)) return next({ user });
    const { connection } = scope;
    const life = new Life(scope, refreshBeforeMs);
    const become = async (claims: TokenClaims) => {
      const fresh = (await userOf(claims)) ?? undefined;
      checkSame(scope, connection.scope.user, fresh);
      await connection.change({ user: fresh });
    };
    const again = async () => {
      await checkRevoked(current.claims);
      await become(current.claims);
    };
    connection.onRefresh(async (auth) => {
      const fresh = await rules.check((auth as { readonly token?: unknown }).token);
      await checkRevoked(fresh.claims);
      const { sub, iss } = fresh.claims;
      if (sub !== current.claims.sub || iss !== current.claims.iss) {
        throw new ConnectionDenied(CloseCode.forbidden, "this token is somebody else's");
      }
      await become(fresh.claims);
      // One that ends sooner than what we have changes what is known, not how long.
      if (fresh.endsAt >= current.endsAt) life.until(fresh.endsAt);
      current = fresh.endsAt >= current.endsAt ? fresh : { ...fresh, endsAt: current.endsAt };
      return { expiresInMs: Math.max(0, current.endsAt - Date.now()) };
    });
    life.until(current.endsAt);
    await next({ user });
    // Revoked while it was let in: whoever closed the user's connections then did not find this one.
    await checkRevoked(current.claims);
    if (recheckMs !== undefined) repeat(scope, recheckMs, again);
  });
}

/** The time of one connection: its client is told when it runs out, and closed when it has. */
class Life {
  readonly #scope: Scope;
  readonly #beforeMs: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(scope: Scope, beforeMs: number) {
    this.#scope = scope;
    this.#beforeMs = beforeMs;
    scope.closed.addEventListener("abort", () => clearTimeout(this.#timer), { once: true });
  }

  until(endsAt: number): void {
    const leftMs = endsAt - Date.now();
    const beforeMs = Math.min(this.#beforeMs, leftMs / 2);
    this.#at(endsAt - beforeMs, () => {
      this.#scope.connection.tell("sluice.expiring", { inMs: Math.max(0, Math.round(endsAt - Date.now())) });
      this.#at(endsAt, () => {
        this.#scope.connection.close(CloseCode.expired, "the token has expired");
      });
    });
  }

  #at(moment: number, run: () => void): void {
    clearTimeout(this.#timer);
    if (this.#scope.closed.aborted) return;
    // Timers overflow beyond 31 bits.
    const waitMs = Math.min(Math.max(0, moment - Date.now()), 2_147_483_647);
    this.#timer = setTimeout(() => (moment > Date.now() ? this.#at(moment, run) : run()), waitMs);
  }
}

function usualToken({ auth, headers }: Scope): string | undefined {
  // What is no text is refused, not overlooked.
  if (auth.token !== undefined && auth.token !== null) return auth.token as string;
  return /^Bearer +(\S+) *$/i.exec(headers.authorization ?? "")?.[1];
}
