/** Groups that are looked for by words, and one of them with its members, over all nodes. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, test } from "@jest/globals";
import { Consumer, createApplication, MemoryHub, route } from "sluice";
import { RedisBackplane } from "sluice/redis";
import type { Socket } from "socket.io-client";
import { findGroups, fittingGroups, readGroups } from "../../src/dashboard/groups.ts";
import { readToldGroup, type ToldGroup } from "../../src/dashboard/members.ts";
import { sumInFull, sumOfLists } from "../../src/dashboard/page/group-sums.js";
import { SentCounts } from "../../src/dashboard/sent-counts.ts";
import { createFacts } from "../../src/facts.ts";
import { hasRedis, RedisServer, redisTest } from "../redis/redis-server.ts";
import { atEnd, connected, heard, type Live, until } from "../server/live-server.ts";
import { enter, identify, node, Operator, Room } from "./scene.ts";

interface GroupsEvent {
  readonly node: string;
  readonly words: string;
  readonly total: number;
  readonly groups: readonly { readonly group: string; readonly members: number }[];
}

type GroupEvent = ToldGroup & { readonly node: string };

/** What each node told last, of an event. */
function latest<T extends { readonly node: string }>(socket: Socket, event: string): Map<string, T> {
  const told = new Map<string, T>();
  socket.on(event, (payload: T) => void told.set(payload.node, payload));
  return told;
}

/** Groups as a layer has them; `seen` counts those that were asked for. */
function manyGroups(names: readonly string[]) {
  const state = { seen: 0 };
  const layer = {
    *groupSizes() {
      for (const name of names) {
        state.seen += 1;
        yield [name, 2] as const;
      }
    },
    groupHere: (name: string) => ({ members: names.includes(name) ? 2 : 0, last: [] }),
    presentHere: () => undefined,
  };
  const app = {
    layers: new Map([["default", layer]]),
    groupHere: () => ({ members: 2, running: [] }),
  };
  return { app: app as never, state };
}

const NOTHING_SENT = { last: [], perSecond: () => 0 };

describe("What a node finds", () => {
  test("has all the words in its name, those that begin with them first, and of two searches each finds its own", async () => {
    const names = ["the.chat", "chat.den", "chat.Hall", "chatter", "room.den"];
    const found = await findGroups(manyGroups(names).app, NOTHING_SENT, ["chat", "den ch", "nothing"]);
    expect(
      [...found].map(([words, { total, groups }]) => [words, total, groups.map(({ group }) => group)]),
    ).toEqual([
      ["chat", 4, ["chat.Hall", "chat.den", "chatter", "the.chat"]],
      ["den ch", 1, ["chat.den"]],
      ["nothing", 0, []],
    ]);
    expect(found.get("den ch")?.groups).toEqual([
      { layer: "default", group: "chat.den", members: 2, sentPerSecond: 0 },
    ]);
  });

  test("is the first fifty of however many, in whichever order they were joined, and how many they are", async () => {
    const names = Array.from(
      { length: 1_000 },
      (_, n) => `chat.${String((n * 619) % 1_000).padStart(4, "0")}`,
    );
    const { total, groups = [] } =
      (await findGroups(manyGroups(names).app, NOTHING_SENT, ["chat"])).get("chat") ?? {};
    expect([total, groups.length, groups[0]?.group, groups.at(-1)?.group]).toEqual([
      1_000,
      50,
      "chat.0000",
      "chat.0049",
    ]);
  });

  test("has each group once, also one that all left and somebody joined meanwhile", async () => {
    const { app } = manyGroups(["chat.a", "chat.b", "chat.a"]);
    const { total, groups = [] } = (await findGroups(app, NOTHING_SENT, ["chat"])).get("chat") ?? {};
    expect([total, groups.map(({ group }) => group)]).toEqual([2, ["chat.a", "chat.b"]]);
  });

  test("has groups to which it sends though nobody here is in them", async () => {
    const sent = { last: [{ layer: "default", group: "chat.far", count: 4 }], perSecond: () => 2 };
    const found = await findGroups(manyGroups(["chat.near"]).app, sent, ["far"]);
    expect(found.get("far")).toMatchObject({ total: 1, groups: [{ group: "chat.far", sentPerSecond: 2 }] });
  });

  test("is looked for among many in slices, between which others have their turn", async () => {
    const names = Array.from({ length: 5_000 }, (_, n) => `chat.${n}`);
    const { app, state } = manyGroups(names);
    const searching = findGroups(app, NOTHING_SENT, ["chat"]);
    await nextTurn();
    expect(state.seen).toBeLessThan(2_000);
    await searching;
    expect(state.seen).toBe(5_000);
  });

  test("fits: of too much first the users are left out, then the last groups", () => {
    const groups = ["a", "b", "c"].map((group) => {
      return { layer: "default", group, members: 1, present: 1, users: ["u".repeat(100)] };
    });
    expect(fittingGroups(groups, 1_000)).toEqual(groups);
    const [withoutUsers] = [fittingGroups(groups, 300)];
    expect(withoutUsers.map(({ group, users }) => [group, users])).toEqual([
      ["a", undefined],
      ["b", undefined],
      ["c", undefined],
    ]);
    expect(fittingGroups(groups, 130).map(({ group }) => group)).toEqual(["a", "b"]);
  });
});

