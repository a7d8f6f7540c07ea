/** Nodes that are killed or freeze, and a Redis that goes away: in the end everybody knows who is here. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest } from "@jest/globals";
import { RedisPresence } from "sluice/presence";
import { RedisBackplane, RedisCommands } from "sluice/redis";
import { type InstalledPackage, installPackage } from "../installed-package.ts";
import { CuttableWay } from "../redis/cut-off.ts";
import { hasRedis, RedisServer, redisTest, until } from "../redis/redis-server.ts";
import { events, faultOf, type Node, node, type Told } from "./scene.ts";

jest.setTimeout(60_000);

/** Short, but longer than Redis waits for its turn on a machine that is busy: that is no outage. */
const LEASE = { leaseMs: 2_000, renewMs: 100, commandTimeoutMs: 1_000 };

let redis: RedisServer;
const ways: CuttableWay[] = [];

beforeEach(async () => {
  if (hasRedis) redis = await RedisServer.start();
});
// Before the applications stop, or each would wait for its backplane.
afterEach(async () => {
  for (const way of ways) way.block();
  await Promise.all(ways.splice(0).map((way) => way.close()));
  await redis?.close();
});

/** A node, and its way to Redis. */
async function cuttable(lease: Partial<typeof LEASE> = {}): Promise<Node & { readonly way: CuttableWay }> {
  const way = await CuttableWay.to(redis.port);
  ways.push(way);
  const url = `redis://127.0.0.1:${way.port}`;
  const made = await node({
    backplane: new RedisBackplane({
      url,
      heartbeatMs: 50,
      limits: { maxWaitingMs: 500 },
    }),
    presence: new RedisPresence({ url, ...LEASE, ...lease }),
  });
  return { ...made, way };
}

const names = async (one: Node) => (await one.list()).map(([user]) => user).join(" ");

function toldTo(client: Parameters<typeof events>[0]): Told[] {
  return events(client).map((event) => {
    const [type = "", user = ""] = event.split(" ");
    return { type, user };
  });
}

redisTest("users of a node that is cut off leave everywhere else, once, and come again with it", async () => {
  const [one, two, three] = [await cuttable(), await cuttable(), await cuttable()];
  const watchers = [await two.enter("bob"), await three.enter("cid")];
  for (const watcher of watchers) await watcher.emit("who");
  await one.enter("ann");
  await one.enter("bob");
  for (const watcher of watchers) await until(() => events(watcher).includes("join ann"));
  one.way.silence();
  for (const watcher of watchers) await until(() => events(watcher).includes("leave ann"));
  expect(await names(two)).toBe("bob cid");
  one.way.restore();
  one.way.reset();
  for (const other of [one, two, three]) {
    await until(async () => (await names(other).catch(() => "")) === "ann bob cid");
  }
  for (const watcher of watchers) {
    await until(() => events(watcher).filter((event) => event === "join ann").length === 2);
    const annsOwn = toldTo(watcher).filter(({ user }) => user === "ann");
    expect(annsOwn.map(({ type }) => type)).toEqual(["join", "leave", "join"]);
    // Bob had a tab on another node all the time.
    expect(events(watcher)).not.toContain("leave bob");
  }
});

redisTest(
  "while Redis is down clients come in, the list is refused, and when it is back all are told",
  async () => {
    const [one, two] = [await cuttable(), await cuttable()];
    const bob = await two.enter("bob");
    await bob.emit("who");
    const ann = await one.enter("ann");
    await until(() => events(bob).includes("join ann"));
    await redis.end();
    await until(() =>
      one.app.layer.presence("room").then(
        () => false,
        () => true,
      ),
    );
    expect(await ann.emit("who")).toMatchObject({ error: { code: "layer_unavailable" } });
    expect(await ann.emit("info", "away")).toMatchObject({ error: { code: "layer_unavailable" } });
    // The group is in use here, so joining needs no word from Redis.
    await one.enter("cid");
    await ann.disconnect();
    await redis.begin();
    for (const other of [one, two]) {
      await until(async () => (await names(other).catch(() => "")) === "bob cid");
    }
    await until(() => events(bob).includes("join cid") && events(bob).includes("leave ann"));
    expect([...events(bob)].sort()).toEqual(["join ann", "join bob", "join cid", "leave ann"]);
  },
);

redisTest("a Redis that comes back empty is told everybody again, and no member notices", async () => {
  // Long enough for the slowest node to come back in: after a lease its users would be gone, as they should.
  const patient = { leaseMs: 5_000 };
  const nodes = [await cuttable(patient), await cuttable(patient), await cuttable(patient)];
  const users = ["ann", "bob", "cid", "dan", "eve", "fay"];
  const watchers = await Promise.all(nodes.map((one) => one.enter()));
  for (const watcher of watchers) await watcher.emit("who");
  for (const [i, user] of users.entries()) await nodes[i % 3]?.enter(user);
  for (const watcher of watchers) await until(() => events(watcher).length === users.length);
  for (let round = 0; round < 3; round++) {
    await redis.end();
    await until(() =>
      (nodes[0] as Node).app.layer.presence("room").then(
        () => false,
        () => true,
      ),
    );
    await redis.begin();
    const commands = new RedisCommands({ url: redis.url });
    await commands.open();
    await until(async () => (await commands.command("", ["HLEN", "sluice:{room}:who"])) === users.length);
    commands.close();
  }
  // A last one: all that came before it has been told by then.
  await nodes[0]?.enter("zoe");
  for (const watcher of watchers) {
    await until(() => events(watcher).includes("join zoe"));
    expect(events(watcher).filter((event) => event.startsWith("leave"))).toEqual([]);
    expect(events(watcher)).toHaveLength(users.length + 1);
  }
});

