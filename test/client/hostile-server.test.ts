/** A server that is broken, or means harm: whatever it says, the page goes on, and keeps no more than it may. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, jest, test } from "@jest/globals";
import { HistoryError, presence, recover, useToken, watchTask } from "sluice/client";
import { Positions } from "../../src/client/positions.ts";
import { connected, heard, until } from "../server/live-server.ts";
import { at, joined, type Recovering, script } from "./scripted-server.ts";

/** What may stand where something else was meant; none of it can be made a text or a number of. */
const UNPRINTABLE = { toString: 1, valueOf: 1 };
const NONSENSE: readonly unknown[] = [
  ...[null, true, 0, -1, 0.5, 1e308, "", "x", "__proto__", "x".repeat(5_000)],
  ...[[], [null], [[]], {}, UNPRINTABLE, { group: null }, { group: UNPRINTABLE }, { group: ["den"] }],
  ...[{ group: "den", epoch: 1, offset: 2, id: 3 }, joined("den", "x", -1), joined("den", "x", 0.5)],
  ...[joined("den", "x", 2 ** 60), joined("den", "x", 9, { id: null }), joined("d".repeat(1_001), "x", 9)],
  ...[joined("den", "x", 9, { receipt: UNPRINTABLE }), joined("den", "x", 9, { since: "9" })],
];
/** Deeper than any function can follow. */
const DEPTH = 100_000;
const ABYSS = `${"[".repeat(DEPTH)}${"]".repeat(DEPTH)}`;

/** A ticket as far as a browser can read it. */
const TICKET = `v1.x.${Buffer.from(JSON.stringify(["run-1"])).toString("base64url")}.y`;

function status(more: object = {}): object {
  return { id: "run-1", task: "t", state: "running", attempt: 1, step: 1, at: 1, ...more };
}

/** All that was said before is heard. */
async function said({ peer, heard: events }: Recovering): Promise<void> {
  peer.emit("end");
  await until(() => events.at(-1)?.[0] === "end", "all is heard");
}

