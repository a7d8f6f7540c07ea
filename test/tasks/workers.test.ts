/** The command line at work: nodes and workers as real processes over a real Redis, and what befalls them. */
import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeEach, expect } from "@jest/globals";
import { watchTask } from "sluice/client";
import { io } from "socket.io-client";
import { application, Program, run, start } from "../cli/programs.ts";
import { until as eventually, hasRedis, RedisServer, redisTest } from "../redis/redis-server.ts";
import { atEnd, until } from "../server/live-server.ts";

/**
 * What a stranger would write. Locks are short, so that nobody waits; each start and end of a run is a line in
 * a file, which outlives whoever wrote it.
 */
const APP = `
import { createApplication, http } from "sluice";
import { createServer } from "sluice/server";
import { every, schedule, task, Tasks } from "sluice/tasks";
import { RedisBroker } from "sluice/tasks/redis";
import { RedisBackplane } from "sluice/redis";
import { RedisHistory } from "sluice/history";
import { appendFile } from "node:fs/promises";

const { REDIS_URL: url, TICK = "0", NOTES } = process.env;
const note = (line) => appendFile(NOTES, line + "\\n");

const steps = task("steps", { progressMs: 10, retry: { attempts: 3, minMs: 10 } }, async ({ count, ms }, run) => {
  await note(\`began \${run.attempt} \${process.pid}\`);
  for (let i = 0; i < count; i++) {
    run.progress(i, count);
    await new Promise((resolve, reject) => {
      // The first attempt takes its time, so that something can befall it.
      const timer = setTimeout(resolve, run.attempt === 1 ? ms : 5);
      run.signal.addEventListener("abort", () => { clearTimeout(timer); reject(run.signal.reason); }, { once: true });
    });
  }
  run.progress(count, count);
  await note(\`done \${run.attempt} \${process.pid}\`);
  return { by: process.pid };
});
const tick = task("tick", async (_, run) => note(run.id));

export function compose({ tasks, secret, serverOptions, logger }) {
  const broker = new RedisBroker({ url, lockMs: 1500, checkMs: 300, lookMs: 300 });
  const schedules = Number(TICK) > 0 ? [schedule("tick", every(Number(TICK)), tick, undefined, { overlap: "allow" })] : [];
  const part = new Tasks({ ...tasks, broker, schedules, tasks: [steps, tick], lookMs: 300 });
  const app = createApplication({
    routes: [http("/begin", async (request, response) => {
      try {
        const { count, ms, delayMs } = request.query;
        const handle = await steps.enqueue({ count: Number(count), ms: Number(ms) }, delayMs ? { delayMs: Number(delayMs) } : {});
        response.json({ id: handle.id, ticket: handle.ticket() });
      } catch (error) {
        response.status(503).json({ code: error.code });
      }
    })],
    parts: [part], secret,
    backplane: new RedisBackplane({ url, heartbeatMs: 200 }),
    history: new RedisHistory({ url }),
  });
  return createServer(app, serverOptions);
}
`;

let redis: RedisServer;
let env: Record<string, string>;
let module: string;

beforeEach(async () => {
  if (!hasRedis) return;
  redis = await RedisServer.start("--appendonly", "yes", "--appendfsync", "always");
  atEnd(() => redis.close());
  const folder = await mkdtemp(join(tmpdir(), "notes-"));
  atEnd(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, "notes"), "");
  env = {
    NOTES: join(folder, "notes"),
    REDIS_URL: redis.url,
    SLUICE_SECRET: randomBytes(32).toString("hex"),
    STOP_TIMEOUT_MS: "3000",
  };
  module = await application(APP, "tasks-app.js");
});

async function worker(more: Record<string, string> = {}, args: readonly string[] = []): Promise<Program> {
  const program = new Program(["work", module, ...args], { env: { ...env, ...more } });
  await until(() => {
    if (program.child.exitCode !== null) throw new Error(`it ended: ${program.stderr}${program.stdout}`);
    return /^Sluice: works on /m.test(program.stdout);
  }, "the worker works");
  return program;
}

async function node(): Promise<string> {
  return start(module, [], { env }).url();
}

async function begin(url: string, count: number, ms: number): Promise<{ id: string; ticket: string }> {
  const response = await fetch(`${url}/begin?count=${count}&ms=${ms}`);
  expect(response.status).toBe(200);
  return (await response.json()) as { id: string; ticket: string };
}

function watch(url: string, ticket: string) {
  const socket = io(`${url}/tasks`, { transports: ["websocket"], reconnectionDelay: 50 });
  atEnd(() => socket.disconnect());
  const watched = watchTask(socket, ticket);
  const bars: string[] = [];
  watched.on("progress", ({ attempt, progress }) => bars.push(`${attempt}:${progress?.done ?? "-"}`));
  return { watched, bars };
}

const notes = async () => (await readFile(env.NOTES as string, "utf8")).split("\n").slice(0, -1);

redisTest("a worker killed in the middle: another does it again, and the bar ends right", async () => {
  const url = await node();
  const first = await worker();
  const { ticket } = await begin(url, 20, 1_000);
  const { watched, bars } = watch(url, ticket);
  await until(() => bars.length > 1, "it is under way");
  const second = await worker();
  first.child.kill("SIGKILL");
  expect(await watched.ended).toMatchObject({
    state: "succeeded",
    attempt: 2,
    result: { by: second.child.pid },
    progress: { done: 20, total: 20 },
  });
  const numbers = bars.map((bar) => bar.split(":").map(Number) as [number, number]);
  expect(numbers).toEqual([...numbers].sort(([a, b], [c, d]) => a - c || b - d));
  expect(await notes()).toEqual([
    `began 1 ${first.child.pid}`,
    `began 2 ${second.child.pid}`,
    `done 2 ${second.child.pid}`,
  ]);
});