redisTest(
  "a Redis that is emptied while it serves is told everybody again, and no member notices",
  async () => {
    // Each node sees it when it renews its lease: the first states its users long before the others know.
    const slowly = { leaseMs: 2_000, renewMs: 950 };
    const nodes = [
      await cuttable({ ...slowly, renewMs: 50 }),
      await cuttable(slowly),
      await cuttable(slowly),
    ];
    const users = ["ann", "bob", "cid", "dan", "eve", "fay"];
    const watchers = await Promise.all(nodes.map((one) => one.enter()));
    for (const watcher of watchers) await watcher.emit("who");
    for (const [i, user] of users.entries()) await nodes[i % 3]?.enter(user);
    for (const watcher of watchers) await until(() => events(watcher).length === users.length);
    const commands = new RedisCommands({ url: redis.url });
    await commands.open();
    await commands.command("", ["FLUSHALL"]);
    await until(async () => (await commands.command("", ["HLEN", "sluice:{room}:who"])) === users.length);
    commands.close();
    await nodes[0]?.enter("zoe");
    for (const watcher of watchers) {
      await until(() => events(watcher).includes("join zoe"));
      expect(events(watcher).slice(users.length)).toEqual(["join zoe"]);
    }
  },
);

redisTest("who had left when Redis failed over to a state in which they had not, leaves again", async () => {
  const lease = { leaseMs: 3_000, renewMs: 100 };
  const [one, two] = [await cuttable(lease), await cuttable(lease)];
  const watcher = await two.enter("bob");
  await one.enter("ann");
  await until(async () => (await names(two)) === "ann bob");
  const commands = new RedisCommands({ url: redis.url });
  await commands.open();
  const at = `sluice:{room}:at:${one.app.node}~1`;
  expect(await commands.command("", ["HLEN", at])).toBe(1);
  one.way.block();
  await commands.command("", ["HSET", at, "ghost", "1"]);
  await commands.command("", ["HSET", "sluice:{room}:who", "ghost", "1 1 null"]);
  one.way.restore();
  await until(async () => (await commands.command("", ["HLEN", at])) === 1);
  await one.enter("cid");
  for (const each of [one, two])
    await until(async () => (await names(each).catch(() => "")) === "ann bob cid");
  expect(events(watcher).filter((event) => event.startsWith("leave a"))).toEqual([]);
  expect(await commands.command("", ["HEXISTS", "sluice:{room}:who", "ghost"])).toBe(0);
  commands.close();
});

redisTest("a Redis that freezes for longer than a lease costs nobody the place", async () => {
  const [one, two] = [await cuttable(), await cuttable()];
  const bob = await two.enter("bob");
  await bob.emit("who");
  await one.enter("ann");
  await until(() => events(bob).includes("join ann"));
  redis.freeze();
  await until(() =>
    two.app.layer.presence("room").then(
      () => false,
      () => true,
    ),
  );
  const frozenAt = performance.now();
  await until(() => performance.now() - frozenAt > 2 * LEASE.leaseMs);
  redis.thaw();
  await until(async () => (await names(one).catch(() => "")) === "ann bob");
  await one.enter("cid");
  await until(() => events(bob).includes("join cid"));
  expect(events(bob)).toEqual(["join bob", "join ann", "join cid"]);
});

redisTest("nobody is judged within one lease of Redis' return, though every lease has expired", async () => {
  const lease = { leaseMs: 3_500 };
  const [one, two] = [await cuttable(lease), await cuttable(lease)];
  const bob = await two.enter("bob");
  await bob.emit("who");
  await one.enter("ann");
  await until(() => events(bob).includes("join ann"));
  one.way.block();
  two.way.block();
  const cutAt = performance.now();
  await until(() => performance.now() - cutAt > lease.leaseMs * 1.2);
  // One of the two comes back later.
  two.way.restore();
  await until(async () => (await names(two).catch(() => "")) !== "");
  const backAt = performance.now();
  await until(() => performance.now() - backAt > 300);
  expect(await names(two)).toBe("ann bob");
  one.way.restore();
  await until(async () => (await names(one).catch(() => "")) === "ann bob");
  await one.enter("cid");
  await until(() => events(bob).includes("join cid"));
  expect(events(bob)).toEqual(["join bob", "join ann", "join cid"]);
});

