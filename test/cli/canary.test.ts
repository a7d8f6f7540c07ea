import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import { createServer } from "node:net";
import { expect, test } from "@jest/globals";
import { createApplication } from "sluice";
import { canary } from "sluice/canary";
import { TestClient } from "sluice/testing";
import { Server as IoServer } from "socket.io";
import { RedisServer, redisTest } from "../redis/redis-server.ts";
import { atEnd } from "../server/live-server.ts";
import { type Program, project, type RunOptions, run, start } from "./programs.ts";

const key = "a key that only monitors have";
const STEPS = ["connect", "join", "publish", "hear", "recover", "leave"];

const app = (options = "") => ({
  "app.js": `
    import { createApplication } from "sluice";
    import { canary } from "sluice/canary";
    import { createServer } from "sluice/server";
    export const compose = ({ backplane, history, secret, canaryKey, serverOptions }) => {
      const parts = [canary({ key: canaryKey, ${options} })];
      const app = createApplication({ routes: [], parts, backplane, history, secret });
      return createServer(app, serverOptions);
    };`,
});

async function serving(
  options = "",
  args: readonly string[] = [],
  env: RunOptions["env"] = {},
): Promise<Program> {
  const cwd = await project(app(options));
  return start("app.js", args, { cwd, env: { CANARY_KEY: key, ...env } });
}

interface Report {
  readonly url: string;
  readonly ok: boolean;
  readonly totalMs: number;
  readonly nodes: readonly string[];
  readonly steps: readonly {
    readonly step: string;
    readonly ok: boolean;
    readonly ms: number;
    readonly error?: string;
  }[];
}

async function fly(url: string, args: readonly string[] = [], env: RunOptions["env"] = {}) {
  const { code, stdout, stderr } = await run(["canary", url, "--json", ...args], {
    env: { CANARY_KEY: key, ...env },
  });
  expect(stderr).toBe("");
  return { code, ...(JSON.parse(stdout) as Report) };
}

test("a server that does its work: each step with its time, exit code 0", async () => {
  const url = await (await serving()).url();
  const { code, stdout, stderr } = await run(["canary", url], { env: { CANARY_KEY: key } });
  expect([code, stderr]).toEqual([0, ""]);
  const lines = stdout.trimEnd().split("\n");
  expect(lines.slice(0, -2).map((line) => line.replace(/\d+\.\d ms$/, "N ms").replace(/ +/g, " "))).toEqual(
    STEPS.map((step) => `✓ ${step} N ms`),
  );
  expect(lines.at(-1)).toMatch(new RegExp(`^${url}/ works: [\\d.]+ ms$`));
});

test("--json is for monitors", async () => {
  const report = await fly(await (await serving()).url());
  expect(report.code).toBe(0);
  expect(report).toMatchObject({ ok: true, nodes: [expect.stringMatching(/^n-/)] });
  expect(report.steps.map(({ step, ok }) => [step, ok])).toEqual(STEPS.map((step) => [step, true]));
  for (const { ms } of report.steps) expect(ms).toBeGreaterThanOrEqual(0);
});

test("it finds a server below a root path, and a route of another name", async () => {
  const url = await (await serving('path: "/probe"', [], { ROOT_PATH: "/chat" })).url();
  expect(await fly(`${url}/chat/`, ["--path", "/probe"])).toMatchObject({ code: 0, ok: true });
});

redisTest("what two nodes share is tried between them", async () => {
  const redis = await RedisServer.start();
  atEnd(() => redis.close());
  const env = { REDIS_URL: redis.url, SLUICE_SECRET: "one secret for all processes of a test run" };
  const url = await (await serving("", ["--processes", "2"], env)).url();
  const report = await fly(url);
  expect(report).toMatchObject({ code: 0, ok: true });
  expect(report.nodes).toHaveLength(2);
});

test("where the application keeps no history, coming back is all that is asked", async () => {
  const url = await (await serving("recovers: false", ["--processes", "2"])).url();
  expect(await fly(url)).toMatchObject({ code: 0, ok: true });
});

test("a history that forgets at once is found: the step that fails is told, and those after it are not tried", async () => {
  const cwd = await project({
    "app.js": app()
      ["app.js"].replace("history,", "")
      .replace("history, secret })", 'secret, groups: { "canary.*": {} } })'),
  });
  const program = start("app.js", [], { cwd, env: { CANARY_KEY: key } });
  const report = await fly(await program.url(), ["--timeout", "1500"]);
  expect(report).toMatchObject({ code: 1, ok: false });
  expect(report.steps.at(-1)).toMatchObject({ step: "recover", ok: false, error: "not done within 1500 ms" });
});

test.each([
  ["another key", ["--key", "a key that somebody guesses"], {}, "join", "this is not the canary's key"],
  ["no canary there", [], { CANARY_KEY: "" }, "join", "there is no canary: give the application parts"],
])("%s is said", async (_what, args, env, step, words) => {
  const url = await (await serving("", [], env)).url();
  const report = await fly(url, args);
  expect(report).toMatchObject({ code: 1, ok: false });
  expect(report.steps.at(-1)).toMatchObject({ step, ok: false, error: expect.stringContaining(words) });
});

