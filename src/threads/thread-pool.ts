/**
 * Threads, and what waits for them. Piscina makes, keeps and ends the threads; what waits stands here, because
 * its queue neither counts what can be aborted nor keeps it in order.
 */
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import {
  MessageChannel,
  type MessagePort,
  receiveMessageOnPort,
  type Transferable,
} from "node:worker_threads";
import { FixedQueue, Piscina } from "piscina";
import { ConfigurationError, type Given, nearest, resolveOptions, Unencodable } from "../index.ts";
import {
  ErrorInThread,
  type Fault,
  ThreadCrashed,
  ThreadsBusy,
  ThreadsClosed,
  ThreadTimeLimit,
} from "./errors.ts";

type Ending = "done" | "failed" | "aborted" | "timedOut" | "crashed";

const LEAST_HEAP_MB = 16;

const threadDefaults = {
  /** How many at most; by default as many as the machine lets this process have cores. */
  threads: availableParallelism(),
  /** Calls that may wait for a thread; one more is refused with ThreadsBusy. */
  maxWaiting: 1_000,
  /** How long a function may run (the loading of its module included) before its thread is ended; 0: for ever. */
  timeLimitMs: 60_000,
  /** How long a thread stays that has nothing to do. */
  idleMs: 30_000,
  /**
   * JavaScript's memory in one thread, in MiB, from 16; 0: Node's default. Best effort: what grows beyond it ends
   * with its thread, but one huge allocation can end the process.
   */
  heapMb: 0,
};

/** Settings of threads, with nothing left out. */
export type ThreadSettings = typeof threadDefaults;
/** Settings of threads; what is left out is as by default. */
export type ThreadOptions = Given<ThreadSettings>;

/** How it stands; a gauge for metrics. The last five count from the beginning. */
export interface ThreadCounts {
  readonly threads: number;
  readonly running: number;
  readonly waiting: number;
  readonly done: number;
  /** The function threw. */
  readonly failed: number;
  readonly aborted: number;
  readonly timedOut: number;
  readonly crashed: number;
}

/** One call of a function in a thread. */
export interface ThreadCall {
  /** A `file:` URL. */
  readonly module: string;
  /** Of the exported function; undefined asks for the names of all. */
  readonly name: string | undefined;
  readonly args: readonly unknown[];
  readonly transfer?: readonly Transferable[] | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly timeLimitMs?: number | undefined;
  readonly onReport?: ((value: unknown) => void) | undefined;
}

/** Memory that both sides see: whether the thread has taken the job, and reports the caller has not read. */
const Shared = { started: 0, reports: 1, length: 2 } as const;

type Told = { readonly kind: "report"; readonly value: unknown } | Outcome;

type Outcome =
  | { readonly kind: "value"; readonly value: unknown }
  | { readonly kind: "thrown"; readonly fault?: Fault; readonly value?: unknown }
  | { readonly kind: "unencodable"; readonly reason: string }
  | { readonly kind: "unreadable" }
  | { readonly kind: "missing"; readonly names: readonly string[] }
  | { readonly kind: "unloadable"; readonly fault: Fault };

interface Job {
  readonly call: ThreadCall;
  readonly port: MessagePort;
  /** The thread's end; goes there when it starts. */
  readonly inner: MessagePort;
  readonly shared: Int32Array;
  readonly end: AbortController;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: unknown) => void;
  timer?: NodeJS.Timeout;
  onAbort?: () => void;
  /** What the thread said last. */
  outcome?: Outcome;
  isSettled: boolean;
}

/**
 * Threads that several modules share: `inThread(url, { pool })`.
 *
 * One call runs in a thread at a time; the others wait in the order in which they came. Threads are made when
 * there is something to do, and keep no process alive.
 */
export class ThreadPool {
  /** What it goes by. */
  readonly settings: ThreadSettings;
  #piscina: Piscina | undefined;
  readonly #waiting = new Set<Job>();
  readonly #running = new Set<Job>();
  readonly #counted: Record<Ending, number> = { done: 0, failed: 0, aborted: 0, timedOut: 0, crashed: 0 };
  #closing: Promise<void> | undefined;
  #quiet: (() => void) | undefined;

  /** @throws ConfigurationError that lists every wrong option */
  constructor(options: ThreadOptions = {}) {
    this.settings = resolveOptions(threadDefaults, options, "threads");
    const { heapMb } = this.settings;
    if (heapMb > 0 && heapMb < LEAST_HEAP_MB) {
      // With less than it needs to begin, V8 ends the process instead of the thread.
      throw new ConfigurationError([`threads.heapMb must be 0 or at least ${LEAST_HEAP_MB}, not ${heapMb}`]);
    }
  }

