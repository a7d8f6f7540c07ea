/**
 * The exam that every presence store passes. It needs no test runner: each case is a name and a function
 * that throws when the promise in its name is broken.
 *
 * @example
 * for (const { name, run } of presenceExam(makeCluster)) test(name, run);
 */
import assert from "node:assert/strict";
import type {
  HistoryStore,
  LogEntry,
  PresenceChange,
  PresenceListener,
  PresenceLog,
  PresenceStore,
  Statement,
} from "../index.ts";
import type { ExamCase } from "./backplane-exam.ts";

/** Several stores over one state of their own. */
export interface PresenceCluster {
  /** Another node's; not open yet. Its lease should be short. */
  node(): PresenceStore;
  /** A store of the logs that the nodes append to; not open yet. */
  history(): HistoryStore;
  /** Whether nothing is kept any more, but what ends by itself in a moment, when all nodes have closed. */
  isEmpty(): Promise<boolean>;
  close(): Promise<void>;
}

/** A group whose joins and leaves are appended to its log. */
const LOGGED = "logged";
const KEPT = { size: 1_000, ttlMs: 60_000 };
/** One of which few are kept. */
const SMALL = "small";
const SMALL_SIZE = 20;
/** Groups in which they are not kept for long, if nothing follows. */
const BRIEF = "brief";
const BRIEF_MS = 200;

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

  logFor(group: string): PresenceLog | undefined {
    if (group.startsWith(BRIEF)) return { ...KEPT, ttlMs: BRIEF_MS, header: "who\n" };
    if (group === SMALL) return { ...KEPT, size: SMALL_SIZE, header: "who\n" };
    return group.startsWith(LOGGED) ? { ...KEPT, header: "who\n" } : undefined;
  }

  down(): void {}

  async restate(): Promise<void> {}

  async removed(group: string, changes: readonly PresenceChange[]): Promise<void> {
    this.told.push(...changes.map((change) => ({ group, ...change })));
  }

  state(user: string, connections: number, more: Partial<Statement> = {}, group = "g") {
    return this.store.state(group, user, {
      ...{ connections, info: `"${user}"`, isUpdate: false, maxUsers: 1_000 },
      ...more,
    });
  }

  withdraw(user: string, group = "g") {
    return this.store.withdraw(group, user);
  }

  /** User and connections, by name. */
  async list(): Promise<readonly (readonly [string, number])[]> {
    const { users } = await this.store.list("g");
    return users.map(({ user, connections }) => [user, connections] as const).sort();
  }
}

