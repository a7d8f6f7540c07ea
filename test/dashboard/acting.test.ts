/** What the dashboard shows of several nodes, and what somebody at it can do to them. */
import { describe, expect, test } from "@jest/globals";
import {
  type AuditFact,
  Consumer,
  createApplication,
  createLogger,
  InvalidMessage,
  logSignals,
  MemoryBackplane,
  MemoryHub,
  route,
} from "sluice";
import { observe } from "sluice/dashboard";
import { RedisBackplane } from "sluice/redis";
import type { Socket } from "socket.io-client";
import { blockOf } from "../guides.ts";
import { hasRedis, RedisServer, redisTest } from "../redis/redis-server.ts";
import { atEnd, connected, heard, type Live, until } from "../server/live-server.ts";
import { KEYS } from "../some-keys.ts";
import { enter, identify, login, node, Operator, Room } from "./scene.ts";

interface TailEvent {
  readonly node: string;
  readonly left: number;
  readonly lines: readonly {
    readonly signal: string;
    readonly subject: string;
    readonly detail: string;
    readonly channel?: string;
  }[];
}

interface ConnectionsEvent {
  readonly node: string;
  readonly total: number;
  readonly connections: readonly {
    readonly channel: string;
    readonly user: string;
    readonly namespace: string;
  }[];
}

/** All that was told to a page, by what is told. */
function collected<T>(socket: Socket, event: string): T[] {
  const told: T[] = [];
  socket.on(event, (payload: T) => void told.push(payload));
  return told;
}

async function twoNodes(
  options: Parameters<typeof node>[0] = {},
): Promise<readonly [Live & { audits: readonly AuditFact[] }, Live]> {
  const hub = new MemoryHub();
  return [await node({ hub, ...options }), await node({ hub, ...options })];
}

const goodbye = (socket: Socket) => heard<[{ code: number; reason: string }]>(socket, "sluice.close");

