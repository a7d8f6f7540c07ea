import { ConfigurationError, type MarkedMiddleware, mark, usableSecrets } from "../index.ts";
import { unsignedCookie } from "./signatures.ts";

/** What {@link cookies} believes. */
export interface CookiesOptions {
  /** What the cookies are signed with, at least 32 characters; of several all are believed. */
  readonly secret: string | readonly string[];
}

/**
 * Hands down the cookies that this application has signed, as `scope.state.signedCookies`, without their
 * signatures; what `response.cookie(name, value, { signed: true })` of Express with `cookie-parser` makes.
 * Any other cookie, unsigned or with a wrong signature, is not among them. `scope.cookies` has all as the
 * client sent them: whoever believes those believes the client.
 *
 * @throws ConfigurationError without a usable secret
 */
export function cookies({ secret }: CookiesOptions): MarkedMiddleware<{
  readonly state: { readonly signedCookies: ReadonlyMap<string, string> };
}> {
  const secrets = secretsOf(secret, "cookies");
  return mark({ provides: ["signedCookies"] }, function cookies(scope, next) {
    const signed = [...scope.cookies].flatMap(([name, cookie]) => {
      const value = unsignedCookie(cookie, secrets);
      return value === undefined ? [] : [[name, value] as const];
    });
    return next({ state: { signedCookies: new Map(signed) } });
  });
}

/** @throws ConfigurationError without a usable secret */
export function secretsOf(secret: unknown, of: string): readonly string[] {
  const secrets = [secret ?? []].flat() as unknown as readonly string[];
  if (secrets.length > 0) return usableSecrets(secrets);
  throw new ConfigurationError([
    `${of} need a secret that all nodes know, of at least 32 characters; make one by: openssl rand -base64 48`,
  ]);
}
