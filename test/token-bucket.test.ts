import { expect, test } from "@jest/globals";
import { TokenBucket } from "../src/token-bucket.ts";

test("a token bucket lets a burst through, then so many a second", () => {
  let now = 0;
  const bucket = new TokenBucket(10, 3, () => now);
  const takes = (n: number) => Array.from({ length: n }, () => bucket.take());
  expect(takes(5)).toEqual([true, true, true, false, false]);
  expect(bucket.refusals).toBe(2);
  now = 99;
  expect(bucket.take()).toBe(false);
  now = 100;
  expect(takes(2)).toEqual([true, false]);
  expect(bucket.refusals).toBeCloseTo(3);
  now = 5_000;
  expect(bucket.isFull).toBe(true);
  expect(bucket.refusals).toBe(0);
  expect(takes(4)).toEqual([true, true, true, false]);
  now = 10_000;
  expect(bucket.isFull).toBe(true);
  expect(takes(4)).toEqual([true, true, true, false]);
});

test("several are taken together or not at all, and it says how long to wait for them", () => {
  let now = 0;
  const bucket = new TokenBucket(10, 20, () => now);
  expect(bucket.waitMs(20)).toBe(0);
  expect(bucket.take(15)).toBe(true);
  expect(bucket.take(6)).toBe(false);
  expect(bucket.take(5)).toBe(true);
  expect(bucket.waitMs()).toBe(100);
  expect(bucket.waitMs(7)).toBe(700);
  now = 700;
  expect(bucket.waitMs(7)).toBe(0);
  expect(bucket.take(7)).toBe(true);
});
