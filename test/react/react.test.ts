/** `sluice/react` in a real browser, with a real server. */
import { fileURLToPath } from "node:url";
import { afterEach, beforeAll, expect, jest, test } from "@jest/globals";
import { build } from "esbuild";
import type { Browser, Page } from "playwright-core";
import { createElement } from "react";
import { renderToString } from "react-dom/server";
import { Consumer, createApplication, MemoryHistory, route } from "sluice";
import { MemoryBroker, Tasks, task } from "sluice/tasks";
import { describeWithChromium } from "../browser/chromium.ts";
import { CuttableWay } from "../redis/cut-off.ts";
import { atEnd, type Gate, gate, type Live, serve, until } from "../server/live-server.ts";
import { identify } from "../tasks/identify.ts";
import { page as drawn, SocketProvider } from "./room.js";

jest.setTimeout(60_000);

/** What is told of a connection that was cut on purpose. */
const CUT = /WebSocket connection to .* failed|net::ERR_/;

class Room extends Consumer {
  override async connect() {
    const { auth } = this.scope;
    if (auth.refused === true) this.deny(4403, "members only");
    await this.groupAdd("room");
    await this.sendPresence("room");
  }
  override async receive(event: string, payload: unknown) {
    if (event === "close") this.close(payload as number, "told to");
    if (event === "ask") return this.ask("question", "what?", { timeoutMs: 5_000 });
    if (event === "rename") await this.updatePresence("room", { name: payload });
    return "";
  }
}

class Quiet extends Consumer {}

let steps: Gate[] = [];

const stepwise = task("stepwise", { progressMs: 1 }, async (total: number, run) => {
  for (let i = 0; i < total; i++) {
    run.progress(i, total);
    await steps[i]?.passed;
  }
  return "all";
});

interface Scene {
  readonly live: Live;
  readonly tasks: Tasks;
  readonly page: Page;
  /** What the browser complained about. */
  readonly complaints: string[];
  /** Runs JavaScript in the page; `page` is the page's own face. */
  run<T = unknown>(code: string): Promise<T>;
  /** The text of a component comes to be that. */
  says(name: string, text: string): Promise<void>;
  say(text: string): Promise<void>;
}

let program = "";

async function scene(
  browser: Browser,
  { way = false, body = "" } = {},
): Promise<Scene & { way: CuttableWay }> {
  steps = [gate(), gate(), gate()];
  const tasks = new Tasks({ tasks: [stepwise], broker: new MemoryBroker(), lookMs: 50 });
  const app = createApplication({
    routes: [route("/room", Room), route("/quiet", Quiet)],
    groups: { room: { presence: true, history: { size: 100, ttlMs: 60_000 } } },
    history: new MemoryHistory(),
    userInfo: (user) => ({ name: String(user).toUpperCase() }),
    secret: "a secret that all servers of a test share",
    middleware: [identify],
    parts: [tasks],
  });
  const live = await serve(app);
  live.server.express.get("/page.js", (_request, response) => void response.type("js").send(program));
  live.server.express.get("/", (_request, response) => {
    response.send(
      `<!doctype html><title>t</title><link rel="icon" href="data:,"><div id="root">${body}</div><script type="module" src="/page.js"></script>`,
    );
  });
  const cuttable = await CuttableWay.to(live.port);
  atEnd(() => cuttable.close());
  const context = await browser.newContext();
  atEnd(() => context.close());
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type()) && !CUT.test(message.text()))
      complaints.push(message.text());
  });
  await page.goto(`http://127.0.0.1:${way ? cuttable.port : live.port}/`);
  await page.waitForFunction("globalThis.sluicePage");
  return {
    ...{ live, tasks, page, complaints, way: cuttable },
    run: (code) => page.evaluate(`(() => { const page = globalThis.sluicePage; return (${code}); })()`),
    async says(name, text) {
      await page
        .getByTestId(name)
        .filter({ hasText: new RegExp(`^${text.replace(/[/.()]/g, "\\$&")}$`) })
        .waitFor({ timeout: 15_000, state: "attached" })
        .catch(async (error: Error) => {
          const shown = await page.getByTestId(name).allTextContents();
          throw new Error(`${name} says ${JSON.stringify(shown)}, not "${text}"`, { cause: error });
        });
    },
    say: (text) => app.layer.groupEmit("room", "said", text),
  };
}

