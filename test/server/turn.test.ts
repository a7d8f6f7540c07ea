import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, test } from "@jest/globals";
import { type Backplane, Consumer, type ConsumerContext, MemoryBackplane, type Message, route } from "sluice";
import { clientsOf } from "../../src/server/engine-internals.ts";
import { SocketCodec } from "../../src/server/frames.ts";
import { Sequence, Turn } from "../../src/server/turn.ts";
import { Tally } from "../../src/tally.ts";
import { seeded } from "../seeded.ts";
import { type Live, type RawClient, serve, until } from "./live-server.ts";

const codec = new SocketCodec("/room", false);
const frame = (text: string) => codec.encode({ event: text, json: "", attachments: [] });

describe("a sequence of frames", () => {
  const [a, b, c] = [frame("a"), frame("b"), frame("c")];

  test("is one object, and one buffer, for all who go the same way", () => {
    const empty = new Sequence();
    const [ann, bob] = [empty.with(a), empty.with(a)];
    expect(ann).toBe(bob);
    expect(ann.with(b).joined).toBe(bob.with(b).joined);
    expect(ann.joined).toBe(a.wire);
    expect(ann.with(b).joined).toEqual(Buffer.concat([a.wire, b.wire]));
  });

  test("is right for those who go different ways, in whatever order they go", () => {
    const empty = new Sequence();
    const ways = [[a, b], [b, a], [a, b, c], [b], [a, a], [a, c, b]];
    // One step of each in turn, so that every step finds what another has left.
    const at = ways.map(() => empty);
    for (let step = 0; step < 3; step++) {
      for (const [n, way] of ways.entries()) {
        const next = way[step];
        if (next !== undefined) at[n] = (at[n] as Sequence).with(next);
      }
    }
    for (const [n, way] of ways.entries()) {
      expect(at[n]?.frames).toEqual(way);
      expect(at[n]?.joined).toEqual(Buffer.concat(way.map(({ wire }) => wire)));
      expect(at[n]?.bytes).toBe(at[n]?.joined.length);
    }
    expect(empty.joined).toHaveLength(0);
  });

  test("a turn ends once for each who began, and the next begins anew", async () => {
    const turn = new Turn();
    const flushed: string[] = [];
    const writer = (name: string) => ({ flush: () => flushed.push(name) });
    const first = turn.begin(writer("ann"));
    expect(turn.begin(writer("bob"))).toBe(first);
    expect(flushed).toEqual([]);
    await new Promise((resolve) => setImmediate(resolve));
    expect(flushed).toEqual(["ann", "bob"]);
    expect(turn.begin(writer("cid"))).not.toBe(first);
    await new Promise((resolve) => setImmediate(resolve));
    expect(flushed).toEqual(["ann", "bob", "cid"]);
  });
});

describe("where messages leave for other nodes as well", () => {
  test("clients are written to a turn later, if something has left", async () => {
    const tally = new Tally();
    const turn = new Turn(tally, true);
    const flushed: string[] = [];
    const writer = (name: string) => ({ flush: () => flushed.push(name) });
    turn.begin(writer("an answer"));
    await nextTurn();
    expect(flushed).toEqual(["an answer"]);
    turn.begin(writer("a member"));
    tally.published += 1;
    await nextTurn();
    turn.begin(writer("who comes to it"));
    expect(flushed).toEqual(["an answer"]);
    await nextTurn();
    expect(flushed).toEqual(["an answer", "a member", "who comes to it"]);
    turn.begin(writer("another answer"));
    await nextTurn();
    expect(flushed).toHaveLength(4);
  });

  test.each(["groupEmit", "groupSend"] as const)("the others hear a %s first", async (verb) => {
    const order: string[] = [];
    const inner = new MemoryBackplane();
    const backplane: Backplane = {
      open: (listener) => inner.open(listener),
      subscribe: (topic) => inner.subscribe(topic),
      unsubscribe: (topic) => inner.unsubscribe(topic),
      // As that of Redis does: a turn for what goes together, another in the client of Redis.
      publish: (topic) => {
        if (topic.includes("room")) setImmediate(() => setImmediate(() => order.push("the others")));
      },
      flush: () => inner.flush(),
      close: () => inner.close(),
    };
    const live = await serve({ routes: [route("/room", Room)], backplane });
    const ann = await member(live, false);
    const push = ann.writes.push.bind(ann.writes);
    ann.writes.push = (...written) => {
      order.push("its own");
      return push(...written);
    };
    if (verb === "groupEmit") await live.app.layer.groupEmit("room", "n", 1);
    else await live.app.layer.groupSend("room", { type: "room.told", n: 1 });
    await ann.raw.hears('42/room,["n",1]');
    expect(order).toEqual(["the others", "its own"]);
  });
});

/** A room whose members are told what to do by name, and what went to one member as bytes on the wire. */
class Room extends Consumer {
  static override readonly groups = ["room"];
  static readonly all = new Map<string, Room>();
  constructor(context: ConsumerContext) {
    super(context);
    Room.all.set(this.channel, this);
  }
  roomTold({ n }: Message): void {
    this.send("n", n);
  }
  override receive(_event: string, payload: unknown): unknown {
    this.send("direct", payload);
    return { heard: payload };
  }
}

interface Wire {
  readonly raw: RawClient;
  readonly bytes: () => Buffer;
  /** How often something was handed to the network, and what. */
  readonly writes: Buffer[];
}

