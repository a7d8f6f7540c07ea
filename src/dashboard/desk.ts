/** Tasks as the broker knows them. It is asked in bounded pages, and what it does not answer in time is said so. */
import {
  InvalidMessage,
  type JobRecord,
  type JobState,
  LayerUnavailable,
  thrownText,
  within,
} from "../index.ts";
import type { DashboardOptions, ShownTasks } from "./options.ts";
import { text } from "./report.ts";

export const STATES: readonly JobState[] = ["waiting", "delayed", "blocked", "active", "done", "failed"];
const PAGE = 25;
const MAX_FROM = 10_000;
const MAX_QUEUES = 40;
const MAX_WORKERS = 100;
const MAX_SCHEDULES = 100;
const FRESH_MS = 1_000;
const ID = /^[A-Za-z0-9_:.-]{1,200}$/;
const QUEUE = /^[A-Za-z0-9_-]{1,40}$/;
const MAX_STACK = 4_000;

export interface ShownQueue {
  readonly queue: string;
  readonly isPaused: boolean;
  readonly counts: Readonly<Record<JobState, number>>;
}

export interface ShownWorker {
  readonly worker: string;
  readonly host: string;
  readonly pid: number;
  readonly version: string;
  readonly startedAt: number;
  readonly ageMs: number;
  readonly queues: readonly (readonly [queue: string, concurrency: number])[];
  readonly active: number;
  readonly done: number;
  readonly failed: number;
  readonly retried: number;
  readonly memoryBytes: number;
}

export interface ShownScheduled {
  readonly id: string;
  readonly task: string;
  readonly timing: string;
  readonly tz: string;
  readonly lastAt?: number;
  readonly lastJob?: string;
  readonly nextAt: number;
}

export interface TaskOverview {
  /** Of what the broker said. */
  readonly at: number;
  readonly isShared: boolean;
  readonly queues: readonly ShownQueue[];
  readonly workers: readonly ShownWorker[];
  readonly schedules: readonly ShownScheduled[];
  /** It was asked and has not answered, or cannot; the rest is what it said last. */
  readonly trouble?: string;
}

export interface ShownJob
  extends Pick<JobRecord, "id" | "queue" | "task" | "state" | "attempt" | "isCancelled" | "priority"> {
  readonly addedAt: number;
  readonly runAt: number;
  readonly startedAt?: number;
  readonly endedAt?: number;
  readonly children: number;
  readonly progress?: { readonly done: number; readonly total: number; readonly note: string };
  readonly error?: {
    readonly code: string;
    readonly name: string;
    readonly message: string;
    readonly stack: string;
  };
  /** With its values hidden, unless the application shows them. */
  readonly args?: string;
  readonly result?: string;
}

export type TaskAction = "retry" | "cancel" | "discard";

export class Desk {
  readonly #tasks: ShownTasks;
  readonly #redact: NonNullable<DashboardOptions["redact"]>;
  readonly #timeoutMs: number;
  #last: TaskOverview | undefined;
  #lookedAt = Number.NEGATIVE_INFINITY;
  #looking: Promise<TaskOverview> | undefined;
  /** What was asked and has not been answered; the broker is not asked again before. */
  #pending: Promise<unknown> | undefined;

  constructor(tasks: ShownTasks, redact: DashboardOptions["redact"], timeoutMs: number) {
    this.#tasks = tasks;
    this.#redact = redact ?? ((value) => shapeOf(value));
    this.#timeoutMs = timeoutMs;
  }

