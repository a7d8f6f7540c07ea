/** Reports: what is believed of them, and what becomes of a node that sends none. */
import { describe, expect, test } from "@jest/globals";
import { CloseCode, type Message } from "sluice";
import { Cluster } from "../../src/dashboard/cluster.ts";
import { shapeOf } from "../../src/dashboard/desk.ts";
import { lineOf } from "../../src/dashboard/lines.ts";
import { inWords } from "../../src/dashboard/page/causes.js";
import { pictureOf, piecesOf } from "../../src/dashboard/picture.ts";
import { bounds, COUNTS, type NodeReport, readReport, toMessage } from "../../src/dashboard/report.ts";
import { pointOf, Timeline } from "../../src/dashboard/timeline.ts";

function report(more: Partial<NodeReport> = {}): NodeReport {
  const zeros = Object.fromEntries(COUNTS.map((name) => [name, 0]));
  return {
    ...{ node: "n-1", host: "web-1", pid: 7, version: "0.1.0", appVersion: "", runtime: "Node.js" },
    ...{ startedAt: 1_000, everyMs: 1_000, number: 1, phase: "serving", isDegraded: false },
    counts: zeros as NodeReport["counts"],
    gauges: { connections: 0 } as NodeReport["gauges"],
    ...{ causes: [], routes: [], groups: [], tasks: [] },
    ...more,
  };
}

const travelled = (message: Message): Message => JSON.parse(JSON.stringify(message));

describe("A report", () => {
  test("is read as it was said", () => {
    const said = report({
      causes: [["denied 4401", 3]],
      routes: [{ pattern: "/chat/:room", kind: "socket", consumer: "Chat", open: 2, accepted: 9 }],
      groups: [{ layer: "default", group: "chat.a", members: 2, sent: 5, present: 1, users: ["ann"] }],
      tasks: [{ task: "mail", done: 1, failed: 2, retried: 3 }],
    });
    const read = readReport(travelled(toMessage(said)));
    expect(read).toEqual({ ...said, gauges: expect.objectContaining({ connections: 0, cpu: 0 }) });
  });

  test("with lists beyond all measure is cut until it fits", () => {
    const long = "x".repeat(bounds.text);
    const users = Array.from({ length: bounds.users }, (_, n) => `${long}${n}`.slice(-bounds.text));
    const groups = Array.from({ length: bounds.groups }, (_, n) => {
      return { layer: "default", group: `${long}${n}`.slice(-99), members: 1, sent: 1, present: 9, users };
    });
    const routes = Array.from({ length: bounds.routes }, () => {
      return { pattern: long, kind: "socket", consumer: long, open: 1, accepted: 1 };
    });
    const message = toMessage(report({ groups, routes }));
    expect(Buffer.byteLength(JSON.stringify(message))).toBeLessThan(bounds.bytes + 200);
    expect(readReport(travelled(message))?.groups.length).toBeGreaterThan(0);
  });

  test.each([
    ["another version", { v: 2 }],
    ["no name", { node: "" }],
    ["markup for a name", { node: "<img src=x onerror=alert(1)>" }],
    ["a name of its prototype", { node: ["n-1"] }],
    ["no period", { everyMs: 0 }],
    ["a period without end", { everyMs: Number.MAX_SAFE_INTEGER }],
  ])("with %s is none", (_what, wrong) => {
    expect(readReport(travelled({ ...toMessage(report()), ...wrong } as Message))).toBeUndefined();
  });

  test("that is forged is cut to what a report can be, and names nothing of ours", () => {
    const forged = JSON.parse(`{
      "type": "dashboard.report", "v": 1, "node": "n-evil", "everyMs": 1000, "number": "7",
      "startedAt": -5, "host": ${JSON.stringify("h".repeat(5_000))}, "pid": 1e300,
      "__proto__": { "isAdmin": true }, "constructor": { "prototype": { "isAdmin": true } },
      "counts": { "__proto__": { "accepted": 9 }, "accepted": "many", "received": null },
      "gauges": { "connections": -3, "cpu": { "valueOf": 1 } },
      "causes": [["__proto__", 1], "x", [{}, {}]],
      "routes": ${JSON.stringify(Array(5_000).fill({ pattern: "/x", open: 1 }))},
      "groups": [{ "group": "__proto__", "members": 1, "users": ${JSON.stringify(Array(900).fill("u"))} }],
      "tasks": { "length": 3 }
    }`) as Message;
    const read = readReport(forged) as NodeReport;
    expect(read.host).toHaveLength(bounds.text);
    expect(read).toMatchObject({ startedAt: 0, pid: 0, number: 0 });
    expect(read.counts.accepted).toBe(0);
    expect(read.gauges).toMatchObject({ connections: 0, cpu: 0 });
    expect(read.routes).toHaveLength(bounds.routes);
    expect(read.groups[0]?.users).toHaveLength(bounds.users);
    expect(read.tasks).toEqual([]);
    expect(({} as { isAdmin?: unknown }).isAdmin).toBeUndefined();
    const cluster = new Cluster(() => 0);
    cluster.hear(read);
    expect(cluster.state.groups).toEqual([expect.objectContaining({ group: "__proto__" })]);
    expect(Object.keys(read)).not.toContain("constructor");
  });
});

