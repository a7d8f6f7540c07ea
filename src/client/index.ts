export { comesBack } from "./comeback.ts";
export { HistoryError } from "./history-error.ts";
export { type Presence, presence } from "./presence.ts";
export { type Recovery, recover } from "./recovery.ts";
export { type TaskWatch, watchTask } from "./task-watch.ts";
export { type TokenKeeper, useToken } from "./token.ts";
export { carryTrace } from "./trace.ts";
export type {
  Gap,
  GapReason,
  HistoryMessage,
  HistoryOptions,
  HistoryPage,
  Joined,
  Left,
  Position,
  PresenceEvents,
  RecoverOptions,
  RecoveryEvents,
  Somebody,
  StockSocket,
  StorageArea,
  TaskEvents,
  TaskStatus,
  TokenEvents,
  TraceFields,
} from "./types.ts";
