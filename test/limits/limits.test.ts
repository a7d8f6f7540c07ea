/** Limits of users and addresses, on one node and on several that share them, with real servers and clients. */
import { once } from "node:events";
import { get, type IncomingMessage } from "node:http";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import express from "express";
import {
  type ApplicationOptions,
  Consumer,
  http,
  LayerUnavailable,
  type LimitFact,
  type LimitStore,
  type Middleware,
  route,
  sse,
} from "sluice";
import { MemoryLimits, MemoryLimitsHub, RedisLimits } from "sluice/limits";
import { limitConnections } from "sluice/middleware";
import type { ServerOptions } from "sluice/server";
import type { Socket } from "socket.io-client";
import { until as eventually, hasRedis, RedisServer, redisTest } from "../redis/redis-server.ts";
import { EventStream } from "../server/event-stream.ts";
import { connected, Echo, heard, type Live, serve, until } from "../server/live-server.ts";

class Room extends Consumer {
  override async connect() {
    await this.groupAdd("room");
  }
  override async receive(event: string, payload: unknown) {
    if (event === "join") await this.groupAdd(String(payload));
    return "ok";
  }
}

interface Node extends Live {
  readonly limited: LimitFact[];
}

async function node(
  limits: ApplicationOptions["limits"],
  more: Partial<ApplicationOptions> = {},
  server: ServerOptions = {},
): Promise<Node> {
  const live = await serve(
    {
      routes: [route("/room", Room), route("/echo", Echo), sse("/events", Echo)],
      middleware: [(scope, next) => next({ user: scope.auth.user ?? scope.headers["x-user"] })],
      ...(limits === undefined ? {} : { limits }),
      ...more,
    },
    server,
  );
  const limited: LimitFact[] = [];
  live.app.signals.limited.connect((fact) => void limited.push(fact));
  return Object.assign(live, { limited });
}

function come(live: Live, user: string, namespace = "/room"): Socket {
  return live.client(namespace, { auth: { user } });
}

const enter = (live: Live, user: string, namespace?: string) => connected(come(live, user, namespace));

/** Of a first poll, or of what else is asked for. */
async function statusOf(live: Live, path = "/socket.io/?EIO=4&transport=polling"): Promise<number> {
  const response = await fetch(`${live.url}${path}`);
  void response.body?.cancel();
  return response.status;
}

/** Tries until there is room. */
async function untilLetIn(live: Live, user: string): Promise<void> {
  const socket = live.client("/room", { auth: { user }, reconnection: true });
  await until(() => {
    if (!socket.active && !socket.connected) socket.connect();
    return socket.connected;
  }, "there is room again");
}

/** Why a client was not let in. */
async function refusalOf(socket: Socket): Promise<unknown> {
  const [error] = await heard<[Error & { data?: unknown }]>(socket, "connect_error");
  return error.data;
}

const TOO_MANY = { code: 4529, reason: "a user may have 2 connections at once; close another first" };

test("a user has so many connections, each with any number of routes; who leaves makes room", async () => {
  const live = await node({ connectionsPerUser: 2 });
  const one = await enter(live, "ann");
  const both = live.client("/room", { auth: { user: "ann" } });
  await connected(both);
  await connected(both.io.socket("/echo", { auth: { user: "ann" } } as never));
  expect(await refusalOf(come(live, "ann"))).toEqual(TOO_MANY);
  expect(live.limited).toEqual([
    expect.objectContaining({ limit: "connectionsPerUser", user: "ann", namespace: "/room" }),
  ]);
  await enter(live, "bob");
  one.disconnect();
  await until(() => live.app.sizes.connections === 3, "one route is gone");
  await enter(live, "ann");
});

test("connections of nobody are not counted as a user's", async () => {
  const live = await node({ connectionsPerUser: 1 });
  for (let i = 0; i < 3; i++) await connected(live.client("/room"));
  expect(live.limited).toEqual([]);
});

test("one who is refused by connect, or leaves while it runs, keeps no place", async () => {
  class Refusing extends Consumer {
    override async connect() {
      this.deny(4403, "no");
    }
  }
  const live = await node(
    { connectionsPerUser: 1 },
    { routes: [route("/no", Refusing), route("/room", Room)] },
  );
  for (let i = 0; i < 3; i++) {
    expect(await refusalOf(come(live, "ann", "/no"))).toEqual({ code: 4403, reason: "no" });
  }
  await enter(live, "ann");
});

