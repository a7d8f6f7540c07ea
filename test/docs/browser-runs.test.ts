/** What the pages show for browsers runs in a real one, and does what they say. */
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { build, transform } from "esbuild";
import type { Page } from "playwright-core";
import { describeWithChromium } from "../browser/chromium.ts";
import { blockOf, complete, Project } from "../guides.ts";
import { atEnd } from "../server/live-server.ts";

jest.setTimeout(90_000);

let project: Project;

beforeAll(async () => {
  project = await Project.make("react", "react-dom", "socket.io-client", "express-session", "jose");
});
afterAll(() => project.close());

/** Where a page's modules come from, as the guide of the client says it. */
const IMPORTS = {
  "socket.io-client": "/socket.io/socket.io.esm.min.js",
  "sluice/client": "/sluice-client.js",
};
const SECRET = 'const secret = "a secret that all nodes of the page share";';

describeWithChromium("what the pages show for browsers", (browser) => {
  /**
   * Serves a page until the end of the test, and opens it.
   *
   * @param code - makes the application `app`; what it puts into `more` gets the server before it listens
   * @param script - the page's own module
   */
  async function opened(code: string, script: string): Promise<Page> {
    const serves = await blockOf("docs/client.md", "js", "client.min.js");
    const html = `<!doctype html><title>t</title><link rel="icon" href="data:,"><div id="root"></div>
      <script type="importmap">${JSON.stringify({ imports: IMPORTS })}</script>
      <script type="module" src="/page.js"></script>`;
    const program = `
import { fileURLToPath } from "node:url";
const more = [];
${code}
const server = createServer(app, { port: 0 });
for (const add of more) add(server);
${serves}
server.express.get("/page.js", (_request, response) => response.type("js").send(${JSON.stringify(script)}));
server.express.get("/", (_request, response) => response.send(${JSON.stringify(html)}));
console.log((await server.listen()).url);
`;
    const compiled = await transform(await complete(program), { loader: "ts", target: "es2022" });
    await project.write("serve.js", compiled.code);
    const running = project.start(["serve.js"]);
    atEnd(() => running.end("SIGKILL"));
    const url = await running.says(/^(http:\S+)$/m);
    const context = await browser().newContext();
    atEnd(() => context.close());
    const page = await context.newPage();
    const complaints: string[] = [];
    page.on("pageerror", (error) => complaints.push(String(error)));
    atEnd(() => expect(complaints).toEqual([]));
    await page.goto(url);
    return page;
  }

  test("a page that holds an EventSource speaks by posts", async () => {
    const block = await blockOf("docs/routing.md", "js", "new EventSource(");
    const code = `
class Chat extends Consumer {
  async connect() { await this.groupAdd("chat.lobby"); }
  async receive(event, { text }) {
    if (text === "leave") this.close(4403, "leave");
    await this.groupEmit("chat.lobby", "said", text);
    return { sent: true };
  }
}
const app = createApplication({ routes: [sse("/chat/:room", Chat)] });`;
    const script = `
globalThis.shown = [];
const show = (what) => shown.push(what);
${block}
Object.assign(globalThis, { stream, say, hasKey: () => key !== undefined });`;
    const page = await opened(code, script);
    await page.waitForFunction("globalThis.hasKey?.()");
    expect(await page.evaluate('say("hi").then((answer) => answer.json())')).toEqual({ sent: true });
    await page.waitForFunction("shown.length === 1");
    expect(await page.evaluate("shown")).toEqual(["hi"]);
    await page.evaluate('void say("leave").catch(() => {})');
    await page.waitForFunction("stream.readyState === EventSource.CLOSED");
  });

  test("a page that is loaded again goes on where it was, by what the browser keeps for the tab", async () => {
    const block = await blockOf("docs/client.md", "js", "sessionStorage");
    const code = `
${SECRET}
class Chat extends Consumer {
  async connect() { await this.groupAdd("chat.lobby"); }
}
const app = createApplication({
  secret,
  routes: [route("/chat", Chat)],
  middleware: [(_scope, next) => next({ user: "ada" })],
  groups: { "chat.*": { history: { size: 9, ttlMs: 60_000 } } },
});
more.push(({ express }) => express.get("/say/:text", async ({ params }, response) => {
  await app.layer.groupEmit("chat.lobby", "said", params.text);
  response.send("ok");
}));`;
    const script = `
import { io } from "socket.io-client";
import { recover } from "sluice/client";
globalThis.shown = [];
globalThis.socket = io("/chat");
socket.on("said", (text) => shown.push(text));
${block}`;
    const page = await opened(code, script);
    const { origin } = new URL(page.url());
    await page.waitForFunction("globalThis.socket?.connected");
    await page.evaluate('fetch("/say/before").then(() => undefined)');
    await page.waitForFunction("shown.length === 1");
    await page.goto("about:blank");
    await fetch(`${origin}/say/meanwhile`);
    await page.goto(origin);
    await page.waitForFunction("globalThis.shown?.length === 1");
    expect(await page.evaluate("shown")).toEqual(["meanwhile"]);
  });

  test("a login over a connection gives the browser its cookie by a ticket", async () => {
    const [door, page] = await Promise.all([
      blockOf("docs/authentication.md", "ts", "sessions.adopt"),
      blockOf("docs/authentication.md", "js", 'emitWithAck("login"'),
    ]);
    const code = `
${SECRET}
const checkPassword = async ({ name, password }) => (password === "right" ? { id: name } : undefined);
const sessions = session({ secret });
const find = async (id) => ({ id });
${door.replace(/^server\..*$/m, (line) => `more.push((server) => ${line.replace(/;$/, "")});`)}
class Who extends Consumer {
  receive() { return this.scope.user?.id ?? "nobody"; }
}
const middleware = [sessions, authenticate(sessionUser(find))];
const app = createApplication({ middleware, routes: [route("/door", Door), route("/who", Who)] });`;
    const script = `
import { io } from "socket.io-client";
globalThis.logIn = async (name, password) => {
  const socket = io("/door", { forceNew: true });
  ${page}
  socket.disconnect();
};
globalThis.who = () => io("/who", { forceNew: true }).emitWithAck("who");`;
    const tab = await opened(code, script);
    await tab.waitForFunction("globalThis.who");
    expect(await tab.evaluate("who()")).toBe("nobody");
    await tab.evaluate('logIn("ann", "right")');
    expect(await tab.evaluate("who()")).toBe("ann");
  });

  test("a page keeps its token fresh by the function it gives", async () => {
    const block = await blockOf("docs/authentication.md", "js", "useToken(");
    const code = `
${SECRET}
const { SignJWT } = await import("jose");
const tokenOf = (endsInS) => new SignJWT({ iss: "https://login.example", aud: "chat", sub: "ann" })
  .setProtectedHeader({ alg: "HS256" })
  .setExpirationTime(Math.floor(Date.now() / 1_000) + endsInS)
  .sign(new TextEncoder().encode(secret));
const rules = { secret, issuer: "https://login.example", audience: "chat" };
class Chat extends Consumer {
  receive() { return this.scope.user.claims.exp; }
}
const app = createApplication({
  middleware: [bearerToken(rules), requireUser()],
  routes: [route("/chat", Chat)],
});
let isFirst = true;
more.push(({ express }) => express.get("/token", async (_request, response) => {
  response.send(await tokenOf(isFirst ? 3 : 600));
  isFirst = false;
}));`;
    const script = `globalThis.shown = [];
const show = (text) => shown.push(text);
${block}
globalThis.until = () => socket.emitWithAck("until");`;
    const tab = await opened(code, script);
    await tab.waitForFunction("globalThis.until");
    // The first is good for three seconds.
    await tab.waitForFunction("until().then((at) => at > Date.now() / 1_000 + 60)");
    expect(await tab.evaluate("shown")).toEqual([]);
  });

  test("the components of React show the room, the progress of an export, and what is missing", async () => {
    const [chat, room, tasks, gap] = await Promise.all([
      blockOf("docs/react.md", "ts", "// chat.ts"),
      blockOf("docs/react.md", "tsx", "// room.tsx"),
      blockOf("docs/react.md", "tsx", "function Export("),
      blockOf("docs/react.md", "tsx", "function Gap("),
    ]);
    await project.write("react/chat.ts", chat);
    await project.write("react/room.tsx", room.replace("<Room />", "<Room />{globalThis.more}"));
    await project.write("react/export.tsx", tasks);
    await project.write("react/gap.tsx", gap);
    await project.write(
      "react/main.tsx",
      `import { createRoot } from "react-dom/client";
       import { Export } from "./export.tsx";
       import { Gap } from "./gap.tsx";
       import { Page } from "./room.tsx";
       globalThis.more = <Gap />;
       const ticket = await (await fetch("/export", { method: "POST" })).text();
       createRoot(document.querySelector("#root")!).render(<><Page /><Export ticket={ticket} /></>);`,
    );
    const { outputFiles } = await build({
      entryPoints: [`${project.folder}/react/main.tsx`],
      ...{ bundle: true, write: false, format: "esm", jsx: "automatic" },
      define: { "process.env.NODE_ENV": '"development"' },
    });
    const code = `
${SECRET}
let isFlooded = false;
let finish;
const isSeen = new Promise((resolve) => (finish = resolve));
const work = task("export", async (_, run) => {
  await run.progress(3, 12);
  await isSeen;
  throw new Error("the disk is full");
});
const tasks = new Tasks({ tasks: [work], broker: new MemoryBroker() });
class Chat extends Consumer {
  async connect() {
    if (isFlooded) this.deny(4503, "later");
    await this.groupAdd("chat.lobby");
    await this.sendPresence("chat.lobby");
  }
  async receive(event, { text }) {
    await this.groupEmit("chat.lobby", "said", { id: crypto.randomUUID(), text });
  }
}
const app = createApplication({
  secret,
  parts: [tasks],
  routes: [route("/chat/lobby", Chat)],
  middleware: [(_scope, next) => next({ user: "ada" })],
  userInfo: () => ({ name: "Ada" }),
  groups: { "chat.*": { history: { size: 2, ttlMs: 60_000 }, presence: true } },
});
more.push(({ express }) => express.post("/export", async (_request, response) => {
  response.send((await work.enqueue({})).ticket());
}));
more.push(({ express }) => express.post("/finish", (_request, response) => { finish(); response.send("ok"); }));
more.push(({ express }) => express.post("/flood", async (_request, response) => {
  isFlooded = true;
  await app.closeUser("ada", 4503, "come back");
  for (let i = 0; i < 9; i += 1) await app.layer.groupEmit("chat.lobby", "said", { id: "f" + i, text: "flood" });
  isFlooded = false;
  response.send("ok");
}));`;
    const page = await opened(code, outputFiles[0]?.text ?? "");
    await page.getByText("connected, here: Ada", { exact: true }).waitFor();
    await page.getByRole("button", { name: "Say hi" }).click();
    await page.getByText("hi", { exact: true }).waitFor();
    await page.waitForFunction("document.querySelector('progress')?.value === 3");
    expect(await page.locator("progress").getAttribute("max")).toBe("12");
    await page.evaluate('fetch("/finish", { method: "POST" }).then(() => undefined)');
    await page.getByText("the disk is full").waitFor();
    await page.evaluate('fetch("/flood", { method: "POST" }).then(() => undefined)');
    await page.getByText("Some messages could not be recovered.").waitFor();
    await page.getByText("flood").first().waitFor();
  });
});
