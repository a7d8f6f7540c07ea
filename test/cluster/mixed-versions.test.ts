/** Nodes of different versions on one Redis, as during a rolling upgrade. */
import { afterAll, afterEach, beforeAll, expect } from "@jest/globals";
import { createClient } from "redis";
import { type Application, type Backplane, Consumer, createApplication, type Message, route } from "sluice";
import { RedisBackplane } from "sluice/redis";
import { TestClient } from "sluice/testing";
import { ENVELOPE_VERSION } from "../../src/layer/envelope.ts";
import { hasRedis, RedisServer, redisTest, until } from "../redis/redis-server.ts";

class Room extends Consumer {
  static override readonly groups = ["room"];
  chatMessage({ text }: Message) {
    this.send("heard", text);
  }
}

/** A node of a version to come: its envelopes have a higher number, more fields and another kind. */
class FutureBackplane extends RedisBackplane implements Backplane {
  override publish(topic: string, text: () => string): void {
    super.publish(topic, () => {
      const [line = "", ...payload] = text().split("\n");
      const header = { ...JSON.parse(line), v: ENVELOPE_VERSION + 1, trace: "abc", hops: [1, 2] };
      return [JSON.stringify(header), ...payload].join("\n");
    });
    if (topic.startsWith("group.")) {
      const header = { v: ENVELOPE_VERSION + 1, from: "n-future", kind: "reaction", emoji: "+1" };
      super.publish(topic, () => `${JSON.stringify(header)}\n{}`);
    }
  }
}

/** A node of a version gone by: it sends what there was then, and nothing since. */
class PastBackplane extends RedisBackplane implements Backplane {
  override publish(topic: string, text: () => string): void {
    super.publish(topic, () => {
      const [line = "", ...payload] = text().split("\n");
      const { from, kind, event, channel, id, verb, failed } = JSON.parse(line);
      return [
        JSON.stringify({ v: ENVELOPE_VERSION, from, kind, event, channel, id, verb, failed }),
        ...payload,
      ].join("\n");
    });
  }
}

let redis: RedisServer;
const apps: Application[] = [];

beforeAll(async () => {
  if (hasRedis) redis = await RedisServer.start();
});
afterAll(() => redis?.close());
afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.stop()));
});

async function node(Form: typeof RedisBackplane) {
  const app = createApplication({ routes: [route("/room", Room)], backplane: new Form({ url: redis.url }) });
  apps.push(app);
  await app.start();
  const client = new TestClient(app, "/room");
  await client.connect();
  const dropped: string[] = [];
  app.signals.dropped.connect(({ cause, target }) => dropped.push(`${cause} ${target}`));
  return { app, client, dropped };
}

redisTest(
  "older, present and newer nodes understand each other; what only the newer know is dropped and told",
  async () => {
    const present = await node(RedisBackplane);
    const nodes = [await node(PastBackplane), present, await node(FutureBackplane)];
    for (const [i, { app }] of nodes.entries()) {
      await app.layer.groupSend("room", { type: "chat.message", text: `send ${i}` });
      await app.layer.groupEmit("room", "heard", `emit ${i}`);
      for (const { client } of nodes) {
        await app.layer.send(client.channel, { type: "chat.message", text: `direct ${i}` });
        await app.layer.groupAdd("extra", client.channel);
      }
      for (const { client } of nodes) {
        const heard = [await client.next("heard"), await client.next("heard"), await client.next("heard")];
        expect(heard.sort()).toEqual([`direct ${i}`, `emit ${i}`, `send ${i}`]);
      }
    }
    await until(() => present.dropped.length === 2);
    expect(present.dropped).toEqual(Array(2).fill("bad-envelope group.room"));
    const [past, , future] = nodes;
    await future?.app.layer.closeChannel(present.client.channel, 4403, "moved");
    await expect(present.client).toBeClosedWith(4403, "moved");
    await present.app.layer.closeChannel(past?.client.channel as string);
    await expect(past?.client).toBeClosedWith(4403);
  },
);

redisTest("what travels may get more fields, and what lost the ones we know is told as lost", async () => {
  const { app, client } = await node(RedisBackplane);
  const lost: unknown[] = [];
  app.signals.lost.connect((loss) => lost.push(loss));
  const stranger = await createClient({ url: redis.url }).connect();
  const text = (n: number) => `{"v":7,"from":"n-x","kind":"send"}\n{"type":"chat.message","text":"${n}"}`;
  const publish = (data: unknown[]) =>
    stranger.sPublish(
      "sluice#hub#group.room#",
      JSON.stringify({
        uid: "x",
        nsp: "hub",
        type: 3,
        data: {
          packet: { type: 2, data: ["group.room", ...data] },
          opts: { rooms: ["group.room"], except: [] },
        },
      }),
    );
  await publish([9, "s", 1, 0, [text(1)], { priority: "high" }, "more"]);
  expect(await client.next("heard")).toBe("1");
  await publish([10, { everything: "new" }]);
  await publish([9, "s", 1, 3, [text(2)]]);
  expect(await client.next("heard")).toBe("2");
  expect(lost).toEqual([{ group: "room" }, { group: "room", missed: 2 }]);
  stranger.destroy();
});
