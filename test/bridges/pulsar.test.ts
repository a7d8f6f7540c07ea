import { afterEach, expect, jest, test } from "@jest/globals";
import { ConfigurationError } from "sluice";
import {
  type Bridge,
  type BridgedMessage,
  type BridgeOptions,
  bridge,
  type ExamQueue,
  RejectMessage,
  sourceExam,
} from "sluice/bridges";
import { type PulsarOptions, PulsarSource } from "sluice/bridges/pulsar";
import { until } from "../redis/redis-server.ts";
import { StandInPulsar, standInPackage } from "./pulsar-stand-in.ts";

let makePackage: () => object = () => standInPackage;
jest.unstable_mockModule("pulsar-client", () => makePackage(), { virtual: true });

const endings: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});

const sourceOf = (broker: StandInPulsar, options: Partial<PulsarOptions> = {}) =>
  new PulsarSource({
    serviceUrl: broker.serviceUrl,
    topic: "orders",
    subscription: "sluice",
    deadLetterTopic: "orders.dead",
    redeliverMs: 20,
    ...options,
  });

async function makeQueue(): Promise<ExamQueue> {
  const broker = new StandInPulsar();
  return {
    put: async (text, properties = {}) => broker.put("orders", { data: Buffer.from(text), properties }),
    source: () => sourceOf(broker),
    rejected: async (count) => {
      await until(() => broker.log("orders.dead").length >= count);
      return broker.log("orders.dead").map(({ data }) => String(data));
    },
    cut: async () => broker.cut(),
    close: async () => expect(broker.openClients).toBe(0),
  };
}

for (const { name, run } of sourceExam(makeQueue)) test(`a stand-in for Pulsar: ${name}`, run);

type To = (message: BridgedMessage<unknown>) => unknown;

function joined(source: PulsarSource, to: To, options: Partial<BridgeOptions<unknown>> = {}): Bridge {
  const mine = bridge({ retryMs: 5, reconnectMs: 5, maxReconnectMs: 20, ...options, source, to });
  endings.push(() => mine.stop({ withinMs: 0 }));
  return mine;
}

const put = (broker: StandInPulsar, body: unknown, partitionKey = "") =>
  broker.put("orders", { data: Buffer.from(JSON.stringify(body)), partitionKey });

const never = () => new Promise(() => {});

test("what was published and where it is stands in the message", async () => {
  const broker = new StandInPulsar();
  const heard: BridgedMessage<unknown>[] = [];
  const properties = { tenant: "eu" };
  const eventTimestamp = Date.UTC(2030, 0, 2);
  broker.put("orders", { data: Buffer.from("7"), properties, partitionKey: "k", eventTimestamp });
  await joined(sourceOf(broker), (message) => void heard.push(message)).start();
  await until(() => heard.length === 1);
  const id = "persistent://public/default/orders/0:0:-1:-1";
  expect(heard[0]).toMatchObject({ id, body: 7, isRedelivered: false });
  expect(Object.fromEntries(heard[0]?.headers ?? [])).toEqual({
    tenant: "eu",
    key: "k",
    "event-time": "2030-01-02T00:00:00.000Z",
  });
});

test("a rejected message is in the dead letter topic as it was, with why and where from", async () => {
  const broker = new StandInPulsar();
  const properties = { tenant: "eu" };
  broker.put("orders", { data: Buffer.from("7"), properties, partitionKey: "k", eventTimestamp: 5 });
  const mine = joined(sourceOf(broker), () => {
    throw new RejectMessage("no such shop");
  });
  await mine.start();
  await until(() => mine.counts.rejected === 1);
  const because = {
    "x-rejected-because": "no such shop",
    "x-from": "persistent://public/default/orders/0:0:-1:-1",
  };
  expect(broker.log("orders.dead")).toMatchObject([
    { properties: { tenant: "eu", ...because }, partitionKey: "k", eventTimestamp: 5 },
  ]);
});

test("without a dead letter topic a rejected message is skipped", async () => {
  const broker = new StandInPulsar();
  put(broker, "bad");
  put(broker, "good");
  const source = new PulsarSource({ serviceUrl: broker.serviceUrl, topic: "orders", subscription: "s" });
  const heard: unknown[] = [];
  const mine = joined(source, ({ body }) => {
    heard.push(body);
    if (body === "bad") throw new RejectMessage("bad");
  });
  await mine.start();
  await until(() => mine.counts.done === 1 && mine.counts.rejected === 1);
  await mine.stop();
  expect([heard, broker.ready("orders", "s")]).toEqual([["bad", "good"], 0]);
});

