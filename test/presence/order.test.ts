/** Groups with history and presence: who comes and goes is told in the order of the messages, and not lost. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, jest, test } from "@jest/globals";
import {
  type Application,
  type ApplicationOptions,
  type HistoryStore,
  MemoryBackplane,
  MemoryHub,
  type PresenceChange,
  type PresenceListener,
  type PresenceStore,
} from "sluice";
import { MemoryHistory, MemoryLogs, RedisHistory } from "sluice/history";
import { MemoryPresence, MemoryPresenceHub, RedisPresence } from "sluice/presence";
import { RedisBackplane, RedisCommands } from "sluice/redis";
import { ScriptedHistory } from "../history/scripted-history.ts";
import { Visitor } from "../history/visitor.ts";
import { troubles } from "../layer/troubles.ts";
import { CuttableWay } from "../redis/cut-off.ts";
import { hasRedis, RedisServer, redisTest, until } from "../redis/redis-server.ts";
import { seeded } from "../seeded.ts";
import { events, faultOf, type Node, node, type Told } from "./scene.ts";

jest.setTimeout(60_000);

const HISTORY = { size: 2_000, ttlMs: 60_000 };
/** Short, but longer than anybody here waits for its turn on a machine that is busy. */
const LEASE_MS = 2_000;
const SECRET = "a secret of thirty-two characters!";

type Carriers = Required<Pick<ApplicationOptions, "backplane" | "history" | "presence">>;

let redis: RedisServer;
let prefixes = 0;
let hub: MemoryHub;
let presenceHub: MemoryPresenceHub;
let logs: MemoryLogs;
const random = seeded(23);

beforeAll(async () => {
  if (hasRedis) redis = await RedisServer.start();
});
afterAll(() => redis?.close());
beforeEach(() => {
  prefixes += 1;
  hub = new MemoryHub(() => random() * 5);
  presenceHub = new MemoryPresenceHub(() => random() * 5);
  logs = new MemoryLogs({}, () => random() * 5);
});

function overRedis(): Carriers {
  const at = { url: redis.url, prefix: `order-${prefixes}` };
  return {
    backplane: new RedisBackplane({ ...at, heartbeatMs: 50 }),
    presence: new RedisPresence({ ...at, leaseMs: LEASE_MS, renewMs: 100 }),
    history: new RedisHistory(at),
  };
}

function inMemory(): Carriers {
  return {
    backplane: new MemoryBackplane(hub),
    presence: new MemoryPresence(presenceHub, LEASE_MS),
    history: new MemoryHistory(logs),
  };
}

const forms = [
  ["in memory", test, inMemory],
  ["over Redis", redisTest, overRedis],
] as const;

function both(carriers: Carriers, history: object = {}): Promise<Node> {
  const groups = { room: { history: { ...HISTORY, ...history }, presence: true } };
  return node({ ...carriers, groups, secret: SECRET });
}

/** What came: `join ann`, `said 3`, or `list ann bob`. */
function textsOf(payloads: readonly unknown[]): string[] {
  return payloads.map((payload) => {
    const { type, user, users } = payload as Told & { users?: Told[] };
    if (type === undefined) return `said ${payload}`;
    return type === "list" ? `list ${users?.map((each) => each.user).sort()}` : `${type} ${user}`;
  });
}

function seenBy(visitor: Visitor): string[] {
  visitor.absorb();
  return textsOf(visitor.seen);
}

async function visit(app: Application, path: string, user?: string): Promise<Visitor> {
  const visitor = new Visitor(path, user === undefined ? {} : { user: { id: user } });
  await visitor.come(app);
  return visitor;
}

