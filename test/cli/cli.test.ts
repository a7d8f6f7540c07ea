import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { get } from "node:http";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { createClient } from "redis";
import { io } from "socket.io-client";
import { RedisServer, redisTest } from "../redis/redis-server.ts";
import { atEnd, connected, heard, until } from "../server/live-server.ts";
import { application, COMMANDS, demo, folder, Program, root, run, start } from "./programs.ts";

test("--version prints the version of the package", async () => {
  const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8"));
  expect(await run(["--version"])).toEqual({ code: 0, stdout: `${version}\n`, stderr: "" });
});

test("help names each command, and help of a command names its options and variables", async () => {
  const { code, stdout } = await run(["--help"]);
  expect(code).toBe(0);
  for (const command of COMMANDS) expect(stdout).toMatch(new RegExp(`^ {2}${command} `, "m"));
  const help = await run(["help", "start"]);
  for (const word of ["APP", "--processes", "REDIS_URL", "Examples:"]) expect(help.stdout).toContain(word);
});

test.each([
  ["an unknown command", ["strat", "app.js"], "Did you mean start?"],
  ["no application", ["start"], 'write "sluice": { "app": "app.js" } into package.json'],
  ["an unknown option", ["start", "app.js", "--prot", "1"], "Did you mean --port?"],
  [
    "a wrong port",
    ["start", "app.js", "--port", "70000"],
    "It must be a port from 0 to 65535. (see: sluice help start)",
  ],
  ["no number of processes", ["start", "app.js", "--processes", "0"], "from 1 to 256"],
  ["too many words", ["send", "g", "{}", "more"], "too many arguments"],
  ["too few words", ["send"], "missing required argument 'GROUP' (see: sluice help send)"],
  ["no name", ["generate", "task"], "'NAME' (see: sluice generate task --help)"],
  ["no JSON", ["send", "g", "{type:1}"], "the message is not JSON"],
  ["no JSON in the payload", ["emit", "g", "e", "hello"], "the payload is not JSON"],
  ["help for what there is not", ["help", "strat"], 'there is no command "strat" (did you mean start?)'],
])("%s is said in one line, with exit code 2", async (_what, args, sentence) => {
  const { code, stdout, stderr } = await run(args);
  expect([code, stdout]).toEqual([2, ""]);
  expect(stderr).toMatch(/^sluice: [^\n]+\n$/);
  expect(stderr).toContain(sentence);
});

test.each([
  ["an address of another machine", "192.0.2.1"],
  ["no address", "nowhere.invalid"],
])("a host that is %s is said with what it may be", async (_what, host) => {
  const { code, stderr } = await run(["start", demo(), "--host", host, "--port", "0"]);
  expect(code).toBe(1);
  expect(stderr).toMatch(
    /^sluice: cannot listen on [^\n]+; the host must be an address of this machine: 127\.0\.0\.1 [^\n]+\n$/,
  );
});

test("standard input that is not JSON is said to be so", async () => {
  const { code, stderr } = await run(["send", "g", "-"], { input: "hello" });
  expect(code).toBe(2);
  expect(stderr).toMatch(/^sluice: standard input is not JSON: [^\n]+\n$/);
});

