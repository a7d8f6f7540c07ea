import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { Admin, Consumer, Producer } from "@platformatic/kafka";
import { ConfigurationError } from "sluice";
import { type Bridge, type BridgedMessage, bridge, type ExamQueue, sourceExam } from "sluice/bridges";
import { KafkaSource } from "sluice/bridges/kafka";
import { until } from "../redis/redis-server.ts";
import { hasKafka, KafkaServer, kafkaTest } from "./kafka-server.ts";

jest.setTimeout(120_000);

let server: KafkaServer;
let admin: Admin;
let producer: Producer;
let topics = 0;
const endings: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  if (!hasKafka) return;
  server = await KafkaServer.start();
  const base = { clientId: "test", bootstrapBrokers: [server.broker], retries: 20, retryDelay: 100 };
  admin = new Admin(base);
  producer = new Producer(base);
  await until(async () => {
    try {
      await admin.createTopics({ topics: ["ready"], partitions: 1, replicas: 1 });
      return true;
    } catch {
      return false;
    }
  });
}, 60_000);

afterAll(async () => {
  for (const end of endings.splice(0).reverse()) await end();
  await producer?.close(true);
  await admin?.close();
  await server?.close();
}, 60_000);

async function newTopic(partitions = 1): Promise<string> {
  const topic = `orders-${topics++}`;
  await admin.createTopics({ topics: [topic, `${topic}.dead`], partitions, replicas: 1 });
  return topic;
}

const source = (topic: string) =>
  new KafkaSource({
    brokers: [server.broker],
    topic,
    groupId: `sluice-${topic}`,
    deadLetterTopic: `${topic}.dead`,
    sessionTimeoutMs: 1_000,
  });

async function put(topic: string, text: string | Uint8Array, headers: object = {}, key = "k"): Promise<void> {
  const named = Object.entries(headers).map(
    ([name, value]) => [Buffer.from(name), Buffer.from(value)] as const,
  );
  const value = Buffer.from(text);
  await producer.send({ messages: [{ topic, key: Buffer.from(key), value, headers: new Map(named) }] });
}

async function makeQueue(): Promise<ExamQueue> {
  const topic = await newTopic();
  const rejected: string[] = [];
  let reader: Consumer | undefined;
  return {
    put: (text, headers) => put(topic, text, headers),
    source: () => source(topic),
    async rejected(count) {
      if (reader === undefined) {
        reader = new Consumer({
          clientId: "undertaker",
          groupId: `${topic}.dead`,
          bootstrapBrokers: [server.broker],
        });
        const stream = await reader.consume({ topics: [`${topic}.dead`], mode: "earliest" });
        stream.on("data", ({ value }) => void rejected.push(String(value)));
        stream.on("error", () => {});
      }
      await until(() => rejected.length >= count);
      return rejected;
    },
    cut: async () => server.door.slam(),
    close: async () => {
      await reader?.close(true);
    },
  };
}

for (const { name, run } of sourceExam(makeQueue, { patienceMs: 40_000 })) kafkaTest(name, run);

function started(source: KafkaSource, to: (message: BridgedMessage<unknown>) => unknown): Bridge {
  const mine = bridge({ source, to, retryMs: 20, reconnectMs: 20, maxReconnectMs: 200 });
  endings.push(() => mine.stop({ withinMs: 0 }));
  return mine;
}

kafkaTest("what was published and where it is stands in the message", async () => {
  const topic = await newTopic();
  const heard: BridgedMessage<unknown>[] = [];
  await put(topic, '{"id":7}', { tenant: "eu" }, "order-7");
  await started(source(topic), (message) => void heard.push(message)).start();
  await until(() => heard.length === 1);
  expect(heard[0]).toMatchObject({ id: `${topic}/0/0`, body: { id: 7 }, isRedelivered: false });
  expect(Object.fromEntries(heard[0]?.headers ?? [])).toEqual({
    tenant: "eu",
    key: "order-7",
    partition: "0",
  });
});

kafkaTest("each partition keeps its order, and one that waits does not stop the others", async () => {
  const topic = await newTopic(4);
  const heard = new Map<string, number[]>();
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let held: string | undefined;
  const mine = started(source(topic), ({ body, headers }) => {
    const partition = headers.get("partition") as string;
    heard.set(partition, [...(heard.get(partition) ?? []), body as number]);
    held ??= partition;
    return held === partition ? released : undefined;
  });
  for (let i = 0; i < 100; i++) await put(topic, String(i), {}, `key-${i}`);
  await mine.start();
  const others = () => [...heard].filter(([partition]) => partition !== held).flatMap(([, all]) => all);
  const isQuiet = () => mine.counts.inHand === 1 && mine.counts.done > 0;
  await until(() => isQuiet() && others().length === mine.counts.done);
  expect(heard.get(held as string)).toHaveLength(1);
  release();
  await until(() => mine.counts.done === 100);
  for (const numbers of heard.values()) expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
});

kafkaTest("when another joins and leaves, the partitions move, and no message is missing", async () => {
  const topic = await newTopic(4);
  const heard = new Set<number>();
  const to = ({ body }: BridgedMessage<unknown>) => void heard.add(body as number);
  const one = started(source(topic), to);
  await one.start();
  let sent = 0;
  const publish = async (count: number) => {
    for (let i = 0; i < count; i++) await put(topic, String(sent++), {}, `key-${i}`);
  };
  await publish(50);
  const two = started(source(topic), to);
  await two.start();
  await until(async () => {
    await publish(10);
    return two.counts.done > 0;
  });
  await two.stop();
  await publish(50);
  await until(() => one.counts.done + two.counts.done >= sent && heard.size === sent);
});

kafkaTest("a topic that does not exist stops the start", async () => {
  const mine = started(source("no-such-topic"), () => {});
  await expect(mine.start()).rejects.toThrow(ConfigurationError);
});

test("on a Node that the client cannot run on, the start says so", async () => {
  if ("withResolvers" in Promise) return;
  const source = new KafkaSource({ brokers: ["localhost:1"], topic: "t", groupId: "g" });
  await expect(started(source, () => {}).start()).rejects.toThrow("needs Node.js 22.22 or newer");
});

test("wrong options are refused at once", () => {
  const make = () => new KafkaSource({ brokers: ["localhost"], topic: "", groupId: "g" });
  expect(make).toThrow(/brokers .*\n- topic/);
});
