/** What the pages show of Redis, of servers and of clients runs against real ones, and does what they say. */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { io } from "socket.io-client";
import { blockOf, complete, Project } from "../guides.ts";
import { RedisServer, redisTest } from "../redis/redis-server.ts";
import { atEnd, connected, heard } from "../server/live-server.ts";
import { surroundingsOf } from "./surroundings.ts";

jest.setTimeout(90_000);

let project: Project;

beforeAll(async () => {
  project = await Project.make("socket.io-client", "express", "redis");
});
afterAll(() => project.close());

async function redis(): Promise<string> {
  const server = await RedisServer.start();
  atEnd(() => server.close());
  return server.url;
}

/** Runs code of a page with all that it takes for granted; what it wrote, line by line. */
async function tried(name: string, code: string, REDIS_URL = ""): Promise<readonly string[]> {
  const whole = await complete(code.replace(/^ {4}/gm, ""), surroundingsOf(`docs/${name}.md`));
  return (await project.run(whole, { env: { REDIS_URL } })).trimEnd().split("\n");
}

const ROOM = `
const routes = [route("/chat/:room", class extends Consumer {
  async connect() { await this.groupAdd("chat." + this.scope.params.room); }
  async receive(event, payload) { await this.groupEmit("chat." + this.scope.params.room, event, payload); }
})];
const url = process.env.REDIS_URL;
`;

redisTest("a backplane in Redis, and a script without sockets that reaches its clients", async () => {
  const url = await redis();
  const node = await blockOf("docs/redis.md", "ts", "backplane: new RedisBackplane({ url: process.env");
  const started = `${ROOM}${node}await app.start(); console.log(app.layer.isDegraded); await app.stop();`;
  expect(await tried("redis", started, url)).toEqual(["false"]);

  const script = await blockOf("docs/redis.md", "ts", "from a script");
  const heardByOthers = `${ROOM}
    const node = createApplication({ routes, backplane: new RedisBackplane({ url }) });
    const ann = new TestClient(node, "/chat/lobby");
    await ann.connect();
    ${script}
    console.log((await ann.next("message")).text);
    await node.stop();`;
  expect(await tried("redis", heardByOthers, url)).toEqual(["from a script"]);
});

redisTest("a layer beside the usual one, on a Redis of its own", async () => {
  const [url, telemetry] = [await redis(), await redis()];
  const block = await blockOf("docs/groups.md", "ts", 'layer = "telemetry"');
  const joining = block.replace('layer = "telemetry";', 'layer = "telemetry"; static groups = ["meters"];');
  const before = `
    process.env.TELEMETRY_REDIS_URL = "${telemetry}";
    class Chat extends Consumer { static groups = ["meters"]; }
    const other = createApplication({
      routes: [route("/meters/:id", class extends Consumer { static layer = "telemetry"; static groups = ["meters"]; })],
      layers: { telemetry: { backplane: new RedisBackplane({ url: process.env.TELEMETRY_REDIS_URL }) } },
    });
    const far = new TestClient(other, "/meters/8");
    await far.connect();`;
  const after = `
    console.log(await far.next("tick"), [...app.layers.keys()].sort().join());
    const [meter, chat] = ["/meters/7", "/chat/den"].map((path) => new TestClient(app, path));
    await meter.connect();
    await chat.connect();
    await other.layers.get("telemetry").groupEmit("meters", "tock", 1);
    await meter.next("tock");
    await chat.expectSilence();
    await app.stop();
    await other.stop();`;
  expect(await tried("groups", `${before}\n${joining}${after}`, url)).toEqual([
    "undefined default,telemetry",
  ]);
});

redisTest("a history in Redis, that another process is given, as its policy says", async () => {
  const url = await redis();
  const block = await blockOf("docs/history.md", "ts", "newcomers: 50");
  const before = `${ROOM}
    const backplane = new RedisBackplane({ url });
    const secret = "a secret that all nodes of the page share";`;
  const said = `
    const ann = new TestClient(app, "/chat/den");
    await ann.connect();
    for (const text of ["one", "two"]) await ann.emit("said", text);
    await app.layer.groupEmit("price.eur.usd", "price", 1.1);
    await app.layer.groupEmit("price.eur.usd", "price", 1.2);
    await app.stop();`;
  await tried("history", `${before}\n${block}${said}`, url);
  const asked = `
    const late = new TestClient(app, "/chat/den");
    await late.connect();
    console.log(await late.next("said"), await late.next("said"));
    const payloads = async (group) => (await app.layer.history(group)).messages.map(({ payload }) => payload);
    console.log(JSON.stringify([await payloads("chat.den"), await payloads("price.eur.usd")]));
    await app.stop();`;
  expect(await tried("history", `${before}\n${block}${asked}`, url)).toEqual([
    "one two",
    '[["one","two"],[1.2]]',
  ]);
});