const say = (one: Node, what: unknown) => one.app.layer.groupEmit("room", "said", what);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe.each(forms)("%s", (_name, promise, carriers) => {
  promise(
    "whoever speaks, comes and goes anywhere: all members on all nodes see one sequence of it",
    async () => {
      const nodes = await Promise.all([both(carriers()), both(carriers()), both(carriers())]);
      const visitors: Visitor[] = [];
      for (const { app } of nodes) {
        visitors.push(await visit(app, "/room"), await visit(app, "/quiet"));
      }
      const stock = await (nodes[0] as Node).enter(undefined, "/quiet");
      const walk = async (one: Node, user: string) => {
        for (let i = 0; i < 6; i++) {
          const client = await one.enter(user, "/quiet");
          await pause(random() * 6);
          await client.disconnect();
        }
      };
      const speak = async (one: Node, n: number) => {
        for (let i = 0; i < 40; i++) {
          await say(one, `${n}-${i}`);
          if (i % 4 === 0) await pause(random() * 6);
        }
      };
      await Promise.all(
        nodes.flatMap((one, n) => [
          speak(one, n),
          ...["ann", "bob", "cid", "dan"].map((user) => walk(one, user)),
        ]),
      );
      await until(async () => (await (nodes[1] as Node).app.layer.presenceCount("room")) === 0);
      await say(nodes[0] as Node, "end");
      for (const visitor of visitors) await visitor.until(() => visitor.seen.includes("end"));
      const sequence = seenBy(visitors[0] as Visitor);
      for (const visitor of visitors) {
        expect(seenBy(visitor)).toEqual(sequence);
        expect(visitor.gaps).toEqual([]);
      }
      await until(() => stock.pending.some(({ payload }) => payload === "end"));
      expect(textsOf(stock.pending.map(({ payload }) => payload))).toEqual(sequence);
      expect(sequence.filter((text) => text.startsWith("said"))).toHaveLength(121);
      const walked = sequence.filter((text) => !text.startsWith("said"));
      const told = walked.map((text) => text.split(" ")).map(([type = "", user = ""]) => ({ type, user }));
      expect(faultOf(told, [])).toBeUndefined();
      expect(told.filter(({ type }) => type === "join")).toHaveLength(told.length / 2);
      expect(told.length).toBeGreaterThan(7);
      // The handlers of one consumer on each node.
      for (const one of nodes) {
        expect(one.told.map(({ type, user }) => `${type} ${user}`)).toEqual(walked);
      }
    },
  );

  promise(
    "a client that was away is given who came and went between the messages, and then the list",
    async () => {
      const [one, two] = [await both(carriers()), await both(carriers())];
      const guest = await visit(one.app, "/list");
      const handler = await visit(one.app, "/room");
      await two.enter("dan", "/quiet");
      await guest.until(() => seenBy(guest).includes("join dan"));
      await handler.until(() => seenBy(handler).includes("join dan"));
      await Promise.all([guest.go(), handler.go()]);
      const before = seenBy(guest);
      const handled = two.told.length;
      const bob = await one.enter("bob", "/quiet");
      await until(async () => (await two.list()).length === 2);
      await say(one, 1);
      await two.enter("cid", "/quiet");
      await until(async () => (await one.list()).length === 3);
      await bob.disconnect();
      await until(async () => (await two.list()).length === 2);
      await say(two, 2);
      await guest.come(two.app);
      await handler.come(two.app);
      const missed = ["join bob", "said 1", "join cid", "leave bob", "said 2"];
      await guest.until(() => seenBy(guest).length > before.length + missed.length);
      expect(seenBy(guest).slice(before.length)).toEqual([...missed, "list cid,dan"]);
      const joined = await one.enter("eve", "/quiet");
      await guest.until(() => seenBy(guest).includes("join eve"));
      await joined.disconnect();
      await guest.until(() => seenBy(guest).includes("leave eve"));
      expect(seenBy(guest).slice(before.length + missed.length + 1)).toEqual(["join eve", "leave eve"]);
      await handler.until(() => seenBy(handler).includes("leave eve"));
      expect(seenBy(handler)).toEqual(["join dan", ...missed, "join eve", "leave eve"]);
      const now = two.told.slice(handled).map(({ type, user }) => `${type} ${user}`);
      expect(now).toEqual(["join bob", "join cid", "leave bob", "join eve", "leave eve"]);
      expect([...guest.gaps, ...handler.gaps]).toEqual([]);
      expect(guest.joins.at(-1)).toMatchObject({ recovered: true });
    },
  );

  promise(
    "a newcomer is given the last messages, however many came and went, and then the list",
    async () => {
      const policy = { size: 20, newcomers: 5, clientsMayRead: true };
      const [one, two] = [await both(carriers(), policy), await both(carriers(), policy)];
      const watcher = await one.enter(undefined, "/quiet");
      for (let i = 1; i <= 7; i++) await say(one, i);
      for (let i = 0; i < 15; i++) {
        const walker = await one.enter(`walker-${i}`, "/quiet");
        await until(() => events(watcher).includes(`join walker-${i}`));
        await walker.disconnect();
        await until(() => events(watcher).includes(`leave walker-${i}`));
      }
      await one.enter("ann", "/quiet");
      await until(() => events(watcher).includes("join ann"));
      const bob = await visit(two.app, "/list", "bob");
      await bob.until(() => seenBy(bob).some((text) => text.startsWith("list")));
      expect(seenBy(bob)).toEqual([...[3, 4, 5, 6, 7].map((n) => `said ${n}`), "join bob", "list ann,bob"]);
      expect(bob.gaps).toEqual([]);
      const guest = await visit(two.app, "/list");
      await guest.until(() => seenBy(guest).some((text) => text.startsWith("list")));
      await guest.go();
      guest.seen.length = 0;
      await guest.come(one.app);
      await guest.until(() => guest.seen.length > 0);
      expect(seenBy(guest)).toEqual(["list ann,bob"]);
      await guest.go();
      const { messages, more } = await two.app.layer.history("room", { limit: 6 });
      expect([messages.map(({ payload }) => payload), more]).toEqual([[2, 3, 4, 5, 6, 7], true]);
      const read = await bob.client?.emit("sluice.history", { group: "room", limit: 3 });
      expect(read).toMatchObject({ messages: [{ payload: 5 }, { payload: 6 }, { payload: 7 }] });
      // And what it was not given then it is not given when it comes back.
      await bob.go();
      bob.seen.length = 0;
      await until(() => events(watcher).includes("leave bob"));
      await bob.come(one.app);
      await bob.until(() => seenBy(bob).some((text) => text.startsWith("list")));
      expect(seenBy(bob)).toEqual(["leave bob", "join bob", "list ann,bob"]);
      expect(bob.gaps).toEqual([]);
    },
  );

  promise("a newcomer to a group in which nobody spoke is given the list alone", async () => {
    const policy = { newcomers: 5 };
    const [one, two] = [await both(carriers(), policy), await both(carriers(), policy)];
    await one.enter("ann", "/quiet");
    await until(async () => (await two.list()).length === 1);
    const guest = await visit(two.app, "/list");
    await guest.until(() => guest.seen.length > 0);
    expect(seenBy(guest)).toEqual(["list ann"]);
  });

  promise(
    "a client is told of a gap where joins and leaves are not kept, and no message is missing",
    async () => {
      const policy = { size: 10 };
      const [one, two] = [await both(carriers(), policy), await both(carriers(), policy)];
      const watcher = await two.enter(undefined, "/quiet");
      const guest = await visit(one.app, "/list");
      await guest.until(() => guest.seen.length > 0);
      await guest.go();
      await say(one, 1);
      for (let i = 0; i < 12; i++) {
        const walker = await one.enter(`walker-${i}`, "/quiet");
        await until(() => events(watcher).includes(`join walker-${i}`));
        await walker.disconnect();
        await until(() => events(watcher).includes(`leave walker-${i}`));
      }
      await say(two, 2);
      await guest.come(two.app);
      await guest.until(() => seenBy(guest).length >= 14);
      expect(guest.gaps.map(({ reason }) => reason)).toEqual(["trimmed"]);
      const walked = [7, 8, 9, 10, 11].flatMap((i) => [`join walker-${i}`, `leave walker-${i}`]);
      expect(seenBy(guest)).toEqual(["list ", "said 1", ...walked, "said 2", "list "]);
    },
  );

  promise(
    "a node that dies after it appended and before it told: the others find it in the log, once, in its place",
    async () => {
      const one = await both(carriers());
      const guest = await visit(one.app, "/room");
      await say(one, 1);
      const made = carriers();
      const dying = await stranger(made);
      await dying.state("ghost", 1);
      await say(one, 2);
      await dying.withdraw("ghost");
      await say(one, 3);
      await guest.until(() => guest.seen.length >= 5);
      expect(seenBy(guest)).toEqual(["said 1", "join ghost", "said 2", "leave ghost", "said 3"]);
      expect(await one.list()).toEqual([]);
      await dying.end();
    },
  );

  promise(
    "info that is updated is told in order, and how many connections a user has in the list",
    async () => {
      const [one, two] = [await both(carriers()), await both(carriers())];
      const guest = await visit(two.app, "/quiet");
      const ann = await one.enter("ann");
      await until(async () => (await two.list()).length === 1);
      await say(one, 1);
      await ann.emit("info", { away: true });
      await say(one, 2);
      const tab = await two.enter("ann");
      await until(async () => (await one.list()).some(([, connections]) => connections === 2));
      await until(async () => (await two.list()).some(([, connections]) => connections === 2));
      expect(await tab.emit("who")).toEqual([{ user: "ann", info: { away: true }, connections: 2 }]);
      await tab.disconnect();
      await until(async () => (await one.list()).every(([, connections]) => connections === 1));
      await ann.disconnect();
      await say(two, 3);
      await guest.until(() => guest.seen.length >= 6);
      await until(async () => (await two.list()).length === 0);
      const seen = seenBy(guest).filter((text) => text !== "said 3");
      expect(seen).toEqual(["join ann", "said 1", "update ann", "said 2", "leave ann"]);
    },
  );

  promise("a list comes behind what was told before it and still waits for handlers", async () => {
    const [one, two] = [await both(carriers()), await both(carriers())];
    const guest = await visit(one.app, "/slow");
    for (const [i, user] of ["ann", "bob", "cid"].entries()) {
      await two.enter(user, "/quiet");
      await until(async () => (await two.list()).length === i + 1);
    }
    await guest.until(() => guest.seen.length >= 4);
    expect(seenBy(guest)).toEqual(["join ann", "join bob", "join cid", "list ann,bob,cid"]);
  });

  promise("where only the latest message counts, it stays the latest, whoever comes and goes", async () => {
    const policy = { conflate: true };
    const [one, two] = [await both(carriers(), policy), await both(carriers(), policy)];
    const watcher = await one.enter(undefined, "/quiet");
    await say(one, "state");
    const guest = await visit(two.app, "/quiet");
    await guest.go();
    await say(one, "newer");
    const ann = await two.enter("ann", "/quiet");
    await until(() => events(watcher).includes("join ann"));
    await ann.disconnect();
    await until(() => events(watcher).includes("leave ann"));
    expect((await one.app.layer.history("room")).messages.map(({ payload }) => payload)).toEqual(["newer"]);
    await guest.come(one.app);
    await guest.until(() => guest.seen.length > 0);
    expect(seenBy(guest)).toEqual(["said newer"]);
    expect((await made(carriers().history)).length).toBe(1);
  });

  promise("users of a node that stops have left in the log, for those who come later", async () => {
    const groups = { room: { history: HISTORY, presence: true } };
    const [one, two] = [await both(carriers()), await both(carriers())];
    const guest = await visit(two.app, "/list");
    await one.enter("ann", "/quiet");
    await guest.until(() => seenBy(guest).includes("join ann"));
    await guest.go();
    await one.app.stop();
    await until(async () => (await two.list()).length === 0);
    await two.app.stop();
    const three = await node({ ...carriers(), groups, secret: SECRET });
    await guest.come(three.app);
    await guest.until(() => seenBy(guest).filter((text) => text.startsWith("list")).length === 2);
    expect(seenBy(guest)).toEqual(["list ", "join ann", "leave ann", "list "]);
    expect(guest.gaps).toEqual([]);
  });
});

