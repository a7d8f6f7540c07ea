/** Limits that nodes share: what applications import from `sluice/limits`. */
export { type LimitStore, MemoryLimits, MemoryLimitsHub, type Rate, type Taken } from "../index.ts";
export { RedisLimits, type RedisLimitsOptions } from "./redis-limits.ts";