test("what cannot be moved to the dead letters comes again, marked, until it can", async () => {
  const broker = new StandInPulsar();
  put(broker, "bad");
  const marks: boolean[] = [];
  const mine = joined(sourceOf(broker), ({ isRedelivered }) => {
    marks.push(isRedelivered);
    if (marks.length === 3) broker.refused.delete("orders.dead");
    throw new RejectMessage("bad");
  });
  await mine.start();
  broker.refused.set("orders.dead", "ProducerBlockedQuotaExceededError");
  await until(() => mine.counts.rejected === 1);
  expect(marks).toEqual([false, true, true]);
  expect(broker.log("orders.dead")).toHaveLength(1);
});

test("no more than prefetch messages are in hand, and as many wait in the client", async () => {
  const broker = new StandInPulsar();
  for (let i = 0; i < 20; i++) put(broker, i);
  const mine = joined(sourceOf(broker), never, { prefetch: 3 });
  await mine.start();
  await until(() => broker.ready("orders", "sluice") === 14);
  expect(mine.counts.inHand).toBe(3);
  expect([...broker.consumers].map(({ config }) => config.receiverQueueSize)).toEqual([3]);
});

test("what was not accepted, in hand or waiting in the client, is for others after the end", async () => {
  const broker = new StandInPulsar();
  for (let i = 0; i < 9; i++) put(broker, i);
  const one = joined(sourceOf(broker), ({ body }) => (body === 0 ? undefined : never()), { prefetch: 2 });
  await one.start();
  await until(() => one.counts.done === 1 && one.counts.inHand === 2);
  await one.stop({ withinMs: 0 });
  expect([broker.ready("orders", "sluice"), broker.openClients]).toEqual([8, 0]);
  const heard: unknown[] = [];
  await joined(sourceOf(broker), ({ body }) => void heard.push(body), { prefetch: 1 }).start();
  await until(() => heard.length === 8);
  expect(heard).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
});

test("when the client reconnects by itself, what is in hand goes on and does not come twice", async () => {
  const broker = new StandInPulsar();
  put(broker, "held");
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const heard: unknown[] = [];
  const down: unknown[] = [];
  const mine = joined(sourceOf(broker), ({ body }) => {
    heard.push(body);
    return body === "held" ? released : undefined;
  });
  mine.signals.down.connect((fact) => void down.push(fact));
  await mine.start();
  await until(() => heard.length === 1);
  broker.cut();
  put(broker, "after");
  await until(() => heard.length === 2);
  release();
  await until(() => mine.counts.done === 2);
  await mine.stop();
  expect([heard, down, broker.ready("orders", "sluice")]).toEqual([["held", "after"], [], 0]);
});

test("what ends while there is no connection is not taken for accepted, and comes again", async () => {
  const broker = new StandInPulsar();
  put(broker, "held");
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const marks: boolean[] = [];
  const mine = joined(sourceOf(broker), ({ isRedelivered }) => {
    marks.push(isRedelivered);
    return released;
  });
  await mine.start();
  await until(() => mine.counts.inHand === 1);
  broker.cut({ stayDown: true });
  release();
  await until(() => mine.counts.inHand === 0);
  expect(mine.counts.done).toBe(0);
  broker.comeBack();
  await until(() => mine.counts.done === 1);
  expect(marks).toEqual([false, true]);
});

test("a client that does not find back is given up: the bridge says so, and connects anew", async () => {
  const broker = new StandInPulsar();
  put(broker, "held");
  const signals: AbortSignal[] = [];
  const reasons: string[] = [];
  const mine = joined(sourceOf(broker, { lostAfterMs: 40 }), ({ signal }) => {
    signals.push(signal);
    return signals.length === 1 ? never() : undefined;
  });
  mine.signals.down.connect(({ error }) => void reasons.push(error.message));
  await mine.start();
  await until(() => signals.length === 1);
  broker.cut({ stayDown: true });
  await until(() => reasons.length > 2);
  expect(reasons.slice(0, 2)).toEqual([
    "the client has had no connection for 40 ms",
    "Failed to create consumer: ConnectError",
  ]);
  expect([mine.isConnected, signals[0]?.aborted]).toEqual([false, true]);
  broker.comeBack();
  await until(() => mine.counts.done === 1);
  expect(broker.openClients).toBe(1);
});

