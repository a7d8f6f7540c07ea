/** Tasks as an application uses them, over each form of broker. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import {
  type Application,
  Consumer,
  createApplication,
  type RouteEntry,
  route,
  Signal,
  type TaskBroker,
} from "sluice";
import {
  channel,
  DoNotRetry,
  every,
  MemoryBroker,
  type Step,
  schedule,
  type TaskFact,
  type TaskRun,
  Tasks,
  type TasksOptions,
  task,
  WorkerConsumer,
} from "sluice/tasks";
import { RedisBroker } from "sluice/tasks/redis";
import { TestClient } from "sluice/testing";
import { z } from "zod";
import { hasRedis, RedisServer, redisTest, until } from "../redis/redis-server.ts";

const secret = "a secret of at least thirty-two characters";
const soon = { timeoutMs: 10_000 };

let redis: RedisServer;
let prefixes = 0;
beforeAll(async () => {
  if (hasRedis) redis = await RedisServer.start();
});
afterAll(() => redis?.close());

const apps: Application[] = [];
beforeEach(() => {
  prefixes += 1;
});
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.stop({ withinMs: 200 })));
});

const forms: [string, boolean, () => TaskBroker][] = [
  ["in memory", true, () => new MemoryBroker()],
  ["over Redis", hasRedis, () => new RedisBroker({ url: redis.url, prefix: `tasks-${prefixes}` })],
];

/** Fails twice, then does it. */
const stubborn = task("stubborn", { retry: { attempts: 3, minMs: 1, maxMs: 5 } }, (_: undefined, run) => {
  if (run.attempt < 3) throw new Error(`not yet: ${run.attempt}`);
  return run.attempt;
});
const add = task(
  "add",
  { schema: z.object({ x: z.number(), y: z.number().default(1) }) },
  ({ x, y }) => x + y,
);
const double = task("double", (x: number) => x * 2);
const broken = task("broken", (why: string) => {
  throw new DoNotRetry(why, { code: "no_such_file" });
});
const sum = task("sum", (parts: readonly number[]) => parts.reduce((a, b) => a + b, 0));
const count = task("count", (outcomes: readonly { ok: boolean }[]) => outcomes.filter(({ ok }) => ok).length);

/** Runs until it is told to end. */
const waits: TaskRun[] = [];
const patient = task("patient", async (_: undefined, run) => {
  waits.push(run);
  await new Promise((_resolve, reject) => {
    run.signal.addEventListener("abort", () => reject(run.signal.reason as Error), { once: true });
    if (run.signal.aborted) reject(run.signal.reason as Error);
  });
});
beforeEach(() => {
  waits.length = 0;
});

const all = [stubborn, add, double, broken, sum, count, patient];

