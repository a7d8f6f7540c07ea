import { expect, test } from "@jest/globals";
import { AddressBuckets } from "../src/address-buckets.ts";

test("only so many addresses are remembered, those who came last", () => {
  const buckets = new AddressBuckets(1 / 60, 1);
  expect(buckets.take("10.9.9.9")).toBe(0);
  for (let i = 0; i < 50_000; i++) buckets.take(`10.0.${i >> 8}.${i & 255}`);
  expect(buckets.size).toBe(10_000);
  expect(buckets.take("10.0.195.79")).toBeGreaterThan(0);
  expect(buckets.take("10.9.9.9")).toBe(0);
});

test("an address that goes on stays remembered", () => {
  const buckets = new AddressBuckets(1 / 60, 1);
  buckets.take("10.9.9.9");
  for (let i = 0; i < 20_000; i++) {
    buckets.take(`10.0.${i >> 8}.${i & 255}`);
    if (i % 1_000 === 0) expect(buckets.take("10.9.9.9")).toBeGreaterThan(0);
  }
});
