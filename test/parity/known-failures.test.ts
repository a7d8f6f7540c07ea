/**
 * Where Django Channels, its layers or its server are known to fail, and what happens here instead: one
 * test each. What each of these promises beyond the one case is tested in its own room.
 */
import { get } from "node:http";
import { describe, expect, jest, test } from "@jest/globals";
import { Consumer, createApplication, type DisconnectReason, http, type Message, route } from "sluice";
import { RedisBackplane } from "sluice/redis";
import { channel, MemoryBroker, Tasks, WorkerConsumer } from "sluice/tasks";
import { RedisGroup, redisTest } from "../redis/redis-server.ts";
import {
  atEnd,
  connected,
  Diary,
  Echo,
  gate,
  heard,
  requested,
  serve,
  until,
} from "../server/live-server.ts";

jest.setTimeout(60_000);

test("an exception in a hook does not leave the connection in its groups", async () => {
  const reasons: DisconnectReason[] = [];
  class Broken extends Consumer {
    static override readonly groups = ["declared"];
    override async connect(): Promise<void> {
      await this.groupAdd("joined");
    }
    override receive(): never {
      throw new Error("a bug");
    }
    override disconnect(reason: DisconnectReason): never {
      reasons.push(reason);
      throw new Error("another bug, in the last hook");
    }
  }
  const live = await serve({ routes: [route("/broken", Broken)] });
  const client = await connected(live.client("/broken"));
  expect(live.app.sizes.groups).toBe(2);
  client.emit("anything");
  await heard(client, "disconnect");
  await live.empty();
  expect(reasons).toMatchObject([{ kind: "failed" }]);
});

test("a handler that takes its time stalls neither pings nor anybody else", async () => {
  const { passed, open } = gate();
  class Slow extends Consumer {
    override async receive(): Promise<string> {
      await passed;
      return "done";
    }
  }
  const live = await serve(
    { routes: [route("/slow", Slow), route("/echo", Echo)] },
    { pingIntervalMs: 40, pingTimeoutMs: 80 },
  );
  const slow = await connected(live.client("/slow"));
  let pings = 0;
  slow.io.on("ping", () => {
    pings += 1;
  });
  const answer = slow.emitWithAck("work");
  // Far beyond its timeout.
  await until(() => pings >= 10, "pings go on");
  expect(await (await connected(live.client("/echo"))).emitWithAck("say", 1)).toMatchObject({ payload: 1 });
  expect(slow.connected).toBe(true);
  open();
  expect(await answer).toBe("done");
});

test("the mailbox that one consumer has filled takes no room from others of the process", async () => {
  const { passed, open } = gate();
  const got = new Map<string, number>();
  class Member extends Consumer {
    static override readonly groups = ["room"];
    async roomTick(): Promise<void> {
      const { who } = this.scope.auth as { who: string };
      if (who === "stuck") await passed;
      got.set(who, (got.get(who) ?? 0) + 1);
    }
  }
  const live = await serve({ routes: [route("/room", Member)], limits: { mailbox: 10 } });
  let dropped = 0;
  live.app.signals.dropped.connect(({ cause, count = 1 }) => {
    if (cause === "mailbox-full") dropped += count;
  });
  await connected(live.client("/room", { auth: { who: "stuck" } }));
  await connected(live.client("/room", { auth: { who: "quick" } }));
  for (let n = 1; n <= 100; n++) {
    await live.app.layer.groupSend("room", { type: "room.tick" });
    await until(() => got.get("quick") === n, "the quick one gets each");
  }
  // One is being handled and ten wait; the others are not kept in memory, and are told.
  expect(dropped).toBe(89);
  open();
  await until(() => got.get("stuck") === 11, "what waited is handled");
});

test("a class says how much may wait for each of its consumers, and others keep what is usual", async () => {
  const { passed, open } = gate();
  const waiting = new Map<string, number>();
  class Roomy extends Consumer {
    static override readonly groups = ["room"];
    async roomTick(): Promise<void> {
      await passed;
      waiting.set(this.constructor.name, (waiting.get(this.constructor.name) ?? 0) + 1);
    }
  }
  class Narrow extends Roomy {
    static override readonly mailbox = 3;
  }
  const live = await serve({
    routes: [route("/roomy", Roomy), route("/narrow", Narrow)],
    limits: { mailbox: 10 },
  });
  for (const path of ["/roomy", "/narrow"]) await connected(live.client(path));
  for (let i = 0; i < 8; i++) await live.app.layer.groupSend("room", { type: "room.tick" });
  open();
  await until(() => waiting.get("Roomy") === 8, "all that there was room for");
  await until(() => live.app.isIdle, "nothing waits");
  // None runs before the turn of the event loop in which it came is over, so all of three wait.
  expect(waiting.get("Narrow")).toBeLessThanOrEqual(4);
  expect(waiting.get("Narrow")).toBeGreaterThanOrEqual(3);
  class Wrong extends Consumer {
    static override readonly mailbox = 0;
  }
  expect(() => createApplication({ routes: [route("/", Wrong)] })).toThrow(
    "Wrong.mailbox must be a whole number of at least 1, not 0",
  );
});

