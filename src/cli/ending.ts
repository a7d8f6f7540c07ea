import { flushed, type Logger } from "../logger.ts";
import { complain } from "./complaint.ts";
import { isWatched } from "./output.ts";

/** What has ended by then needs no words. */
const PATIENT_MS = 1_000;

export interface Ending {
  /** What the first SIGTERM or SIGINT begins; the program ends when it resolves: with 1 if it says false. */
  stop(): Promise<unknown>;
  /** What the second one, or the deadline, does before the program ends with 1. */
  atOnce?(): void;
  deadlineMs(): number;
  /** How many connections or runs are left, for whoever waits at a terminal. */
  left?(): string;
  /** What was logged is written before the program ends. */
  readonly logger?: Logger;
}

/** Ends the program well on SIGTERM and SIGINT, at once when asked twice. Returns what they call. */
export function endOnSignals({ stop, atOnce = () => {}, deadlineMs, left, logger }: Ending): () => void {
  let isStopping = false;
  const endAtOnce = () => {
    atOnce();
    process.exit(1);
  };
  const exit = async (code: number) => {
    if (logger !== undefined) await flushed(logger);
    process.exit(code);
  };
  const end = () => {
    if (isStopping) return endAtOnce();
    isStopping = true;
    const withinMs = deadlineMs();
    setTimeout(endAtOnce, withinMs).unref();
    if (isWatched(process.stderr)) setTimeout(() => explain(withinMs, left?.()), PATIENT_MS).unref();
    stop().then(
      (isWell) => void exit(isWell === false ? 1 : 0),
      (error) => {
        complain(error);
        void exit(1);
      },
    );
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, end);
  return end;
}

/** A line of its own, as what is logged meanwhile would break into one that is written over. */
function explain(withinMs: number, left: string | undefined): void {
  const what = left === undefined ? "stopping" : `stopping: ${left} left`;
  process.stderr.write(
    `Sluice: ${what}, ${Math.ceil(withinMs / 1_000)} s at most; Ctrl+C again ends it at once\n`,
  );
}

/** What nobody caught is a bug: its stack goes to the log, and the program ends, for its state is unknown. */
export function endOnBugs(logger: Logger): void {
  process.on("uncaughtException", (error) => {
    logger.fatal({ err: error }, "nobody caught this; the process ends");
    process.exit(1);
  });
}
