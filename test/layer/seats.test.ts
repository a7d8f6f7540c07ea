import { expect, jest, test } from "@jest/globals";
import { MemoryLimits, MemoryLimitsHub } from "../../src/layer/memory-limits.ts";
import { type Seat, Seats } from "../../src/layer/seats.ts";

async function nodes(...names: string[]) {
  const hub = new MemoryLimitsHub();
  const store = new MemoryLimits(hub);
  await store.open();
  return { hub, seats: names.map((name) => new Seats(name, store)) as [Seats, Seats] };
}

test("a node that ends gives its seats back; one that was killed does not", async () => {
  const { seats } = await nodes("one", "two");
  const [one, two] = seats;
  await one.take("room", 1);
  expect(await two.take("room", 1)).toBeUndefined();
  await one.close();
  expect(await two.take("room", 1)).toBeDefined();
  two.abandon();
  await two.close();
  expect(await one.take("room", 1)).toBeUndefined();
});

test("a seat that was given back is free on all nodes, and nothing is left of it", async () => {
  const { seats, hub } = await nodes("one", "two");
  const [one, two] = seats;
  const seat = (await one.take("room", 2)) as Seat;
  await two.take("room", 2);
  expect(await two.take("room", 2)).toBeUndefined();
  seat.leave();
  await one.close();
  expect(one.size).toBe(0);
  expect(hub.sit("room", "other", 2, 1_000)).toBe(true);
  expect(hub.sit("room", "another", 2, 1_000)).toBe(false);
});

test("what is given back at the end is not renewed by a renewal that had begun before", async () => {
  jest.useFakeTimers();
  try {
    const store = new MemoryLimits(new MemoryLimitsHub());
    await store.open();
    const held = new Set<string>();
    let letGo = () => {};
    const begun = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    store.sit = async (_room, name, seats) => {
      if (seats === Number.MAX_SAFE_INTEGER) await begun;
      held.add(name);
      return true;
    };
    store.leave = async (_room, name) => void held.delete(name);
    const one = new Seats("one", store);
    // More than are renewed at once.
    for (let i = 0; i < 150; i++) await one.take("room", 1_000);
    await jest.advanceTimersByTimeAsync(20_000);
    await one.close();
    expect(held.size).toBe(0);
    letGo();
    await jest.advanceTimersByTimeAsync(1_000);
    // Those whose renewal was on its way already end by themselves.
    expect([...held].some((name) => Number(name.split(".")[1]) > 100)).toBe(false);
  } finally {
    jest.useRealTimers();
  }
});
