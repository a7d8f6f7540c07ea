/** Secrets that an application signs with: what they must be, and how signatures are compared. */
import { randomBytes, timingSafeEqual } from "node:crypto";
import { ConfigurationError } from "./errors.ts";

const MIN_LENGTH = 32;

/**
 * The secrets to use; without any, one that is good for this process alone.
 *
 * @throws ConfigurationError for one that is too short
 */
export function usableSecrets(secrets: readonly string[]): readonly string[] {
  if (secrets.some((secret) => typeof secret !== "string" || secret.length < MIN_LENGTH)) {
    throw new ConfigurationError([
      `a secret must be text of at least ${MIN_LENGTH} characters; make one by: openssl rand -base64 48`,
    ]);
  }
  return secrets.length > 0 ? secrets : [randomBytes(32).toString("base64url")];
}

/** Takes as long wherever two texts of one length differ. */
export function isSameSignature(shown: string, expected: string): boolean {
  const [one, other] = [Buffer.from(shown), Buffer.from(expected)];
  return one.length === other.length && timingSafeEqual(one, other);
}
