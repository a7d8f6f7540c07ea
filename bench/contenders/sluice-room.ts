/** The same broker below what applications use: tasks with validation, signals, limits and watchers. */

import { type ConsumeOptions, createApplication, type JobHandler } from "../../src/index.ts";
import { RedisBackplane } from "../../src/redis/index.ts";
import { Tasks, task } from "../../src/tasks/index.ts";
import { RedisBroker } from "../../src/tasks/redis-broker.ts";
import { WatchedRuns } from "../../src/tasks/watched-runs.ts";
import { BODY, KEEP_MS, type RunningJob, serveTasks } from "./task-broker.ts";

const SECRET = "only for measuring, so everybody may know it";
const args = JSON.parse(BODY) as { readonly text: string };
let run: (job: RunningJob) => Promise<void>;
let url: string;
let tasks: Tasks;
let watched: WatchedRuns;
const kept = new Map<string, () => void>();

const work = task("t", { queue: "q", keepMs: KEEP_MS, progressMs: 1 }, async (_args: typeof args, of) => {
  const progress = (done: number) =>
    new Promise<void>((resolve) => {
      kept.set(of.id, resolve);
      of.progress(done, 100);
    });
  await run({ id: of.id, progress });
});

/** Says when progress is kept; the room itself has nobody wait for that. */
class TellingBroker extends RedisBroker {
  override consume(queue: string, options: ConsumeOptions, handler: JobHandler) {
    return super.consume(queue, options, (job) =>
      handler({
        ...job,
        async setProgress(json) {
          await job.setProgress(json);
          kept.get(job.id)?.();
          kept.delete(job.id);
        },
      }),
    );
  }
}

async function open(queues: Readonly<Record<string, number>>) {
  const broker = new TellingBroker({ url });
  tasks = new Tasks({ tasks: [work], broker, queues });
  const app = createApplication({
    routes: [],
    parts: [tasks],
    secret: SECRET,
    backplane: new RedisBackplane({ url }),
  });
  await app.start();
  return app;
}

serveTasks({
  async open(redisUrl) {
    url = redisUrl;
    await open({});
    watched = new WatchedRuns(tasks.broker, 5_000);
  },
  add: () => tasks.enqueue(work, args),
  addMany: (count) => Promise.all(Array.from({ length: count }, () => tasks.enqueue(work, args))),
  watch: (id, heard) => watched.watch(id, ({ progress }) => progress !== undefined && heard()),
  async work(concurrency, runs) {
    run = runs;
    const idle = tasks;
    const app = await open({ q: concurrency });
    tasks = idle;
    return () => app.stop({ withinMs: 1_000 });
  },
});
