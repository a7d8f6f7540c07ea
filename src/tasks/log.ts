import { type Logger, loggable } from "../index.ts";
import type { TaskFact, TaskFacts } from "./facts.ts";

/**
 * Writes what happens to tasks to a log: what failed as an error, what ended otherwise as a line, all else as
 * detail. Arguments, results and tickets never get into a line.
 *
 * @returns ends it
 */
export function logTasks(signals: TaskFacts, logger: Logger): () => void {
  const who = ({ id, task }: TaskFact) => ({ id, task });
  const ends = [
    signals.queued.connect((fact) => logger.debug({ ...who(fact), merged: fact.isMerged }, "task queued")),
    signals.started.connect((fact) => {
      const { attempt, waitedMs } = fact;
      logger.debug({ ...who(fact), attempt, waitedMs: Math.round(waitedMs) }, "task started");
    }),
    signals.succeeded.connect((fact) => {
      logger.info({ ...who(fact), attempt: fact.attempt, tookMs: Math.round(fact.tookMs) }, "task succeeded");
    }),
    signals.retrying.connect((fact) => {
      const { attempt, afterMs, error } = fact;
      logger.warn(
        { ...who(fact), attempt, afterMs, err: loggable(error) },
        "task failed, and is tried again",
      );
    }),
    signals.failed.connect((fact) => {
      logger.error({ ...who(fact), attempt: fact.attempt, err: loggable(fact.error) }, "task failed");
    }),
    signals.cancelled.connect((fact) => logger.info(who(fact), "task cancelled")),
    signals.expired.connect((fact) => logger.warn(who(fact), "task expired before it began")),
    signals.stalled.connect(({ id }) =>
      logger.warn({ id }, "task runs again: its worker is gone, or too busy"),
    ),
    signals.logged.connect((fact) => {
      logger.info({ ...fact.details, ...who(fact), attempt: fact.attempt }, fact.message);
    }),
    signals.blocking.connect(({ tasks, forMs }) => {
      logger.warn(
        { tasks, forMs },
        "the event loop was held: nothing else ran meanwhile. Let heavy work run in threads (sluice/threads)",
      );
    }),
    signals.scheduled.connect(({ schedule, timing, tz, next }) => {
      const times = next.map((at) => new Date(at).toISOString());
      logger.info({ schedule, timing, tz, next: times }, "schedule");
    }),
    signals.workerUp.connect((fact) => logger.info(fact, "worker up")),
    signals.workerDown.connect((fact) => logger.info(fact, "worker down")),
    signals.tired.connect((fact) => logger.info(fact, "this worker has done enough and ends")),
    signals.brokerDown.connect(({ reason }) => logger.error({ reason }, "tasks cannot be reached")),
    signals.brokerUp.connect(() => logger.info("tasks can be reached again")),
    signals.faulted.connect(({ error }) => logger.error({ err: loggable(error) }, "tasks: something failed")),
  ];
  return () => {
    for (const end of ends) end();
  };
}
