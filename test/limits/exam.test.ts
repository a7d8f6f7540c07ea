/** What every store of limits promises, held by each of them. */
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { createClient } from "redis";
import { MemoryLimits, MemoryLimitsHub, RedisLimits } from "sluice/limits";
import { limitExam } from "sluice/testing";
import { hasRedis, RedisGroup, RedisServer, redisTest } from "../redis/redis-server.ts";

describe("in memory", () => {
  const make = () => {
    const hub = new MemoryLimitsHub();
    return { node: () => new MemoryLimits(hub), async close() {} };
  };
  for (const { name, run } of limitExam(make)) test(name, run);

  test("what tells nothing any more is forgotten, however many names there were", () => {
    let now = 0;
    const hub = new MemoryLimitsHub(() => now);
    for (let i = 0; i < 100_000; i++) {
      now += 1;
      hub.take(`bucket ${i}`, { perSecond: 1_000, burst: 10 }, 1);
      hub.sit(`room ${i}`, "a", 1, 1);
    }
    expect(hub.size).toBeLessThanOrEqual(20_000);
  });
});

let prefixes = 0;
const redisCluster = (url: string) => {
  prefixes += 1;
  const prefix = `exam-${prefixes}`;
  return { node: () => new RedisLimits({ url, prefix }), async close() {} };
};

describe("in Redis", () => {
  let redis: RedisServer;
  beforeAll(async () => {
    if (hasRedis) redis = await RedisServer.start();
  });
  afterAll(() => redis?.close());
  for (const { name, run } of limitExam(() => redisCluster(redis.url))) redisTest(name, run);

  redisTest("no name is readable there, and each key ends by itself", async () => {
    const store = new RedisLimits({ url: redis.url, prefix: "names" });
    await store.open();
    await store.take("ann@example.org", { perSecond: 1, burst: 10 }, 5);
    await store.sit("ann@example.org", "n-1.1", 5, 60_000);
    await store.close();
    const client = await createClient({ socket: { port: redis.port } }).connect();
    const keys = (await client.keys("names:*")) as string[];
    expect(keys.length).toBeGreaterThanOrEqual(2);
    for (const key of keys) {
      expect(key).not.toContain("ann");
      expect(Number(await client.pTTL(key))).toBeGreaterThan(0);
    }
    client.destroy();
  });

  redisTest(
    "a user with the rights of the guide can do all of it, and one without is told which",
    async () => {
      const client = await createClient({ socket: { port: redis.port } }).connect();
      const rights =
        "resetkeys ~rights:limits:* -@all +hello +ping +evalsha +eval +time +get +set +zremrangebyscore +zscore +zcard +zadd +zrem +pttl +pexpire";
      await client.sendCommand(["ACL", "SETUSER", "limiter", "on", ">secret", ...rights.split(" ")]);
      const at = { url: redis.url, prefix: "rights", username: "limiter", password: "secret" };
      const store = new RedisLimits(at);
      await store.open();
      await store.close();
      await client.sendCommand(["ACL", "SETUSER", "limiter", "-zcard"]);
      const error = await new RedisLimits(at).open().catch((fault: Error) => fault);
      expect(error).toMatchObject({ code: "configuration" });
      expect((error as Error).message).toContain("ACL SETUSER limiter");
      expect((error as Error).message).toContain("+zcard");
      client.destroy();
    },
  );
});

describe("in a Redis Cluster", () => {
  let group: RedisGroup;
  beforeAll(async () => {
    if (hasRedis) group = await RedisGroup.cluster(3, 0);
  }, 60_000);
  afterAll(() => group?.close());
  const make = () => redisCluster(`redis+cluster://${group.hosts}`);
  for (const { name, run } of limitExam(make)) redisTest(name, run);
});

test("wrong options are refused, all at once", () => {
  expect(() => new RedisLimits({ prefx: "a", prefix: "{x}" } as never)).toThrow(
    /prefix must be[\s\S]*prefx is no option/,
  );
});
