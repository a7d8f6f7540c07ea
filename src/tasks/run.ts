/** One run of a task: what the function is given, and what becomes of what it does. */
import type { ChannelLayer, Delivery } from "../index.ts";
import { InvalidMessage, LayerUnavailable } from "../index.ts";
import type { Clock } from "./clock.ts";
import { RetryLater } from "./errors.ts";
import { type KeptProgress, MAX_NOTE, readProgress, type TaskProgress } from "./status.ts";
import type { Stopping } from "./stopping.ts";

/** What a task's function is given beside its arguments. */
export interface TaskRun {
  /** Of this run, through all its attempts. */
  readonly id: string;
  readonly task: string;
  /** 1 for the first. */
  readonly attempt: number;
  /**
   * Aborted when the run is cancelled, its time is over, or its worker ends: give it to whatever takes one
   * (`fetch`, timers, threads). The reason is `Cancelled`, `TimeLimitReached` or `HandedBack`.
   */
  readonly signal: AbortSignal;
  /** Sends to groups and channels from here. */
  readonly layer: ChannelLayer;
  /**
   * Says how far it is; watchers see it. Cheap: what comes too often is left out, the last is told.
   *
   * @param total - 0: not known
   * @param note - up to 200 characters
   */
  progress(done: number, total?: number, note?: string): void;
  /** A line for the log of the worker, with the run's id. */
  log(message: string, details?: Readonly<Record<string, unknown>>): void;
  /**
   * Ends this attempt; another follows, if the task's `retry.attempts` (5 by default) allow one.
   *
   * @param afterMs - by default what the task's `retry` says
   */
  retry(afterMs?: number, because?: string): never;
}

export interface RunHost {
  readonly layer: ChannelLayer;
  readonly clock: Clock;
  /** Keeps it and tells watchers; never rejects. */
  tell(job: Delivery, progress: KeptProgress): Promise<void>;
  log(job: Delivery, message: string, details: Readonly<Record<string, unknown>>): void;
}

export class Run implements TaskRun {
  readonly id: string;
  readonly task: string;
  readonly attempt: number;
  readonly #stopping: Stopping;
  readonly #job: Delivery;
  readonly #host: RunHost;
  readonly #everyMs: number;
  #step: number;
  #latest: TaskProgress | undefined;
  #told: TaskProgress | undefined;
  #timer: object | undefined;
  #telling: Promise<void> | undefined;
  #isOver = false;

  /** @param everyMs - how often it is told at most */
  constructor(job: Delivery, host: RunHost, stopping: Stopping, everyMs: number) {
    this.id = job.id;
    this.task = job.task;
    this.attempt = job.attempt;
    this.#stopping = stopping;
    this.#job = job;
    this.#host = host;
    this.#everyMs = everyMs;
    // Handed back, it is the same attempt once more: what was told of it is older all the same.
    const kept = readProgress(job.progress);
    this.#step = kept?.attempt === job.attempt ? kept.step : 0;
  }

  get layer(): ChannelLayer {
    return this.#host.layer;
  }

  get signal(): AbortSignal {
    return this.#stopping.signal;
  }

  /** Like the others below a function of its own, so that it can be taken out of the run. */
  readonly progress = (done: number, total = 0, note?: string): void => {
    if (!(Number.isFinite(done) && Number.isFinite(total) && done >= 0 && total >= 0)) {
      throw new InvalidMessage(`progress is told in numbers from 0, not (${String(done)}, ${String(total)})`);
    }
    if (this.#isOver) return;
    this.#latest = { done, total, ...(note === undefined ? {} : { note: String(note).slice(0, MAX_NOTE) }) };
    if (this.#timer === undefined && this.#telling === undefined) this.#tell();
  };

  readonly log = (message: string, details: Readonly<Record<string, unknown>> = {}): void => {
    this.#host.log(this.#job, message, details);
  };

  readonly retry = (afterMs?: number, because?: string): never => {
    throw retryLater(afterMs, because);
  };

  /** What was told last; then somebody may be watching a bar. */
  get told(): TaskProgress | undefined {
    return this.#told;
  }

  /** Resolves when the last progress is kept; what the function still says is of no consequence. */
  async end(): Promise<void> {
    this.#isOver = true;
    if (this.#timer !== undefined) this.#host.clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#telling;
    if (this.#latest !== undefined) await this.#tellNow(this.#latest);
  }

  #tell(): void {
    const latest = this.#latest;
    if (latest === undefined) return;
    this.#telling = this.#tellNow(latest).finally(() => {
      this.#telling = undefined;
      if (this.#isOver) return;
      this.#timer = this.#host.clock.setTimeout(() => {
        this.#timer = undefined;
        this.#tell();
      }, this.#everyMs);
    });
  }

  async #tellNow(progress: TaskProgress): Promise<void> {
    this.#latest = undefined;
    this.#told = progress;
    this.#step += 1;
    const { attempt } = this;
    await this.#host.tell(this.#job, { ...progress, attempt, step: this.#step, at: this.#host.clock.now() });
  }
}

/** For a function that runs without a worker. */
export function runHere(task: string, given: Partial<TaskRun>): TaskRun {
  return {
    id: "here.now",
    task,
    attempt: 1,
    signal: new AbortController().signal,
    get layer(): ChannelLayer {
      throw new LayerUnavailable(`the task "${task}" uses run.layer: give one, as run(args, { layer })`);
    },
    progress: () => {},
    log: () => {},
    retry: (afterMs, because) => {
      throw retryLater(afterMs, because);
    },
    ...given,
  };
}

function retryLater(afterMs: number | undefined, because = "the task asked for another attempt"): Error {
  if (afterMs === undefined || (afterMs >= 0 && Number.isFinite(afterMs)))
    return new RetryLater(afterMs, because);
  return new InvalidMessage(`retry takes milliseconds from 0, not ${String(afterMs)}`);
}
