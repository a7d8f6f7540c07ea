import { beforeEach, expect, test } from "@jest/globals";
import { Consumer, MemoryHistory, MemoryLogs, type Message, sse } from "sluice";
import { EventStream } from "./event-stream.ts";
import { gate, type Live, serve, until } from "./live-server.ts";

class Room extends Consumer<{ options: { groups: readonly string[] } }> {
  override async connect() {
    for (const group of this.options.groups) await this.groupAdd(group);
    this.send("in", true);
  }
  async callMessage({ n }: Message) {
    this.send("said", `${n}a`);
    await held.passed;
    this.send("said", `${n}b`);
  }
  override async receive() {
    await this.groupDiscard("chat.den");
  }
}

const DEN = "chat.den";
let held = gate();
beforeEach(() => {
  held = gate();
  held.open();
});

async function scene(size = 100, groups = [DEN], logs = new MemoryLogs()): Promise<Live> {
  return serve({
    routes: [sse("/room", Room, { options: { groups } })],
    groups: { "chat.*": { history: { size, ttlMs: 60_000 } } },
    history: new MemoryHistory(logs),
    middleware: [(scope, next) => next({ user: scope.query.get("user") })],
  });
}

/** As a browser's EventSource does. */
async function come({ url }: Live, last?: EventStream | string, user = "ann"): Promise<EventStream> {
  const id = typeof last === "string" ? last : (last?.lastEventId ?? "");
  const stream = await EventStream.open(`${url}/room?user=${user}`, id === "" ? {} : { "last-event-id": id });
  await stream.next("in");
  return stream;
}

function of(stream: EventStream, name: string): unknown[] {
  return stream.events.filter(({ event }) => event === name).map(({ data }) => data);
}

async function say(live: Live, from: number, to = from, group = DEN): Promise<void> {
  for (let n = from; n <= to; n++) await live.app.layer.groupEmit(group, "said", n);
}

async function hears(stream: EventStream, what: unknown): Promise<unknown[]> {
  await until(() => of(stream, "said").includes(what), `it hears ${what}`);
  return of(stream, "said");
}

async function go(live: Live, stream: EventStream): Promise<void> {
  stream.close();
  await until(() => live.app.sizes.connections === 0, "it is gone");
}

test("an event stream that comes back is given what it missed, once and in order, and no word of positions", async () => {
  const live = await scene();
  let stream = await come(live);
  await say(live, 1, 2);
  expect(await hears(stream, 2)).toEqual([1, 2]);
  for (let round = 1; round <= 3; round++) {
    await go(live, stream);
    await say(live, round * 10, round * 10 + 4);
    stream = await come(live, stream);
    await say(live, round * 10 + 5);
    const all = Array.from({ length: 6 }, (_, i) => round * 10 + i);
    expect(await hears(stream, round * 10 + 5)).toEqual(all);
  }
  expect(stream.events.filter(({ event }) => /^sluice\.(?!open)/.test(event))).toEqual([]);
});

test("one that missed what came before its first event misses nothing", async () => {
  const live = await scene();
  const first = await come(live);
  await until(() => first.lastEventId !== "", "it knows where it is");
  await go(live, first);
  await say(live, 1, 3);
  const second = await come(live, first);
  expect(await hears(second, 3)).toEqual([1, 2, 3]);
});

test("messages to handlers are handled that were missed", async () => {
  const live = await scene();
  const first = await come(live);
  const call = (n: number) => live.app.layer.groupSend(DEN, { type: "call.message", n });
  await call(1);
  await hears(first, "1b");
  await say(live, 2);
  await hears(first, 2);
  await go(live, first);
  await call(3);
  const second = await come(live, first);
  expect(await hears(second, "3b")).toEqual(["3a", "3b"]);
});

test("a message whose handler was cut short is handled again", async () => {
  const live = await scene();
  const first = await come(live);
  await say(live, 1);
  held = gate();
  await live.app.layer.groupSend(DEN, { type: "call.message", n: 2 });
  await hears(first, "2a");
  first.close();
  await until(() => live.app.sizes.channels === 0, "it is gone");
  held.open();
  const second = await come(live, first);
  await say(live, 3);
  expect(await hears(second, 3)).toEqual(["2a", "2b", 3]);
});

