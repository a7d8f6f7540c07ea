/** Bare Socket.IO: a room, and `to(room).emit`. The options are those that Sluice gives it by default. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Server } from "socket.io";
import { EVENT, NAMESPACE, PAYLOAD } from "../protocol.ts";
import { contend } from "./contender.ts";

const ROOM = "all";

const http = createServer();
const io = new Server(http, {
  pingInterval: 25_000,
  pingTimeout: 20_000,
  maxHttpBufferSize: 100_000,
  connectTimeout: 10_000,
  perMessageDeflate: false,
});
const namespace = io.of(NAMESPACE);
namespace.on("connection", (socket) => socket.join(ROOM));

contend({
  start: async () => {
    http.listen(0, "127.0.0.1");
    await once(http, "listening");
    return { port: (http.address() as AddressInfo).port };
  },
  publish: () => namespace.to(ROOM).emit(EVENT, PAYLOAD),
});
