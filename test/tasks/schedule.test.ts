import { describe, expect, test } from "@jest/globals";
import { crontab, every, nextTimes, schedule } from "../../src/tasks/schedule.ts";
import { task } from "../../src/tasks/task.ts";

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
