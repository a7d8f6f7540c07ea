/** `sluice dev`: an application is edited while clients, and a real browser, are connected. */
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { chromium } from "playwright-core";
import { recover } from "sluice/client";
import { io } from "socket.io-client";
import { chromiumPath, chromiumTest } from "../browser/chromium.ts";
import { atEnd, connected, until } from "../server/live-server.ts";
import { kill, Program, project, root } from "./programs.ts";

/** A room that says everything in a version of its own, and a page that shows it. */
const APP = `
  import { createRequire } from "node:module";
  import { dirname } from "node:path";
  import { Consumer, createApplication, route } from "sluice";
  import { createServer } from "sluice/server";
  import { version } from "./version.js";
  class Room extends Consumer {
    async connect() { await this.groupAdd("room"); }
    async receive(_event, text) { await this.groupEmit("room", "said", version + ": " + text); }
  }
  const page = \`<!doctype html><title>room</title><pre id="log"></pre>
    <script src="/socket.io/socket.io.js"></script>
    <script type="module">
      import { recover } from "/client/index.js";
      const socket = io("/room", { reconnectionDelay: 50 });
      recover(socket).on("gap", () => log.append("GAP\\\\n"));
      socket.on("said", (text) => log.append(text + "\\\\n"));
      window.say = (text) => socket.emitWithAck("say", text);
    </script>\`;
  export const compose = ({ backplane, history, secret, serverOptions }) => {
    const groups = { room: { history: { size: 100, ttlMs: 60_000 } } };
    const app = createApplication({ routes: [route("/room", Room)], groups, backplane, history, secret });
    const server = createServer(app, serverOptions);
    const client = dirname(createRequire(import.meta.url).resolve("sluice/client"));
    server.express.get("/client/:file", (request, response) => response.sendFile(request.params.file, { root: client }));
    server.express.get("/pid", (_request, response) => response.send(String(process.pid)));
    server.express.get("/version", (_request, response) => response.send(version));
    server.express.get("/", (_request, response) => response.send(page));
    return server;
  };`;
const version = (name: string) => `export const version = "${name}";\n`;

class Workshop {
  readonly cwd: string;
  readonly program: Program;

  private constructor(cwd: string, args: readonly string[]) {
    this.cwd = cwd;
    this.program = new Program(["dev", "--port", "0", ...args], { cwd });
  }

  static async open(
    files: Readonly<Record<string, string>> = {},
    args: readonly string[] = [],
  ): Promise<Workshop> {
    const manifest = { type: "module", sluice: { app: "app.js" } };
    const all = { "package.json": manifest, "app.js": APP, "version.js": version("one"), ...files };
    return new Workshop(await project(all), args);
  }

  url(): Promise<string> {
    return this.program.url();
  }

  /** As editors save: another file takes its place. */
  async save(name: string, text: string): Promise<void> {
    await writeFile(join(this.cwd, `${name}~`), text);
    await rename(join(this.cwd, `${name}~`), join(this.cwd, name));
  }

  says(words: string | RegExp): Promise<unknown> {
    const isThere = () => {
      const all = this.program.stdout + this.program.stderr;
      return typeof words === "string" ? all.includes(words) : words.test(all);
    };
    return until(isThere, `it says ${words}`);
  }

  async get(path: string): Promise<string> {
    return (await fetch((await this.url()) + path)).text();
  }
}

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A zombie that nobody has asked for yet has ended, too.
    return true;
  } catch {
    return false;
  }
}

test("an edit restarts it behind the same port; a client misses nothing and hears nothing twice", async () => {
  const shop = await Workshop.open();
  const url = await shop.url();
  const before = Number(await shop.get("/pid"));
  const socket = io(`${url}/room`, { reconnectionDelay: 50, reconnectionDelayMax: 100 });
  atEnd(() => socket.disconnect());
  const heard: string[] = [];
  const gaps: unknown[] = [];
  socket.on("said", (text: string) => heard.push(text));
  recover(socket).on("gap", (gap) => gaps.push(gap));
  await connected(socket);
  await socket.emitWithAck("say", "first");

  await shop.save("version.js", version("two"));
  await shop.says(/^Sluice: restarted in \d+ ms \(version\.js\)$/m);
  await until(() => socket.connected, "it is back");
  await socket.emitWithAck("say", "second");
  await until(() => heard.length >= 2, "it hears");
  expect(heard).toEqual(["one: first", "two: second"]);
  expect(gaps).toEqual([]);
  expect(Number(await shop.get("/pid"))).not.toBe(before);
  await until(() => !lives(before), "the one before has gone");
});

