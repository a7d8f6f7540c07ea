/** Tasks at the dashboard: seen, retried, cancelled, discarded, and never waited for without end. */
import { describe, expect, test } from "@jest/globals";
import { LayerUnavailable, type Message, type TaskBroker } from "sluice";
import type { DashboardOptions } from "sluice/dashboard";
import { crontab, MemoryBroker, schedule, Tasks, task } from "sluice/tasks";
import { RedisBroker } from "sluice/tasks/redis";
import { BacklogWatch } from "../../src/dashboard/backlog.ts";
import type { ShownJob, TaskOverview } from "../../src/dashboard/desk.ts";
import type { ClusterPoint } from "../../src/dashboard/timeline.ts";
import { RedisServer, redisTest } from "../redis/redis-server.ts";
import { atEnd, gate, type Live, until } from "../server/live-server.ts";
import { KEYS } from "../some-keys.ts";
import { eventually, node, Operator } from "./scene.ts";

interface Work {
  readonly live: Live;
  readonly tasks: Tasks;
  readonly operator: Operator;
  /** The latest. */
  overview(): TaskOverview | undefined;
  jobs(state: string, more?: object): Promise<readonly ShownJob[]>;
}

const pay = task("invoice.pay", { retry: { attempts: 1 } }, async ({ card }: { card: string }) => {
  if (card === "") throw new TypeError("this <b>card</b> is empty");
  return { paid: card };
});

async function work({
  broker = new MemoryBroker(),
  more = {},
  extra = [],
  redact,
  app = {},
}: {
  broker?: TaskBroker;
  more?: Partial<DashboardOptions>;
  extra?: readonly ReturnType<typeof task<never, unknown>>[];
  redact?: DashboardOptions["redact"];
  app?: object;
} = {}): Promise<Work> {
  const tasks = new Tasks({
    tasks: [pay, ...extra] as never,
    broker,
    reportMs: 50,
    queues: { default: 2 },
    schedules: [schedule("nightly", crontab("0 3 * * *"), pay, { card: "1" }, { tz: "Europe/Berlin" })],
  });
  const live = await node({ tasks, ...(redact && { redact }), ...more, app: { parts: [tasks], ...app } });
  const operator = await Operator.at(live);
  let last: TaskOverview | undefined;
  operator.socket.on("tasks", (overview: TaskOverview) => {
    last = overview;
  });
  await operator.ask("watch tasks", true);
  return {
    ...{ live, tasks, operator },
    overview: () => last,
    jobs: async (state, query = { queue: "default", from: 0 }) => {
      const answer = await operator.ask("jobs", { ...query, state });
      return (answer as unknown as { jobs: readonly ShownJob[] }).jobs;
    },
  };
}

async function exam(seen: Work): Promise<void> {
  const { tasks, operator, overview, jobs } = seen;
  const failing = await tasks.enqueue(pay, { card: "" });
  const good = await tasks.enqueue(pay, { card: "4111 1111" });
  await good.result({ timeoutMs: 20_000 });
  await failing.result({ timeoutMs: 20_000 }).catch(() => {});
  await tasks.enqueue(pay, { card: "later" }, { delayMs: 3_600_000 });
  const counts = () => overview()?.queues.find(({ queue }) => queue === "default")?.counts;
  await until(() => counts()?.failed === 1 && counts()?.done === 1 && counts()?.delayed === 1, "the counts");

  const [failed] = await jobs("failed");
  expect(failed).toMatchObject({
    id: failing.id,
    task: "invoice.pay",
    attempt: 1,
    args: expect.stringContaining("text of 0"),
  });
  expect(failed?.error).toMatchObject({ name: "TypeError", message: "this <b>card</b> is empty" });
  expect(failed?.error?.stack).toContain("TypeError: this <b>card</b> is empty\n");
  const [done] = await jobs("done");
  expect(JSON.stringify(done)).not.toContain("4111");
  expect(done).toMatchObject({
    args: expect.stringContaining("text of 9"),
    result: expect.stringContaining("text of 9"),
  });

  // Again, and it fails again: two runs of one job.
  expect(await operator.act("retry task", failing.id)).toEqual({});
  await eventually(async () => (await jobs("failed"))[0]?.id === failing.id, "it failed again");
  expect(await operator.act("retry task", good.id)).toMatchObject({ error: { code: "invalid_message" } });
  const [delayed] = await jobs("delayed");
  expect(await operator.act("cancel task", delayed?.id)).toEqual({});
  await until(
    async () => (await jobs("failed")).some(({ error }) => error?.code === "cancelled"),
    "it is cancelled",
  );
  expect(await operator.act("discard task", failing.id)).toEqual({});
  expect((await jobs("failed")).map(({ id }) => id)).not.toContain(failing.id);
  expect(await operator.ask("jobs", { id: failing.id })).toEqual({ jobs: [] });

  expect(await operator.act("pause queue", "default")).toEqual({});
  await until(() => overview()?.queues[0]?.isPaused === true, "it is paused");
  expect(await operator.act("resume queue", "default")).toEqual({});
  await until(() => overview()?.queues[0]?.isPaused === false, "it goes on");

  const [worker] = overview()?.workers ?? [];
  expect(worker).toMatchObject({ pid: process.pid, queues: [["default", 2]] });
  const [nightly] = overview()?.schedules ?? [];
  expect(nightly).toMatchObject({
    id: "nightly",
    task: "invoice.pay",
    timing: "0 3 * * *",
    tz: "Europe/Berlin",
  });
  expect(nightly?.nextAt).toBeGreaterThan(Date.now());
}

