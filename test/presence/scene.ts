/** Several nodes in this process, and what their members are told of each other. */
import { afterEach } from "@jest/globals";
import {
  type Application,
  type ApplicationOptions,
  Consumer,
  createApplication,
  type Message,
  type Middleware,
  route,
} from "sluice";
import { TestClient } from "sluice/testing";

export interface Told {
  readonly type: string;
  readonly user: string;
  readonly info?: unknown;
}

export class Room extends Consumer<{ options: { told: Told[] }; user: { id: string } }> {
  readonly #told = this.options.told;

  override async connect() {
    await this.groupAdd("room");
  }
  override async receive(event: string, payload: unknown) {
    switch (event) {
      case "who":
        return this.presence("room");
      case "count":
        return this.presenceCount("room");
      case "list":
        return this.sendPresence("room");
      case "info":
        return this.updatePresence("room", payload);
      case "join":
        return this.groupAdd("room");
      case "leave":
        return this.groupDiscard("room");
      default:
        return undefined;
    }
  }
  presenceJoin({ user, info }: Message) {
    this.#told.push({ type: "join", user: user as string, info });
  }
  presenceLeave({ user }: Message) {
    this.#told.push({ type: "leave", user: user as string });
  }
  presenceUpdate({ user, info }: Message) {
    this.#told.push({ type: "update", user: user as string, info });
  }
}

/** Sends its client the list. */
export class Lister extends Consumer {
  override async connect() {
    await this.groupAdd("room");
    await this.sendPresence("room");
  }
}

/** Sends its client the list when it hears of ann, and three are there. */
export class Slow extends Consumer {
  override async connect() {
    await this.groupAdd("room");
  }
  async presenceJoin({ user }: Message) {
    if (user !== "ann") return;
    while ((await this.presenceCount("room")) < 3) await new Promise((resolve) => setImmediate(resolve));
    await this.sendPresence("room");
  }
}

/** Hears no messages. */
export class Quiet extends Consumer {
  override async connect() {
    await this.groupAdd("room");
  }
}

/** Knows a client by what it says of itself; good enough for a test. */
const identify: Middleware = (scope, next) => next({ user: scope.auth.user });

const apps: Application[] = [];
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.stop()));
});

export interface Node {
  readonly app: Application;
  /** What the handlers of all consumers here were told. */
  readonly told: Told[];
  enter(user?: string, path?: string): Promise<TestClient>;
  /** User and connections, by name. */
  list(): Promise<readonly (readonly [string, number])[]>;
}

export async function node(options: Omit<ApplicationOptions, "routes">): Promise<Node> {
  const told: Told[] = [];
  const app = createApplication({
    routes: [
      route("/room", Room, { options: { told } }),
      route("/quiet", Quiet),
      route("/list", Lister),
      route("/slow", Slow),
    ],
    middleware: [identify],
    groups: { room: { presence: true } },
    userInfo: (user) => ({ name: (user as { id: string }).id.toUpperCase() }),
    ...options,
  });
  apps.push(app);
  await app.start();
  return {
    app,
    told,
    async enter(user, path = "/room") {
      const auth = user === undefined ? {} : { user: { id: user } };
      const client = new TestClient(app, path, { auth, timeoutMs: 10_000 });
      const entry = await client.connect();
      if (!entry.accepted) throw new Error(`${user} was refused: ${entry.reason}`);
      return client;
    },
    async list() {
      const users = await app.layer.presence("room");
      return users.map(({ user, connections }) => [user, connections] as const).sort();
    },
  };
}

/** The presence events that a client got and nobody took yet, as `join ann`. */
export function events(client: TestClient): readonly string[] {
  return client.pending
    .filter(({ event }) => event === "sluice.presence")
    .map(({ payload }) => `${(payload as Told).type} ${(payload as Told).user}`);
}

/** For each user joins and leaves alternate, so none was told twice and none never. */
export function faultOf(told: readonly Told[], present: Iterable<string>): string | undefined {
  const there = new Set<string>(present);
  for (const { type, user } of told) {
    if (type === "join" && there.has(user)) return `${user} joined twice`;
    if (type === "leave" && !there.has(user)) return `${user} left without being there`;
    if (type === "join") there.add(user);
    if (type === "leave") there.delete(user);
  }
  return undefined;
}