describe("The page of one node", () => {
  test("shows all nodes with what they carry, their routes, their groups and who is in them", async () => {
    const [one, two] = await twoNodes({ version: "1.2.3" });
    await enter(one, "den", "ann");
    const bob = await enter(two, "den", "bob");
    const operator = await Operator.at(one);
    await operator.sees(
      ({ nodes }) => nodes.filter(({ state }) => state === "fresh").length === 2,
      "two nodes",
    );
    await bob.emitWithAck("say", "hi");
    const group = await operator.sees(
      ({ groups }) =>
        groups.find(
          ({ group, nodes, users = [] }) => group === "room.den" && nodes === 2 && users.length === 2,
        ),
      "who is in the group",
    );
    expect(group).toMatchObject({ members: 2, nodes: 2, present: 2 });
    expect([...(group.users ?? [])].sort()).toEqual(["ann", "bob"]);
    const [first] = operator.cluster.nodes;
    expect(first).toMatchObject({
      version: expect.any(String),
      appVersion: "1.2.3",
      phase: "serving",
      isDegraded: false,
    });
    await operator.sees(
      ({ routes }) => routes.find(({ pattern }) => pattern === "/room/:room")?.open === 2,
      "both connections by their route",
    );
  });

  test("shows a node that hangs as stale, and one that stops as stopped", async () => {
    const [one, two] = await twoNodes();
    const operator = await Operator.at(one);
    await operator.sees(({ nodes }) => nodes.length === 2, "two nodes");
    const state = () => operator.cluster.nodes.find(({ node }) => node === two.app.node)?.state;
    await two.server.stop({ atOnce: true });
    await until(() => state() === "stopped", "it has said so");
    // One that says nothing any more.
    const { layer } = one.app;
    const last = { type: "dashboard.report", v: 1, node: "n-hung", everyMs: 50, number: 1, phase: "serving" };
    layer.tellListeners("sluice.reports", last);
    await operator.sees(
      ({ nodes }) => nodes.some(({ node, state }) => node === "n-hung" && state === "stale"),
      "stale",
    );
    await operator.sees(
      ({ nodes }) => nodes.some(({ node, state }) => node === "n-hung" && state === "gone"),
      "gone",
    );
  });

  test("shows what went wrong by cause, the most frequent first", async () => {
    class Strict extends Consumer {
      override receive(event: string) {
        if (event === "break") throw new Error("a bug");
        throw new InvalidMessage("this is not what was asked for");
      }
    }
    const live = await node({ app: { routes: [route("/strict", Strict)] as never } });
    const ann = await connected(live.client("/strict"));
    for (let n = 0; n < 3; n += 1) await ann.emitWithAck("say");
    ann.emit("break");
    const operator = await Operator.at(live);
    const causes = await operator.sees(({ causes }) => causes.length > 1 && causes, "causes");
    expect(causes).toEqual([
      ["refused invalid_message", 3],
      ["failed receive", 1],
    ]);
    // So that those that are left where a report is too large are the most frequent of its node.
    for (let n = 0; n < 4; n += 1) (await connected(live.client("/strict"))).emit("break");
    await operator.sees(({ causes }) => causes[0]?.[0] === "failed receive", "it is the first");
    const { nodes } = await observe(live.app.layer, { forMs: 200 });
    expect(nodes[0]?.causes.slice(0, 2)).toEqual([
      ["failed receive", 5],
      ["refused invalid_message", 3],
    ]);
  });

  test("has its charts again after a reload", async () => {
    const live = await node({ historyMs: 60_000 });
    const first = await Operator.at(live);
    await enter(live, "den", "ann");
    await first.sees(({ nodes }) => nodes.some(({ gauges }) => gauges.connections === 2), "ann");
    first.socket.disconnect();
    const again = await Operator.at(live, first.cookie);
    expect(again.points.length).toBeGreaterThan(0);
    expect(again.points).toContainEqual(expect.objectContaining({ nodes: 1, connections: 2 }));
  });

  test("is told of many nodes in messages that are small enough, each node once", async () => {
    const maxMessageBytes = 8_192;
    const live = await node({ app: { limits: { maxMessageBytes } } });
    const operator = await Operator.at(live);
    const sizes: number[] = [];
    operator.socket.onAny((_event, payload) => sizes.push(Buffer.byteLength(JSON.stringify(payload))));
    const routes = Array.from({ length: 40 }, (_, n) => {
      return { pattern: `/route-${n}/:room`, kind: "socket", consumer: "Room", open: 1, accepted: 2 };
    });
    const causes = [["denied 4401", 3]];
    for (let n = 0; n < 60; n += 1) {
      const who = { node: `n-${n}`, everyMs: 60_000, number: 1, phase: "serving" };
      const report = { type: "dashboard.report", v: 1, ...who, routes, causes };
      live.app.layer.tellListeners("sluice.reports", {
        ...report,
        routes: routes.slice(n % 2, 20 + (n % 2)),
      });
    }
    await operator.sees(({ nodes }) => nodes.length === 61, "all nodes");
    expect(new Set(operator.cluster.nodes.map(({ node }) => node)).size).toBe(61);
    expect(operator.cluster.routes).toContainEqual(
      expect.objectContaining({ pattern: "/route-1/:room", open: 60, accepted: 120 }),
    );
    expect(operator.cluster.routes).toContainEqual(
      expect.objectContaining({ pattern: "/route-0/:room", open: 30, accepted: 60 }),
    );
    expect(operator.cluster.causes).toContainEqual(["denied 4401", 180]);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(maxMessageBytes);
  });

  test("is told nothing that is not there: no scope, header, cookie or token", async () => {
    const live = await node();
    const operator = await Operator.at(live);
    const words = collected<object>(operator.socket, "connections");
    await operator.ask("wish", { connections: "", signals: ["connected", "failed"] });
    await until(() => words.length > 0, "a list");
    const all = JSON.stringify([operator.hello, operator.points, operator.cluster, words]);
    expect(all).not.toContain(operator.token);
    expect(all).not.toContain(operator.cookie.split("=")[1]);
  });
});

