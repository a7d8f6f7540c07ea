/** What components share of a socket, without React: whatever the server says, it stays small and true. */
import { describe, expect, test } from "@jest/globals";
import type { Socket } from "socket.io-client";
import { type SharedSocket, sharedSocket } from "../../src/react/shared-socket.ts";
import { script } from "../client/scripted-server.ts";
import { connected, heard } from "../server/live-server.ts";

interface Scene {
  readonly socket: Socket;
  readonly shared: SharedSocket;
  /** The server says that, and the client has heard it. */
  say(...events: readonly (readonly [string, unknown])[]): Promise<void>;
}

async function scene(): Promise<Scene> {
  const { client, peer } = await script();
  const socket = client();
  const shared = sharedSocket(socket);
  shared.hold();
  await connected(socket.connect());
  const server = await peer(0);
  return {
    ...{ socket, shared },
    async say(...events) {
      for (const [event, payload] of events) server.emit(event, payload);
      server.emit("end");
      await heard(socket, "end");
    },
  };
}

const list = (group: string, ...users: readonly string[]) =>
  ["sluice.presence", { type: "list", group, users: users.map((user) => ({ user })) }] as const;

describe("lists of who is in groups", () => {
  test("that no component shows are kept, so many and no more, and those that are shown always", async () => {
    const { socket, shared, say } = await scene();
    const end = shared.watchGroup("shown", () => {});
    await say(list("shown", "ann"), ...Array.from({ length: 1_000 }, (_, i) => list(`g${i}`, "ann")));
    expect(socket.listeners("sluice.presence").length).toBe(101);
    const here = (group: string) => [...shared.here(group).users.keys()];
    expect([here("shown"), here("g0"), here("g899"), here("g900"), here("g999")]).toEqual([
      ["ann"],
      ...[[], [], ["ann"], ["ann"]],
    ]);
    end();
    end();
    await say(list("g1000", "ann"));
    expect(here("shown")).toEqual([]);
    expect(socket.listeners("sluice.presence").length).toBe(101);
  });

  test("are called what they are called, and told by what is no name not at all", async () => {
    const { shared, say } = await scene();
    const wrong: readonly unknown[] = [null, 7, [], {}, { toString: 1 }];
    await say(
      ...wrong.map((group) => ["sluice.presence", { type: "list", group, users: [] }] as const),
      ...wrong.map((payload) => ["sluice.presence", payload] as const),
      list("__proto__", "constructor"),
    );
    expect([...shared.here("__proto__").users.keys()]).toEqual(["constructor"]);
    expect(shared.here("constructor").users.size).toBe(0);
  });

  test("are forgotten when nobody wants anything of the socket", async () => {
    const { client, peer } = await script();
    const socket = client();
    const shared = sharedSocket(socket);
    const letGo = shared.hold();
    await connected(socket.connect());
    const server = await peer(0);
    server.emit(...list("den", "ann"));
    server.emit("end");
    await heard(socket, "end");
    expect(shared.here("den").users.size).toBe(1);
    letGo();
    expect(shared.here("den").users.size).toBe(0);
    expect(socket.listeners("sluice.presence")).toEqual([]);
  });

  test("are the same thing until something changes, and then another", async () => {
    const { shared, say } = await scene();
    await say(list("den", "ann"));
    const before = shared.here("den");
    expect(shared.here("den")).toBe(before);
    expect([...before.users.keys()]).toEqual(["ann"]);
    await say(list("den", "ann", "bob"));
    expect([...before.users.keys()]).toEqual(["ann"]);
    expect([...shared.here("den").users.keys()]).toEqual(["ann", "bob"]);
  });
});

test.each([
  [null],
  ["x"],
  [{ code: "4403", reason: 7 }],
  [{ code: { valueOf: 1 }, reason: { toString: 1 } }],
])("a connection that is closed by nonsense (%j) is closed without a code", async (payload) => {
  const { socket, shared, say } = await scene();
  await say(["sluice.close", payload]);
  socket.disconnect();
  expect(shared.connection).toEqual({ state: "closed" });
});

test("a socket that was open before anybody looked reconnects, one that never was connects", async () => {
  const { client, peer } = await script();
  const [before, after] = [client(), client()];
  await connected(before.connect());
  for (const socket of [before, after]) sharedSocket(socket).hold();
  after.connect();
  expect(sharedSocket(after).connection).toEqual({ state: "connecting" });
  (await peer(0)).conn.close();
  await heard(before, "disconnect");
  expect(sharedSocket(before).connection).toEqual({ state: "reconnecting" });
});

test("a refusal is over with the next connection", async () => {
  const { socket, shared, say } = await scene();
  await say(["sluice.close", { code: 4409, reason: "elsewhere" }]);
  socket.disconnect();
  expect(shared.connection).toEqual({ state: "closed", code: 4409, reason: "elsewhere" });
  await connected(socket.connect());
  socket.disconnect();
  expect(shared.connection).toEqual({ state: "closed" });
});

test("a server that cannot be reached has refused nobody", async () => {
  const { io, client } = await script();
  const socket = client();
  const shared = sharedSocket(socket);
  shared.hold();
  io.of("/room").use((_peer, next) =>
    next(Object.assign(new Error("no"), { data: { code: 4503, reason: "full" } })),
  );
  socket.connect();
  await heard(socket, "connect_error");
  expect(shared.connection).toMatchObject({ code: 4503, reason: "full" });
  void io.close();
  socket.connect();
  const [unreached] = await heard<[Error & { data?: unknown }]>(socket, "connect_error");
  expect(unreached.data).toBeUndefined();
  expect(shared.connection).toMatchObject({ code: 4503, reason: "full" });
});
