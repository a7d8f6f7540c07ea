import type { ConnectionScope } from "./scope.ts";
import type { Middleware, ScopeChanges } from "./types.ts";

/**
 * Makes one function of many middleware: an onion, the first is the outermost, `inner` the core. Each
 * `next(changes)` hands down a copy of the scope with the changes in it.
 *
 * A middleware that forgets to wait for `next()` does no harm: its result is waited for here. One that
 * calls it twice, or neither calls it nor refuses, is an error that names it.
 *
 * @param where - for error messages: what these middleware guard
 */
export function compose(
  middleware: readonly Middleware[],
  where: string,
): (scope: ConnectionScope, inner: (scope: ConnectionScope) => Promise<void>) => Promise<void> {
  if (middleware.length === 0) return (scope, inner) => inner(scope);
  return (scope, inner) => {
    const run = async (index: number, current: ConnectionScope): Promise<void> => {
      if (index === middleware.length) return inner(current);
      const layer = middleware[index] as Middleware;
      const name = `middleware "${layer.name || "(anonymous)"}" (number ${index + 1} of ${where})`;

      let rest: Promise<void> | undefined;
      let misuse: Error | undefined;
      const next = async (changes?: ScopeChanges): Promise<void> => {
        if (rest !== undefined) {
          misuse = new Error(`${name} called next() twice; call it once, or refuse by deny()`);
          throw misuse;
        }
        rest = run(index + 1, current.with(changes));
        return rest;
      };
      // Promises that the middleware does not wait for are not lost: all is awaited or thrown below.
      const handled = (changes?: ScopeChanges): Promise<void> => {
        const promise = next(changes);
        promise.catch(() => {});
        return promise;
      };

      await layer(current, handled);
      if (misuse !== undefined) throw misuse;
      if (rest === undefined) {
        throw new Error(`${name} returned without next() and without deny(); it must do one of them`);
      }
      await rest;
    };
    return run(0, scope);
  };
}
