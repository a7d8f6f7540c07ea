/** `sluice inspect`: what it sees of two real nodes on a real Redis, and what it says where there is nothing to see. */
import { randomBytes } from "node:crypto";
import { expect, test } from "@jest/globals";
import type { Inspection } from "../../src/cli/inspect.ts";
import { ProgressLine } from "../../src/cli/output.ts";
import { RedisServer, redisTest } from "../redis/redis-server.ts";
import { atEnd, connected, stock, until } from "../server/live-server.ts";
import { application, kill, Program, run, start } from "./programs.ts";

const CLUSTER = `
  import { Consumer, createApplication, route } from "sluice";
  import { dashboard } from "sluice/dashboard";
  import { createServer } from "sluice/server";
  import { Tasks, task } from "sluice/tasks";
  const count = task("count.words", async (words) => words.length);
  class Room extends Consumer {
    async connect() {
      await this.groupAdd("room." + this.scope.params.room);
    }
    async receive(event, payload) {
      if (event === "count") return (await count.enqueue(payload)).id;
      await this.groupEmit("room." + this.scope.params.room, event, payload);
    }
  }
  const identify = (scope, next) => next({ user: scope.auth.user });
  export function compose({ backplane, presence, tasks, secret, encryptionKeys, serverOptions }) {
    const work = new Tasks({ ...tasks, tasks: [count] });
    const parts = [work, dashboard({ reportMs: Number(process.env.REPORT_MS ?? 200), version: "2026-01" })];
    const routes = [route("/room/:room", Room, { middleware: [identify] })];
    const groups = { "room.*": { presence: true } };
    const app = createApplication({ routes, groups, parts, backplane, presence, secret, encryptionKeys });
    return createServer(app, serverOptions);
  }`;

interface Scene {
  readonly env: Readonly<Record<string, string>>;
  /** Of nodes and workers. */
  readonly own: Readonly<Record<string, string>>;
  readonly nodes: readonly Program[];
  readonly urls: readonly string[];
}

async function scene(count: number, more: Readonly<Record<string, string>> = {}): Promise<Scene> {
  const redis = await RedisServer.start();
  atEnd(() => redis.close());
  const module = await application(CLUSTER, "cluster.js");
  const env = { REDIS_URL: redis.url, ...more };
  const own = { ...env, SLUICE_SECRET: randomBytes(32).toString("hex") };
  const nodes = Array.from({ length: count }, () => start(module, [], { env: own }));
  return { env, own, nodes, urls: await Promise.all(nodes.map((node) => node.url())) };
}

const enter = (url: string | undefined, room: string, user: string) =>
  connected(stock(`${url}/room/${room}`, { auth: { user } }));

/** The cells of the table whose first column has this title. */
function rowsOf(stdout: string, title: string): string[][] {
  const section = stdout.split("\n\n").find((part) => part.startsWith(title)) ?? "";
  return section
    .trimEnd()
    .split("\n")
    .slice(1)
    .map((line) => line.split(/ {2,}/));
}

redisTest(
  "it shows nodes, connections by route, groups, presence and tasks of the whole cluster",
  async () => {
    const { env, nodes, urls } = await scene(2);
    const ann = await enter(urls[0], "den", "ann");
    await enter(urls[1], "den", "bob");
    await enter(urls[1], "attic", "bob");
    await ann.emitWithAck("count", ["one", "two"]);

    const { code, stdout, stderr } = await run(["inspect", "--for", "2s"], { env });
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/^2 nodes, 3 connections, 0 events\/s in, 0 deliveries\/s out\n\n/);
    const seen = rowsOf(stdout, "NODE");
    expect(seen.map(([, state]) => state)).toEqual(["serving", "serving"]);
    expect(seen.map(([, , where]) => Number(where?.split(":").at(-1))).sort()).toEqual(
      nodes.map(({ child }) => child.pid).sort(),
    );
    expect(seen.map(([, , , version]) => version)).toEqual([
      expect.stringMatching(/^\d+\.\d+\.\d+ \(2026-01\)$/),
      expect.stringMatching(/^\d+\.\d+\.\d+ \(2026-01\)$/),
    ]);
    expect(rowsOf(stdout, "ROUTE")[0]).toEqual(["/room/:room", "socket", "Room", "3", "3", "2"]);
    expect(rowsOf(stdout, "GROUP").map(([group, members, on]) => [group, members, on])).toEqual([
      ["room.den", "2", "2"],
      ["room.attic", "1", "1"],
    ]);
    expect(stdout).toMatch(/^room\.den .* 2 +ann, bob$/m);
    expect(stdout).not.toContain("LAYER");
  },
);

redisTest("what users are called can move no cursor, printed for people or for programs", async () => {
  const { env, urls } = await scene(1);
  const name = "\u001b[31m\u009b2J\u202eann";
  await enter(urls[0], "den", name);
  const forPrograms = await run(["inspect", "--for", "1s", "--json"], { env });
  const { groups } = JSON.parse(forPrograms.stdout) as Inspection;
  expect(groups.map(({ users }) => users)).toEqual([[name]]);
  const forPeople = await run(["inspect", "--for", "1s"], { env });
  expect(forPeople.stdout).toContain("ann");
  for (const { stdout } of [forPrograms, forPeople]) {
    expect(stdout.replaceAll("\n", "")).not.toMatch(/[\p{Cc}\u202e]/u);
  }
});

