/**
 * Tasks of an application: knows them by name, enqueues their runs, and works on queues where it is told to.
 */
import type { ApplicationPart, NewJob, PartContext, PartReadings, RouteEntry, TaskBroker } from "../index.ts";
import {
  AddressBuckets,
  ConfigurationError,
  Faults,
  type Given,
  InvalidMessage,
  LayerUnavailable,
  type Logger,
  RateLimited,
  resolveOptions,
} from "../index.ts";
import type { Body, StepOutcome } from "./body.ts";
import type { WorkerChannel } from "./channels.ts";
import { type Clock, realClock } from "./clock.ts";
import { type AnyTask, Executor } from "./execute.ts";
import { createTaskFacts, type TaskFacts } from "./facts.ts";
import { Handle, type TaskHandle } from "./handle.ts";
import { isJobId } from "./job-id.ts";
import { logTasks } from "./log.ts";
import { newJob } from "./new-job.ts";
import type { Schedule } from "./schedule.ts";
import { Scheduler } from "./scheduler.ts";
import { SealedBroker } from "./sealed-broker.ts";
import { TaskTally } from "./tally.ts";
import { type EnqueueOptions, isQueueName, queueFault, type Step, type Task, type TaskHost } from "./task.ts";
import { type Ticket, type TicketOptions, Tickets } from "./tickets.ts";
import { WatchedRuns } from "./watched-runs.ts";
import { type WatchHost, watchRoutes } from "./watching.ts";
import { Worker } from "./worker.ts";
import { chain, chord, type FailurePolicy, gather, type WorkflowHost } from "./workflow.ts";

export const tasksDefaults = {
  /** Bytes of a run's arguments, as JSON. */
  maxArgsBytes: 262_144,
  /** Bytes of what a run returns, as JSON. */
  maxResultBytes: 200_000,
  /** How often a worker says that it lives. */
  reportMs: 5_000,
  /** A run that holds the event loop for so long is told of by `signals.blocking`. */
  blockedMs: 2_000,
  /** Where runs are watched: a namespace, and paths below; empty: nowhere. */
  path: "/tasks",
  /** When nothing was heard of a watched run for so long its record is looked at, as what is told may be lost. */
  lookMs: 5_000,
  /**
   * How often a second the clients of one address may ask for runs: begin to watch one, or read its state; as
   * many again in a burst. Beyond that they are told `rate_limited`.
   */
  asksPerSecond: 100,
  /** After so many runs this process is `tired`, and whoever runs it replaces it; 0: never. */
  maxRuns: 0,
  /** The same for so much memory, in MiB, as the system counts it; 0: never. */
  maxMemoryMb: 0,
  /** Of the application, for those who look at workers. */
  version: "",
};

/** What {@link Tasks} takes: what there is to do, and what carries it. */
export interface TasksOptions extends Given<typeof tasksDefaults> {
  /** All of them; web processes and workers have the same list. */
  readonly tasks: readonly Task<never, unknown>[];
  /** Where runs wait: `MemoryBroker` in this process, `RedisBroker` (`sluice/tasks/redis`) for many. */
  readonly broker: TaskBroker;
  /**
   * How many runs at once, by queue, this process works on. By default, with a broker of this process' own:
   * 10 of each queue; with a shared one none: workers do (`sluice work`).
   */
  readonly queues?: Readonly<Record<string, number>>;
  /** Named channels: what is sent to one (`layer.send(name, message)`) exactly one worker handles. */
  readonly channels?: readonly WorkerChannel[];
  /** Runs at times; each worker looks after all of them, and each moment makes one run. */
  readonly schedules?: readonly Schedule[];
  /** Hears what happens to tasks here; without it connect receivers to `signals`. */
  readonly logger?: Logger;
  /** Called once when this process is `tired`: see `maxRuns` and `maxMemoryMb`. */
  readonly onTired?: () => void;
  /** Time, for tests. @internal */
  readonly clock?: Clock;
}

