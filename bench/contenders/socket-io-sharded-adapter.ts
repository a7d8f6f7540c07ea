/** Socket.IO with `createShardedAdapter`: sharded publish/subscribe. All options are the defaults. */
import { createShardedAdapter } from "@socket.io/redis-adapter";
import { serveSocketIo } from "./socket-io-node.ts";

serveSocketIo((publisher, subscriber) => createShardedAdapter(publisher, subscriber));
