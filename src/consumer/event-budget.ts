import type { LimitName } from "../facts.ts";
import type { Budget } from "../types.ts";

const NONE: readonly never[] = [];

/** How many events a client may send: its own allowance, and those that it shares with others. */
export class EventBudget implements Budget {
  readonly #own: Budget;
  #shared: readonly { readonly limit: LimitName; readonly budget: Budget }[] = NONE;
  /** Which of them said no last. */
  refusedBy: LimitName = "eventsPerSecond";

  constructor(own: Budget) {
    this.#own = own;
  }

  add(limit: LimitName, budget: Budget | undefined): void {
    if (budget !== undefined) this.#shared = this.#shared.concat({ limit, budget });
  }

  take(count = 1): boolean {
    if (!this.#own.take(count)) {
      this.refusedBy = "eventsPerSecond";
      return false;
    }
    for (const { limit, budget } of this.#shared) {
      if (budget.take(count)) continue;
      this.refusedBy = limit;
      return false;
    }
    return true;
  }

  /** Its own: nobody is cut for what others have used up. */
  get refusals(): number {
    return this.#own.refusals;
  }
}
