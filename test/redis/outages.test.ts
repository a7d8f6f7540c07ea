import { afterEach, beforeEach, describe, expect } from "@jest/globals";
import { createClient } from "redis";
import type { BackplaneListener, Loss } from "sluice";
import { RedisBackplane, type RedisBackplaneOptions } from "sluice/redis";
import { CuttableWay } from "./cut-off.ts";
import { hasRedis, RedisGroup, RedisServer, redisTest, until } from "./redis-server.ts";

/** A node that notes what it is told. */
class Witness implements BackplaneListener {
  readonly backplane: RedisBackplane;
  readonly texts: string[] = [];
  readonly losses: Loss[] = [];
  readonly states: string[] = [];
  readonly unheardTopics: string[] = [];
  droppedCount = 0;

  constructor(options: RedisBackplaneOptions) {
    // Three that are missed are an outage: longer than Redis waits for its turn on a machine that is busy.
    this.backplane = new RedisBackplane({ heartbeatMs: 250, connectTimeoutMs: 2_000, ...options });
  }

  async open(...topics: string[]): Promise<this> {
    await this.backplane.open(this);
    await Promise.all(topics.map((topic) => this.backplane.subscribe(topic)));
    return this;
  }

  say(text: string, topic = "t"): void {
    this.backplane.publish(topic, () => text);
  }

  hear(_topic: string, text: string) {
    this.texts.push(text);
  }
  dropped(_topic: string, count: number) {
    this.droppedCount += count;
  }
  unheard(topic: string) {
    this.unheardTopics.push(topic);
  }
  lost(loss: Loss) {
    this.losses.push(loss);
  }
  readonly reasons: string[] = [];
  down(reason: string) {
    if (!this.isDown) this.states.push("down");
    this.reasons.push(reason);
  }
  up() {
    this.states.push("up");
  }
  get isDown(): boolean {
    return this.states.at(-1) === "down";
  }
  get isUp(): boolean {
    return this.states.at(-1) === "up";
  }
}

let witnesses: Witness[] = [];
let ways: CuttableWay[] = [];

async function pair(
  ...options: [RedisBackplaneOptions, RedisBackplaneOptions?]
): Promise<[Witness, Witness]> {
  const [ann, bob] = [new Witness(options[0]), new Witness(options[1] ?? options[0])];
  witnesses.push(ann, bob);
  await Promise.all([ann.open(), bob.open("t")]);
  return [ann, bob];
}

/** Ann on a way of her own, so that Bob can be there again first. */
async function pairWithWay(redis: RedisServer, options: RedisBackplaneOptions = {}) {
  const way = await CuttableWay.to(redis.port);
  ways.push(way);
  const [ann, bob] = await pair({ ...options, port: way.port }, { ...options, url: redis.url });
  /** Redis is there again: for Bob, then for Ann. */
  const reunite = async () => {
    await until(() => bob.isUp);
    way.restore();
    await until(() => ann.isUp);
  };
  return { ann, bob, way, reunite };
}

function numbered(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, i) => `m${from + i}`);
}

afterEach(async () => {
  await Promise.all(witnesses.map(({ backplane }) => backplane.close()));
  witnesses = [];
  await Promise.all(ways.map((way) => way.close()));
  ways = [];
});