test("what other nodes say is cut to what it can be, and what is no group is left out", () => {
  const nonsense = [Number.NaN, -5, 1e300, "7", null, {}, []];
  for (const number of nonsense) {
    const told = { total: number, groups: [{ layer: number, group: "a", members: number, present: number }] };
    expect(readGroups(told)).toEqual({
      total: 0,
      groups: [{ layer: typeof number === "string" ? number : "", group: "a", members: 0, present: 0 }],
    });
  }
  const names = ["__proto__", "constructor", "<b>", "a b", "x".repeat(500), "", 7, "sluice.reports"];
  const entries = names.map((group) => ({ layer: "default", group, members: 1, extra: "not taken over" }));
  expect(readGroups({ groups: [...entries, null, 7, "text"] }).groups).toEqual(
    ["__proto__", "constructor"].map((group) => ({ layer: "default", group, members: 1 })),
  );
  expect(readGroups({ groups: "none" })).toEqual({ total: 0, groups: [] });
  const many = Array.from({ length: 5_000 }, (_, n) => ({ layer: "default", group: `g-${n}` }));
  expect(readGroups({ groups: many }).groups).toHaveLength(50);

  const group = readToldGroup({
    ...{ layer: "default", group: "a", members: -1, sentPerSecond: "fast", present: 1e99, secret: 1 },
    users: Array.from({ length: 900 }, (_, n) => (n % 2 ? "u".repeat(900) : { toString: "x" })),
    connections: Array.from({ length: 900 }, () => ({ channel: "c".repeat(900), user: 7, ageMs: -1 })),
    history: { epoch: {}, offset: -3, size: Number.POSITIVE_INFINITY, ttlMs: "1" },
  });
  expect(group).toMatchObject({ members: 0, sentPerSecond: 0, present: 0 });
  expect(group).not.toHaveProperty("secret");
  expect(group?.users).toHaveLength(50);
  expect(Math.max(...(group?.users ?? []).map(({ length }) => length))).toBe(120);
  expect(group?.connections).toHaveLength(50);
  expect(group?.connections[0]).toEqual({
    ...{ channel: "c".repeat(199), route: "", namespace: "", user: "", address: "", ageMs: 0 },
  });
  expect(group?.history).toEqual({ epoch: "", offset: 0, size: 0, ttlMs: 0 });
  for (const place of [{}, { layer: "default", group: "sluice.x" }, { layer: "", group: "a" }]) {
    expect(readToldGroup(place)).toBeUndefined();
  }
});

describe("What is sent to groups", () => {
  const send = (signals: ReturnType<typeof createFacts>, group: string, layer = "default") =>
    signals.groupSent.announce({ layer, group, what: "said", members: 0 });

  test("is counted in periods, on each layer by itself", () => {
    const signals = createFacts();
    const counts = new SentCounts(signals);
    expect(counts.perSecond("default", "a")).toBeUndefined();
    send(signals, "a");
    send(signals, "a", "other");
    send(signals, "a", "other");
    const period = counts.turn();
    expect([period.of("default", "a"), period.of("other", "a"), period.of("default", "b")]).toEqual([
      1, 2, 0,
    ]);
    expect(counts.perSecond("other", "a")).toBeCloseTo(2_000 / period.ms);
    counts.turn();
    expect(counts.perSecond("other", "a")).toBe(0);
    counts.stop();
    expect(signals.groupSent.hasReceivers).toBe(false);
  });

  test("is not known of groups beyond a bound, but of those that somebody looks at", () => {
    const signals = createFacts();
    const counts = new SentCounts(signals);
    counts.follow([{ layer: "default", group: "wanted" }]);
    counts.turn();
    for (let n = 0; n < 3_000; n += 1) send(signals, `g-${n}`);
    send(signals, "wanted");
    const period = counts.turn();
    expect([...period].length).toBeLessThanOrEqual(2_000);
    expect([period.of("default", "g-0"), period.of("default", "g-2999")]).toEqual([1, undefined]);
    expect(period.of("default", "wanted")).toBe(1);
    expect(counts.perSecond("default", "g-2999")).toBeUndefined();
    // One at which nobody sent is among the followed, and not among the loud.
    counts.turn();
    expect([...counts.turn()]).toEqual([]);
    counts.stop();
  });
});

