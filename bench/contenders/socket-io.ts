/** Socket.IO: bare, or with one of its Redis adapters, with a room of one namespace for each chat room. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createAdapter, createShardedAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { type Namespace, Server, type ServerOptions } from "socket.io";
import { EVENT } from "../messages.ts";
import { fromPeers } from "../peer-packages.ts";
import { NAMESPACE } from "../wires.ts";
import { contend } from "./contender.ts";
import { Say } from "./say.ts";

type Adapter = NonNullable<ServerOptions["adapter"]>;
type Acknowledge = (answer: unknown) => void;

let chat: Namespace;

contend({
  async start({ redisUrl, variant }) {
    const http = createServer();
    // The options are those that Sluice gives it by default.
    const io = new Server(http, {
      ...(redisUrl === undefined ? {} : { adapter: await adapterOf(variant, redisUrl) }),
      pingInterval: 25_000,
      pingTimeout: 20_000,
      maxHttpBufferSize: 100_000,
      connectTimeout: 10_000,
      perMessageDeflate: false,
    });
    chat = io.of(NAMESPACE);
    chat.on("connection", (socket) => {
      const { rooms } = socket.handshake.auth as { readonly rooms: readonly number[] };
      void socket.join(rooms.map(roomName));
      socket.on("echo", (payload: unknown, answer: Acknowledge) => answer(payload));
      socket.on("checked", (payload: unknown, answer: Acknowledge) => answer(Say.parse(payload)));
      socket.on("broadcast", (payload: unknown, answer: Acknowledge) => {
        chat.to(roomName(0)).emit(EVENT, payload);
        answer({ sent: true });
      });
    });
    http.listen({ port: 0, host: "127.0.0.1", backlog: 4_096 });
    await once(http, "listening");
    return { port: (http.address() as AddressInfo).port };
  },
  publish: (room, payload) => chat.to(roomName(room)).emit(EVENT, payload),
});

/** As the adapters' documentation says, with all their defaults. */
async function adapterOf(variant: string | undefined, url: string): Promise<Adapter> {
  const publisher = createClient({ url });
  await publisher.connect();
  if (variant === "streams") {
    const { createAdapter: createStreamsAdapter } = fromPeers<{
      readonly createAdapter: (client: typeof publisher) => Adapter;
    }>("@socket.io/redis-streams-adapter");
    return createStreamsAdapter(publisher);
  }
  const subscriber = publisher.duplicate();
  await subscriber.connect();
  return variant === "sharded"
    ? createShardedAdapter(publisher, subscriber)
    : createAdapter(publisher, subscriber);
}

function roomName(room: number): string {
  return `chat.${room}`;
}
