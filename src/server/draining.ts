/** Time between the wish to stop and the end, which an abort makes short. */
import { setTimeout as sleep } from "node:timers/promises";

/** What brings clients to the application, as `stop` sees it. */
export interface Carrier {
  /** One for each connection that is open now: tells its client to come back elsewhere, and ends it. */
  goodbyes(): readonly (() => void)[];
}

/** Waits; an abort ends it early. */
export async function pause(ms: number, hurry: AbortSignal): Promise<void> {
  if (ms > 0) await sleep(ms, undefined, { signal: hurry }).catch(() => {});
}

/**
 * Makes all calls, in random order, each at a random moment of its own equal share of the time; so where
 * the clients go to, they arrive evenly. After an abort those that are left are not made.
 */
export async function spread(
  calls: readonly (() => void)[],
  overMs: number,
  hurry: AbortSignal,
): Promise<void> {
  const beganAt = performance.now();
  const shareMs = overMs / calls.length;
  for (const [index, call] of shuffled(calls).entries()) {
    const dueAt = beganAt + (index + Math.random()) * shareMs;
    await pause(dueAt - performance.now(), hurry);
    if (hurry.aborted) return;
    call();
  }
}

/**
 * Calls `end` at nine tenths to eleven tenths of the age, so that clients who came together do not go
 * together; never if it is 0. The returned function calls it off.
 */
export function atAge(maxAgeMs: number, end: () => void): () => void {
  if (maxAgeMs === 0) return nothing;
  const dueMs = Math.min(maxAgeMs * (0.9 + Math.random() * 0.2), 2_147_483_647);
  const timer = setTimeout(end, dueMs);
  return () => clearTimeout(timer);
}

const nothing = () => {};

function shuffled<T>(list: readonly T[]): readonly T[] {
  const drawn = list.map((item) => ({ item, lot: Math.random() }));
  return drawn.sort((a, b) => a.lot - b.lot).map(({ item }) => item);
}