describe("The page", () => {
  const group = (name: string, members: number, more: object = {}) => {
    return { layer: "default", group: name, members, sentPerSecond: 1, ...more };
  };

  test("adds up what nodes say of a group, and no further than all have told", () => {
    const one = { total: 900, groups: [group("chat.a", 2), group("chat.c", 1)] };
    const two = { total: 2, groups: [group("chat.a", 3), group("chat.b", 1)] };
    // Of chat.z the first node may know as well; it has not said so.
    const three = { total: 2, groups: [group("chat.b", 0), group("chat.z", 9)] };
    const { groups, isCut, least } = sumOfLists([one, two, three], "chat");
    expect(groups.map(({ group, members, nodes }) => [group, members, nodes])).toEqual([
      ["chat.a", 5, 2],
      ["chat.b", 1, 1],
      ["chat.c", 1, 1],
    ]);
    expect([isCut, least]).toEqual([true, 900]);
    expect(sumOfLists([two, three], "chat")).toMatchObject({ isCut: false, least: 3 });
    expect(sumOfLists([], "chat")).toEqual({ groups: [], isCut: false, least: 0 });
  });

  test("counts users once, and says of no rate that it is none", () => {
    const told = [
      { ...group("a", 1, { present: 2, users: ["bob", "ann"] }), node: "n-1", connections: [] },
      { ...group("a", 1, { present: 3, users: ["ann"] }), node: "n-2", connections: [] },
    ];
    expect(sumInFull(told)).toMatchObject({
      members: 2,
      present: 3,
      users: ["ann", "bob"],
      sentPerSecond: 2,
    });
    const { sentPerSecond: _, ...unknown } = { ...group("a", 1), node: "n-3", connections: [] };
    expect(sumInFull([unknown as never, ...told]).sentPerSecond).toBeUndefined();
  });
});

/** Until each node has told that. */
async function told<T extends { readonly node: string }>(
  events: ReadonlyMap<string, T>,
  nodes: readonly Live[],
  fact: (of: readonly T[]) => boolean,
  what: string,
): Promise<readonly T[]> {
  return until(() => {
    const all = nodes.map(({ app }) => events.get(app.node));
    const isWhole = all.every((one) => one !== undefined);
    return isWhole && fact(all as T[]) ? (all as T[]) : undefined;
  }, what);
}

const sum = (numbers: readonly number[]) => numbers.reduce((all, number) => all + number, 0);

async function lookOver(one: Live, two: Live) {
  const operator = await Operator.at(one);
  const groups = latest<GroupsEvent>(operator.socket, "groups");
  const members = latest<GroupEvent>(operator.socket, "group");
  return { operator, groups, members, nodes: [one, two] as const };
}