describe.each(forms)("%s", (_name, isThere, broker) => {
  const promise = isThere ? test : redisTest;

  async function start(
    options: Partial<TasksOptions> = {},
    routes: readonly RouteEntry[] = [],
  ): Promise<Tasks> {
    const tasks = new Tasks({ tasks: all, broker: broker(), queues: { default: 10 }, ...options });
    const app = createApplication({ routes, parts: [tasks], secret });
    apps.push(app);
    await app.start();
    return tasks;
  }

  promise("a run is enqueued, done in the background, and its result asked for", async () => {
    await start();
    const handle = await add.enqueue({ x: 3, y: 4 });
    expect(await handle.result(soon)).toBe(7);
    expect(await handle.status()).toMatchObject({ task: "add", state: "succeeded", attempt: 1, result: 7 });
    expect(await (await add.delay({ x: 1 })).result(soon)).toBe(2);
    expect(await (await add.applyAsync({ x: 1 }, { delayMs: 5 })).result(soon)).toBe(2);
  });

  promise("what failed is tried again, and says so", async () => {
    const tasks = await start();
    const told: string[] = [];
    tasks.signals.retrying.connect(
      ({ attempt, error }) => void told.push(`${attempt} ${(error as Error).message}`),
    );
    const handle = await stubborn.enqueue();
    expect(await handle.result(soon)).toBe(3);
    expect(told).toEqual(["1 not yet: 1", "2 not yet: 2"]);
  });

  promise("a run that throws what cannot be said in words has failed all the same", async () => {
    const odd = task("odd", { retry: { attempts: 1 } }, (how: string) => {
      throw how === "bare" ? Object.create(null) : Object.assign(new Error("x"), { name: 7 });
    });
    await start({ tasks: [odd] });
    for (const how of ["bare", "named"]) {
      const handle = await odd.enqueue(how);
      await expect(handle.result(soon)).rejects.toMatchObject({ code: "task_failed" });
    }
  });

  promise("who waits for a run that failed is told what went wrong, by code", async () => {
    await start();
    const handle = await broken.enqueue("the file is gone");
    await expect(handle.result(soon)).rejects.toMatchObject({
      name: "TaskFailed",
      code: "no_such_file",
      message: "the file is gone",
      id: handle.id,
    });
    expect(await handle.status()).toMatchObject({
      state: "failed",
      attempt: 1,
      error: { code: "no_such_file" },
    });
  });

  promise("a key merges runs while one of them waits or runs", async () => {
    await start();
    const first = await patient.enqueue(undefined, { key: "the one" });
    const second = await patient.enqueue(undefined, { key: "the one" });
    expect([first.merged, second.merged]).toEqual([false, true]);
    expect(second.id).toBe(first.id);
    const other = await patient.enqueue(undefined, { key: "another" });
    expect(other.merged).toBe(false);
    await until(() => waits.length === 2);
    await first.cancel();
    await expect(first.result(soon)).rejects.toMatchObject({ code: "cancelled" });
    expect((await patient.enqueue(undefined, { key: "the one" })).merged).toBe(false);
  });

  promise("cancelling ends what runs and what waits", async () => {
    await start({ queues: { default: 1 } });
    const running = await patient.enqueue();
    await until(() => waits.length === 1);
    const waiting = await add.enqueue({ x: 1, y: 1 });
    const delayed = await add.enqueue({ x: 1, y: 1 }, { delayMs: 3_600_000 });
    expect(await delayed.cancel()).toBe(true);
    expect(await waiting.cancel()).toBe(true);
    expect(await running.cancel()).toBe(true);
    for (const handle of [running, waiting, delayed]) {
      await expect(handle.result(soon)).rejects.toMatchObject({ code: "cancelled" });
      expect((await handle.status()).state).toBe("cancelled");
      expect(await handle.cancel()).toBe(false);
    }
  });

  promise("what has not begun in time does not run", async () => {
    await start({ queues: { default: 1 } });
    const first = await patient.enqueue();
    await until(() => waits.length === 1);
    const late = await add.enqueue({ x: 1, y: 1 }, { expiresAt: Date.now() + 20 });
    const expiresAt = Date.now() + 20;
    await until(() => Date.now() > expiresAt);
    await first.cancel();
    await expect(late.result(soon)).rejects.toMatchObject({ code: "expired" });
    expect((await late.status()).state).toBe("expired");
  });

  promise("a run that takes too long is told so, and may be tried again", async () => {
    const slow = task(
      "slow",
      { timeLimitMs: 20, retry: { attempts: 2, minMs: 1 } },
      async (_: undefined, { signal, attempt }) => {
        if (attempt === 2) return "quick";
        return new Promise<string>((_resolve, reject) => {
          signal.addEventListener("abort", () => reject(new Error("interrupted")));
        });
      },
    );
    const tasks = await start({ tasks: [slow] });
    const reasons: unknown[] = [];
    tasks.signals.retrying.connect(({ error }) => void reasons.push((error as { code?: string }).code));
    expect(await (await slow.enqueue()).result(soon)).toBe("quick");
    expect(reasons).toEqual(["time_limit"]);
  });

  promise("a chain hands each result on; a failure ends it, and its last step says why", async () => {
    const tasks = await start();
    const handle = await tasks.chain([add.with({ x: 1, y: 2 }), double.step(), double.step()]);
    expect(await handle.result(soon)).toBe(12);
    const failing = await tasks.chain([broken.with("no disk"), double.step(), double.step()]);
    await expect(failing.result(soon)).rejects.toMatchObject({ code: "step_failed" });
    await expect(failing.result(soon)).rejects.toThrow(/no disk/);
  });

  promise("a group's results come in the order of its steps, whichever ends first", async () => {
    const later = task("later", async (ms: number) => {
      await new Promise((resolve) => setTimeout(resolve, ms));
      return ms;
    });
    const tasks = await start({ tasks: [...all, later] });
    const group = await tasks.group([later.with(40), later.with(1), later.with(20)]);
    expect(await group.result(soon)).toEqual([40, 1, 20]);
    const chord = await tasks.chord([later.with(4), later.with(5)], sum.step());
    expect(await chord.result(soon)).toBe(9);
  });

  promise("a group fails with one of its steps, or collects what became of them", async () => {
    const tasks = await start();
    const steps: Step<number | never>[] = [double.with(1), broken.with("no"), double.with(2)];
    await expect((await tasks.group(steps)).result(soon)).rejects.toMatchObject({ code: "step_failed" });
    const collected = await (await tasks.group(steps, { onFailure: "collect" })).result(soon);
    expect(collected).toEqual([
      { ok: true, value: 2 },
      { ok: false, error: { code: "no_such_file", message: "no" } },
      { ok: true, value: 4 },
    ]);
    const counted = await tasks.chord(steps, count.step(), { onFailure: "collect" });
    expect(await counted.result(soon)).toBe(2);
  });

  promise("cancelling a chain ends the step that runs", async () => {
    const tasks = await start();
    const handle = await tasks.chain([patient.with(undefined), double.step() as Step<number>]);
    await until(() => waits.length === 1);
    await handle.cancel();
    await expect(handle.result(soon)).rejects.toMatchObject({ code: "cancelled" });
    expect(waits[0]?.signal.aborted).toBe(true);
  });

  promise("what a rate keeps waiting loses no attempt by it", async () => {
    const attempts: number[] = [];
    const rated = task("rated", { rate: { max: 1, perMs: 30 } }, (_: undefined, run) => {
      attempts.push(run.attempt);
    });
    const tasks = await start({ tasks: [rated, double] });
    const handles = await Promise.all([1, 2, 3].map(() => rated.enqueue()));
    expect(await (await double.enqueue(1)).result(soon)).toBe(2);
    await Promise.all(handles.map((handle) => handle.result(soon)));
    expect(attempts).toEqual([1, 1, 1]);
    expect(tasks.runs).toBe(4);
  });

  promise("a signal enqueues instead of running", async () => {
    const tasks = await start();
    const paid = new Signal<{ amount: number }>("paid");
    const done: TaskFact[] = [];
    tasks.signals.succeeded.connect((fact) => void done.push(fact));
    paid.connect(add.receiver(({ amount }) => ({ x: amount, y: 1 })));
    await paid.send({ amount: 5 });
    await until(() => done.length === 1);
    expect(done[0]?.task).toBe("add");
  });

  promise("a message to a named channel is handled by one worker", async () => {
    const made: string[] = [];
    class Thumbnails extends WorkerConsumer {
      thumbnailMake({ url }: { url: string }) {
        made.push(`${url} ${this.run.attempt}`);
      }
    }
    const options = { tasks: [], channels: [channel("thumbnails", Thumbnails)] };
    class Album extends Consumer {
      override receive(_event: string, url: string) {
        return this.channelSend("thumbnails", { type: "thumbnail.make", url });
      }
    }
    await start(options, [route("/album", Album)]);
    if (broker().isShared) await start(options);
    const client = new TestClient(apps[0] as Application, "/album");
    await client.connect();
    await client.emit("add", "c.png");
    await apps[0]?.layer.send("thumbnails", { type: "thumbnail.make", url: "a.png" });
    await apps.at(-1)?.layer.send("thumbnails", { type: "thumbnail.make", url: "b.png" });
    await until(() => made.length === 3);
    expect(made.sort()).toEqual(["a.png 1", "b.png 1", "c.png 1"]);
    await expect(apps[0]?.layer.send("no-such", { type: "thumbnail.make" })).rejects.toMatchObject({
      code: "invalid_name",
    });
  });

  promise("when the application stops, what runs is told to end and waits for another worker", async () => {
    if (!broker().isShared) return;
    await start();
    const handle = await patient.enqueue();
    await until(() => waits.length === 1);
    await apps.splice(0)[0]?.stop({ withinMs: 400 });
    expect(waits[0]?.signal.reason).toMatchObject({ code: "handed_back" });
    const quick = task("patient", () => {});
    const tasks = await start({ tasks: [quick] });
    await expect(tasks.handle(handle.id).result(soon)).resolves.toBeNull();
    expect((await tasks.handle(handle.id).status()).attempt).toBe(1);
  });

  promise("wrong arguments and options are refused before anything is added", async () => {
    const tasks = await start();
    const codes = async (work: Promise<unknown>) => {
      const error = await work.then(
        () => undefined,
        (reason: unknown) => reason,
      );
      return (error as { code?: string } | undefined)?.code;
    };
    expect(await codes(add.enqueue({ x: "3" } as never))).toBe("invalid_message");
    expect(await codes(double.enqueue(new Date() as never))).toBe("unencodable");
    expect(await codes(double.enqueue("x".repeat(300_000) as never))).toBe("message_too_large");
    expect(await codes(double.enqueue(1, { priority: "asap" as never }))).toBe("invalid_message");
    expect(await codes(double.enqueue(1, { queue: "no queue" }))).toBe("invalid_message");
    expect(await codes(double.enqueue(1, { delayMs: -1 }))).toBe("invalid_message");
    expect(await codes(double.enqueue(1, { delayMs: 1, at: new Date() }))).toBe("invalid_message");
    expect(await codes(double.enqueue(1, { at: new Date("never") }))).toBe("invalid_message");
    expect(await codes(double.enqueue(1, { expiresAt: Date.now() - 1 }))).toBe("invalid_message");
    expect(await codes(double.enqueue(1, { key: "" }))).toBe("invalid_message");
    expect(await codes(double.enqueue(1, { notify: "no group!" }))).toBe("invalid_message");
    expect(await codes(tasks.chain([double.step()]))).toBe("invalid_message");
    expect(await codes(tasks.group([]))).toBe("invalid_message");
    expect(await codes((await double.enqueue(1)).result({ timeoutMs: 0 }))).toBe("invalid_message");
    expect(() => tasks.handle("no id")).toThrow(expect.objectContaining({ code: "invalid_message" }));
    const counts = await tasks.broker.counts("default");
    expect(counts.failed).toBe(0);
    expect((await tasks.broker.list("default", "done", 0, 10)).length).toBeLessThanOrEqual(1);
  });

  promise("a body that another program wrote fails its job, or ends it when it is cancelled", async () => {
    const tasks = await start();
    const job = { task: "double", priority: 3, runAt: 0, keepMs: 60_000 } as const;
    const bodies = ["no JSON", "7", "null", "[]", "{}", '{"v":"1"}', ""];
    const ids = bodies.map((_, i) => `default.strange-${i}`);
    for (const [i, body] of bodies.entries()) {
      await tasks.broker.add({ ...job, id: ids[i] as string, queue: "default", body });
    }
    for (const id of ids) {
      await expect(tasks.handle(id).result(soon)).rejects.toMatchObject({ code: "unreadable" });
    }
    await tasks.broker.pause("default");
    const id = "default.cancelled";
    await tasks.broker.add({ ...job, id, queue: "default", body: "no JSON" });
    expect(await tasks.handle(id).cancel()).toBe(true);
    await tasks.broker.resume("default");
    await expect(tasks.handle(id).result(soon)).rejects.toMatchObject({ code: "cancelled" });
    expect(await (await double.enqueue(4)).result(soon)).toBe(8);
  });

  promise(
    "a body of a version that is not known here waits for a newer worker, and can be cancelled",
    async () => {
      const tasks = await start();
      const id = "default.newer";
      const job = { task: "double", priority: 3, runAt: 0, keepMs: 60_000 } as const;
      await tasks.broker.add({ ...job, id, queue: "default", body: '{"v":2,"args":1}' });
      await until(async () => (await tasks.broker.find(id))?.state === "delayed");
      expect(await tasks.handle(id).status()).toMatchObject({ state: "queued", attempt: 0 });
      await tasks.handle(id).cancel();
      await expect(tasks.handle(id).result(soon)).rejects.toMatchObject({ code: "cancelled" });
    },
  );

  promise("a result that is no JSON is a failure, not a crash", async () => {
    const tasks = await start();
    await tasks.broker.consume("raw", { concurrency: 1 }, async () => ({ kind: "done", result: "no JSON" }));
    const job = { task: "double", priority: 3, runAt: 0, keepMs: 60_000 } as const;
    await tasks.broker.add({ ...job, id: "raw.1", queue: "raw", body: '{"v":1,"args":1}' });
    await expect(tasks.handle("raw.1").result(soon)).rejects.toMatchObject({ code: "unreadable" });
  });

  promise("who waits is told when the time is over, and when the run is not known", async () => {
    const tasks = await start();
    const handle = await patient.enqueue();
    await expect(handle.result({ timeoutMs: 20 })).rejects.toMatchObject({ code: "task_timeout" });
    await expect(tasks.handle("default.nothing").status()).rejects.toMatchObject({ code: "unknown_task" });
    const leaving = new AbortController();
    const waiting = handle.result({ ...soon, signal: leaving.signal });
    leaving.abort(new Error("left"));
    await expect(waiting).rejects.toThrow("left");
    await handle.cancel();
  });
});