/** The exam for stores of presence: give each case to your test runner, as `test(name, run)`. */
export function presenceExam(makeCluster: () => PresenceCluster | Promise<PresenceCluster>): ExamCase[] {
  const exam: ExamCase[] = [];
  const promise = (
    name: string,
    run: (join: () => Promise<Node>, cluster: PresenceCluster, history: HistoryStore) => Promise<void>,
  ) => {
    exam.push({
      name,
      async run() {
        const cluster = await makeCluster();
        const history = cluster.history();
        await history.open();
        const nodes: Node[] = [];
        const join = async () => {
          const node = new Node(cluster.node(), `n${nodes.length}`);
          nodes.push(node);
          await node.store.open(node.name, node, history.logs);
          return node;
        };
        try {
          await run(join, cluster, history);
        } finally {
          await Promise.all(nodes.map(({ store }) => store.close(0)));
          await history.close();
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

  promise(
    "joins, leaves and updates are appended to the group's log as they are told",
    async (join, _cluster, history) => {
      const [one, two] = [await join(), await join()];
      const odd = 'é😀\n"\\/%s\u0000\u2028';
      const made = [
        await one.state(odd, 1, { info: JSON.stringify(odd) }, LOGGED),
        await two.state(odd, 2, {}, LOGGED),
        await two.state(odd, 2, { info: '{"away":1}', isUpdate: true }, LOGGED),
        await two.state(odd, 2, {}, LOGGED),
        await one.withdraw(odd, LOGGED),
        await two.withdraw(odd, LOGGED),
        await two.withdraw(odd, LOGGED),
      ];
      const kinds = ["join", "count", "update", undefined, "count", "leave", undefined];
      assert.deepEqual(made.map(kindOf), kinds);
      const told = made.filter((change) => typeof change === "object" && change.kind !== "count");
      const { top, entries } = await history.read(LOGGED, 1, 100);
      assert.deepEqual(entries.map(changeIn), told.map(plain));
      for (const [i, change] of told.entries()) {
        const { appended } = change as PresenceChange;
        assert.deepEqual(appended, { ...entries[i], epoch: top?.epoch });
      }
      for (const change of made) {
        if (typeof change === "object" && change.kind === "count") assert.equal(change.appended, undefined);
      }
      await one.state("ann", 1);
      assert.deepEqual((await history.read("g", 1, 100)).top, undefined, "a group without a log gets none");
    },
  );

  promise(
    "whoever comes, goes and says something at once: one log has all of it in order",
    async (join, _cluster, history) => {
      const nodes = [await join(), await join(), await join()];
      const said: string[] = [];
      const changes: PresenceChange[] = [];
      const work = nodes.flatMap((node, n) =>
        ["ann", "bob", "cid", "dan"].map(async (user, u) => {
          for (let i = 0; i < 20; i++) {
            const connections = (i * 7 + u * 3 + n * 5) % 4;
            const made =
              connections === 0
                ? await node.withdraw(user, LOGGED)
                : await node.state(user, connections, {}, LOGGED);
            if (typeof made === "object") changes.push(made);
            const text = `${n} ${user} ${i}`;
            await history.append(LOGGED, text, KEPT);
            said.push(text);
          }
        }),
      );
      await Promise.all(work);
      const { top, entries } = await history.read(LOGGED, 1, 10_000);
      assert.deepEqual(
        entries.map(({ offset }) => offset),
        entries.map((_, i) => i + 1),
        "no entry is missing",
      );
      assert.equal(top?.offset, entries.length);
      assert.equal(new Set(entries.map(({ id }) => id)).size, entries.length);
      const logged = entries.filter(({ text }) => text.startsWith("who\n")).map(changeIn);
      const told = changes.filter(({ kind }) => kind !== "count").sort((a, b) => a.version - b.version);
      assert.deepEqual(logged, told.map(plain));
      const messages = await history.readBefore(LOGGED, undefined, 10_000);
      assert.deepEqual(messages.entries.map(({ text }) => text).sort(), said.sort(), "messages alone");
      assert.deepEqual(messages.top, top);
    },
  );

  promise("the list and the end of the log are of one moment", async (join, _cluster, history) => {
    const [one, two] = [await join(), await join()];
    assert.equal((await one.store.list(LOGGED)).top, undefined);
    let isDone = false;
    const walking = (async () => {
      for (let i = 0; i < 60; i++) {
        await one.state(`user-${i % 7}`, 1, {}, LOGGED);
        if (i % 3 === 0) await one.withdraw(`user-${(i * 5) % 7}`, LOGGED);
      }
      isDone = true;
    })();
    const lists = [];
    while (!isDone) lists.push(await two.store.list(LOGGED));
    await walking;
    const { entries } = await history.read(LOGGED, 1, 10_000);
    for (const { users, top } of lists) {
      const present = new Set<string>();
      for (const entry of entries) {
        if (entry.offset > (top?.offset ?? 0)) break;
        const { kind, user } = changeIn(entry);
        if (kind === "leave") present.delete(user);
        else present.add(user);
      }
      assert.deepEqual(users.map(({ user }) => user).sort(), [...present].sort());
    }
  });

  promise(
    "however many come and go, messages are kept, and of joins and leaves the last",
    async (join, _cluster, history) => {
      const one = await join();
      const size = 5;
      for (let i = 1; i <= 3; i++) await history.append(SMALL, `m${i}`, { ...KEPT, size });
      for (let i = 0; i < SMALL_SIZE; i++) {
        await one.state("ann", 1, {}, SMALL);
        await one.withdraw("ann", SMALL);
      }
      const offsets = (found: readonly LogEntry[]) => found.map(({ offset }) => offset);
      const all = await history.read(SMALL, 1, 10_000);
      const last = 3 + 2 * SMALL_SIZE;
      assert.equal(all.top?.offset, last);
      assert.deepEqual(offsets(all.entries).slice(0, 4), [1, 2, 3, last - SMALL_SIZE + 1]);
      assert.equal(all.entries.length, 3 + SMALL_SIZE);
      assert.deepEqual(offsets((await history.read(SMALL, 2, 3)).entries), [2, 3, last - SMALL_SIZE + 1]);
      assert.deepEqual(offsets((await history.readBefore(SMALL, undefined, 2)).entries), [2, 3]);
      assert.deepEqual(offsets((await history.readBefore(SMALL, 3, 2)).entries), [1, 2]);
      // And the other way round.
      for (let i = 0; i < 2 * size; i++) await history.append(SMALL, "m", { ...KEPT, size });
      const after = (await history.read(SMALL, 1, 10_000)).entries;
      assert.equal(after.filter(({ text }) => text.startsWith("who")).length, SMALL_SIZE);
      assert.equal(after.length, SMALL_SIZE + size);
    },
  );

  promise(
    "leaves of a node that is gone are in the log once, also when nobody is left to tell",
    async (join, _cluster, history) => {
      const [one, two] = [await join(), await join()];
      const users = Array.from({ length: 450 }, (_, i) => `user-${i}`);
      await Promise.all(users.map((user) => one.state(user, 1, {}, LOGGED)));
      await two.state("user-0", 1, {}, LOGGED);
      await one.store.close(20);
      await until(async () => (await two.store.count(LOGGED)) === 1);
      await until(async () => two.told.length >= users.length);
      const leaves = async () => {
        const { entries } = await history.read(LOGGED, 1, 10_000);
        return entries.map(changeIn).flatMap(({ kind, user }) => (kind === "leave" ? [user] : []));
      };
      assert.deepEqual((await leaves()).sort(), users.slice(1).sort());
      const told = two.told.filter(({ kind }) => kind === "leave");
      const { entries } = await history.read(LOGGED, 1, 10_000);
      assert.equal(new Set(entries.map(({ id }) => id)).size, entries.length, "each has an id of its own");
      const byOffset = new Map(entries.map((entry) => [entry.offset, entry]));
      for (const change of told) {
        const { epoch: _epoch, ...entry } = change.appended ?? { epoch: "" };
        assert.deepEqual(entry, byOffset.get(change.appended?.offset ?? 0));
      }
      await two.store.close(0);
      assert.deepEqual((await leaves()).sort(), users.sort());
    },
  );

  promise("joins keep messages for longer, and messages joins", async (join, _cluster, history) => {
    const one = await join();
    const keeping = async (group: string, first: () => Promise<number>, second: () => Promise<number>) => {
      const [before, after] = [await first(), await second()];
      // On a machine that paused, the first may have gone before.
      if (after - before >= BRIEF_MS - 50) return false;
      await history.append("other", "x", { size: 1, ttlMs: BRIEF_MS + 50 });
      await until(async () => (await history.read("other", 1, 1)).entries.length === 0);
      const { entries } = await history.read(group, 1, 10);
      assert.deepEqual(
        entries.map(({ offset }) => offset),
        [1, 2],
      );
      return true;
    };
    const joining = (group: string) => async () => {
      const made = (await one.state("ann", 1, {}, group)) as PresenceChange;
      return made.appended?.at ?? 0;
    };
    const saying = (group: string, ttlMs: number) => async () =>
      (await history.append(group, "x", { ...KEPT, ttlMs })).at;
    let attempt = 0;
    let group = "";
    do group = `${BRIEF}.${attempt++}`;
    while (!(await keeping(group, joining(group), saying(group, KEPT.ttlMs))));
    do group = `${LOGGED}.${attempt++}`;
    while (!(await keeping(group, saying(group, BRIEF_MS), joining(group))));
  });

  promise("logs that are not its own are refused at the start", async (_join, cluster) => {
    const store = cluster.node();
    const listener = new Node(store, "stranger");
    await assert.rejects(async () => store.open("stranger", listener, { of: "somebody else" }), {
      code: "configuration",
    });
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

function changeIn({ text }: LogEntry): PresenceChange {
  const [header, json = ""] = text.split("\n", 2);
  assert.equal(header, "who");
  const changes = JSON.parse(json) as PresenceChange[];
  assert.equal(changes.length, 1);
  return changes[0] as PresenceChange;
}

/** As it is in the log. */
function plain(made: PresenceChange | "full" | undefined): PresenceChange {
  const { appended: _appended, ...change } = made as PresenceChange;
  return change;
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