  get counts(): ThreadCounts {
    const threads = this.#piscina?.threads.length ?? 0;
    return { threads, running: this.#running.size, waiting: this.#waiting.size, ...this.#counted };
  }

  /** What {@link inThread} stands on; rejects with what is said there. */
  run(call: ThreadCall): Promise<unknown> {
    return new Promise((resolve, reject) => {
      call.signal?.throwIfAborted();
      if (this.#closing !== undefined) throw closed(call);
      const { threads, maxWaiting } = this.settings;
      if (this.#running.size >= threads && this.#waiting.size >= maxWaiting) {
        throw new ThreadsBusy(
          `${threads} threads run and ${maxWaiting} calls wait for them; try again later`,
        );
      }
      const job = makeJob(call, resolve, reject);
      const { signal } = call;
      if (signal !== undefined) {
        job.onAbort = () => this.#end(job, "aborted", signal.reason);
        signal.addEventListener("abort", job.onAbort, { once: true });
      }
      this.#waiting.add(job);
      this.#startNext();
    });
  }

  /**
   * Takes no more calls, waits for those that run or wait, ends what is left after `withinMs` with
   * ThreadsClosed, and resolves when all threads have ended. Called again, it does not wait.
   */
  async close({ withinMs = 0 }: { readonly withinMs?: number } = {}): Promise<void> {
    if (this.#closing !== undefined) {
      this.#quiet?.();
      return this.#closing;
    }
    this.#closing = this.#close(withinMs);
    return this.#closing;
  }

  async #close(withinMs: number): Promise<void> {
    if (withinMs > 0 && this.#running.size > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, withinMs);
        this.#quiet = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    for (const job of [...this.#waiting, ...this.#running]) this.#end(job, "aborted", closed(job.call));
    await this.#piscina?.destroy();
  }

  #startNext(): void {
    const { threads, timeLimitMs } = this.settings;
    for (const job of this.#waiting) {
      if (this.#running.size >= threads) return;
      this.#waiting.delete(job);
      this.#running.add(job);
      const limitMs = job.call.timeLimitMs ?? timeLimitMs;
      if (limitMs > 0) {
        job.timer = setTimeout(() => {
          const what = `${described(job.call)} took longer than ${limitMs} ms (timeLimitMs); its thread was ended`;
          this.#end(job, "timedOut", new ThreadTimeLimit(what));
        }, limitMs);
      }
      void this.#start(job);
    }
    if (this.#running.size === 0) this.#quiet?.();
  }

  async #start(job: Job): Promise<void> {
    const { port, inner, shared, call } = job;
    this.#piscina ??= this.#open();
    if (call.onReport !== undefined) {
      port.on("message", (told: Told) => this.#hear(job, told));
      port.on("messageerror", ({ message: reason }) => {
        job.outcome = { kind: "unencodable", reason };
      });
    }
    try {
      const task = { port: inner, shared, hears: call.onReport !== undefined };
      await this.#piscina.run(task, { transferList: [inner], signal: job.end.signal });
    } catch (error) {
      this.#end(job, "crashed", crashed(call, error));
      return;
    }
    // The thread said all before it was done: what has not been heard yet stands in the port.
    try {
      for (let next = nextOf(port); next !== undefined; next = nextOf(port)) this.#hear(job, next.message);
    } catch (error) {
      job.outcome = { kind: "unencodable", reason: (error as Error).message };
    }
    this.#settle(job);
  }

  #open(): Piscina {
    const { threads, idleMs, heapMb } = this.settings;
    const piscina = new Piscina({
      filename: fileURLToPath(new URL("./thread.js", import.meta.url)),
      name: "run",
      minThreads: 0,
      maxThreads: threads,
      idleTimeout: idleMs,
      // Its default queue is one for all pools of the process.
      taskQueue: new FixedQueue(),
      // Otherwise a thread sleeps between jobs so deeply that the timers and sockets of its modules sleep, too.
      atomics: "disabled",
      recordTiming: false,
      ...(heapMb > 0 ? { resourceLimits: { maxOldGenerationSizeMb: heapMb } } : {}),
    });
    piscina.on("error", (error) => this.#threadDied(piscina, error));
    return piscina;
  }

  /** One that ran no job. If it died before it could, a job waits for it in vain. */
  #threadDied(piscina: Piscina, error: unknown): void {
    if (piscina.threads.length >= this.#running.size) return;
    for (const job of this.#running) {
      const isStarted = Atomics.load(job.shared, Shared.started) === 1;
      if (!isStarted) this.#end(job, "crashed", crashed(job.call, error));
    }
  }

  #hear(job: Job, told: Told): void {
    if (told.kind !== "report") {
      job.outcome = told;
      return;
    }
    Atomics.sub(job.shared, Shared.reports, 1);
    if (job.isSettled) return;
    try {
      job.call.onReport?.(told.value);
    } catch (error) {
      this.#end(job, "aborted", error);
    }
  }

  #settle(job: Job): void {
    const { call, outcome } = job;
    switch (outcome?.kind) {
      case "value":
        return this.#end(job, "done", outcome.value);
      case "thrown":
        return this.#end(job, "failed", outcome.fault ? new ErrorInThread(outcome.fault) : outcome.value);
      case "unencodable":
        return this.#end(job, "failed", unencodable(call, outcome.reason));
      case "unreadable":
        return this.#end(job, "failed", unreadable(call));
      case "missing":
        return this.#end(job, "failed", missing(call, outcome.names));
      case "unloadable":
        return this.#end(job, "failed", unloadable(call, outcome.fault));
      case undefined:
        return this.#end(job, "crashed", crashed(call, new Error("it said nothing")));
    }
  }

  /** Once for each job: what comes later is of no consequence. */
  #end(job: Job, how: Ending, outcome: unknown): void {
    if (job.isSettled) return;
    job.isSettled = true;
    this.#counted[how] += 1;
    clearTimeout(job.timer);
    if (job.onAbort) job.call.signal?.removeEventListener("abort", job.onAbort);
    this.#waiting.delete(job);
    const didRun = this.#running.delete(job);
    if (!didRun) job.inner.close();
    job.port.close();
    if (how === "done") job.resolve(outcome);
    else job.reject(outcome);
    // Piscina ends the thread of what it still runs.
    if (how !== "done" && how !== "failed") job.end.abort();
    this.#startNext();
  }
}

