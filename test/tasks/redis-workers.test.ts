/** Workers that die, freeze or are too busy, each a real process. */
import { afterAll, afterEach, beforeAll, expect, jest } from "@jest/globals";
import type { JobRecord, NewJob } from "sluice";
import { RedisBroker, type RedisBrokerOptions, redisBrokerDefaults } from "../../src/tasks/redis-broker.ts";
import { type InstalledPackage, installPackage } from "../installed-package.ts";
import { hasRedis, RedisServer, redisTest, until } from "../redis/redis-server.ts";
import { WorkerProgram } from "./worker-program.ts";

jest.setTimeout(60_000);

let redis: RedisServer;
let installed: InstalledPackage;
let prefixes = 0;
let options: RedisBrokerOptions;
let broker: RedisBroker;
let stalled: string[];
const brokers: RedisBroker[] = [];
const programs: WorkerProgram[] = [];

beforeAll(async () => {
  if (!hasRedis) return;
  redis = await RedisServer.start();
  installed = await installPackage();
});
afterAll(async () => {
  await redis?.close();
  await installed?.remove();
});
afterEach(async () => {
  await Promise.all(programs.splice(0).map((program) => program.kill()));
  await Promise.all(brokers.splice(0).map((broker) => broker.close(0)));
});

async function begin(more: RedisBrokerOptions = {}): Promise<void> {
  prefixes += 1;
  options = { url: redis.url, prefix: `w-${prefixes}`, lockMs: 800, checkMs: 200, ...more };
  broker = new RedisBroker(options);
  brokers.push(broker);
  stalled = [];
  await broker.open({ down() {}, up() {}, failed() {}, stalled: (id) => stalled.push(id) });
}

async function worker(): Promise<WorkerProgram> {
  const program = await WorkerProgram.start(installed, options);
  programs.push(program);
  return program;
}

let numbers = 0;
async function add(does: object, more: Partial<NewJob> = {}): Promise<string> {
  numbers += 1;
  const job = { id: `q.${numbers}`, queue: "q", task: "t", priority: 3, runAt: 0, keepMs: 60_000 } as const;
  return (await broker.add({ ...job, body: JSON.stringify(does), ...more })).id;
}

async function end(id: string): Promise<JobRecord> {
  await until(async () => /done|failed/.test((await broker.find(id))?.state ?? ""));
  return (await broker.find(id)) as JobRecord;
}

/** Works here. */
async function workHere(): Promise<string[]> {
  const ran: string[] = [];
  await broker.consume("q", { concurrency: 2 }, async ({ id, attempt }) => {
    ran.push(`${id} ${attempt}`);
    return { kind: "done", result: '"here"' };
  });
  return ran;
}

redisTest("a job whose worker is killed runs again, elsewhere, with the next number", async () => {
  await begin();
  const killed = await worker();
  const id = await add({ wait: true }, { key: "k" });
  await killed.says(`run ${id} 1`);
  process.kill(killed.child.pid as number, "SIGKILL");
  expect((await broker.add({ ...(await recordAsJob(id)), id: "q.other", key: "k" })).isMerged).toBe(true);
  const ran = await workHere();
  expect(await end(id)).toMatchObject({ state: "done", attempt: 2, result: '"here"' });
  expect(ran).toEqual([`${id} 2`]);
  expect(stalled).toEqual([id]);
  expect((await broker.add({ ...(await recordAsJob(id)), id: "q.next", key: "k" })).isMerged).toBe(false);
  const { lockMs, checkMs } = redisBrokerDefaults;
  expect(lockMs + checkMs).toBeLessThan(20_000);
});

redisTest("a job is not lost with the last worker: the next one that comes runs it", async () => {
  await begin();
  const killed = await worker();
  const id = await add({ wait: true });
  await killed.says(`run ${id} 1`);
  await killed.kill();
  await until(async () => (await lockOf(id)) === null);
  await workHere();
  expect(await end(id)).toMatchObject({ state: "done", attempt: 2 });
});

