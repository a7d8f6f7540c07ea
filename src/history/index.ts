/** Stores for the history of groups: what applications import from `sluice/history`. */
export { MemoryHistory, MemoryLogs, type MemoryLogsOptions } from "../index.ts";
export { RedisHistory, type RedisHistoryOptions } from "./redis-history.ts";
