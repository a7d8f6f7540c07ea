/** What every presence store promises, held by each of them. */
import { afterAll, beforeAll, describe, test } from "@jest/globals";
import { MemoryHistory, MemoryLogs, RedisHistory } from "sluice/history";
import { MemoryPresence, MemoryPresenceHub, RedisPresence } from "sluice/presence";
import { RedisCommands } from "sluice/redis";
import { type PresenceCluster, presenceExam } from "sluice/testing";
import { hasRedis, RedisGroup, RedisServer, redisTest } from "../redis/redis-server.ts";
import { seeded } from "../seeded.ts";

function memory(delayMs: () => number = () => 0): PresenceCluster {
  const hub = new MemoryPresenceHub(delayMs);
  const logs = new MemoryLogs({}, delayMs);
  return {
    node: () => new MemoryPresence(hub, 300),
    history: () => new MemoryHistory(logs),
    isEmpty: async () => hub.size === 0,
    async close() {},
  };
}

describe("in memory", () => {
  for (const { name, run } of presenceExam(() => memory())) test(name, run);
});

describe("in memory, with delays", () => {
  const random = seeded(7);
  const make = () => memory(() => Math.floor(random() * 4));
  for (const { name, run } of presenceExam(make)) test(name, run);
});

let prefixes = 0;

function redisCluster(url: string, isEmpty: (prefix: string) => Promise<boolean>): PresenceCluster {
  prefixes += 1;
  const prefix = `exam-${prefixes}`;
  return {
    // Nothing here ends with a lease, and one that ends on a busy machine would end what is looked at.
    node: () => new RedisPresence({ url, prefix, leaseMs: 5_000, renewMs: 50 }),
    history: () => new RedisHistory({ url, prefix, positionTtlMs: 5_000, idempotencyTtlMs: 1_000 }),
    isEmpty: () => isEmpty(prefix),
    async close() {},
  };
}

async function keysOf(url: string, prefix: string): Promise<unknown[]> {
  const commands = new RedisCommands({ url });
  await commands.open();
  const keys = await commands.command("", ["KEYS", `${prefix}:*`]);
  commands.close();
  // What a start tries out in logs is gone in a few seconds.
  return (keys as string[]).filter((key) => !/\{sluice\.rehearsal[^}]*\}:(meta|log|presence|key:)/.test(key));
}

describe("in Redis", () => {
  let redis: RedisServer;
  beforeAll(async () => {
    if (hasRedis) redis = await RedisServer.start();
  });
  afterAll(() => redis?.close());
  const isEmpty = async (prefix: string) => (await keysOf(redis.url, prefix)).length === 0;
  for (const { name, run } of presenceExam(() => redisCluster(redis.url, isEmpty))) redisTest(name, run);
});

describe("in a Redis Cluster", () => {
  let group: RedisGroup;
  beforeAll(async () => {
    if (hasRedis) group = await RedisGroup.cluster(3, 0);
  }, 60_000);
  afterAll(() => group?.close());
  const isEmpty = async (prefix: string) => {
    const found = await Promise.all(group.servers.map(({ url }) => keysOf(url, prefix)));
    return found.flat().length === 0;
  };
  const make = () => redisCluster(`redis+cluster://${group.hosts}`, isEmpty);
  for (const { name, run } of presenceExam(make)) redisTest(name, run);
});