describe("A cluster", () => {
  test("knows a node that is silent as stale, then as gone, and at last not at all", () => {
    let now = 0;
    const cluster = new Cluster(() => now);
    cluster.hear(report());
    const state = () => cluster.state.nodes[0]?.state;
    expect(state()).toBe("fresh");
    now = 3_001;
    expect(state()).toBe("stale");
    now = 10_001;
    expect(state()).toBe("gone");
    now = 400_000;
    expect(state()).toBeUndefined();
  });

  test("tells one that stopped from one that hangs", () => {
    let now = 0;
    const cluster = new Cluster(() => now);
    cluster.hear(report());
    cluster.hear(report({ number: 2, phase: "stopped" }));
    now = 30_000;
    expect(cluster.state.nodes[0]?.state).toBe("stopped");
    now = 70_000;
    expect(cluster.state.nodes).toEqual([]);
  });

  test("counts per second between two reports, and not what a stale node said", () => {
    let now = 0;
    const cluster = new Cluster(() => now);
    const counts = (received: number) => ({ ...report().counts, received });
    cluster.hear(report({ counts: counts(100) }));
    now = 2_000;
    cluster.hear(report({ number: 2, counts: counts(150) }));
    expect(cluster.state.nodes[0]?.rates.received).toBe(25);
    expect(pointOf(cluster.state).received).toBe(25);
    // Twice, or late: nothing new.
    cluster.hear(report({ number: 1, counts: counts(0) }));
    expect(cluster.state.nodes[0]?.counts.received).toBe(150);
    now = 6_000;
    expect(cluster.state.nodes[0]?.rates.received).toBe(0);
    expect(pointOf(cluster.state).nodes).toBe(0);
  });

  test("is a point of the charts: sums over fresh nodes, and of delays the worst", () => {
    let now = 0;
    const cluster = new Cluster(() => now);
    const names = ["denied", "refused", "limited", "failed", "dropped", "lost", "tasksDone", "tasksFailed"];
    const counts = (factor: number) =>
      Object.fromEntries(
        COUNTS.map((name) => [name, factor * 10 ** (names.indexOf(name) + 1)]),
      ) as NodeReport["counts"];
    const gauges = (connections: number, loopMs: number) => ({ connections, loopMs }) as NodeReport["gauges"];
    const hear = (number: number) => {
      cluster.hear(report({ node: "n-1", number, counts: counts(number), gauges: gauges(2, 7) }));
      cluster.hear(report({ node: "n-2", number, counts: counts(number), gauges: gauges(3, 5.00049) }));
    };
    hear(1);
    now = 1_000;
    hear(2);
    const backlog = { waiting: 1, delayed: 2, running: 3 };
    expect(pointOf(cluster.state, backlog)).toEqual({
      ...{ at: expect.any(Number), nodes: 2, connections: 5, loopMs: 7, backlog },
      ...{ received: 2, sent: 2, delivered: 2, denied: 2_220, trouble: 2_220_000 },
      ...{ tasksDone: 20_000_000, tasksFailed: 200_000_000 },
    });
  });

  test("adds up a group over nodes, and takes its users once", () => {
    const cluster = new Cluster(() => 0);
    const group = { layer: "default", group: "chat", members: 3, sent: 10, present: 2 };
    cluster.hear(report({ groups: [{ ...group, users: ["ann", "bob"] }] }));
    cluster.hear(report({ node: "n-2", groups: [{ ...group, members: 1, users: ["bob"] }] }));
    expect(cluster.state.groups).toEqual([
      {
        layer: "default",
        group: "chat",
        members: 4,
        sentPerSecond: 20,
        nodes: 2,
        present: 2,
        users: ["ann", "bob"],
      },
    ]);
  });

  test("says who may have missed something: whoever is new, and whoever was silent", () => {
    let now = 0;
    const cluster = new Cluster(() => now);
    const heard = [cluster.hear(report()), cluster.hear(report({ number: 2 }))];
    now = 3_001;
    heard.push(cluster.hear(report({ number: 2 })), cluster.hear(report({ number: 3 })));
    expect(heard).toEqual([true, false, false, true]);
  });

  test("has the groups of nodes that are stale, and not of those that have gone or stopped", () => {
    let now = 0;
    const cluster = new Cluster(() => now);
    const groups = (group: string) => [{ layer: "default", group, members: 1, sent: 0 }];
    cluster.hear(report({ node: "n-1", groups: groups("of.one") }));
    cluster.hear(report({ node: "n-2", groups: groups("of.two"), phase: "stopped" }));
    const names = () => cluster.state.groups.map(({ group }) => group);
    now = 3_001;
    expect(names()).toEqual(["of.one"]);
    now = 10_001;
    expect(names()).toEqual([]);
  });

  test("takes so many nodes and no more", () => {
    const cluster = new Cluster(() => 0);
    for (let n = 0; n < 2_000; n += 1) cluster.hear(report({ node: `n-${n}` }));
    expect(cluster.state.nodes).toHaveLength(500);
  });

  test("that is full shows a newcomer in place of one that has gone, the longest silent, and of no other", () => {
    let now = 0;
    const cluster = new Cluster(() => now);
    const has = (node: string) => cluster.state.nodes.some((known) => known.node === node);
    cluster.hear(report({ node: "n-gone" }));
    now = 5_000;
    for (let n = 0; n < 498; n += 1) cluster.hear(report({ node: `n-${n}` }));
    cluster.hear(report({ node: "n-stopped", phase: "stopped" }));
    now = 11_000;
    expect([cluster.hear(report({ node: "n-new" })), has("n-new"), has("n-gone")]).toEqual([
      true,
      true,
      false,
    ]);
    expect([cluster.hear(report({ node: "n-newer" })), has("n-newer"), has("n-stopped")]).toEqual([
      ...[true, true, false],
    ]);
    expect([cluster.hear(report({ node: "n-newest" })), has("n-newest")]).toEqual([false, false]);
    expect(cluster.state.nodes).toHaveLength(500);
  });

  test("keeps so many points and no more", () => {
    const timeline = new Timeline(60_000, 1_000);
    const point = pointOf(new Cluster().state);
    for (let n = 0; n < 500; n += 1) timeline.add({ ...point, at: n });
    expect(timeline.points).toHaveLength(60);
    expect(timeline.points.at(-1)?.at).toBe(499);
  });

  test("goes back as far as it is told, with fewer points where there would be too many", () => {
    const timeline = new Timeline(21_600_000, 2_000);
    const point = pointOf(new Cluster().state);
    for (let at = 0; at < 30_000_000; at += 2_000) timeline.add({ ...point, at });
    const { length, 0: first } = timeline.points;
    expect(length).toBe(1_800);
    expect(30_000_000 - (first?.at ?? 0)).toBeGreaterThanOrEqual(21_590_000);
  });
});

