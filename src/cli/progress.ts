/** What a command says of itself while it takes long, on a terminal's standard error only. */
import { isWatched, ProgressLine } from "./output.ts";

/** What is done within it needs no words. */
const QUIET_MS = 1_000;
const AGAIN_MS = 1_000;

export interface Progress {
  /** What is being done now. */
  now(step: string): void;
}

/**
 * Runs something that may take long, and after a second says every second what it is at and since when; the line
 * is gone before the promise settles.
 *
 * @param isQuiet - for programs: nothing is said
 */
export async function withProgress<T>(
  first: string,
  run: (progress: Progress) => Promise<T>,
  isQuiet = false,
  stream: Pick<NodeJS.WriteStream, "write" | "isTTY" | "columns"> = process.stderr,
): Promise<T> {
  if (isQuiet || !isWatched(stream)) return run({ now() {} });
  const line = new ProgressLine(stream);
  const beganAt = performance.now();
  let step = first;
  const show = () => {
    const seconds = Math.round((performance.now() - beganAt) / 1_000);
    line.show(`${step} (${seconds} s)`);
  };
  let again: NodeJS.Timeout | undefined;
  const soon = setTimeout(() => {
    show();
    again = setInterval(show, AGAIN_MS);
  }, QUIET_MS);
  try {
    return await run({
      now(words) {
        step = words;
        if (again !== undefined) show();
      },
    });
  } finally {
    clearTimeout(soon);
    clearInterval(again);
    line.clear();
  }
}
