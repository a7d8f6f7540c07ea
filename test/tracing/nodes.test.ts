/** Traces over real nodes, a real Redis, a worker and stock clients. */
import { afterAll, beforeAll, beforeEach, expect } from "@jest/globals";
import { type Application, Consumer, createApplication, type Message, route } from "sluice";
import { carryTrace } from "sluice/client";
import { RedisHistory } from "sluice/history";
import { RedisBackplane } from "sluice/redis";
import { Tasks, task } from "sluice/tasks";
import { RedisBroker } from "sluice/tasks/redis";
import type { Tracing } from "sluice/tracing";
import type { Socket } from "socket.io-client";
import { hasRedis, RedisServer, redisTest } from "../redis/redis-server.ts";
import { atEnd, connected, heard, type Live, serve, until } from "../server/live-server.ts";
import { BROWSER, linkedTraces, Recorded, TRACEPARENT, withContext } from "./recorded.ts";

let redis: RedisServer;
let prefixes = 0;
let prefix: string;
let recorded: Recorded;
let restore = () => {};

beforeAll(async () => {
  restore = withContext();
  if (hasRedis) redis = await RedisServer.start();
});
afterAll(async () => {
  restore();
  await redis?.close();
});
beforeEach(() => {
  prefixes += 1;
  prefix = `test-${prefixes}`;
  recorded = new Recorded();
});

const build = task("report.build", async (room: string, run) => {
  run.progress(1, 2);
  await run.layer.groupEmit(room, "built", run.id);
});

class Room extends Consumer {
  readonly room = `chat.${this.scope.auth.room}`;
  override async connect() {
    await this.groupAdd(this.room);
  }
  override async receive(event: string, payload: unknown) {
    if (event === "leave") return this.groupDiscard(this.room);
    if (event === "fail") throw new Error("it broke");
    if (event === "say") await this.groupSend(this.room, { type: "chat.message", text: payload });
    else if (event === "direct")
      await this.channelSend(String(payload), { type: "chat.message", text: "you" });
    else if (event === "emit") await this.groupEmit(this.room, "heard", payload);
    else if (event === "build") return (await tasksOf(this).enqueue(build, this.room)).id;
    else return { event, payload };
    return "ok";
  }
  async chatMessage({ text }: Message) {
    this.send("heard", text);
    await this.groupEmit(this.room, "noted", true);
  }
}

/** Of the node that a consumer runs on: one process has several here. */
const tasksByNode = new Map<string, Tasks>();
function tasksOf({ channel }: Consumer): Tasks {
  return tasksByNode.get(channel.split("!")[0] as string) as Tasks;
}

function options(queues: Record<string, number>, tracing: Tracing | undefined, backplane = RedisBackplane) {
  const tasks = new Tasks({
    tasks: [build],
    broker: new RedisBroker({ url: redis.url, prefix }),
    queues,
  });
  return {
    tasks,
    given: {
      routes: [route("/room", Room)],
      secret: "s".repeat(32),
      backplane: new backplane({ url: redis.url, prefix }),
      history: new RedisHistory({ url: redis.url, prefix }),
      groups: { "chat.kept": { history: { size: 10, ttlMs: 60_000, newcomers: 5 } } },
      parts: tracing === undefined ? [tasks] : [tracing, tasks],
    },
  };
}

async function node(tracing: Tracing | undefined, backplane = RedisBackplane): Promise<Live> {
  const { tasks, given } = options({}, tracing, backplane);
  const live = await serve(given);
  tasksByNode.set(live.app.node, tasks);
  return live;
}

async function worker(tracing: Tracing | undefined): Promise<Application> {
  const app = createApplication(options({ default: 5 }, tracing).given);
  atEnd(() => app.stop());
  await app.start();
  return app;
}

/** @param leaves - it speaks to the room without being in it */
async function enter(live: Live, room: string, leaves = false): Promise<Socket> {
  const client = await connected(live.client("/room", { auth: { room } }));
  if (leaves) await client.emitWithAck("leave");
  return client;
}

