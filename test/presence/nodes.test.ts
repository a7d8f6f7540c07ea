/** Who is here, on several nodes: as clients and handlers are told, and as the list says. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { createApplication, MemoryBackplane, MemoryHub, route } from "sluice";
import { RedisHistory } from "sluice/history";
import { MemoryPresence, MemoryPresenceHub, RedisPresence } from "sluice/presence";
import { RedisBackplane, RedisCommands } from "sluice/redis";
import { untilIdle } from "sluice/testing";
import { blockOf } from "../guides.ts";
import { hasRedis, RedisServer, redisTest, until } from "../redis/redis-server.ts";
import { seeded } from "../seeded.ts";
import { events, faultOf, type Node, node, Room } from "./scene.ts";

/** Who moves comes in elsewhere before it is over, also on a machine that is busy. */
const LEASE_MS = 2_000;

let redis: RedisServer;
let prefixes = 0;

beforeAll(async () => {
  if (hasRedis) redis = await RedisServer.start();
});
afterAll(() => redis?.close());
beforeEach(() => {
  prefixes += 1;
});

function overRedis() {
  const at = { url: redis.url, prefix: `nodes-${prefixes}` };
  return {
    backplane: new RedisBackplane({ ...at, heartbeatMs: 50 }),
    presence: new RedisPresence({ ...at, leaseMs: LEASE_MS, renewMs: 100 }),
  };
}

let hub: MemoryHub;
let presenceHub: MemoryPresenceHub;
const random = seeded(11);
function inMemory() {
  return {
    backplane: new MemoryBackplane(hub),
    presence: new MemoryPresence(presenceHub, LEASE_MS),
  };
}
beforeEach(() => {
  hub = new MemoryHub(() => random() * 5);
  presenceHub = new MemoryPresenceHub(() => random() * 5);
});

const forms = [
  ["in memory", test, inMemory],
  ["over Redis", redisTest, overRedis],
] as const;