describe.each(forms)(
  "while a node does not know yet who is there after a gap, %s,",
  (_name, promise, carriers) => {
    promise(
      "whoever comes is told what the log says, and waits for the list; the others are told the difference",
      async () => {
        const policy = { size: 2 };
        const made = carriers();
        const { list } = made.presence;
        let gate: Promise<void> = Promise.resolve();
        made.presence.list = async (...asked) => {
          await gate;
          return list.apply(made.presence, asked);
        };
        const one = await both(made, policy);
        const silent = await stranger(carriers(), policy);
        for (const user of ["ann", "bob", "eve"]) await silent.state(user, 1);
        const stays = await visit(one.app, "/list");
        await stays.until(() => seenBy(stays).includes("list ann,bob,eve"));
        // It hears nothing of these, and the first of them is not kept.
        for (const user of ["eve", "bob", "ann"]) await silent.withdraw(user);
        const two = await both(carriers(), policy);
        const comes = await visit(two.app, "/list");
        await comes.until(() => seenBy(comes).includes("list "));
        await comes.go();
        await silent.state("ann", 1);
        let open = () => {};
        gate = new Promise((resolve) => {
          open = resolve;
        });
        await say(one, 1);
        await stays.until(() => stays.seen.includes(1));
        expect(stays.gaps.map(({ reason }) => reason)).toEqual(["trimmed"]);
        await comes.come(one.app);
        await silent.state("bob", 1);
        await say(one, 2);
        for (const visitor of [stays, comes]) await visitor.until(() => visitor.seen.includes(2));
        const told = ["list ", "join ann", "said 1", "join bob", "said 2"];
        expect(seenBy(comes)).toEqual(told);
        open();
        await comes.until(() => comes.seen.length > told.length);
        await stays.until(() => seenBy(stays).includes("leave eve"));
        expect(seenBy(comes)).toEqual([...told, "list ann,bob"]);
        const before = ["list ann,bob,eve", "leave ann", "join ann", "said 1", "said 2"];
        expect(seenBy(stays)).toEqual([...before, "leave eve"]);
        await silent.withdraw("ann");
        await say(one, 3);
        for (const visitor of [stays, comes]) {
          await visitor.until(() => visitor.seen.includes(3));
          expect(seenBy(visitor).slice(-2)).toEqual(["leave ann", "said 3"]);
        }
        await silent.end();
      },
    );
  },
);