function makeJob(call: ThreadCall, resolve: Job["resolve"], reject: Job["reject"]): Job {
  const { port1: port, port2: inner } = new MessageChannel();
  const { module, name, args, transfer = [] } = call;
  try {
    port.postMessage({ module, name, args }, transfer);
  } catch (error) {
    port.close();
    throw new Unencodable(
      `${faultyArgument(call)} cannot be cloned into a thread: ${(error as Error).message}; give plain data`,
    );
  }
  const shared = new Int32Array(new SharedArrayBuffer(Shared.length * Int32Array.BYTES_PER_ELEMENT));
  return { call, port, inner, shared, end: new AbortController(), resolve, reject, isSettled: false };
}

function faultyArgument({ name, args }: ThreadCall): string {
  const index = args.findIndex((argument) => {
    try {
      structuredClone(argument);
      return false;
    } catch {
      return true;
    }
  });
  return index < 0 ? `what ${name} is given to transfer` : `argument ${index + 1} of ${name}`;
}

function described({ name, module }: ThreadCall): string {
  const file = module.slice(module.lastIndexOf("/") + 1);
  return name === undefined ? file : `${name} of ${file}`;
}

function closed(call: ThreadCall): ThreadsClosed {
  return new ThreadsClosed(`the threads are closed; ${described(call)} was not run to its end`);
}

function crashed(call: ThreadCall, cause: unknown): ThreadCrashed {
  const what = `the thread of ${described(call)} ended under it: ${(cause as Error).message}`;
  return new ThreadCrashed(what, { cause });
}

function unencodable(call: ThreadCall, reason: string): Unencodable {
  return new Unencodable(
    `what ${described(call)} returned cannot leave its thread: ${reason}; return plain data`,
  );
}

function unreadable(call: ThreadCall): Unencodable {
  const cure = "was a buffer handed over (transfer) before?";
  return new Unencodable(`what ${call.name} was given did not arrive in its thread; ${cure}`);
}

function nextOf(port: MessagePort): { readonly message: Told } | undefined {
  return receiveMessageOnPort(port) as { readonly message: Told } | undefined;
}

function missing(call: ThreadCall, names: readonly string[]): ConfigurationError {
  const meant = nearest(call.name ?? "", names);
  const cure = meant === undefined ? `it has ${names.join(", ") || "none"}` : `did you mean "${meant}"?`;
  return new ConfigurationError([`${call.module} exports no function "${call.name}"; ${cure}`]);
}

function unloadable({ module }: ThreadCall, fault: Fault): ConfigurationError {
  const cure =
    fault.code === "ERR_UNKNOWN_FILE_EXTENSION"
      ? "; threads load files as they stand, and this Node reads no TypeScript: give the built .js file"
      : "";
  const error = new ConfigurationError([
    `${module} cannot be loaded in a thread: ${fault.name}: ${fault.message}${cure}`,
  ]);
  error.cause = new ErrorInThread(fault);
  return error;
}