describe("Somebody at the page", () => {
  test("finds groups of all nodes by words, and none by words that no name has", async () => {
    const hub = new MemoryHub();
    const { operator, groups, nodes } = await lookOver(await node({ hub }), await node({ hub }));
    await enter(nodes[0], "den", "ann");
    await enter(nodes[1], "den", "bob");
    await enter(nodes[1], "hall", "carl");
    await operator.ask("wish", { groups: "ROOM.D" });
    const lists = await told(
      groups,
      nodes,
      (lists) =>
        lists.every(({ groups }) => groups.some((one) => (one as { present?: number }).present === 2)),
      "both nodes have told, and know who is present on the other",
    );
    expect(lists.map(({ words, total, groups }) => [words, total, groups.length])).toEqual([
      ["room.d", 1, 1],
      ["room.d", 1, 1],
    ]);
    for (const { groups } of lists)
      expect(groups[0]).toMatchObject({ group: "room.den", members: 1, present: 2 });
    groups.clear();
    await operator.ask("wish", { groups: "no such room" });
    await told(groups, nodes, (lists) => lists.every(({ total }) => total === 0), "there is none");
  });

  test("sees the members of one group on all nodes, what is sent to it, and ends one of them", async () => {
    const hub = new MemoryHub();
    const { operator, members, nodes } = await lookOver(await node({ hub }), await node({ hub }));
    await enter(nodes[0], "den", "ann");
    const bob = await enter(nodes[1], "den", "bob");
    await enter(nodes[1], "hall", "carl");
    await operator.ask("wish", { group: { layer: "default", group: "room.den" } });
    const all = await told(
      members,
      nodes,
      (all) => all.every(({ members, present }) => members === 1 && present === 2),
      "both nodes have told",
    );
    expect(all.map(({ connections }) => connections.map(({ user }) => user))).toEqual([["ann"], ["bob"]]);
    expect([...(all[0]?.users ?? [])].sort()).toEqual(["ann", "bob"]);
    expect(all[0]).not.toHaveProperty("history");
    const [at] = all[1]?.connections ?? [];
    expect(at).toEqual({
      ...{
        channel: expect.stringContaining(nodes[1].app.node),
        route: "/room/:room",
        namespace: "/room/den",
      },
      ...{ user: "bob", address: "127.0.0.1", ageMs: expect.any(Number) },
    });
    const talking = setInterval(() => bob.emit("say", "hi"), 10);
    atEnd(async () => clearInterval(talking));
    await told(members, nodes, ([, two]) => (two?.sentPerSecond ?? 0) > 0, "what is sent by the second node");
    clearInterval(talking);
    const gone = heard(bob, "disconnect");
    expect(await operator.act("disconnect connection", at?.channel)).toEqual({});
    await gone;
    await told(members, nodes, (all) => sum(all.map(({ members }) => members)) === 1, "he is in it no more");
    expect(members.get(nodes[1].app.node)?.connections).toEqual([]);
  });

  test("is told of fifty members of a node, those that joined last, and of all how many they are", async () => {
    class Crowd extends Consumer {
      override async connect() {
        await this.groupAdd("crowd");
      }
    }
    const app = { routes: [route("/crowd/:n", Crowd)] as never, groups: {} };
    const live = await node({ app, server: { limits: { namespacesPerConnection: 100 } } });
    const first = await connected(live.client("/crowd/0"));
    for (let n = 1; n <= 60; n += 1) await connected(first.io.socket(`/crowd/${n}`).connect());
    const { operator, members } = await lookOver(live, live);
    await operator.ask("wish", { group: { layer: "default", group: "crowd" } });
    const [all] = await told(members, [live], ([all]) => all?.members === 61, "all members");
    expect(all?.connections.map(({ namespace }) => namespace)).toEqual(
      Array.from({ length: 50 }, (_, n) => `/crowd/${60 - n}`),
    );
  });

  test("is told where the history of a group is, by nodes that follow it, and of a group with nobody that it is empty", async () => {
    const history = { size: 20, ttlMs: 60_000 };
    const live = await node({ app: { groups: { "room.*": { history } } } });
    const ann = await enter(live, "den", "ann");
    for (let n = 0; n < 3; n += 1) await ann.emitWithAck("say", n);
    const { operator, members } = await lookOver(live, live);
    await operator.ask("wish", { group: { layer: "default", group: "room.den" } });
    const [den] = await told(members, [live], ([den]) => den?.history?.offset === 3, "its history");
    expect(den?.history).toEqual({ epoch: expect.stringMatching(/./), offset: 3, size: 20, ttlMs: 60_000 });
    expect(JSON.stringify(den)).not.toContain("said");
    members.clear();
    await operator.ask("wish", { group: { layer: "default", group: "room.empty" } });
    const [empty] = await told(members, [live], () => true, "an empty group");
    expect(empty).toMatchObject({ group: "room.empty", members: 0, connections: [] });
    expect(empty).not.toHaveProperty("history");
  });

  test("is told no more than a message may hold", async () => {
    const live = await node({ app: { limits: { maxMessageBytes: 4_096 } } });
    for (let n = 0; n < 40; n += 1)
      await enter(live, `a-room-with-a-long-name-${n}`, `${n}-${"u".repeat(100)}`);
    const { operator, groups, members } = await lookOver(live, live);
    const connections = latest<{ node: string; total: number; connections: readonly object[] }>(
      operator.socket,
      "connections",
    );
    await operator.ask("wish", { groups: "room", connections: "/room" });
    const [list] = await told(groups, [live], ([list]) => list?.total === 40, "groups");
    expect(list?.groups.length).toBeGreaterThan(5);
    const [found] = await told(connections, [live], ([found]) => found?.total === 40, "connections");
    expect(found?.connections.length).toBeGreaterThan(3);
    await operator.ask("wish", { group: { layer: "default", group: "room.a-room-with-a-long-name-1" } });
    await told(members, [live], ([one]) => one?.connections.length === 1, "the group");
  });

  test("is given up on all nodes with its page, and not believed what others say without having been asked", async () => {
    const live = await node();
    await enter(live, "den", "ann");
    const wishes: { readonly channel: string; readonly groups?: string; readonly group?: object }[] = [];
    const stop = await live.app.layer.listen("sluice.reports", (message) => {
      if (message.type === "dashboard.wish") wishes.push(message as never);
    });
    atEnd(stop);
    const { operator, groups, members } = await lookOver(live, live);
    const lied: string[] = [];
    operator.socket.onAny((event: string, { node }) => void (node === "n-liar" && lied.push(event)));
    await operator.ask("wish", { groups: "den", group: { layer: "default", group: "__proto__" } });
    const { channel } = await until(() => wishes.find(({ groups }) => groups === "den"), "it is wished");
    const { layer } = live.app;
    const lies = { type: "dashboard.groups", node: "n-liar", total: -1 };
    await layer.send(channel, { ...lies, words: "other", groups: [] });
    await layer.send(channel, {
      ...lies,
      words: "den",
      groups: [{ layer: 1, group: "<b>" }, { group: "x" }],
    });
    await until(() => groups.get("n-liar"), "what is asked for");
    expect(groups.get("n-liar")).toEqual({
      ...{ node: "n-liar", words: "den", total: 0, groups: [{ layer: "", group: "x", members: 0 }] },
    });
    const lie = { type: "dashboard.group", node: "n-liar", layer: "default", members: 1e308 };
    await layer.send(channel, { ...lie, group: "room.den" });
    await layer.send(channel, { ...lie, group: "__proto__", connections: { length: 9 } });
    await until(() => members.get("n-liar"), "the group that is asked for");
    expect(members.get("n-liar")).toEqual({
      ...{ node: "n-liar", layer: "default", group: "__proto__", members: 0, connections: [] },
    });
    // Of what nobody asked for nothing has come before it.
    expect(lied).toEqual(["groups", "group"]);
    operator.socket.disconnect();
    await until(() => wishes.at(-1)?.groups === undefined && wishes.length > 1, "it is given up");
    expect(wishes.at(-1)).not.toHaveProperty("group");
  });

  test("finds groups on other layers as well, under their own names", async () => {
    class Priced extends Consumer {
      static override readonly layer = "prices";
      override async connect() {
        await this.groupAdd("room.den");
      }
    }
    const routes = [route("/room/:room", Room, { middleware: [identify] }), route("/prices", Priced)];
    const live = await node({ app: { routes: routes as never, layers: { prices: {} } } });
    await enter(live, "den", "ann");
    await connected(live.client("/prices"));
    const { operator, groups, members } = await lookOver(live, live);
    await operator.ask("wish", { groups: "den" });
    const [list] = await told(groups, [live], ([list]) => list?.total === 2, "both");
    expect(list?.groups).toMatchObject([
      { layer: "default", group: "room.den", members: 1 },
      { layer: "prices", group: "room.den", members: 1 },
    ]);
    await operator.ask("wish", { group: { layer: "prices", group: "room.den" } });
    const [prices] = await told(members, [live], ([one]) => one?.layer === "prices", "that of the prices");
    expect(prices?.connections.map(({ namespace }) => namespace)).toEqual(["/prices"]);
  });
});

