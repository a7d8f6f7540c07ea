/** All jobs of the memory broker, and how long those that have ended are kept. */
import { ChannelFull } from "../index.ts";
import { Heap } from "./heap.ts";
import type { Job } from "./memory-jobs.ts";

export interface JobLimits {
  readonly maxJobs: number;
  readonly maxEndedJobs: number;
  readonly maxBytes: number;
}

export class JobTable {
  readonly #limits: JobLimits;
  readonly #jobs = new Map<string, Job>();
  /** By when they are forgotten. */
  readonly #ended = new Heap<Job>((a, b) => a.endedAt + a.keepMs < b.endedAt + b.keepMs);
  /** By when they ended. */
  readonly #endings = new Set<Job>();
  /** Of all texts of all jobs. */
  #bytes = 0;

  constructor(limits: JobLimits) {
    this.#limits = limits;
  }

  get(id: string): Job | undefined {
    return this.#jobs.get(id);
  }

  get all(): Iterable<Job> {
    return this.#jobs.values();
  }

  /**
   * Makes room for some more, if need be in place of those that ended first.
   *
   * @throws ChannelFull
   */
  makeRoom(count: number, bytes: number): void {
    const { maxJobs, maxBytes } = this.#limits;
    const open = this.#jobs.size - this.#endings.size;
    if (open + count > maxJobs) {
      throw new ChannelFull(`${maxJobs} jobs wait or run (tasks.maxJobs); try again later`);
    }
    this.#forgetEnded(maxBytes - bytes);
    if (this.#bytes + bytes > maxBytes) {
      throw new ChannelFull(`jobs wait or run that fill ${maxBytes} bytes (tasks.maxBytes); try again later`);
    }
  }

  add(job: Job): void {
    this.#jobs.set(job.id, job);
    this.weigh(job);
  }

  /** One of its texts has changed. */
  weigh(job: Job): void {
    const bytes = job.textBytes;
    this.#bytes += bytes - job.weighed;
    job.weighed = bytes;
  }

  end(job: Job): void {
    this.#ended.add(job);
    this.#endings.add(job);
    this.weigh(job);
  }

  /** It has ended, and begins anew. */
  reopen(job: Job): void {
    this.#ended.delete(job);
    this.#endings.delete(job);
    this.weigh(job);
  }

  forget(job: Job): void {
    const { id, queue, key } = job;
    if (!this.#jobs.delete(id)) return;
    this.#bytes -= job.weighed;
    this.#endings.delete(job);
    this.#ended.delete(job);
    queue.waiting.delete(job);
    queue.delayed.delete(job);
    for (const set of [queue.blocked, queue.done, queue.failed]) set.delete(job);
    if (key !== undefined && queue.keys.get(key) === job) queue.keys.delete(key);
  }

  /** What is past its time is not there any more, nor what is too much. */
  sweep(now: number): void {
    for (let job = this.#ended.first; job !== undefined; job = this.#ended.first) {
      if (job.endedAt + job.keepMs > now) break;
      this.forget(job);
    }
    this.#forgetEnded(this.#limits.maxBytes);
  }

  #forgetEnded(bytes: number): void {
    for (const job of this.#endings) {
      if (this.#endings.size <= this.#limits.maxEndedJobs && this.#bytes <= bytes) return;
      this.forget(job);
    }
  }
}