test.each([
  ["a module that is not there", "nowhere.js", "", "there is no module nowhere.js"],
  ["a module without compose", "bare.js", "export const x = 1;", 'exports no function "compose"'],
  ["what is no server", "odd.js", "export const compose = () => ({});", "must return a server"],
])("%s is said in one line, with exit code 1", async (_what, name, source, sentence) => {
  if (source !== "") await application(source, name);
  const { code, stdout, stderr } = await start(name).ended;
  expect([code, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(/^sluice: [^\n]+\n$/);
  expect(stderr).toContain(sentence);
});

test.each([
  [
    "imports a file that is not there",
    "broken.js",
    'import "./not-there.js";',
    /not-there\.js' imported from .*broken\.js; look at the path/,
  ],
  [
    "imports a package that is not there",
    "lacking.js",
    'import "not-there";',
    /'not-there' imported from .*lacking\.js; "npm install" installs .*, "npm install not-there" adds it/,
  ],
  ["is none", "page.html", "<p>", /^sluice: page\.html cannot be loaded: .* JavaScript or TypeScript$/m],
])("a module that %s is said in one line, with what to do", async (_what, name, source, sentence) => {
  const { code, stdout, stderr } = await start(await application(source, name)).ended;
  expect([code, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(/^sluice: [^\n]+\n$/);
  expect(stderr).toMatch(sentence);
});

test("a stack ends where the application does", async () => {
  const module = await application("nobody.knows;", "throwing.js");
  const { code, stderr } = await start(module).ended;
  expect(code).toBe(1);
  expect(stderr).toMatch(
    /^ReferenceError: nobody is not defined\n {4}at [^\n]*throwing\.js:1:1\n( {4}at [^\n]+\n)?$/,
  );
});

test("an import of a name that is not there is shown with its place, and without a stack of ours", async () => {
  const module = await application('import { nobody } from "sluice";', "asking.js");
  const { stderr } = await start(module).ended;
  expect(stderr).toMatch(
    /asking\.js:1\n[\s\S]*does not provide an export named 'nobody'\n( {4}at [^\n]+\n)?\n/,
  );
  expect(stderr).not.toContain("cli");
});

test("a module that is no JavaScript is shown with the place", async () => {
  const module = await application("export const compose = ;", "mistaken.js");
  const { code, stderr } = await start(module).ended;
  expect(code).toBe(1);
  expect(stderr).toMatch(/mistaken\.js:1\nexport const compose = ;[\s\S]*SyntaxError/);
});

test("all that is wrong in the environment is said at once, without a stack", async () => {
  const env = { PORT: "http", TRUSTED_PROXIES: "-1", REDIS_PASWORD: "secret" };
  const { code, stderr } = await run(["start", demo()], { env });
  expect(code).toBe(1);
  expect(stderr).toBe(
    [
      "sluice: 3 faults:",
      '- PORT must be a port from 0 to 65535, not "http"',
      '- TRUSTED_PROXIES must be a whole number from 0 to 100, not "-1"',
      "- REDIS_PASWORD is not read by anything; did you mean REDIS_PASSWORD?",
      "",
    ].join("\n"),
  );
});

test("a port that is taken is said in one line", async () => {
  const other = createServer().listen(0, "127.0.0.1");
  atEnd(() => other.close());
  await once(other, "listening");
  const { port } = other.address() as { port: number };
  const { code, stdout, stderr } = await run(["start", demo(), "--port", String(port)]);
  // Nothing was begun: nothing is logged of it.
  expect([code, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(
    /^sluice: 127\.0\.0\.1:\d+ is in use already; choose another port \(`port`, PORT or --port; 0 takes a free one\) or end what uses it\n$/,
  );
});

test("the demo runs by it, logs what happens, and SIGTERM ends it well", async () => {
  const program = start(demo());
  const url = await program.url();
  expect(await (await fetch(url)).text()).toContain("Open a room and start talking");
  const client = io(`${url}/chat/den`, {
    auth: { name: "Ann", secret: "what only Ann's browser knows" },
    reconnection: false,
  });
  const goodbye = heard(client, "sluice.close");
  await connected(client);
  program.child.kill("SIGTERM");
  expect(await goodbye).toMatchObject([{ code: 4503 }]);
  const { code, stderr } = await program.ended;
  expect([code, stderr]).toEqual([0, ""]);
  expect(program.log.map(({ msg }) => msg)).toEqual([
    ...["worker up", "schedule", "started"],
    expect.stringContaining("tasks wait, and their results are kept, in this process' memory"),
    ...["draining", "disconnected", "worker down", "stopped"],
  ]);
});

test.each([
  ["one process", []],
  ["two", ["--processes", "2"]],
])(
  "the last lines of %s are all written, and in order, though what writes them is busy",
  async (_name, args) => {
    const module = await application(
      `import { pbkdf2 } from "node:crypto";
     import { createApplication } from "sluice";
     import { createServer } from "sluice/server";
     export const compose = ({ backplane, serverOptions }) => {
       const app = createApplication({ routes: [], backplane });
       app.signals.draining.connect(() => pbkdf2("a", "b", 1_000_000, 64, "sha512", () => {}));
       return createServer(app, serverOptions);
     };`,
      "busy.js",
    );
    const program = start(module, args, { env: { UV_THREADPOOL_SIZE: "1", DRAIN_MS: "0" } });
    await program.url();
    program.child.kill("SIGTERM");
    expect((await program.ended).code).toBe(0);
    const numbers = args.length === 0 ? [undefined] : [1, 2];
    for (const number of numbers) {
      const lines = program.log.filter(({ msg, process }) => process === number && msg !== "process serves");
      expect(lines.map(({ msg }) => msg)).toEqual(["started", "draining", "stopped"]);
    }
  },
);

test("a second signal ends it at once with exit code 1, though a hook hangs", async () => {
  const module = await application(
    `import { Consumer, createApplication, route } from "sluice";
     import { createServer } from "sluice/server";
     class Stubborn extends Consumer {
       disconnect() { console.log("goodbye"); return new Promise(() => {}); }
     }
     export const compose = ({ backplane, serverOptions }) =>
       createServer(createApplication({ routes: [route("/s", Stubborn)], backplane }), serverOptions);`,
    "stubborn.js",
  );
  const program = start(module, ["--host", "127.0.0.1"]);
  const client = io(`${await program.url()}/s`, { reconnection: false });
  await connected(client);
  program.child.kill("SIGINT");
  await until(() => program.count("goodbye") === 1, "the hook runs");
  program.child.kill("SIGTERM");
  expect((await program.ended).code).toBe(1);
});

test("what nobody caught is logged with its stack, and ends the program with exit code 1", async () => {
  const module = await application(
    `import { createApplication } from "sluice";
     import { createServer } from "sluice/server";
     export const compose = ({ serverOptions }) => {
       setImmediate(() => Promise.reject(new Error("a bug")));
       return createServer(createApplication({ routes: [] }), serverOptions);
     };`,
    "buggy.js",
  );
  const program = start(module);
  expect((await program.ended).code).toBe(1);
  expect(program.stdout).toMatch(/"level":60.*a bug.*buggy\.js/);
});

test.each([
  ["send", ["send", "news", '{"type":"news.flash"}']],
  ["emit", ["emit", "news", "flash"]],
])("%s without Redis says what it needs", async (command, args) => {
  const { code, stderr } = await run(args);
  expect(code).toBe(1);
  expect(stderr).toBe(
    `sluice: \`sluice ${command}\` reaches the application through Redis: set REDIS_URL to the one that its nodes use\n`,
  );
});

redisTest("send and emit reach the consumers and clients of a running application", async () => {
  const redis = await RedisServer.start("--requirepass", "p#a$s%w/o:r@d?");
  atEnd(() => redis.close());
  const env = { REDIS_URL: redis.url, REDIS_PASSWORD: "p#a$s%w/o:r@d?", REDIS_PREFIX: "cli-test" };
  const module = await application(
    `import { Consumer, createApplication, route } from "sluice";
     import { createServer } from "sluice/server";
     class Reader extends Consumer {
       async connect() { await this.groupAdd("news"); }
       newsFlash({ text }) { this.send("flash", text.toUpperCase()); }
     }
     export const compose = ({ backplane, serverOptions }) =>
       createServer(createApplication({ routes: [route("/news", Reader)], backplane }), serverOptions);`,
    "news.js",
  );
  // Several processes, each a node on Redis.
  const program = start(module, ["--processes", "2"], { env });
  const url = await program.url();
  const clients = await Promise.all(
    Array.from({ length: 4 }, () => connected(io(`${url}/news`, { forceNew: true }))),
  );
  atEnd(() => {
    for (const client of clients) client.disconnect();
  });
  const tell = async (args: readonly string[], input = "") => {
    const all = clients.map((client) => heard(client, "flash"));
    expect(await run(args, { env, input })).toEqual({ code: 0, stdout: "", stderr: "" });
    return Promise.all(all);
  };
  const four = (...args: unknown[]) => Array.from({ length: 4 }, () => args);
  expect(await tell(["send", "news", '{"type":"news.flash","text":"one"}'])).toEqual(four("ONE"));
  expect(await tell(["send", "news", "-"], '{"type":"news.flash","text":"two"}')).toEqual(four("TWO"));
  expect(await tell(["emit", "news", "flash", '{"three":3}'])).toEqual(four({ three: 3 }));
  expect(await tell(["emit", "news", "flash"])).toEqual(four());

  for (const [args, sentence] of [
    [["send", "bad name", '{"type":"news.flash"}'], "a group name is"],
    [["send", "news", '{"type":"flash"}'], "needs a dotted type"],
    [["emit", "news", "sluice.close"], "belongs to the framework"],
  ] as const) {
    const { code, stderr } = await run(args, { env });
    expect(code).toBe(1);
    expect(stderr).toMatch(/^sluice: [^\n]+\n$/);
    expect(stderr).toContain(sentence);
  }
  const wrong = await run(["emit", "news", "flash"], { env: { ...env, REDIS_PASSWORD: "guess" } });
  expect(wrong.code).toBe(1);
  expect(wrong.stderr).not.toMatch(/\n {4}at |guess|p#a/);
});

const limited = () =>
  application(
    `import { Consumer, createApplication, route } from "sluice";
     import { createServer } from "sluice/server";
     class Room extends Consumer {}
     export const compose = ({ backplane, sharedLimits, serverOptions }) =>
       createServer(
         createApplication({
           routes: [route("/room", Room)],
           middleware: [(scope, next) => next({ user: scope.auth.user })],
           limits: { connectionsPerUser: 1 },
           backplane,
           sharedLimits,
         }),
         serverOptions,
       );`,
    "limited.js",
  );
const enter = async (program: Program) => {
  const socket = io(`${await program.url()}/room`, { auth: { user: "ann" }, reconnection: false });
  atEnd(() => socket.disconnect());
  return connected(socket);
};

redisTest("programs with the same Redis share their limits, and so do those of the demo", async () => {
  const redis = await RedisServer.start();
  atEnd(() => redis.close());
  const module = await limited();
  const env = { REDIS_URL: redis.url, REDIS_PREFIX: "shop" };
  const [one, two] = [start(module, [], { env }), start(module, [], { env })];
  await enter(one);
  await expect(enter(two)).rejects.toThrow("a user may have 1 connections at once; close another first");
  const show = start(demo(), [], { env: { ...env, REDIS_PREFIX: "demo", SLUICE_SECRET: "s".repeat(32) } });
  const socket = io(`${await show.url()}/lobby`, { reconnection: false });
  atEnd(() => socket.disconnect());
  await connected(socket);
  const client = await createClient({ socket: { port: redis.port } }).connect();
  atEnd(() => client.destroy());
  expect(await client.keys("demo:limits:room:*")).toHaveLength(1);
});

test("without Redis each program counts limits by itself", async () => {
  const module = await limited();
  const [one, two] = [start(module), start(module)];
  await enter(one);
  await enter(two);
  await expect(enter(two)).rejects.toThrow("a user may have 1 connections at once");
});

test("it listens on a descriptor that it inherits, as systemd hands one down", async () => {
  const holder = createServer();
  await once(holder.listen(0, "127.0.0.1"), "listening");
  const { port } = holder.address() as { port: number };
  const { fd } = (holder as unknown as { readonly _handle: { readonly fd: number } })._handle;
  const program = new Program(["start", demo()], { env: { SOCKET_FD: "3" }, inherit: [fd] });
  expect(await program.url()).toBe(`http://127.0.0.1:${port}`);
  // From here on nobody else takes connections on it.
  holder.close();
  expect((await fetch(`http://127.0.0.1:${port}/livez`)).status).toBe(200);
});

test("a descriptor that nobody listens on is said to be so", async () => {
  const { code, stderr } = await run(["start", demo()], { env: { SOCKET_FD: "77" } });
  expect(code).toBe(1);
  expect(stderr).toMatch(/^sluice: cannot listen on descriptor 77: [^\n]+\n$/);
});

test("it listens on a unix socket", async () => {
  const path = join(folder(), "sluice.sock");
  // As one process only: the option wins over its variable.
  const env = { SOCKET_PATH: path, PROCESSES: "2" };
  const program = new Program(["start", demo(), "--processes", "1"], { env });
  await until(() => program.stdout.includes("sluice.sock"), "it listens");
  const status = await new Promise((resolve, reject) => {
    get({ socketPath: path, path: "/readyz" }, ({ statusCode }) => resolve(statusCode)).on("error", reject);
  });
  expect(status).toBe(200);
});

test("several processes refuse what only one can listen on", async () => {
  const { code, stderr } = await run(["start", demo(), "--processes", "2"], { env: { SOCKET_FD: "3" } });
  expect([code, stderr]).toEqual([1, expect.stringContaining("are for one (PROCESSES=1)")]);
});
