/**
 * A task: a function with a name, that runs in the background, in whichever process works on its queue.
 */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import {
  ConfigurationError,
  Faults,
  type Given,
  type JobPriority,
  nearest,
  resolveOptions,
  validate,
} from "../index.ts";
import type { TaskHandle } from "./handle.ts";
import { plainJson } from "./plain-json.ts";
import { type RetryOptions, type RetryPolicy, retryPolicy } from "./retry.ts";
import { runHere, type TaskRun } from "./run.ts";

export const priorities = { urgent: 1, high: 2, normal: 3, low: 4, idle: 5 } as const satisfies Record<
  string,
  JobPriority
>;
/** How urgent a run is, among those of its queue. */
export type Priority = keyof typeof priorities;

export const taskDefaults = {
  /** Letters, digits, `-` and `_`. */
  queue: "default",
  /**
   * After so long `run.signal` is aborted; what the run throws then counts as `time_limit`. 0: never. Only a
   * thread can be ended against its will: see `sluice/threads`.
   */
  timeLimitMs: 0,
  /** How long outcomes and results can be asked for. */
  keepMs: 3_600_000,
  /** Watchers are told of progress at most so often; the last always. */
  progressMs: 200,
};

export type TaskSettings = typeof taskDefaults;

/** How a task is run; each call may say otherwise for its run. */
export interface TaskOptions<Schema extends StandardSchemaV1 = StandardSchemaV1> extends Given<TaskSettings> {
  /** Any Standard Schema (zod, valibot, arktype); what it makes of the arguments is what runs get. */
  readonly schema?: Schema;
  /** Within a queue the more urgent first. Default `normal`. */
  readonly priority?: Priority;
  /** Whether a failed run is tried again. Without it none is, unless it calls `run.retry()`. */
  readonly retry?: RetryOptions;
  /** At most so many starts in so much time, on all workers together. */
  readonly rate?: { readonly max: number; readonly perMs: number };
}

/** How one run is to go; what is not said is the task's. */
export interface EnqueueOptions {
  /** Not before so long from now; or `at`. */
  readonly delayMs?: number;
  /** Not before; milliseconds since 1970, or a Date. */
  readonly at?: number | Date;
  /** If it has not begun by then it does not run: it ends as `expired`. */
  readonly expiresAt?: number | Date;
  readonly priority?: Priority;
  readonly queue?: string;
  /**
   * While a run with this key waits or runs, no other is added: the handle is that of the first, and says
   * `merged`. For each task and queue apart; up to 200 characters.
   */
  readonly key?: string;
  /** A group whose members' clients are sent the event `task` with the outcome. */
  readonly notify?: string;
}

/** The work itself. What it returns, and what it is given, go through JSON. */
export type TaskFunction<Args, Result> = (args: Args, run: TaskRun) => Result | Promise<Result>;

/** What a task is bound to while an application runs: see `Tasks`. */
export interface TaskHost {
  enqueue<Args, Result>(
    task: Task<Args, Result>,
    args: Args,
    options?: EnqueueOptions,
  ): Promise<TaskHandle<Result>>;
}

/** One task with its arguments, or without, as a step of a workflow. */
export interface Step<Result = unknown> {
  readonly task: Task<never, Result>;
  /** Undefined: what came before it. */
  readonly args: { readonly value: unknown } | undefined;
  readonly options: EnqueueOptions;
}

/** No arguments may be left out. */
export type ArgsOf<Args> = undefined extends Args
  ? [args?: Args, options?: EnqueueOptions]
  : [args: Args, options?: EnqueueOptions];