const OWN_CONCURRENCY = 10;

/** The tasks of an application, as a part of it: `createApplication({ parts: [tasks] })`. */
export class Tasks implements ApplicationPart, TaskHost {
  /** Facts of tasks in this process. */
  readonly signals: TaskFacts = createTaskFacts();
  readonly routes: readonly RouteEntry[];
  readonly queues: Readonly<Record<string, number>>;
  #broker: TaskBroker;
  readonly #settings: typeof tasksDefaults;
  readonly #tasks = new Map<string, AnyTask>();
  readonly #tally = new TaskTally(this.signals, (task) => this.#tasks.has(task));
  #executor: Executor | undefined;
  /** Runs at times, as they were declared. */
  readonly schedules: readonly Schedule[];
  readonly #channels: readonly WorkerChannel[];
  readonly #clock: Clock;
  #tickets: Tickets | undefined;
  #context: PartContext | undefined;
  #worker: Worker | undefined;
  #scheduler: Scheduler | undefined;
  #isOpen = false;
  #ends: readonly (() => void)[] = [];

  /** @throws ConfigurationError that lists every fault */
  constructor({
    tasks,
    broker,
    queues,
    schedules = [],
    channels = [],
    logger,
    onTired,
    clock = realClock,
    ...options
  }: TasksOptions) {
    const missing = faultsOfSetUp(tasks, broker);
    if (missing.length > 0) throw new ConfigurationError(missing);
    const faults = new Faults();
    this.#tasks.set(gather.name, gather as AnyTask);
    for (const task of [...tasks, ...channels.map((channel) => channel.task)]) {
      if (this.#tasks.has(task.name)) faults.list.push(`two tasks are named "${task.name}"; rename one`);
      this.#tasks.set(task.name, task as AnyTask);
    }
    const settings = faults.collect(() => resolveOptions(tasksDefaults, options, "tasks"));
    this.queues = queues ?? (broker.isShared ? {} : this.#ownQueues(schedules));
    for (const [queue, concurrency] of Object.entries(this.queues)) {
      if (!isQueueName(queue)) faults.list.push(`tasks.queues: ${queueFault(queue)}`);
      if (!(Number.isInteger(concurrency) && concurrency >= 1 && concurrency <= 10_000)) {
        faults.list.push(
          `tasks.queues.${queue} must be a whole number from 1 to 10000, not ${String(concurrency)}`,
        );
      }
    }
    const ids = new Set<string>();
    for (const { id, task } of schedules) {
      if (ids.has(id)) faults.list.push(`two schedules have the id "${id}"; rename one`);
      if (this.#tasks.get(task.name) !== task) {
        faults.list.push(
          `the schedule "${id}" runs the task "${task.name}", which is not in the list of tasks`,
        );
      }
      ids.add(id);
    }
    if (settings === undefined || faults.list.length > 0) throw new ConfigurationError(faults.list);
    this.#settings = settings;
    this.schedules = schedules;
    this.#channels = channels;
    this.#clock = clock;
    this.#broker = broker;
    if (logger !== undefined) logTasks(this.signals, logger);
    if (onTired !== undefined) this.signals.tired.connect(() => onTired());
    const { path } = settings;
    this.routes = path === "" ? [] : watchRoutes(path, this.#watchHost());
  }

  /** Where runs wait; encrypted, from the start on, if the application has keys. */
  get broker(): TaskBroker {
    return this.#broker;
  }

  /** Opens the broker and, if it is to work on queues, begins. An application does this. @internal */
  async open(context: PartContext): Promise<void> {
    if (this.broker.isShared && context.secrets.length === 0) {
      throw new ConfigurationError([
        "processes that share tasks need a `secret` that all of them know (SLUICE_SECRET), for tickets; make one by: openssl rand -base64 48",
      ]);
    }
    if (this.#broker.isShared) {
      this.#broker = new SealedBroker(this.#broker, context.seal("tasks", this.#broker.prefix));
    }
    this.#context = context;
    this.#tickets = new Tickets(context.secrets);
    const { signals } = this;
    await this.broker.open({
      down: (reason) => signals.brokerDown.announce({ reason }),
      up: () => signals.brokerUp.announce({}),
      failed: (error) => signals.faulted.announce({ error }),
      stalled: (id) => signals.stalled.announce({ id }),
    });
    this.#isOpen = true;
    this.#tally.reachable(true);
    for (const task of this.#tasks.values()) task.bind(this);
    this.#ends = this.#channels.map(({ name, task }) =>
      context.layer.nameChannel(name, async (message) => {
        await this.enqueue(task, message);
      }),
    );
    if (Object.keys(this.queues).length > 0) await this.#work(context);
  }

  /** Takes no more; what runs has so long to end before it is handed back. @internal */
  async close(withinMs: number): Promise<void> {
    for (const task of this.#tasks.values()) task.unbind(this);
    for (const end of this.#ends) end();
    this.#ends = [];
    const endsAt = performance.now() + withinMs;
    this.#scheduler?.stop();
    await this.#worker?.stop(withinMs * 0.9);
    this.#worker = undefined;
    this.#isOpen = false;
    await this.broker.close(Math.max(endsAt - performance.now(), 0));
  }

  /** @internal */
  causes(): readonly string[] {
    return this.#isOpen && !this.#tally.isBrokerUp ? ["tasks cannot be reached"] : [];
  }

  /** @internal */
  readings(): PartReadings {
    let running = 0;
    for (const _id of this.#executor?.running ?? []) running += 1;
    return { tasks: this.#tally.reading(running, this.#executor === undefined ? [] : this.#tasks.keys()) };
  }

  /** @internal */
  async look(): Promise<void> {
    if (this.#isOpen) await this.#tally.look(this.broker);
  }

  /** How many runs have ended in this process. */
  get runs(): number {
    return this.#worker?.runs ?? 0;
  }

  /** As `task.enqueue`, for processes with several applications. */
  async enqueue<Args, Result>(
    task: Task<Args, Result>,
    args: Args,
    options: EnqueueOptions = {},
  ): Promise<TaskHandle<Result>> {
    return this.#sending(task.name, async (host) => {
      return host.add<Result>(await host.job(task, { value: args }, options, {}));
    });
  }

  /**
   * Runs steps one after the other. A step without arguments of its own (`task.step()`) is given the result of
   * the one before. If one fails, those after it fail with the code `step_failed`.
   *
   * @returns the handle of the last; cancelling it cancels all
   * @throws InvalidMessage, Unencodable, MessageTooLarge, LayerUnavailable: then none was added
   * @example
   * await tasks.chain([fetchPage.with({ url }), countWords.step(), store.step()]);
   */
  chain<Result>(steps: readonly [...Step[], Step<Result>]): Promise<TaskHandle<Result>> {
    return this.#sending(steps.at(-1)?.task.name, (host) => chain<Result>(host, steps));
  }

  /**
   * Runs steps side by side; all of them end before the group does.
   *
   * @returns a handle whose result is the list of theirs, in the order of the steps; with `onFailure:
   * "collect"` a list of `{ ok: true, value }` and `{ ok: false, error }`
   */
  group<Result>(
    steps: readonly Step<Result>[],
    options?: { readonly onFailure?: "fail" },
  ): Promise<TaskHandle<readonly Result[]>>;
  group<Result>(
    steps: readonly Step<Result>[],
    options: { readonly onFailure: FailurePolicy },
  ): Promise<TaskHandle<readonly StepOutcome<Result>[]>>;
  group(
    steps: readonly Step[],
    { onFailure = "fail" }: { readonly onFailure?: FailurePolicy } = {},
  ): Promise<TaskHandle<never>> {
    return this.#sending(gather.name, (host) => chord<never>(host, steps, undefined, onFailure));
  }

  /** As `group`; the list is handed to a last step (`task.step()`), whose handle this is. */
  chord<Result>(
    steps: readonly Step[],
    last: Step<Result>,
    { onFailure = "fail" }: { readonly onFailure?: FailurePolicy } = {},
  ): Promise<TaskHandle<Result>> {
    return this.#sending(last?.task.name, (host) => chord<Result>(host, steps, last, onFailure));
  }

  /** A run by its id, whoever enqueued it. @throws InvalidMessage for what is no id */
  handle<Result = unknown>(id: string): TaskHandle<Result> {
    if (!isJobId(id)) throw new InvalidMessage("this is no id of a run");
    return new Handle<Result>(this.#handleHost, id, false);
  }

  /**
   * The run that a ticket is for: for a route that hands out what the run made to who may watch it.
   *
   * @param user - who shows it, as `scope.user`
   * @throws TicketRefused for one that is not genuine, of another user, or over
   */
  handleFor<Result = unknown>(ticket: unknown, user?: unknown): TaskHandle<Result> {
    return this.handle<Result>(this.#checked(ticket, user).id);
  }

  /** What a browser shows to watch a run; see {@link TaskHandle.ticket}. */
  ticket(id: string, options: TicketOptions = {}): string {
    return this.#up.tickets.issue(id, options, this.#clock.now());
  }

  /** @internal */
  async add<Result>(job: NewJob): Promise<TaskHandle<Result>> {
    this.#check();
    const { id, isMerged } = await this.broker.add(job);
    this.signals.queued.announce({ id, task: job.task, queue: job.queue, isMerged });
    return new Handle<Result>(this.#handleHost, id, isMerged);
  }

  /**
   * A run as the broker takes it.
   *
   * @param more - what its body says beside arguments and options
   * @throws InvalidMessage, Unencodable, MessageTooLarge
   * @internal
   */
  async job(
    task: Task<never, unknown>,
    args: { readonly value: unknown } | undefined,
    options: EnqueueOptions,
    more: Partial<Body>,
    children?: readonly NewJob[],
  ): Promise<NewJob> {
    if (this.#tasks.get(task.name) !== task) {
      throw new ConfigurationError([
        `the task "${task.name}" is not of this application; list it in new Tasks({ tasks })`,
      ]);
    }
    const { maxArgsBytes } = this.#settings;
    const context = { now: this.#clock.now(), maxArgsBytes, more, children };
    const job = await newJob(task, args, options, context);
    const own = Object.keys(this.queues);
    // Nobody else could.
    if (!this.broker.isShared && own.length > 0 && !own.includes(job.queue)) {
      throw new ConfigurationError([
        `nobody works on the queue "${job.queue}": tasks are kept in this process' memory, and it works on ${own.join(", ")}; name it in new Tasks({ queues: { "${job.queue}": 10 } })`,
      ]);
    }
    return job;
  }

  /** All that is enqueued within belongs to one trace, if somebody follows it. */
  #sending<T>(what = "", run: (host: WorkflowHost) => Promise<T>): Promise<T> {
    const tracer = this.#context?.tracer;
    if (tracer === undefined) return run(this);
    return tracer.sends({ verb: "enqueue", what }, (trace) =>
      run({
        job: (task, args, options, more, children) =>
          this.job(task, args, options, { ...more, ...(trace && { trace }) }, children),
        add: (job) => this.add(job),
      }),
    );
  }

  async #work({ layer, node, tracer }: PartContext): Promise<void> {
    const { reportMs, blockedMs, version, maxRuns, maxMemoryMb } = this.#settings;
    const scheduler = new Scheduler({
      broker: this.broker,
      clock: this.#clock,
      facts: this.signals,
      schedules: this.schedules,
      jobOf: ({ task, args, options }) => this.job(task, { value: args }, options, {}),
    });
    await scheduler.check();
    const executor = new Executor({
      broker: this.broker,
      layer,
      clock: this.#clock,
      facts: this.signals,
      tasks: this.#tasks,
      tracer,
      maxResultBytes: this.#settings.maxResultBytes,
      random: Math.random,
      notify: async (group, status) => layer.groupEmit(group, "task", status),
    });
    this.#executor = executor;
    this.#worker = new Worker({
      name: node,
      broker: this.broker,
      facts: this.signals,
      queues: this.queues,
      version,
      reportMs,
      blockedMs,
      maxRuns,
      maxMemoryMb,
      handle: executor.handle,
      running: () => executor.running,
      takeActive: () => executor.takeActive(),
      handBack: () => executor.handBack(),
    });
    await this.#worker.start();
    this.#scheduler = scheduler;
    await scheduler.start();
  }

  #watchHost(): WatchHost {
    const { asksPerSecond } = this.#settings;
    const asks = new AddressBuckets(asksPerSecond, asksPerSecond * 2);
    // Not yet the one that it will be.
    const broker: WatchHost["broker"] = {
      find: (id) => this.broker.find(id),
      follow: (id, follower) => this.broker.follow(id, follower),
    };
    return {
      broker,
      runs: new WatchedRuns(broker, this.#settings.lookMs),
      check: (ticket, { user, remoteAddress }) => {
        const waitMs = asks.take(remoteAddress);
        if (waitMs === 0) return this.#checked(ticket, user);
        throw new RateLimited(
          `too many ask for runs from this address; try again in ${Math.ceil(waitMs)} ms`,
        );
      },
    };
  }

  #checked(ticket: unknown, user: unknown): Ticket {
    const { tickets, context } = this.#up;
    return tickets.check(ticket, context.userId(user), this.#clock.now());
  }

  #ownQueues(schedules: readonly Schedule[]): Record<string, number> {
    const queues = [...this.#tasks.values()]
      .filter((task) => task !== (gather as AnyTask))
      .map(({ settings }) => settings.queue);
    for (const { options } of schedules) if (options.queue !== undefined) queues.push(options.queue);
    return Object.fromEntries(queues.map((queue) => [queue, OWN_CONCURRENCY]));
  }

  get #up(): { readonly context: PartContext; readonly tickets: Tickets } {
    if (this.#context === undefined || this.#tickets === undefined) {
      throw new LayerUnavailable("tasks begin with their application: await app.start()");
    }
    return { context: this.#context, tickets: this.#tickets };
  }

  get #handleHost() {
    return {
      broker: this.broker,
      clock: this.#clock,
      ticket: (id: string, options: TicketOptions) => this.ticket(id, options),
    };
  }

  #check(): void {
    if (!this.#isOpen)
      throw new LayerUnavailable("tasks are not open: they begin and end with their application");
  }
}

/** What is left out, or not there yet, where JavaScript says nothing of it. */
function faultsOfSetUp(tasks: unknown, broker: unknown): string[] {
  const faults: string[] = [];
  if (typeof (broker as TaskBroker | undefined)?.add !== "function") {
    faults.push(
      "tasks need a broker: new Tasks({ ...tasks, tasks: [...] }) with the `tasks` that compose is given, or broker: new MemoryBroker()",
    );
  }
  if (!Array.isArray(tasks)) {
    faults.push("tasks must be the list of your tasks: new Tasks({ ...tasks, tasks: [buildReport] })");
    return faults;
  }
  for (const [i, task] of tasks.entries()) {
    if (typeof (task as AnyTask | undefined)?.bind === "function") continue;
    const what = task === undefined ? "undefined (do modules import each other in a circle?)" : "no task";
    faults.push(`tasks[${i}] is ${what}; make tasks by task(name, options, work)`);
  }
  return faults;
}
