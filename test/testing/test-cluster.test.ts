import { afterEach, describe, expect, test } from "@jest/globals";
import { Consumer, createApplication, type Middleware, route } from "sluice";
import { recover } from "sluice/client";
import { task, testTasks } from "sluice/tasks";
import {
  type NodeRecipe,
  TestClient,
  TestCluster,
  type TestClusterOptions,
  type TestNode,
} from "sluice/testing";

const ended: string[] = [];

class Room extends Consumer {
  override async connect() {
    for (const group of ["plain", "logged", "who"]) await this.groupAdd(group);
  }
  override async receive(event: string, payload: unknown) {
    if (event === "hang") await new Promise(() => {});
    await this.groupEmit(event, "said", payload);
    return "sent";
  }
  override async disconnect() {
    ended.push(String(this.scope.auth.name));
  }
}

const identify: Middleware = (scope, next) => next({ user: scope.auth.name });

const groups = {
  logged: { history: { size: 10, ttlMs: 60_000 } },
  who: { presence: { graceMs: 2_000 } },
};

const clusters: TestCluster[] = [];
afterEach(async () => {
  for (const cluster of clusters.splice(0)) await cluster.stop();
  ended.length = 0;
});

async function start(options?: TestClusterOptions): Promise<[TestCluster, TestNode, TestNode]> {
  const cluster = await TestCluster.start(
    { routes: [route("/room", Room)], middleware: [identify], groups },
    options,
  );
  clusters.push(cluster);
  return [cluster, cluster.node(1), cluster.node(2)];
}

async function enter(cluster: TestCluster, node: TestNode, name: string): Promise<TestClient> {
  const client = cluster.client(node, "/room", { auth: { name } });
  await expect(client).toBeAccepted();
  return client;
}

const present = async ({ app }: TestNode) => (await app.layer.presence("who")).map(({ user }) => user).sort();

describe("the nodes of a cluster", () => {
  test("share groups, histories and presence", async () => {
    const [cluster, one, two] = await start();
    const [ann, bob] = [await enter(cluster, one, "ann"), await enter(cluster, two, "bob")];
    await ann.emit("plain", 1);
    await bob.emit("logged", 2);
    for (const client of [ann, bob]) {
      expect([await client.next("said"), await client.next("said")]).toEqual([1, 2]);
    }
    expect(await present(one)).toEqual(["ann", "bob"]);
    expect((await one.app.layer.history("logged")).messages).toMatchObject([{ payload: 2 }]);
  });

  test("may each be made by a function, and join later", async () => {
    const numbers: number[] = [];
    const cluster = await TestCluster.start(
      (backing, number) => {
        numbers.push(number);
        return createApplication({
          routes: [route("/room", Room)],
          middleware: [identify],
          groups,
          ...backing,
        });
      },
      { nodes: 1 },
    );
    clusters.push(cluster);
    const three = await cluster.add();
    const [ann, bob] = [await enter(cluster, cluster.node(1), "ann"), await enter(cluster, three, "bob")];
    await ann.emit("plain", 1);
    expect(await bob.next("said")).toBe(1);
    expect(numbers).toEqual([1, 2]);
    expect(() => cluster.node(3)).toThrow("there are nodes 1 to 2, not 3");
  });
});

