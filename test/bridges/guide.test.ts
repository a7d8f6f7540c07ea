import { cp, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { connect } from "amqplib";
import { bridgeDefaults } from "sluice/bridges";
import { io } from "socket.io-client";
import { blockOf, type Program, Project } from "../guides.ts";
import { root } from "../installed-package.ts";
import { until } from "../redis/redis-server.ts";
import { hasRabbit, RabbitmqServer, rabbitTest } from "./rabbitmq-server.ts";

jest.setTimeout(60_000);

let project: Project;
let server: RabbitmqServer;

beforeAll(async () => {
  project = await Project.make();
  if (hasRabbit) server = await RabbitmqServer.start();
}, 60_000);

afterAll(async () => {
  await project.close();
  await server?.close();
}, 60_000);

/** The guide's first block with that in it, as a program that runs. */
async function runs(word: string, env: Readonly<Record<string, string>>): Promise<Program> {
  await project.write("program.js", await blockOf("docs/bridges.md", "js", word));
  return project.start(["program.js"], { env });
}

rabbitTest(
  "the guide's program shows a queue's messages to clients, and leaves the queue cleanly",
  async () => {
    const connection = await connect(server.url);
    const channel = await connection.createConfirmChannel();
    await channel.assertQueue("orders");
    const program = await runs("class Orders", { PORT: "0", AMQP_URL: server.url });
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
  const program = await runs("const audit", {
    STOMP_URL: `stomp://guest:guest@127.0.0.1:${server.stompPort}`,
    DESTINATION: "/amq/queue/audit",
  });
  await program.says(/"body":\{"id":7\}/);
  expect(await program.end()).toBe(0);
  await connection.close();
});

test("the guide's program for Pulsar runs up to its missing package", async () => {
  const program = await runs("const tickets", {});
  await program.says(/the package pulsar-client is not installed/);
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

test("the guide's table has every option with its default", async () => {
  const text = await readFile(join(root, "docs/bridges.md"), "utf8");
  for (const [name, value] of Object.entries(bridgeDefaults)) {
    const [, shown] = new RegExp(`^\\| \`${name}\` +\\| ([0-9,]+) `, "m").exec(text) ?? [];
    expect([name, shown]).toEqual([name, value.toLocaleString("en-US")]);
  }
});
