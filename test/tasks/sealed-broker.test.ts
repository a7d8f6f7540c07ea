/** What the contract of brokers promises, held also by one that sees nothing of what it carries. */
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import type { JobOutcome, TaskBroker, UnopenedFact } from "sluice";
import { MemoryBroker } from "sluice/tasks";
import { RedisBroker } from "sluice/tasks/redis";
import { brokerExam } from "sluice/testing";
import { createFacts } from "../../src/facts.ts";
import { Seal, Sealer } from "../../src/sealing.ts";
import { SealedBroker } from "../../src/tasks/sealed-broker.ts";
import { hasRedis, RedisServer, redisTest, until } from "../redis/redis-server.ts";
import { KEYS } from "../some-keys.ts";

const facts = createFacts();
const unopened: UnopenedFact[] = [];
facts.unopened.connect((fact) => void unopened.push(fact));

function sealed(broker: TaskBroker, keys: readonly string[] = KEYS): SealedBroker {
  return new SealedBroker(broker, new Seal(new Sealer(keys), facts, "tasks", "exam"));
}

const close = async () => expect(unopened).toEqual([]);

describe("an encrypted broker in memory", () => {
  const make = () => ({ broker: () => sealed(new MemoryBroker()), close });
  for (const { name, run } of brokerExam(make, false)) test(name, run, 60_000);
});

describe("an encrypted broker in Redis", () => {
  let redis: RedisServer;
  let prefixes = 0;
  beforeAll(async () => {
    if (hasRedis) redis = await RedisServer.start();
  });
  afterAll(() => redis?.close());
  const make = () => {
    prefixes += 1;
    const prefix = `exam-${prefixes}`;
    return { broker: () => sealed(new RedisBroker({ url: redis.url, prefix })), close };
  };
  for (const { name, run } of brokerExam(make, true)) redisTest(name, run, 60_000);
});

const LISTENER = { down() {}, up() {}, failed() {}, stalled() {} };
const job = (id: string, body: string) => ({
  ...{ id: `q.${id}`, queue: "q", task: "t", body },
  ...({ priority: 3, runAt: 0, keepMs: 60_000 } as const),
});

describe("a job that cannot be read", () => {
  test("fails if it was altered, and is left to others if only the key is unknown", async () => {
    const inner = new MemoryBroker();
    const broker = sealed(inner, [KEYS[0]]);
    await broker.open(LISTENER);
    const other = new Seal(new Sealer([KEYS[1]]), facts, "tasks", "exam");
    const own = new Seal(new Sealer([KEYS[0]]), facts, "tasks", "exam");
    await inner.add(job("moved", own.seal("{}", "q.another", "body")));
    await inner.add(job("strange", other.seal("{}", "q.strange", "body")));
    await inner.add(job("clear", "{}"));
    const ran: string[] = [];
    await broker.consume("q", { concurrency: 1 }, async ({ id }): Promise<JobOutcome> => {
      ran.push(id);
      return { kind: "done", result: "null" };
    });
    await broker.add(job("mine", "{}"));
    await until(() => ran.length > 0);
    await until(async () => (await inner.counts("q")).delayed === 2);
    expect(ran).toEqual(["q.mine"]);
    const moved = await broker.find("q.moved");
    expect(moved).toMatchObject({ state: "failed", body: "null" });
    expect(JSON.parse(moved?.error ?? "")).toMatchObject({ code: "unopened", reason: "altered" });
    const reasons = unopened.splice(0).map(({ target, reason }) => `${target} ${reason}`);
    expect(new Set(reasons)).toEqual(
      new Set(["q.moved altered", "q.strange unknown-key", "q.clear not-encrypted"]),
    );
    await broker.close(0);
  });

  test("is to whoever looks one that failed, if it is its result", async () => {
    const inner = new MemoryBroker();
    const broker = sealed(inner);
    await broker.open(LISTENER);
    await inner.consume("q", { concurrency: 1 }, async () => ({ kind: "done", result: '"forged"' }));
    await broker.add(job("a", "{}"));
    await until(async () => (await inner.find("q.a"))?.state === "done");
    const record = await broker.find("q.a");
    expect(record).toMatchObject({ state: "failed", body: "{}" });
    expect(record).not.toHaveProperty("result");
    expect(unopened.splice(0)).toEqual([{ carrier: "tasks", target: "q.a", reason: "not-encrypted" }]);
    await broker.close(0);
  });
});
