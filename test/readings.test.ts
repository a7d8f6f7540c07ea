import { expect, test } from "@jest/globals";
import {
  type Application,
  type ApplicationOptions,
  type ApplicationPart,
  CloseCode,
  Consumer,
  createApplication,
  deny,
  MemoryBackplane,
  MemoryHistory,
  MemoryHub,
  type Message,
  type PartReadings,
  route,
  Spread,
  Spreads,
  type TaskReadings,
} from "sluice";
import { TestClient, untilIdle } from "sluice/testing";
import { atEnd, connected, heard, serve, until } from "./server/live-server.ts";

class Room extends Consumer {
  override async connect() {
    const { room } = this.scope.params as { room: string };
    if (room === "closed") deny(CloseCode.forbidden, "closed");
    await this.groupAdd(`room.${room}`);
  }
  override async receive(event: string, payload: unknown) {
    const { room } = this.scope.params as { room: string };
    if (event === "say") await this.groupEmit(`room.${room}`, "said", payload);
    if (event === "others") await this.groupEmit(`room.${room}`, "said", payload, { except: this.channel });
    if (event === "ask") await this.groupSend(`room.${room}`, { type: "chat.ask" });
    if (event === "unknown") await this.groupSend(`room.${room}`, { type: "chat.unknown" });
    if (event === "self") this.send("said", payload);
    if (event === "question") await this.ask("what?", payload);
    if (event === "channel") await this.channelSend(this.channel, { type: "chat.ask" });
    if (event === "fail") throw new Error("a bug");
    return "ok";
  }
  chatAsk(_message: Message) {}
}

const routes = [route("/room/:room", Room)];

function started(options: Partial<ApplicationOptions> = {}): Application {
  const app = createApplication({ ...options, routes } as ApplicationOptions);
  atEnd(() => app.stop());
  return app;
}

async function client(app: Application, room: string): Promise<TestClient> {
  const made = new TestClient(app, `/room/${room}`);
  await made.connect();
  return made;
}

test("a node says who it is, and nothing of it can be changed", async () => {
  const app = started();
  const readings = app.readings();
  expect(readings.node).toBe(app.node);
  expect(readings.version).toMatch(/^\d+\.\d+\.\d+/);
  expect(readings.startedAt).toBeLessThanOrEqual(readings.takenAt);
  expect(JSON.parse(JSON.stringify(readings))).toEqual(readings);
  const frozen = (value: unknown): boolean =>
    typeof value !== "object" ||
    value === null ||
    (Object.isFrozen(value) && Object.values(value).every(frozen));
  await client(app, "a");
  app.beginTiming();
  await client(app, "b");
  expect(frozen(app.readings())).toBe(true);
});

test("connections are counted by route, their ends by kind, refusals by code", async () => {
  const app = started();
  const [first, second] = [await client(app, "a"), await client(app, "a")];
  expect(await new TestClient(app, "/room/closed").connect()).toMatchObject({ accepted: false });
  expect(await new TestClient(app, "/nowhere").connect()).toMatchObject({ accepted: false });
  const before = app.readings();
  expect(before.counters.accepted).toEqual({ "/room/:room": 2 });
  expect(before.counters.denied).toEqual({ 4403: 1, 4404: 1 });
  expect(before.gauges).toMatchObject({ open: { "/room/:room": 2 }, unsettled: 0, groups: 1 });

  await first.disconnect();
  await second.emit("fail").catch(() => {});
  await until(() => app.sizes.connections === 0, "both have gone");
  const { counters, gauges } = app.readings();
  expect(counters.ended).toEqual({ client: 1, failed: 1 });
  expect(counters.failed).toEqual({ receive: 1 });
  expect(gauges).toMatchObject({ open: {}, unsettled: 0, groups: 0, waitingBytes: 0, mailboxes: 0 });
});

test("what is said and what of it arrives is counted, one for each who gets it", async () => {
  const app = started();
  const [one] = [await client(app, "a"), await client(app, "a"), await client(app, "a")];
  await one?.emit("say", "to three");
  await one?.emit("others", "to two");
  await one?.emit("ask");
  await one?.emit("unknown");
  await untilIdle(app);
  const { counters } = app.readings();
  expect(counters).toMatchObject({ received: 4, sentToGroups: 4, deliveredToClients: 5 });
  expect(counters).toMatchObject({ deliveredToConsumers: 6, dropped: { "no-handler": 3 } });
});

