const BEGAN_MS = Number(process.hrtime.bigint()) / 1e6 - performance.now();

/** Milliseconds of the machine's monotonic clock: the same in all processes, unlike `performance.now`. */
export function now(): number {
  return BEGAN_MS + performance.now();
}
