import { randomBytes } from "node:crypto";
import {
  type Added,
  type BrokerListener,
  type ConsumeOptions,
  type Consumption,
  type JobFollower,
  type JobHandler,
  type JobRecord,
  type JobState,
  LayerUnavailable,
  type NewJob,
  type QueueCounts,
  type SeenWorker,
  type TaskBroker,
  type WorkerReport,
} from "../index.ts";
import { RedisBlocking, type RedisCommands, RedisHearing, type RedisOptions } from "../redis/index.ts";
import { alone, checkQueue, flattened, queueOf, type TreeNode } from "./job-trees.ts";
import {
  checked,
  checkServer,
  type RedisBrokerOptions,
  type RedisBrokerSettings,
} from "./redis-broker-options.ts";
import { RedisConsumer } from "./redis-consumer.ts";
import { RedisFollowing } from "./redis-following.ts";
import { fieldsOf, isState, listOf, recordOf, strange, textsOf } from "./redis-jobs.ts";
import {
  ADD,
  CANCEL,
  COUNTS,
  ENDED,
  FIND,
  FORGET_QUEUE,
  IDS,
  PAUSE,
  REMOVE,
  REPORT,
  RESERVE,
  RUN_AGAIN,
  TICKS,
  WORKERS,
} from "./redis-scripts.ts";

/** Sent to Redis in one script, which nothing else interrupts. */
const ADD_AT_ONCE = 200;
const ADD_BYTES_AT_ONCE = 2_000_000;
const MAX_LISTED = 1_000;
const SEEN_MS = 60_000;

export { type RedisBrokerOptions, redisBrokerDefaults } from "./redis-broker-options.ts";

/**
 * Keeps jobs in one Redis (7 or newer, or Valkey), as BullMQ does and by BullMQ's scripts, for workers in any
 * number of processes.
 *
 * - `add` and all that asks rejects at once while Redis is away. Workers go on by themselves when it is
 *   back; an outcome waits for that, and its job is not given to another worker meanwhile.
 * - A job whose worker was killed runs again within `lockMs` and `checkMs` (19 s by default), where a worker
 *   is left. Times are those of Redis' clock, so those of the machines may differ.
 *
 * @example
 * new RedisBroker({ url: "redis://127.0.0.1:6379", prefix: "shop" });
 */
export class RedisBroker implements TaskBroker {
  readonly isShared = true;
  readonly #settings: RedisBrokerSettings;
  readonly #place: RedisOptions;
  readonly #commands: RedisCommands;
  readonly #hearing: RedisHearing;
  readonly #root: string;
  readonly #consumers = new Set<RedisConsumer>();
  readonly #following: RedisFollowing;
  #listener: BrokerListener | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed: Promise<void> | undefined;

  /** @throws ConfigurationError that lists every fault of the options */
  constructor(options: RedisBrokerOptions = {}) {
    const { settings, place, commands } = checked(options, {
      down: (reason) => this.#listener?.down(reason),
      up: () => this.#up(),
    });
    this.#settings = settings;
    this.#place = place;
    this.#commands = commands;
    this.#hearing = new RedisHearing(place, () => void this.#look());
    this.#root = `${settings.prefix}:tasks`;
    this.#following = new RedisFollowing(this.#hearing, this.#root, (ids) => this.#ended(ids));
  }

  get prefix(): string {
    return this.#settings.prefix;
  }

