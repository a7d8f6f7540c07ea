import { addressKey } from "../address-key.ts";
import type { LimitName } from "../errors.ts";
import type { LimitStore } from "../layer/limit-store.ts";
import { TokenBucket } from "../token-bucket.ts";

export interface HandshakeLimits {
  /** 0: any number. */
  readonly handshakesPerSecond: number;
  readonly handshakesPerSecondPerAddress: number;
}

/** How many addresses are remembered before those with a full allowance are let go. */
const SWEEP_AT = 10_000;

/** How many new connections are taken: by this node, and from one address; with a store the latter over all nodes. */
export class Handshakes {
  readonly #limits: HandshakeLimits;
  readonly #store: LimitStore | undefined;
  readonly #all: TokenBucket | undefined;
  readonly #addresses = new Map<string, TokenBucket>();
  #sweepAt = SWEEP_AT;

  constructor(limits: HandshakeLimits, store: LimitStore | undefined) {
    this.#limits = limits;
    this.#store = store;
    this.#all = bucketOf(limits.handshakesPerSecond);
  }

  /** Whether anything is counted at all. */
  get areLimited(): boolean {
    return this.#all !== undefined || this.#limits.handshakesPerSecondPerAddress > 0;
  }

  /** One more. Which limit it is refused by; undefined: it may come. */
  async take(address: string): Promise<LimitName | undefined> {
    // What one address has too many of must not cost the others theirs.
    if (!(await this.#takeOf(addressKey(address)))) return "handshakesPerSecondPerAddress";
    return this.#all?.take() === false ? "handshakesPerSecond" : undefined;
  }

  async #takeOf(address: string): Promise<boolean> {
    const { handshakesPerSecondPerAddress: perSecond } = this.#limits;
    if (perSecond === 0) return true;
    // Counted here all the while, and without the store for one that has spent its own.
    if (!this.#own(address, perSecond).take()) return false;
    if (this.#store === undefined) return true;
    const rate = { perSecond, burst: perSecond * 2 };
    const taken = await this.#store.take(`handshakes:address:${address}`, rate, 1).catch(() => undefined);
    return taken === undefined || taken.count === 1;
  }

  #own(address: string, perSecond: number): TokenBucket {
    if (this.#addresses.size >= this.#sweepAt) this.#sweep();
    const bucket = this.#addresses.get(address) ?? new TokenBucket(perSecond, perSecond * 2);
    this.#addresses.set(address, bucket);
    return bucket;
  }

  #sweep(): void {
    for (const [address, bucket] of this.#addresses) if (bucket.isFull) this.#addresses.delete(address);
    this.#sweepAt = Math.max(SWEEP_AT, this.#addresses.size * 2);
  }
}

function bucketOf(perSecond: number): TokenBucket | undefined {
  return perSecond === 0 ? undefined : new TokenBucket(perSecond, perSecond * 2);
}