test("what consumers send to their own clients, and to single channels here and elsewhere, is counted", async () => {
  const hub = new MemoryHub();
  const nodes = [1, 2].map(() => started({ backplane: new MemoryBackplane(hub) }));
  const [near, far] = nodes as [Application, Application];
  const one = await client(near, "a");
  await client(far, "a");
  const answered: unknown[] = [];
  one.answer("what?", (payload) => answered.push(payload));
  await one.emit("self", "one");
  await one.emit("question", "two");
  await one.emit("channel");
  const [elsewhere = ""] = far.layer.groupMembers("room.a");
  await near.layer.send(elsewhere, { type: "chat.ask" });
  await untilIdle(far);
  expect(answered).toEqual(["two"]);
  expect(near.readings().counters).toMatchObject({ sentToClients: 2, sentToChannels: 2, sentToGroups: 0 });
  expect(far.readings().counters).toMatchObject({ sentToClients: 0, sentToChannels: 0 });
  expect(far.readings().counters).toMatchObject({ heard: 1, deliveredToConsumers: 0 });
});

test("limits that clients come to, and events that are refused, are counted by name", async () => {
  const app = started({ limits: { eventsPerSecond: 1 } });
  const one = await client(app, "a");
  const answers = await Promise.all([1, 2, 3].map(() => one.emit("say").catch((error) => error)));
  expect(answers.filter((answer) => answer === "ok")).toHaveLength(2);
  expect(app.readings().counters).toMatchObject({
    received: 2,
    limited: { eventsPerSecond: 1 },
    refused: { rate_limited: 1 },
  });
});

test("what nodes tell each other is counted, and whether they can be reached", async () => {
  const hub = new MemoryHub();
  let listener: Parameters<MemoryBackplane["open"]>[0] | undefined;
  class Watched extends MemoryBackplane {
    override open(given: typeof listener & object) {
      listener = given;
      return super.open(given);
    }
    readings() {
      return { waitingMessages: 3, waitingBytes: 30 };
    }
  }
  const [near, far] = [
    started({ backplane: new Watched(hub) }),
    started({ backplane: new MemoryBackplane(hub) }),
  ];
  const [here, there] = [await client(near, "a"), await client(far, "a")];
  await here.emit("say", 1);
  expect(await there.next("said")).toBe(1);
  expect(near.readings().counters).toMatchObject({ published: 1, heard: 0, deliveredToClients: 1 });
  expect(far.readings().counters).toMatchObject({ published: 0, heard: 1, deliveredToClients: 1 });
  expect(near.readings().layers).toEqual({
    default: {
      ...{ isDegraded: false, groups: 1, topics: 1 },
      backplane: { waitingMessages: 3, waitingBytes: 30 },
    },
  });
  expect(far.readings().layers).toEqual({ default: { isDegraded: false, groups: 1, topics: 1 } });
  listener?.down("no carrier");
  listener?.lost({ missed: 4 });
  listener?.dropped("g:room.a", 5);
  expect(near.readings().layers.default?.isDegraded).toBe(true);
  expect(near.readings().counters).toMatchObject({ lost: 4, dropped: { backplane: 5 } });
});

test("what is appended to histories is counted, and what had to be read of them", async () => {
  const hub = new MemoryHub();
  const history = new MemoryHistory();
  const deaf = new MemoryBackplane(hub);
  let isDeaf = true;
  const open = deaf.open.bind(deaf);
  deaf.open = (listener) =>
    open({
      ...{ dropped: () => {}, unheard: () => {}, down: () => {}, up: () => {} },
      lost: (loss) => listener.lost(loss),
      hear: (topic, text) => {
        if (!isDeaf) listener.hear(topic, text);
      },
    });
  const groups = { "room.*": { history: { size: 10, ttlMs: 60_000 } } };
  const kept = { groups, history, secret: "s".repeat(32) } as object;
  const [near, far] = [
    started({ ...kept, backplane: new MemoryBackplane(hub) }),
    started({ ...kept, backplane: deaf }),
  ];
  const [here, there] = [await client(near, "a"), await client(far, "a")];
  await here.emit("say", 1);
  await here.emit("say", 2);
  isDeaf = false;
  await here.emit("say", 3);
  expect([await there.next("said"), await there.next("said"), await there.next("said")]).toEqual([1, 2, 3]);
  expect(near.readings().counters).toMatchObject({ appended: 3, healed: 0 });
  expect(far.readings().counters).toMatchObject({ appended: 0, healed: 3 });
});

