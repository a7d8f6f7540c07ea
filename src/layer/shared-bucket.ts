import { TokenBucket } from "../token-bucket.ts";
import type { RefillingBudget } from "../types.ts";
import type { LimitStore, Rate } from "./limit-store.ts";

/** How long a store that failed is left alone, and this node counts by itself. */
const ALONE_MS = 1_000;
/** Of a second's allowance: what is taken ahead. */
const SHARE = 0.1;

/**
 * A bucket in a shared store. Nobody waits for the store: a node takes a tenth of a second's allowance ahead and,
 * while it asks for more, lets through what its own bucket of the same size would; who has spent more than the
 * store had is refused until that is paid. So for a moment each node may let through one burst, over time all of
 * them together keep to the rate, and one that spends all it has asks about ten times a second.
 *
 * A store that cannot be reached limits nobody more than this node alone would.
 */
export class SharedBucket implements RefillingBudget {
  readonly #store: LimitStore;
  readonly #name: string;
  readonly #rate: Rate;
  readonly #own: TokenBucket;
  readonly #chunk: number;
  /** Taken ahead; below 0: spent, and not paid yet. */
  #balance = 0;
  #blockedUntil = 0;
  #aloneUntil = 0;
  #asking: Promise<void> | undefined;
  #refusals = 0;

  constructor(store: LimitStore, name: string, rate: Rate) {
    this.#store = store;
    this.#name = name;
    this.#rate = rate;
    this.#own = new TokenBucket(rate.perSecond, rate.burst);
    this.#chunk = Math.max(1, Math.floor(rate.perSecond * SHARE));
  }

  take(count = 1): boolean {
    const now = performance.now();
    const isBlocked = now < this.#blockedUntil && this.#balance < count;
    if (!this.#own.take(count) || (isBlocked && now >= this.#aloneUntil)) {
      this.#refusals += 1;
      return false;
    }
    if (now < this.#aloneUntil) return true;
    this.#balance -= count;
    if (this.#balance < this.#chunk / 2 && now >= this.#blockedUntil) this.#asking ??= this.#ask();
    return true;
  }

  get refusals(): number {
    return this.#refusals;
  }

  get isFull(): boolean {
    return this.#own.isFull && this.#asking === undefined && performance.now() >= this.#blockedUntil;
  }

  /** Never rejects. */
  async #ask(): Promise<void> {
    // What comes in one turn is asked for together.
    await Promise.resolve();
    const wanted = Math.ceil(this.#chunk - this.#balance);
    try {
      const { count, waitMs } = await this.#store.take(this.#name, this.#rate, wanted);
      this.#balance += count;
      const debtMs = Math.max((-this.#balance / this.#rate.perSecond) * 1000, 0);
      if (count < wanted) this.#blockedUntil = performance.now() + Math.max(waitMs + debtMs, SHARE * 1000);
    } catch {
      this.#balance = 0;
      this.#blockedUntil = 0;
      this.#aloneUntil = performance.now() + ALONE_MS;
    } finally {
      this.#asking = undefined;
    }
  }
}
