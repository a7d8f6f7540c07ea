import { afterEach, expect, test } from "@jest/globals";
import {
  ConfigurationError,
  Consumer,
  createApplication,
  InvalidMessage,
  LayerUnavailable,
  MemoryHistory,
  MemoryLogs,
  route,
} from "sluice";
import {
  type Bridge,
  type BridgedMessage,
  type BridgeOptions,
  BridgeTimeout,
  bridge,
  MemoryQueue,
  PoisonMessage,
  RejectMessage,
  type Source,
  toGroup,
} from "sluice/bridges";
import { TestClient } from "sluice/testing";
import { z } from "zod";
import { until } from "../redis/redis-server.ts";

const bridges: Bridge[] = [];

afterEach(async () => {
  await Promise.all(bridges.splice(0).map((each) => each.stop({ withinMs: 0 })));
});

const FAST = { retryMs: 1, maxRetryMs: 5, reconnectMs: 1, maxReconnectMs: 5 };

/** A started bridge of a memory queue, and what it told. */
async function running<Body>(options: Omit<BridgeOptions<Body>, "source">, queue = new MemoryQueue()) {
  const mine = bridge<Body>({ ...FAST, ...options, source: queue.source() });
  bridges.push(mine);
  const told: unknown[] = [];
  mine.signals.done.connect(({ attempt }) => told.push(`done ${attempt}`));
  mine.signals.retrying.connect(({ attempt, error }) => told.push(`retry ${attempt}: ${error}`));
  mine.signals.rejected.connect(({ error, isDropped }) =>
    told.push([isDropped ? "dropped" : "rejected", error]),
  );
  mine.signals.down.connect(({ error }) => told.push(`down: ${error.message}`));
  mine.signals.up.connect(() => told.push("up"));
  await mine.start();
  return { queue, bridge: mine, told };
}

test("a message is accepted only after what was to be done is done", async () => {
  let finish = () => {};
  const finished = new Promise<void>((resolve) => {
    finish = resolve;
  });
  const { queue, bridge } = await running({ to: () => finished });
  queue.put("1");
  await until(() => bridge.counts.inHand === 1);
  expect([queue.waiting, queue.inHand]).toEqual([0, 1]);
  finish();
  await until(() => bridge.counts.done === 1);
  expect([queue.inHand, bridge.counts.inHand]).toEqual([0, 0]);
});

test("no more than prefetch are in hand", async () => {
  const open: (() => void)[] = [];
  const { queue, bridge } = await running({
    prefetch: 3,
    to: () => new Promise<void>((resolve) => open.push(resolve)),
  });
  for (let i = 0; i < 10; i++) queue.put(String(i));
  await until(() => open.length === 3);
  expect([queue.waiting, bridge.counts.inHand]).toEqual([7, 3]);
  open.shift()?.();
  await until(() => open.length === 3);
  expect([queue.waiting, bridge.counts.inHand]).toEqual([6, 3]);
});

test("a failure is tried again as often as it may be, then rejected with its error", async () => {
  const attempts: [number, boolean][] = [];
  const error = new Error("always");
  const { queue, told } = await running({
    maxAttempts: 3,
    to: ({ attempt, isRedelivered }) => {
      attempts.push([attempt, isRedelivered]);
      throw error;
    },
  });
  queue.put("1");
  await until(() => queue.rejected.length === 1);
  expect(attempts).toEqual([
    [1, false],
    [2, true],
    [3, true],
  ]);
  await until(() => told.length === 4);
  expect(told).toEqual(["up", "retry 1: Error: always", "retry 2: Error: always", ["rejected", error]]);
});

const hopeless: readonly [string, () => unknown][] = [
  ["RejectMessage", () => Promise.reject(new RejectMessage("not this one"))],
  [
    "an error of the family that says do not come back unchanged",
    () => {
      throw new InvalidMessage("never");
    },
  ],
];

test.each(hopeless)("%s is not tried again", async (_what, to) => {
  const { queue, bridge } = await running({ to });
  queue.put("1");
  await until(() => bridge.counts.rejected === 1);
  expect(bridge.counts).toMatchObject({ retried: 0, done: 0 });
});

