/** What a process that works says of itself. */
import { expect, test } from "@jest/globals";
import { createApplication, createLogger } from "sluice";
import { MemoryBroker, Tasks, type TasksOptions, task } from "sluice/tasks";
import { atEnd, until } from "../server/live-server.ts";

const quick = task("quick", () => "done");
const hog = task("hog", (ms: number) => {
  const endsAt = performance.now() + ms;
  while (performance.now() < endsAt);
});
const open = task("open", async (_: undefined, run) => {
  await new Promise((_resolve, reject) => {
    run.signal.addEventListener("abort", () => reject(run.signal.reason as Error));
  });
});

async function start(options: Partial<TasksOptions> = {}): Promise<Tasks> {
  const tasks = new Tasks({ tasks: [quick, hog, open], broker: new MemoryBroker(), ...options });
  const app = createApplication({ routes: [], parts: [tasks] });
  await app.start();
  atEnd(() => app.stop({ withinMs: 100 }));
  return tasks;
}

test("a task that holds the event loop is named, though it has ended when that is noticed", async () => {
  const tasks = await start({ blockedMs: 100 });
  const told: { tasks: readonly string[]; forMs: number }[] = [];
  tasks.signals.blocking.connect((fact) => void told.push(fact));
  const idle = await open.enqueue();
  await hog.enqueue(300);
  await until(() => told.length > 0, "it is told of");
  expect(told[0]?.tasks).toEqual(expect.arrayContaining(["hog"]));
  expect(told[0]?.forMs).toBeGreaterThanOrEqual(100);
  await idle.cancel();
});

test("a process that has done enough says so once", async () => {
  let tired = 0;
  await start({ maxRuns: 2, blockedMs: 20, onTired: () => void tired++ });
  for (let i = 0; i < 3; i++) await (await quick.enqueue()).result({ timeoutMs: 5_000 });
  await until(() => tired > 0, "it is tired");
  await (await quick.enqueue()).result({ timeoutMs: 5_000 });
  expect(tired).toBe(1);
});

test("one that holds more memory than it was given does so, too", async () => {
  let tired = 0;
  await start({ maxMemoryMb: 1, blockedMs: 20, onTired: () => void tired++ });
  await until(() => tired === 1, "it is tired");
});

test("whoever looks sees workers: what they work on, what runs, how it went", async () => {
  const tasks = await start({ queues: { default: 3, heavy: 1 }, reportMs: 10, version: "1.2.3" });
  await (await quick.enqueue()).result({ timeoutMs: 5_000 });
  const running = await open.enqueue();
  let seen: Awaited<ReturnType<typeof tasks.broker.workers>> = [];
  let isLooking = false;
  await until(() => {
    if (!isLooking) {
      isLooking = true;
      void tasks.broker.workers().then((workers) => {
        seen = workers;
        isLooking = false;
      });
    }
    return seen[0]?.active.includes(running.id);
  }, "it reports what runs");
  expect(seen).toMatchObject([
    { queues: { default: 3, heavy: 1 }, pid: process.pid, version: "1.2.3", done: 1, failed: 0 },
  ]);
  await running.cancel();
});

test("a log has what happened to runs, and neither arguments nor results nor tickets", async () => {
  const lines: string[] = [];
  const logger = createLogger("trace");
  for (const level of ["debug", "info", "warn", "error"] as const) {
    logger[level] = ((...args: unknown[]) => void lines.push(`${level} ${JSON.stringify(args)}`)) as never;
  }
  const secretive = task("secretive", (_secret: string, run) => {
    run.log("half way", { step: 1 });
    return "a result nobody may read";
  });
  const bad = task("bad", () => {
    throw new Error("out of order");
  });
  await start({ tasks: [secretive, bad], logger });
  const handle = await secretive.enqueue("an argument nobody may read");
  const ticket = handle.ticket();
  await handle.result({ timeoutMs: 5_000 });
  await expect((await bad.enqueue()).result({ timeoutMs: 5_000 })).rejects.toThrow("out of order");
  const text = lines.join("\n");
  expect(text).toContain("task succeeded");
  expect(text).toContain("half way");
  expect(text).toContain("task failed");
  for (const secret of ["nobody may read", ticket]) expect(text).not.toContain(secret);
});

test("a start that one part ends closes those that had begun", async () => {
  const told: string[] = [];
  const tasks = new Tasks({ tasks: [quick], broker: new MemoryBroker() });
  tasks.signals.workerDown.connect(() => void told.push("worker down"));
  const part = (name: string, open: () => void) => ({
    open: async () => open(),
    close: async () => void told.push(`${name} closed`),
  });
  const broken = part("broken", () => {
    throw new Error("no");
  });
  const app = createApplication({ routes: [], parts: [tasks, broken, part("last", () => {})] });
  await expect(app.start()).rejects.toThrow("no");
  expect(told.sort()).toEqual(["broken closed", "worker down"]);
  await expect(quick.enqueue()).rejects.toThrow(/belongs to no application that runs/);
  await expect(app.layer.groupSend("g", { type: "a.b" })).rejects.toMatchObject({
    code: "layer_unavailable",
  });
  await app.stop();
});
