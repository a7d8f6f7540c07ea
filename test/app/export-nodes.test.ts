/** The demo as it is deployed: nodes that serve, workers that work, a real Redis; and a worker killed. */
import { randomBytes } from "node:crypto";
import { pathToFileURL } from "node:url";
import { expect } from "@jest/globals";
import { type StockSocket, watchTask } from "sluice/client";
import type { Socket } from "socket.io-client";
import { application, demo, Program, start } from "../cli/programs.ts";
import { RedisServer, redisTest } from "../redis/redis-server.ts";
import { atEnd, stock, until } from "../server/live-server.ts";

interface Begun {
  readonly id: string;
  readonly room: string;
  readonly ticket: string;
}

/** The demo itself, but for locks that are quick, so that nobody waits 20 s for a killed worker's run. */
const quick = () => `
import { RedisBroker } from "sluice/tasks/redis";
import { compose as demo } from ${JSON.stringify(pathToFileURL(demo()).href)};
const broker = new RedisBroker({ url: process.env.REDIS_URL, lockMs: 1500, checkMs: 300, lookMs: 300 });
export const compose = (context) => demo({ ...context, tasks: { ...context.tasks, broker } });
`;

/** A tab as public/js/room.js is one, and what it is told. */
function openTab(url: string, name: string, room: string) {
  const auth = { name, secret: `what only ${name}'s browser knows` };
  const socket: Socket = stock(`${url}/chat/${room}`, { auth });
  const tab = {
    socket,
    url,
    canExport: undefined as boolean | undefined,
    begun: undefined as Begun | undefined,
  };
  socket.on("welcome", ({ canExport }) => {
    tab.canExport = canExport;
  });
  socket.on("export", (begun: Begun) => {
    tab.begun = begun;
  });
  return tab;
}

type Tab = ReturnType<typeof openTab>;

async function watch(tab: Tab) {
  const { ticket } = await until(() => tab.begun, "the tab is told of the export");
  const watched = watchTask(stock(`${tab.url}/tasks`) as StockSocket, ticket);
  const bars: (readonly [attempt: number, done: number])[] = [];
  watched.on("progress", ({ attempt, progress }) => progress && bars.push([attempt, progress.done]));
  return { watched, bars };
}

async function worker(module: string, env: Readonly<Record<string, string>>): Promise<Program> {
  const program = new Program(["work", module], { env });
  await until(() => {
    if (program.child.exitCode !== null) throw new Error(`it ended: ${program.stderr}${program.stdout}`);
    return /^Sluice: works on /m.test(program.stdout);
  }, "the worker works");
  return program;
}

redisTest(
  "an export whose worker is killed in the middle ends on another: bars on two nodes end right, and either has the file",
  async () => {
    const redis = await RedisServer.start();
    atEnd(() => redis.close());
    const env = { REDIS_URL: redis.url, SLUICE_SECRET: randomBytes(32).toString("hex") };
    const module = await application(quick(), "demo-app.js");
    const [one, two] = (await Promise.all([1, 2].map(() => start(module, [], { env }).url()))) as [
      string,
      string,
    ];
    const first = await worker(module, env);
    const ann = openTab(one, "Ann", "den");
    const tab = openTab(two, "Ann", "attic");
    const bob = openTab(two, "Bob", "den");
    await until(() => ann.canExport && tab.canExport && bob.canExport, "rooms can be exported");
    // As fast as a client may.
    for (let n = 1; n <= 160; n += 40) {
      const some = Array.from({ length: 40 }, (_, i) =>
        ann.socket.emitWithAck("say", { text: String(n + i) }),
      );
      for (const answer of await Promise.all(some)) expect(answer).toMatchObject({ id: expect.any(String) });
    }
    expect(await ann.socket.emitWithAck("export", {})).toMatchObject({ ticket: expect.any(String) });
    const bars = [await watch(ann), await watch(tab)];
    await until(() => bars.every((bar) => bar.bars.some(([, done]) => done > 0)), "both bars move");
    first.child.kill("SIGKILL");
    const ended = Promise.all(bars.map(({ watched }) => watched.ended));
    await worker(module, env);
    for (const status of await ended) {
      expect(status).toMatchObject({
        state: "succeeded",
        attempt: 2,
        progress: { done: 160, total: 160 },
        result: { room: "den", messages: 160 },
      });
    }
    for (const { bars: seen } of bars) {
      expect(seen).toEqual([...seen].sort(([a, b], [c, d]) => a - c || b - d));
    }
    expect(bob.begun).toBeUndefined();
    const late = openTab(two, "Ann", "cellar");
    const { id, ticket } = await until(() => late.begun, "a tab that is opened later is told as well");
    expect(id).toBe(ann.begun?.id);
    const texts = await Promise.all(
      [one, two].map(async (url) => {
        const response = await fetch(`${url}/exports/${id}?ticket=${ticket}`);
        expect(response.status).toBe(200);
        return response.text();
      }),
    );
    expect(texts[0]).toBe(texts[1]);
    const lines = (texts[0] ?? "").trimEnd().split("\n").slice(2);
    expect(lines.map((line) => line.slice(26))).toEqual(
      Array.from({ length: 160 }, (_, n) => `Ann: ${n + 1}`),
    );
  },
);

redisTest("while Redis is away an export is refused at once, and the link is answered with 503", async () => {
  const redis = await RedisServer.start();
  atEnd(() => redis.close());
  const env = { REDIS_URL: redis.url, SLUICE_SECRET: randomBytes(32).toString("hex") };
  const url = await start(demo(), [], { env }).url();
  await worker(demo(), env);
  const ann = openTab(url, "Ann", "den");
  await until(() => ann.canExport, "the room can be exported");
  await ann.socket.emitWithAck("export", {});
  const { watched } = await watch(ann);
  expect(await watched.ended).toMatchObject({ state: "succeeded" });
  await redis.end();
  const { id, ticket } = ann.begun as Begun;
  const response = await fetch(`${url}/exports/${id}?ticket=${ticket}`);
  expect([response.status, response.headers.get("retry-after")]).toEqual([503, "5"]);
  expect(await ann.socket.emitWithAck("export", {})).toMatchObject({ error: { code: "layer_unavailable" } });
});

redisTest("several processes without Redis offer no exports", async () => {
  const url = await start(demo(), ["--processes", "2"]).url();
  const ann = openTab(url, "Ann", "den");
  await until(() => ann.canExport !== undefined, "the room says whether it can be exported");
  expect(ann.canExport).toBe(false);
  expect(await ann.socket.emitWithAck("export", {})).toMatchObject({ error: { code: "no_handler" } });
  expect((await fetch(`${url}/exports/x?ticket=y`)).status).toBe(404);
});
