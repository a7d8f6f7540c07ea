/** Socket.IO with one of its Redis adapters: one namespace, with a room of it for each chat room. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import type { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { type Namespace, Server } from "socket.io";
import { EVENT, PAYLOAD, SOCKET_IO_CHAT } from "../protocol.ts";
import { serveNode } from "./chat-node.ts";

type Client = ReturnType<typeof clientOf>;
type MadeAdapter = ReturnType<typeof createAdapter> | ReturnType<typeof createShardedAdapter>;

/** @param adapter - made of a client to publish by and one to subscribe by, as its documentation says */
export function serveSocketIo(adapter: (publisher: Client, subscriber: Client) => MadeAdapter): void {
  let chat: Namespace;

  async function start(url: string): Promise<{ readonly port: number }> {
    const publisher = clientOf(url);
    const subscriber = publisher.duplicate();
    await Promise.all([publisher.connect(), subscriber.connect()]);
    const http = createServer();
    // The options are those that Sluice gives it by default.
    const io = new Server(http, {
      adapter: adapter(publisher, subscriber),
      pingInterval: 25_000,
      pingTimeout: 20_000,
      maxHttpBufferSize: 100_000,
      connectTimeout: 10_000,
      perMessageDeflate: false,
    });
    chat = io.of(SOCKET_IO_CHAT);
    chat.on("connection", (socket) => {
      const { rooms } = socket.handshake.auth as { readonly rooms: readonly number[] };
      void socket.join(rooms.map(roomName));
    });
    http.listen(0, "127.0.0.1");
    await once(http, "listening");
    return { port: (http.address() as AddressInfo).port };
  }

  serveNode({ start, publish: (room) => chat.to(roomName(room)).emit(EVENT, PAYLOAD) });
}

function clientOf(url: string) {
  return createClient({ url });
}

/** The same that Sluice's group is called. */
function roomName(room: number): string {
  return `chat.${room}`;
}
