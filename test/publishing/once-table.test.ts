import { expect, test } from "@jest/globals";
import { OnceTable } from "../../src/publishing/once-table.ts";
import { gate } from "../server/live-server.ts";

function table({ maxEntries = 100, maxBytes = 1_000_000 } = {}) {
  let now = 0;
  const runs: string[] = [];
  const once = new OnceTable<string>({
    maxEntries,
    maxBytes,
    ttlMs: 1_000,
    what: "id",
    bytesOf: (value) => value.length,
    isKept: (value) => value !== "lost",
    now: () => now,
  });
  return {
    once,
    runs,
    pass: (ms: number) => {
      now += ms;
    },
    run: (name: string, value = name, fingerprint = "f") =>
      once.once(name, fingerprint, async () => {
        runs.push(name);
        return value;
      }),
  };
}

test("what has a name runs once; those who come later get its result", async () => {
  const { run, runs } = table();
  expect(await run("a", "one")).toEqual({ value: "one", isReplay: false });
  expect(await run("a", "two")).toEqual({ value: "one", isReplay: true });
  expect(await run("__proto__", "three")).toEqual({ value: "three", isReplay: false });
  expect(runs).toEqual(["a", "__proto__"]);
});

test("the same name for something else is 422, while it runs and after", async () => {
  const { once, run } = table();
  const { passed, open } = gate();
  const first = once.once("a", "f", () => passed.then(() => "one"));
  await expect(run("a", "two", "other")).rejects.toMatchObject({ status: 422 });
  await expect(run("a", "two")).rejects.toMatchObject({ status: 409, headers: { "Retry-After": "1" } });
  open();
  await first;
  await expect(run("a", "two", "other")).rejects.toMatchObject({ status: 422 });
  expect(await run("a", "two")).toEqual({ value: "one", isReplay: true });
});

test("what throws, and what is not worth keeping, runs again", async () => {
  const { once, run, runs } = table();
  await expect(once.once("a", "f", () => Promise.reject(new Error("broken")))).rejects.toThrow("broken");
  await run("a", "lost");
  expect(once.size).toBe(0);
  await run("a", "one", "other");
  expect(runs).toEqual(["a", "a"]);
});

test("after its time a name is free", async () => {
  const { once, run, pass } = table();
  await run("a");
  pass(500);
  await run("b");
  pass(499);
  expect(await run("a")).toMatchObject({ isReplay: true });
  pass(1);
  expect(await run("a", "new", "other")).toEqual({ value: "new", isReplay: false });
  pass(10_000);
  await run("c");
  expect(once.size).toBe(1);
});

test("when more are kept than may be, the oldest are forgotten", async () => {
  const { once, run } = table({ maxEntries: 3 });
  for (let i = 0; i < 1_000; i++) await run(`n${i}`);
  expect(once.size).toBe(3);
  expect(await run("n997")).toMatchObject({ isReplay: true });
  expect(await run("n996")).toMatchObject({ isReplay: false });
});

test("when more bytes are kept than may be, the oldest are forgotten", async () => {
  const { once, run } = table({ maxBytes: 10_000 });
  for (let i = 0; i < 100; i++) await run(`n${i}`, "x".repeat(1_800));
  expect(once.size).toBe(4);
  await run("huge", "x".repeat(10_000));
  expect(once.size).toBe(0);
  expect(await run("small")).toMatchObject({ isReplay: false });
  expect(await run("small")).toMatchObject({ isReplay: true });
});
