/** One node, led over IPC by the process that checks it. */
import { type Application, Consumer, createApplication, type Message, type Middleware, route } from "sluice";
import { RedisHistory } from "sluice/history";
import { RedisPresence } from "sluice/presence";
import { RedisBackplane, type RedisOptions } from "sluice/redis";
import { createServer } from "sluice/server";
import { kindOf, POLICIES } from "./groups.ts";

export interface NodeSettings {
  readonly redis: RedisOptions;
  readonly secret: string;
}

export interface SayOrder {
  readonly group: string;
  readonly verb: "emit" | "send";
  readonly number: number;
  readonly exceptSelf?: boolean;
}

const STOP_MS = 8_000;
/** Of groups that are forgotten soon; longer than nodes take to notice that they have missed something. */
const POSITION_TTL_MS = 20_000;
const ORPHAN_MS = 60_000;
/** Longer than anybody waits for what has to be removed. */
const ORPHAN_TTL_MS = 120_000;
/** How many events the handler of a message sends: a recovery must not tear them apart. */
const PARTS = 2;

class Room extends Consumer {
  override async connect() {
    this.send("here", { node: app.node });
    const { groups } = this.scope.auth;
    for (const group of Array.isArray(groups) ? groups : []) await this.#enter(String(group));
  }

  override async receive(name: string, payload: unknown) {
    const { group } = payload as SayOrder;
    switch (name) {
      case "join":
        await this.#enter(group);
        return { group };
      case "list":
        await this.#sendList(group);
        return { group };
      case "leave":
        await this.groupDiscard(group);
        return { group };
      case "say":
        await say(this, payload as SayOrder, this.channel);
        return { said: true };
    }
    throw new Error(`no such order: ${name}`);
  }

  async #enter(group: string) {
    await this.groupAdd(group);
    await this.#sendList(group);
  }

  /** Without its store one goes on without a list. */
  async #sendList(group: string) {
    if (!kindOf(group).presence) return;
    await this.sendPresence(group).catch((error: { code?: string }) => {
      if (error.code !== "layer_unavailable") throw error;
    });
  }

  faultsTold({ group, number }: Message) {
    for (let part = 1; part <= PARTS; part++) this.send("told", { group, number, part });
  }
}

type Verbs = Pick<Application["layer"], "groupEmit" | "groupSend">;

async function say(verbs: Verbs, { group, verb, number, exceptSelf }: SayOrder, channel?: string) {
  if (verb === "send") return verbs.groupSend(group, { type: "faults.told", group, number });
  const except = exceptSelf && channel !== undefined ? { except: channel } : {};
  return verbs.groupEmit(group, "told", { group, number }, except);
}

const settings = JSON.parse(process.argv[2] ?? "{}") as NodeSettings;
const { redis, secret } = settings;
const named: Middleware = ({ auth }, next) =>
  next(typeof auth.user === "string" ? { user: auth.user } : undefined);
const app = createApplication({
  routes: [route("/room", Room)],
  middleware: [named],
  backplane: new RedisBackplane({ ...redis, prefix: "faults" }),
  history: new RedisHistory({ ...redis, prefix: "faults", positionTtlMs: POSITION_TTL_MS }),
  presence: new RedisPresence({ ...redis, prefix: "faults", orphanTtlMs: ORPHAN_TTL_MS }),
  groups: POLICIES,
  secret,
  limits: { newGroupsPerSecond: 10_000 },
});
const server = createServer(app, {
  port: 0,
  pingIntervalMs: 1_000,
  pingTimeoutMs: 1_500,
  drainMs: 500,
  stopTimeoutMs: STOP_MS,
});

function tell(what: object): void {
  if (process.connected) process.send?.(what);
}

for (const fact of ["dropped", "lost"] as const) {
  app.signals[fact].connect((said) => {
    const group = "group" in said ? said.group : "target" in said ? said.target : undefined;
    tell({ fact, group });
  });
}
app.signals.recovered.connect(({ messages }) => tell({ fact: "recovered", messages }));
app.signals.failed.connect(({ hook, error }) =>
  tell({ fact: "failed", what: `${hook}: ${error instanceof Error ? error.stack : String(error)}` }),
);

/** What keeps this process alive, by kind. */
function handles(): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const kind of process.getActiveResourcesInfo()) counts[kind] = (counts[kind] ?? 0) + 1;
  return counts;
}

const calls = {
  say: (order: SayOrder) => say(app.layer, order),
  present: ({ group }: SayOrder) => app.layer.presence(group),
  sizes: async () => ({ ...app.sizes, transports: server.connections }),
  handles: async () => handles(),
};

process.on("message", (asked: { number: number; call: keyof typeof calls; order: SayOrder }) => {
  calls[asked.call](asked.order).then(
    (value) => tell({ number: asked.number, value }),
    (error: { code?: string; message: string }) =>
      tell({ number: asked.number, code: error.code ?? "bug", message: error.message }),
  );
});
// No `process.exit`: what does not end by itself has left something behind.
process.once("SIGTERM", () => {
  void server.stop().then(() => process.connected && process.disconnect());
});
process.once("disconnect", () => {
  // Whoever led this node is gone.
  void server.stop({ atOnce: true });
  setTimeout(() => process.exit(1), ORPHAN_MS).unref();
});

const { port } = await server.listen();
tell({ ready: app.node, port, handles: handles() });
