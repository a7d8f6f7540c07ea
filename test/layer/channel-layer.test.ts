import { afterEach, describe, expect, test } from "@jest/globals";
import { type BackplaneListener, type ChannelLayer, MemoryBackplane, MemoryHub, type Message } from "sluice";
import { createFacts, type Facts } from "../../src/facts.ts";
import { ChannelLayer as Layer } from "../../src/layer/channel-layer.ts";
import type { Member } from "../../src/layer/fan-out.ts";
import type { Frame, FrameCodec, OutgoingEvent } from "../../src/types.ts";
import { seeded } from "../seeded.ts";
import { deaf } from "./deaf.ts";

interface Seen extends Frame {
  readonly text: string;
}

const codec: FrameCodec<Seen> = {
  encode: ({ event, json }: OutgoingEvent) => ({ text: `${event} ${json}`, bytes: 0 }),
};

/** A consumer without a consumer: it notes what it gets. */
class Witness implements Member {
  readonly info = "";
  handles(): boolean {
    return true;
  }
  readonly messages: Message[] = [];
  readonly events: string[] = [];
  readonly codec: FrameCodec;
  readonly channel: string;
  readonly user: string | undefined;
  readonly closed: string[] = [];

  constructor(channel: string, itsCodec: FrameCodec = codec, user?: string) {
    this.channel = channel;
    this.codec = itsCodec;
    this.user = user;
  }
  write(frame: Frame) {
    this.events.push((frame as Seen).text);
  }
  deliver(message: Message) {
    this.messages.push(message);
  }
  readonly whenOpen = Promise.resolve(true);
  mayBeGiven(): boolean {
    return true;
  }
  readonly backlog = { bytes: 0, messages: 0 };
  writeInTurn(frame: Frame) {
    this.write(frame);
  }
  skip() {}
  tellPosition() {}
  claim() {
    return undefined;
  }
  close(code: number, reason: string) {
    this.closed.push(`${code} ${reason}`);
  }
}

const open: ChannelLayer[] = [];

async function node(name: string, hub = new MemoryHub(), facts: Facts = createFacts()) {
  const layer = new Layer({ node: name, backplane: new MemoryBackplane(hub), facts, maxMessageBytes: 1_000 });
  await layer.open();
  open.push(layer);
  const join = (id: string, itsCodec?: FrameCodec, user?: string) => {
    const witness = new Witness(`${name}!${id}`, itsCodec, user);
    layer.attach(witness);
    return witness;
  };
  return { layer, join, facts };
}

