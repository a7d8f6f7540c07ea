/** Tasks whose work is done in a thread. */
import { afterAll, expect, test } from "@jest/globals";
import { createApplication } from "sluice";
import { MemoryBroker, Tasks, task } from "sluice/tasks";
import { inThread } from "sluice/threads";
import { atEnd, until } from "../server/live-server.ts";

const heavy = inThread<typeof import("./heavy.mjs")>(new URL("./heavy.mjs", import.meta.url), {
  threads: 2,
});
afterAll(() => heavy.close());

const stepwise = task("stepwise", { progressMs: 1 }, heavy.task("stepwise"));
const limited = task("limited", { timeLimitMs: 200 }, heavy.task("endless"));
const endless = task("endless", heavy.task("endless"));

async function start(): Promise<Tasks> {
  const tasks = new Tasks({ tasks: [stepwise, limited, endless], broker: new MemoryBroker() });
  const app = createApplication({ routes: [], parts: [tasks] });
  await app.start();
  atEnd(() => app.stop({ withinMs: 200 }));
  return tasks;
}

test("its arguments and result are typed, its reports are the run's progress", async () => {
  await start();
  const handle = await stepwise.enqueue({ steps: 3 });
  expect(await handle.result({ timeoutMs: 20_000 })).toEqual({ steps: 3, isMainThread: false });
  expect((await handle.status()).progress).toEqual({ done: 2, total: 3, note: "step 2" });
});

test("a time limit ends what never looks, and the next has its thread again", async () => {
  await start();
  const stuck = await limited.enqueue();
  await expect(stuck.result({ timeoutMs: 20_000 })).rejects.toMatchObject({ code: "time_limit" });
  expect(await (await stepwise.enqueue({ steps: 1 })).result({ timeoutMs: 20_000 })).toMatchObject({
    steps: 1,
  });
});

test("cancelling ends what never looks", async () => {
  const tasks = await start();
  const handle = await endless.enqueue();
  let done = 0;
  tasks.signals.progress.connect((fact) => {
    done = fact.done;
  });
  await until(() => done === 1, "it is under way");
  await handle.cancel();
  await expect(handle.result({ timeoutMs: 20_000 })).rejects.toMatchObject({ code: "cancelled" });
  expect(heavy.pool.counts.running).toBe(0);
});