test("what cannot be given is told as a gap", async () => {
  const logs = new MemoryLogs();
  const live = await scene(3, [DEN], logs);
  const first = await come(live);
  await say(live, 1);
  await hears(first, 1);
  await go(live, first);
  await say(live, 2, 9);
  const second = await come(live, first);
  expect(await hears(second, 9)).toEqual([7, 8, 9]);
  expect(of(second, "sluice.gap")).toMatchObject([{ group: DEN, reason: "trimmed" }]);
  await go(live, second);
  logs.clear();
  await say(live, 10);
  const third = await come(live, second);
  expect((await until(() => of(third, "sluice.gap")[0], "a gap")) as object).toMatchObject({
    reason: "epoch",
  });
});

test("the id of another user, or one that is changed or none at all, gives nothing", async () => {
  const live = await scene();
  const first = await come(live);
  await say(live, 1);
  await hears(first, 1);
  await go(live, first);
  await say(live, 2, 5);
  const { places } = JSON.parse(String(Buffer.from(first.lastEventId, "base64url")));
  const [place] = places as [unknown[]];
  const packed = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const lies: [string, string, string[]][] = [
    [first.lastEventId, "eve", ["receipt"]],
    [packed({ places: [[...place.slice(0, 4), -1, place[5]]] }), "ann", ["receipt"]],
    [packed({ places: [[...place.slice(0, 5), "x"]] }), "ann", ["receipt"]],
    [packed({ places: [place.slice(0, 5), null, 1, "x", {}, []] }), "ann", []],
    [packed({ places: [[{}, {}, {}, {}, {}, {}]] }), "ann", []],
    [packed({ places: { length: 1e9 }, cut: {} }), "ann", []],
    ...["null", "1", "[]", "{", "[".repeat(5_000)].map((json): [string, string, string[]] => [
      Buffer.from(json).toString("base64url"),
      "ann",
      [],
    ]),
    ["!!! no base64 !!!", "ann", []],
  ];
  let n = 100;
  for (const [id, user, reasons] of lies) {
    const stream = await come(live, id, user);
    n += 1;
    await say(live, n);
    expect(await hears(stream, n)).toEqual([n]);
    expect(of(stream, "sluice.gap")).toMatchObject(reasons.map((reason) => ({ reason })));
    await go(live, stream);
  }
});

test("a stream in more groups than an id has room for is told so of the others", async () => {
  const groups = Array.from({ length: 20 }, (_, i) => `chat.room-${i}`);
  const live = await scene(100, groups);
  const first = await come(live);
  for (const [i, group] of groups.entries()) await say(live, i, i, group);
  await hears(first, 19);
  expect(first.lastEventId.length).toBeLessThan(4_000);
  await go(live, first);
  for (const [i, group] of groups.entries()) await say(live, 100 + i, 100 + i, group);
  const second = await come(live, first);
  await until(() => of(second, "said").length === 16, "it has what it can be given");
  expect(new Set(of(second, "said"))).toEqual(new Set(groups.slice(4).map((_, i) => 104 + i)));
  expect(of(second, "sluice.gap")).toMatchObject(
    groups.slice(0, 4).map((group) => ({ group, reason: "too_many" })),
  );
});

test("a group that was left is no more in the id, and one that is not joined again is", async () => {
  const live = await scene(100, [DEN, "chat.hall"]);
  const first = await come(live);
  await say(live, 1, 1, "chat.hall");
  await hears(first, 1);
  await first.post({ event: "leave" });
  const places = () => String(Buffer.from(first.lastEventId, "base64url"));
  await until(() => !places().includes(DEN), "it has left");
  expect(places()).toContain("chat.hall");
  await go(live, first);
  const { places: left } = JSON.parse(places());
  const other = Buffer.from(JSON.stringify({ places: [["chat.other", "x", 1, "i", 0, "r"], ...left] }));
  const second = await come(live, other.toString("base64url"));
  await say(live, 2);
  await hears(second, 2);
  expect(String(Buffer.from(second.lastEventId, "base64url"))).toContain("chat.other");
});

test("without history there are no ids", async () => {
  const live = await scene(100, ["den"]);
  const stream = await come(live);
  await say(live, 1, 1, "den");
  await hears(stream, 1);
  expect(stream.lastEventId).toBe("");
});
