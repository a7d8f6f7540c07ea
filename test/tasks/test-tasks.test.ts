import { afterEach, expect, test } from "@jest/globals";
import { type Application, createApplication, ManualClock } from "sluice";
import { crontab, every, schedule, Tasks, type TestTasks, task, testTasks } from "sluice/tasks";

let kit: TestTasks;
afterEach(() => kit.stop());

const ran: string[] = [];
afterEach(() => {
  ran.length = 0;
});
const note = task("note", (text: string) => void ran.push(text));
const flaky = task("flaky", { retry: { attempts: 3, minMs: 60_000, jitter: 0 } }, (_: undefined, run) => {
  if (run.attempt < 3) throw new Error("not yet");
});
const spreading = task("spreading", async () => {
  await note.enqueue("child");
});

test("nothing runs before the test says so; what runs may enqueue more", async () => {
  kit = await testTasks({ tasks: [note, spreading] });
  await spreading.enqueue();
  await note.enqueue("later", { delayMs: 1_000 });
  expect(ran).toEqual([]);
  expect(await kit.enqueued()).toMatchObject([
    { task: "spreading", delayMs: 0 },
    { task: "note", args: "later", delayMs: 1_000 },
  ]);
  expect((await kit.drain()).map(({ state }) => state)).toEqual(["succeeded", "queued", "succeeded"]);
  expect(ran).toEqual(["child"]);
  await kit.advance(999);
  expect(ran).toEqual(["child"]);
  await kit.advance(1);
  expect(ran).toEqual(["child", "later"]);
});

test("retries come after their time, without anybody waiting", async () => {
  kit = await testTasks({ tasks: [flaky] });
  await flaky.enqueue();
  expect(await kit.drain()).toMatchObject([{ state: "retrying", attempt: 1 }]);
  expect(await kit.advance(60_000)).toMatchObject([{ state: "retrying", attempt: 2 }]);
  expect(await kit.advance(119_999)).toMatchObject([{ state: "retrying", attempt: 2 }]);
  expect(await kit.advance(1)).toMatchObject([{ state: "succeeded", attempt: 3 }]);
});

test("schedules fire at their moments, each once, over a change of clocks", async () => {
  kit = await testTasks({
    tasks: [note],
    schedules: [
      schedule("daily", crontab("30 2 * * *"), note, "night", { tz: "Europe/Berlin" }),
      schedule("often", every(6 * 3_600_000), note, "six"),
    ],
    now: new Date("2026-03-28T12:30Z"),
  });
  await kit.advance(24 * 3_600_000);
  expect(ran).toEqual(["six", "six", "night", "six", "six"]);
});

test("a schedule that is not declared here may be a newer worker's: it is forgotten a week later", async () => {
  kit = await testTasks({ tasks: [note], schedules: [schedule("often", every(60_000), note, "x")], now: 0 });
  await kit.advance(60_000);
  const { broker } = kit.tasks;
  const apps: Application[] = [];
  const start = async (now: number) => {
    const clock = new ManualClock(now);
    const old = new Tasks({ tasks: [note], broker, queues: { default: 1 }, clock });
    const app = createApplication({ routes: [], parts: [old] });
    apps.push(app);
    await app.start();
    return [...(await broker.ticks()).keys()];
  };
  expect(await start(120_000)).toEqual(["often"]);
  expect(await start(60_000 + 604_800_001)).toEqual([]);
  await Promise.all(apps.map((app) => app.stop()));
});

test("a run of the moment before that has not ended keeps the next away, unless that is allowed", async () => {
  const stuck = task("stuck", async (text: string) => {
    ran.push(text);
    // Not before the end of the test, by the test's own clock.
    throw new Error("again");
  });
  const slow = task("slow", { retry: { attempts: 2, minMs: 90_000, jitter: 0 } }, stuck.work as never);
  const stacked = task("stacked", { retry: { attempts: 2, minMs: 90_000, jitter: 0 } }, stuck.work as never);
  kit = await testTasks({
    tasks: [slow, stacked],
    schedules: [
      schedule("slow", every(60_000), slow, "slow" as never),
      schedule("stacked", every(60_000), stacked, "stacked" as never, { overlap: "allow" }),
    ],
    now: 0,
  });
  await kit.advance(180_000);
  // Begun at 60 s, tried again at 150 s; the one of 120 s was left out.
  expect(ran.filter((text) => text === "slow")).toHaveLength(3);
  // Of each minute, and the retries of the first at 150 s.
  expect(ran.filter((text) => text === "stacked")).toHaveLength(4);
});

test("a time limit is of the test's clock as well", async () => {
  const endless = task("endless", { timeLimitMs: 5_000 }, (_: undefined, { signal }) => {
    ran.push("begun");
    return new Promise((_resolve, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason as Error));
    });
  });
  kit = await testTasks({ tasks: [endless] });
  await endless.enqueue();
  // It runs until its time is over, which it only is when the clock says so.
  const statuses = kit.advance(5_000);
  expect(await statuses).toMatchObject([{ state: "failed", error: { code: "time_limit" } }]);
});

test("a rate spreads the starts of its task evenly, and of no other", async () => {
  const starts: number[] = [];
  const rated = task("rated", { rate: { max: 3, perMs: 60_000 } }, () => void starts.push(kit.now));
  kit = await testTasks({ tasks: [rated, note], now: 0 });
  for (let i = 0; i < 5; i++) await rated.enqueue();
  await note.enqueue("at once");
  await kit.drain();
  expect(ran).toEqual(["at once"]);
  await kit.advance(100_000);
  expect(starts.map((at) => at - (starts[0] as number))).toEqual([0, 0, 0, 20_000, 40_000]);
});