test("all connections of a user share one allowance of events; others have their own", async () => {
  const live = await node({ eventsPerSecondPerUser: 10 });
  const [one, two, other] = await Promise.all(["ann", "ann", "bob"].map((user) => enter(live, user)));
  const answers = await Promise.all(
    Array.from({ length: 40 }, async (_, i) => (i % 2 ? one : two)?.emitWithAck("say", i)),
  );
  const refused = answers.filter((answer) => answer?.error?.code === "rate_limited");
  expect(refused.length).toBeGreaterThanOrEqual(10);
  expect(refused.length).toBeLessThanOrEqual(20);
  expect(live.limited.length).toBe(refused.length);
  expect(live.limited[0]).toMatchObject({ limit: "eventsPerSecondPerUser", user: "ann" });
  expect(await other?.emitWithAck("say", 1)).toBe("ok");
  // Coming back does not refill it.
  one?.disconnect();
  two?.disconnect();
  const again = await enter(live, "ann");
  const more = await Promise.all(Array.from({ length: 20 }, () => again.emitWithAck("say", 1)));
  expect(more.filter((answer) => answer?.error).length).toBeGreaterThan(0);
});

test("all clients of an address share one allowance of events, over sockets and event streams", async () => {
  const live = await node({ eventsPerSecondPerAddress: 10 });
  const socket = await enter(live, "ann");
  const stream = await EventStream.open(`${live.url}/events`, { "x-user": "bob" });
  const answers = await Promise.all(Array.from({ length: 40 }, () => socket.emitWithAck("say", 1)));
  expect(answers.filter((answer) => answer?.error?.code === "rate_limited").length).toBeGreaterThanOrEqual(
    10,
  );
  const posts = await Promise.all(Array.from({ length: 5 }, () => stream.post({ event: "say" })));
  expect(posts.map(({ status }) => status)).toContain(429);
  expect(live.limited.map(({ limit }) => limit)).toContain("eventsPerSecondPerAddress");
});

describe("new connections", () => {
  const handshake = async (live: Live, path = "/socket.io/?EIO=4&transport=polling") => {
    const response = await fetch(`${live.url}${path}`, { headers: { "x-user": "ann" } });
    void response.body?.cancel();
    return response;
  };

  test.each(["handshakesPerSecond", "handshakesPerSecondPerAddress"] as const)(
    "are refused with 429 when there are too many: %s",
    async (limit) => {
      const live = await node({}, {}, { limits: { [limit]: 3 } });
      const responses = await Promise.all(Array.from({ length: 20 }, () => handshake(live)));
      const refused = responses.filter(({ status }) => status === 429);
      expect(refused.length).toBeGreaterThanOrEqual(12);
      expect(refused.length).toBeLessThanOrEqual(14);
      expect(refused[0]?.headers.get("retry-after")).toBe("1");
      expect(live.limited.length).toBe(refused.length);
      expect(live.limited[0]).toEqual({ limit, remoteAddress: "127.0.0.1" });
      expect((await handshake(live, "/events")).status).toBe(429);
      await live.raw().then(
        () => expect("a WebSocket").toBe("refused"),
        () => undefined,
      );
      // A stock client tries again by itself.
      const socket = live.client("/echo", { reconnection: true, reconnectionDelay: 50 });
      await until(() => socket.connected, "it came in");
    },
  );

  test("are counted however a newcomer pretends to be in already", async () => {
    const live = await node({}, {}, { limits: { handshakesPerSecond: 1 } });
    const tails = ["", "&sid=", "&sid", "#&sid=1", "&sid=1&sid=", "#?sid=1", "&sid=&sid=", "&s%69d="];
    const statuses = tails.map(async (tail) => {
      // `fetch` would leave out what comes after "#".
      const path = `/socket.io/?EIO=4&transport=polling${tail}`;
      const [answer] = (await once(get({ port: live.port, path }), "response")) as [IncomingMessage];
      answer.resume();
      return answer.statusCode;
    });
    const taken = (await Promise.all(statuses)).filter((status) => status === 200);
    expect(taken.length).toBeLessThanOrEqual(4);
    expect(live.limited.length).toBe(tails.length - taken.length);
  });

  test("who is in already goes on", async () => {
    const live = await node({}, {}, { limits: { handshakesPerSecond: 1 } });
    const socket = live.client("/echo", { transports: ["polling"] });
    await connected(socket);
    for (let i = 0; i < 10; i++)
      expect(await socket.emitWithAck("say", i)).toEqual({ event: "say", payload: i });
  });

  test("of one address leave room for others", async () => {
    const proxied = {
      trustedProxies: 1,
      limits: { handshakesPerSecondPerAddress: 2, handshakesPerSecond: 8 },
    };
    const live = await node({}, {}, proxied);
    const from = async (address: string) => {
      const response = await fetch(`${live.url}/socket.io/?EIO=4&transport=polling`, {
        headers: { "x-forwarded-for": address },
      });
      void response.body?.cancel();
      return response.status;
    };
    const flood = await Promise.all(Array.from({ length: 50 }, () => from("192.0.2.1")));
    expect(flood.filter((status) => status === 200).length).toBeLessThanOrEqual(6);
    expect(await from("192.0.2.2")).toBe(200);
    // Whoever has one address of IPv6 has a whole network of them.
    const hosts = Array.from({ length: 50 }, (_, i) => from(`2001:db8::${i + 1}`));
    const taken = (await Promise.all(hosts)).filter((status) => status === 200);
    expect(taken.length).toBeLessThanOrEqual(6);
  });
});

