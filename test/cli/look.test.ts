/** `sluice routes` and `sluice check`: what they find, on applications and servers that are wrong in every way. */
import { once } from "node:events";
import { createServer } from "node:net";
import { expect, test } from "@jest/globals";
import { createClient } from "redis";
import { historyRights } from "../../src/history/redis-history.ts";
import { limitsRights } from "../../src/limits/redis-limits.ts";
import { presenceRights } from "../../src/presence/redis-presence.ts";
import { unprobed } from "../../src/redis/redis-check.ts";
import { COMMON_COMMANDS } from "../../src/redis/redis-commands.ts";
import { tasksRights } from "../../src/tasks/redis-broker-options.ts";
import { freePort, RedisServer, redisTest } from "../redis/redis-server.ts";
import { atEnd } from "../server/live-server.ts";
import { project, type RunOptions, run, start } from "./programs.ts";

const head = `
  import { Consumer, createApplication, http, include, route, sse } from "sluice";
  import { createServer } from "sluice/server";
  class Chat extends Consumer {}
  class Feed extends Consumer {}`;
const compose = (options: string) =>
  `export const compose = ({ backplane, history, presence, sharedLimits, secret, serverOptions }) => {
    const shared = { backplane, history, presence, sharedLimits, secret };
    return createServer(createApplication({ ...shared, ${options} }), serverOptions);
  };`;
const app = (options: string, more = "") => ({ "app.js": `${head}\n${more}\n${compose(options)}` });
const named = { "package.json": { type: "module", sluice: { app: "app.js" } } };
const secret = "one secret for all processes of a test run";

const TABLE = `
  function logged(scope, next) { return next(); }
  const requireUser = (scope, next) => next();
  const routes = [
    route("/chat/:room(slug)", Chat, { name: "chat" }),
    include("/admin/:tenant(int)", [
      sse("/feed/:since(int)?", Feed, { name: "feed", middleware: [(scope, next) => next()] }),
      http("/files/:path(path)", function download() {}, { methods: ["get", "head"] }),
    ], { name: "admin", middleware: [requireUser] }),
  ];`;

test("routes are printed as they resolve, in the order in which they are tried", async () => {
  const cwd = await project({ ...named, ...app("routes, middleware: [logged]", TABLE) });
  const { code, stdout, stderr } = await run(["routes"], { cwd });
  expect([code, stderr]).toEqual([0, ""]);
  const rows = stdout
    .trimEnd()
    .split("\n")
    .map((line) => line.split(/ {2,}/));
  expect(rows).toEqual([
    ["PROTOCOL", "PATTERN", "SERVES", "MIDDLEWARE", "PARAMS", "NAME"],
    ["socket", "/chat/:room(slug)", "Chat", "logged", "room: slug", "chat"],
    [
      ...["sse", "/admin/:tenant(int)/feed/:since(int)?", "Feed", "logged > requireUser > (anonymous)"],
      ...["tenant: int, since: int?", "admin:feed"],
    ],
    [
      ...["http GET,HEAD", "/admin/:tenant(int)/files/:path(path)", "download", "logged > requireUser"],
      "tenant: int, path: path",
    ],
  ]);
});

test("routes --json is for programs, whatever the application logs", async () => {
  const cwd = await project({ ...named, ...app("routes", `${TABLE}`) });
  const { code, stdout } = await run(["routes", "--json"], { cwd });
  expect(code).toBe(0);
  expect(JSON.parse(stdout)[1]).toEqual({
    protocol: "sse",
    pattern: "/admin/:tenant(int)/feed/:since(int)?",
    params: [
      { name: "tenant", converter: "int", optional: false },
      { name: "since", converter: "int", optional: true },
    ],
    name: "admin:feed",
    methods: [],
    serves: "Feed",
    middleware: ["requireUser", "(anonymous)"],
  });
});

test("an application that leaves something open still ends, and one without routes says so", async () => {
  const cwd = await project({ ...named, ...app("routes: []", "setInterval(() => {}, 1000);") });
  expect(await run(["routes"], { cwd })).toEqual({ code: 0, stdout: "app.js has no routes.\n", stderr: "" });
});

