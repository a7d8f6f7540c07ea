/** Where Redis is, what it must be like, what one must be allowed there, and what else reads it. */
import { afterAll, afterEach, beforeAll, expect, jest, test } from "@jest/globals";
import { Queue } from "bullmq";
import { createClient } from "redis";
import type { NewJob } from "sluice";
import { brokerExam } from "sluice/testing";
import { RedisBroker, type RedisBrokerOptions } from "../../src/tasks/redis-broker.ts";
import { checkServer } from "../../src/tasks/redis-broker-options.ts";
import { hasRedis, RedisServer, redisTest, until } from "../redis/redis-server.ts";
import { job } from "./some-job.ts";

jest.setTimeout(60_000);

const PASSWORD = "p#a$s%w/o:r@d?";
const listener = { down() {}, up() {}, failed() {}, stalled() {} };
let redis: RedisServer;
const brokers: RedisBroker[] = [];

beforeAll(async () => {
  if (hasRedis) redis = await RedisServer.start("--requirepass", PASSWORD);
});
afterAll(() => redis?.close());
afterEach(async () => {
  await Promise.all(brokers.splice(0).map((broker) => broker.close(0)));
});

function brokerOn(options: RedisBrokerOptions): RedisBroker {
  const broker = new RedisBroker({ connectTimeoutMs: 3_000, ...options });
  brokers.push(broker);
  return broker;
}

async function admin(...command: string[]): Promise<unknown> {
  const client = await createClient({ url: redis.url, password: PASSWORD }).connect();
  const answer = await client.sendCommand(command);
  client.destroy();
  return answer;
}

/** What a broker says that cannot begin; it must never hold the password. */
async function faultOf(options: RedisBrokerOptions): Promise<string> {
  const error: Error = await brokerOn(options)
    .open(listener)
    .then(
      () => new Error("it has begun"),
      (error) => error,
    );
  expect(error).toMatchObject({ code: "configuration" });
  const told = `${error.message} ${error.stack} ${JSON.stringify(error)}`;
  for (const secret of [PASSWORD, encodeURIComponent(PASSWORD), "wrong-password"]) {
    expect(told).not.toContain(secret);
  }
  return error.message;
}

redisTest("a password with any characters works, in the URL and apart", async () => {
  for (const options of [
    { url: `redis://:${PASSWORD}@127.0.0.1:${redis.port}` },
    { port: redis.port, password: PASSWORD },
  ]) {
    const broker = brokerOn(options);
    await broker.open(listener);
    const { id } = await broker.add(job());
    await broker.consume("q", { concurrency: 1 }, async () => ({ kind: "done", result: "1" }));
    await until(async () => (await broker.find(id))?.state === "done");
    await broker.close(1_000);
  }
});

redisTest("what keeps it from beginning is told with what to do, and never with the password", async () => {
  expect(await faultOf({ url: redis.url, password: "wrong-password" })).toMatch(
    /password is wrong.*REDIS_PASSWORD/,
  );
  expect(await faultOf({ url: redis.url })).toMatch(/wants a password/);
  expect(await faultOf({ port: 1, password: PASSWORD })).toMatch(/127\.0\.0\.1:1: nothing answers/);
});

redisTest("a Redis that may throw jobs away is refused", async () => {
  const options = { url: redis.url, password: PASSWORD };
  await admin("CONFIG", "SET", "maxmemory-policy", "allkeys-lru");
  expect(await faultOf(options)).toMatch(
    /maxmemory-policy allkeys-lru.*CONFIG SET maxmemory-policy noeviction/,
  );
  await admin("CONFIG", "SET", "maxmemory-policy", "noeviction");
  await brokerOn(options).open(listener);
});