describe("when the log is set back, as by a failover,", () => {
  let commands: RedisCommands;
  beforeEach(async () => {
    commands = new RedisCommands({ url: redis?.url });
    if (hasRedis) await commands.open();
  });
  afterEach(() => commands.close());
  const copy = async (from: string, to: string) => {
    for (const key of (await commands.command("", ["KEYS", `${from}:{room}:*`])) as string[]) {
      await commands.command("", ["COPY", key, `${to}${key.slice(from.length)}`, "REPLACE"]);
    }
  };
  const keep = () => copy(`order-${prefixes}`, "kept");
  const setBack = async () => {
    const gone = (await commands.command("", ["KEYS", `order-${prefixes}:{room}:*`])) as string[];
    await commands.command("", ["DEL", ...gone]);
    await copy("kept", `order-${prefixes}`);
  };

  redisTest("members are told so before they are told who is not there any more", async () => {
    const made = overRedis();
    const carrier = troubles(made.backplane);
    const one = await both(made);
    const silent = await stranger(overRedis());
    const stays = await visit(one.app, "/list");
    await silent.state("ann", 1);
    await say(one, 1);
    await stays.until(() => stays.seen.includes(1));
    await keep();
    await silent.state("bob", 1);
    await say(one, 2);
    await stays.until(() => stays.seen.includes(2));
    await setBack();
    // The list is read; nobody looks at the log for its own sake.
    made.history.tops = async () => [];
    const told: string[] = [];
    one.app.signals.gap.connect(({ reason }) => void told.push(reason));
    one.app.signals.present.connect(({ type, user }) => void told.push(`${type} ${user}`));
    carrier.flicker();
    await stays.until(() => seenBy(stays).includes("leave bob"));
    expect(told).toEqual(["ahead", "leave bob"]);
    expect(stays.gaps.map(({ reason }) => reason)).toEqual(["ahead"]);
    await silent.end();
  });

  redisTest("who comes back from beyond its end is given the last messages, as a newcomer is", async () => {
    const policy = { newcomers: 2 };
    const one = await both(overRedis(), policy);
    // It is not heard by the other.
    const apart = new RedisBackplane({ url: redis.url, prefix: `apart-${prefixes}`, heartbeatMs: 50 });
    const two = await both({ ...overRedis(), backplane: apart }, policy);
    const stays = await visit(one.app, "/quiet");
    for (const n of [1, 2, 3]) await say(one, n);
    await keep();
    await say(one, 4);
    await stays.until(() => stays.seen.includes(4));
    const away = await visit(two.app, "/quiet");
    await say(two, 5);
    await away.until(() => away.seen.includes(5));
    await away.go();
    await setBack();
    away.seen.length = 0;
    await away.come(one.app);
    await away.until(() => away.seen.includes(3));
    expect([seenBy(away), away.gaps]).toEqual([["said 2", "said 3"], [{ reason: "ahead", offset: 1 }]]);
  });
});

