import { afterAll, beforeAll, expect, jest } from "@jest/globals";
import { type Channel, type ChannelModel, connect } from "amqplib";
import { ConfigurationError, createApplication } from "sluice";
import {
  type Bridge,
  type BridgedMessage,
  bridge,
  type ExamQueue,
  sourceExam,
  toGroup,
} from "sluice/bridges";
import { RabbitmqSource } from "sluice/bridges/rabbitmq";
import { freePort, until } from "../redis/redis-server.ts";
import { Recorded, TRACEPARENT, withContext } from "../tracing/recorded.ts";
import { Door } from "./door.ts";
import { deadLetters, hasRabbit, RabbitmqServer, rabbitTest } from "./rabbitmq-server.ts";

jest.setTimeout(60_000);

let server: RabbitmqServer;
let connection: ChannelModel;
let channel: Channel;
let queues = 0;
const endings: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  if (!hasRabbit) return;
  server = await RabbitmqServer.start();
  connection = await connect(server.url);
  channel = await connection.createChannel();
}, 60_000);

afterAll(async () => {
  for (const end of endings.splice(0).reverse()) await end();
  await connection?.close();
  await server?.close();
}, 60_000);

/** A queue with a dead letter queue behind it, as a company would have. */
async function makeNames(quorum: boolean): Promise<{ queue: string; dead: string }> {
  const queue = `orders-${queues++}`;
  const dead = `${queue}.dead`;
  await channel.assertQueue(dead, { durable: true });
  await channel.assertQueue(queue, {
    durable: true,
    deadLetterExchange: "",
    deadLetterRoutingKey: dead,
    arguments: quorum ? { "x-queue-type": "quorum" } : {},
  });
  return { queue, dead };
}

async function makeQueue(quorum: boolean): Promise<ExamQueue> {
  const { queue, dead } = await makeNames(quorum);
  const door = await Door.before(server.port);
  const confirmed = await connection.createConfirmChannel();
  return {
    async put(text, headers = {}) {
      confirmed.sendToQueue(queue, Buffer.from(text), { persistent: true, headers });
      await confirmed.waitForConfirms();
    },
    source: () => new RabbitmqSource({ url: `amqp://127.0.0.1:${door.port}`, queue }),
    rejected: deadLetters(channel, dead),
    cut: async () => door.slam(),
    async close() {
      await door.close();
      await confirmed.close();
      await channel.deleteQueue(queue);
      await channel.deleteQueue(dead);
    },
  };
}

for (const { name, run } of sourceExam(() => makeQueue(false))) rabbitTest(`a classic queue: ${name}`, run);
for (const { name, run } of sourceExam(() => makeQueue(true))) rabbitTest(`a quorum queue: ${name}`, run);

function started(source: RabbitmqSource, to: (message: BridgedMessage<unknown>) => unknown): Bridge {
  const mine = bridge({ source, to, reconnectMs: 20, maxReconnectMs: 200 });
  endings.push(() => mine.stop({ withinMs: 0 }));
  return mine;
}

rabbitTest("what the publisher and RabbitMQ say of a message is there", async () => {
  const { queue } = await makeNames(false);
  const heard: BridgedMessage<unknown>[] = [];
  await started(
    new RabbitmqSource({ url: server.url, queue }),
    (message) => void heard.push(message),
  ).start();
  channel.sendToQueue(queue, Buffer.from('{"id":7}'), {
    messageId: "m-7",
    contentType: "application/json",
    correlationId: "c-1",
    headers: { tenant: "eu", depth: 3, list: ["a"] },
  });
  await until(() => heard.length === 1);
  expect(heard[0]).toMatchObject({ id: "m-7", body: { id: 7 }, isRedelivered: false });
  expect(Object.fromEntries(heard[0]?.headers ?? [])).toEqual({
    tenant: "eu",
    depth: "3",
    list: '["a"]',
    exchange: "",
    "routing-key": queue,
    "content-type": "application/json",
    "correlation-id": "c-1",
  });
});

