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
  readonly id: string;
  /** Resolves when it is kept. */
  progress(done: number): Promise<void>;
}

export interface TaskContender {
  open(redisUrl: string): Promise<void>;
  add(): Promise<unknown>;
  addMany(count: number): Promise<unknown>;
  /** Hears the progress of a job, as one who watches it does; resolves when it will. */
  watch(id: string, heard: () => void): Promise<() => void>;
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
      let began = async (_job: RunningJob) => {};
      const stop = await contender.work(1, (job) => began(job));
      /** One job after the other; `measured` resolves when what is measured has happened. */
      const each = async (measured: (job: RunningJob, startedAt: number) => Promise<number>) => {
        const took: number[] = [];
        for (let i = 0; i < count; i += 1) {
          const startedAt = performance.now();
          const ms = await new Promise<number>((resolve, reject) => {
            began = (job) => measured(job, startedAt).then(resolve, reject);
            contender.add().catch(reject);
          });
          took.push(ms);
        }
        return spread(took).median;
      };
      const startMs = await each(async (_job, startedAt) => performance.now() - startedAt);
      // A pass of its own: telling it may go on when the next job is added.
      const progressMs = await each(async (job) => {
        const at = performance.now();
        await job.progress(1);
        return performance.now() - at;
      });
      const heardMs = await each(async (job) => {
        let heard = () => {};
        const told = new Promise<void>((resolve) => {
          heard = resolve;
        });
        const end = await contender.watch(job.id, heard);
        const at = performance.now();
        await Promise.all([job.progress(1), told]);
        const ms = performance.now() - at;
        end();
        return ms;
      });
      await stop();
      return { startMs, progressMs, heardMs };
    },

    async clear() {
      const client = await createClient({ url }).connect();
      await client.flushDb();
      client.destroy();
    },
  };
  serve({ ...verbs });
}