redisTest("a newcomer who is given another log than it joined is told all of it", async () => {
  const made = overRedis();
  const { read } = made.history;
  let gate: Promise<void> = Promise.resolve();
  let asked = 0;
  made.history.read = async (...args) => {
    asked += 1;
    // For the first alone: what it misses is read for the newcomer, then the node follows the log.
    if (asked === 1) await gate;
    return read.apply(made.history, args);
  };
  const one = await both(made, { newcomers: 2 });
  const silent = await stranger(overRedis());
  const stays = await visit(one.app, "/quiet");
  for (const n of [1, 2, 3]) await say(one, n);
  await stays.until(() => stays.seen.includes(3));
  let open = () => {};
  gate = new Promise((resolve) => {
    open = resolve;
  });
  asked = 0;
  const comes = await visit(one.app, "/quiet");
  await until(() => asked > 0);
  const commands = new RedisCommands({ url: redis.url });
  await commands.open();
  await commands.command("", [
    "DEL",
    ...["meta", "log", "presence"].map((name) => `order-${prefixes}:{room}:${name}`),
  ]);
  commands.close();
  await silent.state("ann", 1);
  await say(one, 4);
  await stays.until(() => stays.seen.includes(4));
  open();
  await comes.until(() => comes.seen.includes(4));
  expect([seenBy(comes), comes.gaps.map(({ reason }) => reason)]).toEqual([
    ["join ann", "said 4"],
    ["epoch"],
  ]);
  await silent.end();
});

