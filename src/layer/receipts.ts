import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { ConfigurationError } from "../errors.ts";

const MIN_LENGTH = 32;

/**
 * Receipts say that a user was let into a group at an offset: HMAC-SHA256 (RFC 2104) over group, user,
 * epoch and offset. Whoever shows one may read on from there; nobody reads what was said before.
 */
export class Receipts {
  readonly #secrets: readonly string[];

  /**
   * @param secrets - the first signs, all are believed, so that they can be changed in turn; without any,
   * receipts are good for this process alone
   * @throws ConfigurationError for a secret that is too short
   */
  constructor(secrets: readonly string[]) {
    if (secrets.some((secret) => typeof secret !== "string" || secret.length < MIN_LENGTH)) {
      throw new ConfigurationError([
        `a secret must be text of at least ${MIN_LENGTH} characters; make one by: openssl rand -base64 48`,
      ]);
    }
    this.#secrets = secrets.length > 0 ? secrets : [randomBytes(32).toString("base64url")];
  }

  issue(group: string, user: string | undefined, epoch: string, since: number): string {
    return sign(this.#secrets[0] as string, group, user, epoch, since);
  }

  isGenuine(receipt: string, group: string, user: string | undefined, epoch: string, since: number): boolean {
    const shown = Buffer.from(receipt);
    return this.#secrets.some((secret) => {
      const expected = Buffer.from(sign(secret, group, user, epoch, since));
      return shown.length === expected.length && timingSafeEqual(shown, expected);
    });
  }
}

function sign(secret: string, group: string, user: string | undefined, epoch: string, since: number): string {
  const said = JSON.stringify([group, user ?? null, epoch, since]);
  return createHmac("sha256", secret).update(said).digest("base64url");
}