describe("Tasks at the dashboard", () => {
  test("in memory: what waits, runs and failed, with what can be done about it", async () => {
    await exam(await work());
  });

  redisTest("in Redis, encrypted: the same", async () => {
    const redis = await RedisServer.start();
    atEnd(() => redis.close());
    const app = { encryptionKeys: KEYS[0], secret: "a secret that all nodes of a test share" };
    await exam(await work({ broker: new RedisBroker({ url: redis.url }), app }));
  });

  test("each action leaves a line of audit", async () => {
    const seen = await work();
    const audits: string[] = [];
    seen.live.app.signals.audited.connect(
      ({ action, target, outcome }) => void audits.push(`${action} ${target} ${outcome}`),
    );
    await seen.operator.act("pause queue", "default");
    await seen.operator.act("cancel task", "default.nothing");
    expect(await seen.operator.act("pause queue", "nowhere")).toMatchObject({
      error: { code: "invalid_message", message: 'there is no queue "nowhere"' },
    });
    expect(audits).toEqual([
      "pause queue default done",
      "cancel task default.nothing failed",
      "pause queue nowhere failed",
    ]);
  });

  test("what runs is shown with its progress, and can be cancelled", async () => {
    const begun = gate();
    const slow = task("slow", { retry: { attempts: 1 } }, async (_: undefined, run) => {
      run.progress(3, 10, "reading");
      begun.open();
      await new Promise((_resolve, reject) =>
        run.signal.addEventListener("abort", () => reject(run.signal.reason)),
      );
    });
    const seen = await work({ extra: [slow as never] });
    const { id } = await seen.tasks.enqueue(slow as never, undefined as never);
    await begun.passed;
    const [running] = await seen.jobs("active");
    expect(running).toMatchObject({ id, progress: { done: 3, total: 10, note: "reading" } });
    expect(await seen.operator.act("discard task", id)).toMatchObject({
      error: { message: expect.stringContaining("runs") },
    });
    await seen.operator.act("cancel task", id);
    await eventually(async () => (await seen.jobs("failed")).some((job) => job.id === id), "it ended");
  });

  test("an application may show more of the arguments, and not even then can it break the page", async () => {
    const redact = (value: unknown, { of }: { of: string }) => {
      if (of === "result") throw new Error("not this");
      return value;
    };
    const seen = await work({ redact });
    const run = await seen.tasks.enqueue(pay, { card: "4111" });
    await run.result({ timeoutMs: 20_000 });
    expect(await seen.jobs("done")).toEqual([
      expect.objectContaining({ args: expect.stringContaining("4111"), result: "cannot be shown" }),
    ]);
  });

  test("a broker that does not answer is said not to, is not asked again meanwhile, and holds nobody up", async () => {
    let isHung = false;
    let asked = 0;
    class Hung extends MemoryBroker {
      override async queues() {
        if (!isHung) return super.queues();
        asked += 1;
        return new Promise<never>(() => {});
      }
      override async list(...args: Parameters<MemoryBroker["list"]>) {
        return isHung ? new Promise<never>(() => {}) : super.list(...args);
      }
    }
    const seen = await work({ broker: new Hung(), more: { brokerTimeoutMs: 200 } });
    await until(() => seen.overview()?.at, "it answered once");
    isHung = true;
    await until(() => seen.overview()?.trouble, "trouble");
    expect(seen.overview()?.workers).toHaveLength(1);
    const listing = seen.operator.ask("jobs", { queue: "default", state: "waiting", from: 0 });
    // The page goes on meanwhile.
    expect(await seen.operator.act("disconnect user", "x")).toEqual({});
    expect(await listing).toMatchObject({ error: { code: "layer_unavailable" } });
    expect(asked).toBe(1);
  });

  test("what waited before anybody looked is in the charts", async () => {
    const { live, operator, tasks } = await work({ more: { historyMs: 60_000 } });
    await operator.act("pause queue", "default");
    await tasks.enqueue(pay, { card: "1" });
    await tasks.enqueue(pay, { card: "later" }, { delayMs: 3_600_000 });
    const isThere = ({ backlog }: ClusterPoint) => backlog?.waiting === 1 && backlog.delayed === 1;
    await operator.sees(({ point }) => isThere(point), "it is in the latest point");
    operator.socket.disconnect();
    // Another one, who has not asked for tasks.
    const late = await Operator.at(live, operator.cookie);
    expect(late.points.filter(isThere).length).toBeGreaterThan(0);
    expect(late.points.at(-1)?.at).toBeLessThanOrEqual(late.cluster.point.at);
  });

  test("nodes that share a broker ask it for that in turn, and one whose broker is its own heeds no other", async () => {
    let now = 0;
    const counts = { waiting: 2, delayed: 1, blocked: 9, active: 3, done: 9, failed: 9 };
    const answer = { queues: [{ queue: "a", isPaused: false, counts }], workers: [], schedules: [], at: 0 };
    function place(isShared: boolean) {
      const scene = { asked: 0, said: [] as Message[], trouble: undefined as string | undefined };
      const look = async () => {
        scene.asked += 1;
        const { trouble } = scene;
        return { ...answer, isShared, ...(trouble === undefined ? {} : { trouble }) };
      };
      const say = (message: Message) => void scene.said.push(message);
      return Object.assign(scene, { watch: new BacklogWatch({ look }, 1_000, say, () => now) });
    }
    const [first, second, own] = [place(true), place(true), place(false)];
    const all = [first, second, own];
    const round = async () => {
      for (const { watch } of all) {
        watch.look();
        await new Promise(setImmediate);
        for (const { said } of all)
          for (const message of said.splice(0)) for (const { watch } of all) watch.hear(message);
      }
    };
    for (const { watch } of all) expect(watch.current).toBeUndefined();
    await round();
    const backlog = { waiting: 2, delayed: 1, running: 3 };
    expect(all.map(({ watch }) => watch.current)).toEqual([backlog, backlog, backlog]);
    for (; now < 10_000; now += 1_000) await round();
    // The second one once: it did not know that the broker is shared.
    expect(all.map(({ asked }) => asked)).toEqual([10, 1, 10]);
    own.watch.hear({ type: "dashboard.backlog", waiting: 99, delayed: 99, running: 99 });
    first.watch.hear({ type: "dashboard.backlog", waiting: -1, delayed: "9", running: {} });
    expect(own.watch.current).toEqual(backlog);
    expect(first.watch.current).toEqual({ waiting: 0, delayed: 0, running: 0 });
    for (const scene of all) scene.trouble = "it does not answer";
    for (const end = now + 5_000; now < end; now += 1_000) await round();
    expect(all.map(({ watch }) => watch.current)).toEqual([undefined, undefined, undefined]);
  });

  test("what a page is told first is of now, not of when the charts were drawn", async () => {
    const tasks = new Tasks({ tasks: [pay as never], broker: new MemoryBroker(), queues: { default: 2 } });
    const operator = await Operator.at(await node({ tasks, app: { parts: [tasks] } }));
    await tasks.enqueue(pay, { card: "later" }, { delayMs: 3_600_000 });
    await operator.sees(({ point }) => point.backlog?.delayed === 1, "the charts have it");
    await tasks.enqueue(pay, { card: "later" }, { delayMs: 3_600_000 });
    const told = async () => {
      const next = new Promise<TaskOverview>((resolve) => operator.socket.once("tasks", resolve));
      await operator.ask("watch tasks", true);
      return (await next).queues[0];
    };
    expect((await told())?.counts.delayed).toBe(2);
    // And what somebody has done is seen at once.
    await operator.ask("watch tasks", false);
    expect(await operator.act("pause queue", "default")).toEqual({});
    expect((await told())?.isPaused).toBe(true);
  });

  test("a broker that refuses is quoted", async () => {
    class Down extends MemoryBroker {
      override async counts(): Promise<never> {
        throw new LayerUnavailable("Redis cannot be reached");
      }
    }
    const seen = await work({ broker: new Down() });
    await seen.tasks.enqueue(pay, { card: "1" });
    await until(() => seen.overview()?.trouble === "Redis cannot be reached", "its words");
  });

  test.each([
    [{ queue: "default", state: "constructor" }],
    [{ queue: "../x", state: "failed" }],
    [{ queue: {}, state: "failed" }],
    [{ id: { toString: "x" } }],
    [{ id: "x".repeat(9_000) }],
    [null],
  ])("a question that is none is refused (%#)", async (question) => {
    const { operator } = await work();
    expect(await operator.ask("jobs", question)).toMatchObject({ error: { code: "invalid_message" } });
  });

  test("a page begins where it is told to, within bounds", async () => {
    const seen = await work();
    await seen.operator.act("pause queue", "default");
    for (let n = 0; n < 30; n += 1) await seen.tasks.enqueue(pay, { card: String(n) });
    expect(await seen.jobs("waiting")).toHaveLength(25);
    expect(await seen.jobs("waiting", { queue: "default", from: 25 })).toHaveLength(5);
    expect(await seen.jobs("waiting", { queue: "default", from: -1e300 })).toHaveLength(25);
    expect(await seen.jobs("waiting", { queue: "default", from: Number.NaN })).toHaveLength(25);
    expect(await seen.jobs("waiting", { queue: "default", from: 1e300 })).toHaveLength(0);
  });
});