redisTest("a history of a shop of its own, beside others in one Redis", async () => {
  const url = await redis();
  const block = await blockOf("docs/history.md", "ts", 'prefix: "shop"');
  const attempt = `
    const secret = "a secret that all nodes of the page share";
    const groups = { "chat.*": { history: { size: 5, ttlMs: 60_000 } } };
    const other = new RedisHistory({ url: process.env.REDIS_URL });
    const [app, elsewhere] = [history, other].map((store) => createApplication({ routes: [], groups, history: store, secret }));
    await app.start();
    await elsewhere.start();
    await app.layer.groupEmit("chat.den", "said", "hi");
    const counts = await Promise.all([app, elsewhere].map(({ layer }) => layer.history("chat.den")));
    console.log(counts.map(({ messages }) => messages.length).join());
    await app.stop();
    await elsewhere.stop();`;
  expect(await tried("history", block + attempt, url)).toEqual(["1,0"]);
});

redisTest(
  "the rights that the pages name are enough, each for its part, and together in one command",
  async () => {
    const url = await redis();
    const rules = await Promise.all([
      blockOf("docs/redis.md", "", "ACL SETUSER"),
      blockOf("docs/history.md", "", "ACL SETUSER"),
      blockOf("docs/limits.md", "", "ACL SETUSER"),
      blockOf("docs/tasks.md", "", "ACL SETUSER"),
      blockOf("docs/presence.md", "", "ACL SETUSER"),
    ]);
    const code = `
    import { createClient } from "redis";
    import { RedisBackplane } from "sluice/redis";
    import { RedisBroker } from "sluice/tasks/redis";
    const rules = ${JSON.stringify(rules)}.map((rule) => rule.trim().split(" ").slice(3));
    const admin = await createClient({ url: process.env.REDIS_URL }).connect();
    const url = process.env.REDIS_URL.replace("//", "//sluice:password@");
    const double = task("double", async ({ n }) => 2 * n);
    const tasks = () => new Tasks({ tasks: [double], broker: new RedisBroker({ url }), queues: { default: 1 } });
    const routes = [route("/chat", class extends Consumer {
      static groups = ["chat.den"];
      async receive(event, payload) { await this.groupEmit("chat.den", event, payload); }
    }, { middleware: [(scope, next) => next({ user: "ann" })] })];
    const history = { "chat.*": { history: { size: 9, ttlMs: 60_000 } } };
    const presence = { "chat.*": { presence: true } };
    const parts = [
      () => ({ backplane: new RedisBackplane({ url }) }),
      () => ({ history: new RedisHistory({ url }), groups: history }),
      () => ({ sharedLimits: new RedisLimits({ url }), limits: { connectionsPerUser: 3 } }),
      () => ({ parts: [tasks()] }),
      () => ({ presence: new RedisPresence({ url }), groups: presence }),
    ];
    const all = () => ({
      ...Object.assign({}, ...parts.map((part) => part())),
      groups: { "chat.*": { ...history["chat.*"], ...presence["chat.*"] } },
    });
    const FIRST = ["-@all", "resetkeys", "resetchannels"];
    const together = [...FIRST, ...rules.flat().filter((word) => !FIRST.includes(word))];
    for (const [i, part] of [...parts, all].entries()) {
      await admin.sendCommand(["ACL", "SETUSER", "sluice", "reset"]);
      await admin.sendCommand(["ACL", "SETUSER", "sluice", ...(rules[i] ?? together)]);
      const node = createApplication({ routes, secret: "a secret that all nodes of the page share", ...part() });
      const failed = [];
      node.signals.failed.connect(({ error }) => failed.push(error));
      node.signals.layerDown.connect(({ reason }) => failed.push(reason));
      await node.start();
      const ann = new TestClient(node, "/chat");
      const { accepted } = await ann.connect();
      await ann.emit("said", "hi");
      const said = await ann.next("said");
      const hasTasks = i === 3 || part === all;
      const result = hasTasks ? await (await double.enqueue({ n: 4 })).result({ timeoutMs: 30_000 }) : "";
      await ann.disconnect();
      await node.stop();
      console.log(accepted, said, result, failed.length);
    }
    admin.destroy();`;
    expect(await tried("redis", code, url)).toEqual([
      "true hi  0",
      "true hi  0",
      "true hi  0",
      "true hi 8 0",
      "true hi  0",
      "true hi 8 0",
    ]);
  },
);

