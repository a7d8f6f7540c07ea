import { cp, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { Admin, Producer } from "@platformatic/kafka";
import { connect } from "amqplib";
import { transform } from "esbuild";
import { bridgeDefaults } from "sluice/bridges";
import { io } from "socket.io-client";
import { blockOf, complete, type Program, Project } from "../guides.ts";
import { root } from "../installed-package.ts";
import { until } from "../redis/redis-server.ts";
import { KafkaServer, kafkaTest } from "./kafka-server.ts";
import { hasRabbit, RabbitmqServer, rabbitTest } from "./rabbitmq-server.ts";

jest.setTimeout(60_000);

let project: Project;
let server: RabbitmqServer;

beforeAll(async () => {
  project = await Project.make("@opentelemetry");
  if (hasRabbit) server = await RabbitmqServer.start();
}, 60_000);

afterAll(async () => {
  await project.close();
  await server?.close();
}, 60_000);

/** A block as a program that runs. */
async function runs(block: string, env: Readonly<Record<string, string>>): Promise<Program> {
  await project.write("program.js", block);
  return project.start(["program.js"], { env });
}

rabbitTest(
  "the guide's program shows a queue's messages to clients, and leaves the queue cleanly",
  async () => {
    const connection = await connect(server.url);
    const channel = await connection.createConfirmChannel();
    await channel.assertQueue("orders");
    const program = await runs(await blockOf("docs/bridges.md", "js", "class Orders"), {
      PORT: "0",
      AMQP_URL: server.url,
    });
    const url = await program.says(/^http:\S+$/m);
    const client = io(`${url}/orders/rome`, { forceNew: true });
    await new Promise<void>((resolve) => client.once("connect", resolve));
    const heard: unknown[] = [];
    client.on("order.changed", (order) => heard.push(order));
    for (const order of [{ shop: "oslo", id: 1 }, { shop: "rome", id: 2 }, "poison"]) {
      channel.sendToQueue("orders", Buffer.from(order === "poison" ? "{" : JSON.stringify(order)));
    }
    await program.says(/message rejected/);
    await until(() => heard.length === 1);
    expect(heard).toEqual([{ shop: "rome", id: 2 }]);
    client.disconnect();
    expect(await program.end()).toBe(0);
    expect((await channel.checkQueue("orders")).messageCount).toBe(0);
    await connection.close();
  },
);

rabbitTest("the guide's small program for STOMP writes what comes", async () => {
  const connection = await connect(server.url);
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue("audit");
  channel.sendToQueue("audit", Buffer.from('{"id":7}'), { messageId: "m-7" });
  const program = await runs(await blockOf("docs/bridges.md", "js", "const audit"), {
    STOMP_URL: `stomp://guest:guest@127.0.0.1:${server.stompPort}`,
    DESTINATION: "/amq/queue/audit",
  });
  await program.says(/"body":\{"id":7\}/);
  expect(await program.end()).toBe(0);
  await connection.close();
});

rabbitTest("the program with another source, of STOMP, shows the queue's messages", async () => {
  const orders = await blockOf("docs/bridges.md", "js", "class Orders");
  const source = await blockOf("docs/bridges.md", "js", "const source = new StompSource");
  const code = orders.replace(/source: new RabbitmqSource\(\{.*?\n {2}\}\),/s, "source,");
  const program = await runs(`${source}\n${code}`, {
    PORT: "0",
    STOMP_URL: `stomp://guest:guest@127.0.0.1:${server.stompPort}`,
  });
  const url = await program.says(/^http:\S+$/m);
  const client = io(`${url}/orders/oslo`, { forceNew: true });
  const heard: unknown[] = [];
  client.on("order.changed", (order) => heard.push(order));
  await new Promise<void>((resolve) => client.once("connect", resolve));
  const connection = await connect(server.url);
  const channel = await connection.createConfirmChannel();
  channel.sendToQueue("orders", Buffer.from('{"shop":"oslo","id":3}'));
  await until(() => heard.length === 1);
  expect(heard).toEqual([{ shop: "oslo", id: 3 }]);
  client.disconnect();
  expect(await program.end()).toBe(0);
  await connection.close();
});

kafkaTest("the guide's program for Kafka writes what comes", async () => {
  const kafka = await KafkaServer.start();
  const base = { clientId: "guide", bootstrapBrokers: [kafka.broker], retries: 20, retryDelay: 100 };
  const [admin, producer] = [new Admin(base), new Producer(base)];
  await until(async () => {
    const made = admin.createTopics({ topics: ["readings"], partitions: 1, replicas: 1 });
    return made.then(
      () => true,
      () => false,
    );
  });
  await producer.send({
    messages: [{ topic: "readings", key: Buffer.from("k-7"), value: Buffer.from('{"id":7}') }],
  });
  const readings = await blockOf("docs/bridges.md", "js", "const readings");
  const program = await runs(readings, { KAFKA_BROKERS: kafka.broker });
  await program.says(/^k-7 \{"id":7\}$/m);
  expect(await program.end()).toBe(0);
  await producer.close(true);
  await admin.close();
  await kafka.close();
});

test("the guide's program for Pulsar runs up to its missing package", async () => {
  const program = await runs(await blockOf("docs/bridges.md", "js", "const tickets"), {});
  await program.says(/the package pulsar-client is not installed/);
});

const LATER =
  "const later = async (fact) => { while (!fact()) await new Promise((resolve) => setTimeout(resolve, 2)); };";

test("the queue in memory counts what waits", async () => {
  const block = await blockOf("docs/bridges.md", "js", "new MemoryQueue()");
  const code = `
    ${LATER}
    const seen = [];
    const to = async ({ body }) => void seen.push(body);
${block}
    await later(() => seen.length === 1 && queue.inHand === 0);
    console.log(JSON.stringify([seen, queue.waiting, queue.inHand, queue.rejected]));
    await orders.stop();`;
  expect(await project.run(await complete(code))).toBe('[[{"shop":"rome"}],0,0,[]]\n');
});

test("a bridge's attempts are spans of the application", async () => {
  const traced = await blockOf("docs/bridges.md", "js", "tracer: app.tracer");
  const code = `
    import { trace } from "@opentelemetry/api";
    import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from "@opentelemetry/sdk-trace-base";
    const exporter = new InMemorySpanExporter();
    trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] }));
    ${LATER}
    const app = createApplication({ routes: [], parts: [tracing()] });
    await app.start();
    const queue = new MemoryQueue("orders");
    const source = queue.source();
    ${traced}
    await orders.start();
    queue.put({ id: 7 });
    await later(() => exporter.getFinishedSpans().length >= 2);
    console.log(exporter.getFinishedSpans().map(({ name }) => name).sort().join());
    await orders.stop();
    await app.stop();`;
  const output = await project.run(await complete(code));
  expect(output).toBe("bridge orders,groupEmit\n");
});

test("without its package a carrier says what to install", async () => {
  const bare = join(project.folder, "bare");
  await mkdir(join(bare, "node_modules/sluice"), { recursive: true });
  await cp(project.dist, join(bare, "node_modules/sluice/dist"), { recursive: true });
  await symlink(join(root, "package.json"), join(bare, "node_modules/sluice/package.json"));
  const { dependencies } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  for (const name of Object.keys(dependencies as object)) {
    await mkdir(dirname(join(bare, "node_modules", name)), { recursive: true });
    await symlink(join(root, "node_modules", name), join(bare, "node_modules", name), "junction");
  }
  const code = `
    import { bridge } from "sluice/bridges";
    import { PulsarSource } from "sluice/bridges/pulsar";
    import { RabbitmqSource } from "sluice/bridges/rabbitmq";
    const rabbit = new RabbitmqSource({ url: "amqp://127.0.0.1:1", queue: "q" });
    const pulsar = new PulsarSource({ serviceUrl: "pulsar://127.0.0.1:1", topic: "t", subscription: "s" });
    for (const source of [rabbit, pulsar]) {
      await bridge({ source, to() {} }).start().catch((error) => console.log(error.name, error.message));
    }`;
  await writeFile(join(bare, "package.json"), JSON.stringify({ type: "module" }));
  await writeFile(join(bare, "program.js"), code);
  const program = project.start([join(bare, "program.js")]);
  await program.ended();
  const told = (name: string) =>
    `ConfigurationError the package ${name} is not installed; run npm install ${name}\n`;
  expect(program.output).toBe(told("amqplib") + told("pulsar-client"));
});

test("the guide's program for Pulsar writes what the stand-in of its package brings", async () => {
  const broker = `
    import { StandInPulsar, standInPackage } from "./stand-in.js";
    const broker = new StandInPulsar();
    const key = { partitionKey: "k-7", data: Buffer.from('{"id":7}') };
    broker.put("persistent://public/default/tickets", key);
    export default standInPackage.default;`;
  const standIn = await readFile(join(root, "test/bridges/pulsar-stand-in.ts"), "utf8");
  const at = "node_modules/pulsar-client";
  await project.write(`${at}/package.json`, '{ "type": "module", "exports": "./index.js" }');
  await project.write(`${at}/index.js`, broker);
  await project.write(`${at}/stand-in.js`, (await transform(standIn, { loader: "ts" })).code);
  const tickets = await blockOf("docs/bridges.md", "js", "const tickets");
  const program = await runs(tickets, { PULSAR_URL: "pulsar://stand-in-0:6650" });
  await program.says(/ k-7 \{"id":7\}$/m);
  expect(await program.end()).toBe(0);
});

test("the guide's table has every option with its default", async () => {
  const text = await readFile(join(root, "docs/bridges.md"), "utf8");
  for (const [name, value] of Object.entries(bridgeDefaults)) {
    const [, shown] = new RegExp(`^\\| \`${name}\` +\\| ([0-9,]+) `, "m").exec(text) ?? [];
    expect([name, shown]).toEqual([name, value.toLocaleString("en-US")]);
  }
});
