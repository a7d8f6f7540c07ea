import { afterEach, describe, expect, test } from "@jest/globals";
import {
  type Application,
  type ApplicationOptions,
  Consumer,
  createApplication,
  MemoryBackplane,
  type Message,
  route,
} from "sluice";
import { RedisBackplane } from "sluice/redis";
import { TestClient, TestCluster, type TestClusterOptions } from "sluice/testing";
import { troubles } from "../layer/troubles.ts";
import { seeded } from "../seeded.ts";
import { ScriptedHistory } from "./scripted-history.ts";
import { Visitor } from "./visitor.ts";

class Room extends Consumer<{ params: { room: string } }> {
  override async connect() {
    if (this.scope.auth.banned) this.deny();
    await this.groupAdd(`chat.${this.scope.params.room}`);
  }
  override async receive(event: string, payload: unknown) {
    const group = `chat.${this.scope.params.room}`;
    if (event === "leave") await this.groupDiscard(group);
    else if (event === "others") await this.groupEmit(group, "said", payload, { except: this.channel });
    else await this.groupEmit(group, "said", payload);
    return true;
  }
  async chatMessage({ n }: Message) {
    this.send("handled", `${n}a`);
    await Promise.resolve();
    this.send("handled", `${n}b`);
  }
}

const POLICY = { size: 100, ttlMs: 60_000 };
const GROUP = "chat.den";
const apps: Application[] = [];

const rooms = {
  routes: [route("/chat/:room", Room)],
  groups: { "chat.*": { history: POLICY } },
  secret: "a secret of thirty-two characters!",
  middleware: [(scope, next) => next({ user: scope.auth.user })],
} satisfies ApplicationOptions;

function node(history: ScriptedHistory, options: Partial<ApplicationOptions> = {}): Application {
  const app = createApplication({ ...rooms, history, ...options });
  apps.push(app);
  return app;
}

let cluster: TestCluster | undefined;

/** Nodes with what is kept in memory, whose words may take their time. */
async function nodes(options: Partial<ApplicationOptions> = {}, given: TestClusterOptions = {}) {
  /** What the first says is lost, and nobody can know: not even what carries it. */
  const first = { isUnheard: false };
  cluster = await TestCluster.start((backing, number) => {
    const { backplane } = backing;
    const { publish } = backplane;
    backplane.publish = (...text) => {
      if (number !== 1 || !first.isUnheard) publish.apply(backplane, text);
    };
    return createApplication({ ...rooms, ...backing, ...options });
  }, given);
  return { cluster, one: cluster.node(1), two: cluster.node(2), first };
}

async function started(
  history: ScriptedHistory,
  options: Partial<ApplicationOptions> = {},
): Promise<Application> {
  const app = node(history, options);
  await app.start();
  return app;
}

async function say(app: Application, from: number, to = from): Promise<void> {
  for (let n = from; n <= to; n++) await app.layer.groupEmit(GROUP, "said", n);
}

class Gate {
  open: () => void = () => {};
  readonly opened = new Promise<void>((resolve) => {
    this.open = resolve;
  });
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, i) => from + i);
}

afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.stop()));
  await cluster?.stop();
  cluster = undefined;
});

