/** Tests of what need not be there: a program, a library, a version of Node. */
import type { test as jestTest } from "@jest/globals";

/** Jest's own; programs use some of the tests' modules, too, and have none. */
const { test } = globalThis as unknown as { readonly test: typeof jestTest };

/**
 * `test` if all is there; otherwise one that is skipped, and whose name says why.
 *
 * @param remedy - e.g. `install redis-server`
 */
export function testNeeding(isThere: boolean, remedy: string): typeof jestTest {
  if (isThere) return test;
  const skipped = (name: string, run: () => void) => test.skip(`${name} [skipped: ${remedy}]`, run);
  return skipped as unknown as typeof jestTest;
}