/** The events of the only one of a provider's sockets that is open. */
const SOCKET = "page.opened.find((socket) => socket.connected)";

const room = (...names: readonly string[]) =>
  names.map((name) => `["Heard", { key: "${name}", name: "${name}" }]`).join(", ");

describeWithChromium("sluice/react", (browser) => {
  const scenes: Scene[] = [];
  const begin = async (options?: Parameters<typeof scene>[1]) => {
    const begun = await scene(browser(), options);
    scenes.push(begun);
    return begun;
  };

  beforeAll(async () => {
    const { outputFiles } = await build({
      entryPoints: [fileURLToPath(new URL("page.js", import.meta.url))],
      ...{ bundle: true, write: false, format: "esm", conditions: ["sluice-source"] },
      define: { "process.env.NODE_ENV": '"development"' },
    });
    program = outputFiles[0]?.text ?? "";
  });
  afterEach(() => {
    expect(scenes.splice(0).flatMap(({ complaints }) => complaints)).toEqual([]);
  });

  test("under StrictMode, which lets all effects run twice, one socket stays, and goes with the provider", async () => {
    const { live, run, says } = await begin();
    await run('page.show([["State", { key: "s" }]])');
    await says("state", "connected");
    expect(await run("page.opened.map(({ connected, active }) => connected && active)")).toEqual([
      false,
      true,
    ]);
    await until(() => live.app.sizes.connections === 1, "one connection");
    await run("page.leave()");
    await live.empty();
    expect(await run("page.opened.map((socket) => page.listeners(socket))")).toEqual([0, 0]);
  });

  test("two components share one listener, each hears every event once, until it goes", async () => {
    const { run, says, say } = await begin();
    await run(`page.show([["State", { key: "s" }], ${room("a", "b")}])`);
    await says("state", "connected");
    expect(await run(`${SOCKET}.listeners("said").length`)).toBe(1);
    await say("one");
    for (const name of ["a", "b"]) await says(name, "one");
    await run(`page.show([["State", { key: "s" }], ${room("b")}])`);
    await say("two");
    await says("b", "one,two");
    expect(await run(`${SOCKET}.listeners("said").length`)).toBe(1);
    await run('page.show([["State", { key: "s" }]])');
    expect(await run(`${SOCKET}.listeners("said").length`)).toBe(0);
  });

  test("an event is heard by the function of the last render, without listening anew", async () => {
    const { run, says, say } = await begin();
    const show = (prefix: string, event = "said") =>
      run(
        `page.show([["State", { key: "s" }], ["Heard", { key: "a", name: "a", prefix: "${prefix}", event: "${event}" }]])`,
      );
    await show("1:");
    await says("state", "connected");
    await say("x");
    await says("a", "1:x");
    await run(`${SOCKET}.on = () => { throw new Error("listened anew"); }`);
    await show("2:");
    await say("y");
    await says("a", "1:x,2:y");
    await run(`delete ${SOCKET}.on`);
    await show("3:", "other");
    expect(await run(`[${SOCKET}.listeners("said").length, ${SOCKET}.listeners("other").length]`)).toEqual([
      0, 1,
    ]);
  });

  test("an event that comes with the component, before React runs its effects, is heard", async () => {
    const { run, says, page } = await begin();
    await run('void (globalThis.own = page.connect("/room", {}))');
    await page.waitForFunction("globalThis.own.connected");
    const options = "{ socket: own, isStrict: false, isSync: false }";
    await run(`page.show([${room("a")}, ["Hasty", { key: "h", text: "early" }]], ${options})`);
    await says("a", "early");
  });

  test("another socket for the same provider: the one is left as it was, the other is heard", async () => {
    const { run, says, say, page } = await begin();
    await run(
      "void (globalThis.sockets = [page.connect('/room', {}), page.connect('/room', { user: 'bob' })])",
    );
    await page.waitForFunction("sockets.every(({ connected }) => connected)");
    const before = await run("sockets.map(page.listeners)");
    const parts = `["State", { key: "s" }], ["Here", { key: "h" }], ${room("a")}`;
    for (const [n, text] of [
      [0, "one"],
      [1, "one,two"],
    ] as const) {
      await run(`page.show([${parts}], { socket: sockets[${n}] })`);
      await says("state", "connected");
      await say(n === 0 ? "one" : "two");
      await says("a", text);
    }
    expect(await run("page.listeners(sockets[0])")).toBe((before as number[])[0]);
    // And one that the provider makes itself.
    await run(`page.show([${parts}], { auth: { user: "eve" } })`);
    await says("here", "now bob:BOB,eve:EVE");
    expect(await run("sockets.map(page.listeners)")).toEqual(before);
    expect(await run("sockets.map(({ connected }) => connected)")).toEqual([true, true]);
  });

  test("a page that goes while it connects leaves nothing behind", async () => {
    const { live, run } = await begin();
    await run(`(page.show([["State", { key: "s" }], ["Here", { key: "h" }], ${room("a")}]), page.leave())`);
    expect(await run("page.opened.map((socket) => [socket.active, page.listeners(socket)])")).toEqual([
      [false, 0],
      [false, 0],
    ]);
    await live.empty();
  });

  test("a component answers what the server asks; one that throws keeps the event from no other", async () => {
    const begun = await begin();
    const { run, says, say } = begun;
    await run(
      `page.show([["State", { key: "s" }], ["Heard", { key: "q", name: "q", event: "question" }], ${room("a", "b")}])`,
    );
    await says("state", "connected");
    expect(await run(`${SOCKET}.emitWithAck("ask")`)).toBe("from q");
    await say("break");
    await say("on");
    for (const name of ["a", "b"]) await says(name, "on");
    expect(begun.complaints.splice(0)).toEqual([
      "Error: a bug in a component",
      "Error: a bug in a component",
    ]);
  });

  test("a connection that is lost: its state is shown, what was missed is heard, who is here is true again", async () => {
    const { run, says, say, way, live } = await begin({ way: true });
    await run(
      `page.show([["State", { key: "s" }], ["Here", { key: "h" }], ${room("a")}], { auth: { user: "ann" } })`,
    );
    await says("state", "connected");
    await says("here", "now ann:ANN");
    way.block();
    await says("state", "reconnecting");
    await says("here", "before ann:ANN");
    await say("missed");
    live.client("/room", { auth: { user: "bob" } });
    way.restore();
    await says("state", "connected");
    await says("a", "missed");
    await says("here", "now ann:ANN,bob:BOB");
  });

  test("refused, closed for good, and closed for now: with code and reason, and whether it comes back", async () => {
    const { run, says, page } = await begin();
    await run('page.show([["State", { key: "s" }]], { auth: { refused: true } })');
    await says("state", "closed 4403 members only");
    await run("page.leave()");
    await run('page.show([["State", { key: "s" }]])');
    await says("state", "connected");
    await run(`void ${SOCKET}.emit("close", 4409)`);
    await says("state", "closed 4409 told to");
    await run("void page.opened.at(-1).connect()");
    await says("state", "connected");
    // Another namespace on the same connection: the stock client would stay away.
    await run("void (globalThis.other = page.opened.at(-1).io.socket('/quiet'))");
    await page.waitForFunction("globalThis.other.connected");
    await run("void page.opened.at(-1).io.reconnectionDelay(400)");
    await run(`void ${SOCKET}.emit("close", 4503)`);
    await says("state", "reconnecting 4503 told to");
    await says("state", "connected");
    await run("void page.opened.at(-1).disconnect()");
    await says("state", "closed");
  });

  test("who is here: a component that comes later knows it at once, and draws for changes alone", async () => {
    const { run, says, live, say } = await begin();
    const state = '["State", { key: "s" }]';
    const auth = '{ auth: { user: "ann" } }';
    await run(`page.show([${state}], ${auth})`);
    await says("state", "connected");
    const bob = live.client("/room", { auth: { user: "bob" } });
    await run(
      `page.show([${state}, ["Here", { key: "h" }], ["Here", { key: "i", name: "other" }], ${room("a")}], ${auth})`,
    );
    for (const name of ["here", "other"]) await says(name, "now ann:ANN,bob:BOB");
    expect(await run(`${SOCKET}.listeners("sluice.presence").length`)).toBe(1);
    const before = await run<number>("page.draws.count");
    await say("nothing to them");
    await says("a", "nothing to them");
    expect(await run("page.draws.count")).toBe(before);
    bob.emit("rename", "Robert");
    await says("here", "now ann:ANN,bob:Robert");
    bob.disconnect();
    await says("here", "now ann:ANN");
    await run(`page.show([${state}, ["Here", { key: "h", group: "nowhere" }]], ${auth})`);
    await says("here", "before ");
  });

  test("a run of a task: two bars share one watch, which ends with the last of them", async () => {
    const { run, says, tasks } = await begin();
    const ticket = (await tasks.enqueue(stepwise, 3)).ticket();
    const bar = (...names: readonly string[]) =>
      run(
        `page.show([["State", { key: "s" }], ${names
          .map((name) => `["Run", { key: "${name}", name: "${name}", ticket: "${ticket}" }]`)
          .join(", ")}], { namespace: "/tasks" })`,
      );
    await bar("a", "b");
    for (const name of ["a", "b"]) await says(name, "running 0/3");
    steps[0]?.open();
    for (const name of ["a", "b"]) await says(name, "running 1/3");
    expect(await run(`${SOCKET}.sent.filter((event) => event === "watch").length`)).toBe(1);
    await bar("a");
    steps[1]?.open();
    await says("a", "running 2/3");
    expect(await run(`${SOCKET}.sent.includes("unwatch")`)).toBe(false);
    await bar();
    expect(await run(`${SOCKET}.sent`)).toEqual(["watch", "unwatch"]);
    expect(await run(`[${SOCKET}.listeners("task").length]`)).toEqual([0]);
    await bar("c");
    steps[2]?.open();
    await says("c", "succeeded 2/3 all");
  });

  test("a ticket may come later; one that is none is the component's error", async () => {
    const begun = await begin();
    const { run, says, tasks } = begun;
    const show = (ticket: string) =>
      run(
        `page.show([["State", { key: "s" }], ["Run", { key: "a", name: "a", ticket: ${ticket} }]], { namespace: "/tasks" })`,
      );
    await show("undefined");
    await says("state", "connected");
    await says("a", "");
    const handle = await tasks.enqueue(stepwise, 0);
    await show(`"${handle.ticket()}"`);
    await says("a", "succeeded all");
    await show('"nonsense"');
    await says("thrown", "TypeError: watchTask() takes a ticket, as the server issues it for a run");
    expect(begun.complaints.splice(0).join()).toContain("watchTask() takes a ticket");
  });

  test("a socket of the application's own is left as it was: open, with the listeners that it had", async () => {
    const { run, says, page } = await begin();
    await run('void (globalThis.own = page.connect("/room", { user: "ann" }))');
    await page.waitForFunction("globalThis.own.connected");
    const before = await run("page.listeners(own)");
    await run(`page.show([["State", { key: "s" }], ["Here", { key: "h" }], ${room("a")}], { socket: own })`);
    await says("state", "connected");
    expect(await run("page.listeners(own)")).not.toBe(before);
    await run("page.leave()");
    expect(await run("[own.connected, page.listeners(own)]")).toEqual([true, before]);
  });

  test("without a provider a hook says what is missing", async () => {
    const begun = await begin();
    await begun.run('page.bare("State", {})');
    await begun.says("thrown", "Error: a hook of a socket must be used below its SocketProvider");
    expect(begun.complaints.splice(0).join()).toContain("SocketProvider");
  });

  test("what the server has drawn is taken over in the browser without a difference", async () => {
    const open = () => {
      throw new Error("no socket on the server");
    };
    const body = renderToString(createElement(SocketProvider, { open }, drawn()));
    expect(body).toBe(
      '<p data-testid="state">connecting</p><p data-testid="here">before </p><p data-testid="run"></p>',
    );
    // Of a socket that is connected there the browser knows nothing.
    const socket = { connected: true, active: true, connect() {}, disconnect() {} };
    expect(renderToString(createElement(SocketProvider, { socket }, drawn()))).toBe(body);
    const { run, says } = await begin({ body });
    await says("state", "connecting");
    await run("page.hydrate()");
    await says("state", "connected");
    await says("here", "now ann:ANN");
  });
});
