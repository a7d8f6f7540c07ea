import { beforeEach, describe, expect, test } from "@jest/globals";
import type { PresenceChange, PresentUser } from "../../src/layer/presence-store.ts";
import { Roster } from "../../src/layer/roster.ts";

let told: string[];
let roster: Roster;
beforeEach(() => {
  told = [];
  roster = new Roster((type, { user }) => told.push(`${type} ${user}`));
});

const user = (name: string, info = ""): PresentUser => ({ user: name, info, connections: 1 });

function change(kind: PresenceChange["kind"], name: string, before: number, version: number, info = "") {
  return { kind, before, version, ...user(name, info) };
}

function read(version: number, ...users: PresentUser[]): void {
  roster.beginReading();
  roster.replace({ version, users });
}

test("the first list is where telling begins; what was heard before it and is in it is not told", () => {
  roster.hear(change("join", "ann", 0, 5));
  roster.hear(change("join", "cid", 7, 8));
  read(7, user("ann"), user("bob"));
  expect(told).toEqual(["join cid"]);
  expect(roster.users.map(({ user: name }) => name)).toEqual(["ann", "bob", "cid"]);
  expect(roster.hasHole).toBe(false);
});

test("a change that comes before its predecessor waits for it", () => {
  read(1, user("ann"));
  roster.hear(change("leave", "bob", 2, 3));
  expect([told, roster.hasHole]).toEqual([[], true]);
  roster.hear(change("join", "bob", 1, 2));
  expect([told, roster.hasHole]).toEqual([["join bob", "leave bob"], false]);
});

test("what was heard already changes nothing, and a hole is filled by the list", () => {
  read(1, user("ann"));
  roster.hear(change("join", "bob", 1, 2));
  roster.hear(change("join", "bob", 1, 2));
  roster.hear(change("leave", "ann", 0, 1));
  expect([told, roster.hasHole]).toEqual([["join bob"], false]);
  roster.hear(change("join", "dan", 3, 4));
  expect(roster.hasHole).toBe(true);
  read(4, user("bob"), user("cid"), user("dan"));
  expect([told, roster.hasHole]).toEqual([["join bob", "leave ann", "join cid", "join dan"], false]);
});

test("while the list is being read nothing is told that it might contradict", () => {
  read(1, user("ann"));
  roster.beginReading();
  roster.hear(change("leave", "ann", 1, 2));
  roster.hear(change("join", "bob", 0, 4));
  expect(told).toEqual([]);
  roster.replace({ version: 3, users: [] });
  expect(told).toEqual(["leave ann", "join bob"]);
});

test("the first user of an empty group needs no predecessor, in one that is not empty it does", () => {
  read(10);
  roster.hear(change("join", "ann", 0, 12));
  expect(told).toEqual(["join ann"]);
  roster.hear(change("join", "bob", 0, 15));
  expect([told, roster.hasHole]).toEqual([["join ann"], true]);
});

test("a list of a store that has lost its state is believed, though its version is lower", () => {
  read(10, user("ann"), user("bob"));
  read(3, user("bob"));
  roster.hear(change("join", "ann", 3, 4));
  expect(told).toEqual(["leave ann", "join ann"]);
});

test("other info is an update, other numbers of connections are nothing", () => {
  read(1, user("ann", "1"));
  roster.hear({ ...change("count", "ann", 1, 2, "1"), connections: 7 });
  roster.hear(change("update", "ann", 2, 3, "2"));
  read(4, user("ann", "3"));
  expect(told).toEqual(["update ann", "update ann"]);
});

test("more than can wait leaves a hole, and the list heals it", () => {
  read(1);
  for (let i = 0; i < 2_000; i++) roster.hear(change("join", `user-${i}`, i + 10, i + 11));
  expect(roster.hasHole).toBe(true);
  const users = Array.from({ length: 2_000 }, (_, i) => user(`user-${i}`));
  read(2_010, ...users);
  expect([told.length, roster.size, roster.hasHole]).toEqual([2_000, 2_000, false]);
});

describe("of a group with a log", () => {
  let logged: Roster;
  let offset: number;
  beforeEach(() => {
    offset = 0;
    logged = new Roster((type, { user }) => told.push(`${type} ${user}`), true);
  });

  const list = (version: number, top: number, ...users: PresentUser[]) =>
    logged.replace({ version, users, top: { epoch: "e", offset: top, id: "i" } });
  /** What the next entry tells. */
  const follow = (kind: PresenceChange["kind"], name: string, before: number, version: number, info = "") => {
    offset += 1;
    const next = logged.follow(change(kind, name, before, version, info), offset);
    return next && `${next[0]} ${next[1].user}`;
  };
  const count = (name: string, connections: number, before: number, version: number) =>
    logged.hear({ ...change("count", name, before, version), connections });
  const users = () => logged.users.map(({ user: name, connections }) => `${name} ${connections}`);

  test("what the log says is told as it comes, and a list that has it already is not told", () => {
    logged.beginReading();
    expect(follow("join", "ann", 0, 1)).toBe("join ann");
    expect(follow("join", "bob", 1, 2)).toBe("join bob");
    expect(follow("leave", "ann", 2, 3)).toBe("leave ann");
    list(2, 2, user("ann"), user("bob"), user("cid"));
    expect(users()).toEqual(["bob 1", "cid 1"]);
    logged.beginReading();
    expect(follow("join", "dan", 3, 4)).toBe("join dan");
    list(4, 4, user("bob"), user("cid"), user("dan"));
    expect([told, logged.hasHole]).toEqual([[], false]);
  });

  test("while connections that are counted elsewhere are not known, the log goes on, and then they are", () => {
    logged.beginReading();
    list(0, 0);
    expect(follow("join", "ann", 0, 1)).toBe("join ann");
    expect(follow("join", "bob", 2, 3)).toBe("join bob");
    expect([users(), logged.hasHole]).toEqual([["ann 1", "bob 1"], true]);
    count("bob", 2, 3, 4);
    count("ann", 3, 1, 2);
    expect([users(), logged.hasHole]).toEqual([["ann 3", "bob 2"], false]);
    expect(follow("leave", "ann", 4, 5)).toBe("leave ann");
    expect(follow("join", "ann", 5, 6)).toBe("join ann");
    expect([users(), told]).toEqual([["bob 2", "ann 1"], []]);
  });

  test("a count that was for a former stay does not count for the next", () => {
    logged.beginReading();
    list(0, 0);
    follow("join", "ann", 0, 1);
    follow("leave", "ann", 2, 3);
    follow("join", "ann", 0, 5);
    count("ann", 7, 1, 2);
    expect([users(), logged.hasHole]).toEqual([["ann 1"], false]);
  });

  test("who was stated again in a log that began anew is not told again; who is gone is, by the list", () => {
    logged.beginReading();
    list(9, 5, user("ann"), user("bob"));
    expect(follow("join", "ann", 0, 1)).toBeUndefined();
    expect(follow("join", "cid", 1, 2)).toBe("join cid");
    expect(follow("update", "ann", 2, 3, "away")).toBe("update ann");
    logged.beginReading();
    list(3, 3, user("ann", "away"), user("cid"));
    expect(told).toEqual(["leave bob"]);
  });
});
