/** The part of a process that works on queues: takes jobs, says that it lives, and ends in order. */
import { hostname } from "node:os";
import { type Consumption, type JobHandler, type TaskBroker, within } from "../index.ts";
import type { TaskFacts } from "./facts.ts";

export interface WorkerOptions {
  readonly name: string;
  readonly broker: TaskBroker;
  readonly facts: TaskFacts;
  /** How many at once, by queue. */
  readonly queues: Readonly<Record<string, number>>;
  readonly version: string;
  readonly reportMs: number;
  /** A run that holds the event loop for so long is told of. */
  readonly blockedMs: number;
  readonly maxRuns: number;
  readonly maxMemoryMb: number;
  handle: JobHandler;
  /** Ids of what runs here. */
  running(): Iterable<string>;
  /** Names of tasks that run here, or have run since this was asked last. */
  takeActive(): readonly string[];
  /** Aborts what runs here. */
  handBack(): void;
}

const MIB = 1_048_576;
const MAX_REPORTED = 100;
/** Of the time to end, what is left for those who were told to hand back. */
const HAND_BACK_MS = 2_000;

export class Worker {
  readonly #options: WorkerOptions;
  readonly #startedAt = Date.now();
  readonly #counts = { done: 0, failed: 0, retried: 0 };
  #consumptions: Consumption[] = [];
  #reporting: NodeJS.Timeout | undefined;
  #watching: NodeJS.Timeout | undefined;
  #ends: (() => void)[] = [];
  #isTired = false;

  constructor(options: WorkerOptions) {
    this.#options = options;
  }

  /** Runs that ended here, however they did. */
  get runs(): number {
    const { done, failed, retried } = this.#counts;
    return done + failed + retried;
  }

  async start(): Promise<void> {
    const { queues, broker, handle, facts, reportMs, name } = this.#options;
    this.#ends = [
      facts.succeeded.connect(() => void this.#counts.done++),
      facts.failed.connect(() => void this.#counts.failed++),
      facts.retrying.connect(() => void this.#counts.retried++),
    ];
    for (const [queue, concurrency] of Object.entries(queues)) {
      this.#consumptions.push(await broker.consume(queue, { concurrency }, handle));
    }
    this.#reporting = setInterval(() => void this.#report(), reportMs);
    this.#watch();
    await this.#report();
    facts.workerUp.announce({ worker: name, queues });
  }

  /** Takes no more. What runs may end by itself; near the end of the time it is told to hand back. */
  async stop(withinMs: number): Promise<void> {
    clearInterval(this.#reporting);
    clearInterval(this.#watching);
    if (this.#reporting === undefined) return;
    this.#reporting = undefined;
    const handBackMs = Math.max(withinMs - HAND_BACK_MS, withinMs / 2);
    const ended = Promise.all(this.#consumptions.map((consumption) => consumption.stop()));
    const handBack = setTimeout(() => this.#options.handBack(), handBackMs);
    // What does not heed its signal is the broker's to give back.
    await within(withinMs, ended, () => new Error("late")).catch(() => {});
    clearTimeout(handBack);
    this.#consumptions = [];
    for (const end of this.#ends) end();
    const { broker, name, facts } = this.#options;
    await broker.unreport(name).catch(() => {});
    facts.workerDown.announce({ worker: name });
  }

  /** Said once: whoever runs this process is to replace it. */
  #rest(): void {
    const { maxRuns, maxMemoryMb, facts } = this.#options;
    const { runs } = this;
    const memoryBytes = process.memoryUsage.rss();
    const isTired = (maxRuns > 0 && runs >= maxRuns) || (maxMemoryMb > 0 && memoryBytes > maxMemoryMb * MIB);
    if (!isTired || this.#isTired) return;
    this.#isTired = true;
    facts.tired.announce({ runs, memoryBytes });
  }

  async #report(): Promise<void> {
    const { broker, name, queues, version, running } = this.#options;
    try {
      await broker.report({
        worker: name,
        host: hostname(),
        pid: process.pid,
        version,
        startedAt: this.#startedAt,
        queues,
        active: [...running()].slice(0, MAX_REPORTED),
        ...this.#counts,
        memoryBytes: process.memoryUsage.rss(),
      });
    } catch {
      // The broker says itself when it is away; the next report is due anyhow.
    }
  }

  /** A timer that comes late tells that something held the event loop. */
  #watch(): void {
    const { blockedMs, facts, takeActive } = this.#options;
    const lookMs = Math.ceil(blockedMs / 4);
    let expectedAt = performance.now() + lookMs;
    this.#watching = setInterval(() => {
      const now = performance.now();
      const lateMs = now - expectedAt;
      expectedAt = now + lookMs;
      this.#rest();
      const tasks = takeActive();
      if (lateMs >= blockedMs) facts.blocking.announce({ tasks, forMs: Math.round(lateMs) });
    }, lookMs);
    this.#watching.unref();
  }
}
