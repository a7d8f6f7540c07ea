/** The Redis broker, with its defaults. */
import { randomBytes } from "node:crypto";
import { RedisBroker } from "../../src/tasks/redis-broker.ts";
import { BODY, KEEP_MS, serveTasks } from "./task-broker.ts";

let broker: RedisBroker;

function job() {
  const id = `q.${randomBytes(12).toString("hex")}`;
  return { id, queue: "q", task: "t", body: BODY, priority: 3, runAt: 0, keepMs: KEEP_MS } as const;
}

serveTasks({
  async open(url) {
    broker = new RedisBroker({ url });
    await broker.open({ down() {}, up() {}, failed: console.error, stalled: console.error });
  },
  add: () => broker.add(job()),
  addMany: (count) => broker.addAll(Array.from({ length: count }, job)),
  watch: (id, heard) => broker.follow(id, { changed() {}, progress: heard }),
  async work(concurrency, run) {
    const consumption = await broker.consume("q", { concurrency }, async (job) => {
      await run({ id: job.id, progress: (done) => job.setProgress(JSON.stringify({ done })) });
      return { kind: "done", result: "null" };
    });
    return () => consumption.stop();
  },
});
