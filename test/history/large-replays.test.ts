/** What is missed, or asked for, may be far larger than what may wait for a client. */
import { expect, jest, test } from "@jest/globals";
import {
  type Application,
  type ApplicationOptions,
  Consumer,
  createApplication,
  type HistoryMessage,
  type Message,
  route,
  sse,
} from "sluice";
import { EventStream } from "../server/event-stream.ts";
import { atEnd, connected, gate, type Live, type RawClient, serve, until } from "../server/live-server.ts";
import { ScriptedHistory } from "./scripted-history.ts";
import { Visitor } from "./visitor.ts";

const GROUP = "chat.den";
const LARGE = "x".repeat(50_000);
const COUNT = 90;
const ALL = Array.from({ length: COUNT }, (_, i) => i + 1);
const NOBODY = { auth: { sluice: { v: 1, positions: [] } } };

let held = gate();
let isHandling = false;

class Room extends Consumer {
  override async connect() {
    await this.groupAdd(GROUP);
  }
  async slowMessage(_message: Message) {
    isHandling = true;
    await held.passed;
  }
}

function rooms(newcomers: number, options: Partial<ApplicationOptions> = {}): ApplicationOptions {
  return {
    routes: [route("/den", Room), sse("/stream", Room)],
    groups: { "chat.*": { history: { size: 200, ttlMs: 60_000, newcomers, clientsMayRead: true } } },
    ...options,
  };
}

async function fill({ layer }: Application, text = LARGE): Promise<void> {
  for (const n of ALL) await layer.groupEmit(GROUP, "said", { n, text });
}

test.each(["websocket", "polling"])("over %s a client is given all of it, without being cut", async (by) => {
  const { app, client } = await serve(rooms(100));
  await fill(app);
  const socket = client("/den", { ...NOBODY, transports: [by] });
  const seen: number[] = [];
  const ends: unknown[] = [];
  socket.on("said", ({ n }) => seen.push(n));
  socket.on("disconnect", (why) => ends.push(why));
  await until(() => seen.length >= COUNT || ends.length > 0, "all of it, or the end");
  expect([ends, seen]).toEqual([[], ALL]);
});

test("a WebSocket that stops reading in the middle of it is not cut, and gets the rest later", async () => {
  const live = await serve(rooms(100));
  await fill(live.app, LARGE.repeat(4));
  const raw = await live.raw();
  raw.socket.pause();
  raw.send("40/den,");
  await until(() => bufferedBytes(live) > 262_144, "the kernel takes no more");
  raw.socket.resume();
  await until(() => !raw.isOpen || count(raw) >= COUNT, "all of it, or the end");
  expect([raw.isOpen, count(raw)]).toEqual([true, COUNT]);
});

/** What the one client there is has not been sent yet. */
function bufferedBytes({ io }: Live): number {
  const { clients } = io.engine as unknown as { clients: Record<string, { transport: unknown }> };
  const [conn] = Object.values(clients);
  const { socket } = (conn?.transport ?? {}) as { socket?: { bufferedAmount: number } };
  return socket?.bufferedAmount ?? 0;
}

function count({ received }: RawClient): number {
  return received.filter((packet) => String(packet).startsWith('42/den,["said"')).length;
}

test("an event stream is given all of it, without being cut", async () => {
  const { app, url } = await serve(rooms(100));
  await fill(app);
  const stream = await EventStream.open(`${url}/stream`);
  await until(() => stream.ended || stream.events.length > COUNT, "all of it, or the end");
  expect(stream.events.slice(1).map(({ data }) => (data as { n: number }).n)).toEqual(ALL);
});

test("what waits behind a handler counts as well", async () => {
  [held, isHandling] = [gate(), false];
  const { app, client } = await serve(rooms(100));
  await app.layer.groupSend(GROUP, { type: "slow.message" });
  await fill(app);
  const socket = client("/den", { ...NOBODY, transports: ["polling"] });
  const seen: number[] = [];
  const ends: unknown[] = [];
  socket.on("said", ({ n }) => seen.push(n));
  socket.on("disconnect", (why) => ends.push(why));
  await until(() => isHandling, "the handler runs");
  held.open();
  await until(() => seen.length >= COUNT || ends.length > 0, "all of it, or the end");
  expect([ends, seen]).toEqual([[], ALL]);
});

test.each(["websocket", "polling"])(
  "over %s a client reads a large history piece by piece, without being cut",
  async (by) => {
    const { app, client } = await serve(rooms(100));
    await fill(app);
    const socket = await connected(client("/den", { transports: [by] }));
    socket.on("disconnect", (why) => ends.push(why));
    const ends: unknown[] = [];
    const offsets: number[] = [];
    for (let more = true; more && ends.length === 0; ) {
      const before = offsets[0];
      const asked = { group: GROUP, limit: 100, ...(before && { before }) };
      const answer: { messages: HistoryMessage[]; more: boolean } = await socket
        .timeout(10_000)
        .emitWithAck("sluice.history", asked);
      expect(JSON.stringify(answer).length).toBeLessThan(300_000);
      offsets.unshift(...answer.messages.map(({ offset }) => offset));
      more = answer.more;
    }
    expect([ends, offsets]).toEqual([[], ALL]);
  },
);

