import { expect, test } from "@jest/globals";
import { WrongKeys } from "../../src/publishing/wrong-keys.ts";

test("only so many addresses are remembered, those who came last", () => {
  const wrong = new WrongKeys(1);
  expect(wrong.count("10.9.9.9")).toBe(0);
  for (let i = 0; i < 50_000; i++) wrong.count(`10.0.${i >> 8}.${i & 255}`);
  expect(wrong.size).toBe(10_000);
  expect(wrong.count("10.0.195.79")).toBeGreaterThan(0);
  expect(wrong.count("10.9.9.9")).toBe(0);
});

test("an address that goes on stays remembered", () => {
  const wrong = new WrongKeys(1);
  wrong.count("10.9.9.9");
  for (let i = 0; i < 20_000; i++) {
    wrong.count(`10.0.${i >> 8}.${i & 255}`);
    if (i % 1_000 === 0) expect(wrong.count("10.9.9.9")).toBeGreaterThan(0);
  }
});