test("logs in memory, of no more groups than they are told", async () => {
  const block = await blockOf("docs/history.md", "ts", "new MemoryLogs(");
  const attempt = `
    const groups = { "chat.*": { history: { size: 5, ttlMs: 60_000 } } };
    const app = createApplication({ routes: [], groups, history });
    await app.start();
    for (let i = 0; i <= 1_000; i += 1) await app.layer.groupEmit("chat.n" + i, "said", i);
    const counts = await Promise.all(["chat.n0", "chat.n1", "chat.n1000"].map((group) => app.layer.history(group)));
    console.log(counts.map(({ messages }) => messages.length).join());
    await app.stop();`;
  expect(await tried("history", block + attempt)).toEqual(["0,1,1"]);
});

redisTest("limits of a user that all nodes count together", async () => {
  const url = await redis();
  const block = await blockOf("docs/limits.md", "ts", "sharedLimits");
  const before = `
    const url = process.env.REDIS_URL;
    const user = (scope, next) => next({ user: "ann" });
    const routes = [route("/chat", class extends Consumer {}, { middleware: [user] })];`;
  const attempt = `
    const limits = { connectionsPerUser: 20 };
    const sharedLimits = new RedisLimits({ url, prefix: "shop" });
    const other = createApplication({ routes, limits, sharedLimits });
    const codes = [];
    for (let i = 0; i < 21; i += 1) {
      const answer = await new TestClient(i % 2 ? other : app, "/chat").connect();
      codes.push(answer.accepted ? 0 : answer.code);
    }
    console.log(codes.filter((code) => code === 0).length, codes.at(-1));
    await app.stop();
    await other.stop();`;
  expect(await tried("limits", `${before}\n${block}${attempt}`, url)).toEqual(["20 4529"]);
});

redisTest("with keys nothing that is said can be read in Redis, and who has them reads it", async () => {
  const url = await redis();
  const block = await blockOf("docs/encryption.md", "ts", "encryptionKeys");
  const before = `${ROOM}
    const groups = { "chat.*": { history: { size: 9, ttlMs: 60_000 }, presence: true } };`;
  const attempt = `
    await app.start();
    await app.layer.groupEmit("chat.den", "said", { text: "a word for friends" });
    const { messages } = await app.layer.history("chat.den");
    console.log(messages[0].payload.text);
    const client = await createClient({ url }).connect();
    const entries = await client.xRange("sluice:{chat.den}:log", "-", "+");
    console.log(entries.length, JSON.stringify(entries).includes("friends"));
    client.destroy();
    await app.stop();`;
  const code = `import { createClient } from "redis";\n${before}\n${block}${attempt}`
    .replace(/"q6Zb[^"]*"/, JSON.stringify(randomBytes(32).toString("base64")))
    .replace("encryptionKeys:", 'secret: "a secret that all nodes of the page share",\nencryptionKeys:');
  expect(await tried("encryption", code, url)).toEqual(["a word for friends", "1 false"]);
});

test("the client of the page recovers, reads older messages, knows who is here, and is served", async () => {
  const name = "client";
  const [recovers, here, older, serves] = await Promise.all([
    blockOf("docs/client.md", "js", "recovery.on("),
    blockOf("docs/client.md", "js", "const here"),
    blockOf("docs/client.md", "js", "before: oldest"),
    blockOf("docs/client.md", "js", "client.min.js"),
  ]);
  const before = `
    import { fileURLToPath } from "node:url";
    const user = (scope, next) => next({ user: "ann" });
    const routes = [route("/chat/:room", class extends Consumer {
      async connect() { await this.groupAdd("chat.lobby"); await this.sendPresence("chat.lobby"); }
    }, { middleware: [user] })];
    const history = { size: 9, ttlMs: 60_000, newcomers: 9, clientsMayRead: true };
    const groups = { "chat.*": { history, presence: true } };
    const app = createApplication({ routes, groups });
    const server = createServer(app, { port: 0 });
    ${serves}
    const { url } = await server.listen();
    const show = () => {}, say = () => {}, oldest = undefined;
    const showAbove = (payload) => console.log("above", payload);`;
  const attempt = `
    await new Promise((resolve) => here.on("list", resolve));
    console.log([...here.users.keys()].join());
    const said = [];
    socket.on("said", (text) => said.push(text));
    await app.layer.groupEmit("chat.lobby", "said", "before");
    while (said.length < 1) await new Promise((resolve) => setTimeout(resolve, 2));
    const back = new Promise((resolve) => recovery.on("joined", ({ recovered }) => resolve(recovered)));
    socket.io.engine.close();
    await app.layer.groupEmit("chat.lobby", "said", "meanwhile");
    console.log(await back);
    while (said.length < 2) await new Promise((resolve) => setTimeout(resolve, 2));
    console.log(said.join());
    ${older}
    const served = ["/sluice-client.js", "/socket.io/socket.io.esm.min.js"];
    for (const path of served) console.log((await fetch(url + path)).status);
    socket.disconnect();
    await server.stop({ atOnce: true });`;
  const code = `${before}\n${recovers}\n${here}\n${attempt}`.replace('io("/', 'io(url + "/');
  expect(await tried(name, code)).toEqual([
    "ann",
    "true",
    "before,meanwhile",
    "above before",
    "above meanwhile",
    "200",
    "200",
  ]);
});

