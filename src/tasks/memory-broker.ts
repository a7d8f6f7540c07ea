import {
  type Added,
  type BrokerListener,
  type ChildOutcome,
  type ConsumeOptions,
  type Consumption,
  type Delivery,
  type Given,
  type JobFollower,
  type JobHandler,
  type JobOutcome,
  type JobRecord,
  type JobState,
  LayerUnavailable,
  type NewJob,
  type QueueCounts,
  resolveOptions,
  type SeenWorker,
  type TaskBroker,
  type WorkerReport,
} from "../index.ts";
import { type Clock, type ClockTimer, realClock } from "./clock.ts";
import { Followers } from "./followers.ts";
import { JobTable } from "./job-table.ts";
import { alone, brokerErrors, checkQueue, childFailure, flattened, type TreeNode } from "./job-trees.ts";
import { bytesOf, type Consumer, freeOf, Job, newQueue, type Queue, type Run } from "./memory-jobs.ts";
import { Rates } from "./rates.ts";

export const memoryBrokerDefaults = {
  /** How many jobs may wait or run; `add` rejects with ChannelFull beyond that. */
  maxJobs: 100_000,
  /** How many that have ended are kept; beyond that the one that ended first is forgotten before its time. */
  maxEndedJobs: 10_000,
  /**
   * Bytes of all arguments, results, errors and progress. Those that ended first make room for others; `add`
   * rejects with ChannelFull when what waits and runs fills it.
   */
  maxBytes: 268_435_456,
};

export type MemoryBrokerSettings = typeof memoryBrokerDefaults;
export interface MemoryBrokerOptions extends Given<MemoryBrokerSettings> {
  /** Of delays, retries, rates and of how long jobs are kept; default the machine's. */
  readonly clock?: Clock;
}

/** Timers overflow beyond. */
const MAX_TIMER_MS = 2_147_483_647;
const WORKER_TTL_MS = 60_000;
const MAX_LISTED = 1_000;

/**
 * Keeps jobs in this process, and loses them with it. Everything else is as with a broker that is shared.
 *
 * @example
 * new MemoryBroker({ maxJobs: 10_000 });
 */
export class MemoryBroker implements TaskBroker {
  readonly isShared = false;
  readonly #clock: Clock;
  readonly #queues = new Map<string, Queue>();
  readonly #jobs: JobTable;
  readonly #followers = new Followers();
  readonly #rates = new Rates();
  readonly #ticks = new Map<string, { readonly at: number; readonly job: string }>();
  readonly #workers = new Map<string, { readonly report: WorkerReport; readonly at: number }>();
  #turn = 0;
  /** For those that go before all others of their priority. */
  #frontTurn = 0;
  #timer: ClockTimer | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #listener: BrokerListener | undefined;
  #isOpen = false;

  /** @throws ConfigurationError that lists every fault of the options */
  constructor({ clock = realClock, ...options }: MemoryBrokerOptions = {}) {
    this.#jobs = new JobTable(resolveOptions(memoryBrokerDefaults, options, "tasks"));
    this.#clock = clock;
  }

  async open(listener: BrokerListener): Promise<void> {
    this.#listener = listener;
    this.#isOpen = true;
  }

  async add(job: NewJob): Promise<Added> {
    this.#check();
    return this.#add(flattened(job));
  }

