/** `sluice/threads`: heavy computations beside the event loop. */
export {
  ErrorInThread,
  type Fault,
  ThreadCrashed,
  ThreadsBusy,
  ThreadsClosed,
  ThreadTimeLimit,
} from "./errors.ts";
export {
  type CallOptions,
  type InThread,
  inThread,
  type ModuleInThreads,
  type TaskRunLike,
} from "./in-thread.ts";
export { report, transfer } from "./inside.ts";
export { LoopDelay, type LoopDelayReading } from "./loop-delay.ts";
export { type ThreadCounts, type ThreadOptions, ThreadPool, type ThreadSettings } from "./thread-pool.ts";
