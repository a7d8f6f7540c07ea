/** Sluice: `/chat/:room`, with a group for each room. All options are the defaults, but for one. */
import { Consumer, createApplication, type Message, route } from "sluice";
import { RedisHistory } from "sluice/history";
import { RedisBackplane } from "sluice/redis";
import { createServer } from "sluice/server";
import { EVENT, type Payload } from "../messages.ts";
import { contend } from "./contender.ts";
import { Say } from "./say.ts";

const SECRET = "only for measuring, so everybody may know it";

class Chat extends Consumer {
  override async connect() {
    const { rooms } = this.scope.auth as { readonly rooms: readonly number[] };
    await Promise.all(rooms.map((room) => this.groupAdd(group(room))));
  }

  override async receive(event: string, payload: unknown) {
    if (event === "echo") return payload;
    if (event === "checked") return this.validate(Say, payload);
    await this.groupEmit(group(0), EVENT, payload);
    return { sent: true };
  }

  chatMessage({ payload }: Message) {
    this.send(EVENT, payload);
  }
}

let app: ReturnType<typeof createApplication>;
let publish: (group: string, payload: Payload) => Promise<void>;

contend({
  async start({ redisUrl: url, variant }) {
    const { createAcross, history } = across(url);
    app = createApplication({
      routes: [route("/chat/:room", Chat)],
      ...createAcross,
      ...(variant === "history"
        ? { ...history, secret: SECRET, groups: { "chat.*": { history: { size: 100, ttlMs: 60_000 } } } }
        : {}),
      // All clients come from one address and want thousands of rooms at once.
      limits: { newGroupsPerSecond: 1_000_000 },
    });
    publish =
      variant === "send"
        ? async (to, payload) => void (await app.layer.groupSend(to, { type: "chat.message", payload }))
        : async (to, payload) => void (await app.layer.groupEmit(to, EVENT, payload));
    return createServer(app, { port: 0 }).listen();
  },
  publish: (room, payload) => publish(group(room), payload),
});

function across(url: string | undefined) {
  if (url === undefined) return { createAcross: {}, history: {} };
  return {
    createAcross: { backplane: new RedisBackplane({ url }) },
    history: { history: new RedisHistory({ url }) },
  };
}

function group(room: number): string {
  return `chat.${room}`;
}