describe("a killed node", () => {
  test("runs no hook, tells nobody, loses its clients, and its users leave with the lease", async () => {
    const [cluster, one, two] = await start();
    const [ann, bob] = [await enter(cluster, one, "ann"), await enter(cluster, two, "bob")];
    const left: string[] = [];
    ann.socket.on("disconnect", (reason: string) => left.push(reason));
    await cluster.kill(one);
    expect(left).toEqual(["transport close"]);
    await cluster.advance(2_900);
    expect(await present(two)).toEqual(["ann", "bob"]);
    await cluster.advance(100);
    expect(await present(two)).toEqual(["bob"]);
    expect(await bob.next("sluice.presence")).toMatchObject({ type: "join", user: "bob" });
    expect(await bob.next("sluice.presence")).toMatchObject({ type: "leave", user: "ann" });
    expect(ended).toEqual([]);
    expect([one.isKilled, two.isKilled]).toEqual([true, false]);
  });

  test("is left for another, where what was missed is given once", async () => {
    const [cluster, one, two] = await start();
    const ann = cluster.client(one, "/room", { auth: { name: "ann" } });
    const gaps: unknown[] = [];
    recover(ann.socket).on("gap", (gap) => gaps.push(gap));
    await ann.connect();
    const bob = await enter(cluster, two, "bob");
    await bob.emit("logged", 1);
    expect(await ann.next("said")).toBe(1);
    await cluster.kill(one);
    await bob.emit("logged", 2);
    expect(await ann.connect(two.app)).toEqual({ accepted: true });
    await bob.emit("logged", 3);
    expect([await ann.next("said"), await ann.next("said")]).toEqual([2, 3]);
    await ann.expectSilence("said");
    expect(gaps).toEqual([]);
  });

  test("answers nobody, whatever its handlers were about to do", async () => {
    const [cluster, one, two] = await start();
    const [ann, bob] = [await enter(cluster, one, "ann"), await enter(cluster, two, "bob")];
    const answers = [ann.emit("hang"), ann.emit("plain", "behind it")];
    const failed = Promise.all(answers.map((answer) => expect(answer).rejects.toThrow("was not answered")));
    await cluster.kill(one);
    await failed;
    await bob.expectSilence("said");
  });

  test("takes nobody in any more", async () => {
    const [cluster, one] = await start();
    await cluster.kill(one);
    const late = cluster.client(one, "/room", { auth: { name: "late" } });
    expect(await late.connect()).toMatchObject({ accepted: false });
    expect(ended).toEqual([]);
  });
});

describe("a node that is cut off", () => {
  test("serves its own clients, and what it says arrives when it is back", async () => {
    const [cluster, one, two] = await start();
    const [ann, ada] = [await enter(cluster, one, "ann"), await enter(cluster, one, "ada")];
    const bob = await enter(cluster, two, "bob");
    const troubles: string[] = [];
    one.app.signals.layerDown.connect(() => void troubles.push("down"));
    one.app.signals.layerUp.connect(() => void troubles.push("up"));
    one.app.signals.lost.connect(() => void troubles.push("lost"));
    cluster.partition(one);
    expect([one.isCutOff, one.app.layer.isDegraded]).toEqual([true, true]);
    await ann.emit("plain", "from afar");
    expect(await ada.next("said")).toBe("from afar");
    await bob.emit("plain", "unheard");
    expect(await bob.next("said")).toBe("unheard");
    await bob.expectSilence("said");
    await cluster.heal();
    expect(troubles).toEqual(["down", "lost", "up"]);
    expect(await bob.next("said")).toBe("from afar");
    await bob.emit("plain", "again");
    expect(await ann.next("said")).toBe("from afar");
    expect(await ann.next("said")).toBe("again");
  });

  test("cannot append to histories, and is given what it missed of them", async () => {
    const [cluster, one, two] = await start();
    const [ann, bob] = [await enter(cluster, one, "ann"), await enter(cluster, two, "bob")];
    cluster.partition(one);
    expect(await ann.emit("logged", 1)).toMatchObject({ error: { code: "layer_unavailable" } });
    await bob.emit("logged", 2);
    await bob.emit("logged", 3);
    expect(ann.pending.filter(({ event }) => event === "said")).toEqual([]);
    await cluster.heal(one);
    expect([await ann.next("said"), await ann.next("said")]).toEqual([2, 3]);
  });

  test("loses its users with the lease, and states them again when it is back", async () => {
    const [cluster, one, two] = await start();
    await enter(cluster, one, "ann");
    await enter(cluster, two, "bob");
    cluster.partition(one);
    await cluster.advance(2_999);
    expect(await present(two)).toEqual(["ann", "bob"]);
    await cluster.advance(1);
    expect(await present(two)).toEqual(["bob"]);
    await cluster.heal();
    expect(await present(two)).toEqual(["ann", "bob"]);
    cluster.partition(one, two);
    await cluster.advance(10_000);
    await cluster.heal();
    expect(await present(two)).toEqual(["ann", "bob"]);
  });

  test("forgets what waits for too long, and says so", async () => {
    const [cluster, one, two] = await start();
    const [ann, bob] = [await enter(cluster, one, "ann"), await enter(cluster, two, "bob")];
    const dropped: unknown[] = [];
    one.app.signals.dropped.connect(({ count }) => void dropped.push(count));
    cluster.partition(one);
    await ann.emit("plain", "old");
    await cluster.advance(10_000);
    await cluster.heal();
    await bob.expectSilence("said");
    expect(dropped).toEqual([1]);
    await expect(one.app.layer.flush()).rejects.toMatchObject({ code: "layer_unavailable" });
  });

  test("lets nobody in who would have to hear others", async () => {
    const [cluster, one] = await start();
    cluster.partition(one);
    const late = cluster.client(one, "/room", { auth: { name: "late" } });
    const entry = late.connect();
    await cluster.advance(5_000);
    expect(await entry).toMatchObject({ accepted: false, code: 4503 });
  });
});

