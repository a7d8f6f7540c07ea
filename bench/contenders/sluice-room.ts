/** The same broker below what applications use: tasks with validation, signals, limits and watchers. */

import { RedisHistory } from "../../src/history/index.ts";
import { createApplication } from "../../src/index.ts";
import { RedisBackplane } from "../../src/redis/index.ts";
import { Tasks, task } from "../../src/tasks/index.ts";
import { RedisBroker } from "../../src/tasks/redis-broker.ts";
import { BODY, KEEP_MS, type RunningJob, serveTasks } from "./task-broker.ts";

const SECRET = "only for measuring, so everybody may know it";
const args = JSON.parse(BODY) as { readonly text: string };
let run: (job: RunningJob) => Promise<void>;
let url: string;
let tasks: Tasks;

const work = task("t", { queue: "q", keepMs: KEEP_MS, progressMs: 1 }, async (_args: typeof args, of) => {
  await run({
    // Resolved when it is kept and told; the room itself has nobody wait for that.
    progress: async (done) => {
      const told = new Promise<void>((resolve) => {
        const { groupSend } = of.layer;
        of.layer.groupSend = async (...message) => {
          of.layer.groupSend = groupSend;
          await groupSend.apply(of.layer, message);
          resolve();
        };
      });
      of.progress(done, 100);
      await told;
    },
  });
});

async function open(queues: Readonly<Record<string, number>>) {
  tasks = new Tasks({ tasks: [work], broker: new RedisBroker({ url }), queues });
  const app = createApplication({
    routes: [],
    parts: [tasks],
    secret: SECRET,
    backplane: new RedisBackplane({ url }),
    history: new RedisHistory({ url }),
  });
  await app.start();
  return app;
}

serveTasks({
  async open(redisUrl) {
    url = redisUrl;
    await open({});
  },
  add: () => tasks.enqueue(work, args),
  addMany: (count) => Promise.all(Array.from({ length: count }, () => tasks.enqueue(work, args))),
  async work(concurrency, runs) {
    run = runs;
    const idle = tasks;
    const app = await open({ q: concurrency });
    tasks = idle;
    return () => app.stop({ withinMs: 1_000 });
  },
});
