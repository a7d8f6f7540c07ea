/** Every scenario, with a handful of clients: that it runs and counts, not what it says. */
import { execFile, fork } from "node:child_process";
import { once } from "node:events";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { payload } from "../../bench/messages.ts";
import { hasRedis, redisTest } from "../redis/redis-server.ts";
import { type BuiltBench, buildBench } from "./built-bench.ts";

const run = promisify(execFile);
const ONE_NODE = [
  ...["groups", "fan-out-10", "fan-out-100", "fan-out-1000", "burst-10", "burst-100", "echo", "shootout"],
  ...["fan-out-5000", "storm", "accept", "memory", "size"],
];
const TWO_NODES = ["cross-node", "cross-burst", "cross-latency"];

let built: BuiltBench;
/** Both at the same time: nearly all of it is waiting for processes. */
let ofOneNode: Promise<string>;
let ofTwoNodes: Promise<string>;

beforeAll(async () => {
  built = await buildBench();
  const variants = ["sluice", "sluice-send", "sluice-history", "socket.io"];
  ofOneNode = bench([...ONE_NODE, "handlers", "history", "start"], variants);
  ofTwoNodes = hasRedis
    ? bench([...TWO_NODES, "rooms", "soak"], ["sluice", "sharded"], ["--profile"])
    : Promise.resolve("");
  // Whoever waits for it is told.
  for (const run of [ofOneNode, ofTwoNodes]) run.catch(() => {});
}, 60_000);

afterAll(() => built?.remove());

/** What it prints for these scenarios. */
async function bench(
  scenarios: readonly string[],
  peers: readonly string[],
  more: readonly string[] = [],
): Promise<string> {
  const args = [
    ...more,
    "--tiny",
    "--only",
    scenarios.join(),
    "--peers",
    peers.join(),
    "--keep",
    built.folder,
  ];
  const { stdout } = await run(process.execPath, [join(built.folder, "suite.js"), ...args], {
    timeout: 100_000,
  });
  return stdout;
}

/** Names of those that took part in a scenario. */
function entrantsOf(scenario: string, output: string): readonly string[] {
  const lines = output.split("\n");
  const at = lines.findIndex((line) => line.startsWith(`${scenario}: `));
  const rest = lines.slice(at + 2);
  return rest
    .slice(0, rest.indexOf(""))
    .filter((line) => !line.includes("measurements were disturbed"))
    .map((line) => line.split(/ {2,}/)[0] ?? "");
}

test("every scenario with one node measures Sluice beside bare Socket.IO", async () => {
  const output = await ofOneNode;
  for (const scenario of ONE_NODE) {
    expect([scenario, ...entrantsOf(scenario, output)]).toEqual([scenario, "Sluice", "Socket.IO"]);
  }
  expect(entrantsOf("handlers", output)).toEqual(["Sluice", "Sluice, groupSend", "Socket.IO"]);
  expect(entrantsOf("history", output)).toEqual(["Sluice", "Sluice, with history", "Socket.IO"]);
  expect(entrantsOf("start", output)).toEqual(["Sluice", "Socket.IO", "Socket.IO with Express"]);
  expect(output).toMatch(/^(met {4}|NOT met) {2}fan-out to 1,000, CPU, of Socket.IO: \d/m);
}, 120_000);

redisTest(
  "every scenario with two nodes measures Sluice beside Socket.IO's sharded adapter",
  async () => {
    const output = await ofTwoNodes;
    for (const scenario of TWO_NODES) {
      expect(entrantsOf(scenario, output)).toEqual(["Sluice", "Socket.IO, createShardedAdapter"]);
    }
    expect(entrantsOf("rooms", output).slice(0, 2)).toEqual(["Sluice, 10 rooms", "Sluice, 30 rooms"]);
    expect(output).toMatch(/soak: MiB by which the heap grew: /);
    expect(output).toMatch(/^Sluice, node 2( +\d+ %){6}$/m);
  },
  120_000,
);

test("a message that comes twice while another is lost is a fault, whatever their number", async () => {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.once("data", () => {
      socket.write("HTTP/1.1 101 Switching Protocols\r\n\r\n");
      socket.write(frame({ t: "w" }));
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  const load = fork(join(built.folder, "load-generator.js"), { execArgv: [] });
  try {
    const ask = async (verb: string, input?: object) => {
      load.send({ id: 1, verb, input });
      const [answer] = await once(load, "message");
      return answer as { readonly value?: unknown; readonly error?: string };
    };
    await ask("connect", { port, wire: "plain", clients: [[0]] });
    const [socket] = sockets;

    await ask("count", { messages: 3, rooms: 1 });
    for (const n of [2, 0, 1]) socket?.write(frame({ t: "m", ...payload(n) }));
    await ask("received", { timeoutMs: 20_000 });
    expect(await ask("tally")).toMatchObject({ value: { events: 3 } });

    await ask("count", { messages: 3, rooms: 1 });
    for (const n of [0, 1, 1]) socket?.write(frame({ t: "m", ...payload(n) }));
    await ask("received", { timeoutMs: 20_000 });
    expect((await ask("tally")).error).toContain("client 0 got 3 messages instead of 3, or one twice");

    await ask("count", { messages: 1, rooms: 1 });
    for (const n of [0, 0]) socket?.write(frame({ t: "m", ...payload(n) }));
    await ask("received", { timeoutMs: 20_000 });
    expect((await ask("tally")).error).toContain("2 deliveries instead of 1");
  } finally {
    load.disconnect();
    await once(load, "exit");
    for (const socket of sockets) socket.destroy();
    server.close();
  }
}, 60_000);

/** Of a server: a text of less than 65,536 bytes. */
function frame(said: object): Buffer {
  const text = Buffer.from(JSON.stringify(said));
  const { length } = text;
  const size = length < 126 ? [length] : [126, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.of(0x81, ...size), text]);
}