describe("a client that comes back", () => {
  test("is given what it missed, in order and once, before anything newer", async () => {
    const app = await started(new ScriptedHistory());
    const ann = new Visitor("/chat/den");
    await ann.come(app);
    await say(app, 1, 3);
    await ann.until(() => ann.seen.length === 3);
    await ann.go();
    await say(app, 4, 250);
    await ann.come(app);
    await say(app, 251, 260);
    await ann.until(() => ann.seen.includes(260));
    const [gap] = ann.gaps as [{ reason: string; offset: number }];
    expect([ann.gaps.length, gap.reason]).toEqual([1, "trimmed"]);
    expect(gap.offset).toBeGreaterThanOrEqual(150);
    expect(ann.seen).toEqual([1, 2, 3, ...range(gap.offset + 1, 260)]);
  });

  test("misses nothing that the history still has, whatever is said while it is given", async () => {
    const history = new ScriptedHistory();
    const app = await started(history);
    const ann = new Visitor("/chat/den");
    await ann.come(app);
    await say(app, 1, 2);
    await ann.until(() => ann.seen.length === 2);
    await ann.go();
    await say(app, 3, 60);
    let open = () => {};
    history.gate = new Promise((resolve) => {
      open = resolve;
    });
    await ann.come(app);
    await say(app, 61, 70);
    ann.absorb();
    expect(ann.seen).toEqual([1, 2]);
    open();
    await say(app, 71, 80);
    await ann.until(() => ann.seen.length === 80);
    expect(ann.seen).toEqual(range(1, 80));
    expect([ann.gaps, ann.joins.at(-1)]).toEqual([[], { offset: 2, since: 0, recovered: true }]);
  });

  test("comes back to another node, or to one that has never heard of the group", async () => {
    const { cluster, one, two } = await nodes({}, { delayMs: 1 });
    const ann = new Visitor("/chat/den");
    await cluster.letPass(ann.come(one.app));
    await cluster.letPass(say(one.app, 1, 5));
    await cluster.letPass(ann.until(() => ann.seen.length === 5));
    await ann.go();
    await cluster.letPass(say(one.app, 6, 9));
    await cluster.letPass(ann.come(two.app));
    await cluster.letPass(say(one.app, 10, 12));
    await cluster.letPass(ann.until(() => ann.seen.length === 12));
    expect(ann.seen).toEqual(range(1, 12));
  });

  test("has nothing repeated when it missed nothing, and is not told what it does not ask", async () => {
    const app = await started(new ScriptedHistory());
    const ann = new Visitor("/chat/den");
    await ann.come(app);
    await say(app, 1);
    await ann.until(() => ann.seen.length === 1);
    for (let i = 0; i < 3; i++) {
      await ann.go();
      await ann.come(app);
    }
    await say(app, 2);
    await ann.until(() => ann.seen.length === 2);
    expect(ann.seen).toEqual([1, 2]);
    expect(ann.joins.map(({ recovered }) => recovered)).toEqual([false, true, true, true, true]);
  });

  test("has messages to handlers handled that were missed, and each event they send once", async () => {
    const app = await started(new ScriptedHistory());
    const ann = new Visitor("/chat/den");
    await ann.come(app);
    const send = (n: number) => app.layer.groupSend(GROUP, { type: "chat.message", n });
    await send(1);
    await ann.until(() => ann.places.get(GROUP)?.offset === 1);
    await ann.go();
    await send(2);
    await say(app, 3);
    await send(4);
    await ann.come(app);
    await ann.until(() => ann.places.get(GROUP)?.offset === 4);
    expect(ann.seen).toEqual(["1a", "1b", "2a", "2b", 3, "4a", "4b"]);
  });

  test("has a message whose handler did not end handled again, and sees no event of it twice", async () => {
    const app = await started(new ScriptedHistory());
    const ann = new Visitor("/chat/den");
    await ann.come(app);
    await app.layer.groupSend(GROUP, { type: "chat.message", n: 1 });
    await ann.until(() => ann.seen.length >= 1);
    // As if the connection had broken after the first event.
    Object.assign(ann.places.get(GROUP) as object, { offset: 0, id: "" });
    const before = [...ann.seen];
    await ann.go();
    Object.assign(ann.places.get(GROUP) as object, { offset: 0, id: "" });
    await ann.come(app);
    await ann.until(() => ann.places.get(GROUP)?.offset === 1);
    expect(before.length).toBeGreaterThan(0);
    expect(ann.seen).toEqual(["1a", "1b"]);
  });

  test("does not hear itself where it was left out, before and after", async () => {
    const app = await started(new ScriptedHistory());
    const ann = new Visitor("/chat/den");
    await ann.come(app);
    await ann.client?.emit("others", "not for me");
    await ann.until(() => ann.places.get(GROUP)?.offset === 1);
    await ann.go();
    await ann.come(app);
    await say(app, 1);
    await ann.until(() => ann.seen.length === 1);
    expect(ann.seen).toEqual([1]);
  });

  test("that is refused now is given nothing", async () => {
    const app = await started(new ScriptedHistory());
    const ann = new Visitor("/chat/den");
    await ann.come(app);
    await say(app, 1);
    await ann.go();
    await say(app, 2, 5);
    const banned = new Visitor("/chat/den", { banned: true });
    expect(await banned.come(app, [...ann.places.values()])).toMatchObject({ accepted: false });
    banned.absorb();
    expect(banned.seen).toEqual([]);
  });
});

