/** Plain `ws`: a set of clients for each room, a message encoded once and sent to each of them. */
import type { IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import type { Payload } from "../messages.ts";
import { fromPeers } from "../peer-packages.ts";
import { contend } from "./contender.ts";
import { Say } from "./say.ts";

interface Client {
  send(data: string | Buffer, options?: { readonly binary: boolean }): void;
  on(event: "message", listener: (data: Buffer) => void): void;
  on(event: "close", listener: () => void): void;
}

interface WebSocketServer {
  on(event: "connection", listener: (client: Client, request: IncomingMessage) => void): void;
  once(event: "listening", listener: () => void): void;
  address(): AddressInfo;
}

const { WebSocketServer } = fromPeers<{
  readonly WebSocketServer: new (options: object) => WebSocketServer;
}>("ws");

const rooms = new Map<number, Set<Client>>();

function publish(room: number, payload: unknown): void {
  const frame = Buffer.from(JSON.stringify({ t: "m", ...(payload as Payload) }));
  for (const client of rooms.get(room) ?? []) client.send(frame, { binary: false });
}

function enter(client: Client, { url = "" }: IncomingMessage): void {
  const own = new URL(url, "ws://bench").searchParams.get("rooms")?.split(",").map(Number) ?? [];
  for (const room of own) {
    const members = rooms.get(room) ?? new Set();
    rooms.set(room, members.add(client));
  }
  client.on("message", (data) => {
    const { t, ...payload } = JSON.parse(String(data));
    if (t === "broadcast") publish(0, payload);
    client.send(JSON.stringify({ t: "a", ...(t === "checked" ? Say.parse(payload) : payload) }));
  });
  client.on("close", () => {
    for (const room of own) rooms.get(room)?.delete(client);
  });
  client.send('{"t":"w"}');
}

contend({
  async start() {
    const server = new WebSocketServer({ host: "127.0.0.1", port: 0, maxPayload: 100_000 });
    server.on("connection", enter);
    await new Promise<void>((resolve) => server.once("listening", resolve));
    return { port: server.address().port };
  },
  publish,
});