/** Fails while it is told to. */
class Shaky extends MemoryLimits {
  isDown = false;
  asked = 0;

  override async take(...args: Parameters<LimitStore["take"]>) {
    this.#ask();
    return super.take(...args);
  }
  override async sit(...args: Parameters<LimitStore["sit"]>) {
    this.#ask();
    return super.sit(...args);
  }
  #ask(): void {
    this.asked += 1;
    if (this.isDown) throw new LayerUnavailable("away");
  }
}

const stores: (readonly [string, () => () => LimitStore, typeof test])[] = [
  [
    "in memory",
    () => {
      const hub = new MemoryLimitsHub();
      return () => new MemoryLimits(hub);
    },
    test,
  ],
  [
    "in Redis",
    () => {
      prefixes += 1;
      const prefix = `limits-${prefixes}`;
      return () => new RedisLimits({ url: redis.url, prefix });
    },
    redisTest,
  ],
];
let redis: RedisServer;
let prefixes = 0;
beforeAll(async () => {
  if (hasRedis) redis = await RedisServer.start();
});
afterAll(() => redis?.close());

describe.each(stores)("nodes that share their limits %s", (_where, makeStores, prove) => {
  prove("count a user's connections together", async () => {
    const store = makeStores();
    const [one, two] = [
      await node({ connectionsPerUser: 2 }, { sharedLimits: store() }),
      await node({ connectionsPerUser: 2 }, { sharedLimits: store() }),
    ];
    const first = await enter(one, "ann");
    await enter(two, "ann");
    expect(await refusalOf(come(one, "ann"))).toEqual(TOO_MANY);
    expect(await refusalOf(come(two, "ann"))).toEqual(TOO_MANY);
    await enter(two, "bob");
    first.disconnect();
    // The seat is given back in a moment.
    await untilLetIn(two, "ann");
  });

  prove("count a user's events together, a tenth of a second's allowance at a time", async () => {
    const store = makeStores();
    const nodes = await Promise.all(
      [1, 2].map(() =>
        node({ eventsPerSecondPerUser: 20, eventsPerSecond: 100_000 }, { sharedLimits: store() }),
      ),
    );
    const sockets = await Promise.all(nodes.map((live) => enter(live, "ann")));
    const send = async () => {
      const answers = await Promise.all(sockets.map((socket) => socket.emitWithAck("say", 1)));
      return answers.filter((answer) => answer === "ok").length;
    };
    // First all that is there: one burst of 40, and what a node lets through while it asks.
    while ((await send()) > 0) {
      // On.
    }
    const beganAt = performance.now();
    let passed = 0;
    while (performance.now() - beganAt < 1_500) passed += await send();
    const seconds = (performance.now() - beganAt) / 1000;
    expect(passed).toBeLessThanOrEqual(Math.ceil(20 * seconds) + 4);
    expect(passed).toBeGreaterThan(0);
  });

  prove("count an address' connections together, whatever carries them", async () => {
    const store = makeStores();
    const server = { limits: { connectionsPerAddress: 2 } };
    const [one, two] = [
      await node({}, { sharedLimits: store() }, server),
      await node({}, { sharedLimits: store() }, server),
    ];
    const first = await enter(one, "ann");
    const stream = await EventStream.open(`${two.url}/events`, { "x-user": "ann" });
    expect(await statusOf(two)).toBe(403);
    expect(await statusOf(one)).toBe(403);
    expect(await statusOf(one, "/events")).toBe(429);
    await refusalOf(come(two, "ann"));
    for (const { limited } of [one, two]) {
      expect(limited.at(-1)).toEqual({ limit: "connectionsPerAddress", remoteAddress: "127.0.0.1" });
    }
    first.disconnect();
    // The seat is given back in a moment.
    await untilLetIn(two, "ann");
    expect(await statusOf(one)).toBe(403);
    stream.close();
    await untilLetIn(one, "ann");
  });

  prove("have the seats of one that has stopped", async () => {
    const store = makeStores();
    const server = { limits: { connectionsPerAddress: 1 } };
    const [one, two] = [
      await node({}, { sharedLimits: store() }, server),
      await node({}, { sharedLimits: store() }, server),
    ];
    await enter(one, "ann");
    expect(await statusOf(two)).toBe(403);
    await one.server.stop();
    await enter(two, "ann");
  });

  prove("count what `limitConnections` limits together, each by itself", async () => {
    const store = makeStores();
    const made = () =>
      node(
        {},
        {
          sharedLimits: store(),
          routes: [
            route("/echo", Echo, { middleware: [limitConnections({ perAddress: 3 })] }),
            route("/room", Room, { middleware: [limitConnections({ perAddress: 2 })] }),
          ],
        },
      );
    const [one, two] = [await made(), await made()];
    const first = await enter(one, "ann");
    await enter(two, "bob");
    const tooMany = { code: 4529, reason: "too many connections at once; close others first" };
    expect(await refusalOf(come(one, "eve"))).toEqual(tooMany);
    expect(await refusalOf(come(two, "eve"))).toEqual(tooMany);
    for (let i = 0; i < 3; i++) await enter(i % 2 ? one : two, "eve", "/echo");
    expect(await refusalOf(come(two, "eve", "/echo"))).toEqual(tooMany);
    first.disconnect();
    await untilLetIn(two, "eve");
  });

  prove("find a `limitConnections` that another middleware calls by its name alone", async () => {
    const store = makeStores();
    const made = async () => {
      const calls =
        (limit: Middleware): Middleware =>
        (scope, next) =>
          limit(scope, next);
      const routes = [
        route("/echo", Echo, { middleware: [calls(limitConnections({ perAddress: 1 }))] }),
        route("/room", Room, { middleware: [calls(limitConnections({ perAddress: 1, name: "room" }))] }),
      ];
      return node({}, { sharedLimits: store(), routes });
    };
    const [one, two] = [await made(), await made()];
    await enter(one, "ann", "/echo");
    await enter(two, "ann", "/echo");
    expect(await refusalOf(come(two, "ann", "/echo"))).toMatchObject({ code: 4529 });
    await enter(one, "ann");
    expect(await refusalOf(come(two, "ann"))).toMatchObject({ code: 4529 });
  });

  prove("count an address' new connections together", async () => {
    const store = makeStores();
    const limits = { limits: { handshakesPerSecondPerAddress: 2 } };
    const nodes = [
      await node({}, { sharedLimits: store() }, limits),
      await node({}, { sharedLimits: store() }, limits),
    ];
    const statuses = await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        const response = await fetch(`${nodes[i % 2]?.url}/socket.io/?EIO=4&transport=polling`);
        void response.body?.cancel();
        return response.status;
      }),
    );
    const taken = statuses.filter((status) => status === 200).length;
    expect(taken).toBeGreaterThanOrEqual(4);
    expect(taken).toBeLessThanOrEqual(6);
  });
});