describe("a node whose words are lost on the way", () => {
  test("is heard by its own clients only, and nobody is told until something arrives", async () => {
    const [cluster, one, two] = await start();
    const [ann, bob] = [await enter(cluster, one, "ann"), await enter(cluster, two, "bob")];
    const lost: unknown[] = [];
    two.app.signals.lost.connect(({ missed }) => void lost.push(missed));
    cluster.mute(one);
    await ann.emit("plain", 1);
    await bob.emit("plain", 2);
    expect([await ann.next("said"), await ann.next("said")]).toEqual([1, 2]);
    expect(await bob.next("said")).toBe(2);
    await expect(bob).not.toHaveReceived("said", 1);
    expect([lost, one.app.isDegraded]).toEqual([[], false]);
    cluster.unmute();
    await ann.emit("plain", 3);
    expect(await bob.next("said")).toBe(3);
    expect(lost).toEqual([1]);
  });

  test("loses nothing in a group with history: the next that arrives brings it", async () => {
    const [cluster, one, two] = await start();
    const [ann, bob] = [await enter(cluster, one, "ann"), await enter(cluster, two, "bob")];
    cluster.mute(one);
    await ann.emit("logged", 1);
    await expect(bob).not.toHaveReceived("said");
    cluster.unmute(one);
    await ann.emit("logged", 2);
    expect([await bob.next("said"), await bob.next("said")]).toEqual([1, 2]);
  });
});

describe("further layers", () => {
  class Archive extends Room {
    static override readonly layer = "archive";
  }
  const routes = [route("/room", Room), route("/archive", Archive)];
  const recipes: readonly NodeRecipe[] = [
    { routes, middleware: [identify], groups, layers: { archive: { groups } } },
    (backing, _number, layer) =>
      createApplication({
        ...{ ...backing, routes, groups, userId: () => "ann" },
        layers: { archive: { ...layer("archive"), groups } },
      }),
  ];

  test.each(recipes)("have nodes, too, and go with them (recipe %#)", async (recipe) => {
    const cluster = await TestCluster.start(recipe);
    clusters.push(cluster);
    const [one, two] = [cluster.node(1), cluster.node(2)];
    const ann = cluster.client(one, "/archive", { auth: { name: "ann" } });
    const bob = cluster.client(two, "/archive", { auth: { name: "bob" } });
    const plain = cluster.client(two, "/room", { auth: { name: "cid" } });
    for (const client of [ann, bob, plain]) await expect(client).toBeAccepted();
    await ann.emit("plain", 1);
    await ann.emit("logged", 2);
    expect([await bob.next("said"), await bob.next("said")]).toEqual([1, 2]);
    await expect(plain).not.toHaveReceived("said");
    expect(await two.app.layers.get("archive")?.presenceCount("who")).toBeGreaterThan(0);
    cluster.partition(one);
    expect([...one.app.layers.values()].map((layer) => layer.isDegraded)).toEqual([true, true]);
    expect(await ann.emit("logged", 3)).toMatchObject({ error: { code: "layer_unavailable" } });
    await cluster.heal();
    expect(one.app.isDegraded).toBe(false);
    cluster.delay(50);
    await cluster.letPass(bob.emit("logged", 4));
    await cluster.advance(100);
    expect(await ann.next("said")).toBe(1);
    expect([await ann.next("said"), await ann.next("said")]).toEqual([2, 4]);
  });
});

