/** Groups across nodes, over Redis: what applications import from `sluice/redis`. */
export {
  APPEND_COMMANDS,
  APPEND_FUNCTION,
  type GroupKeys,
  groupKey,
  groupKeys,
  RedisLogs,
} from "./log-scripts.ts";
export { type OwnOptions, readOptions } from "./own-options.ts";
export { RedisBackplane, type RedisBackplaneOptions } from "./redis-backplane.ts";
export { checkRedis, type RedisFinding, type RedisUse } from "./redis-check.ts";
export {
  type CommandsListener,
  RedisCommands,
  type RedisCommandsSettings,
  RedisScript,
} from "./redis-commands.ts";
export type { RedisRights } from "./redis-faults.ts";
export { RedisBlocking, RedisHearing } from "./redis-lines.ts";
export { type RedisNode, type RedisOptions, type RedisTls, redisTarget } from "./redis-options.ts";