const NAME = /^[A-Za-z][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$/;
const QUEUE = /^[A-Za-z0-9_-]{1,40}$/;
const MAX_NAME = 80;

/**
 * A function with a name that runs in the background; {@link task} makes it. At least once: a run whose
 * worker was killed runs again.
 */
export class Task<Args, Result> {
  readonly name: string;
  readonly settings: TaskSettings;
  readonly schema: StandardSchemaV1 | undefined;
  readonly priority: Priority;
  readonly retry: RetryPolicy;
  readonly rate: { readonly max: number; readonly perMs: number } | undefined;
  /** @internal */
  readonly work: TaskFunction<never, Result>;
  readonly #hosts = new Set<TaskHost>();

  /** @throws ConfigurationError that lists every fault; use {@link task} */
  constructor(name: string, options: TaskOptions, work: TaskFunction<never, Result>) {
    const faults = new Faults();
    const fault = (is: boolean, what: string) => {
      if (is) faults.list.push(what);
    };
    const where = `task "${name}"`;
    fault(
      typeof name !== "string" || !NAME.test(name) || name.length > MAX_NAME,
      `a task's name is dotted words such as "report.build", up to ${MAX_NAME} characters, not "${String(name)}"`,
    );
    fault(typeof work !== "function", `${where} needs a function: task(name, options, (args, run) => ...)`);
    const { schema, priority = "normal", retry, rate, ...rest } = options;
    const settings = faults.collect(() => resolveOptions(taskDefaults, rest, where));
    const policy = faults.collect(() => retryPolicy(retry, where));
    fault(
      schema !== undefined && typeof schema["~standard"]?.validate !== "function",
      `${where}: schema must be a Standard Schema (zod, valibot, arktype, ...)`,
    );
    fault(!Object.hasOwn(priorities, priority), `${where}: ${priorityFault(priority)}`);
    fault(
      rate !== undefined && !(Number.isInteger(rate.max) && rate.max >= 1 && rate.perMs >= 1),
      `${where}: rate must be { max, perMs }: at least 1 in at least 1 ms`,
    );
    if (settings !== undefined) {
      const { queue, timeLimitMs, keepMs, progressMs } = settings;
      fault(!isQueueName(queue), `${where}: ${queueFault(queue)}`);
      for (const [key, value] of Object.entries({ timeLimitMs, keepMs, progressMs })) {
        fault(!(value >= 0 && value <= 2_147_483_647), `${where}: ${key} must be 0 to 2147483647`);
      }
    }
    if (settings === undefined || policy === undefined || faults.list.length > 0) {
      throw new ConfigurationError(faults.list);
    }
    this.name = name;
    this.settings = settings;
    this.schema = schema;
    this.priority = priority;
    this.retry = policy;
    this.rate = rate;
    this.work = work;
  }

  /**
   * Adds a run to its queue. Resolved: it was added, and will run at least once.
   *
   * @throws InvalidMessage, Unencodable, MessageTooLarge for wrong arguments; LayerUnavailable when the
   * broker cannot be reached: at once, nothing waits
   */
  async enqueue(...[args, options]: ArgsOf<Args>): Promise<TaskHandle<Result>> {
    return this.#host().enqueue(this, args as Args, options);
  }

  /** `enqueue` under the name that users of Celery know. */
  async delay(...[args]: undefined extends Args ? [args?: Args] : [args: Args]): Promise<TaskHandle<Result>> {
    return this.#host().enqueue(this, args as Args);
  }

  /** `enqueue` under the name that users of Celery know. */
  async applyAsync(...[args, options]: ArgsOf<Args>): Promise<TaskHandle<Result>> {
    return this.#host().enqueue(this, args as Args, options);
  }

  /**
   * Runs the function here and now, for tests: arguments and result go through validation and JSON as they
   * would on the way to a worker; there is no queue, and no retry.
   *
   * @param given - what of the run the function needs: `layer`, `signal`, `attempt`, ...
   * @throws InvalidMessage, Unencodable, and whatever the function throws
   */
  async run(
    ...[args, given = {}]: undefined extends Args
      ? [args?: Args, given?: Partial<TaskRun>]
      : [args: Args, given?: Partial<TaskRun>]
  ): Promise<Result> {
    const sent = this.schema === undefined ? args : await validate(this.schema, args);
    const arrived = again(plainJson(sent, "args"));
    const result = await this.work(arrived as never, runHere(this.name, given));
    return again(plainJson(result, "result") ?? "null") as Result;
  }

  /** This task as a step of a workflow, with these arguments whatever came before. */
  with(args: Args, options: EnqueueOptions = {}): Step<Result> {
    return { task: this as Task<never, Result>, args: { value: args }, options };
  }

  /** This task as a step of a workflow, given the result of the step before it. */
  step(options: EnqueueOptions = {}): Step<Result> {
    return { task: this as Task<never, Result>, args: undefined, options };
  }

  /**
   * A receiver for a signal: each fact enqueues a run, in place of doing the work at once.
   *
   * @example
   * orderPaid.connect(sendInvoice.receiver(({ orderId }) => ({ orderId })));
   */
  receiver<Fact>(
    toArgs: (fact: Fact) => Args,
    options?: EnqueueOptions,
  ): (fact: Fact) => Promise<TaskHandle<Result>> {
    return async (fact) => this.#host().enqueue(this, toArgs(fact), options);
  }

  /** @internal */
  bind(host: TaskHost): void {
    this.#hosts.add(host);
  }

  /** @internal */
  unbind(host: TaskHost): void {
    this.#hosts.delete(host);
  }

  #host(): TaskHost {
    const [host, other] = this.#hosts;
    if (host === undefined) {
      throw new ConfigurationError([
        `the task "${this.name}" belongs to no application that runs: list it in new Tasks({ tasks }), give that to createApplication({ parts }), and start it`,
      ]);
    }
    if (other !== undefined) {
      throw new ConfigurationError([
        `the task "${this.name}" belongs to several applications of this process; say which: tasks.enqueue(${this.name}, args)`,
      ]);
    }
    return host;
  }
}

