import { once } from "node:events";
import { type IncomingMessage, request } from "node:http";
import { connect as connectTcp, createServer as createTcpServer, type Socket as TcpSocket } from "node:net";
import { expect, test } from "@jest/globals";
import { ConfigurationError, createApplication, route, sse } from "sluice";
import { createServer } from "sluice/server";
import { EventStream } from "./event-stream.ts";
import { atEnd, connected, Diary, Echo, gate, heard, type Live, serve, stock, until } from "./live-server.ts";

/** So long that no client's time comes within a test. */
const AGES = { drainMs: 2_000_000_000, stopTimeoutMs: 2_100_000_000 };
const TOLD = { code: 4503, reason: "the server is stopping" };

/** Says which node serves. */
class Who extends Echo {
  override receive() {
    return this.channel.split("!")[0];
  }
}

/** Counts turns of the event loop, to see what happens in one moment and what does not. */
function turns(): () => number {
  let count = 0;
  let isOver = false;
  const next = () => {
    count += 1;
    if (!isOver) setImmediate(next);
  };
  next();
  atEnd(() => {
    isOver = true;
  });
  return () => count;
}

/** A balancer as small as can be: what each connection says first decides to which node it goes. */
async function balance(choose: (head: string) => Promise<Live | undefined>): Promise<string> {
  const open = new Set<TcpSocket>();
  const keep = (socket: TcpSocket) => {
    open.add(socket);
    socket.on("error", () => {}).once("close", () => open.delete(socket));
  };
  const proxy = createTcpServer((client) => {
    keep(client);
    client.once("data", (head) => {
      client.pause();
      void choose(String(head)).then((node) => {
        if (node === undefined) return client.destroy();
        const upstream = connectTcp(node.port, "127.0.0.1", () => {
          upstream.write(head);
          client.pipe(upstream).pipe(client);
        });
        keep(upstream);
        client.once("close", () => upstream.destroy());
        return upstream.once("close", () => client.destroy());
      });
    });
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  atEnd(() => {
    for (const socket of open) socket.destroy();
    return new Promise((resolve) => proxy.close(resolve));
  });
  return `http://127.0.0.1:${(proxy.address() as { port: number }).port}`;
}

/** The node that has the polling session the request speaks of, otherwise the first that is ready. */
async function nodeFor(head: string, nodes: readonly Live[]): Promise<Live | undefined> {
  const [, sid] = /[?&]sid=([^& ]+)/.exec(head) ?? [];
  if (sid !== undefined) return nodes.find(({ io }) => Object.hasOwn(clientsIn(io), sid));
  for (const node of nodes) {
    const isReady = await fetch(`${node.url}/readyz`).then(
      ({ status }) => status === 200,
      () => false,
    );
    if (isReady) return node;
  }
  return undefined;
}

function clientsIn(io: Live["io"]): object {
  return (io.engine as unknown as { readonly clients: object }).clients;
}

test("stock clients of a node that drains move to the other one by themselves, and were told", async () => {
  const one = await serve(
    { routes: [route("/room/:id", Who)] },
    { drainDelayMs: 50, drainMs: 150, stopTimeoutMs: 10_000 },
  );
  const two = await serve({ routes: [route("/room/:id", Who)] });
  const url = await balance((head) => nodeFor(head, [one, two]));
  const clients = await Promise.all(
    Array.from({ length: 12 }, (_, n) => {
      const transports = [["websocket"], ["polling"], ["polling", "websocket"]][n % 3] as string[];
      return connected(stock(`${url}/room/${n}`, { reconnection: true, transports }));
    }),
  );
  for (const client of clients) expect(await client.emitWithAck("who")).toBe(one.app.node);
  const told = clients.map((client) => heard(client, "sluice.close"));
  const back = clients.map((client) => heard(client, "connect"));
  await one.server.stop();
  expect(await Promise.all(told)).toEqual(clients.map(() => [TOLD]));
  await Promise.all(back);
  for (const client of clients) expect(await client.emitWithAck("who")).toBe(two.app.node);
  expect(one.app).toBeEmpty();
});

test("until the balancer has noticed, only readiness has changed: new clients come in and old ones go on", async () => {
  const diary = new Diary();
  const live = await serve(
    { routes: [route("/room", diary.Witness), sse("/stream", diary.Witness)] },
    { drainDelayMs: 2_000_000_000, stopTimeoutMs: 10_000 },
  );
  const old = await connected(live.client("/room"));
  const stopped = live.server.stop();
  const ready = await fetch(`${live.url}/readyz`);
  expect([ready.status, await ready.json()]).toEqual([
    404,
    { status: "draining", causes: ["told to stop"], node: live.app.node },
  ]);
  expect((await fetch(`${live.url}/livez`)).status).toBe(200);
  const newcomers = [
    await connected(live.client("/room")),
    await connected(live.client("/room", { transports: ["polling"] })),
  ];
  const stream = await EventStream.open(`${live.url}/stream`);
  for (const client of [old, ...newcomers]) {
    expect(await client.emitWithAck("say", 1)).toEqual({ event: "say", payload: 1 });
  }
  expect(await stream.post({ event: "say", payload: 2 })).toMatchObject({ status: 200 });
  expect(diary.reasons).toEqual([]);

  const told = [old, ...newcomers].map((client) => heard(client, "sluice.close"));
  await live.server.stop({ atOnce: true });
  await stopped;
  expect(await Promise.all(told)).toEqual([[TOLD], [TOLD], [TOLD]]);
  expect((await stream.next("sluice.close")).data).toEqual(TOLD);
  expect(diary.reasons.map(({ kind }) => kind)).toEqual(Array(4).fill("stopping"));
});

test("until a client's time has come it is served, new routes too, while new clients are refused", async () => {
  const live = await serve({ routes: [route("/room/:id", Echo), sse("/stream", Echo)] }, AGES);
  const clients = await Promise.all(
    [["websocket"], ["polling"]].map((transports) => connected(live.client("/room/1", { transports }))),
  );
  const stream = await EventStream.open(`${live.url}/stream`);
  live.server.express.get("/page", (_request, response) => void response.send("a page"));
  const stopped = live.server.stop();
  await expect(live.raw()).rejects.toThrow();
  expect((await fetch(`${live.url}/socket.io/?EIO=4&transport=polling`)).status).toBe(503);
  const refused = await fetch(`${live.url}/stream`);
  expect([refused.status, await refused.json()]).toEqual([
    503,
    { error: { code: "connection_denied", closeCode: 4503, message: TOLD.reason } },
  ]);
  expect((await fetch(`${live.url}/readyz`)).status).toBe(404);

  for (const client of clients) {
    expect(await client.emitWithAck("say", 1)).toEqual({ event: "say", payload: 1 });
    const second = await connected(client.io.socket("/room/2", {}));
    expect(await second.emitWithAck("say", 2)).toEqual({ event: "say", payload: 2 });
  }
  expect(await stream.post({ event: "say", payload: 3 })).toMatchObject({ status: 200 });
  expect(await (await fetch(`${live.url}/page`)).text()).toBe("a page");

  await live.server.stop({ atOnce: true });
  await stopped;
});

test("a stock client that knocks at a node which takes nobody any more tries again until another one is there", async () => {
  const live = await serve({ routes: [route("/room", Who)] }, AGES);
  const next = await serve({ routes: [route("/room", Who)] });
  await connected(live.client("/room"));
  const stopped = live.server.stop();
  await expect(live.raw()).rejects.toThrow();
  let node = live;
  const url = await balance(async () => node);
  for (const transports of [["websocket"], ["polling"]]) {
    node = live;
    const client = stock(`${url}/room`, { reconnection: true, transports });
    await heard(client, "connect_error");
    expect(client.active).toBe(true);
    node = next;
    await heard(client, "connect");
    expect(await client.emitWithAck("who")).toBe(next.app.node);
  }
  await live.server.stop({ atOnce: true });
  await stopped;
});

test("clients are told one after the other over the time there is, streams among them, and hooks run once each", async () => {
  const turn = turns();
  const ends: number[] = [];
  const diary = new Diary();
  class Leaving extends diary.Witness {
    override disconnect(reason: Parameters<Echo["disconnect"]>[0]) {
      ends.push(turn());
      return super.disconnect(reason);
    }
  }
  const live = await serve(
    { routes: [route("/room", Leaving), sse("/stream", Leaving)] },
    { drainMs: 1_000, stopTimeoutMs: 10_000 },
  );
  const clients = await Promise.all(
    Array.from({ length: 10 }, (_, n) =>
      connected(live.client("/room", { transports: [n % 2 === 0 ? "websocket" : "polling"] })),
    ),
  );
  const streams = await Promise.all(Array.from({ length: 10 }, () => EventStream.open(`${live.url}/stream`)));
  const told = clients.map((client) => heard(client, "sluice.close"));
  await live.server.stop();
  expect(await Promise.all(told)).toEqual(clients.map(() => [TOLD]));
  for (const stream of streams) {
    expect((await stream.next("sluice.close")).data).toEqual(TOLD);
    await until(() => stream.ended, "the stream ends");
  }
  expect(diary.reasons.map(({ kind }) => kind)).toEqual(Array(20).fill("stopping"));
  expect(new Set(ends).size).toBeGreaterThan(5);
});

test("all routes of one connection move in one moment, and a connection without any goes, too", async () => {
  const turn = turns();
  const ends: number[] = [];
  class Leaving extends Echo {
    override disconnect() {
      ends.push(turn());
    }
  }
  const live = await serve({ routes: [route("/room/:id", Leaving)] }, { drainMs: 50, stopTimeoutMs: 10_000 });
  const first = await connected(live.client("/room/1", { reconnection: true }));
  const sockets = [first, await connected(first.io.socket("/room/2", {}))];
  sockets.push(await connected(first.io.socket("/room/3", {})));
  const idle = await live.raw();
  const gone = sockets.map((socket) => heard(socket, "disconnect"));
  await live.server.stop();
  await idle.closed;
  expect((await Promise.all(gone)).map(([reason]) => reason)).toEqual(Array(3).fill("transport close"));
  expect(sockets.map(({ active }) => active)).toEqual([true, true, true]);
  expect(ends).toHaveLength(3);
  expect(new Set(ends).size).toBe(1);
});

test("a stream tells the browser to come back sooner than it would by itself", async () => {
  const live = await serve({ routes: [sse("/stream", Echo)] });
  const abort = new AbortController();
  atEnd(() => abort.abort());
  const { body } = await fetch(`${live.url}/stream`, { signal: abort.signal });
  let text = "";
  for await (const chunk of body ?? []) {
    text += Buffer.from(chunk).toString();
    if (text.includes("sluice.open")) break;
  }
  const [, retryMs] = /^retry: (\d+)\n\n/.exec(text) ?? [];
  expect(Number(retryMs)).toBeGreaterThanOrEqual(500);
  expect(Number(retryMs)).toBeLessThanOrEqual(1_500);
});

test("stopTimeoutMs bounds the whole, hooks that hang included, counted from the end of the delay", async () => {
  class Hanging extends Echo {
    override disconnect() {
      return new Promise<void>(() => {});
    }
  }
  const live = await serve(
    { routes: [route("/room", Hanging)], closeTimeoutMs: 600_000 },
    { drainDelayMs: 150, drainMs: 50, stopTimeoutMs: 100 },
  );
  const client = await connected(live.client("/room"));
  const told = heard(client, "sluice.close");
  await live.server.stop();
  expect(await told).toEqual([TOLD]);
  expect(live.app).toBeEmpty();
});

test("connections that are kept for further requests are given up while the node drains", async () => {
  const live = await serve({ routes: [route("/room", Echo)] }, { drainDelayMs: 2_000_000_000 });
  live.server.express.get("/page", (_request, response) => void response.send("a page"));
  const keptBy = async (path: string) => (await fetch(live.url + path)).headers.get("connection");
  const polling = "/socket.io/?EIO=4&transport=polling";
  expect([await keptBy("/page"), await keptBy(polling)]).toEqual(["keep-alive", "keep-alive"]);
  const stopped = live.server.stop();
  expect([await keptBy("/page"), await keptBy(polling)]).toEqual(["close", "close"]);
  await live.server.stop({ atOnce: true });
  await stopped;
});

test("that a node drains is announced at once, with how many are to move and over what time", async () => {
  const live = await serve({ routes: [route("/room", Echo)] }, { drainMs: 20, stopTimeoutMs: 10_000 });
  const facts: unknown[] = [];
  live.app.signals.draining.connect((fact) => void facts.push(fact));
  live.app.signals.stopped.connect((fact) => void facts.push(fact));
  await connected(live.client("/room"));
  const { node } = live.app;
  const stopped = live.server.stop();
  expect(facts).toEqual([{ node, connections: 1, delayMs: 0, drainMs: 20 }]);
  await Promise.all([stopped, live.server.stop()]);
  expect(facts).toEqual([expect.anything(), { node }]);
});

test("a server that was never started stops at once, whatever its delay", async () => {
  const app = createApplication({ routes: [route("/room", Echo)] });
  await createServer(app, { drainDelayMs: 2_000_000_000 }).stop();
});

test("a drain that could not end before the deadline is refused", () => {
  const app = createApplication({ routes: [route("/room", Echo)] });
  const make = (drainMs: number) => () => createServer(app, { drainMs, stopTimeoutMs: 5_000 });
  expect(make(5_000)).toThrow(ConfigurationError);
  expect(make(5_000)).toThrow(
    "server.drainMs (5000) must be below server.stopTimeoutMs (5000), which holds for all of it and the disconnect hooks",
  );
  expect(make(-1)).toThrow("server.drainMs must be a whole number of at least 0 (below 2^31), not -1");
  expect(make(4_999)).not.toThrow();
});

test("who knocks at a node that is leaving hears 503, whatever the transport, so that a balancer tries another", async () => {
  const held = gate();
  class Slow extends new Diary().Witness {
    override disconnect() {
      return held.passed;
    }
  }
  // Which is said before anything else, also to those who come too often.
  const limits = { handshakesPerSecondPerAddress: 1 };
  const live = await serve({ routes: [route("/room", Slow)] }, { stopTimeoutMs: 10_000, limits });
  const polling = await connected(live.client("/room", { transports: ["polling"] }));
  const stopped = live.server.stop();
  await heard(polling, "sluice.close");
  const handshake = await fetch(`${live.url}/socket.io/?EIO=4&transport=polling`);
  expect(handshake.status).toBe(503);
  expect(await handshake.json()).toEqual({ code: 503, message: "the server is stopping" });
  const upgrade = request(`${live.url}/socket.io/?EIO=4&transport=websocket`, {
    headers: {
      Connection: "Upgrade",
      Upgrade: "websocket",
      "Sec-WebSocket-Version": "13",
      "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    },
  });
  upgrade.end();
  const [answer] = (await once(upgrade, "response")) as [IncomingMessage];
  expect(answer.statusCode).toBe(503);
  answer.resume();
  await once(answer, "close");
  for (let n = 0; n < 4; n += 1) {
    expect((await fetch(`${live.url}/socket.io/?EIO=4&transport=polling`)).status).toBe(503);
  }
  held.open();
  await stopped;
});

test("who was told to move last finds a refusal, not a closed port, when it comes back by its balancer's cookie", async () => {
  const live = await serve({ routes: [route("/room", Echo)] }, { drainMs: 20, stopTimeoutMs: 10_000 });
  const client = await connected(live.client("/room"));
  const gone = heard(client, "disconnect");
  const stopped = live.server.stop();
  await gone;
  await live.empty();
  expect((await fetch(`${live.url}/socket.io/?EIO=4&transport=polling`)).status).toBe(503);
  await live.server.stop({ atOnce: true });
  await stopped;
  await expect(fetch(live.url)).rejects.toThrow();
});
