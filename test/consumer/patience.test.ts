import { expect, test } from "@jest/globals";
import { Patience } from "../../src/consumer/ending.ts";

const FOR_EVER = new Promise<never>(() => {});
const timers = () => process.getActiveResourcesInfo().filter((name) => name === "Timeout").length;

test("work that ends in time is done, and its timer is gone with it", async () => {
  const before = timers();
  expect(await new Patience().with(Promise.resolve(), 1_000_000)).toBe(true);
  expect(timers()).toBe(before);
});

test("work that takes longer is not waited for", async () => {
  expect(await new Patience().with(FOR_EVER, 1)).toBe(false);
});

test("what is given up is not waited for any more, nor what comes after it", async () => {
  const before = timers();
  const patience = new Patience();
  const waiting = patience.with(FOR_EVER, 1_000_000);
  patience.giveUp();
  expect(await waiting).toBe(false);
  expect(await patience.with(FOR_EVER, 1_000_000)).toBe(false);
  // What is done already is done.
  expect(timers()).toBe(before);
});