describe("a position that cannot be honoured is a gap, never silence:", () => {
  async function returning(change: (history: ScriptedHistory, ann: Visitor, app: Application) => unknown) {
    const history = new ScriptedHistory();
    const app = await started(history);
    const ann = new Visitor("/chat/den", { user: "ann" });
    await ann.come(app);
    await say(app, 1, 5);
    await ann.until(() => ann.seen.length === 5);
    await ann.go();
    await change(history, ann, app);
    await ann.come(app);
    await say(app, 100);
    await ann.until(() => ann.seen.includes(100));
    return ann;
  }
  const place = (ann: Visitor) => ann.places.get(GROUP) as unknown as Record<string, unknown>;

  test("another log", async () => {
    const ann = await returning(async (history, _ann, app) => {
      history.logs.clear();
      await say(app, 6, 7);
    });
    expect([ann.gaps.map(({ reason }) => reason), ann.seen.slice(5)]).toEqual([["epoch"], [100]]);
  });

  test("a log that is gone without another in its place", async () => {
    const ann = await returning((history) => history.logs.clear());
    expect([ann.gaps.map(({ reason }) => reason), ann.seen.slice(5)]).toEqual([["epoch"], [100]]);
  });

  test("another message at that offset", async () => {
    const ann = await returning((_history, visitor) => Object.assign(place(visitor), { id: "other" }));
    expect(ann.gaps.map(({ reason }) => reason)).toEqual(["id"]);
    const older = await returning(async (_history, visitor, app) => {
      Object.assign(place(visitor), { id: "other" });
      await say(app, 6, 7);
    });
    expect(older.gaps.map(({ reason }) => reason)).toEqual(["id"]);
  });

  test("ahead of the log", async () => {
    const ann = await returning((_history, visitor) => Object.assign(place(visitor), { offset: 50 }));
    expect(ann.gaps.map(({ reason }) => reason)).toEqual(["ahead"]);
  });

  test.each([
    ["a receipt that is none", { receipt: "x" }],
    ["a place before it was let in", { since: 3, offset: 2 }],
    ["an earlier place than the receipt says", { since: 2, offset: 2 }],
    ["a receipt of another epoch", { epoch: "other" }],
    ["nonsense", { offset: "5", id: 7, since: null }],
  ])("%s", async (_what, change) => {
    const ann = await returning(async (_history, visitor, app) => {
      Object.assign(place(visitor), change);
      await say(app, 6, 9);
    });
    expect(ann.gaps.map(({ reason }) => reason)).toEqual(["receipt"]);
    expect(ann.seen).toEqual([...range(1, 5), 100]);
  });

  test("a receipt of somebody else", async () => {
    const history = new ScriptedHistory();
    const app = await started(history);
    const ann = new Visitor("/chat/den", { user: "ann" });
    await ann.come(app);
    await say(app, 1, 3);
    await ann.go();
    const eve = new Visitor("/chat/den", { user: "eve" });
    await eve.come(app, [{ ...ann.places.get(GROUP), offset: 0 }]);
    await say(app, 4);
    await eve.until(() => eve.seen.length === 1);
    expect([eve.seen, eve.gaps.map(({ reason }) => reason)]).toEqual([[4], ["receipt"]]);
  });

  test("more positions than count", async () => {
    const app = await started(new ScriptedHistory());
    const ann = new Visitor("/chat/den");
    await ann.come(app);
    const many = range(1, 100).map((n) => ({
      group: `chat.x${n}`,
      epoch: "e",
      offset: 1,
      id: "i",
      since: 0,
      receipt: "r",
    }));
    await ann.go();
    await ann.come(app, [...many, ...ann.places.values()]);
    await ann.until(() => ann.gaps.length === 1);
    expect(ann.gaps[0]?.reason).toBe("too_many");
  });

  test("further back than one replay goes", async () => {
    const app = await started(new ScriptedHistory(), {
      groups: { "chat.*": { history: { ...POLICY, size: 5_000 } } },
    });
    const ann = new Visitor("/chat/den");
    await ann.come(app);
    await say(app, 1);
    await ann.until(() => ann.seen.length === 1);
    await ann.go();
    await say(app, 2, 1_500);
    await ann.come(app);
    await ann.until(() => ann.seen.includes(1_500));
    expect(ann.gaps).toEqual([{ reason: "too_old", offset: 500 }]);
    expect(ann.seen).toEqual([1, ...range(501, 1_500)]);
  });
});

