/** What the pages show of tasks, presence and metrics runs as it stands, and does what they say. */
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { blockOf, complete, Project } from "../guides.ts";
import { RedisServer, redisTest } from "../redis/redis-server.ts";
import { atEnd } from "../server/live-server.ts";
import { surroundingsOf } from "./surroundings.ts";

jest.setTimeout(90_000);

let project: Project;

beforeAll(async () => {
  project = await Project.make("socket.io-client", "@jest/globals", "expect");
});
afterAll(() => project.close());

/** Runs code with all that it takes for granted on that page; what it wrote, line by line. */
async function tried(page: string, code: string, REDIS_URL = ""): Promise<readonly string[]> {
  const whole = await complete(code.replace(/^ {4}/gm, ""), surroundingsOf(`docs/${page}.md`));
  return (await project.run(whole, { env: { REDIS_URL } })).trimEnd().split("\n");
}

async function redis(): Promise<string> {
  const server = await RedisServer.start();
  atEnd(() => server.close());
  return server.url;
}

const SECRET = 'const secret = "a secret that all nodes of the page share";';
const REPORT = `
const buildReport = task("report.build", async ({ month }, run) => {
  await run.progress(3, 30, month);
  return { days: 30 };
});`;

test("a run is asked how it stands, and for its result", async () => {
  const handle = await blockOf("docs/tasks.md", "ts", "await handle.status()");
  const before = `${SECRET}${REPORT}
    const part = new Tasks({ tasks: [buildReport], broker: new MemoryBroker() });
    const app = createApplication({ routes: [], parts: [part], secret });
    await app.start();`;
  const after = `
    const { state, progress } = await handle.status();
    console.log(state, progress.done, JSON.stringify(await handle.result({ timeoutMs: 60_000 })));
    await app.stop();`;
  expect(await tried("tasks", `${before}\n${handle}${after}`)).toEqual(['succeeded 3 {"days":30}']);
});

test("a task that computes in a thread, whose reports are its progress", async () => {
  await project.write(
    "heavy.js",
    `import { report } from "sluice/threads";
     export function countPrimes(to) {
       let count = 0;
       for (let n = 2; n <= to; n += 1) if (isPrime(n)) count += 1;
       report({ done: to, total: to, note: "counted" });
       return count;
     }
     const isPrime = (n) => { for (let by = 2; by * by <= n; by += 1) if (n % by === 0) return false; return true; };`,
  );
  const block = (await blockOf("docs/tasks.md", "ts", "countPrimes")).replace("export const", "const");
  const after = `
    const part = new Tasks({ tasks: [countPrimes], broker: new MemoryBroker() });
    const app = createApplication({ routes: [], parts: [part] });
    await app.start();
    const handle = await countPrimes.enqueue(100);
    console.log(await handle.result({ timeoutMs: 60_000 }), (await handle.status()).progress.note);
    await app.stop();`;
  expect(await tried("tasks", block + after)).toEqual(["25 counted"]);
});

test("chains, groups and chords hand on what their steps result in", async () => {
  const block = await blockOf("docs/tasks.md", "ts", "tasks.chain(");
  const before = `
    const url = "https://example.org";
    const stored = [];
    const fetchPage = task("fetch", async ({ url }) => url + " has words");
    const countWords = task("count", async (text) => text.split(" ").length);
    const store = task("store", async (count) => void stored.push(count));
    const resize = task("resize", async ({ w }) => w);
    const merge = task("merge", async (list) => list.join("+"));
    const pages = [1, 2].map((w) => resize.with({ w }));
    const all_ = [fetchPage, countWords, store, resize, merge];
    const tasks = new Tasks({ tasks: all_, broker: new MemoryBroker() });
    const app = createApplication({ routes: [], parts: [tasks] });
    await app.start();`;
  const after = `
    const [list, merged] = [await all.result({ timeoutMs: 60_000 }), await one.result({ timeoutMs: 60_000 })];
    while (stored.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    console.log(JSON.stringify([list, merged, stored]));
    await app.stop();`;
  expect(await tried("tasks", `${before}\n${block}${after}`)).toEqual(['[[100,800],"1+2",[3]]']);
});