describe("an outage of one server", () => {
  let redis: RedisServer;

  beforeEach(async () => {
    if (hasRedis) redis = await RedisServer.start();
  });
  afterEach(() => redis?.close());

  redisTest("how much waits is told, and how long the heartbeat takes while there is one", async () => {
    const { ann, bob, way } = await pairWithWay(redis);
    const beats = () => ann.backplane.readings().roundTrip?.counts.reduce((sum, count) => sum + count) ?? 0;
    await until(() => beats() >= 2);
    ann.say("m1");
    await until(() => bob.texts.length === 1);
    await until(() => ann.backplane.readings().waitingMessages === 0);
    expect(ann.backplane.readings().waitingBytes).toBe(0);
    way.block();
    await until(() => ann.isDown);
    ann.say("m2");
    ann.say("m3");
    expect(ann.backplane.readings()).toMatchObject({ waitingMessages: 2, waitingBytes: 4 });
  });

  redisTest(
    "it is killed and comes back empty: what was said meanwhile arrives, in order and once",
    async () => {
      const { ann, bob, way, reunite } = await pairWithWay(redis);
      ann.say("m1");
      await until(() => bob.texts.length === 1);
      way.block();
      await redis.end("SIGKILL");
      await until(() => ann.isDown && bob.isDown);
      for (const text of numbered(2, 50)) ann.say(text);
      await redis.begin();
      await reunite();
      await until(() => bob.texts.includes("m50"));
      expect(bob.texts).toEqual(numbered(1, 50));
      expect(bob.losses).toEqual([{}]);
      expect([ann.states, ann.droppedCount]).toEqual([["down", "up"], 0]);
    },
  );

  redisTest(
    "it is stopped for good measure twice, and every subscription is restored each time",
    async () => {
      const [ann, bob] = await pair({ url: redis.url });
      const topics = Array.from({ length: 200 }, (_, i) => `topic-${i}`);
      await Promise.all(topics.map((topic) => bob.backplane.subscribe(topic)));
      for (let round = 1; round <= 2; round++) {
        await redis.end("SIGTERM");
        await until(() => ann.isDown && bob.isDown);
        await redis.begin();
        await until(() => ann.isUp && bob.isUp);
        for (const topic of topics) ann.say(`${topic} in round ${round}`, topic);
        await until(() => bob.texts.length === topics.length * round);
      }
      expect(new Set(bob.texts).size).toBe(topics.length * 2);
    },
  );

  redisTest("topics opened and closed during the outage are right after it", async () => {
    const [ann, bob] = await pair({ url: redis.url });
    await bob.backplane.subscribe("left");
    await redis.end();
    await until(() => ann.isDown && bob.isDown);
    const joined = bob.backplane.subscribe("joined");
    await bob.backplane.unsubscribe("left");
    await redis.begin();
    await joined;
    await until(() => ann.isUp);
    ann.say("to nobody", "left");
    ann.say("to bob", "joined");
    await until(() => bob.texts.length > 0);
    await ann.backplane.flush();
    expect(bob.texts).toEqual(["to bob"]);
  });

  redisTest(
    "a subscription that cannot be confirmed in time is refused, and is not there afterwards",
    async () => {
      const [ann, bob] = await pair({ url: redis.url, subscribeTimeoutMs: 100 });
      await redis.end();
      await until(() => bob.isDown);
      await expect(bob.backplane.subscribe("late")).rejects.toMatchObject({ code: "layer_unavailable" });
      await redis.begin();
      await until(() => ann.isUp && bob.isUp);
      ann.say("nobody here", "late");
      ann.say("end");
      await until(() => bob.texts.includes("end"));
      expect(bob.texts).toEqual(["end"]);
    },
  );

  redisTest("what waits is bounded by age, and what is dropped is counted on both sides", async () => {
    const [ann, bob] = await pair({ url: redis.url, limits: { maxWaitingMs: 100 } });
    ann.say("m1");
    await until(() => bob.texts.length === 1);
    await redis.end();
    await until(() => ann.isDown && bob.isDown);
    for (const text of numbered(2, 21)) ann.say(text);
    const flushed = ann.backplane.flush();
    await expect(flushed).rejects.toMatchObject({ code: "layer_unavailable" });
    expect(ann.droppedCount).toBe(20);
    await redis.begin();
    await until(() => ann.isUp && bob.isUp);
    ann.say("m22");
    await until(() => bob.texts.includes("m22"));
    expect(bob.texts).toEqual(["m1", "m22"]);
    expect(bob.losses).toEqual([{}, { topic: "t", missed: 20 }]);
    await ann.backplane.flush();
  });

  redisTest("what waits is bounded by number and by bytes", async () => {
    const limits = { maxWaitingMessages: 10, maxWaitingBytes: 1_000 };
    const { ann, bob, way, reunite } = await pairWithWay(redis, { limits });
    way.block();
    await redis.end();
    await until(() => ann.isDown && bob.isDown);
    for (const text of numbered(1, 15)) ann.say(text);
    expect(ann.droppedCount).toBe(5);
    bob.say("x".repeat(900), "big");
    bob.say("y".repeat(101), "big");
    bob.say("small", "big");
    expect(bob.droppedCount).toBe(1);
    await redis.begin();
    await reunite();
    await until(() => bob.texts.length === 10);
    expect(bob.texts).toEqual(numbered(1, 10));
  });

  redisTest(
    "it is frozen, and thawed before anything is dropped: everything arrives once and in order",
    async () => {
      const { ann, bob, way, reunite } = await pairWithWay(redis);
      ann.say("m1");
      await until(() => bob.texts.length === 1);
      redis.freeze();
      ann.say("m2");
      await until(() => ann.isDown && bob.isDown);
      way.block();
      for (const text of numbered(3, 100)) ann.say(text);
      redis.thaw();
      await reunite();
      await until(() => bob.texts.includes("m100"));
      expect(bob.texts).toEqual(numbered(1, 100));
      expect(bob.losses).toEqual([{}]);
    },
  );

  redisTest(
    "its publish/subscribe connections are killed while messages flow: nothing twice, no silent loss",
    async () => {
      const [ann, bob] = await pair({ url: redis.url });
      const admin = await createClient({ url: redis.url }).connect();
      let said = 1;
      // A hole is seen from the first text of a sender on.
      ann.say("m1");
      await until(() => bob.texts.length === 1);
      for (let round = 0; round < 5; round++) {
        for (let i = 0; i < 40; i++) {
          said += 1;
          ann.say(`m${said}`);
          await new Promise((resolve) => setImmediate(resolve));
        }
        const ups = bob.states.length;
        await admin.sendCommand([
          "CLIENT",
          "KILL",
          "TYPE",
          round % 2 === 0 ? "pubsub" : "normal",
          "SKIPME",
          "yes",
        ]);
        await until(() => bob.states.length >= ups + 2 && bob.isUp);
      }
      await until(() => !ann.isDown);
      said += 1;
      ann.say(`m${said}`);
      await until(() => bob.texts.includes(`m${said}`));
      const numbers = bob.texts.map((text) => Number(text.slice(1)));
      expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b));
      const missed = bob.losses.reduce((sum, loss) => sum + (loss.missed ?? 0), 0);
      expect(numbers.length + missed).toBe(said);
      expect(bob.losses.filter((loss) => loss.topic === undefined)).toHaveLength(5);
      await until(async () => (await clientsOf(admin)) === 4);
      admin.destroy();
    },
  );

  redisTest(
    "the network swallows everything without a word, and later lets new connections through",
    async () => {
      const { ann, bob, way } = await pairWithWay(redis);
      ann.say("m1");
      await until(() => bob.texts.length === 1);
      way.silence();
      ann.say("m2");
      await until(() => ann.isDown);
      ann.say("m3");
      way.restore();
      await until(() => ann.isUp);
      await until(() => bob.texts.includes("m3"));
      way.reset();
      await until(() => ann.states.length === 4);
      ann.say("m4");
      await until(() => bob.texts.includes("m4"));
      expect(bob.texts).toEqual(numbered(1, 4));
      expect(bob.states).toEqual([]);
    },
  );

  redisTest("many outages leave no connections behind", async () => {
    const [ann, bob] = await pair({ url: redis.url });
    const admin = await createClient({ url: redis.url }).connect();
    for (let round = 1; round <= 10; round++) {
      await admin.sendCommand(["CLIENT", "KILL", "TYPE", "pubsub"]);
      await until(() => [ann, bob].every(({ states }) => states.length === round * 2));
    }
    await until(async () => (await clientsOf(admin)) === 4);
    await Promise.all([ann, bob].map(({ backplane }) => backplane.close()));
    await until(async () => (await clientsOf(admin)) === 0);
    admin.destroy();
  });

  redisTest("closing in the middle of an outage ends at once and drops what waits", async () => {
    const [ann] = await pair({ url: redis.url });
    await redis.end();
    await until(() => ann.isDown);
    ann.say("m1");
    const hanging = ann.backplane.subscribe("u");
    await ann.backplane.close();
    await expect(hanging).rejects.toMatchObject({ code: "layer_unavailable" });
    expect(ann.droppedCount).toBe(1);
    ann.say("m2");
    expect(ann.droppedCount).toBe(2);
  });

  redisTest("closing sends what has not left yet", async () => {
    const [ann, bob] = await pair({ url: redis.url });
    for (const text of numbered(1, 500)) ann.say(text);
    await ann.backplane.close();
    await until(() => bob.texts.length === 500);
    expect(ann.droppedCount).toBe(0);
  });

  redisTest("whether anybody heard is known", async () => {
    const [ann, bob] = await pair({ url: redis.url });
    ann.say("x", "nobody");
    bob.say("x", "t");
    ann.say("x", "t");
    await Promise.all([ann.backplane.flush(), bob.backplane.flush()]);
    expect(ann.unheardTopics).toEqual(["nobody"]);
    expect(bob.unheardTopics).toEqual(["t"]);
  });

  redisTest("why an outage lasts is told, and one group that may not be heard costs no other", async () => {
    const admin = await createClient({ url: redis.url }).connect();
    const user = (...rules: string[]) =>
      admin.sendCommand(["ACL", "SETUSER", "sluice", "reset", "on", ">secret", ...rules]);
    const rules = ["&*", "+hello", "+spublish", "+ssubscribe", "+sunsubscribe"];
    await user(...rules);
    const [ann, bob] = await pair({ url: redis.url, username: "sluice", password: "secret" });
    await bob.backplane.subscribe("u");
    await user(">other", "<secret", ...rules);
    await admin.sendCommand(["CLIENT", "KILL", "USER", "sluice"]);
    await until(() => bob.reasons.some((reason) => reason.includes("password is wrong")));
    expect(bob.reasons.join()).not.toContain("secret");
    await user("resetchannels", "&sluice#heartbeat#*", "&sluice#hub#", "&sluice#hub#*#", ...rules.slice(1));
    await user("&sluice#heartbeat#*", "&sluice#hub#*", ...rules.slice(1), "resetchannels");
    await user(
      "&sluice#heartbeat*",
      "&sluice#hub#",
      "&sluice#hub#[0-9a-f][0-9a-f]*",
      "&sluice#hub#probe#",
      "&sluice#hub#t#",
      ...rules.slice(1),
    );
    await until(() => bob.isUp && ann.isUp);
    ann.say("still heard");
    await until(() => bob.texts.length === 1);
    expect(bob.losses).toContainEqual({ topic: "u" });
    admin.destroy();
  });

  redisTest("strangers' messages on our channels harm nobody", async () => {
    const [ann, bob] = await pair({ url: redis.url });
    const stranger = await createClient({ url: redis.url }).connect();
    const packet = (data: unknown) =>
      JSON.stringify({
        uid: "x",
        nsp: "hub",
        type: 3,
        data: { packet: { type: 2, data }, opts: { rooms: ["t"], except: [] } },
      });
    for (const text of [
      "",
      "{",
      "{}",
      "null",
      "\u00c1",
      "[1]",
      packet(null),
      packet(["t"]),
      packet(["t", 1, "x", 1, 0, [{}]]),
    ]) {
      await stranger.sPublish("sluice#hub#t#", text);
      await stranger.sPublish("sluice#hub#", text);
    }
    for (let type = 0; type <= 14; type++) {
      const data = {
        opts: { rooms: ["t"], except: [] },
        rooms: ["x"],
        requestId: "r",
        packet: { type: 2, data: ["t"] },
      };
      await stranger.sPublish("sluice#hub#", JSON.stringify({ uid: "x", nsp: "hub", type, data }));
    }
    ann.say("still here");
    await until(() => bob.texts.length > 0);
    expect(bob.texts).toEqual(["still here"]);
    expect(bob.losses).toEqual(Array(4).fill({ topic: "t" }));
    expect(bob.states).toEqual([]);
    stranger.destroy();
  });
});

