/** Nodes with everything on one real Redis, and who looks at that Redis, or writes to it. */
import { afterAll, beforeAll, beforeEach, expect } from "@jest/globals";
import { createClient } from "redis";
import {
  type Application,
  type ApplicationOptions,
  Consumer,
  createApplication,
  type Message,
  route,
} from "sluice";
import { RedisHistory } from "sluice/history";
import { RedisPresence } from "sluice/presence";
import { RedisBackplane } from "sluice/redis";
import { Tasks, task } from "sluice/tasks";
import { RedisBroker } from "sluice/tasks/redis";
import { TestClient } from "sluice/testing";
import { hasRedis, RedisServer, redisTest, until } from "../redis/redis-server.ts";
import { atEnd } from "../server/live-server.ts";
import { KEYS } from "../some-keys.ts";

const [OLD, NEW] = KEYS;
/** In everything that must be seen by nobody. */
const SECRET = "xyzzy-plugh";

class Room extends Consumer<{ user: { id: string } }> {
  override async connect() {
    await this.groupAdd("plain");
    await this.groupAdd("logged");
  }
  override async receive(event: string, payload: unknown) {
    switch (event) {
      case "info":
        return this.updatePresence("logged", payload);
      case "who":
        return this.presence("logged");
      default:
        return this.groupEmit(event, "said", payload);
    }
  }
  tell({ text }: Message) {
    this.send("told", text);
  }
}

const shout = task("shout", async ({ text }: { text: string }, run) => {
  run.progress(1, 2, text);
  if (text.includes("fail")) throw new Error(`cannot shout ${text}`);
  return text.toUpperCase();
});

let redis: RedisServer;
let prefixes = 0;
let prefix: string;
beforeAll(async () => {
  if (hasRedis) redis = await RedisServer.start();
});
afterAll(() => redis?.close());
beforeEach(() => {
  prefixes += 1;
  prefix = `sealed-${prefixes}`;
});

interface Node {
  readonly app: Application;
  readonly tasks: Tasks;
  /** `<carrier> <target> <reason>` */
  readonly unopened: string[];
  client(user: string): TestClient;
}

async function node(keys: readonly string[], more: Partial<ApplicationOptions> = {}): Promise<Node> {
  const at = { url: redis.url, prefix };
  const tasks = new Tasks({ tasks: [shout], broker: new RedisBroker(at), queues: { default: 2 } });
  const app = createApplication({
    routes: [route("/room", Room)],
    middleware: [(scope, next) => next({ user: { id: scope.auth.user } })],
    groups: { logged: { history: { size: 50, ttlMs: 60_000 }, presence: true } },
    backplane: new RedisBackplane(at),
    history: new RedisHistory(at),
    presence: new RedisPresence(at),
    userInfo: (user) => ({ name: `${SECRET} ${(user as { id: string }).id}` }),
    encryptionKeys: keys,
    secret: "s".repeat(32),
    parts: [tasks],
    ...more,
  });
  const unopened: string[] = [];
  app.signals.unopened.connect(({ carrier, target, reason }) => {
    unopened.push(`${carrier} ${target} ${reason}`);
  });
  atEnd(() => app.stop());
  await app.start();
  const client = (user: string) => {
    const made = new TestClient(app, "/room", { auth: { user }, timeoutMs: 5_000 });
    atEnd(() => made.drop());
    return made;
  };
  return { app, tasks, unopened, client };
}

async function redisClient() {
  const client = await createClient({ socket: { port: redis.port } }).connect();
  atEnd(() => client.destroy());
  return client;
}

/** What a client has been told so far. */
class Ears {
  readonly #client: TestClient;
  readonly said: unknown[] = [];

  constructor(client: TestClient) {
    this.#client = client;
  }

