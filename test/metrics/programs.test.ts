/** Metrics of real programs: the demo, a worker, what several processes say. */
import { randomBytes } from "node:crypto";
import { expect, test } from "@jest/globals";
import { application, demo, kill, Program, project, run, start } from "../cli/programs.ts";
import { RedisServer, redisTest } from "../redis/redis-server.ts";
import { atEnd, connected, stock, until } from "../server/live-server.ts";
import { samplesOf } from "./samples.ts";

const token = "a-token-of-enough-letters";

async function samples(url: string): Promise<ReadonlyMap<string, number>> {
  const response = await fetch(`${url}/metrics`);
  expect(response.status).toBe(200);
  return samplesOf(await response.text());
}

test("the demo tells metrics if METRICS is on, and has no such page if not", async () => {
  const silent = await start(demo()).url();
  expect((await fetch(`${silent}/metrics`)).status).toBe(404);
  const url = await start(demo(), [], { env: { METRICS: "on" } }).url();
  await connected(stock(`${url}/lobby`));
  expect((await samples(url)).get('sluice_connections{route="/lobby"}')).toBe(1);
});

test("by METRICS_TOKEN alone it is on as well, and METRICS=off leaves it out", async () => {
  const url = await start(demo(), [], { env: { METRICS_TOKEN: token } }).url();
  expect((await fetch(`${url}/metrics`)).status).toBe(200);
  const forwarded = { "x-forwarded-for": "203.0.113.9" };
  expect((await fetch(`${url}/metrics`, { headers: forwarded })).status).toBe(401);
  const shown = { ...forwarded, authorization: `Bearer ${token}` };
  expect((await fetch(`${url}/metrics`, { headers: shown })).status).toBe(200);
  const off = await start(demo(), [], { env: { METRICS_TOKEN: token, METRICS: "off" } }).url();
  expect((await fetch(`${off}/metrics`, { headers: shown })).status).toBe(404);
});

test("a module that does not hand metrics on, and levels of routes that are not there, stop the start", async () => {
  const module = await application(
    `import { createApplication } from "sluice";
     import { createServer } from "sluice/server";
     export const compose = ({ serverOptions }) => createServer(createApplication({ routes: [] }), serverOptions);`,
    "without-metrics.js",
  );
  const { code, stderr } = await run(["start", module, "--port", "0"], { env: { METRICS: "on" } });
  expect([code, stderr]).toEqual([1, expect.stringContaining("parts: [...metrics]")]);
  const levels = await run(["start", demo(), "--port", "0"], { env: { LOG_LEVELS: "/loby=debug" } });
  expect([levels.code, levels.stderr]).toEqual([1, expect.stringContaining('did you mean "/lobby"?')]);
});

test("LOG_LEVELS is how much is logged of a route", async () => {
  const program = start(demo(), [], { env: { LOG_LEVELS: "/lobby=debug" } });
  const socket = await connected(stock(`${await program.url()}/lobby`));
  socket.disconnect();
  await until(() => program.log.some(({ msg }) => msg === "disconnected"), "it is told");
  const about = program.log.filter(({ route }) => route === "/lobby");
  expect(about.map(({ msg }) => msg)).toEqual(["connected", "disconnected"]);
  expect(new Set(about.map(({ request }) => request)).size).toBe(1);
});

const PROCESS = /process="(\d+)"/;

/** The processes that lines of one metric are of. */
function processesOf(seen: ReadonlyMap<string, number>, metric: string): ReadonlyMap<string, number> {
  const lines = [...seen].filter(([name]) => name.startsWith(`${metric}{`));
  return new Map(lines.map(([name, value]) => [PROCESS.exec(name)?.[1] ?? "", value]));
}

const total = (values: ReadonlyMap<string, number>) =>
  [...values.values()].reduce((sum, one) => sum + one, 0);

/** Metrics and label of its own in each process. */
const CUSTOM = `
  import { Consumer, createApplication, route } from "sluice";
  import { metrics } from "sluice/metrics";
  import { createServer } from "sluice/server";
  import { Counter, Gauge } from "prom-client";
  class Room extends Consumer {}
  export function compose({ backplane, metrics: [part], serverOptions }) {
    const registers = [part.registry];
    new Counter({ name: "own_total", help: "of\\nmine", labelNames: ["process"], registers }).inc({ process: 'a"b' });
    new Gauge({ name: "own_nothing", help: "NaN", registers }).set(Number.NaN);
    new Gauge({ name: "own_without_end", help: "Infinity", registers }).set(Number.POSITIVE_INFINITY);
    const app = createApplication({ routes: [route("/room", Room)], backplane, parts: [part] });
    return createServer(app, serverOptions);
  }`;