describe("newcomers", () => {
  test("get what the policy lets them see, and may come back to that and no further", async () => {
    const app = await started(new ScriptedHistory(), {
      groups: { "chat.*": { history: { ...POLICY, newcomers: 3 } } },
    });
    await say(app, 1, 10);
    const ann = new Visitor("/chat/den");
    await ann.come(app);
    await ann.until(() => ann.seen.length === 3);
    expect([ann.seen, ann.joins]).toEqual([[8, 9, 10], [{ offset: 7, since: 7, recovered: false }]]);
    await ann.go();
    await ann.come(app, [{ ...ann.places.get(GROUP), offset: 2 }]);
    await ann.until(() => ann.seen.length === 6);
    expect(ann.gaps.map(({ reason }) => reason)).toEqual(["receipt"]);
    expect(ann.seen.slice(3)).toEqual([8, 9, 10]);
  });

  test("get what is there when less is kept than the policy would show, without a gap", async () => {
    const history = new ScriptedHistory();
    const app = await started(history, { groups: { "chat.*": { history: { ...POLICY, newcomers: 50 } } } });
    await say(app, 1, 10);
    (history.logs.get(GROUP) as { entries: unknown[] }).entries.splice(0, 6);
    const ann = new Visitor("/chat/den");
    await ann.come(app);
    await ann.until(() => ann.seen.length === 4);
    expect([ann.seen, ann.gaps]).toEqual([[7, 8, 9, 10], []]);
  });

  test("who left before the first message of a group are given it when they come back", async () => {
    const app = await started(new ScriptedHistory());
    const ann = new Visitor("/chat/den");
    await ann.come(app);
    await ann.go();
    await say(app, 1, 3);
    await ann.come(app);
    await ann.until(() => ann.seen.length === 3);
    expect([ann.seen, ann.gaps]).toEqual([[1, 2, 3], []]);
  });

  test("of a group without any history yet can come back to its beginning", async () => {
    const app = await started(new ScriptedHistory());
    const ann = new Visitor("/chat/den");
    await ann.come(app);
    await say(app, 1, 2);
    await ann.until(() => ann.seen.length === 2);
    await ann.go();
    await say(app, 3);
    await ann.come(app);
    await ann.until(() => ann.seen.length === 3);
    expect([ann.seen, ann.gaps]).toEqual([[1, 2, 3], []]);
  });
});

