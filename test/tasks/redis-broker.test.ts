import { afterAll, beforeAll, describe } from "@jest/globals";
import { type BrokerCluster, brokerExam } from "sluice/testing";
import { RedisBroker } from "../../src/tasks/redis-broker.ts";
import { hasRedis, RedisServer, redisTest } from "../redis/redis-server.ts";

let redis: RedisServer;
let prefixes = 0;
beforeAll(async () => {
  if (hasRedis) redis = await RedisServer.start();
});
afterAll(() => redis?.close());

function cluster(): BrokerCluster {
  prefixes += 1;
  const prefix = `exam-${prefixes}`;
  return { broker: () => new RedisBroker({ url: redis.url, prefix }), async close() {} };
}

describe("the Redis broker", () => {
  for (const { name, run } of brokerExam(cluster, true)) redisTest(name, run, 60_000);
});