test("schedules are declared, and their next moments told", async () => {
  const block = await blockOf("docs/tasks.md", "ts", "schedules: [");
  const before = `${REPORT}
    const sweep = task("sweep", async () => {});
    const tasks = { broker: new MemoryBroker(), queues: { default: 1 } };`;
  const after = `
    part.signals.scheduled.connect(({ schedule, next }) => console.log(schedule, next.length));
    const app = createApplication({ routes: [], parts: [part] });
    await app.start();
    await app.stop();`;
  const lines = await tried("tasks", `${before}\n${block}${after}`);
  expect([...lines].sort()).toEqual(["nightly 3", "often 3"]);
});

test("a consumer hands out a ticket, and a page watches the run by it", async () => {
  const [consumer, watching] = [
    await blockOf("docs/tasks.md", "ts", "class ReportConsumer"),
    await blockOf("docs/tasks.md", "js", "watch.on("),
  ];
  const before = `${SECRET}
    let finish = () => {};
    const isWatched = new Promise((resolve) => (finish = resolve));
    const buildReport = task("report.build", async ({ month }, run) => {
      await run.progress(3, 30, month);
      await isWatched;
      return { days: 30 };
    });
    const part = new Tasks({ tasks: [buildReport], broker: new MemoryBroker() });`;
  const between = `
    const app = createApplication({ routes: [route("/reports", ReportConsumer)], parts: [part], secret });
    const server = createServer(app, { port: 0 });
    const { url } = await server.listen();
    const reports = io(url + "/reports");
    const { ticket } = await reports.emitWithAck("build", "2026-11");
    const bar = {};
    const say = console.log;
    const show = (result) => console.log(bar.value, bar.max, JSON.stringify(result));`;
  const after = `
    watch.on("progress", ({ progress }) => progress && finish());
    await watch.ended;
    await server.stop({ atOnce: true });
    process.exit();`;
  const page = watching
    .replace('"/sluice/client/index.js"', '"sluice/client"')
    .replace('"/socket.io/socket.io.esm.min.js"', '"socket.io-client"')
    .replace('io("/', 'io(url + "/');
  const code = `${before}\n${consumer}${between}\n${page}${after}`;
  expect(await tried("tasks", code)).toEqual(['3 30 {"days":30}']);
});

test("a message to a channel that workers handle is handled by one of them", async () => {
  const [worker, elsewhere] = [
    await blockOf("docs/tasks.md", "ts", "class Thumbnails"),
    await blockOf("docs/tasks.md", "ts", "await layer.send("),
  ];
  const before = `
    const shrunk = [];
    const shrink = async (url) => void shrunk.push(url);
    const tasks = { broker: new MemoryBroker() };`;
  const between = `
    const app = createApplication({ routes: [route("/album", Album)], parts: [part] });
    await app.start();
    const { layer } = app;
    const url = "two.png";
    const ann = new TestClient(app, "/album");
    await ann.connect();
    await ann.emit("add", "one.png");`;
  const after = `
    while (shrunk.length < 2) await new Promise((resolve) => setTimeout(resolve, 2));
    console.log(shrunk.sort().join());
    await app.stop();`;
  expect(await tried("tasks", `${before}\n${worker}${between}\n${elsewhere}${after}`)).toEqual([
    "one.png,two.png",
  ]);
});

test("tasks are tried without a worker, and without waiting", async () => {
  const block = await blockOf("docs/tasks.md", "ts", "testTasks(");
  const before = `import { expect } from "expect";
    const add = task("add", async ({ x, y }) => x + y);
    const sendInvoice = task("invoice.send", async ({ orderId }) => console.log("sent", orderId));`;
  expect(await tried("tasks", `${before}\n${block}`)).toEqual(["sent 42"]);
});

redisTest("tasks over Redis without the command line, whose runs another process finds", async () => {
  const url = await redis();
  const block = await blockOf("docs/tasks.md", "ts", "new RedisBroker(");
  const before = `${SECRET}${REPORT}\nconst routes = [];`;
  const enqueuing = `
    await app.start();
    const handle = await buildReport.enqueue({ month: "2026-11" });
    console.log(handle.id);
    await app.stop();`;
  const idle = block.replace("queues: {", "// queues: {");
  const [id = ""] = await tried("tasks", `${before}\n${idle}${enqueuing}`, url);
  expect(id).toMatch(/^default\./);
  const working = `
    await app.start();
    console.log(JSON.stringify(await part.handle(${JSON.stringify(id)}).result({ timeoutMs: 60_000 })));
    await app.stop();`;
  expect(await tried("tasks", `${before}\n${block}${working}`, url)).toEqual(['{"days":30}']);
});