describe("one order for all", () => {
  test("members on all nodes hear the same messages in the same order, whoever sends", async () => {
    const random = seeded(11);
    const { cluster } = await nodes({}, { nodes: 3, delayMs: () => random() * 5 });
    const { clock } = cluster;
    const visitors = range(1, 6).map(() => new Visitor("/chat/den"));
    const entries = visitors.map((visitor, i) => visitor.come(cluster.node(1 + (i % 3)).app));
    await cluster.letPass(Promise.all(entries));
    const senders = cluster.nodes.map(async ({ app, number }) => {
      for (let n = 0; n < 60; n++) {
        await app.layer.groupEmit(GROUP, "said", `${number}-${n}`);
        if (random() < 0.3) await new Promise<void>((resolve) => clock.setTimeout(resolve, random() * 3));
      }
    });
    await cluster.letPass(Promise.all(senders));
    const all = visitors.map((visitor) => visitor.until(() => visitor.seen.length === 180));
    await cluster.letPass(Promise.all(all));
    for (const visitor of visitors) {
      expect(visitor.seen).toEqual(visitors[0]?.seen);
      expect(visitor.offsets).toEqual(range(1, 180));
    }
  });

  test("an announcement that is lost is found in the log", async () => {
    const { one, two, first } = await nodes();
    const ann = new Visitor("/chat/den");
    await ann.come(two.app);
    await say(one.app, 1);
    first.isUnheard = true;
    await say(one.app, 2, 3);
    first.isUnheard = false;
    await say(one.app, 4);
    await ann.until(() => ann.seen.length === 4);
    expect(ann.seen).toEqual([1, 2, 3, 4]);
    expect(ann.gaps).toEqual([]);
  });

  test("who was let in before there was anything, and whose node hears too late of the first, has a gap from the beginning", async () => {
    const { one, two, first } = await nodes({ groups: { "chat.*": { history: { ...POLICY, size: 3 } } } });
    first.isUnheard = true;
    const ann = new Visitor("/chat/den");
    await ann.come(two.app);
    await say(one.app, 1, 5);
    first.isUnheard = false;
    await say(one.app, 6);
    await ann.until(() => ann.seen.includes(6));
    expect([ann.seen, ann.gaps]).toEqual([[4, 5, 6], [{ reason: "trimmed", offset: 3 }]]);
    expect(ann.joins.map(({ offset }) => offset)).toEqual([0, 0, 3]);
  });

  test("who comes back to a node that is behind the log itself has one gap, and then all that is kept", async () => {
    const { one, two, first } = await nodes({ groups: { "chat.*": { history: { ...POLICY, size: 3 } } } });
    const [ann, bob] = [new Visitor("/chat/den"), new Visitor("/chat/den")];
    await Promise.all([ann.come(two.app), bob.come(two.app)]);
    await say(one.app, 1);
    await ann.until(() => ann.seen.length === 1);
    await ann.go();
    await say(one.app, 2);
    await bob.until(() => bob.seen.length === 2);
    first.isUnheard = true;
    await say(one.app, 3, 10);
    first.isUnheard = false;
    await ann.come(two.app);
    await ann.until(() => ann.seen.includes(10));
    await say(one.app, 11);
    await ann.until(() => ann.seen.includes(11));
    expect(ann.gaps).toEqual([{ reason: "trimmed", offset: 7 }]);
    expect(ann.seen).toEqual([1, 8, 9, 10, 11]);
  });

  test("who has been given all up to where it came back, and then all is forgotten, is told of one gap", async () => {
    const history = new ScriptedHistory();
    const app = await started(history, { groups: { "chat.*": { history: { ...POLICY, size: 200 } } } });
    const ann = new Visitor("/chat/den", { user: "ann" });
    await ann.come(app);
    await say(app, 1);
    await ann.until(() => ann.seen.length === 1);
    await ann.go();
    // As much as one reading gives with the last that it knows.
    await say(app, 2, 100);
    const [first, second] = [new Gate(), new Gate()];
    history.gate = first.opened;
    await ann.come(app);
    await say(app, 101, 120);
    history.gate = second.opened;
    first.open();
    await ann.until(() => ann.seen.includes(100));
    (history.logs.get(GROUP) as { entries: unknown[] }).entries = [];
    second.open();
    await ann.until(() => ann.gaps.length > 0 && ann.joins.at(-1)?.offset === 120);
    await say(app, 121);
    await ann.until(() => ann.seen.includes(121));
    expect(ann.gaps).toEqual([{ reason: "trimmed", offset: 120 }]);
    expect(ann.seen).toEqual([...range(1, 100), 121]);
  });

  test("who was let in before there was anything, and comes back when its beginning is gone, is told so", async () => {
    const app = await started(new ScriptedHistory());
    const ann = new Visitor("/chat/den", { user: "ann" });
    await ann.come(app);
    await ann.until(() => ann.joins.length === 1);
    await ann.go();
    await say(app, 1, 150);
    await ann.come(app);
    await ann.until(() => ann.seen.includes(150));
    expect(ann.seen).toEqual(range(51, 150));
    expect(ann.gaps).toEqual([{ reason: "trimmed", offset: 50 }]);
  });

  test("who comes back while the log is set back goes on where it ends, and the store is not asked in vain", async () => {
    const history = new ScriptedHistory();
    const app = await started(history);
    const [ann, bob] = [new Visitor("/chat/den", { user: "ann" }), new Visitor("/chat/den")];
    await Promise.all([ann.come(app), bob.come(app)]);
    await say(app, 1, 5);
    await ann.until(() => ann.seen.length === 5);
    await ann.go();
    await say(app, 6, 10);
    await bob.until(() => bob.seen.length === 10);
    const log = history.logs.get(GROUP);
    if (log === undefined) throw new Error("there is no log");
    log.entries.splice(8);
    log.top = { offset: 8, id: log.entries[7]?.id ?? "" };
    await ann.come(app);
    await bob.until(() => bob.gaps.length === 1);
    await say(app, 11);
    await Promise.all([ann, bob].map((visitor) => visitor.until(() => visitor.seen.includes(11))));
    expect([ann.seen, ann.gaps]).toEqual([[...range(1, 8), 11], []]);
    expect([bob.seen, bob.gaps]).toEqual([[...range(1, 10), 11], [{ reason: "ahead", offset: 8 }]]);
    expect(history.reads).toBeLessThan(10);
  });

  test("members are told that the log is gone before there is another, and who was away as well", async () => {
    const history = new ScriptedHistory();
    const backplane = new MemoryBackplane();
    const carrier = troubles(backplane);
    const app = await started(history, { backplane });
    const [ann, bob] = [new Visitor("/chat/den", { user: "ann" }), new Visitor("/chat/den")];
    await Promise.all([ann.come(app), bob.come(app)]);
    await say(app, 1, 3);
    await ann.until(() => ann.seen.length === 3);
    await ann.go();
    history.logs.clear();
    carrier.flicker();
    await bob.until(() => bob.gaps.length === 1);
    await ann.come(app);
    await ann.until(() => ann.gaps.length === 1);
    await ann.go();
    await say(app, 4, 5);
    await ann.come(app);
    for (const { seen, gaps } of [
      await ann.until(() => ann.seen.length === 5),
      await bob.until(() => bob.seen.length === 5),
    ]) {
      expect(seen).toEqual(range(1, 5));
      expect(gaps).toEqual([{ reason: "epoch", offset: 0 }]);
    }
  });

  test("a gap is told after what handlers sent of the messages before it", async () => {
    const handler = new Gate();
    class Slow extends Room {
      override async chatMessage({ n }: Message) {
        await handler.opened;
        this.send("handled", n);
      }
    }
    const history = new ScriptedHistory();
    const app = await started(history, { routes: [route("/chat/:room", Slow)] });
    const client = new TestClient(app, "/chat/den", { auth: { sluice: { v: 1, positions: [] } } });
    await client.connect();
    await app.layer.groupSend(GROUP, { type: "chat.message", n: 1 });
    await say(app, 2);
    history.logs.clear();
    const isTold = new Promise((resolve) => app.signals.gap.connect(resolve));
    await say(app, 3, 4);
    await isTold;
    handler.open();
    const told: string[] = [];
    while (!told.includes("said 4")) {
      for (const { event, payload } of client.take()) {
        const { offset } = (payload ?? {}) as { offset?: number };
        told.push(`${event.replace("sluice.", "")} ${offset ?? payload}`);
      }
      await new Promise((resolve) => setImmediate(resolve));
    }
    const before = ["joined 0", "joined 0", "handled 1", "position 1", "said 2"];
    expect(told).toEqual([...before, "gap 0", "joined 0", "said 3", "said 4"]);
  });

  test("members who stay are told when the log is replaced, and go on with the new one from its beginning", async () => {
    const history = new ScriptedHistory();
    const app = await started(history);
    const ann = new Visitor("/chat/den");
    await ann.come(app);
    await say(app, 1, 3);
    history.logs.clear();
    await say(app, 4, 5);
    await ann.until(() => ann.seen.includes(5));
    expect([ann.seen, ann.gaps.map(({ reason }) => reason)]).toEqual([[1, 2, 3, 4, 5], ["epoch"]]);
    await ann.go();
    await say(app, 6);
    await ann.come(app);
    await ann.until(() => ann.seen.includes(6));
    expect(ann.gaps).toHaveLength(1);
  });
});

