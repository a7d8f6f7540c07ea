import type { Application } from "../index.ts";

/**
 * Throws if the application still keeps something for somebody.
 *
 * @throws Error that says what
 */
export function checkNothingLeft(app: Application): void {
  const left = whatIsLeft(app);
  if (left !== "") throw new Error(`the application still has ${left}`);
}

/** As text, e.g. `2 connections, 1 groups`; empty if there is nothing. */
export function whatIsLeft(app: Application): string {
  const left = Object.entries(app.sizes).filter(([, size]) => size !== 0);
  return left.map(([what, size]) => `${size} ${what}`).join(", ");
}
