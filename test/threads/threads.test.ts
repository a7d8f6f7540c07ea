import { availableParallelism } from "node:os";
import { afterEach, expect, jest, test } from "@jest/globals";
import { ConfigurationError, isRetryable, Unencodable } from "sluice";
import {
  ErrorInThread,
  inThread,
  LoopDelay,
  ThreadCrashed,
  type ThreadOptions,
  ThreadPool,
  ThreadsBusy,
  ThreadsClosed,
  ThreadTimeLimit,
} from "sluice/threads";
import { until } from "../redis/redis-server.ts";

jest.setTimeout(30_000);

type Heavy = typeof import("./heavy.mjs");
const HEAVY = new URL("./heavy.mjs", import.meta.url);

const pools: ThreadPool[] = [];

afterEach(async () => {
  await Promise.all(pools.splice(0).map((pool) => pool.close()));
});

function heavy(options: ThreadOptions = {}) {
  const module = inThread<Heavy>(HEAVY, { threads: 1, ...options });
  pools.push(module.pool);
  return module;
}

function words(length: number): Int32Array {
  return new Int32Array(new SharedArrayBuffer(length * 4));
}

function openGate(gate: Int32Array): void {
  Atomics.store(gate, 0, 1);
  Atomics.notify(gate, 0);
}

/** Whoever still counted would have counted on. */
async function untilItStops(counter: Int32Array): Promise<void> {
  let before = -1;
  await until(() => {
    const now = Atomics.load(counter, 0);
    const isSame = now === before;
    before = now;
    return isSame;
  });
}

test("exported functions, sync or async, run in a thread and answer with any cloneable value", async () => {
  const { run } = heavy();
  expect(await run.add(3, 4)).toBe(7);
  expect(await run.where()).toEqual({ isMainThread: false, threadId: expect.any(Number) });
  const map = new Map([
    ["a", new Date(5)],
    ["b", new Date(2)],
  ]);
  expect(Number(await run.oldest(map))).toBe(2);
});

test("arguments are those of the call, whatever becomes of them while it waits", async () => {
  const { run } = heavy();
  const gate = words(2);
  const held = run.hold(gate, "first");
  const map = new Map([["a", new Date(5)]]);
  const waiting = run.oldest(map);
  map.clear();
  openGate(gate);
  await held;
  expect(Number(await waiting)).toBe(5);
});

test("there are as many threads as cores, and calls begin in order", async () => {
  const { run, pool } = heavy({ threads: availableParallelism() });
  expect(new ThreadPool().counts.threads).toBe(0);
  const gates = Array.from({ length: availableParallelism() + 2 }, () => words(2));
  const ended: string[] = [];
  const calls = gates.map((gate, i) => run.hold(gate, `call ${i}`).then((name) => void ended.push(name)));
  const begun = () => gates.map((gate) => Atomics.load(gate, 1)).join("");
  const ones = "1".repeat(availableParallelism());
  await until(() => begun() === `${ones}00`);
  expect(pool.counts).toMatchObject({ threads: ones.length, running: ones.length, waiting: 2 });
  for (const [i, gate] of gates.entries()) {
    openGate(gate);
    await until(() => ended.length === i + 1);
  }
  await Promise.all(calls);
  expect(ended).toEqual(gates.map((_, i) => `call ${i}`));
  expect(pool.counts).toMatchObject({ running: 0, waiting: 0, done: gates.length });
});

test("an aborted call ends its thread, though it is stuck in a loop, and the next one has another", async () => {
  const { run, with: withOptions, pool } = heavy();
  const counter = words(1);
  const abort = new AbortController();
  const stuck = withOptions({ signal: abort.signal }).spin(counter);
  const next = run.add(1, 1);
  await until(() => Atomics.load(counter, 0) > 0);
  const reason = new Error("changed my mind");
  abort.abort(reason);
  await expect(stuck).rejects.toBe(reason);
  await untilItStops(counter);
  expect(await next).toBe(2);
  expect(pool.counts).toMatchObject({ aborted: 1, done: 1, running: 0 });
});

test("a call that is aborted while it waits, or before, never runs", async () => {
  const { run, with: withOptions } = heavy();
  const [gate, other] = [words(2), words(2)];
  const held = run.hold(gate, "first");
  const abort = new AbortController();
  const waiting = withOptions({ signal: abort.signal }).hold(other, "second");
  const last = run.add(1, 1);
  abort.abort();
  await expect(waiting).rejects.toMatchObject({ name: "AbortError" });
  await expect(withOptions({ signal: abort.signal }).hold(other, "x")).rejects.toThrow();
  openGate(gate);
  expect([await held, await last]).toEqual(["first", 2]);
  expect(Atomics.load(other, 1)).toBe(0);
});

test("a function that takes longer than it may is ended with its thread", async () => {
  const counter = words(1);
  const { run, with: withOptions, pool } = heavy({ timeLimitMs: 300 });
  await expect(run.spin(counter)).rejects.toThrow(ThreadTimeLimit);
  await untilItStops(counter);
  const mine = withOptions({ timeLimitMs: 20 }).spin(counter);
  await expect(mine).rejects.toThrow("spin of heavy.mjs took longer than 20 ms");
  expect(pool.counts.timedOut).toBe(2);
  expect(await withOptions({ timeLimitMs: 0 }).add(1, 1)).toBe(2);
});

