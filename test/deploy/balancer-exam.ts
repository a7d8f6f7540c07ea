/** What every balancer must do for the nodes behind it; each recipe in deploy/ passes this. */
import { createServer as createHttpServer, Agent as HttpAgent } from "node:http";
import type { Socket as NetSocket } from "node:net";
import { expect } from "@jest/globals";
import { Consumer, createApplication, route } from "sluice";
import { createServer, type Server } from "sluice/server";
import type { Socket } from "socket.io-client";
import { atEnd, connected, gate, heard, stock, until } from "../server/live-server.ts";
import { keepCookies } from "./browser-cookies.ts";
import { testWith } from "./programs.ts";

/** Starts the balancer with its committed configuration in front of these ports of 127.0.0.1. */
export type StartBalancer = (nodes: readonly [number, number]) => Promise<{ readonly port: number }>;

interface Balanced {
  readonly nodes: readonly [Node, Node];
  client(transport: "polling" | "websocket" | "both", options?: Parameters<typeof stock>[1]): Socket;
  newcomer(transport?: "polling" | "websocket"): Promise<Place>;
  readonly url: string;
}

interface Node {
  readonly name: string;
  readonly server: Server;
  readonly port: number;
  /** How often it was asked for its readiness and said no. */
  unready(): number;
  /** As if the machine were gone. */
  die(): Promise<void>;
}

interface NodeOptions {
  readonly drainDelayMs?: number;
  readonly stopTimeoutMs?: number;
  /** What the `disconnect` hooks wait for. */
  readonly leaving?: Promise<unknown>;
}

interface Place {
  readonly node: string;
  readonly address: string;
}

/**
 * @param asksForReadiness - the balancer asks `/readyz` at intervals and sends newcomers elsewhere; one
 * that does not finds out when a node refuses them
 */
