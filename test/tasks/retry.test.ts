import { describe, expect, test } from "@jest/globals";
import { DoNotRetry, RetryLater } from "../../src/tasks/errors.ts";
import { backoff, retryAfter, retryDefaults, retryPolicy } from "../../src/tasks/retry.ts";

class Busy extends Error {}
const policy = retryPolicy({ attempts: 3, jitter: 0 }, "test");

describe("how long it waits", () => {
  test("each wait is twice the one before, up to the cap", () => {
    const settings = { ...retryDefaults, minMs: 100, maxMs: 1_000, jitter: 0 };
    expect([1, 2, 3, 4, 5, 60].map((attempt) => backoff(settings, attempt, 0))).toEqual([
      100, 200, 400, 800, 1_000, 1_000,
    ]);
  });

  test("however often it failed, it stays a number", () => {
    expect(backoff({ ...retryDefaults, jitter: 0 }, 100_000, 0)).toBe(retryDefaults.maxMs);
  });

  test("part of it is drawn by lot", () => {
    const settings = { ...retryDefaults, minMs: 1_000, jitter: 0.5 };
    expect(backoff(settings, 1, 0)).toBe(1_000);
    expect(backoff(settings, 1, 1)).toBe(500);
  });
});

describe("whether it tries again", () => {
  test("up to so many attempts", () => {
    expect([1, 2, 3, 4].map((attempt) => retryAfter(policy, new Error("x"), attempt, 0))).toEqual([
      1_000,
      2_000,
      undefined,
      undefined,
    ]);
  });

  test("not after an error that says so", () => {
    expect(retryAfter(policy, new DoNotRetry("never"), 1, 0)).toBeUndefined();
  });

  test("only after errors of the classes that were named, or that a function picks", () => {
    const some = retryPolicy({ on: [Busy] }, "test");
    expect(retryAfter(some, new Busy(), 1, 0)).toBe(1_000);
    expect(retryAfter(some, new Error("x"), 1, 0)).toBeUndefined();
    const picked = retryPolicy({ on: (error) => String(error).includes("503") }, "test");
    expect(retryAfter(picked, "HTTP 503", 1, 0)).toBe(1_000);
    expect(retryAfter(picked, "HTTP 404", 1, 0)).toBeUndefined();
  });

  test("without a policy only when the task asks, and then after the time it says", () => {
    const none = retryPolicy(undefined, "test");
    expect(retryAfter(none, new Error("x"), 1, 0)).toBeUndefined();
    expect(retryAfter(none, new RetryLater(42, "later"), 1, 0)).toBe(42);
    expect(retryAfter(none, new RetryLater(undefined, "later"), 1, 0)).toBe(1_000);
    expect(retryAfter(none, new RetryLater(42, "later"), 5, 0)).toBeUndefined();
  });
});

test("wrong policies are told together", () => {
  const values = () => retryPolicy({ attempts: 0, factor: 0, jitter: 2 }, "task");
  expect(values).toThrow(/attempts must be a whole number of at least 1/);
  expect(values).toThrow(/factor must be a whole number of at least 1/);
  expect(values).toThrow(/jitter must be a number from 0 to 1/);
  const together = () => retryPolicy({ minMs: 10, maxMs: 5, on: "all" as never }, "task");
  expect(together).toThrow(/maxMs \(5\) must be at least minMs \(10\)/);
  expect(together).toThrow(/on must be a list of error classes or a function/);
  expect(() => retryPolicy({ atempts: 3 } as never, "task")).toThrow(/attempts/);
});