test("who was away during the restart is given what was said before it", async () => {
  const shop = await Workshop.open();
  const url = await shop.url();
  const [ann, bob] = [1, 2].map(() => io(`${url}/room`, { forceNew: true, reconnection: false }));
  if (ann === undefined || bob === undefined) throw new Error("never");
  atEnd(() => {
    ann.disconnect();
    bob.disconnect();
  });
  const heard: string[] = [];
  ann.on("said", (text: string) => heard.push(text));
  recover(ann);
  await Promise.all([connected(ann), connected(bob)]);
  await bob.emitWithAck("say", "zero");
  await until(() => heard.length === 1, "she hears");
  ann.io.engine.close();
  await bob.emitWithAck("say", "while she was away");
  await shop.save("version.js", version("two"));
  await shop.says("Sluice: restarted");
  ann.connect();
  await until(() => heard.length === 2, "she is given it");
  expect(heard).toEqual(["one: zero", "one: while she was away"]);
});

test("whoever knocks while it restarts waits, and is answered", async () => {
  const shop = await Workshop.open();
  const url = await shop.url();
  let isOver = false;
  const statuses: number[] = [];
  const knocking = (async () => {
    while (!isOver) statuses.push((await fetch(`${url}/version`)).status);
  })();
  for (const name of ["two", "three", "four"]) {
    await shop.save("version.js", version(name));
    await until(
      () => shop.program.stdout.split("restarted in").length > ["two", "three", "four"].indexOf(name) + 1,
      name,
    );
  }
  isOver = true;
  await knocking;
  expect(new Set(statuses)).toEqual(new Set([200]));
  expect(await shop.get("/version")).toBe("four");
});

test("a mistake in the code is shown, and the last good version goes on until it is mended", async () => {
  const shop = await Workshop.open();
  const pid = await shop.get("/pid");
  await shop.save("version.js", "export const version = ;\n");
  await shop.says("Sluice: it ended with exit code 1; the one before goes on");
  expect(shop.program.stderr).toMatch(/version\.js:1[\s\S]*SyntaxError/);
  expect(await shop.get("/pid")).toBe(pid);
  await shop.save("version.js", version("mended"));
  await shop.says("Sluice: restarted");
  expect(await shop.get("/version")).toBe("mended");
});

test("an application that never started is waited for: browsers are told, and served once it is mended", async () => {
  const shop = await Workshop.open({ "app.js": APP.replace("createServer(app,", "createSever(app,") }, [
    "--port",
    "0",
  ]);
  await shop.says("Sluice: it ended with exit code 1; waiting for a change");
  expect(shop.program.stderr).toMatch(/createSever is not defined[\s\S]*app\.js/);
  await shop.save("app.js", APP);
  expect(await shop.get("/version")).toBe("one");
});

test("while nothing runs a browser is told so, and to try again", async () => {
  const bug = 'process.once("SIGUSR2", () => { throw new Error("a bug"); });';
  const shop = await Workshop.open({ "version.js": `${version("one")}${bug}` });
  const url = await shop.url();
  kill(Number(await shop.get("/pid")), "SIGUSR2");
  await shop.says("Sluice: it ended with exit code 1; waiting for a change");
  await shop.says("a bug");
  const answer = await fetch(url);
  expect([answer.status, answer.headers.get("refresh")]).toEqual([503, "1"]);
  expect(await answer.text()).toBe(
    "The application does not run; the terminal says why. This page tries again.\n",
  );
  await shop.save("version.js", version("two"));
  await shop.says("Sluice: restarted");
  expect(await shop.get("/version")).toBe("two");
});

test("a version that hangs before it serves gives way to the next", async () => {
  const shop = await Workshop.open();
  await shop.url();
  await shop.save(
    "version.js",
    `${version("two")}console.log("it hangs");\nawait new Promise(() => setInterval(() => {}, 1000));`,
  );
  await shop.says("it hangs");
  await shop.save("version.js", version("three"));
  await shop.says("Sluice: restarted");
  expect(await shop.get("/version")).toBe("three");
});

test("new folders are seen, --watch names what else counts, and other files are left alone", async () => {
  const shop = await Workshop.open(
    { "config.json": '"a"', "data.json": '"a"', "node_modules/x/index.js": "", "public/page.css": "" },
    ["--watch", "config.json"],
  );
  await shop.url();
  for (const name of ["data.json", "node_modules/x/index.js", "public/page.css"])
    await shop.save(name, '"b"');
  await mkdir(join(shop.cwd, "deep/er"), { recursive: true });
  await shop.save("deep/er/made.js", "export {};");
  await shop.says(/restarted in \d+ ms \(deep\/er\/made\.js\)/);
  await shop.save("config.json", '"b"');
  await shop.says(/restarted in \d+ ms \(config\.json\)/);
  await shop.save("deep/er/made.js", "export const a = 1;");
  await until(() => shop.program.stdout.split("made.js)").length > 2, "it is still watched");
  expect(shop.program.stdout.split("restarted in")).toHaveLength(4);
});

