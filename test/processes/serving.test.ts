import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { rm, writeFile } from "node:fs/promises";
import { Agent, type AgentOptions, get } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { io, type ManagerOptions, type Socket } from "socket.io-client";
import { application, folder, kill, type Program, start } from "../cli/programs.ts";
import { atEnd, heard, until } from "../server/live-server.ts";

/** One room. Over HTTP it tells the digest of what was posted, and how many sockets are open. */
const ROOM = `
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { Consumer, createApplication, http, route, sse } from "sluice";
import { createServer } from "sluice/server";

class Room extends Consumer {
  async connect() {
    await this.groupAdd("room");
  }
  async receive(event, payload) {
    if (event === "who") return { pid: process.pid, address: this.scope.remoteAddress };
    await this.groupEmit("room", event, payload);
    return { sent: true };
  }
  async disconnect({ kind }) {
    if (kind !== "stopping") return;
    console.log("goodbye");
    if (existsSync("hang")) await new Promise(() => {});
  }
}

const digest = (request, response) => {
  const hash = createHash("sha256");
  request.on("data", (chunk) => hash.update(chunk)).on("end", () => response.end(hash.digest("hex")));
};
const sockets = (_request, response) => {
  response.json({ pid: process.pid, open: process.getActiveResourcesInfo().filter((name) => name === "TCPSocketWrap").length });
};

export function compose({ backplane, serverOptions, processes }) {
  if (existsSync("poison")) process.exit(3);
  const routes = [route("/room", Room), sse("/stream", Room), http("/digest", digest, { methods: ["POST"] }), http("/sockets", sockets)];
  const app = createApplication({ routes, backplane });
  const server = createServer(app, serverOptions);
  server.express.get("/processes", (_request, response) => response.send(String(processes)));
  return server;
}
`;

async function room(processes: number, env: Readonly<Record<string, string>> = {}) {
  const program = start(await application(ROOM), ["--processes", String(processes)], { env });
  const url = await program.url();
  return { program, url, port: Number(new URL(url).port) };
}

async function joined(url: string, options: Partial<ManagerOptions> = {}): Promise<Socket> {
  const socket = io(`${url}/room`, {
    forceNew: true,
    reconnectionDelay: 20,
    reconnectionDelayMax: 200,
    ...options,
  });
  atEnd(() => socket.disconnect());
  await until(() => socket.connected, "a client connects");
  return socket;
}

async function pidOf(socket: Socket): Promise<number> {
  return (await socket.emitWithAck("who")).pid;
}

/** Two clients that different processes serve. */
async function apart(url: string, options: Partial<ManagerOptions> = {}) {
  const ann = await joined(url, options);
  for (let i = 0; i < 20; i++) {
    const bob = await joined(url, options);
    if ((await pidOf(bob)) !== (await pidOf(ann))) return { ann, bob };
    bob.disconnect();
  }
  throw new Error("all clients landed on one process");
}

function serving(program: Program): number {
  return program.log.filter(({ msg }) => msg === "process serves").length;
}

test.each([
  ["WebSockets", { transports: ["websocket"] }],
  ["polling", { transports: ["polling"] }],
  ["polling that becomes a WebSocket", { transports: ["polling", "websocket"] }],
] as const)("clients on different processes hear each other, over %s", async (_name, { transports }) => {
  const { url } = await room(3);
  const { ann, bob } = await apart(url, { transports: [...transports] });
  const texts = Array.from({ length: 50 }, (_, i) => `text ${i}`);
  const drops: string[] = [];
  for (const client of [ann, bob]) client.on("disconnect", (reason) => drops.push(reason));
  const heardByBob: string[] = [];
  bob.on("say", (text) => heardByBob.push(text));
  for (const text of texts) expect(await ann.emitWithAck("say", text)).toEqual({ sent: true });
  await until(() => heardByBob.length === texts.length, "bob hears all");
  expect(heardByBob).toEqual(texts);
  if (transports.length === 2) {
    await until(() => ann.io.engine.transport.name === "websocket", "it becomes a WebSocket");
  }
  expect(drops).toEqual([]);
});

test("many polling clients stay on their process, whatever others do", async () => {
  const { url } = await room(3);
  const clients = await Promise.all(
    Array.from({ length: 12 }, () => joined(url, { transports: ["polling"] })),
  );
  const drops: string[] = [];
  for (const client of clients) client.on("disconnect", (reason) => drops.push(reason));
  const pids = await Promise.all(clients.map(pidOf));
  expect(new Set(pids).size).toBe(3);
  for (let round = 0; round < 10; round++) {
    expect(await Promise.all(clients.map(pidOf))).toEqual(pids);
  }
  expect(drops).toEqual([]);
});

