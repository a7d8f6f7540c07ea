import { createHmac } from "node:crypto";
import { isSameSignature, usableSecrets } from "../secrets.ts";

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
    this.#secrets = usableSecrets(secrets);
  }

  issue(group: string, user: string | undefined, epoch: string, since: number): string {
    return sign(this.#secrets[0] as string, group, user, epoch, since);
  }

  isGenuine(receipt: string, group: string, user: string | undefined, epoch: string, since: number): boolean {
    return this.#secrets.some((secret) => isSameSignature(receipt, sign(secret, group, user, epoch, since)));
  }
}

function sign(secret: string, group: string, user: string | undefined, epoch: string, since: number): string {
  const said = JSON.stringify([group, user ?? null, epoch, since]);
  return createHmac("sha256", secret).update(said).digest("base64url");
}