redisTest("a worker told to end lets what is short end, and gives back what is not", async () => {
  const url = await node();
  const first = await worker();
  const short = watch(url, (await begin(url, 5, 20)).ticket);
  const long = watch(url, (await begin(url, 1_000, 20)).ticket);
  await until(() => short.bars.length > 1 && long.bars.length > 1, "both are under way");
  first.child.kill("SIGTERM");
  expect((await first.ended).code).toBe(0);
  expect(await short.watched.ended).toMatchObject({ state: "succeeded", result: { by: first.child.pid } });
  expect(long.watched.status?.state).not.toBe("failed");
  const second = await worker();
  await eventually(async () => (await notes()).includes(`began 1 ${second.child.pid}`));
});

redisTest("a node killed: its watchers go to another, and their bar ends right", async () => {
  const dying = start(module, [], { env });
  const [url, other] = [await dying.url(), await node()];
  await worker();
  const { ticket } = await begin(url, 30, 20);
  const { watched, bars } = watch(url, ticket);
  await until(() => bars.length > 5, "it is under way");
  dying.child.kill("SIGKILL");
  const again = watch(other, ticket);
  expect(await again.watched.ended).toMatchObject({ state: "succeeded", progress: { done: 30, total: 30 } });
  watched.stop();
});

redisTest(
  "Redis killed in the middle and restarted: what runs ends, its bar too; meanwhile enqueuing fails at once",
  async () => {
    const url = await node();
    await worker();
    const { ticket } = await begin(url, 40, 20);
    const { watched, bars } = watch(url, ticket);
    await until(() => bars.length > 5, "it is under way");
    await redis.end();
    const refused = await fetch(`${url}/begin?count=1&ms=1`);
    expect([refused.status, await refused.json()]).toEqual([503, { code: "layer_unavailable" }]);
    await redis.begin();
    expect(await watched.ended).toMatchObject({ state: "succeeded", progress: { done: 40, total: 40 } });
    await eventually(async () => {
      const response = await fetch(`${url}/begin?count=1&ms=1`);
      return response.status === 200;
    });
  },
);

redisTest("two workers and one schedule: every moment once, none missing", async () => {
  const more = { TICK: "100" };
  await Promise.all([worker(more), worker(more)]);
  const moments = async () =>
    (await notes()).map((line) => Number(line.split("-").at(-1))).sort((a, b) => a - b);
  await eventually(async () => (await moments()).length >= 30);
  const seen = await moments();
  expect(seen).toEqual(seen.map((_, i) => (seen[0] as number) + i * 100));
});

redisTest("a worker that has done enough ends by itself, with 0", async () => {
  const url = await node();
  const tired = await worker({}, ["--max-runs", "2"]);
  await begin(url, 1, 1);
  await begin(url, 1, 1);
  expect((await tired.ended).code).toBe(0);
});

redisTest("whoever looks after a worker can ask whether it lives, and that it is ending", async () => {
  // The option wins: that port is taken.
  const { port } = new URL(await node());
  const program = await worker({ HOST: "127.0.0.1", HEALTH_PORT: port }, ["--health-port", "0"]);
  const [, base = ""] = /its health is at (http:\S+)\/livez$/m.exec(program.stdout) ?? [];
  const ask = async (path: string, method = "GET") => (await fetch(base + path, { method })).status;
  expect(await Promise.all([ask("/livez"), ask("/readyz"), ask("/"), ask("/livez", "POST")])).toEqual([
    ...[200, 200, 404, 405],
  ]);
  const url = await node();
  const { ticket } = await begin(url, 10, 1_000);
  const { bars } = watch(url, ticket);
  await until(() => bars.length > 1, "it runs");
  program.child.kill("SIGTERM");
  const isEnding = async () => (await ask("/readyz").catch(() => 0)) === 404;
  while (!(await isEnding())) expect(program.child.exitCode).toBeNull();
  expect(await ask("/livez")).toBe(200);
  expect((await program.ended).code).toBe(0);
});

redisTest("a health port that is taken stops the start", async () => {
  const { port } = new URL(await node());
  const { code, stderr } = await run(["work", module], { env: { ...env, HEALTH_PORT: port } });
  expect([code, stderr]).toEqual([1, expect.stringContaining(`${port} is in use already`)]);
});

redisTest("what cannot work is said in one line", async () => {
  const without = await run(["work", module], { env: { SLUICE_SECRET: env.SLUICE_SECRET as string } });
  expect([without.code, without.stderr]).toEqual([
    1,
    expect.stringMatching(/^sluice: a worker meets .* REDIS_URL/),
  ]);
  const plain = await application(
    `import { createApplication } from "sluice";
     import { createServer } from "sluice/server";
     export const compose = ({ serverOptions }) => createServer(createApplication({ routes: [] }), serverOptions);`,
    "plain.js",
  );
  const idle = await run(["work", plain], { env });
  expect([idle.code, idle.stderr]).toEqual([1, expect.stringContaining("plain.js has no tasks to work on")]);
  const wrong = await run(["work", module, "--queues", "default:0"], { env });
  expect([wrong.code, wrong.stderr]).toEqual([2, expect.stringContaining("default:20,heavy:2")]);
});