test("of a key one message is in hand at a time, in order, and one that waits does not stop others", async () => {
  const broker = new StandInPulsar();
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  const heard: unknown[] = [];
  const mine = joined(
    sourceOf(broker, { type: "KeyShared" }),
    ({ body, attempt }) => {
      heard.push(body);
      if (body === "a2" && attempt === 1) throw new Error("once");
      return body === "a1" ? released : undefined;
    },
    { prefetch: 5 },
  );
  for (const body of ["a1", "a2", "b1", "a3", "b2"]) put(broker, body, body.slice(0, 1));
  await mine.start();
  await until(() => mine.counts.done === 2);
  expect(heard).toEqual(["a1", "b1", "b2"]);
  release();
  await until(() => mine.counts.done === 5);
  expect(heard).toEqual(["a1", "b1", "b2", "a2", "a2", "a3"]);
});

test("a settled message cannot be settled again, nor one whose connection has ended", async () => {
  const broker = new StandInPulsar();
  put(broker, 1);
  put(broker, 2);
  const messages: { accept(): Promise<void>; reject(reason: Error): Promise<void> }[] = [];
  const taker = { message: (message: (typeof messages)[0]) => void messages.push(message), lost() {} };
  const link = await sourceOf(broker).connect(taker, 2);
  await until(() => messages.length === 2);
  await messages[0]?.accept();
  await expect(messages[0]?.reject(new Error("no"))).rejects.toThrow("it was settled before");
  await Promise.all([link.close(), link.close()]);
  await expect(messages[1]?.accept()).rejects.toThrow("the connection it came over is gone");
});

test.each(["AuthorizationError", "AuthenticationError", "TopicNotFound"])(
  "%s stops the start",
  async (why) => {
    const broker = new StandInPulsar();
    broker.refused.set("orders", why);
    const started = joined(sourceOf(broker), () => {}).start();
    await expect(started).rejects.toThrow(ConfigurationError);
    await expect(started).rejects.toThrow(`Pulsar topic "orders": Failed to create consumer: ${why}`);
    expect(broker.openClients).toBe(0);
  },
);

test("options for the client reach it, and what it refuses stops the start", async () => {
  const broker = new StandInPulsar();
  const client = { tlsTrustCertsFilePath: "/ca.pem" };
  await joined(sourceOf(broker, { client, connectTimeoutMs: 2_500 }), () => {}).start();
  expect(broker.clientConfigs).toMatchObject([{ ...client, logLevel: 2, operationTimeoutSeconds: 3 }]);
  const refused = joined(sourceOf(broker, { client: { authentication: "token" } }), () => {}).start();
  await expect(refused).rejects.toThrow(ConfigurationError);
});

test("wrong options are refused at once, all of them", () => {
  const make = () =>
    new PulsarSource({
      serviceUrl: "localhost:6650",
      topic: "",
      subscription: "",
      deadLetterTopic: "",
      type: "Exclusive" as never,
      from: "middle" as never,
      redeliverMs: 0,
      lostAfterMs: Number.NaN,
      connectTimeoutMs: -1,
    });
  expect(make).toThrow(ConfigurationError);
  const names =
    "serviceUrl topic subscription type from deadLetterTopic redeliverMs lostAfterMs connectTimeoutMs";
  for (const name of names.split(" ")) expect(make).toThrow(new RegExp(`^(- )?.*\\b${name} must`, "m"));
  const itself = { serviceUrl: "pulsar://a:1,b:2", topic: "t", subscription: "s", deadLetterTopic: "t" };
  expect(() => new PulsarSource(itself)).toThrow("deadLetterTopic must not be the topic itself");
});

test("a package without its native library stops the start, and says what to do", async () => {
  jest.resetModules();
  makePackage = () => {
    // As pulsar-client 1.18 says it after `npm install --ignore-scripts`.
    const library = "/app/node_modules/pulsar-client/lib/binding/pulsar.node";
    throw Object.assign(new Error(`Cannot find module '${library}'`), { code: "MODULE_NOT_FOUND" });
  };
  endings.push(async () => {
    makePackage = () => standInPackage;
  });
  const started = joined(sourceOf(new StandInPulsar()), () => {}).start();
  await expect(started).rejects.toThrow(
    /pulsar\.node'; is its native library there \(npm rebuild pulsar-client\)/,
  );
});
