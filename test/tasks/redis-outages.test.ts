/** What becomes of jobs and workers when Redis is killed, frozen, full, emptied, or cut off. */
import { afterEach, expect, jest } from "@jest/globals";
import { createClient } from "redis";
import type { JobHandler, JobOutcome, JobRecord, NewJob } from "sluice";
import { RedisBroker, type RedisBrokerOptions } from "../../src/tasks/redis-broker.ts";
import { RedisServer, redisTest, until } from "../redis/redis-server.ts";

jest.setTimeout(60_000);

const DURABLE = ["--appendonly", "yes", "--appendfsync", "always"];
const done: JobOutcome = { kind: "done", result: '"r"' };

/** A Redis, a broker on it, and what it was told. */
class Scene {
  readonly redis: RedisServer;
  readonly broker: RedisBroker;
  readonly told: string[] = [];
  readonly faults: unknown[] = [];
  readonly stalled: string[] = [];
  #numbers = 0;

  private constructor(redis: RedisServer, options: RedisBrokerOptions) {
    this.redis = redis;
    const quick = { lockMs: 1_000, checkMs: 100, lookMs: 100, heartbeatMs: 200, commandTimeoutMs: 500 };
    this.broker = new RedisBroker({ url: redis.url, ...quick, ...options });
  }

  static async begin(args: readonly string[] = [], options: RedisBrokerOptions = {}): Promise<Scene> {
    const scene = new Scene(await RedisServer.start(...args), options);
    scenes.push(scene);
    await scene.broker.open({
      down: (reason) => scene.told.push(`down: ${reason}`),
      up: () => scene.told.push("up"),
      failed: (error) => scene.faults.push(error),
      stalled: (id) => scene.stalled.push(id),
    });
    return scene;
  }

  get isUp(): boolean {
    return this.told.at(-1) === "up";
  }

  async add(more: Partial<NewJob> = {}): Promise<string> {
    return (await this.broker.add(this.job(more))).id;
  }

  job(more: Partial<NewJob> = {}): NewJob {
    this.#numbers += 1;
    const id = `q.${this.#numbers}`;
    return { id, queue: "q", task: "t", body: "{}", priority: 3, runAt: 0, keepMs: 60_000, ...more };
  }

  async consume(handler: JobHandler, concurrency = 1): Promise<void> {
    await this.broker.consume("q", { concurrency }, handler);
  }

  async end(id: string): Promise<JobRecord> {
    const find = () => this.broker.find(id).catch(() => undefined);
    await until(async () => /done|failed/.test((await find())?.state ?? ""));
    return (await this.broker.find(id)) as JobRecord;
  }

  /** What Redis answers to somebody else. */
  async ask(...command: string[]): Promise<unknown> {
    const client = await createClient({ url: this.redis.url }).connect();
    const answer = await client.sendCommand(command);
    client.destroy();
    return answer;
  }

  async close(): Promise<void> {
    await this.broker.close(0);
    await this.redis.close();
  }
}

const scenes: Scene[] = [];
afterEach(async () => {
  await Promise.all(scenes.splice(0).map((scene) => scene.close()));
});

function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open: () => open() };
}

redisTest(
  "while Redis is away all that asks is refused at once, and workers go on when it is back",
  async () => {
    const scene = await Scene.begin(DURABLE);
    const { opened, open } = gate();
    const attempts: string[] = [];
    const handler: JobHandler = async ({ id, attempt }) => {
      attempts.push(`${id} ${attempt}`);
      if (id === "q.1") await opened;
      return done;
    };
    const [first, second] = [await scene.add(), await scene.add()];
    await scene.consume(handler);
    await until(() => attempts.length === 1);
    await scene.redis.end();
    await until(() => scene.told.length > 0);
    expect(scene.told[0]).toMatch(/^down: Redis at 127\.0\.0\.1:\d+: /);
    const { broker } = scene;
    const report = { worker: "w", host: "h", pid: 1, version: "1", startedAt: 0, queues: {}, active: [] };
    const asked = [
      () => broker.add(scene.job()),
      () => broker.addAll([scene.job()]),
      () => broker.find(first),
      () => broker.follow(first, { changed() {} }),
      () => broker.cancel(first),
      () => broker.runAgain(first),
      () => broker.remove(second),
      () => broker.reserve("r", 1, 1),
      () => broker.tick("s", 1, scene.job()),
      () => broker.ticks(),
      () => broker.forgetSchedule("s"),
      () => broker.counts("q"),
      () => broker.list("q", "waiting", 0, 1),
      () => broker.queues(),
      () => broker.pause("q"),
      () => broker.resume("q"),
      () => broker.report({ ...report, done: 0, failed: 0, retried: 0, memoryBytes: 0 }),
      () => broker.unreport("w"),
      () => broker.workers(),
    ];
    for (const ask of asked) await expect(ask()).rejects.toMatchObject({ code: "layer_unavailable" });
    // Its outcome waits for Redis.
    open();
    await scene.redis.begin();
    await until(() => scene.isUp);
    for (const id of [first, second])
      expect(await scene.end(id)).toMatchObject({ state: "done", attempt: 1 });
    await scene.end(await scene.add());
    expect(attempts.slice(0, 2)).toEqual(["q.1 1", "q.2 1"]);
    expect([scene.stalled, scene.faults]).toEqual([[], []]);
  },
);