  /** Never rejects; for all who look together, or one soon after the other, the broker is asked once. */
  async overview(): Promise<TaskOverview> {
    if (this.#last !== undefined && performance.now() - this.#lookedAt < FRESH_MS) return this.#last;
    const overview = await this.look();
    this.#lookedAt = performance.now();
    return overview;
  }

  /** The same as it is now; what somebody opens next shows no earlier moment. */
  look(): Promise<TaskOverview> {
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
    return this.#looking;
  }

  /** @throws InvalidMessage, LayerUnavailable */
  async list(queue: unknown, state: unknown, from: unknown): Promise<readonly ShownJob[]> {
    const known = STATES.find((name) => name === state);
    if (typeof queue !== "string" || !QUEUE.test(queue) || known === undefined) {
      throw new InvalidMessage("a page of tasks has { queue, state, from }");
    }
    const start = Math.min(Math.max(Math.trunc(Number(from)) || 0, 0), MAX_FROM);
    const jobs = await this.#inTime(this.#tasks.broker.list(queue, known, start, PAGE));
    return jobs.slice(0, PAGE).map((job) => this.#shown(job));
  }

  /** @throws InvalidMessage, LayerUnavailable */
  async find(id: unknown): Promise<ShownJob | undefined> {
    const job = await this.#inTime(this.#tasks.broker.find(checkedId(id)));
    return job === undefined ? undefined : this.#shown(job);
  }

  /** False: it is not in a state in which that can be. @throws InvalidMessage, LayerUnavailable */
  act(action: TaskAction, id: unknown): Promise<boolean> {
    const { broker } = this.#tasks;
    const job = checkedId(id);
    switch (action) {
      case "retry":
        return this.#inTime(broker.runAgain(job));
      case "cancel":
        return this.#inTime(broker.cancel(job));
      case "discard":
        return this.#inTime(broker.remove(job));
    }
  }

  /** @throws InvalidMessage, LayerUnavailable */
  async steer(action: "pause" | "resume", queue: unknown): Promise<void> {
    if (typeof queue !== "string" || !QUEUE.test(queue)) throw new InvalidMessage("which queue?");
    if (action === "pause" && !(await this.#inTime(this.#isQueue(queue)))) {
      throw new InvalidMessage(`there is no queue "${queue}"`);
    }
    await this.#inTime(this.#tasks.broker[action](queue));
    this.#lookedAt = Number.NEGATIVE_INFINITY;
  }

  /** Whether it had work, or a worker waits for some. */
  async #isQueue(queue: string): Promise<boolean> {
    const { broker } = this.#tasks;
    const [names, workers] = await Promise.all([broker.queues(), broker.workers()]);
    return names.includes(queue) || workers.some(({ queues }) => Object.hasOwn(queues, queue));
  }

  async #look(): Promise<TaskOverview> {
    try {
      if (this.#pending !== undefined) throw new LayerUnavailable("the tasks' broker does not answer");
      this.#last = await this.#inTime(this.#track(this.#ask()));
      return this.#last;
    } catch (error) {
      const trouble = text(thrownText(error));
      const nothing = { at: 0, isShared: this.#tasks.broker.isShared, queues: [], workers: [] };
      return { ...nothing, schedules: this.#schedules(new Map()), ...this.#last, trouble };
    }
  }

  #track<T>(work: Promise<T>): Promise<T> {
    this.#pending = work;
    const settled = () => {
      this.#pending = undefined;
    };
    work.then(settled, settled);
    return work;
  }

  async #ask(): Promise<TaskOverview> {
    const { broker } = this.#tasks;
    const [names, workers, ticks] = await Promise.all([broker.queues(), broker.workers(), broker.ticks()]);
    const queues = await Promise.all(
      names.slice(0, MAX_QUEUES).map(async (queue): Promise<ShownQueue> => {
        const { isPaused, ...counts } = await broker.counts(queue);
        return { queue, isPaused, counts };
      }),
    );
    const shown = workers.slice(0, MAX_WORKERS).map((worker): ShownWorker => {
      const { host, pid, startedAt, ageMs, done, failed, retried, memoryBytes } = worker;
      return {
        ...{ worker: text(worker.worker), host: text(host), pid, version: text(worker.version) },
        ...{ startedAt, ageMs: Math.max(ageMs, 0), active: worker.active.length },
        ...{ done, failed, retried, memoryBytes },
        queues: Object.entries(worker.queues)
          .slice(0, MAX_QUEUES)
          .map(([queue, concurrency]) => [text(queue), concurrency]),
      };
    });
    shown.sort((a, b) => a.startedAt - b.startedAt);
    return {
      ...{ at: Date.now(), isShared: broker.isShared, queues, workers: shown },
      schedules: this.#schedules(ticks),
    };
  }

  #schedules(
    ticks: ReadonlyMap<string, { readonly at: number; readonly job: string }>,
  ): readonly ShownScheduled[] {
    const now = Date.now();
    return this.#tasks.schedules.slice(0, MAX_SCHEDULES).map(({ id, timing, tz, task }) => {
      const last = ticks.get(id);
      return {
        ...{ id, task: text(task.name), timing: text(timing.text), tz: text(tz) },
        ...(last && { lastAt: last.at, lastJob: text(last.job) }),
        nextAt: timing.after(now, tz),
      };
    });
  }

  #inTime<T>(work: Promise<T>): Promise<T> {
    return within(
      this.#timeoutMs,
      work,
      () => new LayerUnavailable(`the tasks' broker has not answered within ${this.#timeoutMs} ms`),
    );
  }

  #shown(job: JobRecord): ShownJob {
    const { id, queue, task, state, attempt, isCancelled, priority, addedAt, runAt, startedAt, endedAt } =
      job;
    const args = fieldOf(parsed(job.body), "args");
    const result = job.result === undefined ? undefined : parsed(job.result);
    const error = job.error === undefined ? undefined : parsed(job.error);
    const progress = job.progress === undefined ? undefined : parsed(job.progress);
    return {
      ...{ id, queue, task: text(task), state, attempt, isCancelled, priority, addedAt, runAt },
      ...(startedAt === undefined ? {} : { startedAt }),
      ...(endedAt === undefined ? {} : { endedAt }),
      children: job.children?.length ?? 0,
      ...(progress === undefined
        ? {}
        : {
            progress: {
              done: Number(fieldOf(progress, "done")) || 0,
              total: Number(fieldOf(progress, "total")) || 0,
              note: text(fieldOf(progress, "note")),
            },
          }),
      ...(error === undefined
        ? {}
        : {
            error: {
              code: text(fieldOf(error, "code")),
              name: text(fieldOf(error, "name")),
              message: long(fieldOf(error, "message")),
              stack: long(fieldOf(error, "stack")),
            },
          }),
      ...(args === undefined ? {} : { args: this.#redacted(args, task, "args") }),
      ...(result === undefined ? {} : { result: this.#redacted(result, task, "result") }),
    };
  }

  #redacted(value: unknown, task: string, of: "args" | "result"): string {
    try {
      return (JSON.stringify(this.#redact(value, { task, of }), null, 2) ?? "").slice(0, MAX_STACK);
    } catch {
      return "cannot be shown";
    }
  }
}

function checkedId(id: unknown): string {
  if (typeof id === "string" && ID.test(id)) return id;
  throw new InvalidMessage("this is no id of a run");
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch {
    return "cannot be read";
  }
}

function fieldOf(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
  return (value as Readonly<Record<string, unknown>>)[name];
}

function long(value: unknown): string {
  return typeof value === "string" ? value.slice(0, MAX_STACK) : "";
}

const MAX_FIELDS = 20;
const MAX_DEPTH = 3;

/** What a value looks like, without what it says. */
export function shapeOf(value: unknown, depth = 0): unknown {
  if (value === null || value === undefined) return "nothing";
  if (typeof value === "string") return `text of ${value.length}`;
  if (typeof value !== "object") return typeof value;
  if (Array.isArray(value)) return `list of ${value.length}`;
  const entries = Object.entries(value);
  if (depth >= MAX_DEPTH) return `${entries.length} fields`;
  const shown = entries.slice(0, MAX_FIELDS).map(([name, field]) => [text(name), shapeOf(field, depth + 1)]);
  // From entries, so that no name means anything.
  return Object.fromEntries(shown);
}