redisTest("a child whose worker is killed does not leave its parent waiting", async () => {
  await begin();
  const killed = await worker();
  const child: NewJob = {
    ...{ id: "q.child", queue: "q", task: "t", body: '{"wait":true}', priority: 3, runAt: 0, keepMs: 60_000 },
  };
  const id = await add({}, { id: "q.parent", children: [child] });
  await killed.says("run q.child 1");
  await killed.kill();
  await workHere();
  expect(await end(id)).toMatchObject({ state: "done", attempt: 1 });
});

redisTest("a job that kills its workers fails at last, so that it does not kill them all", async () => {
  await begin({ maxDeaths: 1 });
  const id = await add({ wait: true });
  for (const attempt of [1, 2]) {
    const killed = await worker();
    await killed.says(`run ${id} ${attempt}`);
    await killed.kill();
    await until(async () => (await lockOf(id)) === null);
  }
  const ran = await workHere();
  const { state, error = "", body } = await end(id);
  expect([state, JSON.parse(error).code, body]).toEqual(["failed", "worker_died", '{"wait":true}']);
  expect(ran).toEqual([]);
  expect(await broker.runAgain(id)).toBe(true);
  expect(await end(id)).toMatchObject({ state: "done", attempt: 1 });
});

redisTest(
  "a worker that is too busy loses its job, hears so, and its outcome is of no consequence",
  async () => {
    await begin();
    const busy = await worker();
    const id = await add({ block: 4_000 });
    await busy.says(`run ${id} 1`);
    const ran = await workHere();
    expect(await end(id)).toMatchObject({ state: "done", attempt: 2, result: '"here"' });
    expect(ran).toEqual([`${id} 2`]);
    await busy.says(`aborted ${id} lost`);
    const next = await add({ wait: true }, { id: "q.next" });
    await until(async () => (await broker.find(next))?.state !== "waiting");
    expect(await broker.find(id)).toMatchObject({ state: "done", attempt: 2, result: '"here"' });
  },
);

redisTest("a worker that was too busy keeps its job when nobody else has asked for it", async () => {
  await begin({ checkMs: 400 });
  const busy = await worker();
  const id = await add({ block: 2_500 });
  const { state, attempt, result } = await end(id);
  expect([state, attempt, result]).toEqual(["done", 1, JSON.stringify(`by ${busy.child.pid}`)]);
  expect(busy.said.filter((words) => words.startsWith("aborted"))).toEqual([]);
});

redisTest("a running job is cancelled in whichever process it runs", async () => {
  await begin();
  const program = await worker();
  const id = await add({ wait: true });
  await program.says(`run ${id} 1`);
  expect(await broker.cancel(id)).toBe(true);
  await program.says(`aborted ${id} cancelled`);
  await end(id);
});

redisTest("a process that closes its broker hands back what runs, and ends by itself", async () => {
  await begin();
  const program = await worker();
  const id = await add({ wait: true });
  await program.says(`run ${id} 1`);
  expect(await program.leave()).toBe(0);
  expect(await broker.find(id)).toMatchObject({ state: "waiting", attempt: 0 });
  expect(program.said.filter((words) => words.startsWith("failed"))).toEqual([]);
  const ran = await workHere();
  await end(id);
  expect(ran).toEqual([`${id} 1`]);
  expect(stalled).toEqual([]);
});

async function recordAsJob(id: string): Promise<NewJob> {
  const { queue, task, body, priority } = (await broker.find(id)) as JobRecord;
  return { id, queue, task, body, priority, runAt: 0, keepMs: 60_000 };
}

async function lockOf(id: string): Promise<unknown> {
  const { createClient } = await import("redis");
  const client = await createClient({ url: redis.url }).connect();
  const lock = await client.get(`${options.prefix}:tasks:q:${id}:lock`);
  client.destroy();
  return lock;
}