redisTest("entries of which the position was lost are not taken for those of the next log", async () => {
  const carriers = overRedis();
  const one = await stranger(carriers);
  const key = (name: string) => `order-${prefixes}:{room}:${name}`;
  const commands = new RedisCommands({ url: redis.url });
  await commands.open();
  for (const begin of [() => one.withdraw("ann"), () => carriers.history.append("room", "new", HISTORY)]) {
    await one.state("ann", 1);
    await carriers.history.append("room", "old", HISTORY);
    await commands.command("", ["DEL", key("meta")]);
    await begin();
    const { top, entries } = await carriers.history.read("room", 1, 10);
    expect([top?.offset, entries.map(({ offset }) => offset)]).toEqual([1, [1]]);
  }
  commands.close();
  await one.end();
});

describe("outages", () => {
  let own: RedisServer;
  const ways: CuttableWay[] = [];
  beforeEach(async () => {
    if (hasRedis) own = await RedisServer.start();
  });
  afterEach(async () => {
    for (const way of ways) way.block();
    await Promise.all(ways.splice(0).map((way) => way.close()));
    await own?.close();
  });

  /** A node, and its way to Redis. It waits longer than Redis does for its turn on a machine that is busy. */
  async function cuttable(): Promise<Node & { readonly way: CuttableWay }> {
    const way = await CuttableWay.to(own.port);
    ways.push(way);
    const at = { url: `redis://127.0.0.1:${way.port}` };
    const one = await both({
      backplane: new RedisBackplane({
        ...{ ...at, heartbeatMs: 50 },
        limits: { maxWaitingMs: 500 },
      }),
      presence: new RedisPresence({ ...at, leaseMs: LEASE_MS, renewMs: 100, commandTimeoutMs: 1_000 }),
      history: new RedisHistory({ ...at, commandTimeoutMs: 1_000, heartbeatMs: 50 }),
    });
    return { ...one, way };
  }
  const isDown = (one: Node) =>
    one.app.layer.presence("room").then(
      () => false,
      () => true,
    );
  const names = async (one: Node) => (await one.list().catch(() => [["?"]])).map(([user]) => user).join(" ");

  redisTest("users of a node that breaks off leave once, between the messages, for all", async () => {
    const [one, two, three] = [await cuttable(), await cuttable(), await cuttable()];
    const visitors = [await visit(two.app, "/quiet"), await visit(three.app, "/room")];
    const away = await visit(two.app, "/quiet");
    const users = Array.from({ length: 30 }, (_, i) => `user-${i}`);
    for (const user of users) await one.enter(user, "/quiet");
    for (const visitor of [...visitors, away]) await visitor.until(() => visitor.seen.length === 30);
    await away.go();
    one.way.silence();
    let said = 0;
    while ((await names(two)) !== "") {
      // No more than is replayed at once.
      if (said < 300) await say(three, ++said);
      else await pause(5);
    }
    await say(two, "end");
    for (const visitor of visitors) await visitor.until(() => visitor.seen.includes("end"));
    await away.come(three.app);
    await away.until(() => away.seen.includes("end"));
    const sequence = seenBy(visitors[0] as Visitor);
    for (const visitor of [...visitors, away]) {
      expect(seenBy(visitor)).toEqual(sequence);
      expect(visitor.gaps).toEqual([]);
    }
    const left = sequence.filter((text) => text.startsWith("leave"));
    expect(left.sort()).toEqual(users.map((user) => `leave ${user}`).sort());
    expect(sequence.filter((text) => text.startsWith("said"))).toHaveLength(said + 1);
    // And when the node finds its place again its users come again, once.
    one.way.restore();
    one.way.reset();
    for (const visitor of [...visitors, away]) {
      await visitor.until(() => seenBy(visitor).filter((text) => text.startsWith("join")).length === 60);
    }
  });

  redisTest("a Redis that comes back empty is told everybody again, and no member notices", async () => {
    const [one, two] = [await cuttable(), await cuttable()];
    const visitors = [await visit(one.app, "/quiet"), await visit(two.app, "/room")];
    const stock = await two.enter(undefined, "/quiet");
    const away = await visit(two.app, "/list");
    const clients = new Map<string, Awaited<ReturnType<Node["enter"]>>>();
    for (const [i, user] of ["ann", "bob", "cid", "dan"].entries()) {
      clients.set(user, await ([one, two][i % 2] as Node).enter(user, "/quiet"));
    }
    for (const visitor of [...visitors, away]) {
      await visitor.until(() => seenBy(visitor).filter((text) => text.startsWith("join")).length === 4);
    }
    await away.go();
    await own.end();
    await until(async () => (await isDown(one)) && (await isDown(two)));
    await clients.get("bob")?.disconnect();
    await two.enter("eve", "/quiet");
    await own.begin();
    for (const each of [one, two]) await until(async () => (await names(each)) === "ann cid dan eve");
    await until(async () => {
      await pause(10);
      return say(one, "after").then(
        () => true,
        () => false,
      );
    });
    for (const visitor of visitors) {
      await visitor.until(() => visitor.seen.includes("after") && seenBy(visitor).includes("leave bob"));
      const seen = seenBy(visitor).filter((text) => text !== "said after");
      expect(seen.slice(0, 4).sort()).toEqual(["join ann", "join bob", "join cid", "join dan"]);
      expect(seen.slice(4).sort()).toEqual(["join eve", "leave bob"]);
      expect(visitor.gaps.map(({ reason }) => reason)).toEqual(["epoch"]);
    }
    await until(() => events(stock).includes("leave bob"));
    expect([...events(stock)].sort()).toEqual(
      seenBy(visitors[0] as Visitor)
        .filter((text) => !text.startsWith("said"))
        .sort(),
    );
    // Who was away has missed something and is told so, before a list that is right.
    await away.come(one.app);
    await away.until(() => seenBy(away).at(-1) === "list ann,cid,dan,eve");
    expect(away.gaps.map(({ reason }) => reason)).toEqual(["epoch"]);
    // And all goes on in one order.
    await clients.get("cid")?.disconnect();
    for (const visitor of [...visitors, away]) {
      await visitor.until(() => seenBy(visitor).at(-1) === "leave cid");
    }
  });

  redisTest("while Redis is away nothing is lost: who came and went is told afterwards, once", async () => {
    const [one, two] = [await cuttable(), await cuttable()];
    const visitors = [await visit(one.app, "/quiet"), await visit(two.app, "/room")];
    const ann = await one.enter("ann", "/quiet");
    for (const visitor of visitors) await visitor.until(() => visitor.seen.length === 1);
    one.way.block();
    two.way.block();
    await until(async () => (await isDown(one)) && (await isDown(two)));
    await ann.disconnect();
    await one.enter("bob", "/quiet");
    one.way.restore();
    two.way.restore();
    await until(async () => (await names(one)) === "bob" && (await names(two)) === "bob");
    for (const visitor of visitors) {
      await visitor.until(() => seenBy(visitor).length >= 3);
      expect(seenBy(visitor).slice(1).sort()).toEqual(["join bob", "leave ann"]);
      expect(visitor.gaps).toEqual([]);
    }
    expect(seenBy(visitors[0] as Visitor)).toEqual(seenBy(visitors[1] as Visitor));
  });
});