describe("A picture of the cluster", () => {
  test("travels in pieces of which none is too large, and without what fits into none", () => {
    const lists = { some: ["a".repeat(30), "b".repeat(30), "c".repeat(500), "d"], others: [1, 2] };
    const pieces = piecesOf(lists, 42);
    expect(pieces.map(({ some, others }) => [some.map((text) => text[0]).join(""), others])).toEqual([
      ["a", []],
      ["bd", [1, 2]],
    ]);
    expect(pieces.map(({ part, isLast }) => [part, isLast])).toEqual([
      [0, false],
      [1, true],
    ]);
    expect(piecesOf({ none: [] }, 40)).toEqual([{ none: [], part: 0, isLast: true }]);
  });

  test("names so many users of a group and no more, though each node names others", () => {
    const cluster = new Cluster(() => 0);
    for (const node of ["n-1", "n-2", "n-3"]) {
      const users = Array.from({ length: bounds.users }, (_, n) => `${node}-${n}`);
      const group = { layer: "default", group: "chat", members: 12, sent: 0, present: 36, users };
      cluster.hear(report({ node, groups: [group] }));
    }
    const [group] = pictureOf(cluster.state).groups;
    expect([group?.present, group?.users?.length]).toEqual([36, 12]);
  });

  test("has so many routes and no more, and adds up those of nodes that report", () => {
    let now = 0;
    const cluster = new Cluster(() => now);
    const routesFrom = (first: number) =>
      Array.from({ length: 100 }, (_, n) => {
        return { pattern: `/${first + n}`, kind: "socket", consumer: "Chat", open: 2, accepted: 3 };
      });

    cluster.hear(report({ node: "n-stale", routes: routesFrom(0) }));
    now = 3_500;
    for (const [node, first] of [
      ["n-1", 0],
      ["n-2", 0],
      ["n-3", 100],
      ["n-4", 200],
    ] as const) {
      cluster.hear(report({ node, routes: routesFrom(first) }));
    }
    // A worker has the table, too, but nobody comes there.
    cluster.hear(report({ node: "n-worker", phase: "works", routes: routesFrom(0) }));
    const { routes } = pictureOf(cluster.state);
    expect(routes).toHaveLength(200);
    expect(routes[0]).toEqual({
      ...{ pattern: "/0", kind: "socket", consumer: "Chat" },
      ...{ open: 4, accepted: 6, nodes: 2 },
    });
  });
});

