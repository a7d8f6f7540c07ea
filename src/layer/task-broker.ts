/**
 * What carries background jobs to workers, keeps what became of them, and runs each again whose worker died.
 * It knows queues, texts and times; what a task is, when a failure is worth another attempt, and whom to tell,
 * is decided above it.
 */

/** 1 is run before 5. */
export type JobPriority = 1 | 2 | 3 | 4 | 5;

/** A job that is to be added. */
export interface NewJob {
  /** `<queue>.<text nobody can guess>`; a job whose id is known already is not added again. */
  readonly id: string;
  readonly queue: string;
  /** The task's name. */
  readonly task: string;
  /** JSON; the broker does not look into it. */
  readonly body: string;
  readonly priority: JobPriority;
  /** Not before: milliseconds since 1970; 0 is at once. */
  readonly runAt: number;
  /** How long it can be found after it has ended. */
  readonly keepMs: number;
  /**
   * While a job with this key (in this queue) waits or runs, no other is added. Not with children, nor for one.
   */
  readonly key?: string;
  /** Jobs that must end first, in the order in which their outcomes are handed over; at most 1,000. */
  readonly children?: readonly NewJob[];
  /**
   * What becomes of a job one of whose children failed: when all have ended it fails, too, without running
   * (its error has the code `child_failed`), or it runs. Default `fail`.
   */
  readonly onChildFailure?: "fail" | "run";
}

/** What became of a job that was to be added. */
export interface Added {
  /** The job's own id, or that of the one it was merged with. */
  readonly id: string;
  /** There was one with the same key or the same id: nothing was added. */
  readonly isMerged: boolean;
}

/** `blocked`: it waits for its children. */
export type JobState = "waiting" | "delayed" | "blocked" | "active" | "done" | "failed";

/** A job as its broker keeps it. */
export interface JobRecord {
  readonly id: string;
  readonly queue: string;
  readonly task: string;
  readonly body: string;
  readonly state: JobState;
  /**
   * Which attempt runs, or ran last: 1, 2, ...; 0 before the first. One whose worker died counts, one that
   * was handed back does not. Of a job whose workers died too often the error has the code `worker_died`.
   */
  readonly attempt: number;
  /** Somebody wants it to end: see `cancel`. */
  readonly isCancelled: boolean;
  readonly priority: JobPriority;
  /** What `setProgress` kept last, JSON; of whichever attempt. */
  readonly progress?: string;
  /** JSON, of one that is done. */
  readonly result?: string;
  /** JSON, of one that failed, or whose last attempt did. */
  readonly error?: string;
  /** Milliseconds since 1970, by the clocks of those who did it. */
  readonly addedAt: number;
  readonly runAt: number;
  readonly startedAt?: number;
  readonly endedAt?: number;
  readonly children?: readonly string[];
}

/** What a run ends with. */
export type JobOutcome =
  | { readonly kind: "done"; readonly result: string }
  /** For good. */
  | { readonly kind: "failed"; readonly error: string }
  /** Another attempt. */
  | { readonly kind: "retry"; readonly afterMs: number; readonly error: string }
  /** It did not run, so it is no attempt: it comes later, with its priority; 0 is at once. */
  | { readonly kind: "later"; readonly afterMs: number; readonly body?: string };

/** How a job ended on which another waited: with its result, or with its error. */
export type ChildOutcome =
  | { readonly id: string; readonly result: string }
  | { readonly id: string; readonly error: string };

/** One run of a job, as a worker is given it. */
export interface Delivery extends JobRecord {
  /**
   * Aborted when the job is cancelled (reason `"cancelled"`), or when this worker no longer holds it and
   * another may run it (reason `"lost"`); whatever the run ends with is then of no consequence.
   */
  readonly signal: AbortSignal;
  /** Of its children, in their order. */
  childOutcomes(): Promise<readonly ChildOutcome[]>;
  /** Replaces what was kept, and tells those who follow the job. */
  setProgress(json: string): Promise<void>;
}

/** Runs a job and says how that went; it never rejects. */
export type JobHandler = (job: Delivery) => Promise<JobOutcome>;

/** How a queue is worked on. */
export interface ConsumeOptions {
  /** How many of this queue run here at once. */
  readonly concurrency: number;
}

/** A queue that is being worked on here. */
export interface Consumption {
  /** Takes no more; resolves when nothing of this queue runs here. Idempotent. */
  stop(): Promise<void>;
  /** How many run here now. */
  readonly active: number;
}

/** Hears of one job. */
export interface JobFollower {
  /** It has ended, or may have, and so says every `find` afterwards; of one with `progress` also: it waits for another attempt. */
  changed(): void;
  /** What `setProgress` keeps, once it is kept, in its order. */
  progress?(json: string): void;
}

