import { describe, expect, test } from "@jest/globals";
import { type Delay, MemoryHistory, MemoryLogs, type MemoryLogsOptions } from "sluice";
import { historyExam } from "sluice/testing";
import { seeded } from "../seeded.ts";

function clusterOf(logs: MemoryLogs) {
  const nodes: MemoryHistory[] = [];
  return {
    node() {
      const node = new MemoryHistory(logs);
      nodes.push(node);
      return node;
    },
    async forget() {
      logs.clear();
    },
    async close() {
      await Promise.all(nodes.map((node) => node.close()));
    },
  };
}

const random = seeded(7);

describe.each([
  ["at once", 0],
  ["after 1 ms", 1],
  ["after a time that varies", () => random() * 3],
] as [string, Delay][])("the memory history that answers %s", (_when, delay) => {
  for (const { name, run } of historyExam((bounds) => clusterOf(new MemoryLogs(bounds, delay))))
    test(name, run);
});

/** A history whose time is set by hand. */
async function historyAt(options: MemoryLogsOptions = {}) {
  const time = { now: 1_000_000 };
  const logs = new MemoryLogs({ clock: () => time.now, ...options });
  const history = new MemoryHistory(logs);
  await history.open();
  return { time, logs, history };
}

const MINUTE = { size: 10, ttlMs: 60_000 };
const DAY_MS = 86_400_000;

test("entries live for ttlMs after the last append, their position for a week", async () => {
  const { time, history } = await historyAt();
  const { at } = await history.append("g", "x", MINUTE);
  expect(at).toBe(1_000_000);
  time.now += 59_999;
  expect((await history.read("g", 1, 10)).entries).toHaveLength(1);
  time.now += 1;
  expect((await history.read("g", 1, 10)).entries).toHaveLength(0);
  time.now = 1_000_000 + 7 * DAY_MS - 1;
  expect((await history.tops(["g"]))[0]?.offset).toBe(1);
  time.now += 1;
  expect(await history.tops(["g"])).toEqual([undefined]);
});

test("the position of entries that live long lives ten times as long", async () => {
  const { time, history } = await historyAt();
  await history.append("g", "x", { size: 10, ttlMs: 20 * DAY_MS });
  time.now += 200 * DAY_MS - 1;
  expect((await history.tops(["g"]))[0]?.offset).toBe(1);
  time.now += 1;
  expect(await history.tops(["g"])).toEqual([undefined]);
});

test("what is past its time is gone though nobody asks for it again", async () => {
  const { time, logs, history } = await historyAt();
  for (let i = 0; i < 100; i++) await history.append(`g.${i}`, "x", { ...MINUTE, idempotencyKey: "k" });
  expect(logs.size).toBe(200);
  time.now += 60_000;
  await history.tops([]);
  expect([logs.bytes, logs.size]).toEqual([0, 200]);
  time.now += 540_000;
  await history.tops([]);
  expect(logs.size).toBe(100);
  time.now += 7 * DAY_MS;
  await history.tops([]);
  expect(logs.size).toBe(0);
});

test("with too many groups the one appended to longest ago is forgotten", async () => {
  const { logs, history } = await historyAt({ maxGroups: 3 });
  const { epoch } = await history.append("a", "x", MINUTE);
  for (const group of ["b", "c", "a", "d"]) await history.append(group, "x", MINUTE);
  const tops = await history.tops(["a", "b", "c", "d"]);
  expect(tops.map((top) => top?.offset)).toEqual([2, undefined, 1, 1]);
  expect([tops[0]?.epoch, logs.size]).toEqual([epoch, 3]);
});

test("a key of a log that is forgotten is forgotten too", async () => {
  const { history } = await historyAt({ maxGroups: 1 });
  const append = (group: string) => history.append(group, "x", { ...MINUTE, idempotencyKey: "k" });
  const before = await append("a");
  await append("b");
  const after = await append("a");
  expect([after.isKnown, after.offset]).toEqual([false, 1]);
  expect(after.epoch).not.toBe(before.epoch);
});

test("with too many bytes groups are forgotten, then entries of the last", async () => {
  const { logs, history } = await historyAt({ maxBytes: 10_000 });
  const text = "x".repeat(3_000);
  for (const group of ["a", "b", "c", "d"]) await history.append(group, text, MINUTE);
  expect((await history.tops(["a", "b", "c", "d"])).map((top) => top?.offset)).toEqual([undefined, 1, 1, 1]);
  for (let i = 0; i < 9; i++) await history.append("d", text, MINUTE);
  expect((await history.tops(["b", "c"])).filter(Boolean)).toEqual([]);
  expect((await history.read("d", 1, 100)).entries.map(({ offset }) => offset)).toEqual([8, 9, 10]);
  await history.append("d", "y".repeat(20_000), MINUTE);
  expect((await history.read("d", 1, 100)).entries.map(({ offset }) => offset)).toEqual([11]);
  await history.append("d", "small", MINUTE);
  expect(logs.bytes).toBeLessThan(1_000);
});

test("no more idempotency keys are remembered than asked for", async () => {
  const { history } = await historyAt({ maxIdempotencyKeys: 2 });
  const append = (idempotencyKey: string) => history.append("g", "x", { ...MINUTE, idempotencyKey });
  for (const key of ["a", "b", "c"]) await append(key);
  expect([(await append("b")).isKnown, (await append("c")).isKnown, (await append("a")).isKnown]).toEqual([
    true,
    true,
    false,
  ]);
});

test("a clock that goes back forgets nothing and stops nothing", async () => {
  const { time, logs, history } = await historyAt();
  await history.append("g", "x", MINUTE);
  time.now -= 500_000;
  expect((await history.append("g", "y", MINUTE)).offset).toBe(2);
  time.now += 60_000;
  await history.tops([]);
  expect(logs.bytes).toBe(0);
});

test("wrong options are refused, all at once", () => {
  const options = { maxGroups: 0, maxByte: 5, clock: Date.now } as MemoryLogsOptions;
  expect(() => new MemoryLogs(options)).toThrow(/maxGroups must be.*\n.*did you mean "maxBytes"/);
});

test("a history that was not opened refuses", async () => {
  await expect(new MemoryHistory().append("g", "x", MINUTE)).rejects.toMatchObject({
    code: "layer_unavailable",
  });
});
