import { addressKey } from "./address-key.ts";
import { TokenBucket } from "./token-bucket.ts";

const MAX_ADDRESSES = 10_000;

/** A token bucket for each client address; of too many addresses the one that came longest ago is forgotten. */
export class AddressBuckets {
  readonly #perSecond: number;
  readonly #burst: number;
  readonly #buckets = new Map<string, TokenBucket>();

  constructor(perSecond: number, burst: number) {
    this.#perSecond = perSecond;
    this.#burst = burst;
  }

  /** Takes one; milliseconds to wait if there was none, otherwise 0. */
  take(address: string): number {
    const key = addressKey(address);
    const bucket = this.#buckets.get(key) ?? new TokenBucket(this.#perSecond, this.#burst);
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
