/** A server of one of the contenders, with one room that every client is in; led over IPC. */
import { once } from "node:events";
import { createServer as createHttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createShardedAdapter } from "@socket.io/redis-adapter";
import { createClient } from "redis";
import { Consumer, createApplication, route } from "sluice";
import { MemoryHistory, RedisHistory } from "sluice/history";
import { RedisBackplane } from "sluice/redis";
import { createServer } from "sluice/server";
import { Server } from "socket.io";

export interface ContenderSettings {
  readonly kind: "sluice" | "socket.io" | "socket.io with recovery";
  /** Of the Redis between several nodes; one alone has none. */
  readonly redisPort?: number;
  readonly secret: string;
}

interface Contender {
  listen(): Promise<number>;
  /** Resolves when it is said. */
  say(number: number): Promise<void>;
}

const GROUP = "chat.crowd";
const RECOVERY_MS = 120_000;

function sluice({ redisPort: port, secret }: ContenderSettings): Contender {
  class Listener extends Consumer {
    override async connect() {
      await this.groupAdd(GROUP);
    }
  }
  const app = createApplication({
    routes: [route("/room", Listener)],
    groups: { "chat.*": { history: { size: 2_000, ttlMs: 600_000 } } },
    history: port === undefined ? new MemoryHistory() : new RedisHistory({ port }),
    ...(port === undefined ? {} : { backplane: new RedisBackplane({ port }) }),
    secret,
  });
  const server = createServer(app, { port: 0 });
  return {
    listen: async () => (await server.listen()).port ?? 0,
    say: (number) => app.layer.groupEmit(GROUP, "said", number),
  };
}

async function socketIo({ kind, redisPort: port }: ContenderSettings): Promise<Contender> {
  const http = createHttpServer();
  const io = new Server(http, {
    perMessageDeflate: false,
    ...(kind === "socket.io" ? {} : { connectionStateRecovery: { maxDisconnectionDuration: RECOVERY_MS } }),
  });
  if (port !== undefined) {
    const [publisher, subscriber] = [createClient({ socket: { port } }), createClient({ socket: { port } })];
    await Promise.all([publisher.connect(), subscriber.connect()]);
    io.adapter(createShardedAdapter(publisher, subscriber));
  }
  const room = io.of("/room");
  room.on("connection", (socket) => void socket.join(GROUP));
  return {
    listen: async () => {
      http.listen(0, "127.0.0.1");
      await once(http, "listening");
      return (http.address() as AddressInfo).port;
    },
    say: async (number) => void room.to(GROUP).emit("said", number),
  };
}

const settings = JSON.parse(process.argv[2] ?? "{}") as ContenderSettings;
const contender = settings.kind === "sluice" ? sluice(settings) : await socketIo(settings);
process.on("message", ({ say }: { say: number }) => {
  contender.say(say).then(
    () => process.send?.({ said: say }),
    () => process.send?.({ refused: say }),
  );
});
process.once("disconnect", () => process.exit());
process.send?.({ port: await contender.listen() });
