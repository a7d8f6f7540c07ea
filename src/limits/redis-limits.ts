import { createHash, randomBytes } from "node:crypto";
import type { Given, LimitStore, Rate, Taken } from "../index.ts";
import {
  RedisCommands,
  type RedisCommandsSettings,
  type RedisOptions,
  type RedisRights,
  RedisScript,
  readOptions,
} from "../redis/index.ts";

export const redisLimitsDefaults = {
  /** Begins every key. Applications that share a Redis need different ones. */
  prefix: "sluice",
};

/** Where Redis is, and how long {@link RedisLimits} waits for it. */
export interface RedisLimitsOptions
  extends RedisOptions,
    Given<RedisCommandsSettings>,
    Given<typeof redisLimitsDefaults> {}

/**
 * KEYS bucket; ARGV microseconds per token, burst, how many at most. Returns how many were there, and
 * milliseconds until there is one more. The generic cell rate algorithm: the key is the moment at which the
 * bucket is full again, and ends with it.
 */
const TAKE = new RedisScript(`
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local share, burst, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local busy = math.max(tonumber(redis.call('GET', KEYS[1]) or '0') - now, 0)
local there = math.floor((burst * share - busy) / share + 0.000001)
local count = math.max(math.min(there, most), 0)
if count > 0 then
  busy = busy + count * share
  redis.call('SET', KEYS[1], string.format('%.0f', now + busy), 'PX', math.ceil(busy / 1000) + 1)
end
if there > count then return {count, 0} end
return {count, math.ceil(math.max(busy + (1 - burst) * share, 0) / 1000)}
`);

/** KEYS room; ARGV seat, seats, for how long. A sorted set: seat -> until when it is held. */
const SIT = new RedisScript(`
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.0f', now))
if not redis.call('ZSCORE', KEYS[1], ARGV[1]) and redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[2]) then return 0 end
redis.call('ZADD', KEYS[1], string.format('%.0f', now + ARGV[3]), ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
return 1
`);

const COMMANDS = [
  "time",
  "get",
  "set",
  "zremrangebyscore",
  "zscore",
  "zcard",
  "zadd",
  "zrem",
  "pttl",
  "pexpire",
];
/** Of what is tried at the start. */
const REHEARSAL_MS = 1_000;

/**
 * Counts for limits that nodes share, in Redis 7 or Valkey: one server, Sentinel or a cluster, by Redis' own
 * clock. Names of users and addresses stand there as hashes.
 *
 * @example
 * createApplication({ routes, sharedLimits: new RedisLimits({ url }), limits: { connectionsPerUser: 20 } });
 */
export class RedisLimits implements LimitStore {
  readonly #commands: RedisCommands;
  readonly #prefix: string;

  /** @throws ConfigurationError that lists every fault of the options */
  constructor(options: RedisLimitsOptions = {}) {
    const own = { defaults: redisLimitsDefaults, purpose: "limits" };
    const { made, settings } = readOptions(options, own, (others, { prefix }) => {
      return new RedisCommands(others, {}, limitsRights(prefix));
    });
    this.#prefix = settings.prefix;
    this.#commands = made;
  }

  /** @throws ConfigurationError when Redis cannot be used, with what to do */
  open(): Promise<void> {
    return this.#commands.open(() => this.#rehearse());
  }

  async take(bucket: string, { perSecond, burst }: Rate, most: number): Promise<Taken> {
    const key = this.#key("bucket", bucket);
    const answer = await this.#commands.run(TAKE, [key], [1_000_000 / perSecond, burst, most]);
    const [count, waitMs] = Array.isArray(answer) ? (answer as readonly unknown[]) : [];
    if (typeof count !== "number" || typeof waitMs !== "number") throw strange();
    return { count, waitMs };
  }

  async sit(room: string, seat: string, seats: number, holdMs: number): Promise<boolean> {
    return (await this.#commands.run(SIT, [this.#key("room", room)], [seat, seats, Math.ceil(holdMs)])) === 1;
  }

  async leave(room: string, seat: string): Promise<void> {
    const key = this.#key("room", room);
    await this.#commands.command(key, ["ZREM", key, seat]);
  }

  async close(): Promise<void> {
    this.#commands.close();
  }

  /** Names may be any text, and nobody's business. */
  #key(kind: "bucket" | "room", name: string): string {
    const hash = createHash("sha256").update(name).digest("base64url").slice(0, 22);
    return `${this.#prefix}:limits:${kind}:${hash}`;
  }

  /** All that will be done, once, so that rights that lack are told now. */
  async #rehearse(): Promise<void> {
    const name = randomBytes(9).toString("base64url");
    await this.take(name, { perSecond: 1_000, burst: 1 }, 1);
    await this.sit(name, "rehearsal", 1, REHEARSAL_MS);
    await this.leave(name, "rehearsal");
  }
}

/** Beside those that all commands need. @internal */
export function limitsRights(prefix: string): RedisRights {
  return { names: `resetkeys ~${prefix}:limits:*`, commands: COMMANDS };
}

function strange(): Error {
  return new Error("Redis holds something else than a limit; does another program write below this prefix?");
}
