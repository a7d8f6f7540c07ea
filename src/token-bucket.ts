import type { RefillingBudget } from "./types.ts";

const uptime = () => performance.now();

/**
 * A token bucket: holds up to `burst` tokens, gains `perSecond` of them a second, and each `take` costs
 * one or as many as asked. It needs no timer: it looks at the clock when it is asked.
 */
export class TokenBucket implements RefillingBudget {
  readonly #perSecond: number;
  readonly #burst: number;
  readonly #now: () => number;
  #tokens: number;
  #filledAt: number;
  #refusals = 0;

  /** @param now - for tests; milliseconds that never go back */
  constructor(perSecond: number, burst: number = perSecond, now: () => number = uptime) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#tokens = burst;
    this.#now = now;
    this.#filledAt = now();
  }

  /** Takes `count` tokens, or none if there are fewer. */
  take(count = 1): boolean {
    this.#refill();
    if (this.#tokens < count) {
      this.#refusals += 1;
      return false;
    }
    this.#tokens -= count;
    return true;
  }

  /** Milliseconds until `count` tokens are there, if nobody takes any; more than `burst` never are. */
  waitMs(count = 1): number {
    this.#refill();
    return Math.max(0, ((count - this.#tokens) / this.#perSecond) * 1000);
  }

  get refusals(): number {
    return this.#refusals;
  }

  /** Whether nothing has been taken that has not come back. */
  get isFull(): boolean {
    this.#refill();
    return this.#tokens >= this.#burst;
  }

  #refill(): void {
    const now = this.#now();
    const gained = ((now - this.#filledAt) / 1000) * this.#perSecond;
    this.#tokens = Math.min(this.#burst, this.#tokens + gained);
    this.#refusals = Math.max(0, this.#refusals - gained);
    this.#filledAt = now;
  }
}