test("retryOn decides otherwise, but not about poison", async () => {
  const { queue, bridge } = await running({
    maxAttempts: 2,
    retryOn: (error) => error instanceof InvalidMessage,
    to: ({ body }) => {
      throw body === 1 ? new InvalidMessage("now") : new Error("no");
    },
  });
  queue.put("1");
  await until(() => bridge.counts.rejected === 1);
  expect(bridge.counts.retried).toBe(1);
  queue.put("2");
  queue.put("{");
  await until(() => bridge.counts.rejected === 3);
  expect(bridge.counts.retried).toBe(1);
});

test("while something is away messages wait; they are not given up for it", async () => {
  let attempts = 0;
  const { queue, bridge } = await running({
    maxAttempts: 2,
    to: () => {
      attempts += 1;
      if (attempts < 20) throw new LayerUnavailable("Redis is away");
    },
  });
  queue.put("1");
  await until(() => bridge.counts.done === 1);
  expect([attempts, queue.rejected]).toEqual([20, []]);
});

test("an attempt that takes too long is failed, and hears it", async () => {
  const signals: AbortSignal[] = [];
  const { queue, told } = await running({
    timeoutMs: 10,
    maxAttempts: 2,
    to: ({ signal }) => {
      signals.push(signal);
      return new Promise(() => {});
    },
  });
  queue.put("1");
  await until(() => queue.rejected.length === 1);
  expect(signals.map(({ reason }) => reason instanceof BridgeTimeout)).toEqual([true, true]);
  expect(told[1]).toContain("longer than 10 ms");
});

test("a signal of what has succeeded is not aborted", async () => {
  const signals: AbortSignal[] = [];
  const { queue, bridge } = await running({ to: ({ signal }) => void signals.push(signal) });
  queue.put("1");
  await until(() => bridge.counts.done === 1);
  await bridge.stop();
  expect(signals.map(({ aborted }) => aborted)).toEqual([false]);
});

const Order = z.object({ id: z.number(), note: z.string().default("none") });

test("a schema says what a message is, and names what is wrong with it", async () => {
  const bodies: unknown[] = [];
  const { queue, told, bridge } = await running({
    schema: Order,
    to: ({ body }) => void bodies.push(body.note),
  });
  queue.put({ id: 7 });
  queue.put({ id: "7" });
  await until(() => bridge.counts.rejected === 1);
  expect(bodies).toEqual(["none"]);
  await until(() => told.length === 3);
  const [, error] = told.find(Array.isArray) as [string, PoisonMessage];
  expect(error).toBeInstanceOf(PoisonMessage);
  expect(error.issues).toEqual([{ path: "id", message: expect.any(String) }]);
});

test("poison can be dropped instead, and other formats decoded", async () => {
  const bodies: unknown[] = [];
  const { queue, told, bridge } = await running<string>({
    poison: "drop",
    maxMessageBytes: 10,
    decode: (bytes, headers) => {
      if (headers.get("type") !== "text") throw new Error("no text");
      return Buffer.from(bytes).toString().toUpperCase();
    },
    to: ({ body }) => void bodies.push(body),
  });
  queue.put("hello", { type: "text" });
  queue.put("hello", { type: "image" });
  queue.put("x".repeat(11), { type: "text" });
  await until(() => bridge.counts.rejected === 2);
  expect(bodies).toEqual(["HELLO"]);
  expect(queue.rejected).toEqual([]);
  expect([queue.waiting, queue.inHand]).toEqual([0, 0]);
  await until(() => told.filter(Array.isArray).length === 2);
  const dropped = told.filter(Array.isArray) as [string, Error][];
  expect(dropped.map(([how, { message }]) => `${how}: ${message}`).sort()).toEqual([
    "dropped: decode refused it: no text",
    "dropped: it has 11 bytes, more than maxMessageBytes (10)",
  ]);
});

test("a source that is down at the start, or later, is tried until it is back", async () => {
  const queue = new MemoryQueue();
  queue.cut({ stayDown: true });
  const { bridge, told } = await running({ to: () => {} }, queue);
  expect(bridge.isConnected).toBe(false);
  await until(() => told.length >= 3);
  queue.comeBack();
  await until(() => bridge.isConnected);
  expect(new Set(told)).toEqual(new Set(["down: memory queue is down", "up"]));
  queue.cut();
  expect(bridge.isConnected).toBe(false);
  await until(() => bridge.isConnected);
  queue.put("1");
  await until(() => bridge.counts.done === 1);
  expect(told).toContain("down: memory queue was cut");
});

