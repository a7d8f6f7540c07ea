/** Clients that lie about where they were, as packets on the wire. */
import { expect, test } from "@jest/globals";
import { Consumer, route } from "sluice";
import { gate, type Live, serve, until } from "../server/live-server.ts";
import { ScriptedHistory } from "./scripted-history.ts";

class Room extends Consumer<{ params: { room: string } }> {
  override async connect() {
    await this.groupAdd(`chat.${this.scope.params.room}`);
    this.send("in", true);
  }
}

const SECRET = "a secret of thirty-two characters!";
const HISTORY = { size: 100, ttlMs: 60_000, clientsMayRead: true };

function rooms(history: ScriptedHistory): Promise<Live> {
  return serve({
    routes: [route("/chat/:room", Room)],
    groups: { "chat.*": { history: HISTORY } },
    history,
    secret: SECRET,
    middleware: [(scope, next) => next({ user: scope.auth.user })],
    limits: { replayedPerSecond: 1_000_000 },
  });
}

type Told = Readonly<Record<string, unknown>>;

/** Comes as somebody with what it claims, hears what is told until one more thing is said, and goes. */
async function visit(live: Live, room: string, user: string, sluice: unknown) {
  const raw = await live.raw();
  raw.send(`40/chat/${room},${JSON.stringify({ user, sluice })}`);
  await raw.hears(`42/chat/${room},["in"`);
  const mark = `mark-${Math.random()}`;
  await live.app.layer.groupEmit(`chat.${room}`, "said", mark);
  await until(() => raw.received.some((packet) => String(packet).includes(mark)), "the mark");
  const events = raw.received
    .map((packet) => /^42[^[]*(\[.*)$/.exec(String(packet))?.[1])
    .flatMap((json) => (json === undefined ? [] : [JSON.parse(json) as [string, Told, unknown?]]));
  raw.socket.terminate();
  const of = (name: string) => events.filter(([event]) => event === name).map(([, payload]) => payload);
  const said = of("said").filter((text) => String(text) !== mark);
  return { said, gaps: of("sluice.gap").map(({ reason }) => reason), joined: of("sluice.joined") };
}

function greeting(...positions: readonly unknown[]) {
  return { v: 1, positions };
}

test("nobody reads what was said before they were let in, whatever they claim", async () => {
  const live = await rooms(new ScriptedHistory());
  const { layer } = live.app;
  const first = await visit(live, "den", "ann", greeting());
  const early = (await visit(live, "den", "ann", greeting())).joined[0] as Told;
  expect(first.joined[0]).toMatchObject({ since: 0, epoch: "" });
  for (let n = 0; n < 10; n++) await layer.groupEmit("chat.den", "said", `secret ${n}`);
  await visit(live, "hall", "eve", greeting());
  const hall = (await visit(live, "hall", "eve", greeting())).joined[0] as Told;
  const own = (await visit(live, "den", "eve", greeting())).joined[0] as Told;
  const since = own.since as number;
  expect(since).toBeGreaterThanOrEqual(10);
  const lies: unknown[] = [
    early,
    { ...early, since: 0 },
    { ...hall, group: "chat.den" },
    { ...hall, group: "chat.den", epoch: own.epoch, offset: 0, since: 0 },
    ...[0, 1, since - 1].map((offset) => ({ ...own, offset })),
    ...[0, -1, -0, 0.5, since - 1, null, "0", 1e308, 2 ** 53].map((n) => ({ ...own, offset: n, since: n })),
    { ...own, epoch: "", offset: 0, since: 0 },
    { ...own, epoch: "", offset: 0, since: 0, receipt: "" },
    { ...own, receipt: `${String(own.receipt).slice(0, -1)}é` },
    { ...own, receipt: "x".repeat(50_000) },
    { ...own, receipt: [own.receipt] },
    { group: "chat.den" },
    { group: "chat.den", epoch: {}, offset: {}, id: {}, since: {}, receipt: {} },
    { ...own, toString: null, constructor: null, offset: 0 },
  ];
  for (const lie of lies) {
    const { said, gaps, joined } = await visit(live, "den", "eve", greeting(lie));
    expect([JSON.stringify(lie).slice(0, 200), said, gaps]).toEqual([expect.anything(), [], ["receipt"]]);
    expect(joined).toMatchObject([{ recovered: false }]);
  }
  const borrowed = await visit(live, "den", "ann", greeting({ ...own, offset: since }));
  expect([borrowed.said, borrowed.gaps]).toEqual([[], ["receipt"]]);
});

test("greetings that are none, or far too long, are those of newcomers", async () => {
  const live = await rooms(new ScriptedHistory());
  await live.app.layer.groupEmit("chat.den", "said", "secret");
  const names = ["__proto__", "constructor", "chat.den ", "sluice.nodes", "a".repeat(100), "", "é"];
  const greetings: unknown[] = [
    ...[null, 1, "x", [], {}, { v: 2, positions: [] }, { v: 1 }, { v: 1, positions: "x" }],
    ...[{ v: 1, positions: { length: 1e9 } }, greeting(null, 1, "x", [], {})],
    greeting(...names.map((group) => ({ group, epoch: "x", offset: 1, id: "", since: 0, receipt: "x" }))),
    greeting(...Array.from({ length: 5_000 }, (_, i) => ({ group: `g${i}` }))),
  ];
  for (const sluice of greetings) {
    const { said, gaps } = await visit(live, "den", "eve", sluice);
    expect([JSON.stringify(sluice)?.slice(0, 200), said, gaps]).toEqual([expect.anything(), [], []]);
  }
  await visit(live, "__proto__", "eve", greeting({ group: "chat.__proto__" }));
  await live.empty();
});

test("a position ahead of the log has it read only with a receipt", async () => {
  const history = new ScriptedHistory();
  const live = await rooms(history);
  const stay = await live.raw();
  await stay.enter("/chat/den");
  await live.app.layer.groupEmit("chat.den", "said", 1);
  const own = (await visit(live, "den", "eve", greeting())).joined[0] as Told;
  const { reads } = history;
  for (let i = 0; i < 20; i++) {
    const claim = { ...own, offset: 1_000_000 + i, receipt: "x" };
    expect((await visit(live, "den", "eve", greeting(claim))).gaps).toEqual(["receipt"]);
  }
  expect(history.reads).toBe(reads);
  expect((await visit(live, "den", "eve", greeting({ ...own, offset: 1_000 }))).gaps).toEqual(["ahead"]);
  expect(history.reads).toBeGreaterThan(reads);
});

test("what is asked of a history beyond all measure is refused, and the connection goes on", async () => {
  const live = await rooms(new ScriptedHistory());
  const raw = await live.raw();
  await raw.enter("/chat/den");
  await live.app.layer.groupEmit("chat.den", "said", "hello");
  const numbers = [0, -1, 1.5, 101, 1e308, 2 ** 53, "10", true, [], {}];
  const asked: unknown[] = [
    ...[undefined, null, 1, "chat.den", [], {}],
    ...["__proto__", "chat.hall", "sluice.nodes", "", 1, null, {}].map((group) => ({ group })),
    ...numbers.map((limit) => ({ group: "chat.den", limit })),
    ...numbers.filter((n) => n !== 101 && n !== 2 ** 53).map((before) => ({ group: "chat.den", before })),
  ];
  for (const [i, payload] of asked.entries()) {
    raw.send(`42/chat/den,${i}${JSON.stringify(["sluice.history", payload])}`);
    expect(await raw.hears(`43/chat/den,${i}[`)).toMatch(
      /"code":"(invalid_message|no_handler|invalid_name)"/,
    );
  }
  raw.send(`42/chat/den,900["sluice.history",{"group":"chat.den"},"more","arguments"]`);
  expect(await raw.hears("43/chat/den,900[")).toContain("hello");
  expect(raw.isOpen).toBe(true);
});

test("who goes while the log is read for its claim leaves nothing behind", async () => {
  const history = new ScriptedHistory();
  const live = await rooms(history);
  const own = (await visit(live, "den", "eve", greeting())).joined[0] as Told;
  const again = (await visit(live, "den", "eve", greeting())).joined[0] as Told;
  expect(own.epoch).toBe("");
  await live.empty();
  const held = gate();
  history.gate = held.passed;
  const { begun } = history;
  const raw = await live.raw();
  const claim = greeting({ ...again, offset: 1_000 });
  raw.send(`40/chat/den,${JSON.stringify({ user: "eve", sluice: claim })}`);
  await until(() => history.begun > begun, "the log is read");
  raw.socket.terminate();
  await until(() => live.app.sizes.channels === 0, "it is gone");
  held.open();
  await live.empty();
});