rabbitTest("a message belongs to the trace of its publisher, to the clients' event", async () => {
  const { queue } = await makeNames(false);
  const endContext = withContext();
  endings.push(async () => endContext());
  const recorded = new Recorded();
  const app = createApplication({ routes: [], parts: [recorded.part("a")] });
  endings.push(() => app.stop());
  await app.start();
  const source = new RabbitmqSource({ url: server.url, queue });
  const mine = bridge({ source, to: toGroup(app.layer, "room", "changed"), tracer: app.tracer });
  endings.push(() => mine.stop({ withinMs: 0 }));
  const boot = { hook: "task", what: "boot", id: "1", queue: "default", attempt: 1 } as const;
  await app.tracer?.handles(boot, undefined, () => mine.start());
  // As OpenTelemetry's instrumentation of amqplib writes it.
  channel.sendToQueue(queue, Buffer.from("{}"), { headers: { traceparent: TRACEPARENT } });
  channel.sendToQueue(queue, Buffer.from("{}"));
  await until(() => mine.counts.done === 2);
  const seen = [`bridge RabbitMQ queue "${queue}" (a)`, "  groupEmit (a)"];
  expect(recorded.tree()).toEqual(seen);
  // Without a trace it begins one, and is no part of what has started the bridge.
  const [, alone] = recorded.named(`bridge RabbitMQ queue "${queue}"`);
  expect(recorded.tree(alone?.spanContext().traceId)).toEqual(seen);
});

rabbitTest("what a lost connection brings again is marked", async () => {
  const { queue } = await makeNames(false);
  const door = await Door.before(server.port);
  endings.push(() => door.close());
  const marks: boolean[] = [];
  const source = new RabbitmqSource({ url: `amqp://127.0.0.1:${door.port}`, queue });
  const mine = started(source, ({ isRedelivered }) => {
    marks.push(isRedelivered);
    return marks.length === 1 ? new Promise(() => {}) : undefined;
  });
  await mine.start();
  channel.sendToQueue(queue, Buffer.from("1"));
  await until(() => marks.length === 1);
  door.slam({ stayShut: true });
  await until(() => !mine.isConnected);
  door.open();
  await until(() => mine.counts.done === 1);
  expect(marks).toEqual([false, true]);
});

rabbitTest("a queue that does not exist, a wrong password or vhost stops the start", async () => {
  const { queue } = await makeNames(false);
  const wrong = [
    new RabbitmqSource({ url: server.url, queue: "no-such-queue" }),
    new RabbitmqSource({ url: `amqp://guest:wrong@127.0.0.1:${server.port}`, queue }),
    new RabbitmqSource({ url: `${server.url}/no-such-vhost`, queue }),
  ];
  for (const source of wrong) {
    const mine = started(source, () => {});
    const refused = await mine.start().catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(ConfigurationError);
    expect((refused as Error).message).not.toContain("wrong@");
  }
  expect(() => new RabbitmqSource({ url: "http://localhost", queue: "" })).toThrow(/url .*\n- queue/);
});

rabbitTest("nobody at the address is no fault: it is tried until somebody is", async () => {
  const { queue } = await makeNames(false);
  const door = await Door.before(server.port);
  endings.push(() => door.close());
  door.slam({ stayShut: true });
  const source = new RabbitmqSource({ url: `amqp://127.0.0.1:${door.port}`, queue });
  const mine = started(source, () => {});
  const reasons: Error[] = [];
  mine.signals.down.connect(({ error }) => void reasons.push(error));
  await mine.start();
  await until(() => reasons.length > 1);
  door.open();
  await until(() => mine.isConnected);
  const nobody = new RabbitmqSource({ url: `amqp://127.0.0.1:${await freePort()}`, queue });
  const lonely = started(nobody, () => {});
  await lonely.start();
  expect(lonely.isConnected).toBe(false);
});

rabbitTest(
  "a queue that is deleted under the bridge is missed, and served again when it is back",
  async () => {
    const { queue } = await makeNames(false);
    const mine = started(new RabbitmqSource({ url: server.url, queue }), () => {});
    await mine.start();
    const reasons: string[] = [];
    mine.signals.down.connect(({ error }) => void reasons.push(error.message));
    await channel.deleteQueue(queue);
    await until(() => reasons.length > 1);
    expect(reasons[0]).toContain("is the queue deleted?");
    expect(reasons[1]).toContain("do queue, user and rights exist?");
    await channel.assertQueue(queue);
    await until(() => mine.isConnected);
    channel.sendToQueue(queue, Buffer.from("1"));
    await until(() => mine.counts.done === 1);
  },
);
