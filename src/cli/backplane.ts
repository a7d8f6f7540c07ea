import { readFileSync } from "node:fs";
import { ConfigurationError } from "../errors.ts";
import type { HistoryStore } from "../layer/history-store.ts";
import type { LimitStore } from "../layer/limit-store.ts";
import { MemoryHistory } from "../layer/memory-history.ts";
import { MemoryPresence } from "../layer/memory-presence.ts";
import type { PresenceStore } from "../layer/presence-store.ts";
import type { Backplane } from "../types.ts";
import type { Environment } from "./environment.ts";

/**
 * The backplane over the Redis that the environment names; undefined if it names none. Only then is
 * anything of Redis loaded.
 *
 * @throws ConfigurationError that lists what is wrong with it
 */
export async function redisBackplane(environment: Environment): Promise<Backplane | undefined> {
  const options = redisOptions(environment);
  if (options === undefined) return undefined;
  const { RedisBackplane } = await import("../redis/index.ts");
  return new RedisBackplane(options);
}

/** The same for what groups with history are kept in. */
export async function redisHistory(environment: Environment): Promise<HistoryStore | undefined> {
  const options = redisOptions(environment);
  if (options === undefined) return undefined;
  const { RedisHistory } = await import("../history/index.ts");
  return new RedisHistory(options);
}

/** For several processes that share nothing: a history in the memory of one would be wrong in all others. */
export class NoHistory extends MemoryHistory {
  override async open(): Promise<void> {
    throw new ConfigurationError([
      "some groups keep history, which several processes can share in Redis only: set REDIS_URL, or start one process",
    ]);
  }
}

/** The same for what knows who is in groups with presence. */
export async function redisPresence(environment: Environment): Promise<PresenceStore | undefined> {
  const options = redisOptions(environment);
  if (options === undefined) return undefined;
  const { RedisPresence } = await import("../presence/index.ts");
  return new RedisPresence(options);
}

/** For several processes that share nothing: each would know its own users only. */
export class NoPresence extends MemoryPresence {
  override async open(): Promise<void> {
    throw new ConfigurationError([
      "some groups keep presence, which several processes can share in Redis only: set REDIS_URL, or start one process",
    ]);
  }
}

/** The same for what counts limits for all nodes. */
export async function redisLimits(environment: Environment): Promise<LimitStore | undefined> {
  const options = redisOptions(environment);
  if (options === undefined) return undefined;
  const { RedisLimits } = await import("../limits/index.ts");
  return new RedisLimits(options);
}

/** Where the environment says Redis is; undefined: nowhere. */
export function redisOptions(environment: Environment) {
  const { REDIS_URL: url, REDIS_USERNAME: username, REDIS_PASSWORD: password } = environment;
  const { REDIS_PREFIX: prefix, REDIS_CA_FILE: ca, REDIS_SENTINEL_PASSWORD: sentinel } = environment;
  if (url === undefined) return undefined;
  return {
    url,
    ...(ca === undefined ? {} : { tls: { ca: contentOf(ca) } }),
    ...(sentinel === undefined ? {} : { sentinel: { password: sentinel } }),
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(prefix === undefined ? {} : { prefix }),
  };
}

function contentOf(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new ConfigurationError([
      `REDIS_CA_FILE names a file that cannot be read: ${(error as Error).message}`,
    ]);
  }
}

/** For what makes no sense alone. @throws ConfigurationError if the environment names no Redis */
export async function sharedBackplane(environment: Environment, command: string): Promise<Backplane> {
  const backplane = await redisBackplane(environment);
  if (backplane !== undefined) return backplane;
  throw new ConfigurationError([
    `\`sluice ${command}\` reaches the application through Redis: set REDIS_URL to the one that its nodes use`,
  ]);
}