export function passesTheBalancerExam(
  program: string,
  start: StartBalancer,
  { asksForReadiness }: { readonly asksForReadiness: boolean },
): void {
  const test = testWith(program);

  test("a client that polls stays on its node", async () => {
    const { client, nodes } = await balanced(start);
    const clients = Array.from({ length: 24 }, () => client("polling"));
    const homes = await Promise.all(clients.map(placeOf));
    expect(new Set(homes.map(({ node }) => node))).toEqual(new Set(nodes.map(({ name }) => name)));
    for (let round = 0; round < 10; round++) {
      expect(await Promise.all(clients.map(whereIs))).toEqual(homes);
    }
    expect(clients.map(({ io }) => io.engine.transport.name)).toEqual(clients.map(() => "polling"));
  });

  test("a second client of the same browser comes to the node of the first", async () => {
    const { url, client } = await balanced(start);
    const cookie = await cookieFrom(url);
    const tabs = Array.from({ length: 8 }, () =>
      client("polling", { extraHeaders: { cookie }, withCredentials: false }),
    );
    const homes = await Promise.all(tabs.map(placeOf));
    expect(new Set(homes.map(({ node }) => node)).size).toBe(1);
    expect(await Promise.all(tabs.map(whereIs))).toEqual(homes);
  });

  test("WebSockets pass, at once and by upgrade", async () => {
    const { client, nodes } = await balanced(start);
    const direct = Array.from({ length: 12 }, () => client("websocket"));
    const upgrading = Array.from({ length: 12 }, () => client("both"));
    const homes = await Promise.all([...direct, ...upgrading].map(placeOf));
    expect(new Set(homes.map(({ node }) => node))).toEqual(new Set(nodes.map(({ name }) => name)));
    for (const { io } of [...direct, ...upgrading]) {
      await until(() => io.engine.transport.name === "websocket", "the connection is a WebSocket");
    }
    expect(await Promise.all([...direct, ...upgrading].map(whereIs))).toEqual(homes);
  });

  test.each(["polling", "websocket"] as const)(
    "a consumer sees the address of its client, whatever that claims (%s)",
    async (transport) => {
      const { client } = await balanced(start);
      const agent = new HttpAgent({ localAddress: "127.0.0.77" });
      atEnd(() => agent.destroy());
      const liar = client(transport, {
        // The types want a browser's agent or a name.
        agent: agent as unknown as string,
        extraHeaders: { "X-Forwarded-For": "6.6.6.6", Forwarded: "for=6.6.6.6", "X-Real-IP": "6.6.6.6" },
      });
      expect((await placeOf(liar)).address).toBe("127.0.0.77");
    },
  );

  test("how a node feels is not told to the world", async () => {
    const { url } = await balanced(start);
    expect((await fetch(`${url}/livez`)).status).toBe(403);
    expect((await fetch(`${url}/readyz`)).status).toBe(403);
  });

  test("a dead node gets no newcomers, and its clients come back on another", async () => {
    const { client, newcomer, nodes } = await balanced(start);
    const clients = Array.from({ length: 8 }, (_, n) =>
      client(n % 2 === 0 ? "websocket" : "polling", { reconnection: true }),
    );
    const homes = await Promise.all(clients.map(placeOf));
    const [dead, alive] = homes[0]?.node === nodes[0].name ? nodes : [nodes[1], nodes[0]];
    const moved = clients.map((socket, n) =>
      homes[n]?.node === dead.name ? heard<[Place]>(socket, "place") : undefined,
    );
    await dead.die();
    for (const place of moved) {
      if (place !== undefined) expect((await place)[0].node).toBe(alive.name);
    }
    for (let n = 0; n < 6; n++) {
      expect((await newcomer(n % 2 === 0 ? "websocket" : "polling")).node).toBe(alive.name);
    }
  });

  test("a client that is told to move comes in elsewhere, though its cookie names the old node", async () => {
    const held = gate();
    const { client, nodes, url } = await balanced(start, {
      ...(asksForReadiness ? { drainDelayMs: 600_000 } : {}),
      stopTimeoutMs: 20_000,
      leaving: held.passed,
    });
    const cookie = await cookieFrom(url);
    const clients = (["polling", "both", "polling", "both"] as const).map((transport) => {
      const extraHeaders = { cookie };
      const socket = client(transport, { reconnection: true, extraHeaders });
      keepCookies(socket, extraHeaders);
      return socket;
    });
    const [home] = await Promise.all(clients.map(placeOf));
    const [old, other] = home?.node === nodes[0].name ? nodes : [nodes[1], nodes[0]];
    const moved = clients.map(arrival);
    const refusals: Error[] = [];
    for (const { io } of clients) io.on("reconnect_error", (error) => refusals.push(error));
    // Its hooks are held: it still listens, and refuses newcomers.
    const stopped = old.server.stop();
    if (asksForReadiness) {
      await knowsThatItDrains(old);
      void old.server.stop({ atOnce: true });
    }
    const places = await Promise.all(moved);
    expect(places.map(({ node }) => node)).toEqual(clients.map(() => other.name));
    expect(refusals).toEqual([]);
    // They stay there, by a new cookie.
    for (let round = 0; round < 5; round++) {
      expect(await Promise.all(clients.map(whereIs))).toEqual(places);
    }
    held.open();
    await stopped;
  });

  if (!asksForReadiness) return;

  test("a draining node gets no newcomers, and keeps its clients", async () => {
    const { client, newcomer, nodes } = await balanced(start, { drainDelayMs: 600_000 });
    const clients = Array.from({ length: 8 }, (_, n) => client(n % 2 === 0 ? "polling" : "both"));
    const homes = await Promise.all(clients.map(placeOf));
    // Whoever came first: chance may have sent all of them to one node.
    const [draining, other] = homes[0]?.node === nodes[0].name ? nodes : [nodes[1], nodes[0]];
    void draining.server.stop();
    await knowsThatItDrains(draining);
    for (let n = 0; n < 10; n++) {
      expect((await newcomer(n % 2 === 0 ? "websocket" : "polling")).node).toBe(other.name);
    }
    // Whoever is here stays, and every further request finds the way.
    for (let round = 0; round < 5; round++) {
      expect(await Promise.all(clients.map(whereIs))).toEqual(homes);
    }
  });
}