redisTest(
  "a browser's event, the handlers of two nodes, a task and what it tells are one trace",
  async () => {
    const [one, two] = [await node(recorded.part("one")), await node(recorded.part("two"))];
    await worker(recorded.part("worker"));
    const bob = await enter(two, "den");
    const ann = await enter(one, "den", true);
    recorded.clear();
    carryTrace(ann, () => ({ traceparent: TRACEPARENT, tracestate: "shop=1" }));
    const noted = heard(bob, "noted");
    expect(await ann.emitWithAck("say", "hi")).toBe("ok");
    await noted;
    const built = heard(bob, "built");
    const id = await ann.emitWithAck("build");
    expect(await built).toEqual([id]);
    await until(() => recorded.tree().length === 11, "all have ended");
    expect(recorded.tree()).toEqual([
      "event /room (one)",
      "  groupSend (one)",
      "    deliver (two)",
      "      message /room (two)",
      "        groupEmit (two)",
      "event /room (one)",
      "  enqueue report.build (one)",
      "    run report.build (worker)",
      "      progress report.build (worker)",
      "      groupEmit (worker)",
      "        deliver (two)",
    ]);
    expect(recorded.spans).toHaveLength(11);
    const [event] = recorded.named("event /room");
    expect(event?.parentSpanContext).toMatchObject({ spanId: BROWSER.span, isRemote: true });
    const [message] = recorded.named("message /room");
    expect(message?.spanContext().traceState?.serialize()).toBe("shop=1");
    expect(recorded.named("run report.build")[0]?.attributes).toMatchObject({
      "messaging.system": "sluice",
      "messaging.operation.type": "process",
      "messaging.message.id": id,
      "sluice.task.attempt": 1,
    });
  },
);

redisTest("what several members here handle begins traces of its own, linked to the message's", async () => {
  const [one, two] = [await node(recorded.part("one")), await node(recorded.part("two"))];
  const many = [await enter(two, "den"), await enter(two, "den"), await enter(two, "den")];
  const ann = await enter(one, "den", true);
  recorded.clear();
  const all = Promise.all(many.map((client) => heard(client, "heard")));
  ann.emit("say", "hi", { traceparent: TRACEPARENT });
  await all;
  await until(() => recorded.named("message /room").length === 3, "all have handled it");
  expect(recorded.tree()).toEqual(["event /room (one)", "  groupSend (one)", "    deliver (two)"]);
  const messages = recorded.named("message /room");
  expect(new Set(messages.map((span) => span.spanContext().traceId)).size).toBe(3);
  for (const { links, parentSpanContext } of messages) {
    expect(parentSpanContext).toBeUndefined();
    expect(linkedTraces(links)).toEqual([BROWSER.trace]);
  }
});

redisTest(
  "in a group with history both nodes deliver in the trace; what is given later does not",
  async () => {
    const [one, two] = [await node(recorded.part("one")), await node(recorded.part("two"))];
    const three = await node(recorded.part("three"));
    const bob = await enter(two, "kept");
    const ann = await enter(one, "kept", true);
    recorded.clear();
    const noted = heard(bob, "noted");
    await ann.emitWithAck("say", "hi", { traceparent: TRACEPARENT });
    await noted;
    const tree = [
      "event /room (one)",
      "  groupSend (one)",
      "    deliver (two)",
      "      message /room (two)",
      "        groupEmit (two)",
      "          deliver (two)",
    ];
    await until(() => recorded.tree().length === tree.length, "all have ended");
    expect(recorded.tree()).toEqual(tree);
    recorded.clear();
    await enter(three, "kept");
    const message = await until(() => recorded.named("message /room")[0], "it is given what was said last");
    expect([message.node, message.parentSpanContext]).toEqual(["three", undefined]);
  },
);