describe("The tail of signals", () => {
  test("brings those of all nodes that were asked for, with the words that were asked for, and ends with its page", async () => {
    const [one, two] = await twoNodes();
    const operator = await Operator.at(one);
    const told = collected<TailEvent>(operator.socket, "tail");
    await operator.ask("wish", { signals: ["connected", "no such signal", "__proto__"], words: "DEN" });
    await until(() => two.app.signals.connected.hasReceivers, "the other node listens");
    await enter(two, "den", "ann");
    await enter(one, "den", "bob");
    await enter(one, "hall", "carl");
    const lines = () => told.flatMap(({ lines }) => lines);
    await until(() => lines().length >= 2, "two lines");
    expect(new Set(told.map(({ node }) => node))).toEqual(new Set([one.app.node, two.app.node]));
    expect(lines()).toHaveLength(2);
    for (const line of lines()) expect(line).toMatchObject({ signal: "connected", subject: "/room/den" });
    operator.socket.disconnect();
    const isQuiet = () => !two.app.signals.groupAdded.hasReceivers;
    await until(isQuiet, "nobody listens any more");
  });

  test.each(["", "storm"])(
    "counts what comes too fast, instead of bringing it, with the words %j",
    async (words) => {
      const live = await node();
      const operator = await Operator.at(live);
      const told = collected<TailEvent>(operator.socket, "tail");
      await operator.ask("wish", { signals: ["groupSent"], words });
      await until(() => live.app.signals.groupSent.hasReceivers, "it listens");
      for (let n = 0; n < 5_000; n += 1) await live.app.layer.groupEmit("storm", "drop", n);
      await until(
        () => told.reduce((sum, { lines, left }) => sum + lines.length + left, 0) === 5_000,
        "all are accounted for",
      );
      for (const { lines } of told) expect(lines.length).toBeLessThanOrEqual(40);
    },
  );

  test("is given up on all nodes as soon as its page is closed", async () => {
    const live = await node();
    const operator = await Operator.at(live);
    const wishes: (readonly string[])[] = [];
    const stop = await live.app.layer.listen("sluice.reports", (message) => {
      if (message.type === "dashboard.wish") wishes.push(message.signals as readonly string[]);
    });
    atEnd(stop);
    await operator.ask("wish", { signals: ["connected"] });
    await until(() => wishes.some(([name]) => name === "connected"), "it is wished");
    operator.socket.disconnect();
    await until(() => wishes.some(({ length }) => length === 0), "it is given up");
  });

  test("does not bring what it causes itself", async () => {
    const live = await node();
    const operator = await Operator.at(live);
    const told = collected<TailEvent>(operator.socket, "tail");
    await operator.ask("wish", { signals: ["received", "handled", "groupSent", "dropped"] });
    const ann = await enter(live, "den", "ann");
    await ann.emitWithAck("say", "hi");
    const lines = () => told.flatMap(({ lines }) => lines);
    await until(() => lines().length >= 3, "ann's lines");
    for (let n = 0; n < 3; n += 1)
      await operator.ask("wish", { signals: ["received", "handled", "groupSent", "dropped"] });
    await enter(live, "den", "bob").then((bob) => bob.emitWithAck("say", "ho"));
    await until(() => lines().length >= 6, "bob's lines");
    expect(lines().every(({ subject }) => subject === "/room/den" || subject === "room.den")).toBe(true);
  });
});

