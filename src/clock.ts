/** A timer of a {@link Clock}; what it is, only its clock knows. */
export type ClockTimer = object;

/** Where time comes from, so that tests can move it. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  setTimeout(run: () => void, ms: number): ClockTimer;
  clearTimeout(timer: ClockTimer): void;
}

/** The machine's. */
export const realClock: Clock = {
  now: () => Date.now(),
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout),
};

interface Timer {
  readonly at: number;
  readonly run: () => void;
}

/** Time that moves when it is told to. */
export class ManualClock implements Clock {
  readonly #timers = new Set<Timer>();
  #now: number;

  /** @param now - milliseconds since 1970 */
  constructor(now: number) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  setTimeout(run: () => void, ms: number): ClockTimer {
    const timer = { at: this.#now + Math.max(ms, 0), run };
    this.#timers.add(timer);
    return timer;
  }

  clearTimeout(timer: ClockTimer): void {
    this.#timers.delete(timer as Timer);
  }

  /** How many timers wait for their time. */
  get size(): number {
    return this.#timers.size;
  }

  /** Whether a timer is due by then. */
  isDue(until: number): boolean {
    for (const { at } of this.#timers) if (at <= until) return true;
    return false;
  }

  /** Goes to the next timer that is due by then and runs it; false: there is none, and it is that time now. */
  step(until: number): boolean {
    let next: Timer | undefined;
    for (const timer of this.#timers) if (next === undefined || timer.at < next.at) next = timer;
    if (next === undefined || next.at > until) {
      this.#now = Math.max(this.#now, until);
      return false;
    }
    this.#timers.delete(next);
    this.#now = Math.max(this.#now, next.at);
    next.run();
    return true;
  }
}