test("nobody there, and somebody who says nothing, fail the first step in time", async () => {
  const silent = createServer((socket) => socket.on("error", () => {})).listen(0, "127.0.0.1");
  await once(silent, "listening");
  const { port } = silent.address() as { port: number };
  const hung = await fly(`127.0.0.1:${port}`, ["--timeout", "500"]);
  expect(hung.code).toBe(1);
  expect(hung.steps).toMatchObject([{ step: "connect", ok: false }]);
  silent.close();
  const gone = await fly("http://127.0.0.1:1");
  expect(gone.code).toBe(1);
  expect(gone.steps).toMatchObject([
    { step: "connect", ok: false, error: expect.stringContaining("nothing of Socket.IO answers there") },
  ]);
});

test("what is secret in the address is not printed", async () => {
  const address = "http://ann:hunter2@127.0.0.1:1/chat?token=hunter2";
  const report = await fly(address);
  expect(report).toMatchObject({ code: 1, url: "http://127.0.0.1:1/chat" });
  const { stdout } = await run(["canary", address], { env: { CANARY_KEY: key } });
  expect(stdout).toContain("http://127.0.0.1:1/chat fails: connect");
  expect(stdout + JSON.stringify(report)).not.toContain("hunter2");
});

test("a server that says what nobody can read fails the step, and is no crash", async () => {
  const liar = createHttpServer((_request, response) => response.end('0{"sid":"\u001b"}'));
  atEnd(() => liar.close());
  liar.listen(0, "127.0.0.1");
  await once(liar, "listening");
  const { port } = liar.address() as { port: number };
  const report = await fly(`127.0.0.1:${port}`, ["--timeout", "5000"]);
  expect(report.code).toBe(1);
  expect(report.steps).toMatchObject([
    { step: "connect", ok: false, error: expect.stringContaining("what it says cannot be read") },
  ]);
});

test.each([undefined, null, {}, { node: 7 }])(
  "somebody else who says hello (%j) is no canary",
  async (said) => {
    const http = createHttpServer();
    const io = new IoServer(http);
    atEnd(() => io.close());
    io.of(/.*/).on("connection", (socket) => void socket.emit("hello", said));
    http.listen(0, "127.0.0.1");
    await once(http, "listening");
    const { port } = http.address() as { port: number };
    const { code, ok, steps } = await fly(`127.0.0.1:${port}`);
    expect([code, ok]).toEqual([1, false]);
    expect(steps.at(-1)).toMatchObject({ ok: false, error: "who answers there is no canary of Sluice" });
  },
);

test.each([
  ["no key", ["http://127.0.0.1:1"], { CANARY_KEY: "" }, "which key?"],
  ["no address", ["ftp://x"], {}, '"ftp://x" is no address of a server'],
  ["no time", ["http://127.0.0.1:1", "--timeout", "0"], {}, "It must be a whole number from 1"],
])("%s is a wrong command line", async (_what, args, env, words) => {
  const { code, stderr } = await run(["canary", ...args], { env: { CANARY_KEY: key, ...env } });
  expect(code).toBe(2);
  expect(stderr).toMatch(/^sluice: [^\n]+\n$/);
  expect(stderr).toContain(words);
});

test("without a key there is no route at all; with one nobody else gets in, and nothing but numbers is told", async () => {
  expect(createApplication({ routes: [], parts: [canary({ key: undefined })] }).router.routes).toEqual([]);
  expect(() => canary({ key: "short" })).toThrow("at least 16 characters");
  const guarded = createApplication({ routes: [], parts: [canary({ key })] });
  atEnd(() => guarded.stop());
  for (const auth of [{}, { key: 1 }, { key: `${key}x` }]) {
    const stranger = new TestClient(guarded, "/canary/one", { auth });
    expect(await stranger.connect()).toMatchObject({ accepted: false, code: 4403 });
  }
  const client = new TestClient(guarded, "/canary/one", { auth: { key } });
  await client.connect();
  expect(await client.emit("tell", "text")).toMatchObject({ error: { code: "invalid_message" } });
  expect(await client.emit("shout", 1)).toMatchObject({ error: { code: "no_handler" } });
  expect(await client.emit("tell", 1)).toBe(true);
  expect(await client.next("told")).toBe(1);
});

test("a user and a password in the address are for a server behind basic authentication", async () => {
  const cwd = await project({
    "app.js": `
      import { createApplication, deny } from "sluice";
      import { canary } from "sluice/canary";
      import { createServer } from "sluice/server";
      const wanted = "Basic " + Buffer.from("ops:p@ss:wörd%").toString("base64");
      const gate = (scope, next) => (scope.headers.authorization === wanted ? next() : deny(4401, "who are you?"));
      export const compose = ({ canaryKey, serverOptions }) => {
        const parts = [canary({ key: canaryKey })];
        return createServer(createApplication({ routes: [], parts, middleware: [gate] }), serverOptions);
      };`,
  });
  const url = await start("app.js", [], { cwd, env: { CANARY_KEY: key } }).url();
  const known = await fly(url.replace("//", "//ops:p%40ss%3Aw%C3%B6rd%@"));
  expect(known).toMatchObject({ code: 0, ok: true, url: `${url}/` });
  const unknown = await fly(url.replace("//", "//ops:another@"));
  expect(unknown).toMatchObject({ code: 1, ok: false });
  expect(JSON.stringify(unknown)).not.toMatch(/another|Basic/);
});
