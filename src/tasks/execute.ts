/**
 * The way of one job through a worker: is it known, wanted, in time and under its rate; then its function
 * runs; then it is decided what becomes of it. Nothing here throws.
 */
import type { ChannelLayer, ChildOutcome, Delivery, JobOutcome, TaskBroker, Tracer } from "../index.ts";
import { type Body, readBody, type StepOutcome } from "./body.ts";
import type { Clock } from "./clock.ts";
import {
  Cancelled,
  DoNotRetry,
  faultOf,
  HandedBack,
  RetryLater,
  readFault,
  TimeLimitReached,
} from "./errors.ts";
import type { TaskFacts } from "./facts.ts";
import { plainJson } from "./plain-json.ts";
import { retryAfter } from "./retry.ts";
import { Run, type RunHost } from "./run.ts";
import {
  type KeptProgress,
  LAST_STEP,
  progressOf,
  statusOf,
  type TaskProgress,
  type TaskStatus,
} from "./status.ts";
import { Stopping } from "./stopping.ts";
import type { Task } from "./task.ts";

export type AnyTask = Task<never, unknown>;

export interface ExecutorOptions {
  readonly broker: TaskBroker;
  readonly layer: ChannelLayer;
  readonly clock: Clock;
  readonly facts: TaskFacts;
  readonly tasks: ReadonlyMap<string, AnyTask>;
  /** Follows runs; undefined: nobody does. */
  readonly tracer: Tracer | undefined;
  /** The outcome, to the group that the run was enqueued with. */
  notify(group: string, status: TaskStatus): Promise<void>;
  /** Bytes of a result, as JSON. */
  readonly maxResultBytes: number;
  /** From 0 to 1. */
  random(): number;
}

/** One whose task nobody knows comes again after so long: another worker may be newer. */
const STRANGE_MS = 5_000;
/** Until nobody can be meant. */
const STRANGE_FOR_MS = 600_000;
/** Of a run's reports so many are followed: one that goes on for hours would be a trace that nobody can read. */
const MAX_TRACED_REPORTS = 100;

export class Executor {
  readonly #options: ExecutorOptions;
  readonly #host: RunHost;
  readonly #running = new Map<string, { readonly task: string; readonly stop: Stopping }>();
  /** Tasks of which a run has ended lately. */
  readonly #ended = new Set<string>();

