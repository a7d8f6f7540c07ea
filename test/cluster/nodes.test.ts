/** Several real servers on one real Redis, with stock clients. */
import { afterAll, beforeAll, beforeEach, expect } from "@jest/globals";
import { Consumer, createApplication, type Message, route } from "sluice";
import { RedisBackplane } from "sluice/redis";
import type { Socket } from "socket.io-client";
import { hasRedis, RedisServer, redisTest } from "../redis/redis-server.ts";
import { atEnd, connected, heard, type Live, serve, until } from "../server/live-server.ts";

class Room extends Consumer<{ user: string }> {
  override async connect() {
    await this.groupAdd("room");
    this.listen(this.signals.layerDown, () => this.send("alone"));
    this.listen(this.signals.layerUp, () => this.send("together"));
    this.send("channel", this.channel);
  }
  override async receive(event: string, payload: unknown) {
    if (event === "join") await this.groupAdd(String(payload));
    else await this.groupEmit("room", "said", payload);
    return "ok";
  }
  chatMessage({ text }: Message) {
    this.send("message", text);
  }
}

let redis: RedisServer;
let prefixes = 0;
let prefix: string;

beforeAll(async () => {
  if (hasRedis) redis = await RedisServer.start();
});
afterAll(() => redis?.close());
beforeEach(() => {
  prefixes += 1;
  prefix = `test-${prefixes}`;
});

function backplane(): RedisBackplane {
  return new RedisBackplane({ url: redis.url, prefix, heartbeatMs: 50, subscribeTimeoutMs: 300 });
}

/** Knows a client by what it says of itself; good enough for a test. */
const identify = (scope: { auth: Record<string, unknown> }, next: (changes: object) => Promise<void>) =>
  next({ user: scope.auth.user });

function node(): Promise<Live> {
  return serve({ routes: [route("/room", Room)], middleware: [identify], backplane: backplane() });
}

function nodes(count: number): Promise<Live[]> {
  return Promise.all(Array.from({ length: count }, node));
}

function enter(live: Live | undefined, user = "somebody"): Promise<Socket> {
  return connected((live as Live).client("/room", { auth: { user } }));
}

async function channelOf(socket: Socket): Promise<string> {
  const [channel] = await heard<[string]>(socket, "channel");
  return channel;
}

redisTest("a message from a client of each node reaches the clients of all", async () => {
  const servers = await nodes(3);
  const clients = await Promise.all(servers.map((server) => enter(server)));
  const said: unknown[][] = clients.map(() => []);
  for (const [i, client] of clients.entries()) client.on("said", (text) => said[i]?.push(text));
  for (const [i, client] of clients.entries())
    await client.emitWithAck("say", { from: i, blob: Buffer.from([0, 255, i]) });
  await until(() => said.every((texts) => texts.length === 3), "everybody heard everybody");
  for (const texts of said) {
    const sorted = [...texts].sort((a, b) => (a as { from: number }).from - (b as { from: number }).from);
    expect(sorted).toEqual([0, 1, 2].map((from) => ({ from, blob: Buffer.from([0, 255, from]) })));
  }
});

redisTest("a program without sockets sends to groups and channels, and ends connections", async () => {
  const [server] = await nodes(1);
  const client = (server as Live).client("/room");
  const channel = await channelOf(client);
  const script = createApplication({ routes: [], backplane: backplane() });
  atEnd(() => script.stop());
  await script.start();
  const said = heard(client, "said");
  const messages: unknown[] = [];
  client.on("message", (text) => messages.push(text));
  await script.layer.groupEmit("room", "said", "by a script");
  await script.layer.groupSend("room", { type: "chat.message", text: "to all" });
  await script.layer.send(channel, { type: "chat.message", text: "to you" });
  await script.layer.flush();
  expect(await said).toEqual(["by a script"]);
  await until(() => messages.length === 2, "both messages came");
  expect(messages).toEqual(["to all", "to you"]);
  const closed = heard(client, "sluice.close");
  await script.layer.closeChannel(channel, 4403, "that is enough");
  expect(await closed).toEqual([{ code: 4403, reason: "that is enough" }]);
});

redisTest("every connection of one user ends, on every node; others stay", async () => {
  const servers = await nodes(3);
  const [anns, bobs] = await Promise.all(
    ["ann", "bob"].map((user) =>
      Promise.all(servers.flatMap((server) => [1, 2].map(() => enter(server, user)))),
    ),
  );
  const closings = anns?.map((socket) => heard(socket, "sluice.close")) ?? [];
  await servers[0]?.app.layer.closeUser("ann", 4401, "signed out everywhere");
  for (const closing of closings)
    expect(await closing).toEqual([{ code: 4401, reason: "signed out everywhere" }]);
  await until(() => anns?.every((socket) => !socket.connected), "all of ann's are gone");
  expect(bobs?.every((socket) => socket.connected)).toBe(true);
});

redisTest("without Redis a node goes on by itself, says so, and comes back by itself", async () => {
  const own = await RedisServer.start();
  atEnd(() => own.close());
  const [one, two] = await Promise.all(
    [1, 2].map(() =>
      serve({
        routes: [route("/room", Room)],
        backplane: new RedisBackplane({ url: own.url, heartbeatMs: 50, subscribeTimeoutMs: 200 }),
      }),
    ),
  );
  const [ann, bob, cid] = await Promise.all([enter(one), enter(one), enter(two)]);
  const health = async () => {
    const response = await fetch(`${one?.url}/readyz`);
    return [response.status, ((await response.json()) as { status: string }).status];
  };
  expect(await health()).toEqual([200, "ok"]);

  const alone = [ann, cid].map((socket) => heard(socket as Socket, "alone"));
  await own.end();
  await Promise.all(alone);
  expect(await health()).toEqual([200, "degraded"]);
  const said = heard(bob as Socket, "said");
  expect(await ann?.emitWithAck("say", "still here")).toBe("ok");
  expect(await said).toEqual(["still here"]);
  expect(await ann?.emitWithAck("join", "another")).toMatchObject({ error: { code: "layer_unavailable" } });

  const together = [ann, cid].map((socket) => heard(socket as Socket, "together"));
  await own.begin();
  await Promise.all(together);
  expect(await health()).toEqual([200, "ok"]);
  const heardAgain = new Promise((resolve) =>
    cid?.on("said", (text) => text === "all again" && resolve(text)),
  );
  await ann?.emitWithAck("say", "all again");
  await heardAgain;
  expect(await ann?.emitWithAck("join", "another")).toBe("ok");
});

redisTest("two applications on one Redis do not hear each other", async () => {
  const [shop] = await nodes(1);
  prefix = "another";
  const [forum] = await nodes(1);
  const [ann, bob] = [await enter(shop), await enter(forum)];
  const overheard: unknown[] = [];
  bob.on("said", (text) => overheard.push(text));
  await ann.emitWithAck("say", "in the shop");
  await shop?.app.layer.flush();
  await bob.emitWithAck("say", "in the forum");
  await until(() => overheard.length > 0, "bob hears himself");
  expect(overheard).toEqual(["in the forum"]);
});
