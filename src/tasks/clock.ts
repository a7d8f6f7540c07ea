/** Time, so that tests can move it. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Returns what `clearTimeout` takes. */
  setTimeout(run: () => void, ms: number): object;
  clearTimeout(timer: object): void;
}

/** Longer times would overflow Node's timers and fire at once. */
const MAX_TIMEOUT_MS = 2_147_483_647;

export const realClock: Clock = {
  now: () => Date.now(),
  setTimeout: (run, ms) => setTimeout(run, Math.min(ms, MAX_TIMEOUT_MS)),
  clearTimeout: (timer) => clearTimeout(timer as NodeJS.Timeout),
};
