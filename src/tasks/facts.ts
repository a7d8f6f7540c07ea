/** What there is to know of tasks in this process: receivers log, count and show it. */
import { Signal } from "../index.ts";

/** Which run a fact is about. */
export interface TaskFact {
  readonly id: string;
  readonly task: string;
  readonly queue: string;
}

/** Announced in the process in which it happens; `queued` where it was enqueued, the others in the worker. */
export interface TaskFacts {
  readonly queued: Signal<TaskFact & { readonly isMerged: boolean }>;
  readonly started: Signal<TaskFact & { readonly attempt: number; readonly waitedMs: number }>;
  readonly progress: Signal<
    TaskFact & { readonly done: number; readonly total: number; readonly note?: string }
  >;
  readonly retrying: Signal<
    TaskFact & { readonly attempt: number; readonly afterMs: number; readonly error: unknown }
  >;
  readonly succeeded: Signal<TaskFact & { readonly attempt: number; readonly tookMs: number }>;
  readonly failed: Signal<TaskFact & { readonly attempt: number; readonly error: unknown }>;
  readonly cancelled: Signal<TaskFact>;
  readonly expired: Signal<TaskFact>;
  /** Its worker died, or blocked its event loop for so long that another took it over: it runs again. */
  readonly stalled: Signal<{ readonly id: string }>;
  /** What a run logged. */
  readonly logged: Signal<
    TaskFact & {
      readonly attempt: number;
      readonly message: string;
      readonly details: Readonly<Record<string, unknown>>;
    }
  >;
  /** A run holds the event loop of this process: no other makes way, and its lock may be lost. */
  readonly blocking: Signal<{ readonly tasks: readonly string[]; readonly forMs: number }>;
  readonly workerUp: Signal<{ readonly worker: string; readonly queues: Readonly<Record<string, number>> }>;
  readonly workerDown: Signal<{ readonly worker: string }>;
  /** It has done as many runs, or holds as much memory, as it was given: it should be replaced. */
  readonly tired: Signal<{ readonly runs: number; readonly memoryBytes: number }>;
  /** A worker has begun to look after a schedule; `next`: its next moments, milliseconds since 1970. */
  readonly scheduled: Signal<{
    readonly schedule: string;
    readonly timing: string;
    readonly tz: string;
    readonly next: readonly number[];
  }>;
  /** The broker cannot be reached; `brokerUp` follows. */
  readonly brokerDown: Signal<{ readonly reason: string }>;
  readonly brokerUp: Signal<Record<never, never>>;
  /** Something of the machinery failed, of which no caller hears. */
  readonly faulted: Signal<{ readonly error: unknown }>;
}

export function createTaskFacts(): TaskFacts {
  const faulted: TaskFacts["faulted"] = new Signal("task.faulted", () => {});
  const signal = <Fact>(name: string) =>
    new Signal<Fact>(`task.${name}`, (error) => faulted.announce({ error }));
  return {
    queued: signal("queued"),
    started: signal("started"),
    progress: signal("progress"),
    retrying: signal("retrying"),
    succeeded: signal("succeeded"),
    failed: signal("failed"),
    cancelled: signal("cancelled"),
    expired: signal("expired"),
    stalled: signal("stalled"),
    logged: signal("logged"),
    blocking: signal("blocking"),
    workerUp: signal("workerUp"),
    workerDown: signal("workerDown"),
    tired: signal("tired"),
    scheduled: signal("scheduled"),
    brokerDown: signal("brokerDown"),
    brokerUp: signal("brokerUp"),
    faulted,
  };
}