test("a consumer sees the client's own address", async () => {
  const { url } = await room(2);
  const agent = new Agent({ localAddress: "127.0.0.9" } as AgentOptions);
  const client = await joined(url, { transports: ["websocket"], agent } as object);
  expect((await client.emitWithAck("who")).address).toBe("127.0.0.9");
});

test("streams of events reach clients from all processes", async () => {
  const { url, port } = await room(2);
  const { ann, bob } = await apart(url, { transports: ["websocket"] });
  let text = "";
  const stream = get({ port, host: "127.0.0.1", path: "/stream", headers: { accept: "text/event-stream" } });
  atEnd(() => stream.destroy());
  stream.on("error", () => {});
  stream.on("response", (response) => response.setEncoding("utf8").on("data", (chunk) => (text += chunk)));
  await until(() => text !== "", "the stream opens");
  await ann.emitWithAck("say", "from ann");
  await bob.emitWithAck("say", "from bob");
  await until(() => text.includes("from ann") && text.includes("from bob"), "the stream hears both");
});

test("a request that comes in pieces arrives whole, also when many come at once", async () => {
  const { port } = await room(2);
  const posts = Array.from({ length: 150 }, async () => {
    const body = randomBytes(30_000);
    const bytes = Buffer.concat([
      Buffer.from(`POST /digest HTTP/1.1\r\nHost: x\r\nContent-Length: ${body.length}\r\n\r\n`),
      body,
    ]);
    const socket = connect(port, "127.0.0.1");
    let answer = "";
    socket.setEncoding("utf8").on("data", (chunk) => (answer += chunk));
    await once(socket, "connect");
    // In the middle of the first line, of the head, and of the body.
    let from = 0;
    for (const to of [9, 30, 60, 5_000, 20_000, bytes.length]) {
      socket.write(bytes.subarray(from, to));
      from = to;
      await new Promise((resolve) => setImmediate(resolve));
    }
    await once(socket, "close");
    expect(answer).toMatch(/^HTTP\/1\.1 200 /);
    expect(answer.endsWith(createHash("sha256").update(body).digest("hex"))).toBe(true);
  });
  await Promise.all(posts);
});

test("nothing of a request that was answered is left in any process", async () => {
  const { url } = await room(2);
  for (let i = 0; i < 100; i++) {
    const response = await fetch(`${url}/digest`, { method: "POST", body: "x" });
    expect(response.headers.get("connection")).toBe("close");
    await response.text();
  }
  for (let i = 0; i < 10; i++) {
    const { open } = (await (await fetch(`${url}/sockets`)).json()) as { open: number };
    expect(open).toBeLessThan(10);
  }
});

test("the composition root is told how many processes there are", async () => {
  const { url } = await room(2);
  expect(await (await fetch(`${url}/processes`)).text()).toBe("2");
});

test("a process that is killed is replaced, and its clients come back", async () => {
  const { program, url } = await room(2);
  const { ann, bob } = await apart(url);
  const [annsPid, bobsPid] = [await pidOf(ann), await pidOf(bob)];
  const lost = heard(bob, "disconnect");
  kill(bobsPid, "SIGKILL");
  await lost;
  await until(() => bob.connected, "bob comes back");
  await until(() => serving(program) === 3, "another process serves");
  const heardByAnn = heard(ann, "say");
  expect(await bob.emitWithAck("say", "I am back")).toEqual({ sent: true });
  expect(await heardByAnn).toEqual(["I am back"]);
  expect(await pidOf(ann)).toBe(annsPid);
  // The new one is one of them.
  const newPid = program.log.findLast(({ msg }) => msg === "process serves")?.pid as number;
  await until(() => newPid > 0, "its number");
  for (let i = 0; i < 40; i++) {
    const client = await joined(url, { transports: ["websocket"] });
    if ((await pidOf(client)) !== newPid) continue;
    const heardByClient = heard(client, "say");
    await ann.emitWithAck("say", "welcome");
    expect(await heardByClient).toEqual(["welcome"]);
    return;
  }
  throw new Error("nobody landed on the new process");
});

test("a frozen process gets no newcomers", async () => {
  const { url } = await room(2);
  const { ann, bob } = await apart(url, { transports: ["websocket"] });
  const [annsPid, bobsPid] = [await pidOf(ann), await pidOf(bob)];
  kill(bobsPid, "SIGSTOP");
  // Until it has been silent for a while some go to it all the same.
  let inARow = 0;
  while (inARow < 10) {
    const answer = await fetch(`${url}/sockets`, { signal: AbortSignal.timeout(500) }).catch(() => undefined);
    inARow = answer === undefined ? 0 : inARow + 1;
    if (answer !== undefined) expect(((await answer.json()) as { pid: number }).pid).toBe(annsPid);
  }
  kill(bobsPid, "SIGCONT");
  await until(() => bob.connected, "it goes on");
});