describe("without its store", () => {
  test("a send is refused and nothing goes out; joining is refused; afterwards all goes on", async () => {
    const history = new ScriptedHistory();
    const app = await started(history);
    const ann = new Visitor("/chat/den");
    await ann.come(app);
    await say(app, 1);
    history.isDown = true;
    await expect(say(app, 2)).rejects.toMatchObject({ code: "layer_unavailable" });
    expect(await ann.client?.emit("say", 2)).toMatchObject({ error: { code: "layer_unavailable" } });
    expect(await new Visitor("/chat/other").come(app)).toMatchObject({ accepted: false, code: 4503 });
    history.isDown = false;
    expect(await new Visitor("/chat/other").come(app)).toEqual({ accepted: true });
    await say(app, 3);
    await ann.until(() => ann.seen.length === 2);
    expect(ann.seen).toEqual([1, 3]);
  });

  test("a replay waits until it is there again", async () => {
    const history = new ScriptedHistory();
    const app = await started(history);
    const ann = new Visitor("/chat/den");
    const bob = new Visitor("/chat/den");
    await ann.come(app);
    await bob.come(app);
    await say(app, 1);
    await ann.until(() => ann.seen.length === 1);
    await ann.go();
    await say(app, 2, 4);
    history.isDown = true;
    expect(await ann.come(app)).toEqual({ accepted: true });
    history.isDown = false;
    await ann.until(() => ann.seen.length === 4);
    expect(ann.seen).toEqual([1, 2, 3, 4]);
  });
});