redisTest("who is here is told to the page, on another node too", async () => {
  const redisUrl = await redis();
  const [node, page] = [
    await blockOf("docs/presence.md", "ts", "new RedisPresence("),
    await blockOf("docs/presence.md", "js", "const here"),
  ];
  const before = `
    const url = process.env.REDIS_URL;
    const logIn = (scope, next) => next({ user: { id: scope.auth.id, name: scope.auth.name } });`;
  const after = `
    const other = createApplication({
      routes: [route("/chat/:room", ChatConsumer)],
      middleware: [logIn],
      groups: { "chat.*": { presence: true } },
      userInfo: (user) => ({ name: user.name }),
      backplane: new RedisBackplane({ url }),
      presence: new RedisPresence({ url }),
    });
    const as = (of, name) => new TestClient(of, "/chat/lobby", { auth: { id: name.toLowerCase(), name } });
    const [ann, bob] = [as(app, "Ann"), as(other, "Bob")];
    const shown = [], said = [];
    const show = (names) => shown.push(names.join());
    const say = (text) => said.push(text);
    const { socket } = ann;`;
  const attempt = `
    await ann.connect();
    await bob.connect();
    while (said.length < 1) await new Promise((resolve) => setTimeout(resolve, 2));
    console.log(said.join(), shown.at(-1));
    await bob.disconnect();
    while (shown.at(-1) !== "Ann") await new Promise((resolve) => setTimeout(resolve, 2));
    await app.stop();
    await other.stop();`;
  const code = `${before}\n${node}${after}\n${page}${attempt}`;
  expect(await tried("presence", code, redisUrl)).toEqual(["Bob is here Ann,Bob"]);
});

test("a dashboard for one address, or for administrators by what middleware found", async () => {
  const [address = "", users = ""] = (await blockOf("docs/dashboard.md", "ts", "allow:")).trim().split("\n");
  const code = `
    const logIn = (scope, next) => next({ user: scope.cookies.get("user") });
    const [isAdmin, nameOf] = [(user) => user === "ann", (user) => user];
    const statusOf = async (part, user) => {
      const app = createApplication({ routes: [], middleware: [logIn], parts: [part] });
      const server = createServer(app, { port: 0 });
      const { url } = await server.listen();
      const { status } = await fetch(url + "/dashboard", { headers: { cookie: "user=" + user } });
      await server.stop({ atOnce: true });
      return status;
    };
    console.log(await statusOf(${users.replace(/;.*$/, "")}, "ann"), await statusOf(${users.replace(/;.*$/, "")}, "bob"));
    console.log(await statusOf(${address.replace(/;$/, "")}), await statusOf(${address.replace(/;$/, "").replace("10.0.0.7", "127.0.0.1")}));`;
  expect(await tried("dashboard", code)).toEqual(["200 403", "403 200"]);
});

test("a program observes how the nodes stand", async () => {
  const block = await blockOf("docs/dashboard.md", "ts", "observe(");
  const before = `
    const hub = new MemoryHub();
    const node = (parts) => createApplication({ routes: [], parts, backplane: new MemoryBackplane(hub) });
    const [app, other] = [node([]), node([dashboard({ reportMs: 100 })])];
    await app.start();
    await other.start();`;
  const after = `
    console.log(nodes.map(({ node }) => node === other.node).join());
    await other.stop();
    await app.stop();`;
  const code = `${before}\n${block.replace("4_500", "450")}${after}`;
  expect(await tried("dashboard", code)).toEqual([expect.stringMatching(/^n-\S+ fresh 0$/), "true"]);
});

test("metrics are told by the part of the page", async () => {
  const block = await blockOf("docs/metrics.md", "js", "parts: [metrics()]");
  const after = `
    const server = createServer(app, { port: 0 });
    const { url } = await server.listen();
    const text = await (await fetch(url + "/metrics")).text();
    console.log(/^sluice_serving 1$/m.test(text));
    await server.stop({ atOnce: true });`;
  expect(await tried("metrics", `const routes = [];\n${block}${after}`)).toEqual(["true"]);
});
