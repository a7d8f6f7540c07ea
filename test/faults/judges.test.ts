import { describe, expect, test } from "@jest/globals";
import { kindOf } from "./groups.ts";
import { judgeLogged } from "./logged-judge.ts";
import { judgePlain } from "./plain-judge.ts";
import { planOf } from "./plan.ts";
import { judgePresence } from "./presence-judge.ts";
import type { ClientRecord, Entry, Place, Publish, Records } from "./records.ts";

const CHAT = "chat.a";
const OPEN = "open.a";

function place(offset: number, epoch = "e"): Place {
  return { epoch, offset, id: offset === 0 ? "" : `${epoch}${offset}` };
}
function joined(offset: number, recovered = false, epoch = "e"): Told {
  return { kind: "joined", group: CHAT, place: place(offset, epoch), recovered };
}
function sees(offset: number, publish = offset, epoch = "e"): Told {
  return { kind: "event", group: CHAT, publish, place: place(offset, epoch) };
}
function gap(reason: string, offset: number, epoch = "e"): Told {
  return { kind: "gap", group: CHAT, reason, place: place(offset, epoch) };
}
function hears(publish: number): Told {
  return { kind: "event", group: OPEN, publish };
}
const connected: Told = { kind: "connected", groups: [CHAT, OPEN], node: "n2" };
const disconnected: Told = { kind: "disconnected" };

type Told = Entry extends infer E ? (E extends Entry ? Omit<E, "at"> : never) : never;

function client(name: string, ...told: readonly Told[]): ClientRecord {
  return { name, entries: told.map((entry, at) => ({ at, ...entry }) as Entry) };
}

/** Publishes 0, 1, 2, ... after everybody has come, by one sender. */
function records(
  group: string,
  count: number,
  clients: readonly ClientRecord[],
  more: Partial<Records> = {},
): Records {
  const publishes = Array.from(
    { length: count },
    (_, number): Publish => ({
      ...{ number, group, verb: "emit", sender: "n1", node: "n1" },
      ...{ startedAt: 10 + number, endedAt: 11 + number, outcome: "acknowledged" },
    }),
  );
  const policies = new Map([CHAT, OPEN].map((name) => [name, kindOf(name)]));
  return {
    ...{ clients, publishes, losses: [], killed: [], amnesias: [], policies, endedAt: 100_000 },
    ...more,
  };
}

/** Publish 0 is nobody's; offsets begin at 1. */
function judged(count: number, ...clients: readonly ClientRecord[]): readonly string[] {
  const given = records(CHAT, count + 1, clients);
  const publishes = given.publishes.map((publish) =>
    publish.number === 0 ? { ...publish, outcome: "unknown" as const } : publish,
  );
  return judgeLogged({ ...given, publishes }).broken;
}