describe("reading a history", () => {
  test("gives the last messages, or those before an offset", async () => {
    const app = await started(new ScriptedHistory());
    await say(app, 1, 5);
    await app.layer.groupSend(GROUP, { type: "chat.message", n: 6 });
    const { epoch, messages, more } = await app.layer.history(GROUP, { limit: 2 });
    expect(messages).toMatchObject([
      { offset: 5, event: "said", payload: 5 },
      { offset: 6, payload: { type: "chat.message", n: 6 } },
    ]);
    expect([typeof epoch, more]).toEqual(["string", true]);
    const older = await app.layer.history(GROUP, { limit: 9, before: 3 });
    expect(older.messages.map(({ payload }) => payload)).toEqual([1, 2]);
    expect(older.more).toBe(false);
    expect(await app.layer.history("chat.silent")).toEqual({ epoch: "", messages: [], more: false });
    await expect(app.layer.history("no.history.here")).rejects.toMatchObject({ code: "no_handler" });
    for (const limit of [0, 1.5, 2_000, "9"]) {
      await expect(app.layer.history(GROUP, { limit: limit as number })).rejects.toMatchObject({
        code: "invalid_message",
      });
    }
  });

  test("by a client needs the policy's leave and a place in the group, and goes back to where it was let in", async () => {
    const groups = {
      "chat.open": { history: { ...POLICY, newcomers: 2, clientsMayRead: true } },
      "chat.*": { history: POLICY },
    };
    const app = await started(new ScriptedHistory(), { groups });
    for (let n = 1; n <= 5; n++) await app.layer.groupEmit("chat.open", "said", n);
    const ann = new Visitor("/chat/open");
    await ann.come(app);
    await app.layer.groupSend("chat.open", { type: "chat.message", n: 6 });
    const read = (asked: unknown) =>
      (ann.client as { emit(event: string, payload: unknown): Promise<unknown> }).emit(
        "sluice.history",
        asked,
      );
    expect(await read({ group: "chat.open" })).toMatchObject({
      more: false,
      messages: [
        { offset: 4, event: "said", payload: 4 },
        { offset: 5, event: "said", payload: 5 },
      ],
    });
    expect(await read({ group: "chat.den" })).toMatchObject({ error: { code: "no_handler" } });
    for (const asked of [
      undefined,
      "x",
      { group: 5 },
      { group: "chat.open", limit: 1_000 },
      { group: "chat.open", before: -1 },
    ]) {
      expect(await read(asked)).toMatchObject({ error: { code: expect.stringMatching(/^invalid_/) } });
    }
    await ann.client?.emit("leave");
    expect(await read({ group: "chat.open" })).toMatchObject({ error: { code: "no_handler" } });
  });
});

describe("what only the latest message counts for", () => {
  test("is given once to who comes back, the latest alone, without a gap", async () => {
    const app = await started(new ScriptedHistory(), {
      groups: { "chat.*": { history: { ...POLICY, conflate: true, newcomers: 1 } } },
    });
    const ann = new Visitor("/chat/den");
    await ann.come(app);
    await say(app, 1, 2);
    await ann.until(() => ann.seen.length === 2);
    await ann.go();
    await say(app, 3, 40);
    await ann.come(app);
    await ann.until(() => ann.seen.length === 3);
    await say(app, 41);
    await ann.until(() => ann.seen.length === 4);
    expect([ann.seen, ann.gaps]).toEqual([[1, 2, 40, 41], []]);
    const bob = new Visitor("/chat/den");
    await bob.come(app);
    await bob.until(() => bob.seen.length === 1);
    expect(bob.seen).toEqual([41]);
  });
});

