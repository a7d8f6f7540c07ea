/** For modules that run in threads. Outside of a thread all of this does nothing, so they run there as well. */
import type { Transferable } from "node:worker_threads";

/** What `thread.js` leaves here; by a symbol, so that two copies of the package mean the same. */
interface Inside {
  readonly report: ((value: unknown) => boolean) | undefined;
  readonly transfers: WeakMap<object, readonly Transferable[]>;
}

/**
 * Tells the caller something while the function still runs, e.g. how far it is: its `onReport` hears it, in
 * order, and before the result.
 *
 * @param value - anything that can be cloned
 * @returns false when nobody listens, or when 1,000 reports wait for a caller that is busy: dropped
 * @throws DataCloneError when it cannot be cloned
 *
 * @example
 * for (const [done, page] of pages.entries()) {
 *   draw(page);
 *   report({ done, total: pages.length });
 * }
 */
export function report(value: unknown): boolean {
  return inside()?.report?.(value) ?? false;
}

/**
 * Hands parts of a result over instead of copying them; the thread has them no more.
 *
 * @returns the value
 *
 * @example
 * export function pixels(): Uint8Array {
 *   const bytes = new Uint8Array(50_000_000);
 *   return transfer(bytes, [bytes.buffer]);
 * }
 */
export function transfer<T extends object>(value: T, list: readonly Transferable[]): T {
  inside()?.transfers.set(value, list);
  return value;
}

function inside(): Inside | undefined {
  return Reflect.get(globalThis, Symbol.for("sluice.threads")) as Inside | undefined;
}