test("what is to be watched and is not there, and a port that is taken, are said in one line", async () => {
  const shop = await Workshop.open({}, ["--watch", "nowhere.json"]);
  const { code, stderr } = await shop.program.ended;
  expect([code, stderr]).toEqual([
    1,
    expect.stringMatching(/^sluice: there is no .*nowhere\.json to watch\n$/),
  ]);
  const other = await Workshop.open();
  const { port } = new URL(await other.url());
  const third = await Workshop.open({}, ["--port", port]);
  expect(await third.program.ended).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^sluice: .* is in use already[^\n]*\n$/),
  });
});

test("Ctrl+C ends it and what it has started, with exit code 0", async () => {
  const shop = await Workshop.open();
  const pid = Number(await shop.get("/pid"));
  // As a terminal does: to all of them.
  kill(pid, "SIGINT");
  shop.program.child.kill("SIGINT");
  expect((await shop.program.ended).code).toBe(0);
  await until(() => !lives(pid), "nothing is left");
});

test("Ctrl+C ends one whose hooks hang, and one that is just being started", async () => {
  const hangs = APP.replace(
    "async receive",
    "disconnect() { return new Promise(() => {}); }\n  async receive",
  );
  const shop = await Workshop.open({ "app.js": hangs });
  const url = await shop.url();
  const pid = Number(await shop.get("/pid"));
  const socket = io(`${url}/room`, { reconnection: false });
  atEnd(() => socket.disconnect());
  await connected(socket);
  await shop.save(
    "version.js",
    `console.log("pid " + process.pid);\nawait new Promise(() => setInterval(() => {}, 1000));\n${version("two")}`,
  );
  await shop.says(/^pid \d+$/m);
  const coming = Number(/^pid (\d+)$/m.exec(shop.program.stdout)?.[1]);
  shop.program.child.kill("SIGINT");
  await shop.program.ended;
  await until(() => !lives(pid) && !lives(coming), "nothing is left");
});

test("when it is killed, what it has started ends by itself", async () => {
  const shop = await Workshop.open();
  const pid = Number(await shop.get("/pid"));
  shop.program.child.kill("SIGKILL");
  await until(() => !lives(pid), "nothing is left");
});

test("logs are readable", async () => {
  const shop = await Workshop.open();
  await shop.url();
  expect(shop.program.stdout).toMatch(/^\[\d\d:\d\d:\d\d\.\d{3}\] INFO: started \{"node":"n-/m);
});

test("the demo runs by it, with presence and tasks", async () => {
  const files = [
    "routing/app.ts",
    "routing/exports.ts",
    "routing/groups.ts",
    "routing/guests.ts",
    "routing/pages.ts",
    "routing/routes.ts",
    "routing/tasks.ts",
    "consumers/chat-consumer.ts",
    "consumers/diary.ts",
    "consumers/lobby-consumer.ts",
    "consumers/person.ts",
    "consumers/room-directory.ts",
    "tasks/export-room.ts",
    "tasks/statistics.ts",
  ];
  const sources = await Promise.all(
    files.map(async (file) => [file, await readFile(join(root, file), "utf8")] as const),
  );
  const cwd = await project(Object.fromEntries(sources), ["tsx", "express"]);
  const program = new Program(["dev", "routing/app.ts", "--port", "0"], { cwd });
  const url = await program.url();
  const enter = async () => {
    const socket = io(`${url}/chat/den`, {
      auth: { name: "Ann", secret: "what only Ann's browser knows" },
      reconnectionDelay: 50,
    });
    atEnd(() => socket.disconnect());
    return connected(socket);
  };
  const socket = await enter();
  await writeFile(
    join(cwd, "routing/groups.ts"),
    `${await readFile(join(cwd, "routing/groups.ts"), "utf8")}\n`,
  );
  await until(() => program.stdout.includes("restarted in"), "it restarts");
  const lists: { users?: unknown[] }[] = [];
  socket.on("sluice.presence", (list) => lists.push(list));
  await until(() => lists.some(({ users }) => users?.length === 1), "one person is here");
});

chromiumTest("a page in Chromium stays as it is over an edit, and hears what the new code says", async () => {
  const shop = await Workshop.open();
  const browser = await chromium.launch({
    executablePath: chromiumPath,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic"],
  });
  atEnd(() => browser.close());
  const page = await browser.newPage();
  await page.goto(await shop.url());
  const shows = (text: string) =>
    page.waitForFunction(`document.querySelector("#log").textContent === ${JSON.stringify(text)}`);
  await page.waitForFunction("window.say");
  await page.evaluate("window.stays = true; say('hello')");
  await shows("one: hello\n");
  await shop.save("version.js", version("two"));
  await shop.says("Sluice: restarted");
  await page.evaluate("say('still here')");
  await shows("one: hello\ntwo: still here\n");
  expect(await page.evaluate("window.stays")).toBe(true);
});