describe("the clock of a cluster", () => {
  test("passes by itself for what takes time, as long as that takes", async () => {
    const [cluster, one, two] = await start();
    cluster.delay(100);
    const before = cluster.clock.now();
    const ann = await cluster.letPass(enter(cluster, one, "ann"));
    expect(cluster.clock.now()).toBeGreaterThanOrEqual(before + 100);
    const bob = await cluster.letPass(enter(cluster, two, "bob"));
    expect(await cluster.letPass(ann.emit("logged", 1))).toBe("sent");
    expect(await cluster.letPass(bob.next("said"))).toBe(1);
    await expect(cluster.letPass(Promise.reject(new Error("not so")))).rejects.toThrow("not so");
  });

  test("moves what goes between nodes, one moment after the other", async () => {
    const [cluster, one, two] = await start();
    const [ann, bob] = [await enter(cluster, one, "ann"), await enter(cluster, two, "bob")];
    cluster.delay(100);
    await ann.emit("plain", 1);
    await cluster.advance(60);
    await ann.emit("plain", 2);
    await cluster.advance(39);
    expect(bob.pending.filter(({ event }) => event === "said")).toEqual([]);
    await cluster.advance(1);
    expect(bob.pending.filter(({ event }) => event === "said")).toMatchObject([{ payload: 1 }]);
    await cluster.advance(60);
    expect([await bob.next("said"), await bob.next("said")]).toEqual([1, 2]);
  });

  test("ends histories, and the grace of who left", async () => {
    const [cluster, one, two] = await start({ now: new Date("2026-01-01T00:00:00Z") });
    const [ann, bob] = [await enter(cluster, one, "ann"), await enter(cluster, two, "bob")];
    await ann.emit("logged", 1);
    expect((await two.app.layer.history("logged")).messages).toMatchObject([{ at: Date.UTC(2026, 0, 1) }]);
    await bob.drop();
    await cluster.advance(1_999);
    expect(await present(one)).toEqual(["ann", "bob"]);
    await cluster.advance(1);
    expect(await present(one)).toEqual(["ann"]);
    await cluster.advance(58_000);
    expect((await one.app.layer.history("logged")).messages).toEqual([]);
    await expect(cluster.advance(-1)).rejects.toThrow("time goes on, not back");
  });

  test("is the one that tasks go by", async () => {
    const remind = task("room.remind", async () => "reminded");
    const [cluster] = await start();
    const kit = await testTasks({ tasks: [remind], clock: cluster.clock });
    await remind.enqueue(undefined, { delayMs: 60_000 });
    await cluster.advance(59_999);
    expect(await kit.drain()).toMatchObject([{ state: "queued" }]);
    expect(await kit.advance(1)).toMatchObject([{ state: "succeeded", result: "reminded" }]);
    await kit.stop();
  });
});

describe("the end of a cluster", () => {
  test("runs the hooks of those who are left, delays or not, and finds nothing left", async () => {
    const [cluster, one, two] = await start();
    await enter(cluster, one, "ann");
    await enter(cluster, two, "bob");
    cluster.delay(1_000);
    cluster.partition(two);
    await cluster.stop();
    expect(ended.sort()).toEqual(["ann", "bob"]);
    clusters.length = 0;
  });

  test("does not pass over what is left", async () => {
    const [cluster, one] = await start();
    Object.defineProperty(one.app, "sizes", { get: () => ({ connections: 1, groups: 2, topics: 0 }) });
    await expect(cluster.stop()).rejects.toThrow("the application still has 1 connections, 2 groups");
    clusters.length = 0;
  });

  test("nodes of others are refused", async () => {
    const [[cluster], [, stranger]] = [await start(), await start()];
    await expect(cluster.kill(stranger)).rejects.toThrow("node 1 is of another cluster");
  });
});

test("a client may go from one application to another by itself", async () => {
  const [cluster, one, two] = await start();
  const ann = new TestClient(one.app, "/room", { auth: { name: "ann" } });
  await ann.connect();
  await ann.disconnect();
  await ann.connect(two.app);
  await cluster.node(1).app.layer.groupEmit("plain", "said", 1);
  expect(await ann.next("said")).toBe(1);
});