redisTest("tasks are the sum of what nodes and workers have done", async () => {
  const { env, own, urls } = await scene(2);
  const work = new Program(["work", "cluster.js"], { env: own });
  await until(() => work.stdout.includes("Sluice: works on"), "a worker is there");
  const [ann, bob] = [await enter(urls[0], "den", "ann"), await enter(urls[1], "den", "bob")];
  for (const socket of [ann, bob, ann]) await socket.emitWithAck("count", ["one"]);
  const look = async () => {
    const { stdout } = await run(["inspect", "--json", "--for", "1s"], { env });
    return JSON.parse(stdout) as Inspection;
  };
  let seen = await look();
  for (let i = 0; i < 10 && seen.tasks[0]?.done !== 3; i++) seen = await look();
  expect(seen.tasks).toEqual([{ task: "count.words", done: 3, failed: 0, retried: 0, nodes: 1 }]);
  expect(seen.nodes.map(({ phase, state }) => [phase, state])).toEqual(
    expect.arrayContaining([
      ["works", "fresh"],
      ["serving", "fresh"],
      ["serving", "fresh"],
    ]),
  );
  expect(seen.routes).toContainEqual({
    ...{ pattern: "/room/:room", kind: "socket", consumer: "Room" },
    ...{ open: 2, accepted: 2, nodes: 2 },
  });
});

redisTest(
  "--watch prints again and again, in lines for programs, and sees a node that hangs, and one that stops",
  async () => {
    const { env, nodes } = await scene(2);
    const [first, second] = nodes as [Program, Program];
    const watch = new Program(["inspect", "--watch", "--json"], { env });
    const states = () =>
      watch.stdout
        .split("\n")
        .slice(0, -1)
        .map((line) => JSON.parse(line) as Inspection);
    const last = () =>
      new Map(
        states()
          .at(-1)
          ?.nodes.map(({ pid, state }) => [pid, state]),
      );
    await until(() => last().size === 2, "both are seen");
    kill(first.child.pid as number, "SIGSTOP");
    await until(() => ["stale", "gone"].includes(last().get(first.child.pid as number) ?? ""), "one hangs");
    expect(last().get(second.child.pid as number)).toBe("fresh");
    kill(first.child.pid as number, "SIGCONT");
    await until(() => last().get(first.child.pid as number) === "fresh", "it is back");
    second.child.kill("SIGTERM");
    await until(() => last().get(second.child.pid as number) === "stopped", "it has said goodbye");
    watch.child.kill("SIGINT");
    expect(await watch.ended).toMatchObject({ code: 0, stderr: "" });
  },
);

redisTest("where nobody reports it says what nodes need, for people and for programs", async () => {
  const redis = await RedisServer.start();
  atEnd(() => redis.close());
  const env = { REDIS_URL: redis.url };
  expect(await run(["inspect", "--for", "300ms"], { env })).toEqual({
    code: 1,
    stdout: "",
    stderr:
      'sluice: no node has reported in 0.3 s: their applications need the part dashboard() of "sluice/dashboard", and their Redis and prefix must be those of REDIS_URL and REDIS_PREFIX here\n',
  });
  const forPrograms = await run(["inspect", "--for", "300ms", "--json"], { env });
  expect(forPrograms.code).toBe(1);
  expect(JSON.parse(forPrograms.stdout)).toMatchObject({ nodes: [], routes: [], groups: [], tasks: [] });
});

redisTest("what is encrypted is seen with the keys, and without them it says so", async () => {
  const keys = { SLUICE_ENCRYPTION_KEYS: randomBytes(32).toString("base64") };
  const { env } = await scene(1, keys);
  expect(await run(["inspect", "--for", "1s"], { env })).toMatchObject({ code: 0, stderr: "" });
  for (const other of [{}, { SLUICE_ENCRYPTION_KEYS: randomBytes(32).toString("base64") }]) {
    const { REDIS_URL = "" } = env;
    const { code, stderr } = await run(["inspect", "--for", "2s"], { env: { REDIS_URL, ...other } });
    expect([code, stderr]).toEqual([1, expect.stringContaining("set SLUICE_ENCRYPTION_KEYS to the keys")]);
  }
});

redisTest("nodes that report too rarely for rates are told to be so", async () => {
  const { env } = await scene(1, { REPORT_MS: "1000" });
  const { stdout } = await run(["inspect", "--for", "1500ms"], { env });
  expect(stdout).toMatch(/Nodes report every 1 s: for their rates listen longer, --for 3s\n$/);
});

test("without Redis one sentence says why there is nothing to see, and what to do", async () => {
  const { code, stdout, stderr } = await run(["inspect"]);
  expect([code, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(/^sluice: `sluice inspect` hears through Redis[^\n]*set REDIS_URL[^\n]*\n$/);
});

test.each(["5", "0s", "99ms", "61m", "-1s", "1h", ""])(
  "--for %p is refused with what it must be",
  async (time) => {
    const { code, stderr } = await run(["inspect", `--for=${time}`]);
    expect([code, stderr]).toEqual([2, expect.stringContaining("a time from 100ms to 60m, as 5s")]);
  },
);

test("progress is one line that is written over, no wider than the terminal, and on a terminal only", () => {
  const written: string[] = [];
  const write = (text: string) => written.push(text) > 0;
  const terminal = new ProgressLine({ isTTY: true, columns: 11, write } as never);
  terminal.show("listening for long");
  terminal.show("3 s left");
  terminal.clear();
  terminal.clear();
  expect(written).toEqual(["\r\u001b[Klistening ", "\r\u001b[K3 s left", "\r\u001b[K"]);
  const pipe = new ProgressLine({ isTTY: false, columns: 80, write } as never);
  pipe.show("listening");
  pipe.clear();
  expect(written).toHaveLength(3);
});
