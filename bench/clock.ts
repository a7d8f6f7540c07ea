// Looked up before the other clock is read: Node loads it at the first use, which takes a while.
const { performance: elapsed } = globalThis;
const BEGAN_MS = Number(process.hrtime.bigint()) / 1e6 - elapsed.now();

/** Milliseconds of the machine's monotonic clock: the same in all processes, unlike `performance.now`. */
export function now(): number {
  return BEGAN_MS + elapsed.now();
}