interface Report {
  readonly ok: boolean;
  readonly findings: readonly { readonly about: string; readonly level: string; readonly what: string }[];
}

async function check(
  options: RunOptions,
  args: readonly string[] = [],
): Promise<Report & { code: number | null }> {
  const env = { PORT: String(await freePort()), ...options.env };
  const { code, stdout, stderr } = await run(["check", "--json", ...args], { ...options, env });
  expect(stderr).toBe("");
  const report = JSON.parse(stdout) as Report;
  expect(report.ok).toBe(code === 0);
  return { ...report, code };
}

const faultsIn = ({ findings }: Report) =>
  findings.filter(({ level }) => level === "fault").map(({ about, what }) => `${about}: ${what}`);

test("an application without a fault: each finding in a line, exit code 0", async () => {
  const cwd = await project({ ...named, ...app("routes: [route('/a', Chat)]") });
  const port = await freePort();
  const { code, stdout } = await run(["check", "--port", String(port)], { cwd });
  expect(stdout).toBe(
    [
      "✓ app.js is an application of 1 route",
      "✓ REDIS_URL is not set: this machine is alone, and nothing outlives its processes",
      `✓ 127.0.0.1:${port} can be listened on (only this machine reaches it; HOST=0.0.0.0 is for others, too)`,
      "",
      "No fault was found.",
      "",
    ].join("\n"),
  );
  expect(code).toBe(0);
});

test("all faults of routes, options and policies are listed at once, and the port is looked at all the same", async () => {
  const cwd = await project({
    ...named,
    ...app(
      "routes: [route('chat', Chat)], groups: { 'a.*': { history: { size: 0, ttlMs: 1 } } }, limitz: {}",
    ),
  });
  const report = await check({ cwd });
  expect(report.code).toBe(1);
  const faults = faultsIn(report).join("\n");
  for (const words of ['must begin with "/"', "history.size must be", "limitz"])
    expect(faults).toContain(words);
  expect(report.findings).toContainEqual(expect.objectContaining({ about: "port", level: "fine" }));
});

test("a wrong environment, no application, and a broken one are faults, not crashes", async () => {
  const empty = await project({});
  const env = { TRUSTED_PROXIES: "-1", REDIS_PASWORD: "x" };
  expect(faultsIn(await check({ cwd: empty, env }))).toEqual([
    'environment: TRUSTED_PROXIES must be a whole number from 0 to 100, not "-1"',
    "environment: REDIS_PASWORD is not read by anything; did you mean REDIS_PASSWORD?",
    expect.stringContaining("application: which application?"),
  ]);
  const broken = await project({ ...named, "app.js": "throw new Error('as it loads');" });
  const [fault, ...others] = faultsIn(await check({ cwd: broken }));
  expect(others).toEqual([]);
  expect(fault).toMatch(/^application: Error: as it loads\n {4}at .*app\.js/);
});

test("what several processes cannot share without Redis is found", async () => {
  const groups = "groups: { 'a.*': { history: { size: 1, ttlMs: 1000 }, presence: true } }";
  const cwd = await project({ ...named, ...app(`routes: [], ${groups}`) });
  expect((await check({ cwd })).code).toBe(0);
  expect(faultsIn(await check({ cwd }, ["--processes", "2"]))).toEqual([
    expect.stringContaining("some groups keep history, which several processes can share in Redis only"),
    expect.stringContaining("some groups keep presence, which several processes can share in Redis only"),
  ]);
});