redisTest("over Redis a node that is stopped is silent, and the others are told all the same", async () => {
  if (!hasRedis) return;
  const redis = await RedisServer.start();
  atEnd(() => redis.close());
  const backplane = () => new RedisBackplane({ url: redis.url, heartbeatMs: 50, subscribeTimeoutMs: 300 });
  const [one, two] = [
    await node({ app: { backplane: backplane(), groups: {} } }),
    await node({ app: { backplane: backplane(), groups: {} } }),
  ];
  await enter(one, "den", "ann");
  await enter(two, "den", "bob");
  const { operator, groups, members, nodes } = await lookOver(one, two);
  await operator.ask("wish", { groups: "den" });
  await told(groups, nodes, (all) => sum(all.map(({ groups }) => groups[0]?.members ?? 0)) === 2, "both");
  await operator.ask("wish", { group: { layer: "default", group: "room.den" } });
  await told(members, nodes, (all) => sum(all.map(({ members }) => members)) === 2, "both members");
  await two.server.stop({ atOnce: true });
  members.clear();
  await told(members, [one], ([here]) => here?.members === 1, "the one that is left");
  expect([...members.keys()]).toEqual([one.app.node]);
  const app = createApplication({ routes: [] });
  expect(app.groupHere("no such layer", "room.den", 1)).toBeUndefined();
});