redisTest(
  "a job that runs longer than Redis was away, which was longer than its lock, runs once",
  async () => {
    const scene = await Scene.begin(DURABLE);
    const { opened, open } = gate();
    let runs = 0;
    const id = await scene.add();
    await scene.consume(async ({ signal }) => {
      runs += 1;
      await opened;
      return signal.aborted ? { kind: "failed", error: "1" } : done;
    }, 2);
    await until(() => runs === 1);
    await scene.redis.end();
    const endedAt = performance.now();
    await until(() => performance.now() - endedAt > 1_500);
    await scene.redis.begin();
    await until(() => scene.isUp);
    const checkedAt = async () =>
      Number.parseInt(String(await scene.ask("GET", "sluice:tasks:q:~checked")), 10);
    const before = await checkedAt();
    await until(async () => (await checkedAt()) > before + 500);
    open();
    expect(await scene.end(id)).toMatchObject({ state: "done", attempt: 1 });
    expect([runs, scene.stalled]).toEqual([1, []]);
  },
);

redisTest(
  "who comes first after an outage gives nobody up before he had time to say that he lives",
  async () => {
    const scene = await Scene.begin([], { lockMs: 120_000, checkMs: 60_000 });
    const { opened, open } = gate();
    const id = await scene.add();
    await scene.consume(async () => {
      await opened;
      return done;
    });
    await until(async () => (await scene.broker.find(id))?.state === "active");
    // As it looks then: the lock has run out, and the job had been marked when somebody looked last.
    const base = "sluice:tasks:q:";
    await until(async () => (await scene.ask("GET", `${base}~checked`)) !== null);
    await scene.ask("DEL", `${base}${id}:lock`, `${base}stalled-check`);
    await scene.ask("SADD", `${base}stalled`, id);
    await scene.ask("SET", `${base}~checked`, `${Date.now() - 300_000} 0`);
    const other = new RedisBroker({ url: scene.redis.url, lockMs: 20_000, checkMs: 2_000 });
    const stalled: string[] = [];
    await other.open({ down() {}, up() {}, failed() {}, stalled: (id) => stalled.push(id) });
    const ran: string[] = [];
    await other.consume("q", { concurrency: 1 }, async ({ id, attempt }) => {
      ran.push(`${id} ${attempt}`);
      return done;
    });
    await until(async () => String(await scene.ask("GET", `${base}~checked`)).endsWith(" 1"));
    expect((await scene.broker.find(id))?.state).toBe("active");
    // It says nothing; then it is.
    await until(() => ran.length === 1);
    expect([ran, stalled]).toEqual([[`${id} 2`], [id]]);
    open();
    await other.close(1_000);
  },
);

redisTest("a Redis that does not answer counts as away", async () => {
  const scene = await Scene.begin();
  await scene.consume(async () => done);
  scene.redis.freeze();
  const added = scene.broker.add(scene.job());
  await expect(added).rejects.toMatchObject({ code: "layer_unavailable" });
  await until(() => scene.told[0]?.startsWith("down") === true);
  scene.redis.thaw();
  await until(() => scene.isUp);
  await scene.end(await scene.add());
});

redisTest("a Redis that comes back empty has lost its jobs, and who waits for them hears so", async () => {
  const scene = await Scene.begin();
  const id = await scene.add({ runAt: Date.now() + 60_000 });
  let isHeard = false;
  await scene.broker.follow(id, {
    changed() {
      isHeard = true;
    },
  });
  await scene.consume(async () => done);
  await scene.redis.end();
  await scene.redis.begin();
  await until(() => isHeard);
  expect(await scene.broker.find(id)).toBeUndefined();
  const next = await scene.add();
  isHeard = false;
  await scene.broker.follow(next, {
    changed() {
      isHeard = true;
    },
  });
  await scene.end(next);
  await until(() => isHeard);
});