  constructor(options: ExecutorOptions) {
    this.#options = options;
    const { layer, clock, facts, tracer } = options;
    this.#host = {
      layer,
      clock,
      tell: async (job: Delivery, kept: KeptProgress) => {
        facts.progress.announce({ ...factOf(job), ...progressOf(kept) });
        const keep = () => job.setProgress(JSON.stringify(kept));
        const isTraced = tracer !== undefined && kept.step <= MAX_TRACED_REPORTS;
        await this.#safely(isTraced ? tracer.sends({ verb: "progress", what: job.task }, keep) : keep());
      },
      log: (job: Delivery, message: string, details: Readonly<Record<string, unknown>>) => {
        facts.logged.announce({ ...factOf(job), attempt: job.attempt, message, details });
      },
    };
  }

  /** Ids of what runs in this process. */
  get running(): Iterable<string> {
    return this.#running.keys();
  }

  /** Names of tasks that run, or have run since this was asked last. */
  takeActive(): readonly string[] {
    const names = new Set(this.#ended);
    for (const { task } of this.#running.values()) names.add(task);
    this.#ended.clear();
    return [...names];
  }

  /** Aborts what runs here; what then ends with an error is handed back, as no attempt. */
  handBack(): void {
    for (const { stop } of this.#running.values()) {
      stop.stop(new HandedBack("the worker ends; the run begins again elsewhere"));
    }
  }

  readonly handle = async (job: Delivery): Promise<JobOutcome> => {
    try {
      return await this.#handle(job);
    } catch (error) {
      // Ours, or the broker's: the task is not to blame.
      this.#options.facts.faulted.announce({ error });
      return { kind: "later", afterMs: STRANGE_MS };
    }
  };

  async #handle(job: Delivery): Promise<JobOutcome> {
    const { tasks, clock } = this.#options;
    const read = readBody(job.body);
    const body = typeof read === "string" ? undefined : read;
    const task = tasks.get(job.task);
    if (job.isCancelled) return this.#giveUp(job, body, new Cancelled("the run was cancelled"));
    if (read === "unreadable") {
      return this.#giveUp(job, body, new DoNotRetry("its body cannot be read", { code: "unreadable" }));
    }
    if (body === undefined || task === undefined) return this.#strange(job, body);
    if (body.expiresAt !== undefined && clock.now() >= body.expiresAt) {
      return this.#giveUp(
        job,
        body,
        new DoNotRetry("its time was over before it began", { code: "expired" }),
      );
    }
    const waitMs = task.rate === undefined ? 0 : await this.#reserve(task, body);
    if (waitMs > 0) {
      return { kind: "later", afterMs: waitMs, body: JSON.stringify({ ...body, reserved: true }) };
    }
    const { tracer } = this.#options;
    if (tracer === undefined) return this.#run(job, task, body);
    const { id, queue, attempt } = job;
    const handling = { hook: "task", what: task.name, id, queue, attempt } as const;
    return tracer.handles(handling, tracer.taskOrigin(body.trace), () => this.#run(job, task, body));
  }

  async #strange(job: Delivery, body: Body | undefined): Promise<JobOutcome> {
    const now = this.#options.clock.now();
    const since = body?.strangeSince ?? (body === undefined ? job.addedAt : now);
    if (now - since < STRANGE_FOR_MS) {
      const later = { kind: "later", afterMs: STRANGE_MS } as const;
      return body === undefined
        ? later
        : { ...later, body: JSON.stringify({ ...body, strangeSince: since }) };
    }
    const message = `no worker of the queue "${job.queue}" knows the task "${job.task}"; list it in new Tasks({ tasks })`;
    return this.#giveUp(job, body, new DoNotRetry(message, { code: "unknown_task" }));
  }

  async #reserve(task: AnyTask, body: Body): Promise<number> {
    if (task.rate === undefined || body.reserved === true) return 0;
    return this.#options.broker.reserve(task.name, task.rate.max, task.rate.perMs);
  }

  async #run(job: Delivery, task: AnyTask, body: Body): Promise<JobOutcome> {
    const { facts, clock } = this.#options;
    const stop = new Stopping(job.signal);
    const limit = task.settings.timeLimitMs;
    const timer = limit === 0 ? undefined : clock.setTimeout(() => stop.stop(timeLimit(task)), limit);
    this.#running.set(job.id, { task: task.name, stop });
    const run = new Run(job, this.#host, stop, task.settings.progressMs);
    const startedAt = clock.now();
    const fact = factOf(job);
    facts.started.announce({
      ...fact,
      attempt: job.attempt,
      waitedMs: startedAt - Math.max(job.addedAt, job.runAt),
    });
    try {
      const args = await argsOf(job, body);
      const value: unknown = await task.work(args as never, run);
      const result = encodeResult(task, value, this.#options.maxResultBytes);
      await run.end();
      facts.succeeded.announce({ ...fact, attempt: job.attempt, tookMs: clock.now() - startedAt });
      await this.#notify(job, body, run.told, () => ({
        state: "succeeded",
        result: JSON.parse(result) as unknown,
      }));
      return { kind: "done", result };
    } catch (error) {
      await run.end();
      return await this.#failed(job, task, body, whatFailed(error, stop.reason), run.told);
    } finally {
      if (timer !== undefined) clock.clearTimeout(timer);
      this.#running.delete(job.id);
      this.#ended.add(task.name);
    }
  }

  async #failed(
    job: Delivery,
    task: AnyTask,
    body: Body,
    error: unknown,
    told: TaskProgress | undefined,
  ): Promise<JobOutcome> {
    if (error instanceof HandedBack) return { kind: "later", afterMs: 0 };
    this.#options.tracer?.failed(error);
    if (error instanceof Cancelled) return this.#giveUp(job, body, error, told);
    const { facts, random } = this.#options;
    const afterMs = retryAfter(task.retry, error, job.attempt, random());
    if (afterMs === undefined) return this.#giveUp(job, body, error, told);
    facts.retrying.announce({ ...factOf(job), attempt: job.attempt, afterMs, error });
    return { kind: "retry", afterMs, error: JSON.stringify(faultOf(error)) };
  }

  async #giveUp(
    job: Delivery,
    body: Body | undefined,
    error: unknown,
    told?: TaskProgress,
  ): Promise<JobOutcome> {
    const { facts } = this.#options;
    const fault = faultOf(error);
    const state = fault.code === "cancelled" || fault.code === "expired" ? fault.code : "failed";
    if (state === "failed") facts.failed.announce({ ...factOf(job), attempt: job.attempt, error });
    else facts[state].announce(factOf(job));
    const { code, message } = fault;
    await this.#notify(job, body, told, () => ({ state, error: { code, message } }));
    return { kind: "failed", error: JSON.stringify(fault) };
  }

  async #notify(
    job: Delivery,
    body: Body | undefined,
    told: TaskProgress | undefined,
    outcome: () => Pick<TaskStatus, "state" | "result" | "error">,
  ): Promise<void> {
    if (body?.notify === undefined) return;
    const progress = told && { progress: told };
    const at = this.#options.clock.now();
    const status = { ...statusOf(job), ...progress, ...outcome(), step: LAST_STEP, at };
    await this.#safely(this.#options.notify(body.notify, status));
  }

  /** What tells others may fail without the task's failing. */
  async #safely(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.#options.facts.faulted.announce({ error });
    }
  }
}