describe.each(forms)("%s", (_name, promise, carriers) => {
  promise("two tabs on two nodes are one person", async () => {
    const [one, two] = [await node(carriers()), await node(carriers())];
    const bob = await one.enter("bob");
    expect(await bob.emit("who")).toEqual([{ user: "bob", info: { name: "BOB" }, connections: 1 }]);
    const tab = await one.enter("ann");
    const other = await two.enter("ann");
    await until(async () => (await one.list()).some(([, connections]) => connections === 2));
    expect(await one.list()).toEqual([
      ["ann", 2],
      ["bob", 1],
    ]);
    expect(await two.list()).toEqual(await one.list());
    expect(await bob.emit("count")).toBe(2);
    await tab.disconnect();
    await until(async () => (await one.list()).every(([, connections]) => connections === 1));
    await other.disconnect();
    await until(async () => (await one.app.layer.presenceCount("room")) === 1);
    expect(events(bob)).toEqual(["join bob", "join ann", "leave ann"]);
    await untilIdle(one.app);
    // Ann's own consumer here had gone by the time she left.
    expect(one.told.map(({ type, user }) => `${type} ${user}`)).toEqual([
      ...["join bob", "join ann"],
      ...(one.told.length > 3 ? ["join ann"] : []),
      "leave ann",
    ]);
  });

  promise(
    "a client that begins with the list and applies what it is told after it knows who is here",
    async () => {
      const [one, two] = [await node(carriers()), await node(carriers())];
      await two.enter("ann");
      await until(async () => (await one.list()).length === 1);
      const bob = await one.enter("bob");
      await bob.emit("list");
      const before = bob.pending.length;
      const list = bob.pending.at(-1)?.payload as { type: string; users: { user: string }[] };
      expect(list.type).toBe("list");
      const known = new Set(list.users.map(({ user }) => user));
      expect(known).toEqual(new Set(["ann", "bob"]));
      const cid = await two.enter("cid");
      await until(() => events(bob).includes("join cid"));
      await cid.disconnect();
      await until(() => events(bob).includes("leave cid"));
      expect(bob.pending.slice(before).map(({ payload }) => payload)).toEqual([
        { type: "join", group: "room", user: "cid", info: { name: "CID" } },
        { type: "leave", group: "room", user: "cid", info: { name: "CID" } },
      ]);
    },
  );

  promise(
    "info that is updated reaches members everywhere, and holds for the user's other tabs",
    async () => {
      const [one, two] = [await node(carriers()), await node(carriers())];
      const [ann, bob] = [await one.enter("ann"), await two.enter("bob")];
      await until(async () => (await two.list()).length === 2);
      await ann.emit("info", { name: "Ann", away: true });
      await until(() => events(bob).includes("update ann"));
      await two.enter("ann");
      await until(async () => (await two.list()).some(([, connections]) => connections === 2));
      expect(await bob.emit("who")).toContainEqual({
        ...{ user: "ann", connections: 2 },
        info: { name: "Ann", away: true },
      });
      expect(two.told).toContainEqual({ type: "update", user: "ann", info: { name: "Ann", away: true } });
      expect(two.told.filter(({ type }) => type === "update")).toHaveLength(1);
    },
  );

  promise("who is nobody is told of the others and not counted, and has nothing to update", async () => {
    const [one, two] = [await node(carriers()), await node(carriers())];
    const guest = await one.enter();
    await two.enter("ann");
    await until(() => events(guest).length === 1);
    expect(await guest.emit("who")).toEqual([{ user: "ann", info: { name: "ANN" }, connections: 1 }]);
    expect(await guest.emit("info", {})).toMatchObject({ error: { code: "invalid_message" } });
  });

  promise("leaving the group is leaving, with the connection open", async () => {
    const [one, two] = [await node(carriers()), await node(carriers())];
    const ann = await one.enter("ann");
    await until(async () => (await one.list()).length === 1);
    const bob = await two.enter("bob");
    await until(async () => (await two.list()).length === 2);
    await ann.emit("leave");
    await until(() => events(bob).includes("leave ann"));
    expect(await ann.emit("info", {})).toMatchObject({ error: { code: "invalid_message" } });
    await ann.emit("join");
    await until(() => events(bob).at(-1) === "join ann");
    expect(events(bob)).toEqual(["join bob", "leave ann", "join ann"]);
  });

  promise("a reload within the grace period shows nothing, also when it lands on another node", async () => {
    const groups = { room: { presence: { graceMs: 400 } } };
    const [one, two] = [await node({ ...carriers(), groups }), await node({ ...carriers(), groups })];
    const bob = await one.enter("bob");
    await bob.emit("who");
    const ann = await one.enter("ann");
    await until(() => events(bob).includes("join ann"));
    await ann.drop();
    const again = await two.enter("ann");
    // Longer than the grace period of the first node: a marker that goes the same way.
    const cid = await one.enter("cid");
    await cid.disconnect();
    await until(() => events(bob).includes("leave cid"));
    expect(events(bob)).toEqual(["join bob", "join ann", "join cid", "leave cid"]);
    await until(async () => (await one.list()).every(([, connections]) => connections === 1));
    await again.drop();
    await until(() => events(bob).includes("leave ann"));
    expect(events(bob).filter((event) => event.endsWith("ann"))).toEqual(["join ann", "leave ann"]);
  });

  promise("users of a node that stops are not seen to leave if they come back elsewhere", async () => {
    const [one, two] = [await node(carriers()), await node(carriers())];
    const bob = await two.enter("bob");
    await one.enter("ann");
    await one.enter("cid");
    await until(() => events(bob).length >= 3);
    await one.app.stop();
    await two.enter("ann");
    await until(() => events(bob).includes("leave cid"));
    expect(events(bob)).toEqual(expect.arrayContaining(["join ann", "join cid", "leave cid"]));
    expect(events(bob).filter((event) => event.endsWith("ann"))).toEqual(["join ann"]);
    expect(await two.list()).toEqual([
      ["ann", 1],
      ["bob", 1],
    ]);
  });

  promise("a full group counts no more, says so once, and takes who waits when somebody leaves", async () => {
    const limits = { usersPerGroup: 2 };
    const [one, two] = [await node({ ...carriers(), limits }), await node({ ...carriers(), limits })];
    const failures: string[] = [];
    two.app.signals.failed.connect(({ error }) => void failures.push((error as Error).message));
    const [ann] = [await one.enter("ann"), await one.enter("bob")];
    await until(async () => (await one.list()).length === 2);
    await two.enter("cid");
    await two.enter("dan");
    await until(() => failures.length > 0);
    expect(await two.list()).toHaveLength(2);
    await ann.disconnect();
    await until(async () => (await two.list()).some(([user]) => user === "cid" || user === "dan"));
    expect(await two.app.layer.presenceCount("room")).toBe(2);
    expect(failures[0]).toMatch(/2 users are present in the group "room"; no more are counted/);
  });

  promise(
    "whoever comes and goes, at the end every list is true, and nobody was told twice or never",
    async () => {
      const nodes = await Promise.all([node(carriers()), node(carriers()), node(carriers())]);
      const watchers = await Promise.all(nodes.map((one) => one.enter()));
      for (const watcher of watchers) await watcher.emit("who");
      const truth = new Map<string, number>();
      const walk = async (n: number, u: number) => {
        const user = `user-${u}`;
        for (let i = 0; i < 12; i++) {
          const client = await (nodes[n] as Node).enter(user);
          truth.set(user, (truth.get(user) ?? 0) + 1);
          await new Promise((resolve) => setTimeout(resolve, random() * 8));
          if (i === 11 && u % 2 === 0) return;
          await client.disconnect();
          truth.set(user, (truth.get(user) ?? 0) - 1);
          await new Promise((resolve) => setTimeout(resolve, random() * 8));
        }
      };
      await Promise.all([0, 1, 2].flatMap((n) => [0, 1, 2, 3, 4, 5].map((u) => walk(n, u))));
      const expected = [...truth].filter(([, connections]) => connections > 0).sort();
      for (const one of nodes) {
        await until(async () => JSON.stringify(await one.list()) === JSON.stringify(expected));
      }
      const there = (told: readonly { type: string; user: string }[]) => {
        const users = new Set<string>();
        for (const { type, user } of told) type === "join" ? users.add(user) : users.delete(user);
        return JSON.stringify([...users].sort());
      };
      for (const watcher of watchers) {
        const told = () =>
          events(watcher).map((event) => {
            const [type = "", user = ""] = event.split(" ");
            return { type, user };
          });
        // The list is true as soon as the store is; the last goodbyes may still be on their way.
        await until(() => there(told()) === JSON.stringify(expected.map(([user]) => user)));
        expect(faultOf(told(), [])).toBeUndefined();
      }
    },
  );
});

