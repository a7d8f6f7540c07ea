/** Who came and went while a client was away: the real server, and a stock client that recovers. */
import { expect, test } from "@jest/globals";
import { Consumer, route } from "sluice";
import { recover } from "sluice/client";
import { connected, heard, serve, until } from "../server/live-server.ts";

class Room extends Consumer {
  override async connect() {
    await this.groupAdd("room");
    await this.sendPresence("room");
  }
}

/** Sends its client something of its own when it is told. */
class Greeter extends Room {
  presenceJoin({ user }: { user: string }) {
    this.send("hello", user);
  }
}

test("a client that was away hears who came and went once, between the messages, and then the list", async () => {
  const live = await serve({
    routes: [route("/room", Room), route("/greeter", Greeter)],
    middleware: [(scope, next) => next({ user: scope.auth.user })],
    groups: { room: { history: { size: 100, ttlMs: 60_000 }, presence: true } },
  });
  const clients = ["/room", "/greeter"].map((namespace) => {
    const seen: unknown[] = [];
    const socket = live.client(namespace, { reconnection: false, autoConnect: false });
    const recovery = recover(socket);
    recovery.on("gap", ({ reason }) => seen.push(`gap ${reason}`));
    socket.on("hello", (user) => seen.push(`hello ${user}`));
    socket.on("said", (what) => seen.push(`said ${what}`));
    socket.on("sluice.presence", ({ type, user, users }) =>
      seen.push(
        type === "list"
          ? `list ${users.map((each: { user: string }) => each.user).sort()}`
          : `${type} ${user}`,
      ),
    );
    return { socket, recovery, seen };
  });
  const ann = await connected(live.client("/room", { auth: { user: "ann" } }));
  for (const { socket } of clients) await connected(socket.connect());
  for (const { seen } of clients) await until(() => seen.length > 0, "they have the list");
  for (const { socket } of clients) {
    const lost = heard(socket, "disconnect");
    socket.io.engine.close();
    await lost;
  }
  await until(() => live.app.layer.groupMembers("room").length === 1, "they are away");
  const count = async (users: number) => {
    while ((await live.app.layer.presenceCount("room")) !== users)
      await new Promise((resolve) => setImmediate(resolve));
  };
  const bob = await connected(live.client("/room", { auth: { user: "bob" } }));
  await count(2);
  await live.app.layer.groupEmit("room", "said", 1);
  ann.disconnect();
  await count(1);
  bob.disconnect();
  await count(0);
  await live.app.layer.groupEmit("room", "said", 2);
  await connected(live.client("/room", { auth: { user: "cid" } }));
  await count(1);
  for (const { socket } of clients) await connected(socket.connect());
  const missed = ["join bob", "said 1", "leave ann", "leave bob", "said 2", "join cid"];
  const [plain, greeter] = clients;
  await until(() => plain?.seen.includes("list cid"), "the list comes");
  expect(plain?.seen).toEqual(["list ann", ...missed, "list cid"]);
  await until(() => greeter?.seen.includes("list cid"), "the list comes");
  const greeted = missed.flatMap((text) =>
    text.startsWith("join") ? [text, text.replace("join", "hello")] : [text],
  );
  expect(greeter?.seen).toEqual(["list ann", ...greeted, "list cid"]);
  await live.app.layer.groupEmit("room", "said", 3);
  for (const { seen } of clients) await until(() => seen.at(-1) === "said 3", "all goes on");
  const [one, other] = clients.map(({ recovery }) => recovery.position("room"));
  expect(one).toEqual(other);
});