describe("of groups with history it is found", () => {
  const good = client("ann", connected, joined(0), sees(1), sees(2), sees(3));

  test("nothing, when all is well, also after a recovery and over a gap that was told", () => {
    const back = client(
      "bob",
      connected,
      joined(0),
      sees(1),
      disconnected,
      connected,
      joined(1, true),
      sees(2),
      sees(3),
    );
    const told = client("eve", connected, joined(0), gap("trimmed", 2), joined(2, true), sees(3));
    expect(judged(3, good, back, told)).toEqual([]);
  });

  test.each<[string, RegExp, readonly Told[]]>([
    ["twice", /DUPLICATE/, [joined(0), sees(1), sees(1), sees(2), sees(3)]],
    ["out of order", /DUPLICATE or out of order/, [joined(0), sees(1), sees(3), sees(2)]],
    ["a hole", /HOLE/, [joined(0), sees(1), sees(3)]],
    ["the end missing", /NEVER SAW 3/, [joined(0), sees(1), sees(2)]],
    ["a place of another log", /TWICE in the log/, [joined(0), sees(1), sees(2), sees(3, 3, "f")]],
    ["another log without a word", /ANOTHER LOG/, [joined(0), sees(1), sees(1, 2, "f"), sees(2, 3, "f")]],
    ["a new start in silence", /without a gap/, [joined(0), sees(1), disconnected, connected, joined(3)]],
    [
      "a gap without anything in it",
      /told of a gap/,
      [joined(0), sees(1), gap("trimmed", 1), sees(2), sees(3)],
    ],
    [
      "going on without a word",
      /before it was told/,
      [joined(0), sees(1), disconnected, connected, sees(2), sees(3)],
    ],
    ["a thing nobody said", /nobody published/, [joined(0), sees(1), sees(2), sees(3), sees(4, 99)]],
    [
      "a message after leaving",
      /where it is not/,
      [joined(0), { kind: "leaving", group: CHAT }, { kind: "left", group: CHAT }, sees(1)],
    ],
  ])("%s", (name, broken, told) => {
    expect(
      judged(
        3,
        ...(name === "another log without a word" ? [] : [good]),
        client("bob", connected, ...told),
      ).join("\n"),
    ).toMatch(broken);
  });

  test("another order, or one message at two places", () => {
    const other = client("bob", connected, joined(0), sees(1, 2), sees(2, 1), sees(3));
    expect(judged(3, good, other).join("\n")).toMatch(/ANOTHER ORDER/);
    const twice = client("bob", connected, joined(0), sees(1), sees(2), sees(3), sees(4, 3));
    expect(judged(3, good, twice).join("\n")).toMatch(/TWICE in the log/);
  });

  test("nothing in a gap that reaches over what was missed, and something in one that does not", () => {
    const over = client("bob", connected, joined(0), gap("trimmed", 2), joined(2, true), sees(3));
    const short = client("bob", connected, joined(0), gap("trimmed", 1), joined(1, true), sees(3));
    expect(judged(3, good, over)).toEqual([]);
    expect(judged(3, good, short).join("\n")).toMatch(/HOLE(?:.|\n)*NEVER SAW 2/);
  });

  test("a message that a newcomer was not given, but not who came and went between those it was", () => {
    const news = (told: Told): Told => ("group" in told ? { ...told, group: "news.a" } : told);
    const parts = [1, 2].map((part): Told => ({ ...sees(12, 6), part }) as Told);
    const told = [joined(0), ...[1, 2, 3, 4].map((n) => sees(n)), sees(6, 5), ...parts];
    const bob = client("bob", ...[connected, ...told].map(news), {
      ...{ kind: "position", group: "news.a", place: place(12) },
    } as Told);
    const policies = new Map([["news.a", kindOf("news.a")]]);
    const judge = (more: Partial<Records>, ...others: readonly ClientRecord[]) =>
      judgeLogged(records("news.a", 8, [bob, ...others], { policies, ...more })).broken.join("\n");
    expect(judge({}).replace(/.*NEVER SAW.*\n?/g, "")).toBe("");
    const seen = client("ann", ...[connected, joined(6), sees(7)].map(news));
    expect(judge({}, seen)).toMatch(/HOLE/);
    // What she saw there stood in a log that was set back.
    expect(judge({ amnesias: [12] }, seen)).not.toMatch(/HOLE/);
  });

  test("what nobody saw, unless Redis has forgotten it", () => {
    const nobody = client("bob", connected, joined(0));
    const given = records(CHAT, 1, [nobody]);
    expect(judgeLogged(given).broken.join()).toMatch(/NEVER SAW 0.*nobody saw it/);
    expect(judgeLogged({ ...given, amnesias: [50] }).broken).toEqual([]);
  });
});

