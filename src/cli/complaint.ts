/** What the program says on standard error when it cannot do what it was asked for. */

import { ConfigurationError } from "../errors.ts";
import { CrewFailed } from "../processes/crew.ts";

/** The command line is wrong, not the world: exit code 2. */
export class UsageError extends Error {}

/** One sentence for an error of the family (or a list of faults); a stack for what is a bug. */
export function complain(error: unknown): void {
  process.stderr.write(`${isExpected(error) ? `sluice: ${error.message}` : describe(error)}\n`);
}

/** Says in a sentence what the file system refuses; what is a bug stays one. */
export function unwritable(error: unknown): unknown {
  const { syscall, message } = error as NodeJS.ErrnoException;
  return syscall === undefined ? error : new ConfigurationError([`nothing is written: ${message}`]);
}

export function exitCodeOf(error: unknown): number {
  return error instanceof UsageError ? 2 : 1;
}

/** A mistake in the syntax of a module: its stack does not say where it is. */
export function isUnplaced(error: unknown): boolean {
  return error instanceof SyntaxError && !/\bfile:|:\d+\b/.test(error.message);
}

/** Node knows where, and shows it only of what nobody catches; the program ends with 1. */
export function showUncaught(error: unknown): undefined {
  process.removeAllListeners("uncaughtException");
  if (error instanceof Error) error.stack = stackOf(error);
  setImmediate(() => {
    throw error;
  });
}

/** By its code, too: a program may have a copy of the package of its own. */
function isExpected(error: unknown): error is Error {
  if (error instanceof UsageError || error instanceof CrewFailed) return true;
  return (
    error instanceof Error &&
    "code" in error &&
    typeof error.code === "string" &&
    /^[a-z_]+$/.test(error.code)
  );
}

function describe(error: unknown): string {
  return error instanceof Error ? stackOf(error) : String(error);
}

/**
 * Without the frames at its end that are of Node and of this program, if there are others: the mistake is there.
 * Of one of syntax, which has none of its own, the first is left, as Node shows it badly without.
 */
export function stackOf(error: Error): string {
  const lines = (error.stack ?? error.message).split("\n");
  let end = lines.length;
  while (FOREIGN.test(lines[end - 1] ?? "")) end -= 1;
  if (!lines.slice(0, end).some((line) => FRAME.test(line))) {
    end = error instanceof SyntaxError ? end + 1 : lines.length;
  }
  return lines.slice(0, end).join("\n");
}

const FRAME = /^ {4}at /;
const FOREIGN = /^ {4}at .*(node:internal|[\\/](sluice[\\/]dist|commander|tsx[\\/]dist|esbuild)[\\/])/;