test("no message waits for the store, and it is not asked about each", async () => {
  const store = new Shaky();
  const live = await node(
    { eventsPerSecondPerUser: 1_000, eventsPerSecond: 10_000 },
    { sharedLimits: store },
  );
  const socket = await enter(live, "ann");
  for (let i = 0; i < 500; i++) expect(await socket.emitWithAck("say", i)).toBe("ok");
  expect(store.asked).toBeGreaterThan(0);
  expect(store.asked).toBeLessThan(50);
});

test.each([
  ["the server", [], { limits: { connectionsPerAddress: 2 } }],
  ["`limitConnections`", [limitConnections({ perAddress: 2 })], {}],
])(
  "while the store is away each node counts connections of an address by itself: %s",
  async (_who, middleware, server: ServerOptions) => {
    const hub = new MemoryLimitsHub();
    const made = async () => {
      const store = new Shaky(hub);
      const live = await node({}, { sharedLimits: store, middleware }, server);
      return Object.assign(live, { store });
    };
    const [one, two] = [await made(), await made()];
    await enter(one, "ann");
    await enter(two, "ann");
    one.store.isDown = true;
    await enter(one, "ann");
    for (const full of [one, two]) {
      await expect(enter(full, "ann")).rejects.toThrow(/websocket error|too many connections/);
    }
  },
);