async function until(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 5_000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`never came true: ${holds}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

afterEach(async () => {
  await Promise.all(open.splice(0).map((layer) => layer.close()));
});

describe("groups on one node", () => {
  test("every member gets a message, also its sender, and who has left does not", async () => {
    const { layer, join } = await node("n1");
    const [ann, bob] = [join("ann"), join("bob")];
    await layer.groupAdd("g", ann.channel);
    await layer.groupAdd("g", bob.channel);
    await layer.groupSend("g", { type: "chat.message", text: "hi" });
    await layer.groupDiscard("g", bob.channel);
    await layer.groupSend("g", { type: "chat.message", text: "bye" });
    expect(ann.messages.map((m) => m.text)).toEqual(["hi", "bye"]);
    expect(bob.messages.map((m) => m.text)).toEqual(["hi"]);
    expect(layer.groupMembers("g")).toEqual([ann.channel]);
  });

  test("messages are shared and frozen, and went through JSON", async () => {
    const { layer, join } = await node("n1");
    const [ann, bob] = [join("ann"), join("bob")];
    for (const { channel } of [ann, bob]) await layer.groupAdd("g", channel);
    await layer.groupSend("g", { type: "chat.message", at: new Date(0), list: [1], file: Buffer.from("x") });
    expect(ann.messages[0]).toBe(bob.messages[0]);
    expect(ann.messages[0]).toEqual({
      type: "chat.message",
      at: "1970-01-01T00:00:00.000Z",
      list: [1],
      file: Buffer.from("x"),
    });
    const [{ list }] = ann.messages as [Message];
    expect(() => (list as number[]).push(2)).toThrow(TypeError);
  });

  test("an event is encoded once for all who share a codec, and not for those excepted", async () => {
    const { layer, join } = await node("n1");
    const encoded: string[] = [];
    const counting = (name: string): FrameCodec => ({
      encode: (event) => {
        encoded.push(name);
        return codec.encode(event);
      },
    });
    const [a, b] = [counting("a"), counting("b")];
    const members = [join("1", a), join("2", b), join("3", a), join("4", b)];
    for (const { channel } of members) await layer.groupAdd("g", channel);
    await layer.groupEmit("g", "said", { n: 1 }, { except: members[2]?.channel ?? "" });
    expect(encoded).toEqual(["a", "b"]);
    expect(members.map(({ events }) => events.length)).toEqual([1, 1, 0, 1]);
    expect(members[0]?.events).toEqual(['said {"n":1}']);
    await layer.groupEmit("g", "ping");
    expect(members[2]?.events).toEqual(["ping "]);
  });

  test("joining twice is joining once; leaving what one is not in does nothing", async () => {
    const { layer, join } = await node("n1");
    const ann = join("ann");
    await Promise.all([layer.groupAdd("g", ann.channel), layer.groupAdd("g", ann.channel)]);
    await layer.groupSend("g", { type: "a.b" });
    expect(ann.messages).toHaveLength(1);
    await layer.groupDiscard("g", ann.channel);
    await layer.groupDiscard("g", ann.channel);
    await until(() => layer.sizes.topics === 0);
    expect(layer.sizes).toEqual({ channels: 1, groups: 0, topics: 0, logs: 0, presence: 0 });
  });

  test("who leaves while joining is out, and nothing stays open", async () => {
    const hub = new MemoryHub(2);
    const { layer, join } = await node("n1", hub);
    const ann = join("ann");
    const joining = layer.groupAdd("g", ann.channel);
    await layer.groupDiscard("g", ann.channel);
    await joining;
    expect(layer.groupMembers("g")).toEqual([]);
    await until(() => layer.sizes.topics === 0);
  });

  test("a consumer that ends is out of all its groups at once, also those it was joining", async () => {
    const { layer, join } = await node("n1", new MemoryHub(2));
    const ann = join("ann");
    await layer.groupAdd("a", ann.channel);
    const joining = layer.groupAdd("b", ann.channel);
    layer.detach(ann.channel);
    await joining;
    await layer.groupSend("a", { type: "x.y" });
    await layer.groupSend("b", { type: "x.y" });
    expect(ann.messages).toEqual([]);
    await until(() => layer.sizes.topics === 0);
    expect(layer.sizes).toEqual({ channels: 0, groups: 0, topics: 0, logs: 0, presence: 0 });
    await expect(layer.groupAdd("a", ann.channel)).rejects.toMatchObject({ code: "connection_closed" });
  });

  test("wrong names, types and sizes are refused with an error that says so", async () => {
    const { layer, join } = await node("n1");
    const ann = join("ann");
    await expect(layer.groupAdd("no spaces", ann.channel)).rejects.toMatchObject({ code: "invalid_name" });
    await expect(layer.groupAdd("g", "ann")).rejects.toMatchObject({ code: "invalid_name" });
    await expect(layer.groupSend("g", { type: "nodot" })).rejects.toMatchObject({ code: "invalid_message" });
    await expect(layer.groupSend("g", undefined as never)).rejects.toMatchObject({ code: "invalid_message" });
    await expect(layer.groupEmit("g", "disconnect", 1)).rejects.toMatchObject({ code: "invalid_name" });
    await expect(layer.groupEmit("g", "e", "x".repeat(1_000))).rejects.toMatchObject({
      code: "message_too_large",
    });
    await expect(layer.groupEmit("g", "e", 1, { except: "ann" })).rejects.toMatchObject({
      code: "invalid_name",
    });
    await expect(layer.groupSend("sluice.x", { type: "a.b" })).rejects.toMatchObject({
      code: "invalid_name",
    });
  });

  test("a layer that is not open, or closed, is unavailable", async () => {
    const facts = createFacts();
    const layer = new Layer({ node: "n", backplane: new MemoryBackplane(), facts, maxMessageBytes: 10 });
    await expect(layer.groupEmit("g", "e")).rejects.toMatchObject({ code: "layer_unavailable" });
    await layer.open();
    await layer.close();
    await layer.close();
    await expect(layer.groupEmit("g", "e")).rejects.toMatchObject({ code: "layer_unavailable" });
  });
});

describe("groups on several nodes", () => {
  test("members on every node get what any node sends, in the sender's order", async () => {
    const hub = new MemoryHub(() => Math.random() * 3);
    const [one, two] = [await node("n1", hub), await node("n2", hub)];
    const [ann, bob] = [one.join("ann"), two.join("bob")];
    await one.layer.groupAdd("g", ann.channel);
    await two.layer.groupAdd("g", bob.channel);
    for (let n = 0; n < 50; n++) {
      await one.layer.groupSend("g", { type: "count.up", n });
      await one.layer.groupEmit("g", "count", n);
    }
    await until(() => bob.events.length === 50 && bob.messages.length === 50);
    const numbers = Array.from({ length: 50 }, (_, n) => n);
    expect(bob.messages.map((m) => m.n)).toEqual(numbers);
    expect(bob.events).toEqual(numbers.map((n) => `count ${n}`));
    expect(ann.events).toEqual(bob.events);
  });

  test("other nodes hear a message before what a member here answers to it at once", async () => {
    const hub = new MemoryHub();
    const [one, two] = [await node("n1", hub), await node("n2", hub)];
    const [echo, far] = [one.join("echo"), two.join("far")];
    await one.layer.groupAdd("g", echo.channel);
    await two.layer.groupAdd("g", far.channel);
    echo.deliver = ({ type }) => {
      if (type === "was.asked") void one.layer.groupSend("g", { type: "was.answered" });
    };
    await one.layer.groupSend("g", { type: "was.asked" });
    await until(() => far.messages.length === 2);
    expect(far.messages.map(({ type }) => type)).toEqual(["was.asked", "was.answered"]);
  });

  test("binary parts and exceptions cross nodes", async () => {
    const hub = new MemoryHub();
    const [one, two] = [await node("n1", hub), await node("n2", hub)];
    const [bob, cid] = [two.join("bob"), two.join("cid")];
    for (const { channel } of [bob, cid]) await two.layer.groupAdd("g", channel);
    await one.layer.groupSend("g", { type: "file.sent", bytes: Buffer.from([1, 2]) });
    await one.layer.groupEmit("g", "hello", 1, { except: [bob.channel] });
    await until(() => cid.events.length === 1);
    expect(bob.messages[0]?.bytes).toEqual(Buffer.from([1, 2]));
    expect(bob.events).toEqual([]);
  });

  test("a message to one channel finds its node; one to a channel that is gone is dropped and told", async () => {
    const hub = new MemoryHub();
    const [one, two] = [await node("n1", hub), await node("n2", hub)];
    const bob = two.join("bob");
    const dropped: unknown[] = [];
    two.facts.dropped.connect((fact) => dropped.push(fact));
    await one.layer.send(bob.channel, { type: "you.won" });
    await one.layer.send("n2!nobody", { type: "you.won" });
    await until(() => dropped.length === 1);
    expect(bob.messages).toEqual([{ type: "you.won" }]);
    expect(dropped).toEqual([{ cause: "no-channel", target: "n2!nobody", what: "you.won", count: 1 }]);
  });

  test("a channel of another node can be put into a group and taken out", async () => {
    const hub = new MemoryHub(1);
    const [one, two] = [await node("n1", hub), await node("n2", hub)];
    const bob = two.join("bob");
    await one.layer.groupAdd("g", bob.channel);
    expect(two.layer.groupMembers("g")).toEqual([bob.channel]);
    await one.layer.groupDiscard("g", bob.channel);
    expect(two.layer.groupMembers("g")).toEqual([]);
    await expect(one.layer.groupAdd("g", "n2!nobody")).rejects.toMatchObject({ code: "connection_closed" });
  });

  test("what cannot be read is dropped and told, and the rest goes on", async () => {
    const hub = new MemoryHub();
    const { layer, join, facts } = await node("n1", hub);
    const ann = join("ann");
    await layer.groupAdd("g", ann.channel);
    const dropped: string[] = [];
    facts.dropped.connect(({ cause }) => dropped.push(cause));
    const stranger = new MemoryBackplane(hub);
    await stranger.open(deaf);
    stranger.publish("group.g", () => "garbage");
    stranger.publish("group.g", () => '{"v":1,"from":"x","kind":"send"}\n{broken');
    stranger.publish("group.g", () => '{"v":1,"from":"x","kind":"send"}\n{"type":"a.b"}');
    await until(() => ann.messages.length === 1);
    expect(dropped).toEqual(["bad-envelope", "bad-envelope"]);
    await stranger.close();
  });

  test("a backplane in trouble costs the remote part alone, and all of it is told", async () => {
    const facts = createFacts();
    const failing = new MemoryBackplane();
    let listener = deaf;
    failing.open = async (given: BackplaneListener) => {
      listener = given;
    };
    failing.subscribe = async () => {};
    failing.publish = (topic) => listener.dropped(topic, 2);
    const layer = new Layer({ node: "n1", backplane: failing, facts, maxMessageBytes: 1_000 });
    await layer.open();
    open.push(layer);
    const ann = new Witness("n1!ann");
    layer.attach(ann);
    await layer.groupAdd("g", ann.channel);
    const told: unknown[] = [];
    for (const signal of [facts.dropped, facts.lost, facts.layerDown]) {
      signal.connect((fact: unknown) => told.push(fact));
    }
    facts.layerUp.connect(({ downMs }) => told.push(downMs >= 0));

    listener.down("no carrier");
    expect(layer.isDegraded).toBe(true);
    await layer.groupEmit("g", "still", "here");
    expect(ann.events).toEqual(['still "here"']);
    listener.lost({ topic: "group.g", missed: 3 });
    listener.lost({});
    listener.up();
    expect(layer.isDegraded).toBe(false);
    expect(told).toEqual([
      { layer: "default", reason: "no carrier" },
      { cause: "backplane", target: "g", what: "", count: 2 },
      { group: "g", missed: 3 },
      {},
      true,
    ]);
  });

  test("a node that is gone is not waited for", async () => {
    const { layer, facts } = await node("n1");
    const dropped: unknown[] = [];
    facts.dropped.connect((fact) => dropped.push(fact));
    await expect(layer.groupAdd("g", "n9!ann")).rejects.toMatchObject({ code: "layer_unavailable" });
    await layer.send("n9!ann", { type: "chat.message" });
    expect(dropped).toEqual(Array(2).fill({ cause: "no-channel", target: "n9", what: "", count: 1 }));
  });

  test("a connection can be ended from anywhere, and whoever asks hears if there is none", async () => {
    const hub = new MemoryHub(1);
    const [one, two] = [await node("n1", hub), await node("n2", hub)];
    const [ann, bob] = [one.join("ann"), two.join("bob")];
    await one.layer.closeChannel(ann.channel);
    await one.layer.closeChannel(bob.channel, 4403, "banned");
    expect(ann.closed).toEqual(["4403 closed by the server"]);
    expect(bob.closed).toEqual(["4403 banned"]);
    for (const gone of ["n1!gone", "n2!gone", "n9!gone"]) {
      await expect(one.layer.closeChannel(gone)).rejects.toMatchObject({
        code: gone.startsWith("n9") ? "layer_unavailable" : "connection_closed",
      });
    }
    await expect(one.layer.closeChannel(ann.channel, 200)).rejects.toThrow(RangeError);
  });

  test("all connections of a user end, on every node, and nobody else's", async () => {
    const hub = new MemoryHub(1);
    const [one, two] = [await node("n1", hub), await node("n2", hub)];
    const [tab, phone] = [one.join("tab", codec, "ann"), two.join("phone", codec, "ann")];
    const others = [one.join("bob", codec, "bob"), two.join("stranger"), two.join("left", codec, "ann")];
    two.layer.detach("n2!left");
    await one.layer.closeUser("ann", 4401, "signed out");
    await until(() => phone.closed.length > 0);
    expect([tab.closed, phone.closed]).toEqual([["4401 signed out"], ["4401 signed out"]]);
    expect(others.map(({ closed }) => closed)).toEqual([[], [], []]);
    await expect(one.layer.closeUser("ann", 1000)).rejects.toThrow(RangeError);

    // Ending one ends its sibling, as with two routes of one connection.
    const [first, sibling, third] = ["a1", "a2", "a3"].map((id) => one.join(id, codec, "cid"));
    const far = two.join("far", codec, "cid");
    (first as Witness).close = () => one.layer.detach((sibling as Witness).channel);
    await one.layer.closeUser("cid");
    await until(() => far.closed.length > 0);
    expect([sibling?.closed, third?.closed]).toEqual([[], ["4403 closed by the server"]]);
  });

  test("yes means yes: after groupAdd nothing is missed, after groupDiscard nothing comes", async () => {
    const random = seeded(42);
    const hub = new MemoryHub(() => random() * 4);
    const nodes = await Promise.all(["n1", "n2", "n3"].map((name) => node(name, hub)));
    const groups = ["a", "b"];
    const sent = new Map(groups.map((group) => [group, 0]));
    let isOver = false;
    const pause = () => new Promise((resolve) => setTimeout(resolve, random() * 3));

    const sender = async () => {
      while (!isOver) {
        for (const group of groups) {
          const n = (sent.get(group) ?? 0) + 1;
          sent.set(group, n);
          await nodes[0]?.layer.groupSend(group, { type: "count.up", group, n });
        }
        await pause();
      }
    };
    const member = async (index: number) => {
      const { layer, join } = nodes[index % 3] as (typeof nodes)[number];
      for (let round = 0; round < 6; round++) {
        const witness = join(`m${index}-${round}`);
        const group = groups[Math.floor(random() * 2)] as string;
        await layer.groupAdd(group, witness.channel);
        const firstOwed = (sent.get(group) ?? 0) + 1;
        while ((sent.get(group) ?? 0) < firstOwed + 3) await pause();
        await until(() => witness.messages.some((m) => (m.n as number) >= firstOwed + 2));
        await layer.groupDiscard(group, witness.channel);
        const heard = witness.messages.map((m) => m.n as number);
        const owed = heard.filter((n) => n >= firstOwed);
        expect(owed).toEqual(Array.from(owed, (_, i) => firstOwed + i));
        expect(new Set(heard).size).toBe(heard.length);
        await pause();
        expect(witness.messages).toHaveLength(heard.length);
        layer.detach(witness.channel);
      }
    };
    const sending = sender();
    await Promise.all(Array.from({ length: 9 }, (_, index) => member(index)));
    isOver = true;
    await sending;
    for (const { layer } of nodes) {
      await until(() => layer.sizes.topics === 0);
      expect(layer.sizes).toEqual({ channels: 0, groups: 0, topics: 0, logs: 0, presence: 0 });
    }
  });
});
