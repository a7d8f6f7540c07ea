/**
 * The exam that every store of limits passes. It needs no test runner: each case is a name and a function that
 * throws when the promise in its name is broken.
 *
 * @example
 * for (const { name, run } of limitExam(makeCluster)) test(name, run);
 */
import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";
import type { LimitStore, Rate } from "../index.ts";
import type { ExamCase } from "./backplane-exam.ts";

/** Several nodes' stores of the same counts, which begin empty. */
export interface LimitCluster {
  /** Another node's store; not open yet. */
  node(): LimitStore;
  /** Closes what is left of it. */
  close(): Promise<void>;
}

/** So slow that nothing comes back while a case runs. */
const SLOW: Rate = { perSecond: 0.001, burst: 10 };
const LONG_MS = 60_000;

/** The exam for stores of limits: give each case to your test runner, as `test(name, run)`. */
export function limitExam(makeCluster: () => LimitCluster | Promise<LimitCluster>): ExamCase[] {
  const exam: ExamCase[] = [];
  const prove = (name: string, run: (join: () => Promise<LimitStore>) => Promise<void>) => {
    exam.push({
      name,
      async run() {
        const cluster = await makeCluster();
        const stores: LimitStore[] = [];
        const join = async () => {
          const store = cluster.node();
          stores.push(store);
          await store.open();
          return store;
        };
        try {
          await run(join);
        } finally {
          await Promise.all(stores.map((store) => store.close()));
          await cluster.close();
        }
      },
    });
  };

  prove("a bucket begins full, gives what it has, and says when there will be more", async (join) => {
    const store = await join();
    assert.deepEqual(await store.take("a", SLOW, 4), { count: 4, waitMs: 0 });
    const { count, waitMs } = await store.take("a", SLOW, 10);
    assert.equal(count, 6);
    assert.ok(waitMs > 900_000 && waitMs <= 1_000_000, `${waitMs} ms until the next`);
    const none = await store.take("a", SLOW, 1);
    assert.equal(none.count, 0);
    assert.ok(none.waitMs > 900_000 && none.waitMs <= 1_000_000, `${none.waitMs} ms until the next`);
  });

  prove("what was taken comes back at its rate, and never more than the bucket holds", async (join) => {
    const store = await join();
    const rate = { perSecond: 1_000, burst: 5 };
    assert.equal((await store.take("a", rate, 5)).count, 5);
    await until(async () => (await store.take("a", rate, 1)).count === 1);
    // By now it has gained many more than it holds.
    await sleep(30);
    assert.equal((await store.take("a", rate, 1_000)).count, 5);
  });

  prove("nodes take from the same bucket, and never more than it has", async (join) => {
    const stores = await Promise.all([join(), join(), join()]);
    const takes = stores.flatMap((store) => Array.from({ length: 10 }, () => store.take("a", SLOW, 1)));
    const counts = (await Promise.all(takes)).map(({ count }) => count);
    assert.equal(
      counts.reduce((sum, count) => sum + count, 0),
      10,
    );
  });

  prove("buckets are told apart by any text", async (join) => {
    const store = await join();
    const names = ["", "a", "a ", "A", "{a}", "a:b", "ü", "🙂", "x".repeat(1_000), "__proto__", "a\nb"];
    for (const name of names) assert.equal((await store.take(name, SLOW, 99)).count, 10, name);
    for (const name of names) assert.equal((await store.take(name, SLOW, 1)).count, 0, name);
  });

  prove("a room has so many seats on all nodes together", async (join) => {
    const [one, two] = [await join(), await join()];
    assert.equal(await one.sit("r", "a", 2, LONG_MS), true);
    assert.equal(await two.sit("r", "b", 2, LONG_MS), true);
    assert.equal(await one.sit("r", "c", 2, LONG_MS), false);
    assert.equal(await two.sit("other", "c", 2, LONG_MS), true);
    // Who has one keeps it.
    assert.equal(await two.sit("r", "b", 1, LONG_MS), true);
    await two.leave("r", "a");
    assert.equal(await one.sit("r", "c", 2, LONG_MS), true);
    assert.equal(await one.sit("r", "a", 2, LONG_MS), false);
    await one.leave("r", "nobody");
    await one.leave("nowhere", "a");
  });

  prove("of many who come at once no more sit than there are seats", async (join) => {
    const stores = await Promise.all([join(), join(), join()]);
    const sits = stores.flatMap((store, k) =>
      Array.from({ length: 10 }, (_, i) => store.sit("r", `${k}.${i}`, 7, LONG_MS)),
    );
    assert.equal((await Promise.all(sits)).filter((sat) => sat).length, 7);
  });

  prove("a seat that is not kept is free after its time, and one that is kept is not", async (join) => {
    const [one, two] = [await join(), await join()];
    assert.equal(await one.sit("r", "a", 2, 40), true);
    assert.equal(await one.sit("r", "b", 2, LONG_MS), true);
    await until(() => two.sit("r", "c", 2, LONG_MS));
    assert.equal(await two.sit("r", "d", 2, LONG_MS), false);
    assert.equal(await one.sit("r", "b", 2, LONG_MS), true);
  });

  prove("a store that is closed refuses everything, and others go on", async (join) => {
    const [one, two] = [await join(), await join()];
    await one.close();
    await one.close();
    const unavailable = { code: "layer_unavailable" };
    await assert.rejects(one.take("a", SLOW, 1), unavailable);
    await assert.rejects(one.sit("r", "a", 1, LONG_MS), unavailable);
    await assert.rejects(one.leave("r", "a"), unavailable);
    assert.equal((await two.take("a", SLOW, 1)).count, 1);
    assert.equal(await two.sit("r", "a", 1, LONG_MS), true);
  });

  return exam;
}

async function until(holds: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await holds())) {
    assert.ok(performance.now() < deadline, `never came true: ${holds}`);
    await sleep(2);
  }
}