redisTest(
  "a user of Redis with the rights that the guide names may do all, and one without is told so",
  async () => {
    const guide = await blockOf("docs/presence.md", "", "ACL SETUSER");
    const [, rule = ""] = /ACL SETUSER (sluice .*)/.exec(guide) ?? [];
    const admin = new RedisCommands({ url: redis.url });
    await admin.open();
    await admin.command("", ["ACL", "SETUSER", ...rule.split(" ")]);
    const as = { url: redis.url, username: "sluice", password: "password", leaseMs: 300, renewMs: 50 };
    const log = { size: 9, ttlMs: 1_000, header: "" };
    const listener = { logFor: () => log, down() {}, async restate() {}, removed: async () => {} };
    const history = new RedisHistory({ url: redis.url, positionTtlMs: 1_000 });
    await history.open();
    const [one, two] = [new RedisPresence(as), new RedisPresence(as)];
    await one.open("n1", listener, history.logs);
    await two.open("n2", listener, history.logs);
    await one.state("g", "ann", { connections: 1, info: "", isUpdate: false, maxUsers: 9 });
    await one.close(50);
    await until(async () => (await two.count("g")) === 0);
    expect((await history.read("g", 1, 9)).entries).toHaveLength(2);
    await two.close(0);
    await history.close();
    await admin.command("", ["ACL", "SETUSER", "sluice", "-hrandfield"]);
    const refused = new RedisPresence(as).open("n3", listener);
    await expect(refused).rejects.toThrow(
      /allow it: ACL SETUSER sluice resetkeys ~sluice:\* \+hello .*\+hrandfield/,
    );
    await admin.command("", ["ACL", "DELUSER", "sluice"]);
    admin.close();
  },
);

test("nothing is left when everybody has gone", async () => {
  const one = await node(inMemory());
  const clients = [await one.enter("ann"), await one.enter("bob"), await one.enter("ann")];
  await until(async () => (await one.list()).length === 2);
  await Promise.all(clients.map((client) => client.disconnect()));
  await until(() => presenceHub.size === 0 && one.app.sizes.presence === 0);
});

test("only groups whose policy says so keep presence", async () => {
  const one = await node({ groups: { "chat.*": { presence: true } } });
  await expect(one.app.layer.presence("room")).rejects.toMatchObject({ code: "no_handler" });
  expect(await one.app.layer.presence("chat.den")).toEqual([]);
  const without = await node({ groups: {} });
  await expect(without.app.layer.presenceCount("room")).rejects.toThrow(/give it a policy/);
  const ann = await without.enter("ann");
  expect(events(ann)).toEqual([]);
});

test("an info that is too large, or none that can be sent, refuses the client and says why", async () => {
  const large = await node({ ...inMemory(), userInfo: () => ({ text: "x".repeat(5_000) }) });
  await expect(large.enter("ann")).rejects.toThrow(/refused/);
  const limits = { presenceInfoBytes: 20 };
  const small = await node({ ...inMemory(), limits, userInfo: () => null });
  const ann = await small.enter("ann");
  expect(await ann.emit("info", "x".repeat(30))).toMatchObject({ error: { code: "message_too_large" } });
  expect(await ann.emit("info", { file: new Uint8Array(3) })).toMatchObject({ error: expect.anything() });
  expect(await ann.emit("info", "away")).toBeUndefined();
  expect(await ann.emit("who")).toEqual([{ user: "ann", info: "away", connections: 1 }]);
});

test("a user whose name is too long, or has half a character, is not counted, and that is said", async () => {
  const one = await node(inMemory());
  const failures: unknown[] = [];
  one.app.signals.failed.connect(({ error }) => void failures.push(error));
  await one.enter("x".repeat(257));
  expect(await one.list()).toEqual([]);
  await one.enter("ann \ud83d");
  expect(await one.list()).toEqual([]);
  expect(failures.map(String)).toEqual([1, 2].map(() => expect.stringMatching(/1 to 256 bytes of Unicode/)));
});

test("several nodes need a store that they share", () => {
  const make = () =>
    createApplication({
      routes: [route("/room", Room, { options: { told: [] } })],
      groups: { room: { presence: true } },
      backplane: new RedisBackplane({ url: "redis://127.0.0.1:1" }),
    });
  expect(make).toThrow(/option presence/);
});

test("wrong options are told together", () => {
  const make = () => new RedisPresence({ prefix: "a b", leaseMs: 100, renewMs: 90, nodes: 3 } as object);
  expect(make).toThrow(/prefix must be[\s\S]*twice redis.renewMs[\s\S]*redis.nodes is no option/);
});
