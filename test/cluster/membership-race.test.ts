/**
 * Yes means yes, also for consumers that come and go all the time, on several nodes, over a backplane that
 * takes its time: nothing sent after a join resolved is missed, nothing comes after a leave resolved, and
 * nothing comes twice.
 */
import { afterAll, afterEach, beforeAll, expect, test } from "@jest/globals";
import {
  type Application,
  type Backplane,
  Consumer,
  createApplication,
  MemoryBackplane,
  MemoryHub,
  route,
} from "sluice";
import { RedisBackplane } from "sluice/redis";
import { TestClient } from "sluice/testing";
import { CuttableWay } from "../redis/cut-off.ts";
import { hasRedis, RedisServer, redisTest, until } from "../redis/redis-server.ts";
import { seeded } from "../seeded.ts";

const GROUPS = ["a", "b"];
const NODES = 3;
const MEMBERS = 12;
const STAYS = 8;
const SEED = 20_261;

interface Told {
  readonly group: string;
  readonly sender: number;
  readonly n: number;
}

/** A consumer that joins and leaves when it is told to, and writes down what it hears and when. */
class Restless extends Consumer<{ options: { members: Restless[] } }> {
  readonly heard = new Map<string, Told[]>(GROUPS.map((group) => [group, []]));
  /** Groups it has left: whatever comes from them is wrong. */
  readonly left = new Set(GROUPS);
  readonly wrong: string[] = [];

  override connect() {
    this.options.members.push(this);
  }

  countUp(told: Told & { type: string }) {
    if (this.left.has(told.group)) this.wrong.push(`${told.group} ${told.n} came after leaving`);
    this.heard.get(told.group)?.push(told);
  }
}

const random = seeded(SEED);
const apps: Application[] = [];
const ways: CuttableWay[] = [];
let redis: RedisServer;

beforeAll(async () => {
  if (hasRedis) redis = await RedisServer.start();
});
afterAll(() => redis?.close());
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.stop()));
  await Promise.all(ways.splice(0).map((way) => way.close()));
});

const turn = () => new Promise((resolve) => setTimeout(resolve, random() * 4));

async function race(makeBackplane: () => Promise<Backplane>): Promise<void> {
  const members: Restless[] = [];
  for (let i = 0; i < NODES; i++) {
    const app = createApplication({
      routes: [route("/restless", Restless, { options: { members } })],
      backplane: await makeBackplane(),
    });
    apps.push(app);
    await app.start();
  }
  for (let i = 0; i < MEMBERS; i++) {
    await new TestClient(apps[i % NODES] as Application, "/restless").connect();
  }

  // Each node sends to each group, counting up.
  const sent = GROUPS.map(() => Array<number>(NODES).fill(0));
  const counts = (group: string) => sent[GROUPS.indexOf(group)] as number[];
  let isOver = false;
  const send = async (sender: number) => {
    while (!isOver) {
      for (const group of GROUPS) {
        counts(group)[sender] = (counts(group)[sender] ?? 0) + 1;
        const n = counts(group)[sender];
        await apps[sender]?.layer.groupSend(group, { type: "count.up", group, sender, n });
      }
      await turn();
    }
  };
  const senders = apps.map((_, sender) => send(sender));

  const stays = members.map(async (member) => {
    for (let stay = 0; stay < STAYS; stay++) {
      const group = GROUPS[Math.floor(random() * GROUPS.length)] as string;
      const heard = member.heard.get(group) as Told[];
      heard.length = 0;
      member.left.delete(group);
      await member.groupAdd(group);
      const before = [...counts(group)];
      const owed = (sender: number) =>
        heard.filter((told) => told.sender === sender && told.n > (before[sender] ?? 0));
      if (random() < 0.7) await until(() => before.every((_, sender) => owed(sender).length > 2));
      else await turn();
      const first = before.map((n) => n + 1);
      const arrived = before.map((_, sender) => owed(sender).map(({ n }) => n));
      expect(arrived).toEqual(arrived.map((ns, sender) => ns.map((_, i) => (first[sender] ?? 0) + i)));
      const everything = heard.map(({ sender, n }) => `${sender}:${n}`);
      expect(new Set(everything).size).toBe(everything.length);
      await member.groupDiscard(group);
      member.left.add(group);
      await turn();
    }
  });
  await Promise.all(stays);
  isOver = true;
  await Promise.all(senders);
  expect(members.flatMap(({ wrong }) => wrong)).toEqual([]);
  expect(members.reduce((sum, { heard }) => sum + [...heard.values()].flat().length, 0)).toBeGreaterThan(0);
}

test(`groups under a race of members, in one process with delays (seed ${SEED})`, async () => {
  const hub = new MemoryHub(() => random() * 6);
  await race(async () => new MemoryBackplane(hub));
}, 60_000);

redisTest(
  `groups under a race of members, over a slow way to Redis (seed ${SEED})`,
  async () => {
    await race(async () => {
      const way = await CuttableWay.to(redis.port);
      way.delayMs = () => random() * 6;
      ways.push(way);
      return new RedisBackplane({ port: way.port });
    });
  },
  60_000,
);