describe("Connections", () => {
  test("of all nodes are listed while somebody looks, found by words, and ended one by one", async () => {
    const [one, two] = await twoNodes();
    const operator = await Operator.at(one);
    const [ann, bob] = [await enter(one, "den", "ann"), await enter(two, "den", "bob")];
    const told = collected<ConnectionsEvent>(operator.socket, "connections");
    await operator.ask("wish", { connections: "" });
    const find = (user: string) =>
      told.flatMap(({ connections }) => connections).find((row) => row.user === user);
    expect(await until(() => find("ann"), "ann")).toMatchObject({ namespace: "/room/den" });
    const { channel } = await until(() => find("bob"), "bob");
    const ended = goodbye(bob);
    expect(await operator.act("disconnect connection", channel)).toEqual({});
    expect(await ended).toEqual([{ code: 4403, reason: "closed by an operator" }]);
    expect(ann.connected).toBe(true);
    expect(await operator.act("disconnect connection", channel)).toMatchObject({
      error: { code: "invalid_message" },
    });
    expect(one.audits.slice(1)).toEqual([
      {
        action: "disconnect connection",
        target: channel,
        by: "password",
        remoteAddress: "127.0.0.1",
        outcome: "done",
      },
      expect.objectContaining({
        action: "disconnect connection",
        outcome: "failed",
        reason: "this connection has ended already",
      }),
    ]);
    // With the space before the address: two letters alone are in a random channel now and then.
    await operator.ask("wish", { connections: "ANN 127" });
    told.length = 0;
    await until(() => told.some(({ total }) => total === 1), "ann alone");
  });

  test("of a user end on all nodes, and may come back if that is wished", async () => {
    const [one, two] = await twoNodes();
    const operator = await Operator.at(one);
    const eves = [await enter(one, "den", "eve"), await enter(two, "hall", "eve")];
    const bob = await enter(two, "den", "bob");
    const ended = eves.map(goodbye);
    await operator.act("disconnect user", "eve", { mayReturn: true });
    for (const [{ code }] of await Promise.all(ended)) expect(code).toBe(4503);
    expect(bob.connected).toBe(true);
  });

  test("are all told a notice, once each, on all nodes, whatever route they are on", async () => {
    const [one, two] = await twoNodes();
    const operator = await Operator.at(one);
    const clients = [await enter(one, "den", "ann"), await enter(two, "hall", "bob")];
    const notices = clients.map((client) => collected<{ id: string; text: string }>(client, "sluice.notice"));
    const banners: string[] = [];
    const guide = await blockOf("docs/dashboard.md", "js", "sluice.notice");
    new Function("socket", "showBanner", guide)(clients[1], (shown: string) => banners.push(shown));
    const text = "We deploy at <b>noon</b>.";
    await operator.act("send notice", text);
    await until(() => notices.every((list) => list.length > 0), "both are told");
    expect(notices.map(([notice]) => notice?.text)).toEqual([text, text]);
    expect(notices[0]?.[0]?.id).toBe(notices[1]?.[0]?.id);
    expect(banners).toEqual([text]);
    expect(one.audits.at(-1)).toMatchObject({ action: "send notice", target: text, outcome: "done" });
  });

  test("are told no notice without words, whichever node says one", async () => {
    const [one, two] = await twoNodes();
    const ann = await enter(one, "den", "ann");
    const notices = collected<{ text: string }>(ann, "sluice.notice");
    for (const text of [undefined, "  ", { toString: "x" }, "words"]) {
      two.app.layer.tellListeners("sluice.reports", { type: "dashboard.notice", id: "n", text, at: 1 });
    }
    await until(() => notices.length > 0, "ann is told");
    expect(notices.map(({ text }) => text)).toEqual(["words"]);
  });

  test.each([
    ["no action", undefined, "x"],
    ["an action of the prototype", "constructor", "x"],
    ["no target", "disconnect user", undefined],
    ["an empty target", "disconnect user", "  "],
    ["a giant target", "send notice", "x".repeat(60_000)],
    ["a target that is no text", "disconnect user", { toString: "x" }],
    ["a channel that is none", "disconnect connection", "../../etc/passwd"],
    ["tasks where there are none", "cancel task", "default.x"],
  ])("are not touched by %s", async (_what, action, target) => {
    const live = await node();
    const operator = await Operator.at(live);
    const ann = await enter(live, "den", "ann");
    const answer = await operator.ask("act", { action, target });
    expect(answer.error?.code).toMatch(/^invalid_/);
    expect(ann.connected).toBe(true);
  });

  test("what is done too fast is refused, and what is unknown", async () => {
    const operator = await Operator.at(await node());
    const answers = await Promise.all(Array.from({ length: 30 }, () => operator.act("disconnect user", "x")));
    expect(answers.filter(({ error }) => error?.code === "rate_limited").length).toBeGreaterThan(10);
    expect(await operator.ask("steal", {})).toMatchObject({ error: { code: "no_handler" } });
  });

  test("what cannot be done is refused, and leaves a line of who wanted what, too", async () => {
    const live = await node();
    const operator = await Operator.at(live);
    for (const payload of [
      { action: "toString", target: "x" },
      { action: "send notice", target: " " },
      null,
    ]) {
      expect(await operator.ask("act", payload)).toMatchObject({ error: { code: "invalid_message" } });
    }
    const lines = live.audits.slice(1).map(({ action, by, outcome }) => [action, by, outcome]);
    expect(lines).toEqual([
      ["toString", "password", "failed"],
      ["send notice", "password", "failed"],
      ["", "password", "failed"],
    ]);
  });
});

