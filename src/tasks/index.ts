/** Work in the background: `sluice/tasks`. */
export type { StepOutcome } from "./body.ts";
export { channel, type WorkerChannel, WorkerConsumer } from "./channels.ts";
export { type Clock, realClock } from "./clock.ts";
export {
  Cancelled,
  DoNotRetry,
  HandedBack,
  TaskFailed,
  type TaskFault,
  TaskTimeout,
  TicketRefused,
  TimeLimitReached,
  UnknownTask,
} from "./errors.ts";
export type { TaskFact, TaskFacts } from "./facts.ts";
export type { TaskHandle } from "./handle.ts";
export { logTasks } from "./log.ts";
export { MemoryBroker } from "./memory-broker.ts";
export type { RetryOn, RetryOptions } from "./retry.ts";
export type { TaskRun } from "./run.ts";
export {
  crontab,
  every,
  nextTimes,
  type Schedule,
  type ScheduleOptions,
  schedule,
  type Timing,
} from "./schedule.ts";
export { isOver, type TaskProgress, type TaskState, type TaskStatus } from "./status.ts";
export {
  type EnqueueOptions,
  type Priority,
  type Step,
  Task,
  type TaskFunction,
  type TaskOptions,
  task,
} from "./task.ts";
export { Tasks, type TasksOptions } from "./tasks.ts";
export { type EnqueuedTask, type TestTasks, type TestTasksOptions, testTasks } from "./test-tasks.ts";
export type { TicketOptions } from "./tickets.ts";
export type { FailurePolicy } from "./workflow.ts";