describe("of groups without history it is found", () => {
  const judge = (more: Partial<Records>, ...told: readonly Told[]) =>
    judgePlain(records(OPEN, 3, [client("ann", connected, ...told)], more)).broken.join("\n");

  test("nothing, when all is well", () => {
    expect(judge({}, hears(0), hears(1), hears(2))).toBe("");
  });

  test("twice, out of order, never said", () => {
    expect(judge({}, hears(0), hears(0), hears(1), hears(2))).toMatch(/TWICE/);
    expect(judge({}, hears(1), hears(0), hears(2))).toMatch(/AFTER/);
    expect(judge({}, hears(0), hears(1), hears(2), hears(7))).toMatch(/nobody published/);
  });

  test("a loss, unless somebody spoke of it or it went down with its node", () => {
    expect(judge({}, hears(0), hears(2))).toMatch(/SPOKE OF A LOSS/);
    expect(
      judge({ losses: [{ at: 20, node: "n1", fact: "dropped", group: OPEN }] }, hears(0), hears(2)),
    ).toBe("");
    expect(judge({ losses: [{ at: 20, node: "n2", fact: "lost" }] }, hears(0), hears(2))).toBe("");
    expect(judge({ losses: [{ at: 20, node: "n3", fact: "lost" }] }, hears(0), hears(2))).toMatch(/LOSS/);
    expect(judge({ killed: [{ at: 20, node: "n1" }] }, hears(0), hears(2))).toBe("");
  });
});

describe("of who comes and goes it is found", () => {
  const lists = (...users: string[]): Told => ({ kind: "list", group: OPEN, users });
  const tells = (type: "join" | "leave", user: string): Told => ({
    ...{ kind: "presence", group: OPEN, type, user },
  });
  const judge = (...told: readonly Told[]) => {
    const users = ["ann", "bob", "eve"].map((user) => ({ name: user, user, entries: [] }));
    const given = records(OPEN, 0, [client("dan", connected, ...told), ...users]);
    return judgePresence(given).broken.join("\n");
  };

  test("nothing, when all is well, and nothing about what was told on another connection", () => {
    const told = [tells("join", "ann"), lists("ann", "bob"), tells("leave", "bob"), tells("join", "bob")];
    expect(judge(...told, lists("bob", "ann"))).toBe("");
    expect(judge(...told, disconnected, connected, tells("join", "ann"), lists("ann", "eve"))).toBe("");
    const missed: Told = { kind: "gap", group: OPEN, reason: "ahead", place: place(0) };
    expect(judge(...told, missed, lists("eve"))).toBe("");
    const again: Told[] = [{ kind: "joining", group: OPEN }, lists("eve"), tells("join", "ann")];
    expect(judge(...told, { kind: "leaving", group: OPEN }, { kind: "left", group: OPEN }, ...again)).toBe(
      "",
    );
  });

  test.each<[string, RegExp, readonly Told[]]>([
    ["a second join", /TWICE of a join of ann/, [tells("join", "ann"), tells("join", "ann")]],
    ["a join of one who is there", /TWICE of a join of ann/, [lists("ann"), tells("join", "ann")]],
    ["a leave of one who is not", /TWICE of a leave of bob/, [lists("ann"), tells("leave", "bob")]],
    ["a second leave", /TWICE of a leave/, [tells("leave", "ann"), tells("leave", "ann")]],
    ["a list with somebody new", /bob in the list.*WITHOUT/, [lists("ann"), lists("ann", "bob")]],
    ["a list without somebody", /ann no more in/, [tells("join", "ann"), lists("bob")]],
    ["who is nobody", /nobody/, [tells("join", "zoe")]],
    ["word from a group that was left", /has left/, [{ kind: "left", group: OPEN }, tells("join", "ann")]],
  ])("%s", (_what, broken, told) => {
    expect(judge(...told)).toMatch(broken);
  });
});

test("a plan is decided by its seed", () => {
  const settings = { seed: 5, durationMs: 20_000, clients: 10, nodes: 3, topology: "single" as const };
  expect(planOf(settings)).toEqual(planOf(settings));
  expect(planOf({ ...settings, seed: 6 })).not.toEqual(planOf(settings));
});