redisTest("what is no report of a worker does not hide the others", async () => {
  const scene = await Scene.begin();
  const report = { worker: "w", host: "h", pid: 1, version: "1", startedAt: 0, queues: {}, active: [] };
  await scene.broker.report({ ...report, done: 0, failed: 0, retried: 0, memoryBytes: 0 });
  for (const [worker, text] of ["no JSON", "null", "7", '{"worker":7}'].entries()) {
    await scene.ask("HSET", "sluice:tasks#workers", `${worker}`, `${Date.now()} ${text}`);
  }
  expect((await scene.broker.workers()).map(({ worker }) => worker)).toEqual(["w"]);
});

redisTest("an end that is told while nobody listens is found, and so is the wish to cancel", async () => {
  const scene = await Scene.begin();
  const id = await scene.add();
  const reasons: unknown[] = [];
  await scene.consume(async ({ signal }) => {
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    reasons.push(signal.reason);
    return done;
  });
  let isHeard = false;
  await scene.broker.follow(id, {
    changed() {
      isHeard = true;
    },
  });
  await until(async () => (await scene.broker.find(id))?.state === "active");
  // As a cancel does that nobody hears of; and then the end that is not told, either.
  await scene.ask("HSET", `sluice:tasks:q:${id}`, "cx", "1");
  await until(() => reasons.length === 1);
  await scene.end(id);
  await until(() => isHeard);
  expect(reasons).toEqual(["cancelled"]);
  isHeard = false;
  const lost = await scene.add({ runAt: Date.now() + 60_000 });
  await scene.broker.follow(lost, {
    changed() {
      isHeard = true;
    },
  });
  await scene.ask("FLUSHALL");
  await until(() => isHeard);
});

redisTest("connections that break again and again lose no job", async () => {
  const scene = await Scene.begin();
  const runs = new Map<string, number>();
  const ids: string[] = [];
  for (let i = 0; i < 5; i++) {
    const jobs = Array.from({ length: 100 }, () => scene.job());
    ids.push(...(await scene.broker.addAll(jobs)).map(({ id }) => id));
  }
  await scene.consume(async ({ id }) => {
    runs.set(id, (runs.get(id) ?? 0) + 1);
    await new Promise((resolve) => setTimeout(resolve, 5));
    return done;
  }, 10);
  for (let i = 0; i < 10; i++) {
    const before = runs.size;
    await until(() => runs.size > before || runs.size === 500);
    await scene.ask("CLIENT", "KILL", "TYPE", i % 2 === 0 ? "normal" : "pubsub");
  }
  const counts = () => scene.broker.counts("q").catch(() => undefined);
  await until(async () => (await counts())?.done === 500, 40_000);
  expect(runs.size).toBe(500);
  expect(await counts()).toMatchObject({ waiting: 0, active: 0, failed: 0 });
  expect(scene.faults).toEqual([]);
});

redisTest("a job whose giving was cut off goes back when Redis is there again", async () => {
  const scene = await Scene.begin([], { lockMs: 60_000 });
  const { opened, open } = gate();
  const attempts: string[] = [];
  await scene.consume(async ({ id, attempt }) => {
    attempts.push(`${id} ${attempt}`);
    await opened;
    return done;
  });
  const [running, given] = [await scene.add(), await scene.add()];
  await until(async () => (await scene.broker.find(running))?.state === "active");
  // As Redis does, but nobody is told.
  const base = "sluice:tasks:q:";
  const token = String(await scene.ask("HGET", `${base}${running}`, "pb"));
  await scene.ask("ZREM", `${base}prioritized`, given);
  await scene.ask("LPUSH", `${base}active`, given);
  await scene.ask("SET", `${base}${given}:lock`, token, "PX", "60000");
  await scene.ask("HSET", `${base}${given}`, "pb", token, "ats", "1");
  expect((await scene.broker.find(given))?.state).toBe("active");
  await scene.ask("CLIENT", "KILL", "TYPE", "normal");
  const find = () => scene.broker.find(given).catch(() => undefined);
  await until(async () => (await find())?.state === "waiting");
  open();
  await scene.end(running);
  expect(await scene.end(given)).toMatchObject({ state: "done", attempt: 1 });
  expect([attempts, scene.stalled]).toEqual([[`${running} 1`, `${given} 1`], []]);
});