/**
 * Defines a task. Give it to `new Tasks({ tasks: [...] })`, in the web processes and in the workers.
 *
 * @param name - unique among the tasks of an application, and kept when the function moves: what waits in
 * queues is found by it
 * @example
 * export const buildReport = task("report.build", { retry: { attempts: 3 } }, async (args: { month: string }, run) => {
 *   const rows = await fetchRows(args.month, { signal: run.signal });
 *   for (const [i, row] of rows.entries()) run.progress(i, rows.length, row.title);
 *   return { rows: rows.length };
 * });
 * const handle = await buildReport.enqueue({ month: "2026-11" });
 */
export function task<Schema extends StandardSchemaV1, Result>(
  name: string,
  options: TaskOptions<Schema> & { readonly schema: Schema },
  work: TaskFunction<StandardSchemaV1.InferOutput<Schema>, Result>,
): Task<StandardSchemaV1.InferInput<Schema>, Result>;
export function task<Args = undefined, Result = void>(
  name: string,
  options: TaskOptions & { readonly schema?: undefined },
  work: TaskFunction<Args, Result>,
): Task<Args, Result>;
export function task<Args = undefined, Result = void>(
  name: string,
  work: TaskFunction<Args, Result>,
): Task<Args, Result>;
export function task(
  name: string,
  ...rest: [TaskFunction<never, unknown>] | [TaskOptions, TaskFunction<never, unknown>]
): Task<never, unknown> {
  const [options, work] = rest.length === 1 ? [{}, rest[0]] : rest;
  if (typeof options !== "object" || options === null) {
    throw new ConfigurationError([`the options of the task "${String(name)}" must be an object`]);
  }
  if (String(name).startsWith("sluice.")) {
    throw new ConfigurationError([`task "${name}" begins with "sluice.", which belongs to the framework`]);
  }
  return new Task(name, options, work);
}

function again(json: string | undefined): unknown {
  return json === undefined ? undefined : JSON.parse(json);
}

export function isQueueName(queue: unknown): queue is string {
  return typeof queue === "string" && QUEUE.test(queue);
}

export function queueFault(queue: unknown): string {
  return `a queue's name is 1 to 40 letters, digits, "-" or "_", not "${String(queue)}"`;
}

/** What is wrong with names that are no options; undefined: nothing. */
export function strangeOption(given: object, known: readonly string[], where: string): string | undefined {
  const name = Object.keys(given).find((name) => !known.includes(name));
  if (name === undefined) return undefined;
  const meant = nearest(name, known);
  const hint = meant === undefined ? `there are ${known.join(", ")}` : `did you mean "${meant}"?`;
  return `${where} has no option "${name}"; ${hint}`;
}

export function priorityFault(priority: unknown): string {
  const meant = nearest(String(priority), Object.keys(priorities));
  const hint = meant === undefined ? "" : `; did you mean "${meant}"?`;
  return `priority must be ${Object.keys(priorities).join(", ")}, not "${String(priority)}"${hint}`;
}