  get all(): readonly unknown[] {
    for (const { event, payload } of this.#client.take()) if (event === "said") this.said.push(payload);
    return this.said;
  }
}

redisTest("who watches Redis, or reads all that is kept there, sees no word of it", async () => {
  const watcher = await redisClient();
  const seen: string[] = [];
  await watcher.monitor((line) => void seen.push(String(line)));
  const [one, two] = await Promise.all([node([OLD]), node([OLD])]);
  const [ann, bob] = [one.client("ann"), two.client("bob")];
  await Promise.all([ann.connect(), bob.connect()]);
  const ears = new Ears(bob);
  await ann.emit("plain", { text: `${SECRET} one` });
  await ann.emit("logged", { text: `${SECRET} two` });
  await ann.emit("plain", Buffer.from(`${SECRET} three`));
  await ann.emit("info", { mood: `${SECRET} glad` });
  const handles = await Promise.all(
    ["four", "fail"].map((text) => one.tasks.enqueue(shout, { text: `${SECRET} ${text}` })),
  );
  const [result, failure] = await Promise.allSettled(handles.map((run) => run.result({ timeoutMs: 20_000 })));
  expect(result).toMatchObject({ value: `${SECRET} FOUR`.toUpperCase() });
  expect(failure).toMatchObject({ status: "rejected" });
  await until(() => ears.all.length === 3);
  expect(await bob.emit("who")).toEqual(
    expect.arrayContaining([
      { user: "ann", info: { mood: `${SECRET} glad` }, connections: 1 },
      { user: "bob", info: { name: `${SECRET} bob` }, connections: 1 },
    ]),
  );
  expect(await one.app.layer.history("logged")).toMatchObject({
    messages: [{ payload: { text: `${SECRET} two` } }],
  });

  const dump: string[] = [];
  const reader = await redisClient();
  for (const key of (await reader.keys("*")) as string[]) {
    const kind = String(await reader.type(key));
    const read: Record<string, readonly string[]> = {
      hash: ["HGETALL", key],
      stream: ["XRANGE", key, "-", "+"],
      string: ["GET", key],
      list: ["LRANGE", key, "0", "-1"],
      set: ["SMEMBERS", key],
      zset: ["ZRANGE", key, "0", "-1"],
    };
    dump.push(JSON.stringify(await reader.sendCommand([...(read[kind] ?? [])])));
  }
  expect(dump.join().includes("ann")).toBe(true);
  const all = [...seen, ...dump].join("\n");
  expect(seen.length).toBeGreaterThan(50);
  for (const word of [SECRET, SECRET.toUpperCase(), Buffer.from(SECRET).toString("base64").slice(0, 12)]) {
    expect(all.includes(word)).toBe(false);
  }
  expect([...one.unopened, ...two.unopened]).toEqual([]);
});

redisTest("keys are changed in turn, node by node, and nothing is lost", async () => {
  const steps = [[OLD], [OLD, NEW], [NEW, OLD], [NEW]];
  let one = await node([OLD]);
  let two = await node([OLD]);
  const expected: string[] = [];
  const say = async (from: Node, to: Node) => {
    const client = to.client("ear");
    await client.connect();
    const ears = new Ears(client);
    const texts = ["plain", "logged"].map((group) => `${group} ${expected.length}`);
    for (const text of texts) await from.app.layer.groupEmit(text.split(" ")[0] as string, "said", text);
    await until(() => ears.all.length === 2);
    expect([...ears.said].sort()).toEqual([...texts].sort());
    expected.push(texts[1] as string);
    const run = await from.tasks.enqueue(shout, { text: texts[0] as string });
    expect(await run.result({ timeoutMs: 20_000 })).toBe(texts[0]?.toUpperCase());
    await client.drop();
  };
  for (const keys of steps.slice(1, 3)) {
    await say(one, two);
    await say(two, one);
    await one.app.stop();
    expect(one.unopened).toEqual([]);
    one = await node(keys);
    // Now they have different lists.
    await say(one, two);
    await say(two, one);
    await two.app.stop();
    expect(two.unopened).toEqual([]);
    two = await node(keys);
  }
  await say(one, two);
  const { messages } = await two.app.layer.history("logged");
  expect(messages.map(({ payload }) => payload)).toEqual(expected);
  expect([...one.unopened, ...two.unopened]).toEqual([]);
  // Not before the last message of the old key is forgotten.
  const late = await node([NEW]);
  const left = await late.app.layer.history("logged");
  expect(left.messages.length).toBeLessThan(expected.length);
  expect(new Set(late.unopened)).toEqual(new Set(["history logged unknown-key"]));
});

redisTest(
  "a message that was changed, cut off, or taken from another group is left out and told",
  async () => {
    const [one, two] = await Promise.all([node([OLD]), node([OLD])]);
    const client = two.client("bob");
    await client.connect();
    const ears = new Ears(client);
    const stranger = await redisClient();
    const emit = (text: string) => one.app.layer.groupEmit("logged", "said", text);
    await emit("first");
    await until(() => ears.all.length === 1);
    // From now on only what is in the log counts.
    const log = `${prefix}:{logged}:log`;
    const entries = await stranger.xRange(log, "-", "+");
    const sealed = String(entries?.[0]?.message.t);
    const bytes = Buffer.from(sealed.slice(2), "base64");
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    const forged = [
      sealed.slice(0, 2) + bytes.toString("base64"),
      sealed.slice(0, 60),
      '{"v":1,"from":"x","kind":"emit","event":"said"}\n"forged"',
    ];
    const meta = `${prefix}:{logged}:meta`;
    for (const t of forged) {
      const offset = await stranger.hIncrBy(meta, "offset", 1);
      await stranger.hSet(meta, "id", `forged-${offset}`);
      await stranger.xAdd(log, `${offset}-0`, { i: `forged-${offset}`, a: "1", t });
    }
    await emit("second");
    await until(() => ears.all.length === 2);
    expect(ears.said).toEqual(["first", "second"]);
    expect(two.unopened).toEqual([
      "history logged altered",
      "history logged altered",
      "history logged not-encrypted",
    ]);
    const { messages } = await two.app.layer.history("logged");
    expect(messages.map(({ payload }) => payload)).toEqual(["first", "second"]);
  },
);

redisTest("what was said in one group cannot be repeated in another, nor below another prefix", async () => {
  const [one, two] = await Promise.all([node([OLD]), node([OLD])]);
  const client = two.client("bob");
  await client.connect();
  const ears = new Ears(client);
  const listener = await redisClient();
  const stolen: Buffer[] = [];
  const name = `${prefix}#hub#group.plain#`;
  await listener.sSubscribe(name, (message) => void stolen.push(message), true);
  await one.app.layer.groupEmit("plain", "said", "only here");
  await until(() => ears.all.length === 1 && stolen.length === 1);
  // As it was, but for the name of the group.
  const moved = Buffer.from(
    String(stolen[0]?.toString("latin1")).replaceAll("group.plain", "group.logge"),
    "latin1",
  );
  expect(moved.equals(stolen[0] as Buffer)).toBe(false);
  const other = await redisClient();
  const receiver = await node([OLD], { routes: [route("/other", Other)] });
  const ear = new TestClient(receiver.app, "/other", { timeoutMs: 5_000 });
  atEnd(() => ear.drop());
  await ear.connect();
  await other.sPublish(`${prefix}#hub#group.logge#`, moved as never);
  await until(() => receiver.unopened.length === 1);
  expect(receiver.unopened).toEqual(["backplane group.logge altered"]);
  await one.app.layer.groupEmit("logge", "said", "genuine");
  const heard = new Ears(ear);
  await until(() => heard.all.length === 1);
  expect(heard.said).toEqual(["genuine"]);
  expect(two.unopened).toEqual([]);
});

class Other extends Consumer {
  override async connect() {
    await this.groupAdd("logge");
  }
}

redisTest("a node without keys, or with others, is told of on both sides and harms nobody", async () => {
  const whole = await node([OLD]);
  const bare = await node([], { parts: [] });
  const foreign = await node([NEW], { parts: [] });
  const clients = [whole, bare, foreign].map((each, i) => each.client(`user-${i}`));
  await Promise.all(clients.map((client) => client.connect()));
  const ears = clients.map((client) => new Ears(client));
  for (const [i, { app }] of [whole, bare, foreign].entries()) {
    await app.layer.groupEmit("plain", "said", i);
    await app.layer.groupEmit("logged", "said", `logged ${i}`);
  }
  const has = ({ unopened }: Node, what: string) => unopened.includes(what);
  await until(() => has(whole, "backplane group.plain not-encrypted"));
  await until(() => has(whole, "backplane group.plain unknown-key"));
  await until(() => has(bare, "backplane group.plain no-keys"));
  await until(() => has(foreign, "backplane group.plain unknown-key"));
  await until(() => has(whole, "history logged not-encrypted"));
  await until(() => has(bare, "history logged no-keys"));
  await until(() => ears.every(({ all }, i) => all.includes(i) && all.includes(`logged ${i}`)));
  for (const [i, { said }] of ears.entries())
    expect([...said].map(String).sort()).toEqual([`${i}`, `logged ${i}`]);
});