async function several(): Promise<{ program: Program; url: string; pids: ReadonlyMap<string, number> }> {
  const cwd = await project({ "app.js": CUSTOM }, ["prom-client"]);
  const program = start("app.js", ["--processes", "3"], { cwd, env: { METRICS: "on" } });
  const url = await program.url();
  const lines = () => program.log.filter(({ msg }) => msg === "process serves");
  await until(() => lines().length === 3, "all are in the log");
  const serving = lines();
  return { program, url, pids: new Map(serving.map(({ process, pid }) => [String(process), pid as number])) };
}

test("of several processes each tells of all, line by line", async () => {
  const { url, pids } = await several();
  for (let i = 0; i < 6; i++) await connected(stock(`${url}/room`));
  const names = [...pids.keys()].sort();
  expect(names).toHaveLength(3);
  // Each scrape meets the one that has least to do.
  for (let i = 0; i < 4; i++) {
    const seen = await samples(url);
    expect([...seen.keys()].filter((name) => !PROCESS.test(name))).toEqual([]);
    expect([...processesOf(seen, "sluice_process_up")].sort()).toEqual(names.map((name) => [name, 1]));
    expect([...processesOf(seen, "sluice_connections").keys()].sort()).toEqual(names);
    expect(total(processesOf(seen, "sluice_connections"))).toBe(6);
    expect(total(processesOf(seen, "sluice_handler_seconds_count"))).toBe(0);
    expect([...processesOf(seen, "process_resident_memory_bytes").keys()].sort()).toEqual(names);
    expect(new Set(processesOf(seen, "process_start_time_seconds").keys()).size).toBe(3);
    expect(new Set([...seen.keys()].filter((name) => name.startsWith("sluice_info{"))).size).toBe(3);
  }
});

test("metrics of the application's own keep their values, and a label that is called process another name", async () => {
  const { url, pids } = await several();
  const seen = await samples(url);
  for (const process of pids.keys()) {
    expect(seen.get(`own_total{process="${process}",exported_process="a\\"b"}`)).toBe(1);
    expect(seen.get(`own_nothing{process="${process}"}`)).toBeNaN();
    expect(seen.get(`own_without_end{process="${process}"}`)).toBeDefined();
  }
});

test("a process that hangs is missing, and back when it goes on; one that is replaced is another", async () => {
  const { url, pids } = await several();
  const [[frozen, pid] = ["", 0], [killed, other] = ["", 0]] = [...pids];
  kill(pid, "SIGSTOP");
  // The primary hands it nothing once it has been silent; until then a scrape may meet it and wait for it.
  const up = async () => {
    const signal = AbortSignal.timeout(4_000);
    const response = await fetch(`${url}/metrics`, { signal }).catch(() => undefined);
    return response && processesOf(samplesOf(await response.text()), "sluice_process_up");
  };
  const seen = await eventually(up, (processes) => processes?.get(frozen) === 0);
  expect(seen).toEqual(new Map([...pids.keys()].map((name) => [name, Number(name !== frozen)])));
  kill(pid, "SIGCONT");
  await eventually(up, (processes) => processes?.get(frozen) === 1);
  kill(other, "SIGKILL");
  const after = await eventually(up, (processes) => !processes?.has(killed) && processes?.size === 3);
  expect([...(after ?? new Map()).values()]).toEqual([1, 1, 1]);
});

async function eventually<T>(look: () => Promise<T>, isFit: (found: T) => boolean): Promise<T> {
  const givenUpAt = performance.now() + 30_000;
  for (;;) {
    const found = await look();
    if (isFit(found)) return found;
    if (performance.now() > givenUpAt) throw new Error("looked in vain");
  }
}

redisTest("a worker tells metrics where it tells that it lives", async () => {
  const redis = await RedisServer.start();
  atEnd(() => redis.close());
  const env = {
    ...{ REDIS_URL: redis.url, SLUICE_SECRET: randomBytes(32).toString("hex") },
    ...{ METRICS: "on", HEALTH_PORT: "0", HOST: "127.0.0.1" },
  };
  const worker = new Program(["work", demo()], { env });
  const base = await until(() => /its health is at (http:\S+)\/livez$/m.exec(worker.stdout)?.[1], "it works");
  const seen = await samples(base);
  expect(seen.get("sluice_tasks_broker_up")).toBe(1);
  expect(seen.get("sluice_tasks_workers")).toBe(1);
  expect(seen.get("sluice_tasks_running")).toBe(0);
  expect(seen.get("sluice_serving")).toBe(0);
  expect(seen.get('sluice_backplane_up{layer="default"}')).toBe(1);
  const node = start(demo(), [], { env });
  const url = await node.url();
  expect((await samples(url)).get("sluice_tasks_workers")).toBe(1);
});