test("a line of a signal is cut, printable, and has neither headers nor what was sent", () => {
  const scope = {
    namespace: "/chat",
    user: "u\u202e1",
    headers: { cookie: "secret" },
    auth: { token: "secret" },
  };
  const error = new Error(`<script>alert(1)</script>\n${"x".repeat(9_000)}`);
  const line = lineOf("failed", { route: "/chat", hook: "receive", error, scope, channel: "n!1" }, String);
  expect(line).toMatchObject({ subject: "/chat", tone: "bad", channel: "n!1", user: "u\\u202e1" });
  expect(line.detail.length).toBeLessThan(320);
  expect(line.detail).not.toContain("\n");
  expect(JSON.stringify(line)).not.toContain("secret");
});

test.each([
  ["client", 4000, "the client left", "the client left (4000), after 3 s", "plain"],
  ["transport", 4001, "ping timeout", "it answered no more (4001, ping timeout), after 3 s", "plain"],
  ["transport", 4001, "the stream broke", "the stream broke (4001), after 3 s", "plain"],
  ["closed", 4403, "no more", "closed: no more (4403), after 3 s", "plain"],
  ["limit", 4513, "too slow", "limit: too slow (4513), after 3 s", "bad"],
])(
  "a connection that ended by %s %i is told in words, with the code beside",
  (kind, code, message, detail, tone) => {
    const fact = { scope: { namespace: "/chat" }, reason: { kind, code, message }, lastedMs: 3_000 };
    expect(lineOf("disconnected", fact, String)).toMatchObject({ subject: "/chat", detail, tone });
  },
);

test.each(Object.entries(CloseCode))("the page has words of its own for the close code %s", (_name, code) => {
  const { words, code: shown } = inWords(`denied ${code}`);
  expect(words).toMatch(/^Connection refused: (?!for )/);
  expect(shown).toBe(String(code));
});

test.each([
  ["denied 4499", "Connection refused: for a reason of the application", "4499"],
  ["refused room_full", "Event refused", "room_full"],
  ["dropped mailbox-full", "Dropped: the consumer's mailbox was full", "mailbox-full"],
  ["lost", "Messages of other nodes lost", ""],
  ["limited constructor", "Limit met", "constructor"],
  ["of a newer node", "of a newer node", ""],
])("the cause %j is %j in words", (cause, words, code) => {
  expect(inWords(cause)).toEqual({ words, code });
});

test.each([
  ["has no prototype", Object.create(null)],
  ["has no words", { toString: () => Symbol("x") }],
  ["is an error with a strange name", Object.assign(new Error("broken"), { name: Symbol("x") })],
])("a line is told of what was thrown and %s", (_what, error) => {
  const line = lineOf("failed", { route: "/chat", hook: "receive", error }, String);
  expect(line.detail).toMatch(/^receive: (thrown: something|Error: broken)/);
});

test("of the arguments of a task the shape is shown, and no value", () => {
  const value = JSON.parse(
    '{"card":"4111 1111","n":7,"list":[1,2],"deep":{"a":{"b":{"c":1}}},"__proto__":{"x":1}}',
  );
  const shape = shapeOf(value);
  expect(shape).toMatchObject({ card: "text of 9", n: "number", list: "list of 2" });
  expect(JSON.stringify(shape)).not.toContain("4111");
  expect(({} as { x?: unknown }).x).toBeUndefined();
});
