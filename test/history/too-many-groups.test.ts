/** Beyond `maxGroups` a log is forgotten: whoever is in its group, or comes back to it, is told. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import {
  type Application,
  Consumer,
  createApplication,
  type GroupPolicies,
  MemoryBackplane,
  route,
} from "sluice";
import { MemoryHistory, MemoryLogs, RedisHistory } from "sluice/history";
import { MemoryPresence, RedisPresence } from "sluice/presence";
import { troubles } from "../layer/troubles.ts";
import { hasRedis, RedisServer, redisTest, until } from "../redis/redis-server.ts";
import { Visitor } from "./visitor.ts";

class Room extends Consumer<{ params: { room: string } }> {
  override async connect() {
    await this.groupAdd(this.scope.params.room);
  }
}

const MAX_GROUPS = 3;
const POLICY = { size: 100, ttlMs: 60_000 };

let redis: RedisServer;
let prefixes = 0;
const apps: Application[] = [];

beforeAll(async () => {
  if (hasRedis) redis = await RedisServer.start();
});
afterAll(() => redis?.close());
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.stop()));
});

function inMemory() {
  return {
    history: new MemoryHistory(new MemoryLogs({ maxGroups: MAX_GROUPS })),
    presence: new MemoryPresence(),
  };
}

function overRedis() {
  prefixes += 1;
  const at = { url: redis.url, prefix: `cap-${prefixes}` };
  return { history: new RedisHistory({ ...at, maxGroups: MAX_GROUPS }), presence: new RedisPresence(at) };
}

type Stores = ReturnType<typeof inMemory> | ReturnType<typeof overRedis>;

async function started({ history, presence }: Stores, groups: GroupPolicies) {
  const backplane = new MemoryBackplane();
  const carrier = troubles(backplane);
  const app = createApplication({
    routes: [route("/:room", Room)],
    ...{ groups, history, presence, backplane, secret: "a secret of thirty-two characters!" },
    middleware: [(scope, next) => next({ user: scope.auth.user })],
  });
  apps.push(app);
  await app.start();
  const isGone = async (group: string) => (await history.tops([group]))[0] === undefined;
  return {
    app,
    say: (group: string, what: unknown) => app.layer.groupEmit(group, "said", what),
    isGone,
    /** Others begin until the log of this group has gone. */
    async forget(group: string) {
      for (let i = 0; i < MAX_GROUPS; i++) await app.layer.groupEmit(`other${i}`, "said", i);
      await until(() => isGone(group));
    },
    /** As each node does now and then. */
    compareLogs() {
      carrier.flicker();
    },
  };
}

const forms = [
  ["in memory", test, inMemory],
  ["in Redis", redisTest, overRedis],
] as const;

describe.each(forms)("%s", (_name, promise, stores) => {
  const logged: GroupPolicies = { "*": { history: POLICY } };

  promise("who is in a group whose log is forgotten is told of the gap, though nobody speaks", async () => {
    const { app, say, forget, compareLogs } = await started(stores(), logged);
    const ann = new Visitor("/den");
    await ann.come(app);
    for (const n of [1, 2]) await say("den", n);
    await ann.until(() => ann.seen.length === 2);
    await forget("den");
    compareLogs();
    await ann.until(() => ann.gaps.length === 1);
    expect(ann.gaps).toEqual([{ reason: "epoch", offset: 0 }]);
    await say("den", 3);
    await ann.until(() => ann.seen.length === 3);
    expect([ann.seen, ann.gaps.length]).toEqual([[1, 2, 3], 1]);
  });

  promise("who is in it is told before the next message, and who was away when it comes back", async () => {
    const { app, say, forget } = await started(stores(), logged);
    const [ann, bob] = [new Visitor("/den"), new Visitor("/den")];
    await Promise.all([ann.come(app), bob.come(app)]);
    for (const n of [1, 2]) await say("den", n);
    for (const one of [ann, bob]) await one.until(() => one.seen.length === 2);
    await bob.go();
    await forget("den");
    await say("den", 3);
    await ann.until(() => ann.seen.length === 3);
    await bob.come(app);
    await bob.until(() => bob.gaps.length === 1);
    await say("den", 4);
    for (const one of [ann, bob]) {
      await one.until(() => one.seen.includes(4));
      expect(one.gaps.map(({ reason }) => reason)).toEqual(["epoch"]);
    }
    expect(ann.seen).toEqual([1, 2, 3, 4]);
  });

  promise(
    "of groups where the latest message counts, all are given the next, whoever was there",
    async () => {
      const groups: GroupPolicies = { "*": { history: { ...POLICY, conflate: true, newcomers: 1 } } };
      const { app, say, forget } = await started(stores(), groups);
      const [ann, bob] = [new Visitor("/den"), new Visitor("/den")];
      await Promise.all([ann.come(app), bob.come(app)]);
      for (const n of [1, 2]) await say("den", n);
      for (const one of [ann, bob]) await one.until(() => one.seen.includes(2));
      await bob.go();
      await forget("den");
      await say("den", 3);
      await bob.come(app);
      for (const one of [ann, bob]) await one.until(() => one.seen.at(-1) === 3);
    },
  );

  promise("a mere visit counts where presence is logged; who is there is not forgotten", async () => {
    const groups: GroupPolicies = { "*": { history: POLICY, presence: true } };
    const { app, isGone } = await started(stores(), groups);
    const rooms = Array.from({ length: 8 }, (_, i) => `room${i}`);
    for (const room of rooms) await new Visitor(`/${room}`, { user: "ann" }).come(app);
    const kept = async () => {
      const gone = await Promise.all(rooms.map(isGone));
      return rooms.filter((_, i) => !gone[i]);
    };
    await until(async () => (await kept()).length === MAX_GROUPS);
    for (const room of rooms) expect(await app.layer.presenceCount(room)).toBe(1);
  });
});