/** What a worker says of itself, every few seconds. */
export interface WorkerReport {
  readonly worker: string;
  readonly host: string;
  readonly pid: number;
  readonly version: string;
  /** Milliseconds since 1970. */
  readonly startedAt: number;
  /** Concurrency by queue. */
  readonly queues: Readonly<Record<string, number>>;
  readonly active: readonly string[];
  /** Since it started: how many of its runs ended so. */
  readonly done: number;
  readonly failed: number;
  readonly retried: number;
  readonly memoryBytes: number;
}

/** A worker's report, as another process sees it. */
export interface SeenWorker extends WorkerReport {
  /** Milliseconds ago, by the broker's clock. */
  readonly ageMs: number;
}

/** How many jobs of a queue are in which state. */
export type QueueCounts = Readonly<Record<JobState, number>> & { readonly isPaused: boolean };

/** What a broker tells whoever opened it. */
export interface BrokerListener {
  /** It cannot be reached; `up` follows. Told again when the reason changes. */
  down(reason: string): void;
  up(): void;
  /** Something went wrong that no caller hears of. */
  failed(error: unknown): void;
  /** A job's worker died, or was too busy to say that it lives, and the job runs again. */
  stalled(id: string): void;
}

/**
 * At least once: a job that was added runs to an outcome, and again if its worker died before that. Within a
 * queue the more urgent run first, and of the same priority those added first; retries are later.
 *
 * Every method but `consume` rejects with LayerUnavailable at once when the broker cannot be reached;
 * `add` may then have happened all the same, and can be repeated with the same id.
 */
export interface TaskBroker {
  /** What tells this application from others in the same place; what is encrypted is bound to it. */
  readonly prefix?: string;
  /** Whether workers in other processes see the same jobs. */
  readonly isShared: boolean;
  /** @throws ConfigurationError when it cannot work as it was set up, with what to do */
  open(listener: BrokerListener): Promise<void>;
  /** A job and its children are added all or none. */
  add(job: NewJob): Promise<Added>;
  /** In their order, each by itself all or none; none of them with children or a key. */
  addAll(jobs: readonly NewJob[]): Promise<readonly Added[]>;
  /**
   * Takes jobs and runs them, through outages, until it is stopped. A handler must not throw; one that does
   * fails its job.
   */
  consume(queue: string, options: ConsumeOptions, handler: JobHandler): Promise<Consumption>;
  /** Undefined: never added, or forgotten. */
  find(id: string): Promise<JobRecord | undefined>;
  /**
   * Tells of a job from now on, once this has resolved; look then, as it may have ended before. Returns what
   * ends it. What is told may be lost with a connection, but not the end: that is told when the connection is
   * back.
   */
  follow(id: string, follower: JobFollower): Promise<() => void>;
  /**
   * Asks for a job's end, and its children's: one that runs hears its signal; one that waits is given to a
   * worker before all others, who sees `isCancelled`. False: it had ended, or is not known.
   */
  cancel(id: string): Promise<boolean>;
  /** Runs one that failed once more, from attempt 1. False: it had not failed, or is not known. */
  runAgain(id: string): Promise<boolean>;
  /** Forgets one that does not run, and its children. False: it runs, or is not known. */
  remove(id: string): Promise<boolean>;
  /**
   * Reserves a start under a rate: how long to wait until it is due, in milliseconds, 0 at once. A reserved
   * start is used up (generic cell rate algorithm, ITU-T I.371, without burst beyond `max`).
   */
  reserve(name: string, max: number, perMs: number): Promise<number>;
  /**
   * Adds the job of a schedule's moment, unless that moment or a later one of the schedule had its turn.
   *
   * @param at - milliseconds since 1970
   * @returns whether it was added
   */
  tick(schedule: string, at: number, job: NewJob): Promise<boolean>;
  /** When each schedule had its turn last, and the job it made. */
  ticks(): Promise<ReadonlyMap<string, { readonly at: number; readonly job: string }>>;
  /** Forgets the moments of a schedule that is no more. */
  forgetSchedule(schedule: string): Promise<void>;
  counts(queue: string): Promise<QueueCounts>;
  /** Jobs in a state, the next to run or the last to end first; `limit` up to 1,000. */
  list(queue: string, state: JobState, from: number, limit: number): Promise<readonly JobRecord[]>;
  /** Queues that were ever used, sorted. */
  queues(): Promise<readonly string[]>;
  /** Nothing of the queue is given to workers, until it is resumed; what runs goes on. */
  pause(queue: string): Promise<void>;
  resume(queue: string): Promise<void>;
  report(worker: WorkerReport): Promise<void>;
  /** Of this worker's ending. */
  unreport(worker: string): Promise<void>;
  /** Those who reported within the last minute. */
  workers(): Promise<readonly SeenWorker[]>;
  /** Ends all that is being worked on: what still runs after `withinMs` is aborted ("lost") and handed back. */
  close(withinMs: number): Promise<void>;
}
