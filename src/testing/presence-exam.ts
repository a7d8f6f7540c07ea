/**
 * The exam that every presence store passes. It needs no test runner: each case is a name and a function
 * that throws when the promise in its name is broken.
 *
 * @example
 * for (const { name, run } of presenceExam(makeCluster)) test(name, run);
 */
import assert from "node:assert/strict";
import type { PresenceChange, PresenceListener, PresenceStore, Statement } from "../index.ts";
import type { ExamCase } from "./backplane-exam.ts";

/** Several stores over one state of their own. */
export interface PresenceCluster {
  /** Another node's; not open yet. Its lease should be short. */
  node(): PresenceStore;
  /** Whether nothing is kept any more, when all nodes have closed. */
  isEmpty(): Promise<boolean>;
  close(): Promise<void>;
}

/** One open node. */
class Node implements PresenceListener {
  readonly store: PresenceStore;
  readonly name: string;
  /** Of nodes that are gone, as this one was told to tell. */
  readonly told: (PresenceChange & { readonly group: string })[] = [];

  constructor(store: PresenceStore, name: string) {
    this.store = store;
    this.name = name;
  }

  down(): void {}

  async restate(): Promise<void> {}

  async removed(group: string, changes: readonly PresenceChange[]): Promise<void> {
    this.told.push(...changes.map((change) => ({ group, ...change })));
  }

  state(user: string, connections: number, more: Partial<Statement> = {}) {
    return this.store.state("g", user, {
      ...{ connections, info: `"${user}"`, isUpdate: false, maxUsers: 1_000 },
      ...more,
    });
  }

  withdraw(user: string) {
    return this.store.withdraw("g", user);
  }

  /** User and connections, by name. */
  async list(): Promise<readonly (readonly [string, number])[]> {
    const { users } = await this.store.list("g");
    return users.map(({ user, connections }) => [user, connections] as const).sort();
  }
}

