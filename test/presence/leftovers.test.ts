/** What nodes leave in Redis that ended in no order: it is removed by the last, or expires. */
import { afterEach, beforeEach, expect } from "@jest/globals";
import type { PresenceListener } from "sluice";
import { RedisPresence, type RedisPresenceOptions } from "sluice/presence";
import { RedisCommands } from "sluice/redis";
import { CuttableWay } from "../redis/cut-off.ts";
import { hasRedis, RedisServer, redisTest, until } from "../redis/redis-server.ts";

/** Renews its lease only after the tests. */
const IDLE = { leaseMs: 120_000, renewMs: 60_000 };
const SHORT = { leaseMs: 200, renewMs: 50, orphanTtlMs: 4_000 };
const STATEMENT = { connections: 1, info: "", isUpdate: false, maxUsers: 9 };

let redis: RedisServer;
let commands: RedisCommands;
const stores: RedisPresence[] = [];
const ways: CuttableWay[] = [];

beforeEach(async () => {
  if (!hasRedis) return;
  redis = await RedisServer.start();
  commands = new RedisCommands({ url: redis.url });
  await commands.open();
});
afterEach(async () => {
  await Promise.all(ways.splice(0).map((way) => way.close()));
  await Promise.all(stores.splice(0).map((store) => store.close(0)));
  commands?.close();
  await redis?.close();
});

async function open(name: string, options: RedisPresenceOptions, port = redis.port) {
  const store = new RedisPresence({ url: `redis://127.0.0.1:${port}`, commandTimeoutMs: 3_000, ...options });
  stores.push(store);
  const listener: PresenceListener = {
    logFor: () => undefined,
    down() {},
    async restate() {},
    removed: async () => {},
  };
  await store.open(name, listener);
  return store;
}

/** A node that had a user and is cut off from Redis for good, as if it had been killed. */
async function killed(name: string, options: RedisPresenceOptions = SHORT): Promise<void> {
  const way = await CuttableWay.to(redis.port);
  ways.push(way);
  const store = await open(name, options, way.port);
  await store.state("room", `user of ${name}`, STATEMENT);
  way.block();
}

const ask = async (...words: string[]) => commands.command("", words);
const keys = async () => (await ask("KEYS", "*")) as readonly string[];

/** The leases that have ended by Redis' clock. */
async function expired(): Promise<number> {
  const [seconds] = (await ask("TIME")) as readonly string[];
  return Number(await ask("ZCOUNT", "sluice:{sluice.nodes}:leases", "-inf", `${Number(seconds)}000`));
}

redisTest("the last that leaves takes those with it whose lease has run out, with their users", async () => {
  const last = await open("last", IDLE);
  // Nothing is to expire before it leaves.
  const kept = { ...SHORT, orphanTtlMs: 600_000 };
  await killed("one", kept);
  await killed("two", kept);
  await until(async () => (await expired()) === 2);
  expect(await last.count("room")).toBe(2);
  // Within one lease of the first start nobody is judged, and the lease of this one is long.
  await ask("HSET", "sluice:{sluice.nodes}:pulse", "quiet", "0");
  await last.close(0);
  expect(await keys()).toEqual([]);
});

redisTest("right after Redis was away the last that leaves judges nobody", async () => {
  const last = await open("last", IDLE);
  await killed("one");
  await until(async () => (await expired()) === 1);
  const [seconds] = (await ask("TIME")) as readonly string[];
  await ask("HSET", "sluice:{sluice.nodes}:pulse", "quiet", `${Number(seconds) + 60}000`);
  await last.close(0);
  expect(await ask("ZRANGE", "sluice:{sluice.nodes}:leases", "0", "-1")).toEqual(["one~1"]);
  await ask("HSET", "sluice:{sluice.nodes}:pulse", "last", "1", "quiet", "0");
  const other = await open("other", IDLE);
  await ask("HSET", "sluice:{sluice.nodes}:pulse", "last", "1", "quiet", "0");
  await other.close(0);
  expect(await ask("ZRANGE", "sluice:{sluice.nodes}:leases", "0", "-1")).toEqual(["one~1"]);
});

redisTest("what nodes leave that were all killed expires, whatever they were about to do", async () => {
  await killed("one");
  await killed("two");
  // It leaves while the leases of the others still run, and before it would have been forgotten itself.
  const other = await open("other", SHORT);
  await other.close(1_000);
  const left = await keys();
  expect(left).toContain("sluice:{room}:who");
  expect(left).toContain("sluice:{sluice.nodes}:dead");
  for (const key of left) expect([key, Number(await ask("PTTL", key)) > 0]).toEqual([key, true]);
  await until(async () => (await keys()).length === 0);
});

redisTest("where a node lives nothing expires, and who was left without a word is found", async () => {
  const one = await open("one", SHORT);
  await one.state("room", "ann", STATEMENT);
  // Of a node that nobody knows.
  await ask("HSET", "sluice:{room}:who", "ghost", "1 1 null");
  await ask("HSET", "sluice:{room}:at:gone~1", "ghost", "1");
  await ask("HSET", "sluice:{room}:on", "gone~1", "1");
  const beganAt = performance.now();
  await until(() => performance.now() - beganAt > SHORT.orphanTtlMs * 1.5);
  expect(await ask("HGETALL", "sluice:{room}:who")).toEqual({ ann: "1 1 " });
  expect((await keys()).toSorted()).toEqual([
    "sluice:{room}:at:one~1",
    "sluice:{room}:on",
    "sluice:{room}:who",
    "sluice:{sluice.nodes}:groups:one~1",
    "sluice:{sluice.nodes}:leases",
    "sluice:{sluice.nodes}:pulse",
  ]);
});
