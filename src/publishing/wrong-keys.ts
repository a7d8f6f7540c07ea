import { isIP } from "node:net";
import type { Request } from "express";
import { addressKey, TokenBucket } from "../index.ts";

const MAX_ADDRESSES = 10_000;

/** How many requests without a valid key each address has had lately. */
export class WrongKeys {
  readonly #perMinute: number;
  readonly #buckets = new Map<string, TokenBucket>();

  constructor(perMinute: number) {
    this.#perMinute = perMinute;
  }

  /** Counts one more; how long to wait if it was one too many, otherwise 0. */
  count(address: string): number {
    const key = addressKey(address);
    const bucket = this.#buckets.get(key) ?? new TokenBucket(this.#perMinute / 60, this.#perMinute);
    // The last to come stands last, so that those who stand first are of the least interest.
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    if (this.#buckets.size > MAX_ADDRESSES) {
      const [oldest] = this.#buckets.keys();
      if (oldest !== undefined) this.#buckets.delete(oldest);
    }
    return bucket.take() ? 0 : bucket.waitMs();
  }

  get size(): number {
    return this.#buckets.size;
  }
}

/** The client's address, behind proxies that Express trusts (`trust proxy`) the one they report. */
export function addressOf({ ip = "", socket }: Request): string {
  // With fewer hops than proxies it may be the client's own text.
  return isIP(ip) === 0 ? (socket.remoteAddress ?? "") : ip;
}
