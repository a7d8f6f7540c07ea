/** The smallest program on Socket.IO: it listens, says what that has cost, and ends. */
import { once } from "node:events";
import { createServer } from "node:http";
import { Server } from "socket.io";
import { tellStart } from "./tell-start.ts";

const http = createServer();
new Server(http).of("/chat").on("connection", () => {});
http.listen(0, "127.0.0.1");
await once(http, "listening");
tellStart();