/**
 * The balancer knows that the node is not ready: it was told and has asked again since, as one check of a
 * balancer follows the other. (Where newcomers come in says less: by chance they may all go elsewhere.)
 */
async function knowsThatItDrains(node: Node): Promise<void> {
  const before = node.unready();
  await until(() => node.unready() >= before + 3, "the balancer was told that the node is not ready");
}

async function balanced(start: StartBalancer, options: NodeOptions = {}): Promise<Balanced> {
  const nodes = [await startNode(options), await startNode(options)] as const;
  const { port } = await start([nodes[0].port, nodes[1].port]);
  const url = `http://127.0.0.1:${port}`;
  await untilReady(url);
  const transportsOf = { polling: ["polling"], websocket: ["websocket"], both: ["polling", "websocket"] };
  const client: Balanced["client"] = (transport, options) =>
    stock(`${url}/where`, {
      transports: transportsOf[transport],
      withCredentials: true,
      reconnection: false,
      ...options,
    });
  return {
    nodes,
    url,
    client,
    async newcomer(transport = "websocket") {
      const socket = client(transport);
      const place = await placeOf(socket);
      socket.disconnect();
      return place;
    },
  };
}

async function startNode({
  drainDelayMs = 0,
  stopTimeoutMs = 200,
  leaving = Promise.resolve(),
}: NodeOptions): Promise<Node> {
  class Where extends Consumer {
    #place = { node: "", address: this.scope.remoteAddress };
    override connect() {
      this.#place.node = this.channel.split("!")[0] ?? "";
      this.send("place", this.#place);
    }
    override receive() {
      return this.#place;
    }
    override disconnect() {
      return leaving;
    }
  }
  const http = createHttpServer();
  const sockets = new Set<NetSocket>();
  http.on("connection", (socket) => sockets.add(socket.once("close", () => sockets.delete(socket))));
  const app = createApplication({ routes: [route("/where", Where)], closeTimeoutMs: stopTimeoutMs });
  const server = createServer(app, {
    server: http,
    trustedProxies: 1,
    drainDelayMs,
    stopTimeoutMs,
  });
  await server.listen();
  // After `listen`: whoever listened before answers what it does not know.
  let unready = 0;
  http.on("request", ({ url }, response) => {
    response.once("finish", () => {
      if (url === "/readyz" && response.statusCode !== 200) unready++;
    });
  });
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  const close = () => {
    http.close();
    for (const socket of sockets) socket.destroy();
  };
  atEnd(async () => {
    close();
    await server.stop({ atOnce: true });
  });
  const { port } = http.address() as { port: number };
  return { name: app.node, server, port, unready: () => unready, die: async () => close() };
}

/** A balancer takes connections a moment before it knows its nodes, and may miss one that was slow at first. */
async function untilReady(url: string): Promise<void> {
  // A node knows no page at "/", and says so; the cookie says which.
  const cookies = new Set<string>();
  let isOver = false;
  const ask = async () => {
    while (!isOver && cookies.size < 2) {
      const answer = await fetch(url).catch(() => undefined);
      await answer?.text();
      if (answer?.status === 404) cookies.add(cookieOf(answer));
    }
  };
  try {
    await Promise.all([ask(), until(() => cookies.size === 2, "the balancer knows its nodes")]);
  } finally {
    isOver = true;
  }
}

async function cookieFrom(url: string): Promise<string> {
  return cookieOf(await fetch(url));
}

function cookieOf(answer: Response): string {
  const [cookie = ""] = answer.headers.getSetCookie().map((text) => text.split(";")[0] ?? "");
  expect(cookie).toMatch(/^sluice_node=.+/i);
  return cookie;
}

/** Where a client came in. */
async function placeOf(socket: Socket): Promise<Place> {
  const place = heard<[Place]>(socket, "place");
  await connected(socket);
  return (await place)[0];
}

/** Where it comes in next. */
async function arrival(socket: Socket): Promise<Place> {
  return (await heard<[Place]>(socket, "place"))[0];
}

async function whereIs(socket: Socket): Promise<Place> {
  return socket.timeout(10_000).emitWithAck("where") as Promise<Place>;
}
