import { inspect } from "node:util";
import type { Transferable } from "node:worker_threads";
import { ConfigurationError } from "../index.ts";
import { type ThreadOptions, ThreadPool } from "./thread-pool.ts";

/** The functions that a module exports, as they are called from outside of its thread. */
export type InThread<Module> = {
  readonly [Name in keyof Module as Module[Name] extends (...args: never) => unknown
    ? Name
    : never]: Module[Name] extends (...args: infer Args) => infer Result
    ? (...args: Args) => Promise<Awaited<Result>>
    : never;
};

/** For one call. */
export interface CallOptions {
  /** Ends the thread, also one that is stuck in a loop; the call rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  /** Instead of the pool's; 0: for ever. */
  readonly timeLimitMs?: number;
  /** Parts of the arguments that are handed over instead of copied; the caller has them no more. */
  readonly transfer?: readonly Transferable[];
  /** Hears what the function `report`s while it runs, in order; nothing after the call has ended. */
  readonly onReport?: (value: unknown) => void;
}

/** What a task's function is given that threads need of it. */
export interface TaskRunLike {
  readonly signal: AbortSignal;
  progress(done: number, total?: number, note?: string): void;
}

type TaskWork<Call> = Call extends (args: infer Args) => infer Outcome
  ? (args: Args, run: TaskRunLike) => Outcome
  : never;

/** A module whose functions run in threads. */
export interface ModuleInThreads<Module> {
  /** Its functions: `await module.run.primes(1_000_000)`. */
  readonly run: InThread<Module>;
  /** The same, with options for these calls. */
  with(options: CallOptions): InThread<Module>;
  /**
   * A function of it as the work of a task (`sluice/tasks`): its signal ends the thread, so that a time limit
   * and `cancel` hold for what never looks; and what it `report`s as `{ done, total, note }` is its progress.
   *
   * @example
   * const countPrimes = task("primes.count", { timeLimitMs: 10_000 }, heavy.task("primes"));
   */
  task<Name extends keyof InThread<Module>>(name: Name): TaskWork<InThread<Module>[Name]>;
  /**
   * Starts a thread and loads the module, so that what is wrong with it stops the start.
   *
   * @returns the names of its functions
   * @throws ConfigurationError when it cannot be loaded
   */
  ready(): Promise<readonly string[]>;
  /** As {@link ThreadPool.close}; leaves a pool alone that was given. */
  close(options?: { readonly withinMs?: number }): Promise<void>;
  /** Its threads; `pool.counts` is how they stand. */
  readonly pool: ThreadPool;
}

/**
 * Runs the functions that a module exports in threads, beside the event loop.
 *
 * Arguments and results are cloned (as by `structuredClone`), arguments at the call. One call runs in a thread
 * at a time, calls begin in order, and each thread has the module, and its variables, to itself. A call rejects with
 *
 * - `ErrorInThread` for an error that the function threw: its class' name, message, stack, code and cause
 * - the signal's reason when it was aborted
 * - `ThreadTimeLimit` after `timeLimitMs`
 * - `ThreadCrashed` when its thread ended under it; other calls go on
 * - `ThreadsBusy` when too many wait, and `ThreadsClosed` after `close`
 * - `Unencodable` when arguments or result cannot be cloned
 * - `ConfigurationError` when the module cannot be loaded, or exports no such function
 *
 * @param module - a `file:` URL of JavaScript as Node can load it
 * @param options - those of a pool of its own, or `{ pool }`
 * @throws ConfigurationError for a wrong URL or option
 *
 * @example
 * const heavy = inThread<typeof import("./heavy.js")>(new URL("./heavy.js", import.meta.url));
 * await heavy.run.primes(1_000_000);
 * await heavy.with({ signal: AbortSignal.timeout(500) }).primes(1e9);
 */
export function inThread<Module extends object>(
  module: URL | string,
  options: ThreadOptions | { readonly pool: ThreadPool } = {},
): ModuleInThreads<Module> {
  const url = String(module);
  if (!url.startsWith("file:")) {
    const cure = 'give new URL("./heavy.js", import.meta.url), or import.meta.resolve("a-package")';
    throw new ConfigurationError([`a module for threads is a file: URL, not ${inspect(url)}; ${cure}`]);
  }
  const isShared = "pool" in options;
  const pool = isShared ? options.pool : new ThreadPool(options);
  return {
    run: functions(pool, url, {}),
    with: (options) => functions(pool, url, checked(options)),
    task: (name) =>
      ((args: unknown, run: TaskRunLike) => {
        const onReport = (value: unknown) => {
          const { done, total, note } = (value ?? {}) as Readonly<Record<string, unknown>>;
          if (!isCount(done)) return;
          run.progress(done, isCount(total) ? total : 0, typeof note === "string" ? note : undefined);
        };
        return pool.run({ module: url, name: String(name), args: [args], signal: run.signal, onReport });
      }) as never,
    ready: async () => (await pool.run({ module: url, name: undefined, args: [] })) as readonly string[],
    close: async (options) => (isShared ? undefined : pool.close(options)),
    pool,
  };
}

/** Which functions there are is known in the thread only. */
function functions<Module>(pool: ThreadPool, module: string, options: CallOptions): InThread<Module> {
  return new Proxy(Object.create(null), {
    get(_target, name) {
      // What is awaited is asked whether it has one.
      if (typeof name !== "string" || name === "then") return undefined;
      return (...args: readonly unknown[]) => pool.run({ module, name, args, ...options });
    },
  });
}

function checked(options: CallOptions): CallOptions {
  const { timeLimitMs } = options;
  // Timers overflow beyond 31 bits and would fire at once.
  const isLimit = Number.isInteger(timeLimitMs) && Number(timeLimitMs) >= 0 && Number(timeLimitMs) < 2 ** 31;
  if (timeLimitMs === undefined || isLimit) return options;
  const fault = `timeLimitMs must be a whole number from 0 (below 2^31), not ${inspect(timeLimitMs)}`;
  throw new ConfigurationError([fault]);
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && value >= 0 && Number.isFinite(value);
}
