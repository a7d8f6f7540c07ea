export { HistoryError } from "./history-error.ts";
export { type Recovery, recover } from "./recovery.ts";
export type {
  Gap,
  GapReason,
  HistoryMessage,
  HistoryOptions,
  HistoryPage,
  Joined,
  Left,
  Position,
  RecoverOptions,
  RecoveryEvents,
  StockSocket,
  StorageArea,
} from "./types.ts";
