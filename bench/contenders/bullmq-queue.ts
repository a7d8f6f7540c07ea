/** Plain BullMQ on the same client, which keeps what has ended for as long. */
import { Queue, QueueEvents, Worker } from "bullmq";
import { createClient } from "redis";
import { BODY, KEEP_MS, serveTasks } from "./task-broker.ts";

/** @param priority - none: jobs go through BullMQ's plain list, which is cheaper */
export function serveBullMq(priority: number | undefined): void {
  let queue: Queue;
  let url = "";
  let events: QueueEvents | undefined;
  const age = KEEP_MS / 1000;
  const kept = { removeOnComplete: { age }, removeOnFail: { age } };
  const options = { ...kept, ...(priority === undefined ? {} : { priority }) };
  const connection = () => createClient({ url });

  serveTasks({
    async open(redisUrl) {
      url = redisUrl;
      queue = new Queue("q", { connection: connection() });
      await queue.waitUntilReady();
    },
    add: () => queue.add("t", JSON.parse(BODY), options),
    addMany: (count) =>
      queue.addBulk(
        Array.from({ length: count }, () => ({ name: "t", data: JSON.parse(BODY), opts: options })),
      ),
    async watch(id, heard) {
      events ??= new QueueEvents("q", { connection: connection(), lastEventId: "0" });
      const stream = events;
      await stream.waitUntilReady();
      const hear = ({ jobId }: { readonly jobId: string }) => jobId === id && heard();
      stream.on("progress", hear);
      return () => void stream.off("progress", hear);
    },
    async work(concurrency, run) {
      const worker = new Worker(
        "q",
        async (job) => {
          await run({ id: job.id ?? "", progress: (done) => job.updateProgress({ done }) });
          return null;
        },
        { connection: connection(), concurrency },
      );
      worker.on("error", console.error);
      await worker.waitUntilReady();
      return () => worker.close();
    },
  });
}