async function member(live: Live, isStock: boolean): Promise<Wire> {
  const raw = await live.raw();
  await raw.enter("/room");
  const conn = clientsOf(live.io.engine).at(-1) as unknown as {
    transport: {
      perMessageDeflate: unknown;
      socket: { _sender: { sendFrame(list: Buffer[], done?: () => void): void } };
    };
  };
  // What Engine.IO does with packets when it thinks of compression, of which ws has agreed to none.
  if (isStock) conn.transport.perMessageDeflate = {};
  const writes: Buffer[] = [];
  const { _sender: sender } = conn.transport.socket;
  const send = sender.sendFrame.bind(sender);
  sender.sendFrame = (list, done) => {
    writes.push(Buffer.concat(list.map((part) => Buffer.from(part))));
    send(list, done);
  };
  const chunks: Buffer[] = [];
  const { _socket: tcp } = raw.socket as unknown as { _socket: NodeJS.EventEmitter };
  tcp.prependListener("data", (chunk: Buffer) => chunks.push(chunk));
  return { raw, writes, bytes: () => Buffer.concat(chunks) };
}

/** The same things, drawn from a seed, done to the members of a room; until all have arrived. */
async function play(seed: number, isStock: boolean): Promise<readonly Buffer[]> {
  Room.all.clear();
  const live = await serve({ routes: [route("/room", Room)] });
  const members = [await member(live, isStock), await member(live, isStock)];
  const rooms = [...Room.all.values()];
  const random = seeded(seed);
  const below = (n: number) => Math.floor(random() * n);
  const { layer } = live.app;
  for (let turn = 0; turn < 40; turn++) {
    for (let n = below(12); n >= 0; n--) {
      const text = "ö".repeat(below(5) === 0 ? below(70_000) : below(200));
      const what = below(7);
      const some = rooms[below(2)] as Room;
      if (what < 3) void layer.groupEmit("room", "text", { turn, n, text });
      else if (what === 3) void layer.groupEmit("room", "bytes", { n, data: Buffer.from(text) });
      else if (what === 4) some.send("one", { n });
      else if (what === 5) void layer.groupEmit("room", "some", n, { except: some.channel });
      // As if an ack or a close of Socket.IO's own came between.
      else for (const { conn } of live.io.of("/room").sockets.values()) conn.write(`2/room,["own",${n}]`);
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  await layer.groupEmit("room", "end");
  for (const { raw } of members) await raw.hears('42/room,["end"]');
  return members.map(({ bytes }) => bytes());
}

test.each([1, 2, 3, 4, 5])(
  "the bytes on the wire are those that Socket.IO and ws would have written (seed %i)",
  async (seed) => {
    const [ours, stock] = [await play(seed, false), await play(seed, true)];
    expect(ours[0]?.length).toBeGreaterThan(10_000);
    for (const [n, bytes] of ours.entries()) expect(bytes.equals(stock[n] as Buffer)).toBe(true);
  },
);

test("what is emitted in one turn is one write for each client, and the same buffer for all", async () => {
  const live = await serve({ routes: [route("/room", Room)] });
  const [ann, bob] = [await member(live, false), await member(live, false)];
  for (let n = 0; n < 10; n++) await live.app.layer.groupEmit("room", "n", n);
  for (const { raw } of [ann, bob]) await raw.hears('42/room,["n",9]');
  expect(ann.writes).toHaveLength(1);
  expect(ann.writes).toEqual(bob.writes);
  expect(ann.raw.received.slice(-10)).toEqual(Array.from({ length: 10 }, (_, n) => `42/room,["n",${n}]`));
});

test("more than 64 kB of one client leave before the end of the turn", async () => {
  const live = await serve({ routes: [route("/room", Room)] });
  const ann = await member(live, false);
  const text = "x".repeat(10_000);
  for (let n = 0; n < 8; n++) void live.app.layer.groupEmit("room", "n", text);
  expect(ann.writes).toHaveLength(1);
  expect(ann.writes[0]?.length).toBeLessThan(75_000);
  await until(() => ann.raw.received.filter((packet) => packet.length > 10_000).length === 8, "all arrive");
});

test("an acknowledgement comes after what its handler sent, and an end after all", async () => {
  const live = await serve({ routes: [route("/room", Room)] });
  const ann = await member(live, false);
  ann.raw.send('42/room,7["say",1]');
  await ann.raw.hears("43/room,7");
  expect(ann.raw.received.slice(-2)).toEqual(['42/room,["direct",1]', '43/room,7[{"heard":1}]']);
  const [room] = [...Room.all.values()].slice(-1);
  room?.send("last", 2);
  room?.close(4499, "enough");
  await until(() => ann.raw.received.some((packet) => String(packet) === "41/room,"), "it is told");
  expect(ann.raw.received.slice(-3)).toEqual([
    '42/room,["last",2]',
    '42/room,["sluice.close",{"code":4499,"reason":"enough"}]',
    "41/room,",
  ]);
});

test("what was sent in the turn in which the server stops arrives before the goodbye", async () => {
  const live = await serve({ routes: [route("/room", Room)] });
  const ann = await member(live, false);
  await live.app.layer.groupEmit("room", "last");
  const stopped = live.server.stop();
  await until(() => !ann.raw.isOpen, "it is closed");
  await stopped;
  const events = ann.raw.received.map(String).filter((packet) => packet.startsWith("42"));
  expect(events).toEqual(['42/room,["last"]', expect.stringContaining("4503")]);
});