describe("whatever a server says", () => {
  test("of positions, nothing throws, and what is no position is none", async () => {
    const mine = await (await script()).recovering();
    const { peer, recovery } = mine;
    const gaps: unknown[] = [];
    recovery.on("gap", ({ reason }) => gaps.push(reason));
    peer.emit("sluice.joined", joined("den", "x", 5));
    for (const event of ["joined", "gap", "position", "left", "close", "expiring", "presence", "other"]) {
      for (const nonsense of NONSENSE) peer.emit(`sluice.${event}`, nonsense);
    }
    for (const nonsense of NONSENSE) peer.emit("said", "text", nonsense);
    for (const nonsense of NONSENSE) peer.emit("said", "text", { sluice: nonsense });
    for (const nonsense of NONSENSE) peer.emit("said", "text", { sluice: ["den", "x", nonsense, "i"] });
    // It may have left.
    peer.emit("sluice.joined", joined("den", "x", 5));
    for (const reason of [UNPRINTABLE, null, ["x"], "trimmed"]) {
      peer.emit("sluice.gap", joined("den", "x", 6, { reason }));
    }
    await said(mine);
    expect(gaps.slice(-4)).toEqual(["unknown", "unknown", "unknown", "trimmed"]);
    expect(recovery.positions).toEqual([{ group: "den", epoch: "x", offset: 6, id: "i6" }]);
  });

  test("groups are called what they are called", async () => {
    const mine = await (await script()).recovering();
    const { peer, recovery } = mine;
    const names = ["__proto__", "constructor", "toString", "hasOwnProperty", ""];
    for (const name of names) peer.emit("sluice.joined", joined(name, "x", 1));
    for (const name of names) peer.emit("said", name, at(name, "x", 2));
    await said(mine);
    expect(recovery.positions.map(({ group, offset }) => [group, offset])).toEqual(
      names.map((name) => [name, 2]),
    );
    expect(recovery.position("valueOf")).toBeUndefined();
  });

  test("of a group that is left, no other one is", async () => {
    const mine = await (await script()).recovering();
    const left = jest.fn();
    mine.recovery.on("left", left);
    mine.peer.emit("sluice.joined", joined("den", "x", 5));
    for (const nothing of [null, {}, { group: null }, { group: UNPRINTABLE }, { group: [] }, { group: 7 }]) {
      mine.peer.emit("sluice.left", nothing);
    }
    await said(mine);
    expect(left).not.toHaveBeenCalled();
    expect(mine.recovery.positions).toHaveLength(1);
  });

  test("of gaps, however often, each is told and nothing is kept", async () => {
    const mine = await (await script()).recovering();
    const gap = jest.fn();
    mine.recovery.on("gap", gap);
    mine.peer.emit("sluice.joined", joined("den", "x", 1));
    for (let i = 0; i < 5_000; i++) mine.peer.emit("sluice.gap", joined("den", `x${i}`, i, { reason: "id" }));
    await said(mine);
    expect(gap).toHaveBeenCalledTimes(5_000);
    expect(mine.recovery.positions).toHaveLength(1);
  });

  test("for a history, the page has a history or an error", async () => {
    const { client, peer } = await (await script()).recovering();
    const recovery = recover(client);
    const message = { event: "said", payload: 1, offset: 1, id: "i", at: 1 };
    const answers: readonly (readonly [unknown, string])[] = [
      ...[null, 7, "x", [], {}, { epoch: "x" }, { epoch: 1, messages: [] }, { epoch: "x", messages: {} }].map(
        (answer) => [answer, "invalid_answer"] as const,
      ),
      ...[
        null,
        7,
        [],
        {},
        { ...message, event: 1 },
        { ...message, offset: "1" },
        { ...message, at: null },
      ].map((wrong) => [{ epoch: "x", messages: [message, wrong], more: false }, "invalid_answer"] as const),
      [{ error: UNPRINTABLE }, "unknown"],
      [{ error: { code: UNPRINTABLE, message: UNPRINTABLE } }, "unknown"],
      [{ error: null }, "unknown"],
    ];
    const left = [...answers];
    peer.on("sluice.history", (_asked, answer: (value: unknown) => void) => answer(left.shift()?.[0]));
    for (const [, code] of answers) {
      const error = await recovery.history("den").catch((thrown: unknown) => thrown);
      expect(error).toBeInstanceOf(HistoryError);
      expect(error).toMatchObject({ code });
    }
  });

  test("of who is here, only those who have a name are", async () => {
    const { client, peer } = await script();
    const socket = client();
    const here = presence(socket, "den");
    await connected(socket.connect());
    const server = await peer(0);
    const say = (payload: object) => server.emit("sluice.presence", { group: "den", ...payload });
    const wrong = [null, 7, "x", [], {}, { user: 7 }, { user: null }, { user: UNPRINTABLE }];
    say({ type: "list", users: [...wrong, { user: "ann", info: UNPRINTABLE }, { user: "__proto__" }] });
    for (const user of wrong) if (user !== "x") say({ type: "join", user, info: 1 });
    for (const type of [null, 7, UNPRINTABLE, "list", "mystery"]) say({ type, users: null });
    server.emit("end");
    await heard(socket, "end");
    expect([...here.users.keys()]).toEqual(["ann", "__proto__"]);
  });

  test("of somebody's info, however deep, it is taken", async () => {
    const { client, peer } = await script();
    const socket = client();
    const here = presence(socket, "den");
    const updates = jest.fn();
    here.on("update", updates);
    await connected(socket.connect());
    const server = await peer(0);
    server.emit("sluice.presence", { type: "list", group: "den", users: [{ user: "ann", info: 1 }] });
    for (let i = 0; i < 2; i++) {
      server.conn.send(
        `2/room,["sluice.presence",{"type":"update","group":"den","user":"ann","info":${ABYSS}}]`,
      );
    }
    server.emit("end");
    await heard(socket, "end");
    expect(updates).toHaveBeenCalledTimes(2);
    expect(here.users.get("ann")).toBeInstanceOf(Array);
  });

  test("of who is here, so many are kept and no more", async () => {
    const { client, peer } = await script();
    const socket = client();
    const here = presence(socket, "den");
    await connected(socket.connect());
    const server = await peer(0);
    const users = Array.from({ length: 99_999 }, (_, i) => ({ user: `u${i}` }));
    server.emit("sluice.presence", { type: "list", group: "den", users: users.slice(0, 5_000) });
    for (let begin = 5_000; begin < users.length; begin += 1_000) {
      const more = users.slice(begin, begin + 1_000);
      for (const { user } of more) server.emit("sluice.presence", { type: "join", group: "den", user });
    }
    for (const user of ["last", "too many", "u0"]) {
      server.emit("sluice.presence", { type: "join", group: "den", user, info: "new" });
    }
    server.emit("end");
    await heard(socket, "end");
    expect([here.users.size, here.users.has("last"), here.users.has("too many")]).toEqual([
      100_000,
      true,
      false,
    ]);
    expect(here.users.get("u0")).toBe("new");
  });

  test("of a run, what is no state is none, and what is no progress is left out", async () => {
    const { client, peer } = await script();
    const socket = await connected(client().connect());
    const server = await peer(0);
    server.on("watch", (_asked, answer: (value: unknown) => void) => answer(null));
    const watch = watchTask(socket, TICKET);
    const told: unknown[] = [];
    watch.on("progress", ({ step, progress, error }) => told.push([step, progress, error]));
    watch.on("failed", ({ code, message }) => told.push([code, message]));
    for (const nonsense of NONSENSE) server.emit("task", nonsense);
    for (const wrong of NONSENSE) {
      for (const field of ["state", "attempt", "step", "at"]) {
        // A time may be any number, and the others 0.
        if (field === "at" ? typeof wrong === "number" : wrong === 0) continue;
        server.emit("task", status({ [field]: wrong }));
      }
    }
    server.emit("task", status({ step: 2, progress: { done: UNPRINTABLE, total: 3 }, error: "oops" }));
    server.emit("task", status({ step: 3, progress: { done: 1.5, total: 3, note: UNPRINTABLE } }));
    server.emit("task", status({ step: 4, state: "failed", error: UNPRINTABLE }));
    expect(await watch.ended).toMatchObject({ state: "failed" });
    expect(told).toEqual([
      [2, undefined, { code: "unknown", message: "unknown" }],
      [3, { done: 1.5, total: 3 }, undefined],
      ["unknown", "unknown"],
    ]);
  });

  test("why a run cannot be watched, the watch ends", async () => {
    const { client, peer } = await script();
    const socket = await connected(client().connect());
    const server = await peer(0);
    server.on("watch", (_asked, answer: (value: unknown) => void) =>
      answer({ error: { code: UNPRINTABLE, message: 7 } }),
    );
    expect((await watchTask(socket, TICKET).ended).error).toEqual({ code: "unknown", message: "unknown" });
  });

  test("that a token ends, however often, one is fetched at a time", async () => {
    const { client, peer } = await script();
    const socket = client();
    let fetched = 0;
    const refreshed = jest.fn();
    const keeper = useToken(socket, async () => `token ${++fetched}`);
    keeper.on("refreshed", refreshed);
    await connected(socket.connect());
    const server = await peer(0);
    const answers: ((value: unknown) => void)[] = [];
    server.on("sluice.auth", (_auth, answer: (value: unknown) => void) => void answers.push(answer));
    for (let i = 0; i < 1_000; i++) server.emit("sluice.expiring", NONSENSE[i % NONSENSE.length]);
    await until(() => answers.length > 0, "the token is shown");
    server.emit("end");
    await heard(socket, "end");
    expect(fetched).toBe(2);
    // What it says of the new one is taken, and it is not asked for in a circle.
    for (let i = 0; i < 1_000; i++) server.emit("sluice.expiring", {});
    const now = performance.now();
    jest.spyOn(performance, "now").mockReturnValue(now);
    const waits = jest.spyOn(globalThis, "setTimeout");
    answers[0]?.({});
    await until(() => refreshed.mock.calls.length === 1, "the token is taken");
    for (let i = 0; i < 1_000; i++) server.emit("sluice.expiring", {});
    server.emit("end");
    await heard(socket, "end");
    expect([fetched, answers.length]).toEqual([2, 1]);
    expect(waits.mock.calls.filter(([, ms]) => ms === 1_000)).toHaveLength(1);
    jest.restoreAllMocks();
    await until(() => answers.length === 2, "a second later it is fetched again");
    expect(fetched).toBe(3);
  });

  test("to a new token, the refusal has words", async () => {
    const { client, peer } = await script();
    const socket = client();
    const keeper = useToken(socket, () => "token");
    await connected(socket.connect());
    const server = await peer(0);
    server.on("sluice.auth", (_auth, answer: (value: unknown) => void) =>
      answer({ error: { code: 1, message: UNPRINTABLE } }),
    );
    await expect(keeper.refresh()).rejects.toThrow("unknown");
  });
});