test("a lost connection aborts what is under way, and the message comes again", async () => {
  const heard: [boolean, AbortSignal][] = [];
  const { queue, bridge } = await running({
    to: ({ isRedelivered, signal }) => {
      heard.push([isRedelivered, signal]);
      return heard.length === 1 ? new Promise(() => {}) : undefined;
    },
  });
  queue.put("1");
  await until(() => heard.length === 1);
  queue.cut();
  await until(() => bridge.counts.done === 1);
  expect(heard.map(([isRedelivered]) => isRedelivered)).toEqual([false, true]);
  expect(heard[0]?.[1].reason).toMatchObject({ message: "memory queue was cut" });
  await until(() => bridge.counts.inHand === 0);
  expect([queue.waiting, queue.inHand]).toEqual([0, 0]);
});

test("what can never work stops the start", async () => {
  const refused = new ConfigurationError(['there is no queue "orders"']);
  const source: Source = { name: "broken", connect: () => Promise.reject(refused) };
  const mine = bridge({ source, to: () => {} });
  await expect(mine.start()).rejects.toBe(refused);
  await mine.stop();
});

test("stopping ends a pause between attempts, and a bridge that cannot connect", async () => {
  const { queue, bridge: mine } = await running({
    retryMs: 1_000_000,
    maxRetryMs: 1_000_000,
    to: () => Promise.reject(new Error("no")),
  });
  queue.put("1");
  await until(() => mine.counts.retried === 1);
  await mine.stop({ withinMs: 1_000_000 });
  expect([queue.waiting, queue.rejected]).toEqual([1, []]);
  const down = new MemoryQueue();
  down.cut({ stayDown: true });
  const lonely = await running({ reconnectMs: 1_000_000, maxReconnectMs: 1_000_000, to: () => {} }, down);
  await lonely.bridge.stop();
  await lonely.bridge.stop();
});

test("every wrong option is refused, all at once", () => {
  const make = () =>
    bridge({ source: {} as Source, to: "group" as never, poison: "keep" as never, schema: {} as never });
  expect(make).toThrow(/source .*\n- .*to must be a function.*\n- .*schema.*\n- .*"reject" or "drop"/);
  const source = new MemoryQueue().source();
  expect(() => bridge({ source, to: () => {}, prefetch: 0 })).toThrow("bridge.prefetch");
  expect(() => bridge({ source, to: () => {}, prefetc: 1 } as never)).toThrow('did you mean "prefetch"?');
});

class Watcher extends Consumer {
  override async connect() {
    await this.groupAdd("orders.eu");
  }
}

test("toGroup brings messages to the clients of a group", async () => {
  const app = createApplication({ routes: [route("/orders", Watcher)] });
  const ann = new TestClient(app, "/orders");
  await ann.connect();
  const { queue, bridge: mine } = await running<{ id: number; region: string }>({
    to: toGroup(app.layer, ({ body }) => `orders.${body.region}`, "order.changed", {
      payload: ({ body }) => ({ order: body.id }),
    }),
  });
  queue.put({ id: 1, region: "eu" });
  queue.put({ id: 2, region: "us" });
  queue.put({ id: 3, region: "a wrong name" });
  expect(await ann.next("order.changed")).toEqual({ order: 1 });
  await until(() => mine.counts.rejected === 1);
  expect(queue.rejected).toEqual(['{"id":3,"region":"a wrong name"}']);
  await ann.expectSilence();
  await app.stop();
});

test("in a group with history a message that comes again is not sent again", async () => {
  const app = createApplication({
    routes: [route("/orders", Watcher)],
    groups: { "orders.*": { history: { size: 10, ttlMs: 60_000 } } },
    history: new MemoryHistory(new MemoryLogs()),
  });
  const ann = new TestClient(app, "/orders");
  await ann.connect();
  const emit = toGroup(app.layer, "orders.eu", "order.changed");
  let isFirst = true;
  const { queue, bridge: mine } = await running({
    to: async (message: BridgedMessage<unknown>) => {
      await emit(message);
      if (isFirst) {
        isFirst = false;
        throw new Error("after it was sent");
      }
    },
  });
  queue.put({ id: 1 });
  queue.put({ id: 2 });
  await until(() => mine.counts.done === 2);
  const sent = [await ann.next("order.changed"), await ann.next("order.changed")];
  expect(new Set(sent)).toEqual(new Set([{ id: 1 }, { id: 2 }]));
  await ann.expectSilence("order.changed");
  await app.stop();
});