test("what is done stands in the log, made printable", async () => {
  const live = await node();
  const lines: string[] = [];
  logSignals(live.app.signals, createLogger("info", { write: (line) => void lines.push(line) }));
  const operator = await Operator.at(live);
  await operator.act("disconnect user", "eve\nroot logged in");
  await login(live, "wrong password");
  const audit = lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === "audit");
  expect(audit).toEqual([
    expect.objectContaining({ action: "login", outcome: "done", level: 30 }),
    expect.objectContaining({
      action: "disconnect user",
      target: "eve\\u000aroot logged in",
      outcome: "done",
    }),
    expect.objectContaining({ action: "login", outcome: "refused", reason: "wrong password", level: 40 }),
  ]);
  expect(lines.join()).not.toContain("open, sesame");
});

test("a client cannot join, read or write the group of the reports, whatever its consumer lets it name", async () => {
  class Careless extends Room {
    override async connect() {}
    override async receive(event: string, payload: unknown) {
      if (event === "join") await this.groupAdd(String(payload));
      if (event === "emit") await this.groupEmit(String(payload), "x", 1);
      if (event === "send") await this.groupSend(String(payload), { type: "dashboard.report" } as never);
      return "ok";
    }
  }
  const live = await node({
    app: { routes: [route("/room/:room", Careless, { middleware: [identify] })] as never },
  });
  const client = await enter(live, "den", "eve");
  for (const verb of ["join", "emit", "send"]) {
    const answer = await client.emitWithAck(verb, "sluice.reports");
    expect([verb, answer.error?.code]).toEqual([verb, "invalid_name"]);
  }
  await expect(live.app.layer.groupEmit("sluice.reports", "x")).rejects.toThrow("belongs to the framework");
});

test("observe tells how the cluster stands to a process that is none of its nodes, also without any page", async () => {
  const hub = new MemoryHub();
  const one = await node({ hub, password: undefined });
  await node({ hub, password: undefined });
  await enter(one, "den", "ann");
  const app = createApplication({ routes: [], backplane: new MemoryBackplane(hub) });
  await app.start();
  atEnd(() => app.stop());
  const { nodes, groups } = await observe(app.layer, { forMs: 300 });
  expect(nodes.map(({ state }) => state)).toEqual(["fresh", "fresh"]);
  expect(nodes.reduce((sum, { gauges }) => sum + gauges.connections, 0)).toBe(1);
  expect(groups).toContainEqual(expect.objectContaining({ group: "room.den", members: 1, users: ["ann"] }));
  await until(() => app.sizes.topics === 0, "nothing is heard any more");
  expect(app.sizes).toMatchObject({ groups: 0, channels: 0 });
});

describe("Over Redis", () => {
  let redis: RedisServer;
  const begin = async () => {
    redis = await RedisServer.start();
    atEnd(() => redis.close());
  };
  const backplane = () => new RedisBackplane({ url: redis.url, heartbeatMs: 50, subscribeTimeoutMs: 300 });

  redisTest("encrypted nodes report, obey, and show that they are alone while it is away", async () => {
    if (!hasRedis) return;
    await begin();
    const encryptionKeys = KEYS[0];
    const [one, two] = await Promise.all(
      [1, 2].map(() => node({ app: { backplane: backplane(), encryptionKeys, groups: {} } })),
    );
    if (one === undefined || two === undefined) throw new Error("two nodes");
    const operator = await Operator.at(one);
    await operator.sees(({ nodes }) => nodes.length === 2, "two nodes");
    const bob = await enter(two, "den", "bob");
    const ended = goodbye(bob);
    await operator.act("disconnect user", "bob");
    expect((await ended)[0].code).toBe(4403);
    await redis.end();
    await operator.sees(({ nodes }) => nodes.some(({ isDegraded }) => isDegraded), "it is alone");
    await operator.sees(({ nodes }) => nodes.some(({ state }) => state === "stale"), "the other is stale");
    expect(await operator.act("disconnect user", "eve")).toMatchObject({
      error: { code: "layer_unavailable" },
    });
    await redis.begin();
    await operator.sees(
      ({ nodes }) => nodes.filter(({ state, isDegraded }) => state === "fresh" && !isDegraded).length === 2,
      "both are back",
    );
  });
});