test("handlers and mailboxes are timed only once somebody asks for it", async () => {
  const app = started();
  const before = await client(app, "a");
  await before.emit("say");
  expect(app.readings().timings).toBeUndefined();
  app.beginTiming();
  const after = await client(app, "a");
  await after.emit("say");
  await after.emit("say");
  await before.emit("say");
  const { handled, waited } = app.readings().timings ?? {};
  const total = (counts: readonly number[] = []) => counts.reduce((sum, count) => sum + count, 0);
  expect(total(handled?.["/room/:room"]?.counts)).toBe(2);
  expect(total(waited?.["/room/:room"]?.counts)).toBe(2);
});

test("the groups with the most members here are told, the largest first", async () => {
  const app = started();
  for (const room of ["a", "b", "b", "c", "c", "c"]) await client(app, room);
  const all = [3, 2, 1].map((members, i) => ({ layer: "default", group: `room.${"cba"[i]}`, members }));
  expect(app.busiestGroups()).toEqual(all);
  expect(app.busiestGroups(2)).toEqual(all.slice(0, 2));
  expect(app.busiestGroups(0)).toEqual([]);
  expect(app.busiestGroups(-1)).toEqual([]);
});

test("a part adds what it knows, after it has looked", async () => {
  let runs = 0;
  const part: ApplicationPart = {
    open: async () => {},
    close: async () => {},
    look: async () => void runs++,
    readings: (): PartReadings => ({ tasks: { running: runs } as TaskReadings }),
  };
  const app = started({ parts: [part] });
  expect(app.readings().tasks?.running).toBe(0);
  await app.look();
  expect(app.readings().tasks?.running).toBe(1);
});

test("a server adds its connections and where it stands in its life; writes and bytes are counted", async () => {
  const live = await serve({ routes });
  const socket = await connected(live.client("/room/a"));
  const said = heard(socket, "said");
  expect(await socket.emitWithAck("say", "x".repeat(1_000))).toBe("ok");
  await said;
  const { server, counters } = live.app.readings();
  expect(server).toEqual({ phase: "serving", transports: 1 });
  expect(counters.writes).toBe(1);
  expect(counters.writtenBytes).toBeGreaterThan(1_000);
  expect(counters.writtenBytes).toBeLessThan(1_200);
});

test("a client that does not read shows as bytes that wait, once for all its routes", async () => {
  const live = await serve({ routes });
  const raw = await live.raw();
  await raw.enter("/room/a");
  await raw.enter("/room/b");
  raw.socket.pause();
  const text = "x".repeat(50_000);
  const waiting = () => live.app.readings().gauges.waitingBytes;
  let before = 0;
  while (waiting() < 200_000) {
    before = waiting();
    await live.app.layer.groupEmit("room.a", "said", text);
    await new Promise((resolve) => setImmediate(resolve));
  }
  // Counted for each route it would be at least twice as much.
  expect(waiting() - before).toBeLessThan(60_000);
  raw.socket.terminate();
  await until(() => live.app.readings().gauges.waitingBytes === 0, "it has gone");
});

test("how long something takes is counted by bounds, which belong to what is below them", () => {
  const spread = new Spread([10, 100]);
  for (const ms of [0, 10, 10.5, 100, 1_000]) spread.note(ms);
  expect(spread.reading).toEqual({ bounds: [10, 100], counts: [2, 2, 1], sumMs: 1_120.5 });
});

test("of one thing at most about a hundred kinds are told apart", () => {
  const spreads = new Spreads();
  for (let i = 0; i < 200; i += 1) spreads.of(`kind ${i}`).note(1);
  const kinds = Object.keys(spreads.reading);
  expect(kinds).toHaveLength(101);
  expect(kinds).toContain("other");
});