test("what waits is bounded: one more is refused, worth another try", async () => {
  const { run } = heavy({ maxWaiting: 1 });
  const gate = words(2);
  const held = run.hold(gate, "held");
  const waits = run.add(1, 1);
  const refused = await run.add(2, 2).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(ThreadsBusy);
  expect(refused).toMatchObject({ code: "threads_busy" });
  expect(isRetryable((refused as ThreadsBusy).closeCode)).toBe(true);
  openGate(gate);
  expect([await held, await waits, await run.add(2, 2)]).toEqual(["held", 2, 4]);
});

test("an error comes back with its class' name, message, stack, code and cause", async () => {
  const { run } = heavy();
  const error = await run.fail().catch((error: unknown) => error);
  expect(error).toBeInstanceOf(ErrorInThread);
  const { name, message, stack, code, cause } = error as ErrorInThread;
  expect({ name, message, code }).toEqual({ name: "OutOfCheese", message: "none left", code: "no_cheese" });
  expect(stack).toMatch(/heavy\.mjs:\d+/);
  expect(cause).toMatchObject({ name: "RangeError", message: "0 wheels" });
  await expect(run.throwValue({ not: "an error" })).rejects.toEqual({ not: "an error" });
  await expect(run.throwFunction()).rejects.toContain("Function");
  expect(await run.add(1, 1)).toBe(2);
});

test("what cannot be cloned is refused by name, and its thread goes on", async () => {
  const { run, pool } = heavy();
  const add = run.add as (...args: unknown[]) => Promise<unknown>;
  const refused = await add(1, () => {}).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(Unencodable);
  expect(refused).toMatchObject({ message: expect.stringMatching(/argument 2 of add .* plain data/) });
  const { threadId } = await run.where();
  const returned = run.returnFunction();
  await expect(returned).rejects.toThrow(Unencodable);
  await expect(returned).rejects.toThrow("what returnFunction of heavy.mjs returned");
  expect((await run.where()).threadId).toBe(threadId);
  expect(pool.counts).toMatchObject({ running: 0, waiting: 0 });
});

test("parts of arguments and results are handed over where that is asked for", async () => {
  const { run, with: withOptions } = heavy();
  const mine = new Uint8Array(1_000).fill(1);
  expect(await withOptions({ transfer: [mine.buffer] }).sum(mine)).toBe(1_000);
  expect(mine.byteLength).toBe(0);
  await expect(withOptions({ transfer: [mine.buffer] }).sum(mine)).rejects.toThrow(Unencodable);
  await expect(run.bytesThatAreGone()).rejects.toThrow(Unencodable);
  await expect(withOptions({ onReport: () => {} }).bytesThatAreGone()).rejects.toThrow(Unencodable);
  const made = await run.bytes(10_000);
  expect([made.length, made[9_999], await run.left()]).toEqual([10_000, 7, 0]);
});

test("reports are heard in order and before the result, and a flood of them is bounded", async () => {
  const { run, with: withOptions } = heavy();
  const heard: unknown[] = [];
  const onReport = (value: unknown) => void heard.push(value);
  expect(await withOptions({ onReport }).countUp(500)).toBe(500);
  expect(heard).toEqual(Array.from({ length: 500 }, (_, i) => i));
  expect(await run.countUp(500)).toBe(0);
  heard.length = 0;
  const call = withOptions({ onReport }).countUp(200_000);
  // This side is too busy to hear.
  const gate = words(1);
  Atomics.wait(gate, 0, 0, 500);
  const accepted = await call;
  expect(heard).toHaveLength(accepted);
  expect(accepted).toBeLessThan(200_000);
});

test("a listener of reports that throws ends its call, and nothing else", async () => {
  const { run, with: withOptions } = heavy();
  const counter = words(1);
  const onReport = () => {
    throw new Error("cannot listen");
  };
  await expect(withOptions({ onReport }).reportAndSpin(counter)).rejects.toThrow("cannot listen");
  await untilItStops(counter);
  expect(await run.add(1, 1)).toBe(2);
});

test("a thread that ends itself, explodes or has no memory left fails its own call alone", async () => {
  const { run, pool } = heavy({ threads: 2, heapMb: 32 });
  const gate = words(2);
  const held = run.hold(gate, "other");
  await until(() => Atomics.load(gate, 1) === 1);
  await expect(run.exit(3)).rejects.toThrow("the thread of exit of heavy.mjs ended under it");
  await expect(run.explodeLater()).rejects.toMatchObject({ cause: { message: "in a timer" } });
  const eaten = await run.eatMemory().catch((error: unknown) => error);
  expect(eaten).toBeInstanceOf(ThreadCrashed);
  expect(eaten).toMatchObject({ cause: { code: "ERR_WORKER_OUT_OF_MEMORY" } });
  expect(await run.add(1, 1)).toBe(2);
  openGate(gate);
  expect(await held).toBe("other");
  expect(pool.counts).toMatchObject({ crashed: 3, done: 2 });
});