test("a port that is taken is a fault with a remedy; one that a server of ours has is told to be so", async () => {
  const cwd = await project({ ...named, ...app("routes: []") });
  const other = createServer().listen(0, "127.0.0.1");
  atEnd(() => other.close());
  await once(other, "listening");
  const { port } = other.address() as { port: number };
  other.on("connection", (socket) => socket.destroy());
  expect(faultsIn(await check({ cwd, env: { PORT: String(port) } }))).toEqual([
    `port: 127.0.0.1:${port} is in use already; choose another port (\`port\`, PORT or --port; 0 takes a free one) or end what uses it`,
  ]);
  const ours = start("app.js", [], { cwd });
  const { port: taken } = new URL(await ours.url());
  const report = await check({ cwd, env: { PORT: taken } });
  expect(report.code).toBe(0);
  expect(report.findings.at(-1)).toMatchObject({
    level: "hint",
    what: expect.stringMatching(/is taken by a server of Sluice that runs already \(node n-/),
  });
});

const KEEPING = "routes: [], groups: { 'a.*': { history: { size: 1, ttlMs: 1000 }, presence: true } }";

redisTest(
  "a Redis that lets us do everything is told with its version, and nothing is left in it",
  async () => {
    const redis = await RedisServer.start("--requirepass", "p#a$s%w/o:r@d?");
    atEnd(() => redis.close());
    const cwd = await project({ ...named, ...app(KEEPING) });
    const env = { REDIS_URL: redis.url, REDIS_PASSWORD: "p#a$s%w/o:r@d?", SLUICE_SECRET: secret };
    const report = await check({ cwd, env });
    expect(faultsIn(report)).toEqual([]);
    // Several processes share all of it there.
    expect(faultsIn(await check({ cwd, env }, ["--processes", "2"]))).toEqual([]);
    const said = report.findings.filter(({ about }) => about === "redis").map(({ what }) => what);
    expect(said[0]).toMatch(/^Redis at 127\.0\.0\.1:\d+ is (Redis|Valkey) \d+\.\d+\.\d+$/);
    expect(said.slice(1).map((what) => what.split(" ").at(-2))).toEqual([
      "groups",
      "history",
      "presence",
      "limits",
    ]);
    const client = await createClient({ url: redis.url, password: "p#a$s%w/o:r@d?" }).connect();
    atEnd(() => client.destroy());
    expect(await client.dbSize()).toBe(0);
  },
);

redisTest("a user that lacks rights is told which, and what to type; with those it is enough", async () => {
  const redis = await RedisServer.start();
  atEnd(() => redis.close());
  const client = await createClient({ url: redis.url }).connect();
  atEnd(() => client.destroy());
  const acl = (...words: string[]) => client.sendCommand(["ACL", "SETUSER", "app", ...words]);
  await acl(
    "on",
    ">pass",
    "resetkeys",
    "resetchannels",
    "-@all",
    "+hello",
    "+ping",
    "+eval",
    "+evalsha",
    "+hget",
  );
  const cwd = await project({ ...named, ...app(KEEPING) });
  const env = { REDIS_URL: redis.url, REDIS_USERNAME: "app", REDIS_PASSWORD: "pass", SLUICE_SECRET: secret };
  const faults = faultsIn(await check({ cwd, env }));
  expect(faults).toHaveLength(4);
  expect(faults[0]).toMatch(
    /the user "app" lacks for groups: \+ssubscribe \+sunsubscribe \+spublish; allow it: ACL SETUSER app \+ssubscribe/,
  );
  expect(faults[1]).toMatch(/lacks for history: (?!.*\+(hget|eval)\b).*~sluice:\*.*\+xadd/);
  // What it says is typed as it stands, as long as it says something: names are seen once commands are allowed.
  for (let round = 0; round < 3; round++) {
    for (const fault of faultsIn(await check({ cwd, env }))) {
      await acl(...(/ACL SETUSER app (.*)$/.exec(fault)?.[1] ?? "").split(" "));
    }
  }
  expect(faultsIn(await check({ cwd, env }))).toEqual([]);
  const program = start("app.js", [], { cwd, env });
  await program.url();
});

const PARTS = `
  import { RedisRevocations, RedisSessions } from "sluice/middleware";
  const sessions = { url: process.env.SESSIONS_URL, username: "app", password: "pass" };`;
const WITH_PARTS = "routes: [], parts: [new RedisSessions(sessions), new RedisRevocations(sessions)]";

redisTest("what sessions and revocations lack is told, in the Redis that they are given", async () => {
  const redis = await RedisServer.start();
  atEnd(() => redis.close());
  const client = await createClient({ url: redis.url }).connect();
  atEnd(() => client.destroy());
  const acl = (...words: string[]) => client.sendCommand(["ACL", "SETUSER", "app", ...words]);
  await acl(...["on", ">pass", "resetkeys", "-@all", "+hello", "+ping", "+get", "+set"]);
  await acl("~sluice.session.*");
  const cwd = await project({ ...named, ...app(WITH_PARTS, PARTS) });
  const env = { SESSIONS_URL: redis.url };
  const report = await check({ cwd, env });
  const place = `Redis at 127.0.0.1:${new URL(redis.url).port} as user "app"`;
  expect(faultsIn(report)).toEqual([
    `application: ${place}: the user "app" lacks for sessions: +evalsha +eval +pexpire; allow it: ACL SETUSER app +evalsha +eval +pexpire`,
    `application: ${place}: the user "app" lacks for revocations: ~sluice.revoked.*; allow it: ACL SETUSER app ~sluice.revoked.*`,
  ]);
  // Both are in one Redis.
  expect(report.findings.filter(({ what }) => what.startsWith(`${place} is `))).toHaveLength(1);
  await acl("+evalsha", "+eval", "+pexpire", "~sluice.revoked.*");
  const mended = await check({ cwd, env });
  expect(faultsIn(mended)).toEqual([]);
  const fine = mended.findings.filter(({ what }) => what.startsWith(`${place} lets us do`));
  expect(fine.map(({ what }) => what.split(" ").at(-2))).toEqual(["sessions", "revocations"]);
  expect(await client.dbSize()).toBe(0);
  const program = start("app.js", [], { cwd, env });
  await program.url();
});

test("a Redis of sessions that is not there is told once, and a part that fails at it is a fault, not a crash", async () => {
  const own =
    "const own = { open: async () => {}, close: async () => {}, check: async () => { throw new Error('a bug'); } };";
  const parts = "parts: [new RedisSessions(sessions), new RedisRevocations(sessions), own]";
  const cwd = await project({ ...named, ...app(`routes: [], ${parts}`, `${PARTS}\n${own}`) });
  const env = { SESSIONS_URL: `redis://127.0.0.1:${await freePort()}` };
  const faults = faultsIn(await check({ cwd, env }));
  expect(faults).toEqual([
    expect.stringMatching(/^application: Redis at 127\.0\.0\.1:\d+ as user "app": nothing answers/),
    expect.stringMatching(/^application: Error: a bug/),
  ]);
});

redisTest("a Redis that may throw histories away is hinted at", async () => {
  const redis = await RedisServer.start("--maxmemory-policy", "allkeys-lru");
  atEnd(() => redis.close());
  const cwd = await project({ ...named, ...app(KEEPING) });
  const report = await check({ cwd, env: { REDIS_URL: redis.url, SLUICE_SECRET: secret } });
  expect(report.code).toBe(0);
  expect(report.findings).toContainEqual({
    about: "redis",
    level: "hint",
    what: expect.stringMatching(
      /may throw away what is kept \(history, presence\).*maxmemory-policy noeviction/,
    ),
  });
});

test("a Redis that is not there, and no Redis at all, are said with what to check; no password is shown", async () => {
  const cwd = await project({ ...named, ...app("routes: []") });
  const gone = await check({ cwd, env: { REDIS_URL: `redis://:hush@127.0.0.1:${await freePort()}` } });
  expect(faultsIn(gone)).toEqual([expect.stringMatching(/^redis: .*nothing answers \(connection refused\)/)]);
  expect(JSON.stringify(gone)).not.toContain("hush");
  const silent = createServer((socket) => socket.on("error", () => {})).listen(0, "127.0.0.1");
  atEnd(() => silent.close());
  await once(silent, "listening");
  const { port } = silent.address() as { port: number };
  const hung = await check({ cwd, env: { REDIS_URL: `redis://127.0.0.1:${port}` } });
  expect(faultsIn(hung)).toEqual([expect.stringContaining("it does not answer")]);
  const wrong = await check({ cwd, env: { REDIS_URL: "http://127.0.0.1" } });
  expect(faultsIn(wrong).join()).toContain("unknown scheme");
});

test("each command that is needed anywhere can be asked for", () => {
  const needed = [historyRights("p"), presenceRights("p"), limitsRights("p"), tasksRights("p")].flatMap(
    ({ commands }) => commands,
  );
  expect(unprobed([...COMMON_COMMANDS, ...needed])).toEqual([]);
});
