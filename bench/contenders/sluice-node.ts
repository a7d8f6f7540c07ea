/** Sluice: `/chat/:room` with a group for each room, and the Redis backplane. */
import { Consumer, createApplication, route } from "sluice";
import { RedisBackplane } from "sluice/redis";
import { createServer } from "sluice/server";
import { EVENT, PAYLOAD } from "../protocol.ts";
import { serveNode } from "./chat-node.ts";

class Chat extends Consumer {
  override async connect() {
    await this.groupAdd(`chat.${this.scope.params.room}`);
  }
}

let app: ReturnType<typeof createApplication>;

serveNode({
  start: (url) => {
    app = createApplication({
      routes: [route("/chat/:room", Chat)],
      backplane: new RedisBackplane({ url }),
      // All clients come from one address and want thousands of rooms at once. All else is as it comes.
      limits: { newGroupsPerSecond: 1_000_000 },
    });
    return createServer(app, { port: 0 }).listen();
  },
  publish: (room) => app.layer.groupEmit(`chat.${room}`, EVENT, PAYLOAD),
});