describe("wrong set up", () => {
  test("a task of no running application says what to do", async () => {
    await expect(double.enqueue(1)).rejects.toThrow(/belongs to no application that runs/);
  });

  test("a task of two applications of one process asks which", async () => {
    for (const broker of [new MemoryBroker(), new MemoryBroker()]) {
      const app = createApplication({ routes: [], parts: [new Tasks({ tasks: [double], broker })] });
      apps.push(app);
      await app.start();
    }
    await expect(double.enqueue(1)).rejects.toThrow(/several applications/);
  });

  test("all faults are told together", () => {
    const make = () =>
      new Tasks({
        tasks: [double, task("double", () => {})],
        broker: new MemoryBroker(),
        queues: { "a b": 1, other: 0 },
        maxArgsByte: 1,
      } as never);
    expect(make).toThrow(/two tasks are named "double"/);
    expect(make).toThrow(/letters, digits, "-" or "_", not "a b"/);
    expect(make).toThrow(/queues.other must be a whole number from 1/);
    expect(make).toThrow(/maxArgsBytes/);
  });

  test("a task is refused with all that is wrong with it", () => {
    const make = () =>
      task("no name!", { priority: "hgih" as never, queue: "a b", rate: { max: 0, perMs: 1 } }, 7 as never);
    expect(make).toThrow(/dotted words/);
    expect(make).toThrow(/did you mean "high"/);
    expect(make).toThrow(/a queue's name/);
    expect(make).toThrow(/rate must be/);
    expect(make).toThrow(/needs a function/);
    expect(() => task("sluice.mine", () => {})).toThrow(/belongs to the framework/);
    expect(() => task("ok", { timeLimit: 3 } as never, () => {})).toThrow(/timeLimitMs/);
  });
});

describe("what JavaScript says nothing of", () => {
  async function started(options: Partial<TasksOptions> = {}) {
    const tasks = new Tasks({ tasks: [double, add], broker: new MemoryBroker(), ...options });
    const app = createApplication({ routes: [], parts: [tasks] });
    apps.push(app);
    await app.start();
    return tasks;
  }

  test("Tasks without a broker, without tasks, or with one that is not there yet", () => {
    const make = () => new Tasks({ tasks: [double, undefined, {}] } as never);
    expect(make).toThrow(/need a broker: new Tasks\(\{ \.\.\.tasks/);
    expect(make).toThrow(/tasks\[1\] is undefined \(do modules import each other/);
    expect(make).toThrow(/tasks\[2\] is no task/);
    expect(() => new Tasks({ broker: new MemoryBroker() } as never)).toThrow(
      /must be the list of your tasks/,
    );
  });

  test("an option that is none is refused, and not left out", async () => {
    await started();
    await expect(double.enqueue(1, { delay: 60_000 } as never)).rejects.toThrow(
      /"double" has no option "delay".*"delayMs"/,
    );
    await expect(double.enqueue(1, null as never)).rejects.toThrow(/options of a run must be an object/);
    expect(() => task("x", { priority: "toString" as never }, () => {})).toThrow(/priority must be/);
    expect(() => task("x", null as never, () => {})).toThrow(/options of the task "x" must be an object/);
  });

  test("a run that nobody could ever do is refused", async () => {
    const tasks = await started();
    const refused = double.enqueue(1, { queue: "elsewhere" });
    await expect(refused).rejects.toThrow(/nobody works on the queue "elsewhere".*works on default/);
    expect(await tasks.broker.queues()).toEqual(["default"]);
  });

  test("a schedule's own queue is worked on where nobody else could", async () => {
    const { queues } = await started({
      schedules: [schedule("often", every(60_000), double, 1, { queue: "heavy" })],
    });
    expect(queues).toEqual({ default: 10, heavy: 10 });
  });

  test("a message for a channel that nobody takes any for says what to do", async () => {
    await started();
    const sent = apps.at(-1)?.layer.send("thumbnail", { type: "thumbnail.make" });
    await expect(sent).rejects.toThrow(/no worker takes messages for the channel "thumbnail"/);
  });

  test("a schedule whose task does not take its arguments keeps the process from starting", async () => {
    const schedules = [schedule("often", every(60_000), add, { x: "3" } as never)];
    await expect(started({ schedules })).rejects.toThrow(/schedule "often" of "add": .*x: .*expected number/);
  });

  test("a result that is waited for without a time, or for longer than timers can", async () => {
    await started();
    const handle = await double.enqueue(1);
    await expect(handle.result(undefined as never)).rejects.toThrow(/needs a time limit/);
    await expect(handle.result({ timeoutMs: 2 ** 31 })).rejects.toThrow(/up to 2147483647, not 2147483648/);
    expect(await handle.result({ timeoutMs: 2 ** 31 - 1 })).toBe(2);
  });
});

describe("here and now", () => {
  test("a task runs through validation and JSON", async () => {
    expect(await add.run({ x: 3, y: 4 })).toBe(7);
    expect(await add.run({ x: 3 })).toBe(4);
    await expect(add.run({ x: "3" } as never)).rejects.toMatchObject({ code: "invalid_message" });
    const dated = task("dated", () => ({ at: new Date() }));
    await expect(dated.run()).rejects.toMatchObject({ code: "unencodable" });
    await expect(stubborn.run()).rejects.toThrow("not yet: 1");
    expect(await stubborn.run(undefined, { attempt: 3 })).toBe(3);
  });
});
