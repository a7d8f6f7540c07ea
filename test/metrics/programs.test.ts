/** Metrics of real programs: the demo, a worker, what several processes say. */
import { randomBytes } from "node:crypto";
import { expect, test } from "@jest/globals";
import { application, demo, Program, run, start } from "../cli/programs.ts";
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

test("several processes serve without metrics, and say so", async () => {
  const program = start(demo(), ["--processes", "2"], { env: { METRICS: "on" } });
  const url = await program.url();
  expect((await fetch(`${url}/metrics`)).status).toBe(404);
  const warnings = program.log.filter(({ msg }) => String(msg).startsWith("METRICS is left out"));
  expect(warnings.length).toBeGreaterThanOrEqual(1);
});

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