test("while the store is away each node counts by itself, and lets nobody wait", async () => {
  const store = new Shaky();
  const live = await node(
    { eventsPerSecondPerUser: 20, connectionsPerUser: 2 },
    { sharedLimits: store },
    { limits: { handshakesPerSecondPerAddress: 100 } },
  );
  store.isDown = true;
  const [one] = await Promise.all([enter(live, "ann"), enter(live, "ann")]);
  expect(await refusalOf(come(live, "ann"))).toEqual(TOO_MANY);
  const answers = await Promise.all(Array.from({ length: 90 }, async () => one?.emitWithAck("say", 1)));
  const passed = answers.filter((answer) => answer === "ok").length;
  expect(passed).toBeGreaterThanOrEqual(40);
  expect(passed).toBeLessThanOrEqual(60);
});

test("a limit that is broken says which, in the fact", async () => {
  const live = await node(
    { groupsPerConnection: 2, newGroupsPerSecond: 2 },
    {},
    { limits: { namespacesPerConnection: 1, maxPayloadBytes: 1_000 } },
  );
  const socket = await enter(live, "ann");
  await socket.emitWithAck("join", "a");
  expect(await socket.emitWithAck("join", "b")).toMatchObject({ error: { code: "rate_limited" } });
  const other = await enter(live, "bob");
  expect(await other.emitWithAck("join", "c")).toMatchObject({ error: { code: "rate_limited" } });
  await refusalOf(other.io.socket("/echo", { auth: {} } as never));
  const left = heard(socket, "disconnect");
  socket.emit("say", "x".repeat(2_000));
  await left;
  await until(() => live.limited.length >= 4, "all were told");
  expect(live.limited.map(({ limit, user }) => `${limit} ${user}`)).toEqual([
    "groupsPerConnection ann",
    "newGroupsPerSecond bob",
    "namespacesPerConnection undefined",
    "maxPayloadBytes undefined",
  ]);
});

test("a payload that is too large is told however it comes, with where it came from", async () => {
  const live = await node({}, {}, { trustedProxies: 1, limits: { maxPayloadBytes: 1_000 } });
  const large = "x".repeat(2_000);
  const said = (address: string) => ({ "x-forwarded-for": address });
  const raw = await live.raw({ headers: said("192.0.2.1") });
  raw.send(large);
  await raw.closed;
  const polling = `${live.url}/socket.io/?EIO=4&transport=polling`;
  const opened = await (await fetch(polling, { headers: said("192.0.2.2") })).text();
  const { sid } = JSON.parse(opened.slice(1)) as { sid: string };
  const post = { method: "POST", body: large, headers: said("192.0.2.2") };
  expect((await fetch(`${polling}&sid=${sid}`, post)).status).toBe(413);
  const stream = await EventStream.open(`${live.url}/events`, said("192.0.2.3"));
  const { status, body } = await stream.post({ event: "say", payload: large });
  expect([status, body]).toMatchObject([413, { error: { code: "message_too_large" } }]);
  expect((await stream.post("{")).status).toBe(400);
  await until(() => live.limited.length >= 3, "all were told");
  expect(live.limited).toEqual([
    { limit: "maxPayloadBytes", remoteAddress: "192.0.2.1" },
    { limit: "maxPayloadBytes", remoteAddress: "192.0.2.2" },
    { limit: "maxPayloadBytes", remoteAddress: "192.0.2.3", namespace: "/events" },
  ]);
});

test("so is a body that a parser of the application's own finds too large", async () => {
  const live = await node({}, { routes: [http("/form", express.json({ limit: 100 }))] });
  const headers = { "content-type": "application/json" };
  const body = JSON.stringify("x".repeat(200));
  const send = (body: string) => fetch(`${live.url}/form`, { method: "POST", headers, body });
  expect((await send(body)).status).toBe(413);
  expect((await send("{")).status).toBe(400);
  expect(live.limited).toEqual([
    { limit: "maxPayloadBytes", remoteAddress: "127.0.0.1", namespace: "/form" },
  ]);
});

redisTest("a Redis that goes away takes no limit with it, and one that returns is used again", async () => {
  const own = await RedisServer.start();
  try {
    const store = new RedisLimits({ url: own.url, heartbeatMs: 50, commandTimeoutMs: 300 });
    const live = await node({ connectionsPerUser: 2 }, { sharedLimits: store });
    await enter(live, "ann");
    await own.end();
    await enter(live, "ann");
    expect(await refusalOf(come(live, "ann"))).toEqual(TOO_MANY);
    await own.begin();
    await eventually(() =>
      store.leave("room", "seat").then(
        () => true,
        () => false,
      ),
    );
    await enter(live, "bob");
  } finally {
    await own.close();
  }
});