  async addAll(jobs: readonly NewJob[]): Promise<readonly Added[]> {
    this.#check();
    // So that none is added where one is wrong.
    const trees = jobs.map((job) => flattened(alone(job)));
    return trees.map((nodes) => this.#add(nodes));
  }

  async consume(queue: string, { concurrency }: ConsumeOptions, handler: JobHandler): Promise<Consumption> {
    if (!this.#isOpen) throw closed();
    checkQueue(queue);
    const consumer: Consumer = {
      ...{ queue: this.#queue(queue), concurrency, handler },
      ...{ runs: new Set(), idle: [] },
    };
    consumer.queue.consumers.add(consumer);
    this.#pump(consumer.queue);
    return {
      stop: () => stopped(consumer),
      get active() {
        return consumer.runs.size;
      },
    };
  }

  async find(id: string): Promise<JobRecord | undefined> {
    this.#check();
    const job = this.#jobs.get(id);
    return job === undefined ? undefined : job.record();
  }

  async follow(id: string, follower: JobFollower): Promise<() => void> {
    this.#check();
    return this.#followers.add(id, follower);
  }

  async cancel(id: string): Promise<boolean> {
    this.#check();
    const job = this.#jobs.get(id);
    if (job === undefined || job.isEnded) return false;
    this.#cancel(job);
    return true;
  }

  async runAgain(id: string): Promise<boolean> {
    this.#check();
    const job = this.#jobs.get(id);
    if (job?.state !== "failed") return false;
    const { queue, parent, key } = job;
    queue.failed.delete(job);
    job.reset();
    this.#jobs.reopen(job);
    // One whose parent has not had its turn, or failed with it, is waited for again.
    if (parent?.state === "blocked" || parent?.state === "failed") parent.outcomes.delete(id);
    if (key !== undefined && !queue.keys.has(key)) queue.keys.set(key, job);
    this.#settle(job);
    this.#pump(queue);
    return true;
  }

  async remove(id: string): Promise<boolean> {
    this.#check();
    const job = this.#jobs.get(id);
    if (job === undefined || job.isRunning) return false;
    this.#forget(job);
    const { parent } = job;
    if (parent?.state === "blocked" && !parent.outcomes.has(id)) {
      this.#childEnded(parent, { id, error: brokerErrors.removed });
    }
    return true;
  }

  async reserve(name: string, max: number, perMs: number): Promise<number> {
    this.#check();
    return this.#rates.reserve(name, max, perMs, this.#clock.now());
  }

  async tick(schedule: string, at: number, job: NewJob): Promise<boolean> {
    this.#check();
    if ((this.#ticks.get(schedule)?.at ?? Number.NEGATIVE_INFINITY) >= at) return false;
    const { id, isMerged } = this.#add(flattened(job));
    this.#ticks.set(schedule, { at, job: id });
    return !isMerged;
  }

  async ticks(): Promise<ReadonlyMap<string, { readonly at: number; readonly job: string }>> {
    this.#check();
    return new Map(this.#ticks);
  }

  async forgetSchedule(schedule: string): Promise<void> {
    this.#check();
    this.#ticks.delete(schedule);
  }

  async counts(queue: string): Promise<QueueCounts> {
    this.#check();
    checkQueue(queue);
    const found = this.#queues.get(queue);
    return {
      waiting: found?.waiting.size ?? 0,
      delayed: found?.delayed.size ?? 0,
      blocked: found?.blocked.size ?? 0,
      active: found?.active.size ?? 0,
      done: found?.done.size ?? 0,
      failed: found?.failed.size ?? 0,
      isPaused: found?.isPaused ?? false,
    };
  }

  async list(queue: string, state: JobState, from: number, limit: number): Promise<readonly JobRecord[]> {
    this.#check();
    checkQueue(queue);
    const found = this.#queues.get(queue);
    if (found === undefined) return [];
    const jobs = state === "waiting" || state === "delayed" ? found[state].sorted() : [...found[state]];
    if (state === "done" || state === "failed" || state === "active") jobs.reverse();
    return jobs.slice(from, from + Math.min(limit, MAX_LISTED)).map((job) => job.record());
  }

  async queues(): Promise<readonly string[]> {
    this.#check();
    return [...this.#queues.keys()].sort();
  }

  async pause(queue: string): Promise<void> {
    this.#check();
    checkQueue(queue);
    this.#queue(queue).isPaused = true;
  }

  async resume(queue: string): Promise<void> {
    this.#check();
    checkQueue(queue);
    const found = this.#queue(queue);
    found.isPaused = false;
    this.#pump(found);
  }

  async report(worker: WorkerReport): Promise<void> {
    this.#check();
    this.#workers.set(worker.worker, { report: worker, at: this.#clock.now() });
  }

  async unreport(worker: string): Promise<void> {
    this.#check();
    this.#workers.delete(worker);
  }

  async workers(): Promise<readonly SeenWorker[]> {
    this.#check();
    const now = this.#clock.now();
    for (const [worker, { at }] of this.#workers) {
      if (now - at > WORKER_TTL_MS) this.#workers.delete(worker);
    }
    return [...this.#workers.values()].map(({ report, at }) => ({ ...report, ageMs: now - at }));
  }

  async close(withinMs: number): Promise<void> {
    if (!this.#isOpen) return;
    const consumers = [...this.#queues.values()].flatMap(({ consumers }) => [...consumers]);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, withinMs);
    });
    await Promise.race([Promise.all(consumers.map(stopped)), late]);
    clearTimeout(timer);
    for (const job of this.#jobs.all) if (job.run !== undefined) this.#handBack(job, job.run);
    this.#isOpen = false;
    if (this.#timer !== undefined) this.#clock.clearTimeout(this.#timer);
    this.#followers.clear();
  }

  #check(): void {
    if (!this.#isOpen) throw closed();
    this.#jobs.sweep(this.#clock.now());
  }

  #queue(name: string): Queue {
    const known = this.#queues.get(name);
    if (known !== undefined) return known;
    const queue = newQueue(name);
    this.#queues.set(name, queue);
    return queue;
  }

  // ---- the life of a job ------------------------------------------------------------------------

  #add(nodes: readonly TreeNode[]): Added {
    const { id, queue: name, key } = (nodes[0] as TreeNode).job;
    if (this.#jobs.get(id) !== undefined) return { id, isMerged: true };
    const holder = key === undefined ? undefined : this.#queues.get(name)?.keys.get(key);
    if (holder !== undefined) return { id: holder.id, isMerged: true };
    let bytes = 0;
    for (const { job } of nodes) {
      if (this.#jobs.get(job.id) !== undefined)
        throw new RangeError(`a child has the id of a job that is known: ${job.id}`);
      bytes += bytesOf(job.id, job.key, job.body);
    }
    this.#jobs.makeRoom(nodes.length, bytes);
    const jobs = this.#take(nodes);
    for (const job of jobs) this.#settle(job);
    for (const { queue } of jobs) this.#pump(queue);
    return { id, isMerged: false };
  }

  #take(nodes: readonly TreeNode[]): readonly Job[] {
    const addedAt = this.#clock.now();
    const jobs: Job[] = [];
    for (const { job, parent } of nodes) {
      const made = new Job(
        job,
        this.#queue(job.queue),
        parent === undefined ? undefined : jobs[parent],
        addedAt,
      );
      jobs.push(made);
      this.#jobs.add(made);
      if (made.key !== undefined) made.queue.keys.set(made.key, made);
    }
    return jobs;
  }

  /** To where it waits for what comes next. */
  #settle(job: Job): void {
    const { queue, children, outcomes } = job;
    this.#turn += 1;
    job.turn = this.#turn;
    if (outcomes.size < children.length) {
      job.state = "blocked";
      queue.blocked.add(job);
    } else if (job.runAt > this.#clock.now() && !job.isCancelled) {
      job.state = "delayed";
      queue.delayed.add(job);
      this.#arm(job.runAt);
    } else {
      job.state = "waiting";
      queue.waiting.add(job);
    }
  }

  #cancel(job: Job): void {
    const { queue, state } = job;
    // Its place in the heap changes with it.
    const isWaiting = queue.waiting.delete(job) || queue.delayed.delete(job);
    job.isCancelled = true;
    job.run?.controller.abort("cancelled");
    if (isWaiting) this.#settle(job);
    if (state === "blocked") for (const child of job.children) if (!child.isEnded) this.#cancel(child);
    this.#pump(queue);
  }

  #end(job: Job, state: "done" | "failed", value: string): void {
    const { queue, parent, id, key } = job;
    queue.active.delete(job);
    job.state = state;
    job.endedAt = this.#clock.now();
    job[state === "done" ? "result" : "error"] = value;
    if (state === "done") job.error = undefined;
    queue[state].add(job);
    this.#jobs.end(job);
    this.#jobs.sweep(job.endedAt);
    if (key !== undefined && queue.keys.get(key) === job) queue.keys.delete(key);
    if (parent !== undefined && !parent.outcomes.has(id)) {
      this.#childEnded(parent, state === "done" ? { id, result: value } : { id, error: value });
    }
    this.#followers.tellChanged(id);
  }

  #childEnded(parent: Job, outcome: ChildOutcome): void {
    parent.outcomes.set(outcome.id, outcome);
    if (parent.state !== "blocked" || parent.outcomes.size < parent.children.length) return;
    parent.queue.blocked.delete(parent);
    this.#settle(parent);
    this.#pump(parent.queue);
  }

  #forget(job: Job): void {
    for (const child of job.children) if (this.#jobs.get(child.id) === child) this.#forget(child);
    this.#jobs.forget(job);
    this.#followers.tellChanged(job.id);
  }

  // ---- running ----------------------------------------------------------------------------------

  /** Gives what is due to whoever has room for it. */
  #pump(queue: Queue): void {
    const now = this.#clock.now();
    for (let job = queue.delayed.first; job !== undefined && job.runAt <= now; job = queue.delayed.first) {
      queue.delayed.delete(job);
      this.#settle(job);
    }
    if (queue.isPaused) return;
    for (let job = queue.waiting.first; job !== undefined; job = queue.waiting.first) {
      const consumer = freeOf(queue);
      if (consumer === undefined) return;
      queue.waiting.delete(job);
      const run: Run = { controller: new AbortController(), consumer, isOver: false };
      job.state = "active";
      job.attempt += 1;
      job.startedAt = now;
      job.run = run;
      queue.active.add(job);
      consumer.runs.add(run);
      const begun = job;
      // In a turn of its own, so that others have theirs between jobs, however many wait.
      setImmediate(() => void this.#run(begun, run));
    }
  }

  async #run(job: Job, run: Run): Promise<void> {
    const { queue, isCancelled, onChildFailure } = job;
    let outcome: JobOutcome | undefined;
    const failure = onChildFailure === "fail" && !isCancelled ? childFailure(job.childOutcomes) : undefined;
    if (run.isOver) outcome = undefined;
    else if (failure !== undefined) outcome = { kind: "failed", error: failure };
    else outcome = await this.#handle(job, run);
    if (!run.isOver && outcome !== undefined) this.#finish(job, outcome);
    run.isOver = true;
    const { consumer } = run;
    consumer.runs.delete(run);
    if (consumer.runs.size === 0) for (const resolve of consumer.idle.splice(0)) resolve();
    if (this.#isOpen) this.#pump(queue);
  }

  async #handle(job: Job, run: Run): Promise<JobOutcome> {
    const delivery: Delivery = {
      ...job.record(),
      signal: run.controller.signal,
      childOutcomes: async () => job.childOutcomes,
      setProgress: async (json) => {
        if (run.isOver) return;
        job.progress = json;
        this.#jobs.weigh(job);
        this.#followers.tellProgress(job.id, json);
      },
    };
    try {
      return await run.consumer.handler(delivery);
    } catch (error) {
      this.#listener?.failed(error);
      return { kind: "failed", error: brokerErrors.handlerThrew(error) };
    }
  }

  #finish(job: Job, outcome: JobOutcome): void {
    job.run = undefined;
    if (outcome.kind === "done") return this.#end(job, "done", outcome.result);
    if (outcome.kind === "failed") return this.#end(job, "failed", outcome.error);
    if (outcome.kind === "retry") job.error = outcome.error;
    else {
      job.attempt -= 1;
      if (outcome.body !== undefined) job.body = outcome.body;
    }
    this.#jobs.weigh(job);
    job.queue.active.delete(job);
    job.runAt = this.#clock.now() + outcome.afterMs;
    this.#settle(job);
    if (outcome.kind === "retry") this.#followers.tellChanged(job.id);
  }

  #handBack(job: Job, run: Run): void {
    run.isOver = true;
    run.controller.abort("lost");
    job.queue.active.delete(job);
    this.#frontTurn -= 1;
    job.run = undefined;
    job.attempt -= 1;
    job.state = "waiting";
    job.turn = this.#frontTurn;
    job.queue.waiting.add(job);
  }

  /** One timer, for whatever is due first. */
  #arm(at: number): void {
    if (at >= this.#timerAt) return;
    if (this.#timer !== undefined) this.#clock.clearTimeout(this.#timer);
    this.#timerAt = at;
    const ms = Math.min(Math.max(at - this.#clock.now(), 0), MAX_TIMER_MS);
    this.#timer = this.#clock.setTimeout(() => this.#due(), ms);
  }

  #due(): void {
    this.#timer = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
    for (const queue of this.#queues.values()) {
      this.#pump(queue);
      if (queue.delayed.first !== undefined) this.#arm(queue.delayed.first.runAt);
    }
  }
}

function closed(): LayerUnavailable {
  return new LayerUnavailable("the task broker is not open");
}

function stopped(consumer: Consumer): Promise<void> {
  consumer.queue.consumers.delete(consumer);
  if (consumer.runs.size === 0) return Promise.resolve();
  return new Promise((resolve) => consumer.idle.push(resolve));
}