test("where handlers alone were told something, older messages are found before that", async () => {
  held.open();
  const { app, client } = await serve(rooms(0));
  const socket = await connected(client("/den"));
  for (const n of [1, 2, 3]) await app.layer.groupEmit(GROUP, "said", n);
  for (const n of ALL) await app.layer.groupSend(GROUP, { type: "slow.message", n });
  const read = (before?: number) =>
    socket.emitWithAck("sluice.history", { group: GROUP, limit: 2, ...(before && { before }) });
  expect(await read()).toMatchObject({ messages: [{ offset: 2 }, { offset: 3 }], more: true });
  expect(await read(2)).toMatchObject({ messages: [{ offset: 1 }], more: false });
});

test("a single message is given however large it is", async () => {
  const { app, client } = await serve(rooms(0, { limits: { maxMessageBytes: 600_000 } }));
  const socket = await connected(client("/den"));
  for (const n of [1, 2]) await app.layer.groupEmit(GROUP, "said", { n, text: LARGE.repeat(10) });
  const { messages, more } = await socket.emitWithAck("sluice.history", { group: GROUP });
  expect([messages.map(({ offset }: HistoryMessage) => offset), more]).toEqual([[2], true]);
});

test("a flood of readings is read one at a time, and refused beyond what may wait", async () => {
  let [reading, most] = [0, 0];
  class Counting extends ScriptedHistory {
    override async readBefore(group: string, before: number | undefined, limit: number) {
      reading += 1;
      most = Math.max(most, reading);
      await held.passed;
      reading -= 1;
      return super.readBefore(group, before, limit);
    }
  }
  held = gate();
  const limits = { eventsPerSecond: 1_000, pendingEvents: 20 };
  const { app, client } = await serve(rooms(0, { history: new Counting(), limits }));
  const socket = await connected(client("/den"));
  await app.layer.groupEmit(GROUP, "said", 1);
  const asked = Array.from({ length: 100 }, () => socket.emitWithAck("sluice.history", { group: GROUP }));
  await asked.at(-1);
  held.open();
  const answers = await Promise.all(asked);
  const refused = answers.filter(({ error }) => error?.code === "channel_full");
  expect(most).toBe(1);
  expect(refused.length).toBeGreaterThanOrEqual(79);
  expect(answers.filter(({ messages }) => messages?.length === 1)).toHaveLength(100 - refused.length);
});

test("what clients of an address read is counted over all of them", async () => {
  const { app, client } = await serve(rooms(0, { limits: { replayedPerSecond: 1 } }));
  const [one, two] = [await connected(client("/den")), await connected(client("/den"))];
  await app.layer.groupEmit(GROUP, "said", 1);
  const ask = { group: GROUP, limit: 60 };
  expect(await one.emitWithAck("sluice.history", ask)).toMatchObject({ messages: [{ offset: 1 }] });
  expect(await two.emitWithAck("sluice.history", ask)).toMatchObject({ error: { code: "rate_limited" } });
});

test("a replay that is too much for its address waits its turn", async () => {
  const app = createApplication(rooms(5));
  let [allowance, refusals] = [0, 0];
  const take = (asked = 1) => {
    if (asked <= allowance) return true;
    refusals += 1;
    return false;
  };
  const replayed = { take, refusals: 0 };
  jest.spyOn(app, "allowances").mockReturnValue({ ...app.allowances(), replayed } as never);
  await app.start();
  atEnd(() => app.stop());
  for (const n of ALL.slice(0, 5)) await app.layer.groupEmit(GROUP, "said", n);
  const ann = new Visitor("/den");
  expect(await ann.come(app)).toEqual({ accepted: true });
  await until(() => refusals > 2, "it is asked again");
  ann.absorb();
  expect(ann.seen).toEqual([]);
  allowance = 5;
  await ann.until(() => ann.seen.length === 5);
});

test("who leaves while it is given much gets no more, and nothing of it stays", async () => {
  const history = new ScriptedHistory();
  const live = await serve(rooms(100, { history }));
  await fill(live.app);
  const raw = await live.raw();
  raw.socket.pause();
  raw.send("40/den,");
  await until(() => bufferedBytes(live) > 0 || history.reads > 0, "it is given some");
  raw.socket.terminate();
  await live.empty();
  const { reads } = history;
  await live.app.layer.groupEmit(GROUP, "said", 1);
  expect(history.reads).toBe(reads);
});
