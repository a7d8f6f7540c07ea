/** Tasks in tests: nothing runs before the test says so, and time stands still until the test moves it. */
import {
  type Application,
  type ApplicationOptions,
  createApplication,
  InvalidMessage,
  ManualClock,
} from "../index.ts";
import { type Body, readBody } from "./body.ts";
import { MemoryBroker } from "./memory-broker.ts";
import { statusOf, type TaskStatus } from "./status.ts";
import { Tasks, type TasksOptions } from "./tasks.ts";

/** What {@link testTasks} takes. */
export interface TestTasksOptions extends Pick<TasksOptions, "tasks" | "schedules" | "channels"> {
  /** What the application has beside tasks. */
  readonly application?: Omit<ApplicationOptions, "routes" | "parts"> &
    Partial<Pick<ApplicationOptions, "routes">>;
  /** What time it is: milliseconds since 1970, or a Date. Default now. */
  readonly now?: number | Date;
  /** A clock that others go by as well, e.g. a `TestCluster`'s; `now` does not count then. */
  readonly clock?: ManualClock;
}

/** A run as it was enqueued. */
export interface EnqueuedTask {
  readonly id: string;
  readonly task: string;
  readonly args: unknown;
  readonly queue: string;
  /** How long after its enqueuing it may start. */
  readonly delayMs: number;
}

/** How long a run may work before the clock goes on without it. */
const PATIENCE_MS = 100;

/** Tasks in a test, where nothing runs before the test says so; {@link testTasks} makes it. */
export class TestTasks {
  readonly app: Application;
  readonly tasks: Tasks;
  readonly #clock: ManualClock;
  readonly #ids: string[] = [];

  /** Use {@link testTasks}. @internal */
  constructor({ application, now = Date.now(), clock, ...options }: TestTasksOptions) {
    this.#clock = clock ?? new ManualClock(Number(now));
    const broker = new MemoryBroker({ clock: this.#clock });
    this.tasks = new Tasks({ ...options, broker, clock: this.#clock });
    this.app = createApplication({ routes: [], ...application, parts: [this.tasks] });
    this.tasks.signals.queued.connect(({ id, isMerged }) => {
      if (!isMerged) this.#ids.push(id);
    });
  }

  /** @internal */
  async open(): Promise<this> {
    await this.app.start();
    await this.#eachQueue((queue) => this.tasks.broker.pause(queue));
    return this;
  }

  /** What time it is: milliseconds since 1970. */
  get now(): number {
    return this.#clock.now();
  }

  /** All runs that were enqueued and are remembered, the first first. */
  async enqueued(): Promise<readonly EnqueuedTask[]> {
    const records = await Promise.all(this.#ids.map((id) => this.tasks.broker.find(id)));
    return records.flatMap((record) => {
      if (record === undefined) return [];
      const { id, task, queue, addedAt, runAt, body } = record;
      const delayMs = Math.max(runAt - addedAt, 0);
      const { args } = readBody(body) as Body;
      return [{ id, task, args, queue, delayMs }];
    });
  }

  /**
   * Runs what is due, and what that enqueues, until nothing is due.
   *
   * @returns what became of every run that was enqueued, the first first
   */
  drain(): Promise<readonly TaskStatus[]> {
    return this.advance(0);
  }

  /**
   * Lets time pass: what becomes due (delays, retries, schedules, time limits) runs, in order. Runs are waited
   * for; one that takes longer than 100 ms of real time does not keep others, or its own limit, from their time.
   *
   * @returns as `drain`
   */
  async advance(ms: number): Promise<readonly TaskStatus[]> {
    if (!(ms >= 0 && Number.isFinite(ms)))
      throw new InvalidMessage(`time goes on, not back: ${String(ms)} ms`);
    const until = this.#clock.now() + ms;
    await this.#eachQueue((queue) => this.tasks.broker.resume(queue));
    do await this.#settled(until);
    while (this.#clock.step(until));
    await this.#eachQueue((queue) => this.tasks.broker.pause(queue));
    const records = await Promise.all(this.#ids.map((id) => this.tasks.broker.find(id)));
    return records.flatMap((record) => (record === undefined ? [] : [statusOf(record)]));
  }

  stop(): Promise<void> {
    return this.app.stop({ withinMs: 100 });
  }

  /** Until nothing runs, or what runs seems to wait for a time that comes by then. */
  async #settled(until: number): Promise<void> {
    const beganAt = performance.now();
    do {
      if (this.#clock.isDue(until) && performance.now() - beganAt > PATIENCE_MS) return;
      await new Promise((resolve) => setImmediate(resolve));
    } while (await this.#isBusy());
  }

  async #isBusy(): Promise<boolean> {
    let busy = 0;
    await this.#eachQueue(async (queue) => {
      const { waiting, active } = await this.tasks.broker.counts(queue);
      busy += waiting + active;
    });
    return busy > 0;
  }

  async #eachQueue(work: (queue: string) => Promise<void>): Promise<void> {
    for (const queue of Object.keys(this.tasks.queues)) await work(queue);
  }
}

/**
 * Tasks of an application without sockets, whose clock the test moves.
 *
 * @example
 * const kit = await testTasks({ tasks: [sendInvoice] });
 * await sendInvoice.enqueue({ orderId: "42" }, { delayMs: 60_000 });
 * expect(await kit.enqueued()).toMatchObject([{ task: "invoice.send", delayMs: 60_000 }]);
 * expect(await kit.advance(60_000)).toMatchObject([{ state: "succeeded" }]);
 * await kit.stop();
 */
export function testTasks(options: TestTasksOptions): Promise<TestTasks> {
  return new TestTasks(options).open();
}