redisTest("a message to one consumer of another node", async () => {
  const [one, two] = [await node(recorded.part("one")), await node(recorded.part("two"))];
  const bob = await enter(two, "den");
  const [channel] = two.app.layer.groupMembers("chat.den");
  const ann = await enter(one, "lobby", true);
  recorded.clear();
  const said = heard(bob, "heard");
  await ann.emitWithAck("direct", channel, { traceparent: TRACEPARENT });
  expect(await said).toEqual(["you"]);
  await until(() => recorded.tree().length === 5, "all have ended");
  expect(recorded.tree()).toEqual([
    "event /room (one)",
    "  send (one)",
    "    deliver (two)",
    "      message /room (two)",
    "        groupEmit (two)",
  ]);
});

/** A node of before there were traces: it sends none. */
class PastBackplane extends RedisBackplane {
  override publish(topic: string, text: () => string): void {
    super.publish(topic, () => {
      const [line = "", ...payload] = text().split("\n");
      const { trace: _, ...header } = JSON.parse(line);
      return [JSON.stringify(header), ...payload].join("\n");
    });
  }
}

/** What it sends in place of a trace. */
let nonsense: unknown;
class StrangeBackplane extends RedisBackplane {
  override publish(topic: string, text: () => string): void {
    super.publish(topic, () => {
      const [line = "", ...payload] = text().split("\n");
      return [JSON.stringify({ ...JSON.parse(line), trace: nonsense }), ...payload].join("\n");
    });
  }
}

redisTest(
  "nodes that send no trace, or ignore it, or send nonsense in its place, are understood",
  async () => {
    const off = await node(undefined);
    const past = await node(recorded.part("past"), PastBackplane);
    const strange = await node(recorded.part("strange"), StrangeBackplane);
    const present = await node(recorded.part("present"));
    const bob = await enter(present, "den");
    const cid = await enter(off, "den");
    for (const live of [off, past, strange]) {
      const ann = await enter(live, "den", true);
      for (const trace of live === strange
        ? ["abc", 7, null, { traceparent: "x" }, { traceparent: 7 }]
        : [1]) {
        nonsense = trace;
        recorded.clear();
        const both = Promise.all([heard(bob, "heard"), heard(cid, "heard")]);
        ann.emit("emit", "hi", { traceparent: TRACEPARENT });
        expect(await both).toEqual([["hi"], ["hi"]]);
        const [delivery] = await until(() => recorded.named("deliver"), "it is delivered");
        expect(delivery?.node).toBe("present");
        expect(delivery?.parentSpanContext).toBeUndefined();
        expect(delivery?.spanContext().traceId).not.toBe(BROWSER.trace);
      }
    }
    const ann = await enter(present, "den", true);
    const both = Promise.all([heard(bob, "heard"), heard(cid, "heard")]);
    ann.emit("emit", "from the newest", { traceparent: TRACEPARENT });
    expect(await both).toEqual([["from the newest"], ["from the newest"]]);
  },
);

redisTest(
  "without the part nothing travels and nothing is recorded; a client's trace is left out",
  async () => {
    const texts: string[] = [];
    class Listening extends RedisBackplane {
      override publish(topic: string, text: () => string): void {
        super.publish(topic, () => {
          texts.push(text());
          return text();
        });
      }
    }
    const [one, two] = [await node(undefined, Listening), await node(undefined)];
    await worker(undefined);
    const bob = await enter(two, "den");
    const ann = await enter(one, "den", true);
    carryTrace(ann, () => ({ traceparent: TRACEPARENT }));
    const noted = heard(bob, "noted");
    await ann.emitWithAck("say", "hi");
    await noted;
    expect(await ann.emitWithAck("anything", { a: 1 })).toEqual({ event: "anything", payload: { a: 1 } });
    const built = heard(bob, "built");
    const id = await ann.emitWithAck("build");
    await built;
    const record = await tasksByNode.get(one.app.node)?.broker.find(id);
    expect(JSON.parse(record?.body ?? "")).toEqual({ v: 1, args: "chat.den" });
    expect(texts.length).toBeGreaterThan(0);
    expect(texts.join()).not.toContain("trace");
  },
);
