/** Was a measurement disturbed by what else the machine does? */

/** Others may use so much of the machine. */
const MOST_OTHERS = 0.15;
/** The machine's CPU times are exact to some 10 ms for each core: short windows are judged mildly. */
const BLUR_US = 30_000;
/** A computation that is always the same may take so much longer than it ever did. */
const MOST_SLOWDOWN = 1.3;
const SPINS = 3;
const SPIN_STEPS = 400_000;

export interface Disturbance {
  /** CPU time of others, and what the machine had to give. */
  readonly othersUs: number;
  readonly capacityUs: number;
  /** How much slower a computation was than at its best. */
  readonly slowdown: number;
}

/** How disturbed it was: beyond 1 it is not worth keeping. */
export function disturbance({ othersUs, capacityUs, slowdown }: Disturbance): number {
  const byOthers = Math.max(0, othersUs - BLUR_US) / capacityUs / MOST_OTHERS;
  const bySlowness = (slowdown - 1) / (MOST_SLOWDOWN - 1);
  return Math.max(byOthers, bySlowness, 0);
}

let bestMs = Number.POSITIVE_INFINITY;

/** Computes a little, and says how much longer that took than at its best: a core that is shared or throttled. */
export function slowdown(): number {
  let fastestMs = Number.POSITIVE_INFINITY;
  for (let i = 0; i < SPINS; i += 1) {
    const startedAt = performance.now();
    spin();
    fastestMs = Math.min(fastestMs, performance.now() - startedAt);
  }
  bestMs = Math.min(bestMs, fastestMs);
  return fastestMs / bestMs;
}

let sink = 0;

function spin(): void {
  let x = 1;
  for (let i = 0; i < SPIN_STEPS; i += 1) x = Math.imul(x ^ (x >>> 13), 0x5bd1e995) + i;
  sink ^= x;
}

// Compiled before anything counts.
for (let i = 0; i < 20; i += 1) slowdown();
bestMs = Number.POSITIVE_INFINITY;
/** So that nothing of it is optimised away. */
export const computed = () => sink;
