import { describe, expect, test } from "@jest/globals";
import { ManualClock } from "sluice";
import { createTaskFacts } from "../../src/tasks/facts.ts";
import { MemoryBroker } from "../../src/tasks/memory-broker.ts";
import { crontab, every, nextTimes, schedule } from "../../src/tasks/schedule.ts";
import { Scheduler } from "../../src/tasks/scheduler.ts";
import { task } from "../../src/tasks/task.ts";
import { job } from "./some-job.ts";

const work = task("work", () => {});
const times = (expression: string, tz: string, from: string, count: number) =>
  nextTimes(schedule("s", crontab(expression), work, undefined, { tz }), Date.parse(from), count).map((at) =>
    new Date(at).toISOString().slice(0, 16),
  );

describe("clocks put forward: in Berlin 02:00 is 03:00 on 2026-03-29", () => {
  test("a moment in the hour that is left out comes an hour later by the wall, once", () => {
    expect(times("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", 3)).toEqual([
      "2026-03-29T01:30", // 03:30 summer time
      "2026-03-30T00:30",
      "2026-03-31T00:30",
    ]);
  });

  test("what is due every hour is due every hour", () => {
    expect(times("0 * * * *", "Europe/Berlin", "2026-03-28T23:30Z", 3)).toEqual([
      "2026-03-29T00:00",
      "2026-03-29T01:00",
      "2026-03-29T02:00",
    ]);
  });
});

describe("clocks put back: in Berlin 03:00 is 02:00 on 2026-10-25", () => {
  test("a fixed moment in the hour that comes twice comes once", () => {
    expect(times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", 2)).toEqual([
      "2026-10-25T00:30", // 02:30 summer time
      "2026-10-26T01:30",
    ]);
  });

  test("what is due every half hour is due in both", () => {
    expect(times("*/30 * * * *", "Europe/Berlin", "2026-10-24T23:50Z", 5)).toEqual([
      "2026-10-25T00:00",
      "2026-10-25T00:30",
      "2026-10-25T01:00",
      "2026-10-25T01:30",
      "2026-10-25T02:00",
    ]);
  });
});

test("times far from Greenwich, and those with half hours", () => {
  expect(times("0 9 * * mon", "Asia/Kolkata", "2026-11-21T00:00Z", 1)).toEqual(["2026-11-23T03:30"]);
  expect(times("0 0 1 1 *", "Pacific/Kiritimati", "2026-11-21T00:00Z", 1)).toEqual(["2026-12-31T10:00"]);
});

test("every moment after another is later, and before() finds it again", () => {
  for (const timing of [crontab("*/7 3-5 * * *"), crontab("0 0 29 2 *"), crontab("@weekly"), every(90_000)]) {
    let at = Date.parse("2026-03-28T20:00Z");
    for (let i = 0; i < 20; i++) {
      const next = timing.after(at, "Europe/Berlin");
      expect(next).toBeGreaterThan(at);
      expect(timing.before(next, "Europe/Berlin")).toBe(next);
      expect(timing.before(next + 999, "Europe/Berlin")).toBe(next);
      at = next;
    }
  }
});

test.each([
  ["61 * * * *", /0-59/],
  ["* * * *", /4 fields/],
  ["", /fields/],
  ["a b c d e", /./],
  ["0 0 30 2 *", /./],
  ["@sometimes", /./],
])("the crontab %j is refused when it is declared", (expression, why) => {
  const declare = () => schedule("s", crontab(expression), work, undefined);
  expect(declare).toThrow(expect.objectContaining({ code: "configuration" }));
  expect(declare).toThrow(why);
});

test("all that is wrong with a schedule is told together", () => {
  const declare = () =>
    schedule("night report", every(3), work, undefined, {
      tz: "Europe/Berlim",
      missed: "all" as never,
      overlap: "no" as never,
      queue: "a b",
      priority: "toString" as never,
      notify: "",
      timezone: "UTC",
    } as never);
  expect(declare).toThrow(/id is 1 to 30 letters/);
  expect(declare).toThrow(/"Europe\/Berlim" is no time zone/);
  expect(declare).toThrow(/missed must be/);
  expect(declare).toThrow(/overlap must be/);
  expect(declare).toThrow(/queue's name is .* not "a b"/);
  expect(declare).toThrow(/priority must be/);
  expect(declare).toThrow(/notify must be/);
  expect(declare).toThrow(/no option "timezone"/);
  expect(() => schedule("s", every(3), work, undefined)).toThrow(/from 100 to a year, not 3/);
});

test("a moment further away than Node's timers reach is waited for in pieces, and kept", async () => {
  const DAY_MS = 86_400_000;
  const waits: number[] = [];
  class AskedClock extends ManualClock {
    override setTimeout(run: () => void, ms: number) {
      waits.push(ms);
      return super.setTimeout(run, ms);
    }
  }
  const clock = new AskedClock(0);
  const [broker, facts] = [new MemoryBroker(), createTaskFacts()];
  await broker.open({ down() {}, up() {}, failed() {}, stalled() {} });
  const kept = new Promise((resolve) => facts.queued.connect(({ id }) => resolve(id)));
  const schedules = [schedule("rare", every(60 * DAY_MS), work, undefined)];
  const scheduler = new Scheduler({ broker, clock, facts, schedules, jobOf: async () => job() });
  await scheduler.start();
  while (clock.step(60 * DAY_MS));
  expect(await kept).toBe(`q.rare-${60 * DAY_MS}`);
  scheduler.stop();
  // More would end at once, and again and again.
  expect(Math.max(...waits)).toBeLessThanOrEqual(2 ** 31 - 1);
});

test.each([
  [90_000, "every 90 s"],
  [300_000, "every 5 min"],
  [7_200_000, "every 2 h"],
  [86_400_000, "every 1 d"],
  [1_500, "every 1500 ms"],
])("every %i ms is told as people say it", (ms, words) => {
  expect(every(ms).text).toBe(words);
});
