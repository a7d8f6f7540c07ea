/** What all contenders with background jobs have in common: who adds and who runs, in one process. */
import { createClient } from "redis";
import { serve } from "../child.ts";
import type { JobsOrder, TaskVerbs } from "../protocol.ts";
import { spread } from "../statistics.ts";

/** What a job takes with it: 100 bytes of JSON. */
export const BODY = JSON.stringify({ text: "x".repeat(100 - '{"text":""}'.length) });
/** How long what has ended is kept. */
export const KEEP_MS = 3_600_000;

/** One running job, as its worker sees it. */
export interface RunningJob {
  progress(done: number): Promise<void>;
}

export interface TaskContender {
  open(redisUrl: string): Promise<void>;
  add(): Promise<unknown>;
  addMany(count: number): Promise<unknown>;
  /** Runs what waits, until it is told to stop. */
  work(concurrency: number, run: (job: RunningJob) => Promise<void>): Promise<() => Promise<void>>;
}

/** Makes this process a contender. */
export function serveTasks(contender: TaskContender): void {
  let url = "";

  const verbs: Omit<TaskVerbs, "usage"> = {
    async start({ redisUrl }) {
      url = redisUrl;
      await contender.open(redisUrl);
    },

    async add({ count, atOnce }: JobsOrder) {
      let left = count;
      const some = async () => {
        while (left > 0) {
          left -= 1;
          await contender.add();
        }
      };
      await Promise.all(Array.from({ length: atOnce }, some));
    },

    async addMany({ count, atOnce }: JobsOrder) {
      for (let i = 0; i < count; i += atOnce) await contender.addMany(Math.min(atOnce, count - i));
    },

    async run({ count, atOnce }: JobsOrder) {
      let left = count;
      let done = () => {};
      const all = new Promise<void>((resolve) => {
        done = resolve;
      });
      const stop = await contender.work(atOnce, async () => {
        left -= 1;
        if (left === 0) done();
      });
      await all;
      await stop();
    },

    async latency({ count }) {
      const [starts, progresses]: number[][] = [[], []];
      let began = (_job: RunningJob) => {};
      // Progress is a pass of its own: telling it may go on when the next job is added.
      let isTelling = false;
      const stop = await contender.work(1, async (job) => began(job));
      for (let i = 0; i < 2 * count; i += 1) {
        isTelling = i >= count;
        const startedAt = performance.now();
        await new Promise<void>((resolve, reject) => {
          began = (job) => {
            const at = performance.now();
            if (!isTelling) {
              starts?.push(at - startedAt);
              return resolve();
            }
            job.progress(i).then(() => {
              progresses?.push(performance.now() - at);
              resolve();
            }, reject);
          };
          contender.add().catch(reject);
        });
      }
      await stop();
      return { startMs: spread(starts ?? []).median, progressMs: spread(progresses ?? []).median };
    },

    async clear() {
      const client = await createClient({ url }).connect();
      await client.flushDb();
      client.destroy();
    },
  };
  serve({ ...verbs });
}
