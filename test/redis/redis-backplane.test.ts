import { afterAll, beforeAll, describe } from "@jest/globals";
import { RedisBackplane } from "sluice/redis";
import { backplaneExam } from "sluice/testing";
import { hasRedis, RedisServer, redisTest } from "./redis-server.ts";

let redis: RedisServer;
let clusters = 0;

beforeAll(async () => {
  if (hasRedis) redis = await RedisServer.start();
});
afterAll(() => redis?.close());

/** Nodes that share a prefix of their own. */
function makeCluster() {
  clusters += 1;
  const prefix = `exam-${clusters}`;
  const nodes: RedisBackplane[] = [];
  return {
    node() {
      const node = new RedisBackplane({ url: redis.url, prefix });
      nodes.push(node);
      return node;
    },
    async close() {
      await Promise.all(nodes.map((node) => node.close()));
    },
  };
}

describe("the Redis backplane", () => {
  for (const { name, run } of backplaneExam(makeCluster)) redisTest(name, run);
});
