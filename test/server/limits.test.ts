import { once } from "node:events";
import { connect } from "node:net";
import { expect, test } from "@jest/globals";
import { type Middleware, route, sse } from "sluice";
import { atEnd, connected, Echo, gate, type Live, serve, until } from "./live-server.ts";

/** A consumer whose client says which groups to join. */
class Joining extends Echo {
  override async receive(event: string, payload: unknown): Promise<unknown> {
    if (event === "join") await this.groupAdd(String(payload));
    if (event === "leave") await this.groupDiscard(String(payload));
    return "done";
  }
}

const refused = (code: string) => ({ error: { code, message: expect.any(String) } });

async function refusesRaw(live: Live, headers: Record<string, string> = {}): Promise<boolean> {
  return live.raw({ headers }).then(
    () => false,
    () => true,
  );
}

test("an address may have so many connections, over WebSocket, polling and event streams", async () => {
  const live = await serve(
    { routes: [route("/echo", Echo), sse("/stream", Echo)] },
    { limits: { connectionsPerAddress: 3 } },
  );
  const raw = await live.raw();
  const poller = await connected(live.client("/echo", { transports: ["polling"] }));
  const abort = new AbortController();
  const stream = await fetch(`${live.url}/stream`, { signal: abort.signal });
  expect(stream.status).toBe(200);
  expect(live.server.connections).toBe(3);
  expect(await refusesRaw(live)).toBe(true);
  expect((await fetch(`${live.url}/socket.io/?EIO=4&transport=polling`)).status).toBe(403);
  expect((await fetch(`${live.url}/stream`)).status).toBe(429);

  abort.abort();
  await until(() => live.server.connections === 2, "the stream has gone");
  const second = await live.raw();
  raw.socket.close();
  poller.disconnect();
  second.socket.close();
  await live.empty();
});

test("an upgrade from polling to WebSocket is one connection", async () => {
  const live = await serve({ routes: [route("/echo", Echo)] }, { limits: { connectionsPerAddress: 1 } });
  const client = live.client("/echo", { transports: ["polling", "websocket"] });
  const upgraded = new Promise((resolve) =>
    client.io.once("open", () => client.io.engine.once("upgrade", resolve)),
  );
  await connected(client);
  await upgraded;
  expect(live.server.connections).toBe(1);
  expect(await client.emitWithAck("say", 1)).toEqual({ event: "say", payload: 1 });
});

test("a place is free again when a newcomer turns out to speak another protocol, or leaves while it is let in", async () => {
  const live = await serve({ routes: [route("/echo", Echo)] }, { limits: { connectionsPerAddress: 1 } });
  const polling = `${live.url}/socket.io/?transport=polling`;
  expect((await fetch(`${polling}&EIO=3`)).status).toBe(400);
  expect(live.server.connections).toBe(0);
  const broken = connect(live.port, "127.0.0.1");
  atEnd(() => broken.destroy());
  // A WebSocket whose key is none.
  broken.end(
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: no\r\n\r\n",
  );
  await once(broken.resume(), "close");
  await until(() => live.server.connections === 0, "it is free");
  await live.raw();
  expect((await fetch(`${polling}&EIO=4`)).status).toBe(403);
});

test("a client may have so many namespaces open on a connection, and others after leaving some", async () => {
  const live = await serve(
    { routes: [route("/room/:id", Echo)] },
    { limits: { namespacesPerConnection: 2 } },
  );
  const raw = await live.raw();
  await raw.enter("/room/1");
  await raw.enter("/room/2");
  raw.send("40/room/3,");
  expect(await raw.hears("44/room/3,")).toContain('"code":4529');
  raw.send("41/room/1,");
  await until(() => live.app.sizes.connections === 1, "it has left");
  await raw.enter("/room/3");
  const other = await live.raw();
  await other.enter("/room/1");
});

