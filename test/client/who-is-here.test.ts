import { describe, expect, jest, test } from "@jest/globals";
import { Consumer, type Middleware, route } from "sluice";
import { type Presence, presence, recover, type StockSocket } from "sluice/client";
import { connected, heard, serve, until } from "../server/live-server.ts";
import { at, joined, script } from "./scripted-server.ts";

interface Info {
  readonly name: string;
}

/** What its listeners are told, as `join ann`; with `(late)` if it happened while the client was away. */
function toldBy(here: Presence<Info>): string[] {
  const told: string[] = [];
  for (const event of ["join", "leave", "update"] as const) {
    here.on(event, ({ user, isLate }) => told.push(`${event} ${user}${isLate ? " (late)" : ""}`));
  }
  return told;
}

function infoOf(user: string): Info {
  return { name: user.toUpperCase() };
}

/** What a server says, word by word. */
const say = {
  list: (...users: string[]) => ({
    ...{ type: "list", group: "den" },
    users: users.map((user) => ({ user, info: infoOf(user), connections: 1 })),
  }),
  join: (user: string, group = "den") => ({ type: "join", group, user, info: infoOf(user) }),
  leave: (user: string) => ({ type: "leave", group: "den", user, info: infoOf(user) }),
  update: (user: string, info: unknown) => ({ type: "update", group: "den", user, info }),
};

describe("a client that watches who is in a group", () => {
  test("begins with the list, and keeps it true over joins, leaves and updates", async () => {
    const { client, peer } = await script();
    const socket = client();
    const here = presence<Info>(socket, "den");
    const told = toldBy(here);
    const changes = jest.fn();
    const updates: unknown[] = [];
    here.on("change", changes);
    here.on("update", (update) => updates.push(update));
    await connected(socket.connect());
    const server = await peer(0);
    expect([here.isCurrent, here.users.size]).toEqual([false, 0]);

    // What comes before the first list is in it.
    for (const payload of [say.join("ann"), say.leave("old"), say.list("ann", "bob")]) {
      server.emit("sluice.presence", payload);
    }
    await until(() => here.isCurrent, "the list has come");
    expect([...here.users]).toEqual([
      ["ann", { name: "ANN" }],
      ["bob", { name: "BOB" }],
    ]);
    expect(told).toEqual([]);
    expect(changes).toHaveBeenCalledTimes(1);

    for (const payload of [
      ...[say.join("cid"), say.leave("bob"), say.update("ann", { name: "Anna" })],
      // Nothing new, another group, and nonsense.
      ...[say.join("cid"), say.leave("bob"), say.update("ann", { name: "Anna" }), say.join("dan", "attic")],
      ...[
        null,
        7,
        {},
        { group: "den" },
        { type: "list", group: "den" },
        { type: "join", group: "den", user: 7 },
      ],
      say.join("end"),
    ]) {
      server.emit("sluice.presence", payload);
    }
    await until(() => here.users.has("end"), "all is heard");
    expect(told).toEqual(["join cid", "leave bob", "update ann", "join end"]);
    expect(changes).toHaveBeenCalledTimes(5);
    expect(updates).toEqual([
      { user: "ann", info: { name: "Anna" }, before: { name: "ANN" }, isLate: false },
    ]);
    expect([...here.users.keys()]).toEqual(["ann", "cid", "end"]);
  });

  test("learns from the list what happened while it was away, and each user joins and leaves in turn", async () => {
    const { client, peer } = await script();
    const socket = client({ reconnectionDelay: 5, reconnectionDelayMax: 5 });
    const here = presence<Info>(socket, "den");
    const told = toldBy(here);
    await connected(socket.connect());
    (await peer(0)).emit("sluice.presence", say.list("ann", "bob", "eve"));
    await until(() => here.isCurrent, "the list has come");
    const lists = jest.fn();
    here.on("list", lists);
    const isCurrent: boolean[] = [];
    here.on("change", () => isCurrent.push(here.isCurrent));

    const back = heard(socket, "connect");
    (await peer(0)).conn.close();
    await back;
    expect([here.isCurrent, [...here.users.keys()]]).toEqual([false, ["ann", "bob", "eve"]]);
    const server = await peer(1);
    // A history may give again what was missed, before the list.
    server.emit("sluice.presence", say.leave("bob"));
    server.emit("sluice.presence", say.list("ann", "cid"));
    await until(() => here.isCurrent, "the list has come again");
    expect(told).toEqual(["leave bob (late)", "leave eve (late)", "join cid (late)"]);
    expect(isCurrent).toEqual([false, false, true]);
    server.emit("sluice.presence", say.leave("cid"));
    // Asked for once more, in the same connection.
    server.emit("sluice.presence", say.list("ann", "dan"));
    await until(() => here.users.has("dan"), "the last list");
    expect(lists).toHaveBeenCalledTimes(2);
    expect(told.slice(3)).toEqual(["leave cid", "join dan"]);
  });

  test("hears the events of a group with history once, on a socket that recovers", async () => {
    const { client, peer } = await script();
    const socket = client();
    recover(socket);
    const here = presence<Info>(socket, "den");
    const told = toldBy(here);
    await connected(socket.connect());
    const server = await peer(0);
    server.emit("sluice.joined", joined("den", "x", 4));
    server.emit("sluice.presence", say.list("ann"));
    server.emit("sluice.presence", say.join("bob"), at("den", "x", 5));
    server.emit("sluice.presence", say.leave("bob"), at("den", "x", 6));
    server.emit("sluice.presence", say.join("bob"), at("den", "x", 5));
    server.emit("sluice.presence", say.join("cid"), at("den", "x", 7));
    await until(() => here.users.has("cid"), "all is heard");
    expect(told).toEqual(["join bob", "leave bob", "join cid"]);
  });

  test("stops on demand, and one listener without the others", async () => {
    const { client, peer } = await script();
    const socket = client();
    const here = presence<Info>(socket, "den");
    const other = presence<Info>(socket, "den");
    await connected(socket.connect());
    const server = await peer(0);
    const [one, two] = [jest.fn(), jest.fn()];
    const end = here.on("join", one);
    here.on("join", two);
    server.emit("sluice.presence", say.list());
    server.emit("sluice.presence", say.join("ann"));
    await until(() => other.users.has("ann"), "ann is here");
    end();
    server.emit("sluice.presence", say.join("bob"));
    await until(() => other.users.has("bob"), "bob is here");
    here.stop();
    server.emit("sluice.presence", say.join("cid"));
    await until(() => other.users.has("cid"), "cid is here");
    expect([one.mock.calls.length, two.mock.calls.length]).toEqual([1, 2]);
    expect([here.isCurrent, [...here.users.keys()]]).toEqual([false, ["ann", "bob"]]);
  });
});