test("the chat of Channels' tutorial, with its page, over real sockets", async () => {
  const [chat, page] = await Promise.all([
    blockOf("docs/from-django-channels.md", "ts", "class ChatConsumer"),
    blockOf("docs/from-django-channels.md", "js", 'socket.emit("say"'),
  ]);
  const before = `
    import { io as connect } from "socket.io-client";
    const io = (path) => connect(url + path);
    const show = (text) => { console.log(text); socket.disconnect(); server.stop({ atOnce: true }); };
    ${chat}
    const server = createServer(app, { port: 0 });
    const { url } = await server.listen();`;
  expect(await tried("from-django-channels", `${before}\n${page}`)).toEqual(["hi"]);
});

test("a client that knows the types of its consumer speaks to it", async () => {
  const [consumer, client] = await Promise.all([
    blockOf("docs/consumers.md", "ts", "interface Chat"),
    blockOf("docs/consumers.md", "ts", "type Listeners"),
  ]);
  const before = `
    import { io as connect } from "socket.io-client";
    const io = (path) => connect(url + path);
    ${consumer}
    const options = { maxPeople: 3 };
    const app = createApplication({ routes: [route("/chat/:room", ChatConsumer, { options })] });
    const server = createServer(app, { port: 0 });
    const { url } = await server.listen();`;
  const attempt = `
    socket.on("said", ({ text }) => {
      console.log(text);
      socket.disconnect();
      void server.stop({ atOnce: true });
    });
    socket.emit("say", { text: "hi" });`;
  expect(await tried("consumers", `${before}\n${client}${attempt}`)).toEqual(["hi"]);
});

test("a server with pages of its own, that tells what it answered and ends on SIGTERM", async () => {
  await project.write("public/index.html", "a page");
  const block = await blockOf("docs/server.md", "ts", "origins: [");
  const log = await blockOf("docs/server.md", "ts", "access.write");
  const attempt = `
    ${log}
    console.log(await (await fetch(url)).text());
    process.kill(process.pid, "SIGTERM");`;
  const before = 'import express from "express";\nconst app = createApplication({ routes: [] });\n';
  const code = `${before}\n${block}${attempt}`.replace("port: 3000", "port: 0");
  const lines = await tried("server", code);
  expect([...lines].sort()).toEqual([expect.stringMatching(/^127\.0\.0\.1 "GET \/" 200 \d+$/), "a page"]);
});

test("a server that drains ends with 0, after its delay", async () => {
  const block = await blockOf("docs/server.md", "ts", "drainDelayMs: 5_000");
  const attempt = `
    const { url } = await server.listen();
    process.kill(process.pid, "SIGTERM");
    let status = 200;
    while (status === 200) status = (await fetch(url + "/readyz")).status;
    console.log(status);`;
  const code = `const app = createApplication({ routes: [] });\n${block}${attempt}`
    .replace(/5_000|15_000|20_000/g, (ms) => String(Number(ms.replace("_", "")) / 10))
    .replace("drainDelayMs", "port: 0, drainDelayMs");
  expect(await tried("server", code)).toEqual(["404"]);
});

redisTest(
  "a composition root that the command runs, and a word from the command line to its clients",
  async () => {
    const env = { REDIS_URL: await redis(), LOG_LEVEL: "warn" };
    const cli = join(project.dist, "src/cli.js");
    await project.write("app.js", await blockOf("docs/running.md", "js", "// app.js"));
    await project.write("groups.js", "export const groups = {};");
    await project.write(
      "routes.js",
      `import { Consumer, route } from "sluice";
     class Lobby extends Consumer { static groups = ["chat.lobby"]; }
     export const routes = [route("/lobby", Lobby)];`,
    );
    const started = await blockOf("docs/running.md", "sh", "npx sluice start app.js");
    const [, ...words] = started.trim().split(" ").slice(1);
    const program = project.start([cli, ...words, "--port", "0"], { env });
    atEnd(() => program.end());
    const url = await program.says(/^Sluice: (http:\S+)$/m);
    const socket = io(`${url}/lobby`, { forceNew: true, reconnection: false });
    atEnd(() => socket.disconnect());
    await connected(socket);
    const hearing = heard(socket, "notice");
    const emitted = await blockOf("docs/running.md", "sh", "npx sluice emit");
    const [, group = "", event = "", payload = ""] = /sluice emit (\S+) (\S+) '(.*)'/.exec(emitted) ?? [];
    expect(await project.start([cli, "emit", group, event, payload], { env }).ended()).toBe(0);
    expect(await hearing).toEqual([{ text: "Back in a minute" }]);
  },
);
