/** The ways in which a Redis may be there: each with the options that find it. */
import type { RedisOptions } from "sluice/redis";
import { RedisGroup, RedisServer } from "./redis-server.ts";

const PASSWORD = "a-secret-of-tests";

export interface RedisPlace {
  readonly options: RedisOptions;
  readonly servers: readonly RedisServer[];
  close(): Promise<void>;
}

export const redisKinds: readonly (readonly [string, () => Promise<RedisPlace>])[] = [
  ["in Redis", oneRedis],
  ["in a Redis Cluster", redisCluster],
  ["in a Redis that Sentinel finds", redisSentinel],
];

export async function oneRedis(): Promise<RedisPlace> {
  const server = await RedisServer.start();
  return { options: { url: server.url }, servers: [server], close: () => server.close() };
}

export async function redisCluster(): Promise<RedisPlace> {
  const group = await RedisGroup.cluster(3, 0);
  const options = { url: `redis+cluster://${group.hosts}` };
  return { options, servers: group.servers, close: () => group.close() };
}

/** A master, a replica and a sentinel, in this order. */
export async function redisSentinel(): Promise<RedisPlace> {
  const group = await RedisGroup.sentinel(PASSWORD);
  const port = group.servers[2]?.port as number;
  const options = {
    password: PASSWORD,
    sentinel: { master: "mymaster", nodes: [{ host: "127.0.0.1", port }], password: PASSWORD },
  };
  return { options, servers: group.servers, close: () => group.close() };
}