test("on SIGTERM each process says goodbye to its clients, then all is over with exit code 0", async () => {
  const { program, url } = await room(2);
  const { ann, bob } = await apart(url);
  const goodbyes = [heard(ann, "sluice.close"), heard(bob, "sluice.close")];
  for (const client of [ann, bob]) client.io.reconnection(false);
  program.child.kill("SIGTERM");
  for (const goodbye of goodbyes) expect(await goodbye).toMatchObject([{ code: 4503 }]);
  const { code, stderr } = await program.ended;
  expect([code, stderr, program.count("goodbye")]).toEqual([0, "", 2]);
});

test("while it drains the balancer is told by every process, and clients go on until it is their turn", async () => {
  const { program, url } = await room(2, { DRAIN_DELAY_MS: "1500" });
  const { ann, bob } = await apart(url);
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
  program.child.kill("SIGTERM");
  await until(() => program.log.filter(({ msg }) => msg === "draining").length === 2, "both drain");
  for (let i = 0; i < 6; i++) expect((await fetch(`${url}/readyz`)).status).not.toBe(200);
  const heardByBob = heard(bob, "say");
  expect(await ann.emitWithAck("say", "still here")).toEqual({ sent: true });
  expect(await heardByBob).toEqual(["still here"]);
  for (const client of [ann, bob]) client.io.reconnection(false);
  expect((await program.ended).code).toBe(0);
});

test("Ctrl+C, which all processes hear, and a manager that tells each of them, end it just as well", async () => {
  const { program, url } = await room(2);
  const { ann, bob } = await apart(url);
  const pids = [await pidOf(ann), await pidOf(bob)];
  for (const client of [ann, bob]) client.io.reconnection(false);
  for (const pid of pids) kill(pid, "SIGINT");
  for (const pid of pids) kill(pid, "SIGTERM");
  program.child.kill("SIGINT");
  const { code } = await program.ended;
  expect([code, program.count("goodbye")]).toEqual([0, 2]);
});

test("a second SIGTERM ends it at once, with exit code 1", async () => {
  await writeFile(join(folder(), "hang"), "");
  atEnd(() => rm(join(folder(), "hang")));
  const { program, url } = await room(2);
  await apart(url);
  program.child.kill("SIGTERM");
  await until(() => program.count("goodbye") >= 2, "the hooks run");
  program.child.kill("SIGTERM");
  expect((await program.ended).code).toBe(1);
});

test("a process that was asked to end, alone, is replaced without a delay", async () => {
  const { program, url } = await room(2);
  const { ann } = await apart(url);
  kill(await pidOf(ann), "SIGTERM");
  await until(() => serving(program) === 3, "another process serves");
  expect(program.log.map(({ msg }) => msg)).toContain("process ended as it was asked to; another one begins");
});

test("processes that end again and again soon after their beginning are given up once nobody serves, with exit code 1", async () => {
  const { program, url } = await room(2);
  const { ann, bob } = await apart(url);
  await writeFile(join(folder(), "poison"), "");
  atEnd(() => rm(join(folder(), "poison")));
  const survivor = await pidOf(bob);
  kill(await pidOf(ann), "SIGKILL");
  const deaths = () => program.log.filter(({ msg }) => msg === "process ended; another one begins");
  await until(() => deaths().length > 5, "the place is not given up while the other process serves");
  expect(
    deaths()
      .map(({ delayMs }) => delayMs)
      .slice(0, 5),
  ).toEqual([200, 400, 800, 1600, 3200]);
  expect(bob.connected).toBe(true);
  kill(survivor, "SIGKILL");
  const { code, stderr } = await program.ended;
  expect(code).toBe(1);
  expect(stderr).toMatch(
    /^sluice: a process ended with exit code 3, \d+ times in a row soon after its beginning; the log above says why\n$/,
  );
});

test("what is wrong with the application is said once, not by each process", async () => {
  const module = await application(
    `import { createApplication } from "sluice";
     export const compose = () => createApplication({ routes: [], nonsense: 1 });`,
    "wrong.js",
  );
  const { code, stderr } = await start(module, ["--processes", "4"]).ended;
  expect(code).toBe(1);
  expect(stderr).toMatch(/^sluice: application\.nonsense is no option[^\n]*\n$/);
});

test("a process that ends without a word before it serves is said to have done so", async () => {
  const module = await application("process.exit(7);", "silent.js");
  const { code, stderr } = await start(module, ["--processes", "4"]).ended;
  expect([code, stderr]).toEqual([1, "sluice: the first process ended with exit code 7 before it served\n"]);
});

test("where the port is taken no process begins", async () => {
  const { port } = await room(1);
  const { code, stderr, stdout } = await start("app.js", ["--processes", "2", "--port", String(port)]).ended;
  expect([code, stdout]).toEqual([1, ""]);
  expect(stderr).toContain(`127.0.0.1:${port} is in use already`);
});