redisTest("a message to one channel arrives, wherever in a Cluster of Redis it goes through", async () => {
  const group = await RedisGroup.cluster(3, 0);
  atEnd(() => group.close());
  const got: string[] = [];
  class Addressed extends Consumer {
    mailArrived({ text }: Message & { text: string }): void {
      got.push(`${this.channel} ${text}`);
    }
    override receive(): string {
      return this.channel;
    }
  }
  const node = () =>
    serve({
      routes: [route("/addressed", Addressed)],
      backplane: new RedisBackplane({ url: `redis+cluster://${group.hosts}` }),
    });
  const [here, there] = [await node(), await node()];
  const expected: string[] = [];
  for (let n = 0; n < 20; n++) {
    const address = await (await connected(there.client("/addressed"))).emitWithAck("where");
    await here.app.layer.send(address, { type: "mail.arrived", text: String(n) });
    expected.push(`${address} ${n}`);
  }
  await until(() => got.length === 20, "all have arrived");
  expect(got.toSorted()).toEqual(expected.toSorted());
});

describe("what a server says at the beginning and at the end is not dropped", () => {
  test.each(["websocket", "polling"])("close code and reason (%s)", async (transport) => {
    class Strict extends Consumer {
      override connect(): void {
        if (this.scope.query.has("deny")) this.deny(4410, "gone for good");
      }
      override receive(): void {
        this.close(4499, "that will do");
      }
    }
    const live = await serve({ routes: [route("/strict", Strict)] });
    const refused = live.client("/strict", { transports: [transport], query: { deny: "1" } });
    await expect(connected(refused)).rejects.toMatchObject({ data: { code: 4410, reason: "gone for good" } });
    const client = await connected(live.client("/strict", { transports: [transport] }));
    const close = heard(client, "sluice.close");
    client.emit("go");
    expect(await close).toEqual([{ code: 4499, reason: "that will do" }]);
  });

  test("headers of the handshake", async () => {
    const live = await serve({ routes: [] }, { headers: () => ({ "Set-Cookie": "seen=1" }) });
    const answer = await fetch(`${live.url}/socket.io/?EIO=4&transport=polling`);
    expect(answer.headers.get("set-cookie")).toBe("seen=1");
  });
});

test("what no route serves is refused as such, and is no error of the server", async () => {
  const live = await serve({ routes: [route("/echo", Echo)] });
  const failures: unknown[] = [];
  live.app.signals.failed.connect((fact) => failures.push(fact));
  await expect(connected(live.client("/nowhere"))).rejects.toThrow("Invalid namespace");
  expect((await fetch(`${live.url}/nowhere`)).status).toBe(404);
  expect(failures).toEqual([]);
});

test("disconnect hooks run when the server stops, before it is closed", async () => {
  const diary = new Diary();
  const live = await serve({ routes: [route("/witness", diary.Witness)] });
  await connected(live.client("/witness"));
  await live.server.stop();
  expect(diary.reasons).toMatchObject([{ kind: "stopping", code: 4503 }]);
});

test("what waits for one who does not read is bounded, and the bound ends the connection", async () => {
  const diary = new Diary();
  class Listener extends diary.Witness {
    static override readonly groups = ["flood"];
  }
  const live = await serve({
    routes: [route("/flood", Listener)],
    limits: { maxWaitingBytes: 200_000 },
  });
  const raw = await live.raw();
  await raw.enter("/flood");
  raw.socket.pause();
  const text = "x".repeat(10_000);
  await until(() => {
    void live.app.layer.groupEmit("flood", "more", text);
    return diary.reasons.length > 0;
  }, "it is cut");
  expect(await diary.reason()).toMatchObject({ kind: "limit", code: 4513 });
});

test("a message to a channel of workers is handled by exactly one of them", async () => {
  const broker = new MemoryBroker();
  const handled: string[] = [];
  class Thumbnails extends WorkerConsumer {
    thumbnailMake({ n }: { n: number }): void {
      handled.push(`${n} by ${this.run.id}`);
    }
  }
  const tasks = new Tasks({
    tasks: [],
    channels: [channel("thumbnails", Thumbnails)],
    broker,
    queues: { default: 8 },
  });
  const app = createApplication({ routes: [], parts: [tasks] });
  atEnd(() => app.stop());
  await app.start();
  for (let n = 0; n < 100; n++) await app.layer.send("thumbnails", { type: "thumbnail.make", n });
  await until(() => handled.length >= 100, "all are handled");
  await until(() => app.isIdle, "nothing runs");
  expect(new Set(handled).size).toBe(100);
  expect(handled).toHaveLength(100);
});

test("a long poll notices that its client has left, and does not hang", async () => {
  const left = gate();
  const live = await serve({
    routes: [
      http("/poll", async (_request, response) => {
        const { closed } = response.locals.scope as { closed: AbortSignal };
        await new Promise<void>((resolve) => closed.addEventListener("abort", () => resolve()));
        left.open();
      }),
    ],
  });
  const request = get(`${live.url}/poll`).on("error", () => {});
  await requested(live, "/poll");
  request.destroy();
  await left.passed;
  await live.empty();
});
