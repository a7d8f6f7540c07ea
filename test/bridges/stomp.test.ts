import { connect as connectTcp } from "node:net";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { Client } from "@stomp/stompjs";
import { type Channel, type ChannelModel, connect } from "amqplib";
import { ConfigurationError } from "sluice";
import { type Bridge, type BridgedMessage, bridge, type ExamQueue, sourceExam } from "sluice/bridges";
import { StompSource } from "sluice/bridges/stomp";
import { TcpSocket } from "../../src/bridges/tcp-socket.ts";
import { until } from "../redis/redis-server.ts";
import { ActivemqServer, activemqTest, hasActivemq } from "./activemq-server.ts";
import { Door } from "./door.ts";
import { deadLetters, hasRabbit, RabbitmqServer, rabbitTest } from "./rabbitmq-server.ts";

jest.setTimeout(60_000);

let rabbit: RabbitmqServer;
let amqp: ChannelModel;
let channel: Channel;
let active: ActivemqServer;
/** A client of ActiveMQ, for what others would put into its queues. */
let other: Client;
const dead: { readonly text: string; readonly from: string }[] = [];
let queues = 0;
const endings: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  if (hasRabbit) {
    rabbit = await RabbitmqServer.start();
    amqp = await connect(rabbit.url);
    channel = await amqp.createChannel();
  }
  if (hasActivemq) {
    active = await ActivemqServer.start();
    other = new Client({
      webSocketFactory: () => new TcpSocket(connectTcp(active.port, "127.0.0.1"), "connect", "activemq"),
      reconnectDelay: 0,
    });
    const connected = new Promise<void>((resolve) => {
      other.onConnect = () => resolve();
    });
    other.activate();
    await connected;
    other.subscribe("/queue/ActiveMQ.DLQ", ({ body, headers }) => {
      dead.push({ text: body, from: String(headers["original-destination"] ?? headers.from) });
    });
  }
}, 60_000);

afterAll(async () => {
  for (const end of endings.splice(0).reverse()) await end();
  await other?.deactivate();
  await amqp?.close();
  await Promise.all([active?.close(), rabbit?.close()]);
}, 60_000);

async function rabbitQueue(): Promise<ExamQueue> {
  const queue = `stomp-${queues++}`;
  const rejects = `${queue}.dead`;
  await channel.assertQueue(rejects);
  await channel.assertQueue(queue, { deadLetterExchange: "", deadLetterRoutingKey: rejects });
  const door = await Door.before(rabbit.stompPort);
  const confirmed = await amqp.createConfirmChannel();
  return {
    async put(text, headers = {}) {
      confirmed.sendToQueue(queue, Buffer.from(text), { persistent: true, headers });
      await confirmed.waitForConfirms();
    },
    source: () =>
      new StompSource({
        url: `stomp://guest:guest@127.0.0.1:${door.port}`,
        destination: `/amq/queue/${queue}`,
      }),
    rejected: deadLetters(channel, rejects),
    cut: async () => door.slam(),
    async close() {
      await door.close();
      await confirmed.close();
    },
  };
}

async function activeQueue(): Promise<ExamQueue> {
  const queue = `/queue/stomp-${queues++}`;
  const door = await Door.before(active.port);
  let receipts = 0;
  return {
    async put(text, headers = {}) {
      const receipt = `${queue} ${receipts++}`;
      const kept = new Promise<void>((resolve) => other.watchForReceipt(receipt, () => resolve()));
      const body = Buffer.from(text);
      other.publish({
        destination: queue,
        binaryBody: body,
        headers: { ...headers, from: queue, persistent: "true", receipt },
      });
      await kept;
    },
    source: () => new StompSource({ url: `stomp://127.0.0.1:${door.port}`, destination: queue }),
    async rejected(count) {
      const mine = () => dead.filter(({ from }) => from === queue).map(({ text }) => text);
      await until(() => mine().length >= count);
      return mine();
    },
    cut: async () => door.slam(),
    close: () => door.close(),
  };
}

for (const { name, run } of sourceExam(rabbitQueue)) rabbitTest(`RabbitMQ's STOMP: ${name}`, run);
for (const { name, run } of sourceExam(activeQueue)) activemqTest(`ActiveMQ: ${name}`, run);

function started(source: StompSource, to: (message: BridgedMessage<unknown>) => unknown): Bridge {
  const mine = bridge({ source, to, reconnectMs: 20, maxReconnectMs: 200 });
  endings.push(() => mine.stop({ withinMs: 0 }));
  return mine;
}

activemqTest("a message of ActiveMQ keeps its id when it comes again, and is marked", async () => {
  const queue = await activeQueue();
  endings.push(() => queue.close());
  const seen: [string, boolean][] = [];
  const mine = started(queue.source() as StompSource, ({ id, isRedelivered }) => {
    seen.push([id, isRedelivered]);
    return seen.length === 1 ? new Promise(() => {}) : undefined;
  });
  await mine.start();
  await queue.put("1");
  await until(() => seen.length === 1);
  await queue.cut();
  await until(() => mine.counts.done === 1);
  const [id] = seen[0] ?? [""];
  expect(id).toMatch(/^ID:/);
  expect(seen).toEqual([
    [id, false],
    [id, true],
  ]);
});

rabbitTest("a wrong password or vhost stops the start", async () => {
  const at = `127.0.0.1:${rabbit.stompPort}`;
  const destination = "/amq/queue/none";
  const wrong = [
    new StompSource({ url: `stomp://guest:wrong@${at}`, destination }),
    new StompSource({ url: `stomp://guest:guest@${at}/none`, destination }),
  ];
  for (const source of wrong) {
    const mine = started(source, () => {});
    const refused = await mine.start().catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(ConfigurationError);
    expect(String(refused)).not.toContain("wrong@");
  }
  // RabbitMQ says yes first, and looks for the queue then.
  const missing = started(new StompSource({ url: `stomp://guest:guest@${at}`, destination }), () => {});
  const reasons: string[] = [];
  missing.signals.down.connect(({ error }) => void reasons.push(error.message));
  await missing.start();
  await until(() => reasons.length > 1);
  expect(reasons[0]).toContain("no queue 'none'");
});

rabbitTest("nobody at the address is no fault: it is tried until somebody is", async () => {
  const queue = `stomp-${queues++}`;
  await channel.assertQueue(queue);
  const door = await Door.before(rabbit.stompPort);
  endings.push(() => door.close());
  door.slam({ stayShut: true });
  const url = `stomp://guest:guest@127.0.0.1:${door.port}`;
  const mine = started(new StompSource({ url, destination: `/amq/queue/${queue}` }), () => {});
  const reasons: Error[] = [];
  mine.signals.down.connect(({ error }) => void reasons.push(error));
  await mine.start();
  await until(() => reasons.length > 1);
  door.open();
  await until(() => mine.isConnected);
});

test("a wrong URL or destination is refused at once", () => {
  expect(() => new StompSource({ url: "ws://localhost", destination: "" })).toThrow(/url .*\n- destination/);
});
