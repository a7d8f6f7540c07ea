/** What every task broker promises of children, of cancelling, and of running again. */
import assert from "node:assert/strict";
import type { JobHandler, JobRecord, NewJob } from "../index.ts";
import { aborted, done, failed, Gate, job, type Prove, proof, until } from "./broker-scene.ts";

/** Sooner than a worker looks by itself. */
const WOKEN_MS = 4_000;

export function proveTrees(prove: Prove): void {
  // ---- children -----------------------------------------------------------------------------------

  prove("children end first, and their outcomes are handed over in their order", async (scene) => {
    const children = ["c", "a", "b"].map((name) =>
      job({ body: `"${name}"`, queue: name === "a" ? "other" : "q" }),
    );
    const parent = job({ body: '"parent"', children });
    assert.deepEqual(await scene.broker.add(parent), { id: parent.id, isMerged: false });
    assert.equal(await scene.state(parent.id), "blocked");
    assert.deepEqual(
      (await scene.broker.list("q", "blocked", 0, 10)).map(({ id }) => id),
      [parent.id],
    );
    const ran: string[] = [];
    let outcomes: unknown;
    const handler: JobHandler = async ({ body, childOutcomes }) => {
      ran.push(body);
      if (body === '"parent"') outcomes = await childOutcomes();
      return done(`{"of":${body}}`);
    };
    await scene.consume(handler);
    await scene.consume(handler, "other");
    const record = await scene.end(parent.id);
    assert.equal(ran[3], '"parent"');
    assert.deepEqual(
      record.children,
      children.map(({ id }) => id),
    );
    assert.deepEqual(
      outcomes,
      children.map(({ id, body }) => ({ id, result: `{"of":${body}}` })),
    );
    assert.equal((await scene.broker.add(parent)).isMerged, true);
  });

  prove(
    "a child that failed fails its parent, and the parent's parent, or they run if they want to",
    async (scene) => {
      const make = (onChildFailure?: "fail" | "run") => {
        const bad = job({ body: '"bad"' });
        const good = job({ body: '"good"' });
        const parent = job({
          children: [good, bad],
          ...(onChildFailure === undefined ? {} : { onChildFailure }),
        });
        const grandparent = job({ children: [parent] });
        return { bad, good, parent, grandparent };
      };
      const [usual, failing, running] = [make(), make("fail"), make("run")];
      for (const { grandparent } of [usual, failing, running]) await scene.broker.add(grandparent);
      const ran = new Set<string>();
      let outcomes: unknown;
      await scene.consume(async ({ id, body, childOutcomes }) => {
        ran.add(id);
        if (id === running.parent.id) outcomes = await childOutcomes();
        return body === '"bad"' ? failed('{"code":"bad"}') : done(body);
      });
      for (const { bad, parent, grandparent } of [usual, failing]) {
        const { state, error = "" } = await scene.end(parent.id);
        const { code, child, cause } = JSON.parse(error);
        assert.deepEqual([state, code, child, cause], ["failed", "child_failed", bad.id, { code: "bad" }]);
        const above = await scene.end(grandparent.id);
        assert.equal(above.state, "failed");
        assert.equal(JSON.parse(above.error ?? "").cause.code, "child_failed");
        assert.ok(!ran.has(parent.id) && !ran.has(grandparent.id));
      }
      assert.equal((await scene.end(running.grandparent.id)).state, "done");
      assert.deepEqual(outcomes, [
        { id: running.good.id, result: '"good"' },
        { id: running.bad.id, error: '{"code":"bad"}' },
      ]);
    },
  );

  prove("a child that is removed is no longer waited for", async (scene) => {
    const make = (onChildFailure: "fail" | "run") => {
      const children = [job({ runAt: Date.now() + 60_000 }), job()];
      return job({ children, onChildFailure });
    };
    const [failing, running] = [make("fail"), make("run")];
    for (const parent of [failing, running]) await scene.broker.add(parent);
    let outcomes: readonly object[] = [];
    await scene.consume(async ({ id, childOutcomes }) => {
      if (id === running.id) outcomes = await childOutcomes();
      return done('"r"');
    });
    for (const { children = [] } of [failing, running]) {
      await scene.end(children[1]?.id ?? "");
      assert.equal(await scene.broker.remove(children[0]?.id ?? ""), true);
    }
    assert.equal((await scene.end(failing.id)).state, "failed");
    assert.equal((await scene.end(running.id)).state, "done");
    assert.deepEqual(
      outcomes.map((outcome) => Object.keys(outcome)),
      [
        ["id", "error"],
        ["id", "result"],
      ],
    );
  });

  prove("a child's outcome outlives the child", async (scene) => {
    const children = [job({ keepMs: 1 }), job({ runAt: Date.now() + 120 })];
    const parent = await scene.add({ children });
    let outcomes: readonly { readonly id: string }[] = [];
    await scene.consume(async ({ id, childOutcomes }) => {
      if (id === parent) outcomes = await childOutcomes();
      return done('"r"');
    });
    await until(async () => (await scene.broker.find(children[0]?.id ?? "")) === undefined);
    await scene.end(parent);
    assert.deepEqual(
      outcomes,
      children.map(({ id }) => ({ id, result: '"r"' })),
    );
  });

  prove("a parent that is delayed is so after its children, too", async (scene) => {
    const runAt = Date.now() + 150;
    const parent = await scene.add({ runAt, children: [job()] });
    await scene.consume(async () => done());
    const { startedAt = 0, attempt } = await scene.end(parent);
    assert.ok(startedAt >= runAt - 2);
    assert.equal(attempt, 1);
  });

  prove("a thousand children, and a chain of fifty", async (scene) => {
    const children = Array.from({ length: 1_000 }, (_, i) => job({ body: `${i}` }));
    const wide = await scene.add({ children });
    let deep = job();
    for (let i = 0; i < 50; i++) deep = job({ children: [deep] });
    await scene.broker.add(deep);
    let results: readonly unknown[] = [];
    let depth = 0;
    await scene.consume(
      async ({ id, body, childOutcomes, children: own }) => {
        if (own !== undefined && id !== wide) depth += 1;
        if (id === wide)
          results = (await childOutcomes()).map((outcome) => ("result" in outcome ? outcome.result : ""));
        return done(body);
      },
      "q",
      50,
    );
    await scene.end(wide);
    await scene.end(deep.id);
    assert.deepEqual(
      results,
      children.map(({ body }) => body),
    );
    assert.equal(depth, 50);
  });

  prove("what no broker can keep is refused, and nothing of it is added", async ({ broker }) => {
    for (const queue of ["", "a b", "a:b", "a..b", ".", "x".repeat(101)]) {
      await assert.rejects(broker.counts(queue), RangeError);
      await assert.rejects(broker.list(queue, "done", 0, 1), RangeError);
      await assert.rejects(broker.pause(queue), RangeError);
      await assert.rejects(broker.resume(queue), RangeError);
      await assert.rejects(
        broker.consume(queue, { concurrency: 1 }, async () => done()),
        RangeError,
      );
    }
    const twin = job();
    const wrong: NewJob[] = [
      job({ id: "q" }),
      job({ id: "other.x" }),
      job({ id: "q.with space" }),
      job({ id: "q.a:b" }),
      job({ queue: "bad queue" }),
      job({ key: "k", children: [job()] }),
      job({ children: [job({ key: "k" })] }),
      job({ children: [twin, twin] }),
      job({ children: Array.from({ length: 1_001 }, () => job()) }),
    ];
    for (const each of wrong) await assert.rejects(broker.add(each), RangeError);
    for (const more of [{ key: "k" }, { children: [job()] }]) {
      await assert.rejects(broker.addAll([job(), job(more)]), RangeError);
    }
    const known = job();
    await broker.add(known);
    const parent = job({ children: [job(), known] });
    await assert.rejects(broker.add(parent), RangeError);
    assert.equal(await broker.find(parent.id), undefined);
    const { waiting, blocked } = await broker.counts("q");
    assert.deepEqual([waiting, blocked], [1, 0]);
  });

  // ---- cancelling ---------------------------------------------------------------------------------

  prove("a cancelled job that waits or is delayed goes before all others", async (scene) => {
    const urgent = await scene.add({ priority: 1 });
    const waiting = await scene.add({ priority: 5 });
    const delayed = await scene.add({ runAt: Date.now() + 60_000 });
    assert.equal(await scene.broker.cancel(waiting), true);
    assert.equal(await scene.broker.cancel(delayed), true);
    assert.equal((await scene.broker.find(delayed))?.isCancelled, true);
    const seen: (readonly [string, boolean, boolean])[] = [];
    await scene.consume(async ({ id, isCancelled, signal }) => {
      seen.push([id, isCancelled, signal.aborted]);
      return isCancelled ? failed('{"code":"cancelled"}') : done();
    });
    await scene.end(urgent);
    assert.deepEqual(seen[2]?.slice(0, 2), [urgent, false]);
    assert.deepEqual(
      seen.slice(0, 2).map(([, isCancelled]) => isCancelled),
      [true, true],
    );
    for (const id of [waiting, delayed]) {
      const { state, isCancelled } = await scene.end(id);
      assert.deepEqual([state, isCancelled], ["failed", true]);
      assert.equal(await scene.broker.cancel(id), false);
    }
  });

  prove("a worker that sleeps is woken by whatever can be run", async (scene) => {
    let runs = 0;
    await scene.consume(async ({ isCancelled }) => {
      runs += 1;
      return isCancelled ? failed() : done();
    });
    const isRun = (count: number) => until(() => runs === count, WOKEN_MS);
    const id = await scene.add({ runAt: Date.now() + 60_000 });
    await proof(scene);
    await scene.broker.cancel(id);
    await isRun(1);
    await scene.end(id);
    await proof(scene);
    await scene.broker.runAgain(id);
    await isRun(2);
    await scene.broker.pause("q");
    await scene.add();
    await proof(scene);
    await scene.broker.resume("q");
    await isRun(3);
    const [child, parent] = [job({ runAt: Date.now() + 60_000 }), job()];
    await scene.broker.add({ ...parent, children: [child], onChildFailure: "run" });
    await proof(scene);
    await scene.broker.remove(child.id);
    await isRun(4);
  });

  prove("a cancelled job that runs hears it, and what it ends with counts", async (scene) => {
    const [obeys, goesOn] = [await scene.add(), await scene.add()];
    const reasons: unknown[] = [];
    await scene.consume(
      async ({ id, signal }) => {
        await aborted(signal);
        reasons.push(signal.reason);
        return id === obeys ? failed('{"code":"cancelled"}') : done('"all the same"');
      },
      "q",
      2,
    );
    for (const id of [obeys, goesOn]) {
      await until(async () => (await scene.state(id)) === "active");
      assert.equal(await scene.broker.cancel(id), true);
    }
    assert.deepEqual([(await scene.end(obeys)).state, (await scene.end(goesOn)).state], ["failed", "done"]);
    assert.deepEqual(reasons, ["cancelled", "cancelled"]);
    assert.equal((await scene.broker.find(obeys))?.isCancelled, true);
  });

  prove("a cancelled job that wants another attempt gets it at once, as a cancelled one", async (scene) => {
    const id = await scene.add();
    const seen: boolean[] = [];
    await scene.consume(async ({ isCancelled, signal }) => {
      seen.push(isCancelled);
      if (isCancelled) return failed();
      await aborted(signal);
      return { kind: "retry", afterMs: 60_000, error: "1" };
    });
    await until(() => seen.length === 1);
    await scene.broker.cancel(id);
    await scene.end(id);
    assert.deepEqual(seen, [false, true]);
  });

  prove("a cancelled job that is blocked takes its children with it", async (scene) => {
    const inner = job({ children: [job({ runAt: Date.now() + 60_000 })] });
    const children = [job({ runAt: Date.now() + 60_000 }), inner];
    const [failing, running] = [job({ children }), job({ children: [job()], onChildFailure: "run" })];
    await scene.broker.add(failing);
    await scene.broker.add(running);
    assert.equal(await scene.broker.cancel(failing.id), true);
    assert.equal(await scene.broker.cancel(running.id), true);
    const seen = new Map<string, boolean>();
    await scene.consume(async ({ id, isCancelled }) => {
      seen.set(id, isCancelled);
      return isCancelled ? failed('{"code":"cancelled"}') : done();
    });
    for (const { id } of [failing, running, inner, ...children]) {
      const { state, error } = await scene.end(id);
      assert.deepEqual([state, error], ["failed", '{"code":"cancelled"}']);
    }
    assert.equal(seen.size, 6);
    assert.deepEqual([...new Set(seen.values())], [true]);
  });

  // ---- again, and never again ---------------------------------------------------------------------

  prove("one that failed runs again from attempt 1, and as if it had not been cancelled", async (scene) => {
    const id = await scene.add({ key: "k" });
    await scene.broker.cancel(id);
    let mayEnd = false;
    const attempts: unknown[] = [];
    await scene.consume(async ({ attempt, isCancelled, setProgress }) => {
      attempts.push([attempt, isCancelled]);
      await setProgress("1");
      return mayEnd ? done() : failed();
    });
    await scene.end(id);
    assert.equal(await scene.broker.runAgain("q.unknown"), false);
    await scene.broker.pause("q");
    assert.equal(await scene.broker.runAgain(id), true);
    assert.equal(await scene.broker.runAgain(id), false);
    const { state, attempt, isCancelled, error, progress } = (await scene.broker.find(id)) as JobRecord;
    assert.deepEqual(
      [state, attempt, isCancelled, error, progress],
      ["waiting", 0, false, undefined, undefined],
    );
    assert.equal((await scene.broker.add(job({ key: "k" }))).isMerged, true, "it has its key again");
    mayEnd = true;
    await scene.broker.resume("q");
    await until(async () => (await scene.state(id)) === "done");
    assert.deepEqual(attempts, [
      [1, true],
      [1, false],
    ]);
    assert.equal(await scene.broker.runAgain(id), false, "it is done");
  });

  prove("a tree can be mended: the child runs again, then its parent", async (scene) => {
    const child = job();
    const parent = job({ children: [child] });
    await scene.broker.add(parent);
    let isMended = false;
    await scene.consume(async ({ id }) => (id === child.id && !isMended ? failed() : done('"r"')));
    assert.equal((await scene.end(parent.id)).state, "failed");
    isMended = true;
    await scene.broker.pause("q");
    assert.equal(await scene.broker.runAgain(child.id), true);
    assert.equal(await scene.broker.runAgain(parent.id), true);
    assert.equal(await scene.state(parent.id), "blocked");
    await scene.broker.resume("q");
    assert.equal((await scene.end(parent.id)).state, "done");
  });

  prove("a child that runs again while its parent runs is of no consequence to that", async (scene) => {
    for (const end of ["done", "failed"] as const) {
      const child = job({ queue: end });
      const parent = job({ queue: end, children: [child], onChildFailure: "run" });
      await scene.broker.add(parent);
      const [parentGate, childGate] = [new Gate(), new Gate()];
      let childRuns = 0;
      let parentRuns = 0;
      await scene.consume(
        async ({ id }) => {
          if (id === child.id) {
            childRuns += 1;
            if (childRuns === 2) await childGate.opened;
            return childRuns < 3 ? failed() : done();
          }
          parentRuns += 1;
          await parentGate.opened;
          return parentRuns === 1 && end === "failed" ? failed() : done();
        },
        end,
        2,
      );
      await until(async () => (await scene.state(parent.id)) === "active");
      assert.equal(await scene.broker.runAgain(child.id), true);
      await until(async () => (await scene.state(child.id)) === "active");
      parentGate.open();
      assert.equal((await scene.end(parent.id)).state, end);
      childGate.open();
      await scene.end(child.id);
      if (end === "done") continue;
      // Now that the parent has failed it can wait for the child again.
      await scene.broker.pause(end);
      assert.equal(await scene.broker.runAgain(child.id), true);
      assert.equal(await scene.broker.runAgain(parent.id), true);
      assert.equal(await scene.state(parent.id), "blocked");
      await scene.broker.resume(end);
      assert.equal((await scene.end(parent.id)).state, "done");
    }
  });

  prove("a job is removed with its children, unless one of them runs", async (scene) => {
    const gate = new Gate();
    const running = job({ queue: "busy" });
    const [idle, busy] = [job({ children: [job(), job()] }), job({ children: [job(), running] })];
    await scene.broker.add(idle);
    await scene.broker.add(busy);
    const failing = await scene.add({ queue: "fails" });
    await scene.consume(async () => {
      await gate.opened;
      return done();
    }, "busy");
    await scene.consume(async () => failed(), "fails");
    await until(async () => (await scene.state(running.id)) === "active");
    await scene.end(failing);
    assert.equal(await scene.broker.remove(running.id), false);
    assert.equal(await scene.broker.remove(busy.id), false);
    assert.equal(await scene.broker.remove(idle.id), true);
    assert.equal(await scene.broker.remove(idle.id), false);
    assert.equal(await scene.broker.remove(failing), true);
    for (const { id } of [idle, ...(idle.children ?? [])])
      assert.equal(await scene.broker.find(id), undefined);
    assert.equal(await scene.broker.find(failing), undefined);
    assert.equal(await scene.state(busy.id), "blocked");
    gate.open();
    assert.equal((await scene.end(running.id)).state, "done");
  });
}