function factOf({ id, task, queue }: Delivery) {
  return { id, task, queue };
}

function timeLimit({ name, settings }: AnyTask): TimeLimitReached {
  return new TimeLimitReached(`the task "${name}" may take ${settings.timeLimitMs} ms (timeLimitMs)`);
}

/** What a function throws once it was told to end is that it was told so; asking for a retry stays that. */
function whatFailed(error: unknown, stopped: Error | undefined): unknown {
  if (stopped === undefined) return error;
  return error instanceof RetryLater && stopped instanceof TimeLimitReached ? error : stopped;
}

/** @throws DoNotRetry */
function encodeResult(task: AnyTask, value: unknown, maxBytes: number): string {
  const refused = (why: string, code: string) =>
    new DoNotRetry(`what the task "${task.name}" returned cannot be kept: ${why}`, { code });
  let json: string;
  try {
    json = plainJson(value, "result") ?? "null";
  } catch (error) {
    throw refused((error as Error).message, "unencodable");
  }
  const bytes = Buffer.byteLength(json);
  if (bytes <= maxBytes) return json;
  throw refused(
    `it has ${bytes} bytes as JSON, ${maxBytes} are allowed (tasks.maxResultBytes); store it, and return where`,
    "message_too_large",
  );
}

/** @throws DoNotRetry if a step before it failed that it cannot do without */
async function argsOf(job: Delivery, { args, takes, after }: Body): Promise<unknown> {
  if (takes === undefined && after === undefined) return args;
  const outcomes = (await job.childOutcomes()).map(stepOutcome);
  if (takes === "outcomes") return outcomes;
  const values = outcomes.map((outcome) => {
    if (outcome.ok) return outcome.value;
    const { code, message } = outcome.error;
    const isCancel = code === "cancelled";
    throw new DoNotRetry(`a step before it ${isCancel ? "was cancelled" : `failed: ${message}`}`, {
      code: isCancel ? code : "step_failed",
    });
  });
  if (takes === "results") return values;
  return takes === "result" ? values[0] : args;
}

function stepOutcome(outcome: ChildOutcome): StepOutcome {
  if ("result" in outcome) return { ok: true, value: JSON.parse(outcome.result) as unknown };
  const { code, message } = readFault(outcome.error);
  return { ok: false, error: { code, message } };
}