  /** @throws ConfigurationError when Redis cannot be used, with what to do */
  async open(listener: BrokerListener): Promise<void> {
    try {
      let info = "";
      await this.#commands.open(async () => {
        info = String(await this.#commands.command("", ["INFO"]));
      });
      checkServer(info);
      await this.#commands.rehearse(async () => {
        await this.#hearing.open();
        await this.#rehearse();
      });
    } catch (error) {
      this.#commands.close();
      this.#hearing.close();
      throw error;
    }
    this.#listener = listener;
    this.#timer = setInterval(() => void this.#look(), this.#settings.lookMs);
  }

  async add(job: NewJob): Promise<Added> {
    const [added] = await this.#add("", 0, flattened(job));
    if (added === undefined) throw strange();
    return added;
  }

  async addAll(jobs: readonly NewJob[]): Promise<readonly Added[]> {
    const nodes = jobs.flatMap((job) => flattened(alone(job)));
    const added: Added[] = [];
    for (const some of slices(nodes)) added.push(...(await this.#add("", 0, some)));
    return added;
  }

  async consume(queue: string, { concurrency }: ConsumeOptions, handler: JobHandler): Promise<Consumption> {
    const listener = this.#listener;
    if (listener === undefined || this.#closed !== undefined) throw closed();
    checkQueue(queue);
    const place = { root: this.#root, queue, token: randomBytes(12).toString("base64url") };
    const blocking = new RedisBlocking(this.#place);
    const consumer = new RedisConsumer(
      ...([this.#commands, blocking, place, this.#settings, concurrency, handler, listener] as const),
    );
    this.#consumers.add(consumer);
    consumer.begin();
    const consumers = this.#consumers;
    return {
      async stop() {
        await consumer.stop();
        consumers.delete(consumer);
      },
      get active() {
        return consumer.active;
      },
    };
  }

  async find(id: string): Promise<JobRecord | undefined> {
    const queue = queueOf(id);
    if (queue === undefined) return undefined;
    const [state, fields] = listOf(await this.#commands.run(FIND, [this.#base(queue)], [id]));
    if (state === undefined) return undefined;
    if (!isState(state)) throw strange();
    return recordOf(queue, id, state, fieldsOf(fields));
  }

  async follow(id: string, follower: JobFollower): Promise<() => void> {
    if (this.#closed !== undefined) throw closed();
    return this.#following.follow(id, follower);
  }

  cancel(id: string): Promise<boolean> {
    return this.#change(id, (base) => this.#commands.run(CANCEL, [base, this.#root], [id]));
  }

  runAgain(id: string): Promise<boolean> {
    return this.#change(id, (base) => this.#commands.run(RUN_AGAIN, [base], [id]));
  }

  remove(id: string): Promise<boolean> {
    return this.#change(id, (base) => this.#commands.run(REMOVE, [base, this.#root], [id]));
  }

  async reserve(name: string, max: number, perMs: number): Promise<number> {
    const wholeUs = Math.round(perMs * 1000);
    const answer = await this.#commands.run(
      RESERVE,
      [`${this.#root}#rate:${name}`],
      [Math.round(wholeUs / max), wholeUs],
    );
    return Math.ceil(Number(answer) / 1000);
  }

  async tick(schedule: string, at: number, job: NewJob): Promise<boolean> {
    const [added] = await this.#add(schedule, at, flattened(job));
    return added !== undefined && !added.isMerged;
  }

  async ticks(): Promise<ReadonlyMap<string, { readonly at: number; readonly job: string }>> {
    const key = `${this.#root}#ticks`;
    const ticks = new Map<string, { readonly at: number; readonly job: string }>();
    for (const [schedule, value] of fieldsOf(await this.#commands.run(TICKS, [key], []))) {
      const [at, job = ""] = value.split(" ");
      ticks.set(schedule, { at: Number(at), job });
    }
    return ticks;
  }

  async forgetSchedule(schedule: string): Promise<void> {
    const key = `${this.#root}#ticks`;
    await this.#commands.command(key, ["HDEL", key, schedule]);
  }

  async counts(queue: string): Promise<QueueCounts> {
    const answer = listOf(await this.#commands.run(COUNTS, [this.#base(queue)], [])).map(Number);
    const [waiting = 0, delayed = 0, blocked = 0, active = 0, done = 0, failed = 0, isPaused] = answer;
    return { waiting, delayed, blocked, active, done, failed, isPaused: isPaused === 1 };
  }

  async list(queue: string, state: JobState, from: number, limit: number): Promise<readonly JobRecord[]> {
    const args = [state, from, Math.min(limit, MAX_LISTED)];
    const ids = textsOf(await this.#commands.run(IDS, [this.#base(queue)], args));
    const records: JobRecord[] = [];
    for (let i = 0; i < ids.length; i += 100) {
      const found = await Promise.all(ids.slice(i, i + 100).map((id) => this.find(id)));
      // Others have gone on meanwhile.
      for (const record of found) if (record?.state === state) records.push(record);
    }
    return records;
  }

  async queues(): Promise<readonly string[]> {
    const key = `${this.#root}#queues`;
    return [...textsOf(await this.#commands.command(key, ["SMEMBERS", key]))].sort();
  }

  async pause(queue: string): Promise<void> {
    await this.#commands.run(PAUSE, [this.#base(queue), this.#root], [queue, "paused"]);
  }

  async resume(queue: string): Promise<void> {
    await this.#commands.run(PAUSE, [this.#base(queue), this.#root], [queue, "resumed"]);
  }

  async report(worker: WorkerReport): Promise<void> {
    await this.#commands.run(REPORT, [`${this.#root}#workers`], [worker.worker, JSON.stringify(worker)]);
  }

  async unreport(worker: string): Promise<void> {
    const key = `${this.#root}#workers`;
    await this.#commands.command(key, ["HDEL", key, worker]);
  }

  async workers(): Promise<readonly SeenWorker[]> {
    const answer = listOf(await this.#commands.run(WORKERS, [`${this.#root}#workers`], [SEEN_MS]));
    const workers: SeenWorker[] = [];
    for (let i = 0; i + 1 < answer.length; i += 2) {
      const report = reportOf(String(answer[i + 1]));
      if (report !== undefined) workers.push({ ...report, ageMs: Number(answer[i]) });
    }
    return workers;
  }

  close(withinMs: number): Promise<void> {
    this.#closed ??= this.#close(withinMs);
    return this.#closed;
  }

  async #close(withinMs: number): Promise<void> {
    clearInterval(this.#timer);
    const consumers = [...this.#consumers];
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, withinMs);
    });
    await Promise.race([Promise.all(consumers.map((consumer) => consumer.stop())), late]);
    clearTimeout(timer);
    await Promise.all(consumers.map((consumer) => consumer.abandon()));
    this.#following.clear();
    this.#hearing.close();
    this.#commands.close();
  }

  #up(): void {
    for (const consumer of this.#consumers) consumer.recover();
    this.#listener?.up();
  }

  #base(queue: string): string {
    checkQueue(queue);
    return `${this.#root}:${queue}:`;
  }

  async #change(id: string, change: (base: string) => Promise<unknown>): Promise<boolean> {
    const queue = queueOf(id);
    return queue !== undefined && (await change(this.#base(queue))) === 1;
  }

  async #add(schedule: string, at: number, nodes: readonly TreeNode[]): Promise<readonly Added[]> {
    const args: (string | number)[] = [schedule, at];
    const now = Date.now();
    for (const { job, parent } of nodes) {
      const { id, queue, task, body, priority, runAt, keepMs, key = "", children = [] } = job;
      args.push(queue, id, task, body, priority, Math.max(runAt - now, 0), runAt, keepMs, key);
      args.push(job.onChildFailure === "run" ? "run" : "");
      args.push(children.length === 0 ? "" : JSON.stringify(children.map(({ id }) => id)));
      args.push(parent === undefined ? "" : parent + 1);
    }
    const added: Added[] = [];
    const answer = listOf(await this.#known(this.#commands.run(ADD, [this.#root], args)));
    for (let i = 0; i + 1 < answer.length; i += 2) {
      added.push({ id: String(answer[i]), isMerged: answer[i + 1] === 1 });
    }
    return added;
  }

  async #known(adding: Promise<unknown>): Promise<unknown> {
    try {
      return await adding;
    } catch (error) {
      const [, id] = /KNOWN (\S+)/.exec((error as Error).message) ?? [];
      if (id === undefined) throw error;
      throw new RangeError(`a child has the id of a job that is known: ${id}`);
    }
  }

  async #ended(ids: readonly string[]): Promise<readonly string[]> {
    const jobs = ids.map((id) => `${queueOf(id)}:${id}`);
    return textsOf(await this.#commands.run(ENDED, [this.#root], jobs));
  }

  async #look(): Promise<void> {
    try {
      await this.#following.look();
    } catch (error) {
      // Away: there is a next time.
      if (!(error instanceof LayerUnavailable)) this.#listener?.failed(error);
    }
  }

  /** Much of what will be done, so that rights that lack are told now. */
  async #rehearse(): Promise<void> {
    const hear = (id: string) => {
      for (const consumer of this.#consumers) consumer.cancelled(id);
    };
    await this.#hearing.subscribe(`${this.#root}#cancel`, hear);
    const name = randomBytes(12).toString("hex");
    const queue = `sluice.rehearsal-${name}`;
    const id = `${queue}.${name}`;
    const job: NewJob = { id, queue, task: "rehearsal", body: "{}", priority: 3, runAt: 0, keepMs: 1 };
    await this.add({ ...job, key: id });
    await this.find(id);
    await this.cancel(id);
    await this.remove(id);
    await this.counts(queue);
    await this.reserve(queue, 1, 1);
    await this.#commands.run(FORGET_QUEUE, [this.#base(queue), this.#root], [queue]);
  }
}

function closed(): LayerUnavailable {
  return new LayerUnavailable("the task broker is not open");
}

/** Of another version, or another program's: one that cannot be read must not hide the others. */
function reportOf(json: string): WorkerReport | undefined {
  try {
    const report = JSON.parse(json) as WorkerReport | null;
    return typeof report?.worker === "string" ? report : undefined;
  } catch {
    return undefined;
  }
}

/** In their order, no more at once than Redis does in a moment. */
function* slices(nodes: readonly TreeNode[]): Generator<readonly TreeNode[]> {
  let from = 0;
  let bytes = 0;
  for (const [i, { job }] of nodes.entries()) {
    if (i > from && (i - from >= ADD_AT_ONCE || bytes + job.body.length > ADD_BYTES_AT_ONCE)) {
      yield nodes.slice(from, i);
      from = i;
      bytes = 0;
    }
    bytes += job.body.length;
  }
  if (from < nodes.length) yield nodes.slice(from);
}
