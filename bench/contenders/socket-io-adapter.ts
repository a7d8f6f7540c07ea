/** Socket.IO with `createAdapter`: publish/subscribe by patterns. All options are the defaults. */
import { createAdapter } from "@socket.io/redis-adapter";
import { serveSocketIo } from "./socket-io-node.ts";

serveSocketIo((publisher, subscriber) => createAdapter(publisher, subscriber));
