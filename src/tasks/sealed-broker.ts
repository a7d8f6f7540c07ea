import {
  type Added,
  type BrokerListener,
  type ChildOutcome,
  type ConsumeOptions,
  type Consumption,
  type Delivery,
  isSealed,
  type JobFollower,
  type JobHandler,
  type JobOutcome,
  type JobRecord,
  type JobState,
  type NewJob,
  type QueueCounts,
  type Seal,
  type SeenWorker,
  type TaskBroker,
  Unopened,
  type WorkerReport,
} from "../index.ts";
import { brokerErrors, childFailed } from "./job-trees.ts";

/** When one that cannot be read here comes again: another worker may have its key. */
const UNREAD_MS = 15_000;
/** Of a record, for what cannot be read. */
const NOTHING = "null";

type Part = "body" | "result" | "progress" | "error";

/**
 * A broker that sees neither arguments nor results, progress or errors: each is sealed for its job. Ids, names of
 * tasks, queues, keys, priorities, sizes and times are in the open, and the errors that the broker makes itself.
 */
export class SealedBroker implements TaskBroker {
  readonly isShared: boolean;
  readonly #inner: TaskBroker;
  readonly #seal: Seal;
  #listener: BrokerListener | undefined;

  constructor(inner: TaskBroker, seal: Seal) {
    this.isShared = inner.isShared;
    this.#inner = inner;
    this.#seal = seal;
  }

  open(listener: BrokerListener): Promise<void> {
    this.#listener = listener;
    return this.#inner.open(listener);
  }

  add(job: NewJob): Promise<Added> {
    return this.#inner.add(this.#sealedJob(job));
  }

  addAll(jobs: readonly NewJob[]): Promise<readonly Added[]> {
    return this.#inner.addAll(jobs.map((job) => this.#sealedJob(job)));
  }

  consume(queue: string, options: ConsumeOptions, handler: JobHandler): Promise<Consumption> {
    return this.#inner.consume(queue, options, (job) => this.#handle(job, handler));
  }

  async find(id: string): Promise<JobRecord | undefined> {
    const record = await this.#inner.find(id);
    return record && this.#opened(record);
  }

