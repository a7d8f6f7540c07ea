/** Jobs and queues as the memory broker keeps them. */
import type { ChildOutcome, JobHandler, JobPriority, JobRecord, JobState, NewJob } from "../index.ts";
import { Heap, type Placed } from "./heap.ts";
import { brokerErrors } from "./job-trees.ts";

export class Job implements Placed {
  readonly id: string;
  readonly queue: Queue;
  readonly task: string;
  body: string;
  readonly priority: JobPriority;
  readonly keepMs: number;
  readonly key: string | undefined;
  readonly onChildFailure: "fail" | "run";
  readonly children: Job[] = [];
  readonly parent: Job | undefined;
  readonly addedAt: number;
  state: JobState = "waiting";
  attempt = 0;
  isCancelled = false;
  progress: string | undefined = undefined;
  result: string | undefined = undefined;
  error: string | undefined = undefined;
  runAt: number;
  startedAt: number | undefined = undefined;
  endedAt = 0;
  /** Among those of the same priority the smaller is the earlier. */
  turn = 0;
  place = -1;
  /** Of its children: those that have ended. */
  readonly outcomes = new Map<string, ChildOutcome>();
  run: Run | undefined = undefined;
  /** What of `textBytes` is counted already. */
  weighed = 0;

  constructor(job: NewJob, queue: Queue, parent: Job | undefined, addedAt: number) {
    this.id = job.id;
    this.queue = queue;
    this.task = job.task;
    this.body = job.body;
    this.priority = job.priority;
    this.keepMs = job.keepMs;
    this.key = job.key;
    this.onChildFailure = job.onChildFailure ?? "fail";
    this.parent = parent;
    this.addedAt = addedAt;
    this.runAt = job.runAt;
    parent?.children.push(this);
  }

  /** Of what its task and its run have put into it. */
  get textBytes(): number {
    const { id, key, body, progress, result, error } = this;
    return bytesOf(id, key, body, progress, result, error);
  }

  get isEnded(): boolean {
    return this.state === "done" || this.state === "failed";
  }

  /** It does, or one that it waits for. */
  get isRunning(): boolean {
    return this.state === "active" || this.children.some(({ isRunning }) => isRunning);
  }

  /** In the order of the children. */
  get childOutcomes(): readonly ChildOutcome[] {
    return this.children.map(({ id }) => this.outcomes.get(id) ?? { id, error: brokerErrors.removed });
  }

  /** As if it had just been added. */
  reset(): void {
    this.attempt = 0;
    this.isCancelled = false;
    this.runAt = 0;
    this.error = undefined;
    this.progress = undefined;
    this.startedAt = undefined;
  }

  record(): JobRecord {
    const { id, task, body, state, attempt, isCancelled, priority, addedAt, runAt } = this;
    const { progress, result, error, startedAt, children } = this;
    const queue = this.queue.name;
    const record: Mutable<JobRecord> = {
      id,
      queue,
      task,
      body,
      state,
      attempt,
      isCancelled,
      priority,
      addedAt,
      runAt,
    };
    if (progress !== undefined) record.progress = progress;
    if (result !== undefined) record.result = result;
    if (error !== undefined) record.error = error;
    if (startedAt !== undefined) record.startedAt = startedAt;
    if (this.isEnded) record.endedAt = this.endedAt;
    if (children.length > 0) record.children = children.map((child) => child.id);
    return record;
  }
}

/** In UTF-8; what is undefined has none. */
export function bytesOf(...texts: readonly (string | undefined)[]): number {
  let bytes = 0;
  for (const text of texts) if (text !== undefined) bytes += Buffer.byteLength(text);
  return bytes;
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export interface Run {
  readonly controller: AbortController;
  readonly consumer: Consumer;
  /** What it ends with is of no consequence. */
  isOver: boolean;
}

export interface Consumer {
  readonly queue: Queue;
  readonly concurrency: number;
  readonly handler: JobHandler;
  readonly runs: Set<Run>;
  /** Resolves `stop`, when nothing runs. */
  idle: (() => void)[];
}

export interface Queue {
  readonly name: string;
  readonly waiting: Heap<Job>;
  readonly delayed: Heap<Job>;
  readonly blocked: Set<Job>;
  readonly active: Set<Job>;
  readonly done: Set<Job>;
  readonly failed: Set<Job>;
  readonly keys: Map<string, Job>;
  readonly consumers: Set<Consumer>;
  isPaused: boolean;
}

export function newQueue(name: string): Queue {
  return {
    name,
    waiting: new Heap(goesBefore),
    delayed: new Heap((a, b) => a.runAt < b.runAt || (a.runAt === b.runAt && a.turn < b.turn)),
    ...{ blocked: new Set(), active: new Set(), done: new Set(), failed: new Set() },
    ...{ keys: new Map(), consumers: new Set(), isPaused: false },
  };
}

/** In turns. */
export function freeOf(queue: Queue): Consumer | undefined {
  for (const consumer of queue.consumers) {
    if (consumer.runs.size >= consumer.concurrency) continue;
    queue.consumers.delete(consumer);
    queue.consumers.add(consumer);
    return consumer;
  }
  return undefined;
}

function goesBefore(a: Job, b: Job): boolean {
  const [first, second] = [rankOf(a), rankOf(b)];
  return first < second || (first === second && a.turn < b.turn);
}

function rankOf({ isCancelled, priority }: Job): number {
  return isCancelled ? 0 : priority;
}