redisTest("entries that no living node answers for are found when the list is read", async () => {
  const one = await cuttable();
  const commands = new RedisCommands({ url: redis.url });
  await commands.open();
  await commands.command("", ["HSET", "sluice:{room}:who", "ghost", "1 1 null"]);
  await commands.command("", ["HSET", "sluice:{room}:at:gone~1", "ghost", "1"]);
  await commands.command("", ["HSET", "sluice:{room}:on", "version", "5", "gone~1", "1"]);
  await until(async () => (await names(one)) === "");
  expect(await commands.command("", ["KEYS", "sluice:{room}:*"])).toEqual([]);
  commands.close();
});

redisTest(
  "nodes that break off at random: at the end every list is true, and all was told once",
  async () => {
    const nodes = [await cuttable(), await cuttable(), await cuttable()];
    const watchers = await Promise.all(nodes.map((one) => one.enter()));
    for (const watcher of watchers) await watcher.emit("who");
    const staying = ["ann", "bob", "cid"];
    for (const [i, user] of staying.entries()) await nodes[i]?.enter(user);
    for (let round = 0; round < 4; round++) {
      const one = nodes[round % 3] as Awaited<ReturnType<typeof cuttable>>;
      if (round % 2 === 0) one.way.silence();
      else one.way.block();
      const passing = await Promise.all(nodes.map((each, i) => each.enter(`passer-${round}-${i}`)));
      await until(() =>
        one.app.layer.presence("room").then(
          () => false,
          () => true,
        ),
      );
      one.way.restore();
      one.way.reset();
      await Promise.all(passing.map((client) => client.disconnect()));
    }
    for (const one of nodes) {
      await until(async () => (await names(one).catch(() => "")) === "ann bob cid");
    }
    for (const watcher of watchers) {
      const told = toldTo(watcher);
      expect(faultOf(told, [])).toBeUndefined();
      const there = new Set<string>();
      for (const { type, user } of told) type === "join" ? there.add(user) : there.delete(user);
      expect([...there].sort()).toEqual(staying);
    }
  },
);

describe("in processes of their own", () => {
  let installed: InstalledPackage;
  let program: string;
  const children: ChildProcess[] = [];

  beforeAll(async () => {
    installed = await installPackage();
    program = join(installed.folder, "node.js");
    const from = (file: string) => JSON.stringify(pathToFileURL(join(installed.dist, "src", file)).href);
    await writeFile(
      program,
      `
import { Consumer, createApplication, route } from ${from("index.js")};
import { RedisPresence } from ${from("presence/index.js")};
import { RedisBackplane } from ${from("redis/index.js")};
import { TestClient } from ${from("testing/index.js")};
const { url, users } = JSON.parse(process.argv[2]);
class Room extends Consumer {
  async connect() { await this.groupAdd("room"); }
}
const app = createApplication({
  routes: [route("/room", Room)],
  middleware: [(scope, next) => next({ user: scope.auth.user })],
  groups: { room: { presence: true } },
  backplane: new RedisBackplane({ url }),
  presence: new RedisPresence({ url }),
});
for (const user of users) await new TestClient(app, "/room", { auth: { user } }).connect();
process.send((await app.layer.presence("room")).length);
`,
    );
  });
  afterEach(async () => {
    for (const child of children.splice(0)) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, "exit");
      child.kill("SIGCONT");
      child.kill("SIGKILL");
      await ended;
    }
  });
  afterAll(() => installed.remove());

  async function start(users: readonly string[]): Promise<ChildProcess> {
    const child = fork(program, [JSON.stringify({ url: redis.url, users })], { execArgv: [] });
    children.push(child);
    await once(child, "message");
    return child;
  }

  /** With the usual lease. */
  const usual = () =>
    node({
      backplane: new RedisBackplane({ url: redis.url }),
      presence: new RedisPresence({ url: redis.url }),
    });

  redisTest("users of a process that is killed have left within 5 seconds on every other node", async () => {
    const [one, two] = [await usual(), await usual()];
    const watchers = [await one.enter("ann"), await two.enter("bob")];
    for (const watcher of watchers) await watcher.emit("who");
    const users = Array.from({ length: 100 }, (_, i) => `user-${i}`);
    const child = await start(users);
    for (const watcher of watchers) {
      await until(() => events(watcher).filter((event) => event.startsWith("join user")).length === 100);
    }
    child.kill("SIGKILL");
    for (const watcher of watchers) {
      await until(() => events(watcher).filter((event) => event.startsWith("leave user")).length === 100);
      const toldOfUsers = toldTo(watcher).filter(({ user }) => user.startsWith("user"));
      expect([toldOfUsers.length, faultOf(toldOfUsers, [])]).toEqual([200, undefined]);
    }
    expect(await names(two)).toBe("ann bob");
  });

  redisTest("a process that freezes is given up, and finds its place again when it thaws", async () => {
    const one = await usual();
    const watcher = await one.enter("bob");
    await watcher.emit("who");
    const child = await start(["ann"]);
    await until(() => events(watcher).includes("join ann"));
    child.kill("SIGSTOP");
    await until(() => events(watcher).includes("leave ann"));
    child.kill("SIGCONT");
    await until(() => events(watcher).at(-1) === "join ann");
    expect(await names(one)).toBe("ann bob");
  });
});