test("of 100,000 groups the last 1,000 are kept, and of the others nothing", () => {
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as () => void;
  const positions = new Positions();
  gc();
  const before = process.memoryUsage().heapUsed;
  for (let i = 0; i < 100_000; i++) {
    const group = `${"x".repeat(900)}${i}`;
    positions.join({ group, epoch: "x", offset: 1, id: "i" }, { since: 1, receipt: "r" }, false);
  }
  expect(positions.all).toHaveLength(1_000);
  gc();
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(30_000_000);
});

test.each([
  ["no JSON", "{"],
  ["nothing", "null"],
  ["another kind", '{"den":{"offset":3}}'],
  ["what an older version kept", '[{"g":"den","o":3},["den",3],"den",3,null]'],
  ["positions that are none", `[${JSON.stringify(joined("den", "x", -3))}]`],
  ["very much", JSON.stringify(Array.from({ length: 200_000 }, () => 7))],
  ["no text", { den: 3 } as never],
])("a storage that holds %s is as good as empty", async (_what, text) => {
  const { client } = await script();
  const area = { getItem: () => text, setItem: () => {} };
  expect(recover(client(), { storage: { area, user: "ann" } }).positions).toEqual([]);
});

describe("a listener of the page that throws", () => {
  /** What is reported as uncaught. */
  function uncaught(): unknown[] {
    const thrown: unknown[] = [];
    jest.spyOn(globalThis, "queueMicrotask").mockImplementation((report) => {
      try {
        report();
      } catch (error) {
        thrown.push(error);
      }
    });
    return thrown;
  }

  test("keeps no other from hearing, nor the list from being true", async () => {
    const thrown = uncaught();
    const { client, peer } = await script();
    const socket = client();
    const here = presence(socket, "den");
    const bug = new Error("a bug in the page");
    here.on("leave", () => {
      throw bug;
    });
    const left: string[] = [];
    here.on("leave", ({ user }) => left.push(user));
    await connected(socket.connect());
    const server = await peer(0);
    const list = (...users: string[]) =>
      server.emit("sluice.presence", { type: "list", group: "den", users: users.map((user) => ({ user })) });
    list("ann", "bob", "eve");
    list("bob");
    server.emit("end");
    await heard(socket, "end");
    expect([left, [...here.users.keys()], here.isCurrent]).toEqual([["ann", "eve"], ["bob"], true]);
    expect(thrown).toEqual([bug, bug]);
    jest.restoreAllMocks();
  });

  test("keeps a run from ending for nobody", async () => {
    const thrown = uncaught();
    const { client, peer } = await script();
    const socket = await connected(client().connect());
    const server = await peer(0);
    server.on("watch", (_asked, answer: (value: unknown) => void) => answer(status({ state: "succeeded" })));
    const watch = watchTask(socket, TICKET);
    const bug = new Error("a bug in the page");
    const done = jest.fn();
    watch.on("done", () => {
      throw bug;
    });
    watch.on("done", done);
    expect(await watch.ended).toMatchObject({ state: "succeeded" });
    expect(done).toHaveBeenCalledTimes(1);
    expect(thrown).toEqual([bug]);
    jest.restoreAllMocks();
  });
});