test("a connection may be in so many groups, and in others after leaving some", async () => {
  const live = await serve({ routes: [route("/room", Joining)], limits: { groupsPerConnection: 2 } });
  const client = await connected(live.client("/room"));
  expect(await client.emitWithAck("join", "a")).toBe("done");
  expect(await client.emitWithAck("join", "b")).toBe("done");
  expect(await client.emitWithAck("join", "a")).toBe("done");
  expect(await client.emitWithAck("join", "c")).toEqual(refused("rate_limited"));
  expect(await client.emitWithAck("leave", "a")).toBe("done");
  expect(await client.emitWithAck("join", "c")).toBe("done");
  expect(await client.emitWithAck("join", "no name!")).toEqual(refused("invalid_name"));
  expect(await client.emitWithAck("join", "sluice.hub")).toEqual(refused("invalid_name"));
});

test("the clients of one address may open so many new groups a second; groups in use are free", async () => {
  const live = await serve(
    { routes: [route("/room", Joining)], limits: { newGroupsPerSecond: 2 } },
    {
      trustedProxies: 1,
    },
  );
  const from = (address: string) =>
    connected(live.client("/room", { extraHeaders: { "x-forwarded-for": address } }));
  const [one, two, elsewhere] = [await from("10.0.0.1"), await from("10.0.0.1"), await from("10.0.0.2")];
  expect(await one.emitWithAck("join", "a")).toBe("done");
  expect(await one.emitWithAck("join", "b")).toBe("done");
  expect(await two.emitWithAck("join", "c")).toEqual(refused("rate_limited"));
  expect(await two.emitWithAck("join", "a")).toBe("done");
  expect(await elsewhere.emitWithAck("join", "c")).toBe("done");
  // Coming back does not refill the allowance.
  one.disconnect();
  two.disconnect();
  await until(() => live.server.connections === 1, "they have gone");
  const again = await from("10.0.0.1");
  expect(await again.emitWithAck("join", "d")).toEqual(refused("rate_limited"));
});

test("so many events may wait for one consumer; then channel_full", async () => {
  const opened = gate();
  const begun = gate();
  class Slow extends Echo {
    override async receive(event: string): Promise<unknown> {
      begun.open();
      if (event === "wait") await opened.passed;
      return event;
    }
  }
  const live = await serve({ routes: [route("/room", Slow)], limits: { pendingEvents: 2 } });
  const client = await connected(live.client("/room"));
  const waiting = client.emitWithAck("wait");
  await begun.passed;
  const [a, b, c] = ["a", "b", "c"].map((event) => client.emitWithAck(event));
  expect(await c).toEqual(refused("channel_full"));
  opened.open();
  expect(await Promise.all([waiting, a, b])).toEqual(["wait", "a", "b"]);
});

test.each([
  [0, "10.9.9.9, 10.0.0.7", "127.0.0.1"],
  [1, "10.9.9.9, 10.0.0.7", "10.0.0.7"],
  [2, "10.9.9.9, 10.0.0.7", "10.9.9.9"],
  [3, "10.9.9.9, 10.0.0.7", "10.9.9.9"],
  [1, "", "127.0.0.1"],
  [1, " , ,10.0.0.7 ", "10.0.0.7"],
])(
  "behind %d trusted proxies X-Forwarded-For %j means the client %s",
  async (trustedProxies, header, address) => {
    const seen: string[] = [];
    const look: Middleware = ({ remoteAddress }, next) => {
      seen.push(remoteAddress);
      return next();
    };
    const routes = [route("/echo", Echo), sse("/stream", Echo)];
    const live = await serve({ routes, middleware: [look] }, { trustedProxies });
    const headers = { "x-forwarded-for": header };
    await connected(live.client("/echo", { extraHeaders: headers }));
    const abort = new AbortController();
    await fetch(`${live.url}/stream`, { headers, signal: abort.signal });
    abort.abort();
    expect(seen).toEqual([address, address]);
  },
);

test("connections are counted by the address that trusted proxies report", async () => {
  const live = await serve(
    { routes: [route("/echo", Echo)] },
    { trustedProxies: 1, limits: { connectionsPerAddress: 1 } },
  );
  await live.raw({ headers: { "x-forwarded-for": "10.0.0.1" } });
  expect(await refusesRaw(live, { "x-forwarded-for": "10.0.0.1" })).toBe(true);
  expect(await refusesRaw(live, { "x-forwarded-for": "invented, 10.0.0.1" })).toBe(true);
  expect(await refusesRaw(live, { "x-forwarded-for": "10.0.0.2" })).toBe(false);
});
