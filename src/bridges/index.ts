/** `sluice/bridges`: from queues that a company already runs. Each carrier has an entry of its own. */
export {
  type Bridge,
  type BridgeCounts,
  type BridgeFacts,
  type BridgeOptions,
  type BridgeSettings,
  type BridgeSignals,
  bridge,
  bridgeDefaults,
  isHopeless,
} from "./bridge.ts";
export { BridgeTimeout, PoisonMessage, RejectMessage } from "./errors.ts";
export { type ExamCase, type ExamQueue, sourceExam } from "./exam.ts";
export { MemoryQueue } from "./memory-queue.ts";
export type { BridgedMessage, Decode } from "./message.ts";
export { type ToGroupOptions, toGroup } from "./to-group.ts";
export type * from "./types.ts";