test("a Redis that is too old is refused, with whatever else is wrong", () => {
  const info = (version: string, policy: string) =>
    `# Server\r\nredis_version:${version}\r\nos:x\r\n# Memory\r\nmaxmemory_policy:${policy}\r\n`;
  expect(() => checkServer(info("6.2.14", "volatile-ttl"))).toThrow(/6\.2\.14 is too old[\s\S]*volatile-ttl/);
  for (const version of ["7.0.0", "7.2.4", "8.2.1", "10.0.0"]) checkServer(info(version, "noeviction"));
});

test("Sentinel and Cluster are refused, and so are wrong options, all at once", () => {
  const fault = (options: RedisBrokerOptions) => {
    try {
      new RedisBroker(options);
    } catch (error) {
      return (error as Error).message;
    }
    return "none";
  };
  expect(fault({ url: "redis+sentinel://a,b/m" })).toMatch(/not work with Sentinel.*TASKS_REDIS_URL/);
  expect(fault({ url: "redis+cluster://a,b" })).toMatch(/not work with a Redis Cluster.*TASKS_REDIS_URL/);
  const wrong = { lockMs: 1_000, checkMs: 900, prefix: "a b", lookMS: 1, port: 0 } as RedisBrokerOptions;
  const told = fault(wrong);
  for (const part of [
    /at least twice redis\.checkMs/,
    /redis\.prefix must be/,
    /lookMS is no option/,
    /redis\.port must be/,
  ]) {
    expect(told).toMatch(part);
  }
  expect(told.match(/redis\.port must be/g)).toHaveLength(1);
});

redisTest("with the rights that the fault asks for everything works, and with no others", async () => {
  const setUser = (...rules: string[]) =>
    admin("ACL", "SETUSER", "sluice", "reset", "on", `>${PASSWORD}`, ...rules);
  await setUser("-@all", "+hello", "+ping", "+eval", "+evalsha");
  const options = { url: redis.url, username: "sluice", password: PASSWORD };
  const fault = await faultOf(options);
  expect(fault).toMatch(/the user "sluice" may not do what is needed/);
  const rules = /ACL SETUSER sluice (.*)$/.exec(fault)?.[1]?.split(" ") ?? [];
  await setUser("-@all", "resetkeys", "resetchannels", ...rules);
  for (const { name, run } of brokerExam(() => ({ broker: () => brokerOn(options), close: flush }), true)) {
    await run().catch((error) => {
      throw new Error(`${name}: ${error.message}`);
    });
  }
  const other = brokerOn({ ...options, prefix: "other" });
  await expect(other.open(listener)).rejects.toMatchObject({ code: "configuration" });
});

async function flush(): Promise<void> {
  await admin("FLUSHALL");
}

redisTest("BullMQ's own queues, and so its dashboards, see the same jobs", async () => {
  const broker = brokerOn({ url: redis.url, password: PASSWORD, prefix: "seen" });
  await broker.open(listener);
  const children = [job({ body: '{"n":1}' }), job({ body: '{"n":2}' })];
  const parent = job({ children, task: "sum", body: '{"of":2}' });
  await broker.add(parent);
  const delayed = job({ runAt: Date.now() + 60_000 });
  await broker.add(delayed);
  const client = createClient({ url: redis.url, password: PASSWORD });
  const queue = new Queue("q", { prefix: "seen:tasks", connection: client });
  const stateOf = async ({ id }: NewJob) => (await queue.getJob(id))?.getState();
  expect(await Promise.all([parent, delayed, ...children].map(stateOf))).toEqual([
    "waiting-children",
    "delayed",
    "prioritized",
    "prioritized",
  ]);
  await broker.consume("q", { concurrency: 1 }, async ({ body }) => ({ kind: "done", result: body }));
  await until(async () => (await broker.find(parent.id))?.state === "done");
  const seen = await queue.getJob(parent.id);
  expect([seen?.name, seen?.data, seen?.returnvalue]).toEqual(["sum", { of: 2 }, { of: 2 }]);
  expect(Object.values((await seen?.getChildrenValues()) ?? {})).toEqual([{ n: 1 }, { n: 2 }]);
  await queue.close();
  client.destroy();
});
