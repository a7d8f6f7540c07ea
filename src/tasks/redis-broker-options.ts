/** Where the Redis of a broker is, what it must be like, and what one must be allowed there. */
import { ConfigurationError, Faults, type Given, resolveOptions } from "../index.ts";
import {
  RedisCommands,
  type RedisCommandsSettings,
  type RedisOptions,
  type RedisRights,
  redisTarget,
} from "../redis/index.ts";

export const redisBrokerDefaults = {
  /** Begins every key and channel. Applications that share a Redis need different ones. */
  prefix: "sluice",
  /** A worker that says nothing of a job for so long has lost it. */
  lockMs: 15_000,
  /** How often a worker says that it lives, and looks for jobs of workers that do not. */
  checkMs: 4_000,
  /** How often the worker of one job may die; the next time it fails. */
  maxDeaths: 3,
  /** How often who waits for a job's end looks whether it was told. */
  lookMs: 3_000,
};

export type RedisBrokerSettings = typeof redisBrokerDefaults;
export interface RedisBrokerOptions
  extends RedisOptions,
    Given<RedisCommandsSettings>,
    Given<RedisBrokerSettings> {}

const PREFIX = /^[A-Za-z0-9._:-]{1,60}$/;
/** Its own and those of its scripts. */
const COMMANDS = [
  ...["info", "time", "get", "set", "del", "exists", "incr", "pttl", "pexpire", "persist", "rename"],
  ...[
    "hget",
    "hset",
    "hdel",
    "hlen",
    "hmget",
    "hmset",
    "hgetall",
    "hexists",
    "hincrby",
    "sadd",
    "srem",
    "scard",
  ],
  ...[
    "smembers",
    "sismember",
    "llen",
    "lrange",
    "lpush",
    "rpush",
    "rpoplpush",
    "lrem",
    "lpos",
    "ltrim",
    "zadd",
  ],
  ...[
    "zrem",
    "zcard",
    "zcount",
    "zscore",
    "zrange",
    "zrevrange",
    "zrangebyscore",
    "zrevrangebyscore",
    "zpopmin",
  ],
  ...[
    "zremrangebyscore",
    "zremrangebyrank",
    "bzpopmin",
    "xadd",
    "xtrim",
    "spublish",
    "ssubscribe",
    "sunsubscribe",
  ],
];
/** Beside those that all commands need. @internal */
export function tasksRights(prefix: string | undefined): RedisRights {
  return {
    names: `~${prefix}:tasks ~${prefix}:tasks:* ~${prefix}:tasks#* &${prefix}:tasks#*`,
    commands: COMMANDS,
  };
}

/** Of Redis; Valkey says 7.2 for as long as it is compatible. */
const OLDEST = 7;

/** @throws ConfigurationError that lists every fault */
export function checked(
  options: RedisBrokerOptions,
  listener: { down(reason: string): void; up(): void },
): { settings: RedisBrokerSettings; place: RedisOptions; commands: RedisCommands } {
  const isOurs = ([name]: [string, unknown]) => Object.hasOwn(redisBrokerDefaults, name);
  const isForCommands = ([name]: [string, unknown]) =>
    ["connectTimeoutMs", "commandTimeoutMs", "heartbeatMs", "maxUnderWay"].includes(name);
  const entries = Object.entries(options);
  const others = entries.filter((entry) => !isOurs(entry));
  const place: RedisOptions = Object.fromEntries(others.filter((entry) => !isForCommands(entry)));
  const faults = new Faults();
  const settings = faults.collect(() =>
    resolveOptions(redisBrokerDefaults, Object.fromEntries(entries.filter(isOurs)), "redis"),
  );
  if (settings !== undefined && !PREFIX.test(settings.prefix)) {
    faults.list.push("redis.prefix must be 1 to 60 ASCII letters, digits or any of . _ : - for tasks");
  }
  if (settings !== undefined && settings.checkMs * 2 > settings.lockMs) {
    faults.list.push(
      `redis.lockMs (${settings.lockMs}) must be at least twice redis.checkMs (${settings.checkMs}), or a job is given up when its worker is late once`,
    );
  }
  const at = faults.collect(() => redisTarget(place))?.at;
  if (at?.kind === "sentinel" || at?.kind === "cluster") {
    const what = at.kind === "cluster" ? "a Redis Cluster" : "Sentinel";
    faults.list.push(
      `tasks do not work with ${what}, which BullMQ cannot use by this client: give them a single Redis of their own (TASKS_REDIS_URL=redis://host:port)`,
    );
  }
  const prefix = settings?.prefix;
  const commands = faults.collect(
    () => new RedisCommands(Object.fromEntries(others), listener, tasksRights(prefix)),
  );
  if (settings === undefined || commands === undefined || faults.list.length > 0) {
    throw new ConfigurationError(faults.list);
  }
  return { settings, place, commands };
}

/**
 * @param info - what Redis says to INFO
 * @throws ConfigurationError that says what is wrong with it, and what to do
 */
export function checkServer(info: string): void {
  const fields = new Map(info.split("\r\n").map((line) => line.split(":", 2) as [string, string]));
  const faults: string[] = [];
  const version = fields.get("redis_version") ?? "";
  if (Number.parseInt(version, 10) < OLDEST) {
    faults.push(`Redis ${version} is too old for tasks; use Redis ${OLDEST}.0 or newer, or Valkey`);
  }
  const policy = fields.get("maxmemory_policy");
  if (policy !== undefined && policy !== "noeviction") {
    faults.push(
      `Redis may throw away jobs when its memory is full (maxmemory-policy ${policy}); set it: CONFIG SET maxmemory-policy noeviction, and in redis.conf; or give tasks a Redis of their own (TASKS_REDIS_URL)`,
    );
  }
  if (faults.length > 0) throw new ConfigurationError(faults);
}
