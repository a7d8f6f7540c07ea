/** What every task broker promises of single jobs. */
import assert from "node:assert/strict";
import type { Delivery, JobHandler, JobPriority, JobRecord } from "../index.ts";
import { done, failed, Gate, job, KEEP_MS, type Prove, until } from "./broker-scene.ts";

export function proveJobs(prove: Prove): void {
  // ---- a job, from its beginning to its end -------------------------------------------------------

  prove("what was added waits, runs, and is kept with what it ended with", async (scene) => {
    const before = Date.now();
    const added = job({ task: "mail.send", body: '{"to":"ann"}', priority: 2 });
    assert.deepEqual(await scene.broker.add(added), { id: added.id, isMerged: false });
    const waiting = (await scene.broker.find(added.id)) as JobRecord;
    assert.ok(waiting.addedAt >= before - 1_000 && waiting.addedAt <= Date.now() + 1_000);
    const { addedAt } = waiting;
    const known = { id: added.id, queue: "q", task: "mail.send", body: '{"to":"ann"}', priority: 2 };
    const record = { ...known, isCancelled: false, addedAt, runAt: 0 };
    assert.deepEqual(waiting, { ...record, state: "waiting", attempt: 0 });
    let seen: Delivery | undefined;
    await scene.consume(async (delivery) => {
      seen = delivery;
      assert.equal((await scene.broker.find(added.id))?.state, "active");
      return done('{"sent":true}');
    });
    const { startedAt = 0, endedAt = 0, ...ended } = await scene.end(added.id);
    assert.deepEqual(ended, { ...record, state: "done", attempt: 1, result: '{"sent":true}' });
    assert.ok(addedAt <= startedAt && startedAt <= endedAt);
    assert.deepEqual([seen?.id, seen?.body, seen?.task], [added.id, '{"to":"ann"}', "mail.send"]);
    assert.deepEqual([seen?.attempt, seen?.state, seen?.isCancelled], [1, "active", false]);
    assert.deepEqual(await seen?.childOutcomes(), []);
  });

  prove("one that failed is kept with its error", async (scene) => {
    const id = await scene.add();
    await scene.consume(async () => failed('{"code":"boom"}'));
    const { state, attempt, error, result } = await scene.end(id);
    assert.deepEqual([state, attempt, error, result], ["failed", 1, '{"code":"boom"}', undefined]);
  });

  prove("a handler that throws fails its job, and is told of", async (scene) => {
    const id = await scene.add();
    const fault = new Error("oh no");
    await scene.consume(async () => {
      throw fault;
    });
    const { state, error = "" } = await scene.end(id);
    assert.equal(state, "failed");
    assert.deepEqual(JSON.parse(error), { code: "internal", message: "oh no" });
    assert.deepEqual(scene.faults, [fault]);
  });

  prove("bodies, results and progress keep every character, and a megabyte of them", async (scene) => {
    const texts = [
      '"é😀\\u0000\\ud800 \u2028\u0000\r\n"',
      '"%s %1 {}[]"',
      "1e400",
      "",
      JSON.stringify("ü".repeat(500_000)),
    ];
    const ids: string[] = [];
    for (const body of texts) ids.push(await scene.add({ body }));
    const seen: string[] = [];
    await scene.consume(async ({ body, setProgress }) => {
      seen.push(body);
      await setProgress(body);
      return done(body);
    });
    for (const [i, id] of ids.entries()) {
      const { body, result, progress } = await scene.end(id);
      assert.ok(body === texts[i] && result === texts[i] && progress === texts[i], `text ${i}`);
    }
    assert.ok(seen.every((text, i) => text === texts[i]));
  });

  prove("progress is what was kept last, and stays when the job has ended", async (scene) => {
    const id = await scene.add();
    await scene.consume(async ({ setProgress }) => {
      await setProgress('{"done":1}');
      assert.equal((await scene.broker.find(id))?.progress, '{"done":1}');
      await setProgress('{"done":2}');
      return done();
    });
    assert.equal((await scene.end(id)).progress, '{"done":2}');
  });

  prove("nobody knows a job that was never added", async ({ broker }) => {
    for (const id of ["q.nobody", "", "q", "q.a:lock", "nonsense with spaces", "q.".padEnd(10_000, "x")]) {
      assert.equal(await broker.find(id), undefined);
      assert.equal(await broker.cancel(id), false);
      assert.equal(await broker.runAgain(id), false);
      assert.equal(await broker.remove(id), false);
    }
  });

  prove("what has ended is forgotten when its time is over", async (scene) => {
    const [short, long] = [await scene.add({ keepMs: 40 }), await scene.add()];
    const lost = await scene.add({ keepMs: 40 });
    await scene.consume(async ({ id }) => (id === lost ? failed() : done()));
    await scene.end(long);
    await until(async () => (await scene.broker.find(short)) === undefined);
    await until(async () => (await scene.broker.find(lost)) === undefined);
    assert.equal(await scene.state(long), "done");
    const { done: kept, failed: keptFailed } = await scene.broker.counts("q");
    assert.deepEqual([kept, keptFailed], [1, 0]);
    assert.equal((await scene.broker.list("q", "done", 0, 10)).length, 1);
    assert.deepEqual(await scene.broker.list("q", "failed", 0, 10), []);
    // Whoever asks for the same again gets a new one.
    assert.deepEqual(await scene.broker.add(job({ id: short })), { id: short, isMerged: false });
  });

  // ---- order --------------------------------------------------------------------------------------

  prove("the more urgent go first, and those of the same priority in turn", async (scene) => {
    const priorities: JobPriority[] = [3, 5, 1, 4, 2, 3, 1, 5, 2, 4, 3];
    for (const [i, priority] of priorities.entries()) await scene.add({ priority, body: `${priority}${i}` });
    const expected = priorities
      .map((priority, i) => `${priority}${i}`)
      .sort((a, b) => (a[0] === b[0] ? 0 : a < b ? -1 : 1));
    assert.deepEqual(await scene.order(priorities.length), expected);
  });

  prove("jobs that are added together keep their order", async (scene) => {
    const jobs = Array.from({ length: 1_200 }, (_, i) => job({ body: `${i}` }));
    const added = await scene.broker.addAll(jobs);
    assert.deepEqual(
      added,
      jobs.map(({ id }) => ({ id, isMerged: false })),
    );
    const bodies = jobs.map(({ body }) => body);
    assert.deepEqual(
      (await scene.broker.list("q", "waiting", 0, 1_000)).map(({ body }) => body),
      bodies.slice(0, 1_000),
    );
    assert.deepEqual(
      (await scene.broker.list("q", "waiting", 1_100, 500)).map(({ body }) => body),
      bodies.slice(1_100),
    );
    assert.deepEqual(await scene.order(1_200), bodies);
    assert.equal((await scene.broker.addAll([])).length, 0);
  });

  prove("queues do not wait for each other, each runs as many at once as it is told", async (scene) => {
    const running = { a: 0, b: 0 };
    const most = { a: 0, b: 0 };
    const gate = new Gate();
    const handler: JobHandler = async ({ queue }) => {
      running[queue as "a"] += 1;
      most[queue as "a"] = Math.max(most[queue as "a"], running[queue as "a"]);
      await gate.opened;
      running[queue as "a"] -= 1;
      return done();
    };
    const ids: string[] = [];
    for (let i = 0; i < 6; i++) for (const queue of ["a", "b"]) ids.push(await scene.add({ queue }));
    const a = await scene.consume(handler, "a", 1);
    const b = await scene.consume(handler, "b", 4);
    await until(() => running.a === 1 && running.b === 4);
    assert.deepEqual([a.active, b.active], [1, 4]);
    gate.open();
    for (const id of ids) await scene.end(id);
    assert.deepEqual(most, { a: 1, b: 4 });
    assert.deepEqual(await scene.broker.queues(), ["a", "b"]);
  });

  prove("a delayed job does not run before its time, nor is it in the way", async (scene) => {
    const runAt = Date.now() + 150;
    const late = await scene.add({ runAt, priority: 1 });
    const later = await scene.add({ runAt: Date.now() + KEEP_MS });
    const now = await scene.add();
    assert.deepEqual(await Promise.all([late, now].map((id) => scene.state(id))), ["delayed", "waiting"]);
    const listed = await scene.broker.list("q", "delayed", 0, 10);
    assert.deepEqual(
      listed.map(({ id }) => id),
      [late, later],
    );
    await scene.consume(async () => done());
    await scene.end(now);
    const record = await scene.end(late);
    assert.equal(record.runAt, runAt);
    assert.ok(
      (record.startedAt ?? 0) >= runAt - 2,
      `it began ${runAt - (record.startedAt ?? 0)} ms too early`,
    );
    assert.equal(await scene.state(later), "delayed");
  });

  prove(
    "whoever takes jobs hears of one that comes later, and of a delayed one that is added",
    async (scene) => {
      await scene.consume(async () => done());
      await scene.end(await scene.add());
      await scene.end(await scene.add({ runAt: Date.now() + 30 }));
      await scene.end(await scene.add());
    },
  );

  // ---- retries ------------------------------------------------------------------------------------

  prove("another attempt comes after its time, with its number and the last error", async (scene) => {
    const id = await scene.add();
    const attempts: (readonly [number, string | undefined, number])[] = [];
    await scene.consume(async ({ attempt, error }) => {
      attempts.push([attempt, error, Date.now()]);
      if (attempt === 3) return done('"third"');
      return { kind: "retry", afterMs: attempt === 1 ? 60 : 0, error: `{"at":${attempt}}` };
    });
    const { state, attempt, result, error } = await scene.end(id);
    assert.deepEqual([state, attempt, result, error], ["done", 3, '"third"', undefined]);
    assert.deepEqual(
      attempts.map(([number, before]) => [number, before]),
      [
        [1, undefined],
        [2, '{"at":1}'],
        [3, '{"at":2}'],
      ],
    );
    assert.ok((attempts[1]?.[2] ?? 0) - (attempts[0]?.[2] ?? 0) >= 57);
  });

  prove("between attempts it is delayed, and shows when it comes and why", async (scene) => {
    const id = await scene.add();
    const before = Date.now();
    await scene.consume(async () => ({ kind: "retry", afterMs: 30_000, error: '{"code":"again"}' }));
    await until(async () => (await scene.state(id)) === "delayed");
    const { attempt, error, runAt } = (await scene.broker.find(id)) as JobRecord;
    assert.deepEqual([attempt, error], [1, '{"code":"again"}']);
    assert.ok(runAt >= before + 29_900 && runAt <= Date.now() + 30_100);
  });

  prove("later is no attempt, and may have another body", async (scene) => {
    const id = await scene.add({ body: '"a"' });
    const seen: unknown[] = [];
    await scene.consume(async ({ attempt, body }) => {
      seen.push([attempt, body]);
      if (seen.length === 1) return { kind: "later", afterMs: 20 };
      if (seen.length === 2) return { kind: "later", afterMs: 0, body: '"b"' };
      return done();
    });
    const { attempt, body } = await scene.end(id);
    assert.deepEqual(seen, [
      [1, '"a"'],
      [1, '"a"'],
      [1, '"b"'],
    ]);
    assert.deepEqual([attempt, body], [1, '"b"']);
  });

  // ---- merging ------------------------------------------------------------------------------------

  prove("an id that is known is not added again, whatever became of it", async (scene) => {
    const first = job({ body: '"first"' });
    await scene.broker.add(first);
    const again = { ...first, body: '"second"' };
    assert.deepEqual(await scene.broker.add(again), { id: first.id, isMerged: true });
    const other = job();
    assert.deepEqual(await scene.broker.addAll([again, other, other]), [
      { id: first.id, isMerged: true },
      { id: other.id, isMerged: false },
      { id: other.id, isMerged: true },
    ]);
    let runs = 0;
    await scene.consume(async () => {
      runs += 1;
      return done();
    });
    assert.equal((await scene.end(first.id)).body, '"first"');
    await scene.end(other.id);
    assert.deepEqual(await scene.broker.add(again), { id: first.id, isMerged: true });
    await scene.end(await scene.add());
    assert.equal(runs, 3);
  });

  prove("of one key there is one job until it has ended, through retries and later", async (scene) => {
    const key = 'any "key": é {1}';
    const first = await scene.add({ key });
    const merges = async () => (await scene.broker.add(job({ key, runAt: Date.now() + 10_000 }))).isMerged;
    assert.deepEqual(await scene.broker.add(job({ key })), { id: first, isMerged: true });
    const other = await scene.broker.add(job({ key, queue: "other" }));
    assert.equal(other.isMerged, false, "another queue has keys of its own");
    const merged: boolean[] = [];
    let runs = 0;
    await scene.consume(async () => {
      merged.push(await merges());
      runs += 1;
      if (runs === 1) return { kind: "retry", afterMs: 40, error: "1" };
      if (runs === 2) return { kind: "later", afterMs: 40 };
      return runs === 3 ? failed() : done();
    });
    await until(async () => (await scene.state(first)) === "delayed");
    merged.push(await merges());
    await scene.end(first);
    assert.deepEqual([...new Set(merged)], [true]);
    const second = await scene.broker.add(job({ key }));
    assert.equal(second.isMerged, false);
    await scene.end(second.id);
    const third = await scene.broker.add(job({ key, runAt: Date.now() + 60_000 }));
    assert.equal(third.isMerged, false);
    assert.equal(await scene.broker.remove(third.id), true);
    assert.equal((await scene.broker.add(job({ key }))).isMerged, false);
  });

  prove("a cancelled job holds its key until a worker has ended it", async (scene) => {
    const first = await scene.add({ key: "k" });
    await scene.broker.cancel(first);
    assert.equal((await scene.broker.add(job({ key: "k" }))).isMerged, true);
    await scene.consume(async ({ isCancelled }) => (isCancelled ? failed() : done()));
    await scene.end(first);
    assert.equal((await scene.broker.add(job({ key: "k" }))).isMerged, false);
  });
}
