/**
 * The exam that every store of histories passes. It needs no test runner: each case is a name and a
 * function that throws when the promise in its name is broken.
 *
 * @example
 * for (const { name, run } of historyExam(makeCluster)) test(name, run);
 */
import assert from "node:assert/strict";
import type { Appended, HistoryStore, LogEntry, Position } from "../index.ts";
import type { ExamCase } from "./backplane-exam.ts";

/** How long, and of how many groups, the stores of one case remember; what is not given is as usual. */
export interface HistoryBounds {
  readonly positionTtlMs?: number;
  readonly idempotencyTtlMs?: number;
  readonly maxGroups?: number;
}

/** Several nodes' stores of the same logs, which begin empty. */
export interface HistoryCluster {
  /** Another node's store; not open yet. */
  node(): HistoryStore;
  /** All logs are lost, as when their server is restarted empty; the stores can be used again afterwards. */
  forget(): Promise<void>;
  /** Closes what is left of it. */
  close(): Promise<void>;
}

/** Long enough for every case. */
const KEPT = { size: 1_000, ttlMs: 60_000 };

/** The exam for stores of histories: give each case to your test runner, as `test(name, run)`. */
export function historyExam(
  makeCluster: (bounds: HistoryBounds) => HistoryCluster | Promise<HistoryCluster>,
): ExamCase[] {
  const exam: ExamCase[] = [];
  const promise = (
    name: string,
    run: (join: () => Promise<HistoryStore>, cluster: HistoryCluster) => Promise<void>,
    bounds: HistoryBounds = {},
  ) => {
    exam.push({
      name,
      async run() {
        const cluster = await makeCluster(bounds);
        const join = async () => {
          const store = cluster.node();
          await store.open();
          return store;
        };
        try {
          await run(join, cluster);
        } finally {
          await cluster.close();
        }
      },
    });
  };

  promise("where nothing was appended there is no log", async (join) => {
    const ann = await join();
    const nothing = { top: undefined, entries: [] };
    assert.deepEqual(await ann.read("g", 1, 10), nothing);
    assert.deepEqual(await ann.readBefore("g", undefined, 10), nothing);
    assert.deepEqual(await ann.readBefore("g", 5, 10), nothing);
    assert.deepEqual(await ann.tops(["g", "h"]), [undefined, undefined]);
    assert.deepEqual(await ann.tops([]), []);
  });

  promise("what one node appends, another reads as it was appended", async (join) => {
    const [ann, bob] = [await join(), await join()];
    const first = await ann.append("g", "one", KEPT);
    const second = await bob.append("g", "two", KEPT);
    assert.deepEqual([first.offset, second.offset], [1, 2]);
    assert.deepEqual([first.isKnown, second.isKnown], [false, false]);
    assert.equal(first.epoch, second.epoch);
    assert.ok(first.epoch !== "" && first.id !== "" && first.id !== second.id);
    const entries = [entryOf(first, "one"), entryOf(second, "two")];
    for (const store of [ann, bob]) {
      assert.deepEqual(await store.read("g", 1, 10), { top: positionOf(second), entries });
      assert.deepEqual(await store.tops(["g"]), [positionOf(second)]);
    }
  });

  promise("the time of an entry is that of its append", async (join) => {
    const ann = await join();
    const before = Date.now();
    const { at } = await ann.append("g", "now", KEPT);
    // The store has a clock of its own.
    assert.ok(Number.isInteger(at) && at > before - 60_000 && at < Date.now() + 60_000, `${at}`);
  });

  promise("however many nodes append at once, offsets are 1, 2, 3, ... and ids differ", async (join) => {
    const nodes = await Promise.all([join(), join(), join()]);
    const appended = await Promise.all(
      Array.from({ length: 300 }, async (_, i) => {
        const text = `m${i}`;
        return { text, ...(await at(nodes, i % 3).append("g", text, KEPT)) };
      }),
    );
    const inOrder = appended.toSorted((a, b) => a.offset - b.offset);
    assert.deepEqual(
      inOrder.map(({ offset }) => offset),
      Array.from({ length: 300 }, (_, i) => i + 1),
    );
    assert.equal(new Set(appended.map(({ id }) => id)).size, 300);
    assert.equal(new Set(appended.map(({ epoch }) => epoch)).size, 1);
    const { top, entries } = await at(nodes, 0).read("g", 1, 1_000);
    assert.deepEqual(
      entries,
      inOrder.map((entry) => entryOf(entry, entry.text)),
    );
    assert.deepEqual(top, positionOf(at(inOrder, 299)));
  });

  promise("what one node appends without waiting keeps its order", async (join) => {
    const ann = await join();
    const appended = await Promise.all(Array.from({ length: 100 }, (_, i) => ann.append("g", `m${i}`, KEPT)));
    assert.deepEqual(
      appended.map(({ offset }) => offset),
      Array.from({ length: 100 }, (_, i) => i + 1),
    );
  });

  promise("top and entries are of one moment, whoever appends meanwhile", async (join) => {
    const [ann, bob] = [await join(), await join()];
    let isDone = false;
    const appending = (async () => {
      for (let i = 0; i < 200; i++) await ann.append("g", `m${i}`, KEPT);
      isDone = true;
    })();
    while (!isDone) {
      const { top, entries } = await bob.read("g", 1, 1_000);
      assert.equal(entries.at(-1)?.offset, top?.offset);
      assert.equal(entries.at(-1)?.id, top?.id);
    }
    await appending;
  });

  promise("no more than `size` entries are kept, the last", async (join) => {
    const ann = await join();
    const last = await appendAll(ann, "g", 10, { ...KEPT, size: 3 });
    const { top, entries } = await ann.read("g", 1, 100);
    assert.deepEqual(offsetsOf(entries), [8, 9, 10]);
    assert.deepEqual(top, positionOf(last));
    const one = await ann.append("g", "alone", { ...KEPT, size: 1 });
    assert.deepEqual((await ann.read("g", 1, 100)).entries, [entryOf(one, "alone")]);
  });

  promise("read gives what is kept from an offset on, at most so many, oldest first", async (join) => {
    const ann = await join();
    const last = positionOf(await appendAll(ann, "g", 10, { ...KEPT, size: 8 }));
    const cases: [from: number, limit: number, offsets: number[]][] = [
      [1, 3, [3, 4, 5]],
      [0, 2, [3, 4]],
      [-5, 1, [3]],
      [3, 1, [3]],
      [5, 2, [5, 6]],
      [9, 100, [9, 10]],
      [10, 1, [10]],
      [11, 10, []],
      [Number.MAX_SAFE_INTEGER, 10, []],
      [1e300, 10, []],
      [1, Number.POSITIVE_INFINITY, [3, 4, 5, 6, 7, 8, 9, 10]],
      [1, 0, []],
      [1, -1, []],
      [Number.NaN, Number.NaN, []],
    ];
    for (const [from, limit, offsets] of cases) {
      const { top, entries } = await ann.read("g", from, limit);
      assert.deepEqual(offsetsOf(entries), offsets, `from ${from}, ${limit}`);
      assert.deepEqual(top, last);
    }
  });

  promise("readBefore gives the last before an offset, at most so many, oldest first", async (join) => {
    const ann = await join();
    const last = positionOf(await appendAll(ann, "g", 10, { ...KEPT, size: 8 }));
    const cases: [before: number | undefined, limit: number, offsets: number[]][] = [
      [undefined, 3, [8, 9, 10]],
      [undefined, 100, [3, 4, 5, 6, 7, 8, 9, 10]],
      [undefined, 0, []],
      [11, 2, [9, 10]],
      [10, 2, [8, 9]],
      [5, 100, [3, 4]],
      [4, 1, [3]],
      [3, 10, []],
      [1, 10, []],
      [0, 10, []],
      [-1, 10, []],
      [500, 1, [10]],
      [1e300, 1, [10]],
      [8, -1, []],
      [Number.NaN, 10, []],
    ];
    for (const [before, limit, offsets] of cases) {
      const { top, entries } = await ann.readBefore("g", before, limit);
      assert.deepEqual(offsetsOf(entries), offsets, `before ${before}, ${limit}`);
      assert.deepEqual(top, last);
    }
  });

  promise("tops answers for many groups, in the order of asking", async (join) => {
    const ann = await join();
    const groups = Array.from({ length: 1_200 }, (_, i) => `g.${i}`);
    const appended = new Map<string, Position>();
    for (const [i, group] of groups.entries()) {
      if (i % 100 === 0) appended.set(group, positionOf(await ann.append(group, "x", KEPT)));
    }
    const asked = [...groups, "g.0"].toReversed();
    assert.deepEqual(
      await ann.tops(asked),
      asked.map((group) => appended.get(group)),
    );
  });

  promise("each group has a log of its own, whatever its name", async (join) => {
    const ann = await join();
    const names = [".", "..", "-", "_", "__proto__", "constructor", "0", "chat.den", "CHAT.den", "chat.den."];
    const groups = [...names, "x".repeat(99), "chat.den.log", "meta", "sluice.own"];
    const epochs = new Set<string>();
    for (const group of groups) {
      const { epoch, offset } = await ann.append(group, group, KEPT);
      assert.equal(offset, 1, group);
      epochs.add(epoch);
    }
    assert.equal(epochs.size, groups.length);
    for (const group of groups) {
      const { entries } = await ann.read(group, 1, 10);
      assert.deepEqual(
        entries.map(({ text }) => text),
        [group],
      );
    }
  });

  promise("any text is kept as it is", async (join) => {
    const [ann, bob] = [await join(), await join()];
    const texts = ["", " ", "0", "é😀\u0000\n\r\u2028", '{"json":true}', "-1", "x".repeat(200_000)];
    for (const text of texts) await ann.append("g", text, KEPT);
    const { entries } = await bob.read("g", 1, 100);
    assert.deepEqual(
      entries.map(({ text }) => text),
      texts,
    );
  });

  promise(
    "entries go some time after the last append; their position stays, and counting goes on",
    async (join) => {
      const ann = await join();
      const options = { size: 10, ttlMs: 60 };
      const last = await appendAll(ann, "g", 3, options);
      await until("the entries go", async () => (await ann.read("g", 1, 10)).entries.length === 0);
      assert.deepEqual(await ann.read("g", 1, 10), { top: positionOf(last), entries: [] });
      assert.deepEqual(await ann.readBefore("g", undefined, 10), { top: positionOf(last), entries: [] });
      assert.deepEqual(await ann.tops(["g"]), [positionOf(last)]);
      const next = await ann.append("g", "next", KEPT);
      assert.deepEqual([next.epoch, next.offset], [last.epoch, 4]);
      assert.deepEqual((await ann.read("g", 1, 10)).entries, [entryOf(next, "next")]);
    },
  );

  promise("each append keeps all entries for longer", async (join) => {
    const ann = await join();
    for (let attempt = 0; ; attempt++) {
      const group = `g.${attempt}`;
      const first = await ann.append(group, "first", { size: 10, ttlMs: 200 });
      const second = await ann.append(group, "second", KEPT);
      // On a machine that paused, the first may have gone before.
      if (second.at - first.at >= 150) continue;
      await ann.append("other", "x", { size: 10, ttlMs: 250 });
      await until("others go", async () => (await ann.read("other", 1, 10)).entries.length === 0);
      assert.deepEqual(offsetsOf((await ann.read(group, 1, 10)).entries), [1, 2]);
      return;
    }
  });

  promise(
    "a position is forgotten long after its entries, and then another log begins",
    async (join) => {
      const ann = await join();
      const { epoch } = await ann.append("g", "x", { size: 10, ttlMs: 10 });
      await until("the position goes", async () => (await ann.tops(["g"]))[0] === undefined);
      assert.deepEqual(await ann.read("g", 1, 10), { top: undefined, entries: [] });
      const again = await ann.append("g", "y", KEPT);
      assert.equal(again.offset, 1);
      assert.notEqual(again.epoch, epoch);
      assert.deepEqual((await ann.read("g", 1, 10)).entries, [entryOf(again, "y")]);
    },
    { positionTtlMs: 100 },
  );

  promise("logs that were lost begin again with another epoch", async (join, cluster) => {
    const [ann, bob] = [await join(), await join()];
    const before = await appendAll(ann, "g", 5, KEPT);
    await cluster.forget();
    assert.deepEqual(await bob.tops(["g"]), [undefined]);
    const after = await bob.append("g", "new", KEPT);
    assert.equal(after.offset, 1);
    assert.notEqual(after.epoch, before.epoch);
    assert.deepEqual(await ann.read("g", 1, 10), {
      top: positionOf(after),
      entries: [entryOf(after, "new")],
    });
  });

  promise("under one idempotency key one append is made, whoever tries and however often", async (join) => {
    const [ann, bob] = [await join(), await join()];
    const options = { ...KEPT, idempotencyKey: "order 17" };
    await ann.append("g", "before", KEPT);
    const tries = await Promise.all(
      Array.from({ length: 20 }, (_, i) => at([ann, bob], i % 2).append("g", `try ${i}`, options)),
    );
    assert.equal(tries.filter(({ isKnown }) => !isKnown).length, 1);
    for (const appended of tries) {
      assert.deepEqual(positionOf(appended), positionOf(at(tries, 0)));
      assert.equal(appended.at, at(tries, 0).at);
    }
    assert.equal(at(tries, 0).offset, 2);
    // Also when it is long trimmed.
    await appendAll(ann, "g", 5, { ...KEPT, size: 2 });
    const late = await bob.append("g", "late", options);
    assert.deepEqual(late, { ...at(tries, 0), isKnown: true });
    assert.deepEqual(offsetsOf((await ann.read("g", 1, 10)).entries), [6, 7]);
  });

  promise("idempotency keys are any text, and hold for one group", async (join) => {
    const ann = await join();
    const keys = ["", "a", "A", "{b}", "é😀 \n\u0000", "log", "meta", "k".repeat(100_000)];
    const append = (group: string, idempotencyKey: string) =>
      ann.append(group, "x", { ...KEPT, idempotencyKey });
    for (const [i, key] of keys.entries()) assert.equal((await append("g", key)).offset, i + 1);
    for (const [i, key] of keys.entries()) assert.equal((await append("g", key)).offset, i + 1);
    assert.equal((await append("h", "a")).isKnown, false);
  });

  promise("a key is forgotten with the log it belongs to", async (join, cluster) => {
    const ann = await join();
    const options = { ...KEPT, idempotencyKey: "k" };
    const { epoch } = await ann.append("g", "x", options);
    await cluster.forget();
    await ann.append("g", "other", KEPT);
    const again = await ann.append("g", "x", options);
    assert.deepEqual([again.isKnown, again.offset], [false, 2]);
    assert.notEqual(again.epoch, epoch);
  });

  promise(
    "a key is forgotten after its time",
    async (join) => {
      const ann = await join();
      const options = { ...KEPT, idempotencyKey: "k" };
      await ann.append("g", "x", options);
      let appended: Appended | undefined;
      await until("the key goes", async () => {
        appended = await ann.append("g", "x", options);
        return !appended.isKnown;
      });
      assert.equal(appended?.offset, 2);
    },
    { idempotencyTtlMs: 60 },
  );

  promise(
    "with too many groups the one appended to longest ago is forgotten whole, and begins again as another log",
    async (join) => {
      const [ann, bob] = [await join(), await join()];
      const keyed = { ...KEPT, idempotencyKey: "k" };
      const before = await ann.append("b", "b1", keyed);
      // One after the other, as far apart as a store may be wrong about it.
      let [last, count] = [before, 0];
      const next = async (store: HistoryStore, group: string) => {
        for (let after = last.at + 50; last.at < after; count++) last = await store.append(group, "x", KEPT);
      };
      for (const [store, group] of [
        [bob, "a"],
        [ann, "c"],
        [bob, "a"],
        [ann, "d"],
      ] as const) {
        await next(store, group);
      }
      await until("one is forgotten", async () => (await bob.tops(["b"]))[0] === undefined);
      assert.deepEqual(await ann.read("b", 1, 10), { top: undefined, entries: [] });
      const tops = await ann.tops(["a", "c", "d"]);
      assert.equal(tops.filter((top) => top !== undefined).length, 3);
      assert.equal(
        tops.reduce((sum, top) => sum + (top?.offset ?? 0), 0),
        count,
      );
      const again = await bob.append("b", "b2", keyed);
      assert.deepEqual([again.offset, again.isKnown], [1, false]);
      assert.notEqual(again.epoch, before.epoch);
      assert.deepEqual((await ann.read("b", 1, 10)).entries, [entryOf(again, "b2")]);
      await until("the next is forgotten", async () => (await bob.tops(["c"]))[0] === undefined);
      assert.equal((await ann.tops(["a", "b", "d"])).filter((top) => top !== undefined).length, 3);
    },
    { maxGroups: 3 },
  );

  promise(
    "however many groups begin at once, as many remain as are allowed",
    async (join) => {
      const nodes = await Promise.all([join(), join(), join()]);
      const groups = Array.from({ length: 300 }, (_, i) => `g.${i}`);
      await Promise.all(groups.map((group, i) => at(nodes, i % 3).append(group, "x", KEPT)));
      const living = async () => {
        const tops = await at(nodes, 0).tops(groups);
        return groups.filter((_, i) => tops[i] !== undefined);
      };
      await until("as many remain", async () => (await living()).length <= 20);
      assert.equal((await living()).length, 20);
      for (const group of await living()) {
        assert.equal((await at(nodes, 1).append(group, "y", KEPT)).offset, 2);
      }
      assert.equal((await living()).length, 20);
    },
    { maxGroups: 20 },
  );

  promise("a store that is closed refuses everything, and others go on", async (join) => {
    const [ann, bob] = [await join(), await join()];
    await ann.append("g", "x", KEPT);
    await ann.close();
    await ann.close();
    const refused = { code: "layer_unavailable" };
    await assert.rejects(async () => ann.append("g", "y", KEPT), refused);
    await assert.rejects(async () => ann.read("g", 1, 1), refused);
    await assert.rejects(async () => ann.readBefore("g", undefined, 1), refused);
    await assert.rejects(async () => ann.tops(["g"]), refused);
    assert.equal((await bob.append("g", "y", KEPT)).offset, 2);
  });

  promise("what is under way when a store closes is not left hanging", async (join) => {
    const ann = await join();
    const underWay = Array.from({ length: 50 }, () => ann.append("g", "x", KEPT));
    const ended = Promise.allSettled(underWay);
    await ann.close();
    for (const outcome of await ended) {
      if (outcome.status === "rejected") assert.equal(outcome.reason.code, "layer_unavailable");
    }
  });

  return exam;
}

async function appendAll(
  store: HistoryStore,
  group: string,
  count: number,
  options: { readonly size: number; readonly ttlMs: number },
): Promise<Appended> {
  let last: Appended | undefined;
  for (let i = 0; i < count; i++) last = await store.append(group, `m${i}`, options);
  assert.ok(last);
  return last;
}

function positionOf({ epoch, offset, id }: Position): Position {
  return { epoch, offset, id };
}

function entryOf({ offset, id, at }: Appended, text: string): LogEntry {
  return { offset, id, at, text };
}

function offsetsOf(entries: readonly LogEntry[]): number[] {
  return entries.map(({ offset }) => offset);
}

function at<T>(list: readonly T[], i: number): T {
  const found = list[i];
  assert.ok(found !== undefined);
  return found;
}

/** Waits for a fact. */
async function until(fact: string, holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await holds())) {
    assert.ok(performance.now() < deadline, `never came true: ${fact}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