describe("where history and presence are not in one place the application does not start", () => {
  const start = (
    carriers: Partial<Carriers>,
    groups: object = { room: { history: HISTORY, presence: true } },
  ) => node({ backplane: new MemoryBackplane(), ...carriers, groups, secret: SECRET } as ApplicationOptions);
  const fault = { code: "configuration" };

  redisTest("one in Redis, one in memory", async () => {
    const at = { url: redis.url, prefix: `apart-${prefixes}` };
    await expect(start({ history: new RedisHistory(at) })).rejects.toMatchObject({
      ...fault,
      message: expect.stringMatching(/give the option presence too/),
    });
    await expect(start({ presence: new RedisPresence(at) })).rejects.toMatchObject({
      ...fault,
      message: expect.stringMatching(/same Redis under the same prefix/),
    });
  });

  redisTest("another prefix, or another Redis", async () => {
    const at = { url: redis.url, prefix: `apart-${prefixes}` };
    const presence = new RedisPresence(at);
    const elsewhere = { ...at, prefix: "elsewhere" };
    await expect(start({ presence, history: new RedisHistory(elsewhere) })).rejects.toMatchObject(fault);
    const other = await RedisServer.start();
    const history = new RedisHistory({ ...at, url: other.url });
    await expect(start({ presence: new RedisPresence(at), history })).rejects.toMatchObject({
      ...fault,
      message: expect.stringMatching(/same Redis under the same prefix/),
    });
    await other.close();
  });

  test("a history that lets nobody else append", async () => {
    await expect(start({ history: new ScriptedHistory() })).rejects.toMatchObject(fault);
  });

  redisTest("but that is fine where no group keeps both in one order", async () => {
    const at = { url: redis.url, prefix: `apart-${prefixes}` };
    const groups = {
      chat: { history: HISTORY },
      state: { history: { ...HISTORY, conflate: true }, presence: true },
      room: { presence: true },
    };
    await start({ history: new RedisHistory(at) }, groups);
  });
});

/** What a log has. */
async function made(history: HistoryStore) {
  await history.open();
  const { entries } = await history.read("room", 1, 1_000);
  await history.close();
  return entries;
}

/** A node of which nobody hears, as it says nothing over the backplane. */
async function stranger(
  { presence, history }: { presence: PresenceStore; history: HistoryStore },
  policy: { readonly size?: number } = {},
) {
  const header = `${JSON.stringify({ v: 1, from: "n-gone", kind: "presence" })}\n`;
  const listener: PresenceListener = {
    logFor: () => ({ ...HISTORY, ...policy, header }),
    down() {},
    async restate() {},
    async removed() {},
  };
  await history.open();
  await presence.open("n-gone", listener, history.logs);
  const rest = { info: "", isUpdate: false, maxUsers: 100 };
  return {
    state: (user: string, connections: number) => presence.state("room", user, { connections, ...rest }),
    withdraw: (user: string): Promise<PresenceChange | undefined> => presence.withdraw("room", user),
    async end() {
      await presence.close(0);
      await history.close();
    },
  };
}