test("a module that is not there, breaks, or lacks the function is a ConfigurationError that says so", async () => {
  const pool = new ThreadPool({ threads: 1 });
  pools.push(pool);
  const load = (file: string) => inThread<Heavy>(new URL(file, import.meta.url), { pool });
  const names = await load("./heavy.mjs").ready();
  expect(names).toEqual(expect.arrayContaining(["add", "spin"]));
  expect(names).not.toContain("NOT_A_FUNCTION");
  await expect(load("./none.mjs").ready()).rejects.toThrow(ConfigurationError);
  await expect(load("./none.mjs").run.add(1, 1)).rejects.toThrow(/none\.mjs cannot be loaded in a thread/);
  await expect(load("./broken.mjs").ready()).rejects.toThrow("TypeError: at load");
  const run = load("./heavy.mjs").run as unknown as Record<string, () => Promise<unknown>>;
  for (const name of ["ad", "NOT_A_FUNCTION", "constructor", "__proto__", "toString"]) {
    await expect(run[name]?.()).rejects.toThrow(ConfigurationError);
  }
  await expect(run.ad?.()).rejects.toThrow('exports no function "ad"; did you mean "add"?');
  const readsTypes = "typescript" in process.features && Boolean(process.features.typescript);
  const typed = load("./typed.ts").ready();
  if (readsTypes) expect(await typed).toEqual(["one"]);
  else await expect(typed).rejects.toThrow("give the built .js file");
});

test("a wrong URL or option is refused at once", async () => {
  expect(() => inThread<Heavy>("./heavy.mjs")).toThrow(ConfigurationError);
  expect(() => inThread<Heavy>("data:text/javascript,0")).toThrow("import.meta.url");
  expect(() => heavy({ threads: 0 })).toThrow("threads.threads");
  expect(() => heavy({ heapMb: 15 })).toThrow("threads.heapMb must be 0 or at least 16");
  expect(() => heavy({ maxWaitin: 1 } as never)).toThrow('did you mean "maxWaiting"?');
  expect(() => heavy().with({ timeLimitMs: -1 })).toThrow(ConfigurationError);
  expect(await (heavy().run as { then?: unknown }).then).toBeUndefined();
});

test("closing ends what runs and what waits, and takes no more", async () => {
  const { run, pool, close } = heavy();
  const counter = words(1);
  const [stuck, waiting] = [run.spin(counter), run.add(1, 1)];
  await until(() => Atomics.load(counter, 0) > 0);
  const ends = [close(), close()];
  await expect(stuck).rejects.toThrow(ThreadsClosed);
  await expect(waiting).rejects.toThrow(ThreadsClosed);
  await Promise.all(ends);
  await untilItStops(counter);
  expect(pool.counts).toMatchObject({ threads: 0, running: 0, waiting: 0 });
  await expect(run.add(1, 1)).rejects.toThrow(ThreadsClosed);
});

test("closing can wait for what was begun", async () => {
  const { run, close, pool } = heavy();
  const gate = words(2);
  const [held, waiting] = [run.hold(gate, "held"), run.add(1, 1)];
  const closed = close({ withinMs: 20_000 });
  await expect(run.add(2, 2)).rejects.toThrow(ThreadsClosed);
  openGate(gate);
  expect([await held, await waiting]).toEqual(["held", 2]);
  await closed;
  expect(pool.counts.threads).toBe(0);
});

test("a thread that has nothing to do ends after a while", async () => {
  const { run, pool } = heavy({ idleMs: 1 });
  await run.add(1, 1);
  await until(() => pool.counts.threads === 0);
  expect(await run.add(1, 1)).toBe(2);
});

test("what a module has begun goes on in a thread that waits for work", async () => {
  const { run } = heavy();
  const counter = words(1);
  await run.countLater(counter);
  await until(() => Atomics.load(counter, 0) === 1);
});

test("modules can share threads; closing one leaves them", async () => {
  const pool = new ThreadPool({ threads: 1 });
  pools.push(pool);
  const [one, two] = [inThread<Heavy>(HEAVY, { pool }), inThread<Heavy>(HEAVY, { pool })];
  const { threadId } = await one.run.where();
  await one.close();
  expect((await two.run.where()).threadId).toBe(threadId);
});

test("the gauge of the loop shows how long it was held, and begins anew when it was read", async () => {
  const delay = new LoopDelay(1);
  expect(delay.read().maxMs).toBe(0);
  const turn = () => new Promise((resolve) => setTimeout(resolve, 5));
  await turn();
  Atomics.wait(words(1), 0, 0, 200);
  await until(async () => {
    await turn();
    return delay.read().maxMs > 150;
  });
  expect(delay.take().maxMs).toBeGreaterThan(150);
  expect(delay.read()).toEqual({ meanMs: 0, p50Ms: 0, p99Ms: 0, maxMs: 0 });
  delay.stop();
  expect(() => new LoopDelay(0)).toThrow(ConfigurationError);
});
