/** What every task broker promises of what can be seen, of rates and schedules, and of workers. */
import assert from "node:assert/strict";
import type { JobHandler, JobPriority, JobRecord, JobState, TaskBroker, WorkerReport } from "../index.ts";
import { aborted, done, failed, Gate, job, type Prove, proof, type Scene, until } from "./broker-scene.ts";

export function proveAround(prove: Prove, isShared: boolean): void {
  // ---- what can be seen ---------------------------------------------------------------------------

  prove("counts and lists show what is where", async (scene) => {
    const gate = new Gate();
    const nothing = { waiting: 0, delayed: 0, blocked: 0, active: 0, done: 0, failed: 0, isPaused: false };
    assert.deepEqual(await scene.broker.counts("q"), nothing);
    assert.deepEqual(await scene.broker.list("q", "waiting", 0, 10), []);
    const ended: string[] = [];
    await scene.consume(async ({ body }) => {
      if (body === '"waits"') await gate.opened;
      return body === '"fails"' ? failed() : done();
    });
    for (const body of ["1", '"fails"', "2"]) {
      const { id, endedAt = 0 } = await scene.end(await scene.add({ body }));
      ended.push(id);
      // Of those that end in one millisecond nobody can tell which was the first.
      await until(() => Date.now() > endedAt);
    }
    const active = await scene.add({ body: '"waits"' });
    await until(async () => (await scene.state(active)) === "active");
    const waiting = [await scene.add({ priority: 5 }), await scene.add(), await scene.add({ priority: 1 })];
    const delayed = await scene.add({ runAt: Date.now() + 60_000 });
    const blocked = await scene.add({ children: [job({ queue: "other" })] });
    const expected = { waiting: 3, delayed: 1, blocked: 1, active: 1, done: 2, failed: 1, isPaused: false };
    assert.deepEqual(await scene.broker.counts("q"), expected);
    const ids = async (state: JobState, from = 0, limit = 10) =>
      (await scene.broker.list("q", state, from, limit)).map(({ id }) => id);
    assert.deepEqual(await ids("waiting"), [...waiting].reverse());
    assert.deepEqual(await ids("waiting", 1, 1), [waiting[1]]);
    assert.deepEqual(await ids("waiting", 3, 1), []);
    assert.deepEqual(await ids("done"), [ended[2], ended[0]]);
    assert.deepEqual(await ids("failed"), [ended[1]]);
    assert.deepEqual(
      [await ids("active"), await ids("delayed"), await ids("blocked")],
      [[active], [delayed], [blocked]],
    );
    assert.deepEqual(await scene.broker.queues(), ["other", "q"]);
    gate.open();
  });

  prove("a paused queue gives nothing out until it is resumed, and what runs goes on", async (scene) => {
    const gate = new Gate();
    const running = await scene.add();
    await scene.consume(async ({ id }) => {
      if (id === running) await gate.opened;
      return done();
    });
    await until(async () => (await scene.state(running)) === "active");
    await scene.broker.pause("q");
    await scene.broker.pause("q");
    const [waits, delayed] = [await scene.add(), await scene.add({ runAt: Date.now() + 20 })];
    gate.open();
    await scene.end(running);
    await scene.end(await proof(scene));
    assert.equal(await scene.state(waits), "waiting");
    assert.equal((await scene.broker.counts("q")).isPaused, true);
    await scene.broker.resume("q");
    await scene.broker.resume("q");
    await scene.end(waits);
    await scene.end(delayed);
    assert.equal((await scene.broker.counts("q")).isPaused, false);
  });

  prove("who waits for an end hears it, whether it is done, failed, cancelled or removed", async (scene) => {
    const ids = await Promise.all(
      ["1", "2", "3", "4"].map((body) => scene.add({ body, queue: body === "4" ? "w" : "q" })),
    );
    const heard = new Map<string, number>();
    for (const id of ids) {
      await scene.broker.follow(id, { changed: () => heard.set(id, (heard.get(id) ?? 0) + 1) });
      await scene.broker.follow(id, { changed: () => heard.set(`${id}+`, 1) });
    }
    const silent = await scene.broker.follow(ids[0] ?? "", { changed: () => heard.set("silent", 1) });
    silent();
    silent();
    assert.equal(heard.size, 0);
    await scene.broker.cancel(ids[2] ?? "");
    await scene.consume(async ({ body }) => (body === "1" ? done() : failed()));
    await scene.broker.remove(ids[3] ?? "");
    await until(() => heard.size === 8);
    assert.equal(heard.has("silent"), false);
    for (const id of ids.slice(0, 3)) await scene.end(id);
  });

  prove("who waits for an end and looks misses none, however close it is", async (scene) => {
    await scene.consume(async () => done(), "q", 10);
    const wait = async () => {
      const id = await scene.add();
      let hear = () => {};
      const heard = new Promise<void>((resolve) => {
        hear = resolve;
      });
      const stop = await scene.broker.follow(id, { changed: hear });
      if ((await scene.state(id)) !== "done") await heard;
      stop();
      assert.equal(await scene.state(id), "done");
    };
    for (let i = 0; i < 20; i++) await Promise.all(Array.from({ length: 10 }, wait));
  });

  prove(
    "who follows a job hears its progress in order, and that it waits for another attempt",
    async (scene) => {
      const id = await scene.add();
      const heard: string[] = [];
      const follower = {
        changed: () => {
          heard.push("changed");
        },
        progress: (json: string) => {
          heard.push(json);
        },
      };
      const stop = await scene.broker.follow(id, follower);
      const deaf = await scene.broker.follow(id, { ...follower });
      deaf();
      const kept: (string | undefined)[] = [];
      await scene.consume(async ({ attempt, setProgress }) => {
        for (const text of [`"${attempt} ä\u2028"`, `${attempt}.5`]) await setProgress(text);
        kept.push((await scene.broker.find(id))?.progress);
        return attempt === 1 ? { kind: "retry", afterMs: 0, error: '"again"' } : done();
      });
      await scene.end(id);
      await until(() => heard.filter((text) => text === "changed").length >= 2);
      const told = ['"1 ä\u2028"', "1.5", "changed", '"2 ä\u2028"', "2.5", "changed"];
      assert.deepEqual(heard.slice(0, 6), told);
      assert.deepEqual(kept, ["1.5", "2.5"]);
      stop();
      const next = await scene.add();
      await scene.end(next);
      assert.ok(heard.slice(6).every((text) => text === "changed"));
    },
  );

  prove("workers are seen as they reported last, until they say goodbye", async (scene) => {
    const report = (worker: string, active: readonly string[]): WorkerReport => ({
      ...{ worker, host: "h", pid: 7, version: "1", startedAt: 5, queues: { q: 2 }, active },
      ...{ done: 1, failed: 2, retried: 3, memoryBytes: 4 },
    });
    await scene.broker.report(report("a", []));
    await scene.broker.report(report("a", ["q.1"]));
    await scene.broker.report(report("b", []));
    const seen = [...(await scene.broker.workers())].sort((a, b) => (a.worker < b.worker ? -1 : 1));
    for (const { ageMs } of seen) assert.ok(ageMs >= 0 && ageMs < 30_000);
    assert.deepEqual(
      seen.map(({ ageMs, ...rest }) => rest),
      [report("a", ["q.1"]), report("b", [])],
    );
    await scene.broker.unreport("a");
    assert.deepEqual(
      (await scene.broker.workers()).map(({ worker }) => worker),
      ["b"],
    );
  });

  // ---- rates and schedules ------------------------------------------------------------------------

  prove("a rate lets so many start at once, and each further one later", async ({ broker }) => {
    const waits: number[] = [];
    const startedAt = Date.now();
    for (let i = 0; i < 9; i++) waits.push(await broker.reserve("mail", 3, 30_000));
    const spentMs = Date.now() - startedAt + 50;
    for (const [i, wait] of waits.entries()) {
      const due = Math.max(i - 2, 0) * 10_000;
      assert.ok(wait <= due && wait >= due - spentMs, `start ${i}: ${wait} ms`);
    }
    assert.equal(await broker.reserve("other", 1, 30_000), 0);
    const wait = await broker.reserve("other", 1, 30_000);
    assert.ok(wait > 30_000 - spentMs && wait <= 30_000);
  });

  prove("a rate is given back as time passes", async ({ broker }) => {
    assert.equal(await broker.reserve("r", 1, 60), 0);
    const wait = await broker.reserve("r", 1, 60);
    assert.ok(wait > 0 && wait <= 60);
    const restedAt = Date.now() + wait + 65;
    await until(() => Date.now() > restedAt);
    assert.equal(await broker.reserve("r", 1, 60), 0);
  });

  prove("each moment of a schedule has its turn once, whoever asks for it", async (scene, join) => {
    const brokers = [scene.broker];
    if (isShared) for (let i = 0; i < 2; i++) brokers.push((await join()).broker);
    const at = Date.now();
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, i) => {
        const moment = at + Math.floor(i / 12) * 1_000;
        return (brokers[i % brokers.length] as TaskBroker).tick(
          "nightly",
          moment,
          job({ body: `${moment}` }),
        );
      }),
    );
    assert.equal(await scene.broker.tick("nightly", at, job()), false, "an earlier one comes too late");
    const added = (await scene.broker.list("q", "waiting", 0, 100)).map(({ body }) => Number(body));
    assert.equal(new Set(added).size, added.length);
    assert.equal(answers.filter(Boolean).length, added.length);
    assert.ok(added.includes(at + 4_000));
    const last = (await scene.broker.ticks()).get("nightly");
    assert.equal(last?.at, at + 4_000);
    assert.equal((await scene.broker.find(last?.job ?? ""))?.body, `${at + 4_000}`);
    assert.equal(await scene.broker.tick("hourly: é", at, job()), true);
    assert.deepEqual([...(await scene.broker.ticks()).keys()].sort(), ["hourly: é", "nightly"]);
    await scene.broker.forgetSchedule("nightly");
    assert.deepEqual([...(await scene.broker.ticks()).keys()], ["hourly: é"]);
    assert.equal(await scene.broker.tick("nightly", at, job()), true);
  });

  prove("a moment whose job is merged has had its turn, too", async ({ broker }) => {
    const first = job({ key: "k" });
    await broker.add(first);
    assert.equal(await broker.tick("s", 1_000, job({ key: "k" })), false);
    assert.deepEqual((await broker.ticks()).get("s"), { at: 1_000, job: first.id });
    assert.equal(await broker.tick("s", 1_000, job()), false);
    const parent = job({ children: [job({ queue: "other" })] });
    assert.equal(await broker.tick("s", 2_000, parent), true);
    assert.equal((await broker.counts("q")).blocked, 1);
  });

  // ---- workers that come and go -------------------------------------------------------------------

  prove("who stops takes no more, and has stopped when nothing runs", async (scene) => {
    const gate = new Gate();
    const [running, waiting] = [await scene.add(), await scene.add()];
    const consumption = await scene.consume(async () => {
      await gate.opened;
      return done();
    });
    await until(() => consumption.active === 1);
    let hasStopped = false;
    const stopped = consumption.stop().then(() => {
      hasStopped = true;
    });
    await scene.end(await proof(scene));
    assert.equal(hasStopped, false);
    gate.open();
    await stopped;
    await consumption.stop();
    assert.deepEqual([await scene.state(running), await scene.state(waiting)], ["done", "waiting"]);
    assert.equal(consumption.active, 0);
    await scene.end(await proof(scene));
    assert.equal(await scene.state(waiting), "waiting");
  });

  prove("who closes ends what it can, aborts what is left as lost, and then refuses", async (scene, join) => {
    const gate = new Gate();
    const [quick, slow] = [await scene.add({ body: '"quick"' }), await scene.add({ body: '"slow"' })];
    const late: unknown[] = [];
    await scene.consume(
      async ({ body, signal, setProgress }) => {
        if (body === '"quick"') {
          await gate.opened;
          return done();
        }
        await aborted(signal);
        late.push(signal.reason);
        await setProgress('"too late"').catch(() => {});
        return done('"too late"');
      },
      "q",
      2,
    );
    for (const id of [quick, slow]) await until(async () => (await scene.state(id)) === "active");
    const closing = scene.broker.close(300);
    gate.open();
    await closing;
    await scene.broker.close(300);
    assert.deepEqual(late, ["lost"]);
    await assert.rejects(scene.broker.add(job()), { code: "layer_unavailable" });
    await assert.rejects(scene.broker.find(slow), { code: "layer_unavailable" });
    await assert.rejects(scene.broker.follow(slow, { changed() {} }), { code: "layer_unavailable" });
    if (!isShared) return;
    const other = await join();
    assert.equal(await other.state(quick), "done");
    const { state, attempt, progress } = (await other.broker.find(slow)) as JobRecord;
    assert.deepEqual([state, attempt, progress], ["waiting", 0, undefined], "handed back at once");
    await other.consume(async ({ attempt }) => done(`${attempt}`));
    assert.equal((await other.end(slow)).result, "1");
  });

  prove("two thousand jobs through two workers: each once, none lost", async (scene, join) => {
    const other = isShared ? await join() : scene;
    const jobs = Array.from({ length: 2_000 }, (_, i) =>
      job({ body: `${i}`, priority: ((i % 5) + 1) as JobPriority }),
    );
    const runs = new Map<string, number>();
    const by = new Set<Scene | string>();
    const handler =
      (who: string): JobHandler =>
      async ({ id }) => {
        runs.set(id, (runs.get(id) ?? 0) + 1);
        by.add(who);
        await new Promise((resolve) => setImmediate(resolve));
        return done();
      };
    await scene.consume(handler("one"), "q", 10);
    await other.consume(handler("two"), "q", 10);
    for (let i = 0; i < 2_000; i += 500) await scene.broker.addAll(jobs.slice(i, i + 500));
    await until(async () => (await scene.broker.counts("q")).done === 2_000, 60_000);
    assert.equal(runs.size, 2_000);
    assert.deepEqual([...new Set(runs.values())], [1]);
    assert.equal(by.size, 2);
    assert.deepEqual([scene.stalled, other.stalled], [[], []]);
  });

  if (isShared) {
    prove("brokers of the same jobs see each other's, and cancel and wait across", async (one, join) => {
      const two = await join();
      const [waiting, running] = [await one.add({ queue: "idle" }), await one.add()];
      assert.equal(await two.state(waiting), "waiting");
      assert.deepEqual(await two.broker.queues(), ["idle", "q"]);
      await two.consume(async ({ signal, setProgress }) => {
        await setProgress("1");
        await aborted(signal);
        return failed(`"${signal.reason}"`);
      });
      await until(async () => (await one.broker.find(running))?.progress === "1");
      let isHeard = false;
      await one.broker.follow(running, {
        changed() {
          isHeard = true;
        },
      });
      await one.broker.cancel(running);
      await until(() => isHeard);
      assert.equal((await one.end(running)).error, '"cancelled"');
      await two.broker.pause("idle");
      assert.equal((await one.broker.counts("idle")).isPaused, true);
      assert.equal(await one.broker.reserve("r", 1, 60_000), 0);
      assert.ok((await two.broker.reserve("r", 1, 60_000)) > 0);
    });
  }
}
