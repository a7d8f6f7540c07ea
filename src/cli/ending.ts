import { flushed, type Logger } from "../logger.ts";
import { complain } from "./complaint.ts";

export interface Ending {
  /** What the first SIGTERM or SIGINT begins; the program ends when it resolves: with 1 if it says false. */
  stop(): Promise<unknown>;
  /** What the second one, or the deadline, does before the program ends with 1. */
  atOnce?(): void;
  deadlineMs(): number;
  /** What was logged is written before the program ends. */
  readonly logger?: Logger;
}

/** Ends the program well on SIGTERM and SIGINT, at once when asked twice. Returns what they call. */
export function endOnSignals({ stop, atOnce = () => {}, deadlineMs, logger }: Ending): () => void {
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
    setTimeout(endAtOnce, deadlineMs()).unref();
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

/** What nobody caught is a bug: its stack goes to the log, and the program ends, for its state is unknown. */
export function endOnBugs(logger: Logger): void {
  process.on("uncaughtException", (error) => {
    logger.fatal({ err: error }, "nobody caught this; the process ends");
    process.exit(1);
  });
}
