import { afterEach, describe, expect, jest, test } from "@jest/globals";
import type { JobOutcome, NewJob } from "sluice";
import { type BrokerCluster, brokerExam } from "sluice/testing";
import type { Clock } from "../../src/tasks/clock.ts";
import { MemoryBroker, type MemoryBrokerOptions } from "../../src/tasks/memory-broker.ts";
import { until } from "../redis/redis-server.ts";
import { job as someJob } from "./some-job.ts";

// Much of it is work for the processor, which others may want, too.
jest.setTimeout(60_000);

function cluster(): BrokerCluster {
  return { broker: () => new MemoryBroker(), async close() {} };
}

describe("the memory broker", () => {
  for (const { name, run } of brokerExam(cluster, false)) test(name, run);
});

/** Time that is moved by hand. */
class HandClock implements Clock {
  #now = 1_000_000;
  readonly #timers = new Set<{ readonly at: number; readonly run: () => void }>();

  now(): number {
    return this.#now;
  }

  setTimeout(run: () => void, ms: number): object {
    const timer = { at: this.#now + ms, run };
    this.#timers.add(timer);
    return timer;
  }

  clearTimeout(timer: object): void {
    this.#timers.delete(timer as never);
  }

  get timers(): number {
    return this.#timers.size;
  }

  move(ms: number): void {
    this.#now += ms;
    for (const timer of this.#timers) {
      if (timer.at > this.#now) continue;
      this.#timers.delete(timer);
      timer.run();
    }
  }
}

const brokers: MemoryBroker[] = [];
afterEach(async () => {
  await Promise.all(brokers.splice(0).map((broker) => broker.close(0)));
});

async function open(options: MemoryBrokerOptions = {}): Promise<MemoryBroker> {
  const broker = new MemoryBroker(options);
  brokers.push(broker);
  await broker.open({ down() {}, up() {}, failed() {}, stalled() {} });
  return broker;
}

const job = (more: Partial<NewJob> = {}) => someJob({ keepMs: 1_000, ...more });

const done: JobOutcome = { kind: "done", result: "1" };

test("delays, retries and what is kept go by the clock that was given, with one timer", async () => {
  const clock = new HandClock();
  const broker = await open({ clock });
  const outcomes: JobOutcome[] = [{ kind: "retry", afterMs: 60_000, error: "1" }, done];
  let runs = 0;
  await broker.consume("q", { concurrency: 1 }, async () => outcomes[runs++] ?? done);
  const { id } = await broker.add(job({ runAt: clock.now() + 5_000 }));
  await broker.add(job({ id: "q.far", runAt: clock.now() + 40 * 86_400_000 }));
  expect(clock.timers).toBe(1);
  clock.move(4_999);
  expect((await broker.find(id))?.state).toBe("delayed");
  clock.move(1);
  await until(
    async () => (await broker.find(id))?.attempt === 1 && (await broker.find(id))?.state === "delayed",
  );
  expect((await broker.find(id))?.runAt).toBe(clock.now() + 60_000);
  clock.move(59_999);
  expect((await broker.find(id))?.state).toBe("delayed");
  clock.move(1);
  await until(async () => (await broker.find(id))?.state === "done");
  clock.move(999);
  expect(await broker.find(id)).toMatchObject({ attempt: 2, result: "1" });
  clock.move(1);
  expect(await broker.find(id)).toBeUndefined();
  // Farther away than a timer reaches.
  expect((await broker.find("q.far"))?.state).toBe("delayed");
  clock.move(25 * 86_400_000);
  expect((await broker.find("q.far"))?.state).toBe("delayed");
  clock.move(16 * 86_400_000);
  await until(async () => (await broker.counts("q")).done === 1);
});

test("rates and reports of workers go by that clock, too", async () => {
  const clock = new HandClock();
  const broker = await open({ clock });
  const waits = [];
  for (let i = 0; i < 4; i++) waits.push(await broker.reserve("mail", 2, 1_000));
  expect(waits).toEqual([0, 0, 500, 1_000]);
  clock.move(1_500);
  expect(await broker.reserve("mail", 2, 1_000)).toBe(0);
  const report = { worker: "w", host: "h", pid: 1, version: "1", startedAt: 0, queues: {}, active: [] };
  await broker.report({ ...report, done: 0, failed: 0, retried: 0, memoryBytes: 0 });
  clock.move(60_000);
  expect((await broker.workers())[0]?.ageMs).toBe(60_000);
  clock.move(1);
  expect(await broker.workers()).toEqual([]);
});

test("no more jobs wait than there is room for, and one that ends makes room", async () => {
  const broker = await open({ maxJobs: 3 });
  const { id } = await broker.add(job());
  await broker.add(job({ runAt: Date.now() + 60_000 }));
  await expect(broker.add(job({ children: [job()] }))).rejects.toMatchObject({ code: "channel_full" });
  await broker.add(job({ queue: "other", id: "other.1" }));
  await expect(broker.add(job())).rejects.toThrow(/3 jobs wait or run \(tasks\.maxJobs\)/);
  await broker.consume("q", { concurrency: 1 }, async () => done);
  await until(async () => (await broker.find(id))?.state === "done");
  await broker.add(job());
});

test("jobs fill no more than so many bytes: what has ended makes room, what waits does not", async () => {
  const broker = await open({ maxBytes: 10_000 });
  const body = JSON.stringify("x".repeat(4_400));
  const consumption = await broker.consume("q", { concurrency: 1 }, async (delivery) => {
    await delivery.setProgress(JSON.stringify("p".repeat(1_000)));
    return { kind: "done", result: JSON.stringify("r".repeat(1_000)) };
  });
  const { id: first } = await broker.add(job({ body }));
  await until(async () => (await broker.find(first))?.state === "done");
  await consumption.stop();
  const { id: second } = await broker.add(job({ body }));
  // Its progress and its result count, or there were room for both.
  expect(await broker.find(first)).toBeUndefined();
  await broker.add(job({ body }));
  await expect(broker.add(job({ body }))).rejects.toMatchObject({
    code: "channel_full",
    message: expect.stringContaining("tasks.maxBytes"),
  });
  await expect(broker.add(job({ children: [job({ body })] }))).rejects.toThrow(/10000 bytes/);
  await broker.remove(second);
  await broker.add(job({ body }));
});

test("of those that have ended, those that ended first are forgotten when there are too many", async () => {
  const broker = await open({ maxEndedJobs: 2 });
  await broker.consume("q", { concurrency: 1 }, async () => done);
  const ids: string[] = [];
  for (const keepMs of [90_000, 60_000, 80_000, 70_000]) {
    const { id } = await broker.add(job({ keepMs }));
    await until(async () => (await broker.find(id))?.state === "done");
    ids.push(id);
  }
  const found = await Promise.all(ids.map((id) => broker.find(id)));
  expect(found.map((record) => record?.state)).toEqual([undefined, undefined, "done", "done"]);
});

test("a hundred thousand jobs wait in order, and any of them can be taken out", async () => {
  const broker = await open({ maxEndedJobs: 10 });
  const jobs = Array.from({ length: 100_000 }, (_, i) =>
    job({ body: `${i}`, priority: i % 2 === 0 ? 2 : 4 }),
  );
  await broker.addAll(jobs);
  await expect(broker.add(job())).rejects.toMatchObject({ code: "channel_full" });
  for (let i = 0; i < 100_000; i += 3) await broker.remove(jobs[i]?.id ?? "");
  const ran: number[] = [];
  await broker.consume("q", { concurrency: 100 }, async ({ body }) => {
    ran.push(Number(body));
    return done;
  });
  const expected = jobs.map(({ body }) => Number(body)).filter((i) => i % 3 !== 0);
  await until(() => ran.length === expected.length);
  expect(ran).toEqual([...expected.filter((i) => i % 2 === 0), ...expected.filter((i) => i % 2 === 1)]);
});

test("wrong options are refused, all at once", () => {
  const options = { maxJobs: 0, maxEndedJob: 5 } as MemoryBrokerOptions;
  expect(() => new MemoryBroker(options)).toThrow(/tasks\.maxJobs must be.*\n.*did you mean "maxEndedJobs"/);
});

test("a broker that was not opened refuses", async () => {
  const broker = new MemoryBroker();
  await expect(broker.add(job())).rejects.toMatchObject({ code: "layer_unavailable" });
  await expect(broker.consume("q", { concurrency: 1 }, async () => done)).rejects.toThrow(/not open/);
});