export function presenceExam(makeCluster: () => PresenceCluster | Promise<PresenceCluster>): ExamCase[] {
  const exam: ExamCase[] = [];
  const promise = (
    name: string,
    run: (join: () => Promise<Node>, cluster: PresenceCluster) => Promise<void>,
  ) => {
    exam.push({
      name,
      async run() {
        const cluster = await makeCluster();
        const nodes: Node[] = [];
        const join = async () => {
          const node = new Node(cluster.node(), `n${nodes.length}`);
          nodes.push(node);
          await node.store.open(node.name, node);
          return node;
        };
        try {
          await run(join, cluster);
        } finally {
          await Promise.all(nodes.map(({ store }) => store.close(0)));
          await cluster.close();
        }
      },
    });
  };

  promise(
    "a user comes with the first connection and leaves with the last, on whatever node",
    async (join) => {
      const [one, two] = [await join(), await join()];
      assert.equal(kindOf(await one.state("ann", 1)), "join");
      assert.equal(kindOf(await two.state("ann", 2)), "count");
      assert.deepEqual(await one.list(), [["ann", 3]]);
      assert.equal(kindOf(await one.withdraw("ann")), "count");
      assert.deepEqual(await two.list(), [["ann", 2]]);
      assert.equal(kindOf(await two.withdraw("ann")), "leave");
      assert.deepEqual(await one.list(), []);
    },
  );

  promise("a statement says how many there are, so said twice it changes nothing", async (join) => {
    const one = await join();
    await one.state("ann", 2);
    assert.equal(await one.state("ann", 2), undefined);
    assert.equal(kindOf(await one.state("ann", 1)), "count");
    assert.deepEqual(await one.list(), [["ann", 1]]);
    await one.withdraw("ann");
    assert.equal(await one.withdraw("ann"), undefined);
    assert.equal(await one.withdraw("nobody"), undefined);
  });

  promise("a user without connections is held until withdrawn", async (join) => {
    const [one, two] = [await join(), await join()];
    await one.state("ann", 1);
    assert.equal(kindOf(await one.state("ann", 0)), "count");
    assert.deepEqual(await two.list(), [["ann", 0]]);
    assert.equal(kindOf(await two.state("ann", 1)), "count");
    assert.equal(kindOf(await one.withdraw("ann")), "count");
    assert.deepEqual(await two.list(), [["ann", 1]]);
  });

  promise("info is that of the first statement, until an update", async (join) => {
    const [one, two] = [await join(), await join()];
    const info = async () => (await one.store.list("g")).users[0]?.info;
    await one.state("ann", 1, { info: '{"name":"Ann"}' });
    await two.state("ann", 1, { info: '{"name":"other"}' });
    assert.equal(await info(), '{"name":"Ann"}');
    const change = await two.state("ann", 1, { info: '{"name":"new"}', isUpdate: true });
    assert.equal(kindOf(change), "update");
    assert.equal(await info(), '{"name":"new"}');
    assert.equal(await one.state("ann", 1, { info: '{"name":"new"}', isUpdate: true }), undefined);
  });

  promise("any text is a user, and any text an info", async (join) => {
    const one = await join();
    const texts = [
      "a b",
      "é😀",
      "1 2 3",
      "\n\r\t\u2028",
      "__proto__",
      "version",
      '"\\',
      "%s%d{}[]",
      "x".repeat(256),
    ];
    for (const text of texts) await one.state(text, 1, { info: JSON.stringify(text) });
    await one.state("none", 1, { info: "" });
    const { users } = await one.store.list("g");
    const found = new Map(users.map(({ user, info }) => [user, info]));
    for (const text of texts) assert.equal(found.get(text), JSON.stringify(text));
    assert.equal(found.get("none"), "");
    assert.equal(await one.store.count("g"), texts.length + 1);
    for (const text of [...texts, "none"]) assert.equal(kindOf(await one.withdraw(text)), "leave");
  });

  promise("each change follows the one before, and the list has the version of the last", async (join) => {
    const [one, two] = [await join(), await join()];
    const changes = [
      await one.state("ann", 1),
      await two.state("bob", 1),
      await one.state("ann", 2),
      await two.state("bob", 1, { info: "1", isUpdate: true }),
      await two.withdraw("bob"),
    ] as PresenceChange[];
    let version = 0;
    for (const change of changes) {
      assert.equal(change.before, version);
      assert.ok(change.version > version);
      version = change.version;
    }
    assert.equal((await two.store.list("g")).version, version);
    const last = (await one.withdraw("ann")) as PresenceChange;
    const empty = await two.store.list("g");
    assert.ok(empty.version >= last.version, "an empty list is newer than what emptied it");
    const next = (await two.state("cid", 1)) as PresenceChange;
    assert.equal(next.before, 0);
    assert.ok(next.version > empty.version);
  });

  promise("groups do not know each other", async (join) => {
    const one = await join();
    await one.state("ann", 1);
    const statement = { connections: 1, info: "", isUpdate: false, maxUsers: 10 };
    assert.equal(kindOf(await one.store.state("h", "ann", statement)), "join");
    await one.withdraw("ann");
    assert.deepEqual([await one.store.count("g"), await one.store.count("h")], [0, 1]);
  });

  promise("a full group takes nobody in, but those who are there", async (join) => {
    const [one, two] = [await join(), await join()];
    await one.state("ann", 1, { maxUsers: 2 });
    await one.state("bob", 1, { maxUsers: 2 });
    assert.equal(await two.state("cid", 1, { maxUsers: 2 }), "full");
    assert.equal(kindOf(await two.state("ann", 1, { maxUsers: 2 })), "count");
    await one.withdraw("bob");
    assert.equal(kindOf(await two.state("cid", 1, { maxUsers: 2 })), "join");
  });

  promise("whoever states and withdraws at once, every user comes and leaves in turn", async (join) => {
    const nodes = [await join(), await join(), await join()];
    const changes: PresenceChange[] = [];
    const there = new Map<string, number>();
    const work = nodes.flatMap((node, n) =>
      ["ann", "bob", "cid", "dan"].map(async (user, u) => {
        for (let i = 0; i < 30; i++) {
          const connections = (i * 7 + u * 3 + n * 5) % 4;
          const made = connections === 0 ? await node.withdraw(user) : await node.state(user, connections);
          if (typeof made === "object") changes.push(made);
          there.set(`${user} ${n}`, connections);
        }
      }),
    );
    await Promise.all(work);
    changes.sort((a, b) => a.version - b.version);
    const present = new Set<string>();
    let version = 0;
    for (const { kind, user, before, version: after } of changes) {
      assert.equal(before, present.size === 0 ? 0 : version, "no change is missing");
      version = after;
      assert.equal(present.has(user), kind !== "join", `${user}: ${kind}`);
      if (kind === "leave") present.delete(user);
      else present.add(user);
    }
    const totals = new Map<string, number>();
    for (const [name, connections] of there) {
      const [user = ""] = name.split(" ");
      totals.set(user, (totals.get(user) ?? 0) + connections);
    }
    const expected = [...totals].filter(([, connections]) => connections > 0).sort();
    assert.deepEqual(await nodes[0]?.list(), expected);
  });

  promise("what a node leaves behind is held, then removed once, and told by another node", async (join) => {
    const [one, two, three] = [await join(), await join(), await join()];
    await one.state("ann", 1);
    await one.state("bob", 1);
    await two.state("bob", 1);
    await one.store.close(50);
    assert.deepEqual(await two.list(), [
      ["ann", 1],
      ["bob", 2],
    ]);
    await until(async () => (await two.store.count("g")) === 1);
    await until(async () => two.told.length + three.told.length >= 2);
    assert.deepEqual(await three.list(), [["bob", 1]]);
    const told = [...two.told, ...three.told]
      .map(({ group, kind, user }) => `${group} ${kind} ${user}`)
      .sort();
    assert.deepEqual(told, ["g count bob", "g leave ann"]);
  });

  promise("the last node to close leaves nothing behind", async (join, cluster) => {
    const [one, two] = [await join(), await join()];
    await one.state("ann", 1);
    await two.state("bob", 1);
    await one.store.close(60_000);
    await two.store.close(60_000);
    assert.equal(await cluster.isEmpty(), true);
  });

  promise("a closed store refuses, and closes again", async (join) => {
    const one = await join();
    await one.store.close(0);
    await one.store.close(0);
    await assert.rejects(one.state("ann", 1), { code: "layer_unavailable" });
    await assert.rejects(one.withdraw("ann"), { code: "layer_unavailable" });
    await assert.rejects(one.store.list("g"), { code: "layer_unavailable" });
    await assert.rejects(one.store.count("g"), { code: "layer_unavailable" });
  });

  return exam;
}

function kindOf(made: PresenceChange | "full" | undefined): string | undefined {
  return typeof made === "object" ? made.kind : made;
}

async function until(holds: () => Promise<boolean>, timeoutMs = 10_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await holds())) {
    assert.ok(performance.now() < deadline, `within ${timeoutMs} ms it never came true: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
