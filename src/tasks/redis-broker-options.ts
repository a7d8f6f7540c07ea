/** Where the Redis of a broker is, what it must be like, and what one must be allowed there. */
import { ConfigurationError, Faults, type Given } from "../index.ts";
import {
  RedisCommands,
  type RedisCommandsSettings,
  type RedisOptions,
  type RedisRights,
  readOptions,
  redisTarget,
} from "../redis/index.ts";

/** What counts where an option of {@link RedisBroker} is left out. */
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
/** Where Redis is, and how {@link RedisBroker} keeps jobs there. */
export interface RedisBrokerOptions
  extends RedisOptions,
    Given<RedisCommandsSettings>,
    Given<RedisBrokerSettings> {}

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
export function tasksRights(prefix: string): RedisRights {
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
  const own = { defaults: redisBrokerDefaults, purpose: "tasks", faultsOf };
  const { made, settings } = readOptions(options, own, (others, { prefix }) => {
    const isForCommands = ([name]: [string, unknown]) =>
      ["connectTimeoutMs", "commandTimeoutMs", "heartbeatMs", "maxUnderWay"].includes(name);
    const place: RedisOptions = Object.fromEntries(
      Object.entries(others).filter((entry) => !isForCommands(entry)),
    );
    const faults = new Faults();
    faults.collect(() => checkPlace(place));
    const commands = faults.collect(() => new RedisCommands(others, listener, tasksRights(prefix)));
    if (commands === undefined || faults.list.length > 0) throw new ConfigurationError(faults.list);
    return { place, commands };
  });
  return { settings, ...made };
}

function faultsOf({ checkMs, lockMs }: RedisBrokerSettings): readonly string[] {
  if (checkMs * 2 <= lockMs) return [];
  return [
    `redis.lockMs (${lockMs}) must be at least twice redis.checkMs (${checkMs}), or a job is given up when its worker is late once`,
  ];
}

function checkPlace(place: RedisOptions): void {
  const { kind } = redisTarget(place).at;
  if (kind !== "sentinel" && kind !== "cluster") return;
  const what = kind === "cluster" ? "a Redis Cluster" : "Sentinel";
  throw new ConfigurationError([
    `tasks do not work with ${what}, which BullMQ cannot use by this client: give them a single Redis of their own (TASKS_REDIS_URL=redis://host:port)`,
  ]);
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