describe("what only the latest message counts for, when its log is replaced by a shorter one,", () => {
  test("is given to members who stay and to who comes back", async () => {
    const history = new ScriptedHistory();
    const app = await started(history, {
      groups: { "chat.*": { history: { ...POLICY, conflate: true, newcomers: 1 } } },
    });
    const [ann, bob] = [new Visitor("/chat/den"), new Visitor("/chat/den")];
    await ann.come(app);
    await bob.come(app);
    await say(app, 1, 30);
    await ann.until(() => ann.seen.includes(30));
    await bob.until(() => bob.seen.includes(30));
    await bob.go();
    history.logs.clear();
    await say(app, 31);
    await ann.until(() => ann.seen.includes(31));
    await bob.come(app);
    await bob.until(() => bob.seen.includes(31));
  });

  test("goes on where the log was set back to, as by a failover", async () => {
    const history = new ScriptedHistory();
    const backplane = new MemoryBackplane();
    const carrier = troubles(backplane);
    const groups = { "chat.*": { history: { ...POLICY, conflate: true } } };
    const app = await started(history, { backplane, groups });
    const ann = new Visitor("/chat/den");
    await ann.come(app);
    await say(app, 1, 5);
    await ann.until(() => ann.seen.includes(5));
    const log = history.logs.get(GROUP);
    const [last] = log?.entries ?? [];
    if (log === undefined || last === undefined) throw new Error("there is no log");
    log.entries = [{ ...last, offset: 3, id: "three" }];
    log.top = { offset: 3, id: "three" };
    carrier.flicker();
    await ann.until(() => ann.places.get(GROUP)?.offset === 3);
    await say(app, 6);
    await ann.until(() => ann.seen.includes(6));
    expect(ann.offsets).toEqual([1, 2, 3, 4, 5, 3, 4]);
  });

  test("is given with its place in the new log to who is just coming back", async () => {
    const history = new ScriptedHistory();
    const app = await started(history, { groups: { "chat.*": { history: { ...POLICY, conflate: true } } } });
    const [ann, bob] = [new Visitor("/chat/den"), new Visitor("/chat/den")];
    await ann.come(app);
    await bob.come(app);
    await say(app, 1, 3);
    await bob.until(() => bob.seen.includes(3));
    await bob.go();
    await say(app, 4);
    const asked = new Gate();
    history.gate = asked.opened;
    await bob.come(app);
    history.logs.clear();
    await say(app, 5, 6);
    asked.open();
    await bob.until(() => bob.seen.includes(6));
    expect(bob.seen.slice(3)).toEqual([6]);
    expect(bob.places.get(GROUP)).toMatchObject({
      epoch: history.logs.get(GROUP)?.epoch,
      offset: 2,
      since: 0,
    });
    await bob.go();
    await say(app, 7);
    await bob.come(app);
    await bob.until(() => bob.seen.includes(7));
    expect([bob.seen.slice(3), bob.gaps]).toEqual([[6, 7], []]);
  });

  test("is given with its place to who is just coming back from beyond the end of the log", async () => {
    const history = new ScriptedHistory();
    const backplane = new MemoryBackplane();
    const carrier = troubles(backplane);
    const groups = { "chat.*": { history: { ...POLICY, conflate: true } } };
    const app = await started(history, { backplane, groups });
    const [ann, bob] = [new Visitor("/chat/den"), new Visitor("/chat/den")];
    await ann.come(app);
    await bob.come(app);
    await say(app, 1, 2);
    const second = history.logs.get(GROUP)?.entries.at(-1);
    await say(app, 3, 4);
    await bob.until(() => bob.seen.includes(4));
    await bob.go();
    await say(app, 5);
    const asked = new Gate();
    history.gate = asked.opened;
    // A failover has set the log back; the node learns it before it can give what bob missed.
    const log = history.logs.get(GROUP);
    if (log === undefined || second === undefined) throw new Error("there is no log");
    log.entries = [second];
    log.top = { offset: second.offset, id: second.id };
    carrier.flicker();
    await bob.come(app);
    asked.open();
    await bob.until(() => bob.places.get(GROUP)?.offset === 2);
    await say(app, 6);
    await bob.until(() => bob.seen.includes(6));
    expect([bob.seen, bob.offsets]).toEqual([
      [1, 2, 3, 4, 2, 6],
      [1, 2, 3, 4, 2, 3],
    ]);
    expect(bob.joins.map(({ offset }) => offset)).toEqual([0, 0, 4, 1]);
  });
});

describe("when all have left", () => {
  test("nothing is followed any more, and a stock client never hears of positions", async () => {
    const app = await started(new ScriptedHistory());
    const ann = new Visitor("/chat/den");
    await ann.come(app);
    const { TestClient } = await import("sluice/testing");
    const stock = new TestClient(app, "/chat/den");
    await stock.connect();
    await say(app, 1);
    await app.layer.groupSend(GROUP, { type: "chat.message", n: 2 });
    await ann.until(() => ann.places.get(GROUP)?.offset === 2);
    expect(stock.take()).toEqual([
      { event: "said", payload: 1 },
      { event: "handled", payload: "2a" },
      { event: "handled", payload: "2b" },
    ]);
    await ann.client?.emit("leave");
    ann.absorb();
    expect(ann.places.size).toBe(0);
    await Promise.all([ann.go(), stock.drop()]);
    expect(app).toBeEmpty();
  });

  test("wrong options are told at once", () => {
    const history = new ScriptedHistory();
    const elsewhere = new RedisBackplane();
    expect(() => node(history, { history: undefined as never, backplane: elsewhere })).toThrow(
      /a store that all/,
    );
    expect(() => node(history, { secret: "short" })).toThrow(/at least 32 characters/);
    expect(() => node(Object.assign(new ScriptedHistory(), { isShared: true }), { secret: [] })).toThrow(
      /SLUICE_SECRET/,
    );
    expect(() =>
      node(history, {
        groups: { "chat.*x": {}, b: { histroy: {} } as never, c: { history: { size: 0, ttlMs: 1.5 } } },
      }),
    ).toThrow(/4 faults/);
  });
});