  async list(queue: string, state: JobState, from: number, limit: number): Promise<readonly JobRecord[]> {
    return (await this.#inner.list(queue, state, from, limit)).map((record) => this.#opened(record));
  }

  tick(schedule: string, at: number, job: NewJob): Promise<boolean> {
    return this.#inner.tick(schedule, at, this.#sealedJob(job));
  }

  /** What cannot be read of a progress is left out; the next one may be. */
  follow(id: string, follower: JobFollower): Promise<() => void> {
    const { progress } = follower;
    if (progress === undefined) return this.#inner.follow(id, follower);
    return this.#inner.follow(id, {
      changed: () => follower.changed(),
      progress: (sealed) => {
        const json = this.#seal.open(sealed, id, "progress");
        if (json !== undefined) progress.call(follower, json);
      },
    });
  }

  // ---- what is in the open ----------------------------------------------------------------------

  cancel(id: string): Promise<boolean> {
    return this.#inner.cancel(id);
  }

  runAgain(id: string): Promise<boolean> {
    return this.#inner.runAgain(id);
  }

  remove(id: string): Promise<boolean> {
    return this.#inner.remove(id);
  }

  reserve(name: string, max: number, perMs: number): Promise<number> {
    return this.#inner.reserve(name, max, perMs);
  }

  ticks(): Promise<ReadonlyMap<string, { readonly at: number; readonly job: string }>> {
    return this.#inner.ticks();
  }

  forgetSchedule(schedule: string): Promise<void> {
    return this.#inner.forgetSchedule(schedule);
  }

  counts(queue: string): Promise<QueueCounts> {
    return this.#inner.counts(queue);
  }

  queues(): Promise<readonly string[]> {
    return this.#inner.queues();
  }

  pause(queue: string): Promise<void> {
    return this.#inner.pause(queue);
  }

  resume(queue: string): Promise<void> {
    return this.#inner.resume(queue);
  }

  report(worker: WorkerReport): Promise<void> {
    return this.#inner.report(worker);
  }

  unreport(worker: string): Promise<void> {
    return this.#inner.unreport(worker);
  }

  workers(): Promise<readonly SeenWorker[]> {
    return this.#inner.workers();
  }

  close(withinMs: number): Promise<void> {
    return this.#inner.close(withinMs);
  }

  // ---- sealing ----------------------------------------------------------------------------------

  #sealedJob(job: NewJob): NewJob {
    const { id, body, children } = job;
    const sealed = { ...job, body: this.#sealed(id, "body", body) };
    return children === undefined
      ? sealed
      : { ...sealed, children: children.map((child) => this.#sealedJob(child)) };
  }

  #sealed(id: string, part: Part, text: string): string {
    return this.#seal.seal(text, id, part);
  }

  async #handle(job: Delivery, handler: JobHandler): Promise<JobOutcome> {
    const { id, signal, body: sealedBody, childOutcomes: _, setProgress: __, ...record } = job;
    const body = this.#seal.tryOpen(sealedBody, id, "body");
    if (body instanceof Unopened) return this.#unread(id, body);
    const opened: Delivery = {
      ...this.#opened({ ...record, id, body: sealedBody }, body),
      signal,
      childOutcomes: async () => (await job.childOutcomes()).map((outcome) => this.#outcome(outcome)),
      setProgress: (json) => job.setProgress(this.#sealed(id, "progress", json)),
    };
    try {
      return this.#sealedOutcome(id, await handler(opened));
    } catch (error) {
      this.#listener?.failed(error);
      return this.#sealedOutcome(id, { kind: "failed", error: brokerErrors.handlerThrew(error) });
    }
  }

  /** What nobody can have meant fails; what another worker may read is left to it. */
  #unread(id: string, error: Unopened): JobOutcome {
    if (error.reason !== "altered") return { kind: "later", afterMs: UNREAD_MS };
    return this.#sealedOutcome(id, { kind: "failed", error: faultOf(error) });
  }

  #sealedOutcome(id: string, outcome: JobOutcome): JobOutcome {
    switch (outcome.kind) {
      case "done":
        return { ...outcome, result: this.#sealed(id, "result", outcome.result) };
      case "failed":
      case "retry":
        return { ...outcome, error: this.#sealed(id, "error", outcome.error) };
      case "later":
        return outcome.body === undefined
          ? outcome
          : { ...outcome, body: this.#sealed(id, "body", outcome.body) };
    }
  }

  /** One whose result cannot be read is to whoever looks as one that failed. */
  #opened(
    record: JobRecord,
    body: string = this.#seal.open(record.body, record.id, "body") ?? NOTHING,
  ): JobRecord {
    const { id, progress, result, error, ...rest } = record;
    const shown = progress === undefined ? undefined : this.#seal.open(progress, id, "progress");
    const value = result === undefined ? undefined : this.#seal.tryOpen(result, id, "result");
    const ended =
      value instanceof Unopened
        ? ({ state: "failed", error: faultOf(value) } as const)
        : {
            ...(value === undefined ? {} : { result: value }),
            ...(error === undefined ? {} : { error: this.#error(id, error) }),
          };
    return { ...rest, id, body, ...(shown === undefined ? {} : { progress: shown }), ...ended };
  }

  #outcome(outcome: ChildOutcome): ChildOutcome {
    const { id } = outcome;
    if ("error" in outcome) return { id, error: this.#error(id, outcome.error) };
    const result = this.#seal.tryOpen(outcome.result, id, "result");
    return result instanceof Unopened ? { id, error: faultOf(result) } : { id, result };
  }

  /** Those that the broker makes itself are in the open, but for that of a child in one. */
  #error(id: string, error: string): string {
    const own = isSealed(error) ? undefined : childFailed(error);
    if (own === undefined) {
      if (brokerErrors.isOwn(error)) return error;
      const opened = this.#seal.tryOpen(error, id, "error");
      return opened instanceof Unopened ? faultOf(opened) : opened;
    }
    return brokerErrors.childFailed(own.child, this.#error(own.child, own.cause));
  }
}

function faultOf({ code, reason, message }: Unopened): string {
  return JSON.stringify({ code, reason, message: `it cannot be read: ${message}` });
}