redisTest("a worker that gets a job again that it has has lost it meanwhile", async () => {
  const scene = await Scene.begin([], { lockMs: 120_000, checkMs: 60_000 });
  const { opened, open } = gate();
  const reasons: unknown[] = [];
  await scene.consume(async ({ attempt, signal }) => {
    signal.addEventListener("abort", () => reasons.push(signal.reason));
    if (attempt === 1) await opened;
    return { kind: "done", result: `${attempt}` };
  }, 2);
  const id = await scene.add();
  await until(async () => (await scene.broker.find(id))?.state === "active");
  // As somebody does who takes it for dead.
  const base = "sluice:tasks:q:";
  await scene.ask("DEL", `${base}${id}:lock`);
  await scene.ask("LREM", `${base}active`, "1", id);
  await scene.ask("HDEL", `${base}${id}`, "pb");
  await scene.ask("RPUSH", `${base}wait`, id);
  await scene.ask("ZADD", `${base}marker`, "0", "0");
  expect(await scene.end(id)).toMatchObject({ attempt: 2, result: "2" });
  expect(reasons).toEqual(["lost"]);
  open();
  await scene.end(await scene.add());
  expect(await scene.broker.find(id)).toMatchObject({ attempt: 2, result: "2" });
});

redisTest("a Redis that is full refuses new jobs, and takes outcomes when there is room again", async () => {
  const scene = await Scene.begin();
  const { opened, open } = gate();
  const id = await scene.add();
  await scene.consume(async () => {
    await opened;
    return done;
  });
  await until(async () => (await scene.broker.find(id))?.state === "active");
  await scene.ask("CONFIG", "SET", "maxmemory", "1");
  await expect(scene.add()).rejects.toMatchObject({ code: "layer_unavailable" });
  open();
  await expect(scene.add()).rejects.toThrow(/OOM/);
  await scene.ask("CONFIG", "SET", "maxmemory", "0");
  await scene.end(id);
  await scene.end(await scene.add());
  expect(scene.faults).toEqual([]);
});

redisTest("what has ended leaves nothing in Redis, though nothing else ends after it", async () => {
  const scene = await Scene.begin();
  await scene.consume(async () => ({ kind: "done", result: JSON.stringify("x".repeat(10_000)) }), 20);
  const children = Array.from({ length: 10 }, () => scene.job({ keepMs: 1 }));
  await scene.add({ keepMs: 1, children });
  for (let i = 0; i < 5; i++) {
    await scene.broker.addAll(Array.from({ length: 200 }, () => scene.job({ keepMs: 1 })));
  }
  const left = async () => (await scene.ask("KEYS", "sluice:tasks:q:q.*")) as unknown[];
  await until(async () => (await left()).length === 0);
  const { waiting, active, done, failed } = await scene.broker.counts("q");
  expect([waiting, active, done, failed]).toEqual([0, 0, 0, 0]);
  expect(Number(await scene.ask("ZCARD", "sluice:tasks:q:completed"))).toBe(0);
  expect(Number(await scene.ask("ZCARD", "sluice:tasks:q:~ends"))).toBe(0);
  expect(Number(await scene.ask("XLEN", "sluice:tasks:q:events"))).toBeLessThan(300);
  expect(Number(await scene.ask("MEMORY", "USAGE", "sluice:tasks:q:events"))).toBeLessThan(200_000);
});

redisTest("a broker closes in time while Redis is away", async () => {
  const scene = await Scene.begin();
  const { opened, open } = gate();
  const id = await scene.add();
  let reason: unknown;
  await scene.consume(async ({ signal }) => {
    signal.addEventListener("abort", () => {
      reason = signal.reason;
    });
    await opened;
    return done;
  });
  await until(async () => (await scene.broker.find(id))?.state === "active");
  await scene.redis.end();
  await until(() => scene.told.length > 0);
  await scene.broker.close(50);
  expect(reason).toBe("lost");
  open();
});

redisTest("a worker begins while Redis is away, and works when it is there", async () => {
  const scene = await Scene.begin();
  await scene.redis.end();
  await until(() => scene.told.length > 0);
  await scene.consume(async () => done);
  await scene.redis.begin();
  await until(() => scene.isUp);
  await scene.end(await scene.add());
});
