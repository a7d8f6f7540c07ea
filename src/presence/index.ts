/** Stores for who is in groups: what applications import from `sluice/presence`. */
export { MemoryPresence, MemoryPresenceHub } from "../index.ts";
export { RedisPresence, type RedisPresenceOptions } from "./redis-presence.ts";