describe("the end of a master that has a replica", () => {
  redisTest(
    "Sentinel: the nodes follow to the new master",
    async () => {
      const password = "p#a$s%w/o:r@d?";
      const group = await RedisGroup.sentinel(password);
      const sentinel = {
        master: "mymaster",
        nodes: [{ host: "127.0.0.1", port: group.servers[2]?.port as number }],
        password,
      };
      const [ann, bob] = await pair({ sentinel, password, limits: { maxWaitingMs: 30_000 } });
      ann.say("m1");
      await until(() => bob.texts.length === 1);
      await group.servers[0]?.end();
      await until(() => ann.isDown && bob.isDown);
      ann.say("m2");
      await until(() => bob.texts.includes("m2"));
      await until(() => ann.isUp && bob.isUp);
      await Promise.all(witnesses.map(({ backplane }) => backplane.close()));
      await group.close();
    },
    40_000,
  );

  redisTest(
    "Cluster: the nodes follow, and every group works again",
    async () => {
      const group = await RedisGroup.cluster(3, 1);
      const topics = Array.from({ length: 30 }, (_, i) => `topic-${i}`);
      const [ann, bob] = await pair({
        url: `redis+cluster://${group.hosts}`,
        limits: { maxWaitingMs: 30_000 },
      });
      await Promise.all(topics.map((topic) => bob.backplane.subscribe(topic)));
      for (const topic of topics) ann.say(`1 ${topic}`, topic);
      await until(() => bob.texts.length === topics.length);
      await group.servers[0]?.end();
      await until(() => ann.isDown && bob.isDown);
      for (const topic of topics) ann.say(`2 ${topic}`, topic);
      await until(() => ann.isUp && bob.isUp, 30_000);
      await until(() => topics.every((topic) => bob.texts.includes(`2 ${topic}`)));
      expect(bob.texts).toHaveLength(2 * topics.length);
      await Promise.all(witnesses.map(({ backplane }) => backplane.close()));
      await group.close();
    },
    60_000,
  );
});

/** Connections of others than whoever asks. */
async function clientsOf(admin: { sendCommand(args: string[]): Promise<unknown> }): Promise<number> {
  const list = String(await admin.sendCommand(["CLIENT", "LIST"]));
  return list.trim().split("\n").length - 1;
}
