import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { connect } from "amqplib";
import { bridgeDefaults } from "sluice/bridges";
import { io } from "socket.io-client";
import { type InstalledPackage, installPackage, root } from "../installed-package.ts";
import { until } from "../redis/redis-server.ts";
import { hasRabbit, RabbitmqServer, rabbitTest } from "./rabbitmq-server.ts";

jest.setTimeout(60_000);

let installed: InstalledPackage;
let server: RabbitmqServer;
const programs: ChildProcess[] = [];

beforeAll(async () => {
  installed = await installPackage();
  if (hasRabbit) server = await RabbitmqServer.start();
}, 60_000);

afterAll(async () => {
  for (const program of programs) if (program.exitCode === null) program.kill("SIGKILL");
  await server?.close();
  await installed.remove();
}, 60_000);

/** The guide's first block with that in it, as a program that runs. */
async function runs(word: string, env: Readonly<Record<string, string>>) {
  const text = await readFile(join(root, "docs/bridges.md"), "utf8");
  const blocks = [...text.matchAll(/```js\n(.*?)```/gs)].map(([, code]) => String(code));
  const code = blocks.find((block) => block.includes(word));
  await writeFile(join(installed.folder, "program.js"), String(code));
  const program = spawn(process.execPath, ["program.js"], {
    cwd: installed.folder,
    env: { ...process.env, ...env },
  });
  programs.push(program);
  const said = { output: "" };
  for (const stream of [program.stdout, program.stderr]) {
    stream?.on("data", (chunk) => {
      said.output += chunk;
    });
  }
  const end = async () => {
    const ended = once(program, "exit");
    program.kill("SIGTERM");
    return (await ended)[0];
  };
  return { said, end };
}

rabbitTest(
  "the guide's program shows a queue's messages to clients, and leaves the queue cleanly",
  async () => {
    const connection = await connect(server.url);
    const channel = await connection.createConfirmChannel();
    await channel.assertQueue("orders");
    const { said, end } = await runs("class Orders", { PORT: "0", AMQP_URL: server.url });
    await until(() => /^http:\S+$/m.test(said.output));
    const [url] = /^http:\S+$/m.exec(said.output) ?? [];
    const client = io(`${url}/orders/rome`, { forceNew: true });
    await new Promise<void>((resolve) => client.once("connect", resolve));
    const heard: unknown[] = [];
    client.on("order.changed", (order) => heard.push(order));
    for (const order of [{ shop: "oslo", id: 1 }, { shop: "rome", id: 2 }, "poison"]) {
      channel.sendToQueue("orders", Buffer.from(order === "poison" ? "{" : JSON.stringify(order)));
    }
    await until(() => heard.length === 1 && said.output.includes("message rejected"));
    expect(heard).toEqual([{ shop: "rome", id: 2 }]);
    client.disconnect();
    expect(await end()).toBe(0);
    expect((await channel.checkQueue("orders")).messageCount).toBe(0);
    await connection.close();
  },
);

rabbitTest("the guide's small program for STOMP writes what comes", async () => {
  const connection = await connect(server.url);
  const channel = await connection.createConfirmChannel();
  await channel.assertQueue("audit");
  channel.sendToQueue("audit", Buffer.from('{"id":7}'), { messageId: "m-7" });
  const { said, end } = await runs("const audit", {
    STOMP_URL: `stomp://guest:guest@127.0.0.1:${server.stompPort}`,
    DESTINATION: "/amq/queue/audit",
  });
  await until(() => said.output.includes('"body":{"id":7}'));
  expect(await end()).toBe(0);
  await connection.close();
});

test("the guide's program for Pulsar runs up to its missing package", async () => {
  const { said } = await runs("const tickets", {});
  await until(() => said.output.includes("the package pulsar-client is not installed"));
});

test("without its package a carrier says what to install", async () => {
  const { folder } = installed;
  const bare = join(folder, "bare");
  await mkdir(join(bare, "node_modules/sluice"), { recursive: true });
  await cp(installed.dist, join(bare, "node_modules/sluice/dist"), { recursive: true });
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
  const program = spawn(process.execPath, ["program.js"], { cwd: bare });
  let output = "";
  for (const stream of [program.stdout, program.stderr]) {
    stream.on("data", (chunk) => {
      output += chunk;
    });
  }
  await once(program, "close");
  const told = (name: string) =>
    `ConfigurationError the package ${name} is not installed; run npm install ${name}\n`;
  expect(output).toBe(told("amqplib") + told("pulsar-client"));
});

test("the guide's table has every option with its default", async () => {
  const text = await readFile(join(root, "docs/bridges.md"), "utf8");
  for (const [name, value] of Object.entries(bridgeDefaults)) {
    const [, shown] = new RegExp(`^\\| \`${name}\` +\\| ([0-9,]+) `, "m").exec(text) ?? [];
    expect([name, shown]).toEqual([name, value.toLocaleString("en-US")]);
  }
});