test("with the real server: two tabs are one person, who leaves with the last of them", async () => {
  class Room extends Consumer {
    override async connect() {
      await this.groupAdd("den");
      await this.sendPresence("den");
    }
  }
  const identify: Middleware = (scope, next) => next({ user: scope.auth.user });
  const live = await serve({
    ...{ routes: [route("/room", Room, { middleware: [identify] })], groups: { den: { presence: true } } },
    userInfo: (user) => infoOf(user as string),
  });
  const enter = async (user: string) => {
    const socket = live.client("/room", { auth: { user }, autoConnect: false });
    const here = presence<Info>(socket as StockSocket, "den");
    const told = toldBy(here);
    await connected(socket.connect());
    await until(() => here.isCurrent, "the list has come");
    return { socket, here, told };
  };
  const ann = await enter("ann");
  const [bob, tab] = [await enter("bob"), await enter("bob")];
  await until(() => ann.here.users.has("bob"), "bob is here");
  expect([...tab.here.users].sort()).toEqual([
    ["ann", { name: "ANN" }],
    ["bob", { name: "BOB" }],
  ]);
  bob.socket.disconnect();
  const cid = await enter("cid");
  await until(() => ann.here.users.has("cid"), "cid is here");
  tab.socket.disconnect();
  await until(() => !ann.here.users.has("bob"), "bob has gone");
  expect(ann.told).toEqual(["join bob", "join cid", "leave bob"]);
  expect(cid.told).toEqual(["leave bob"]);
});
