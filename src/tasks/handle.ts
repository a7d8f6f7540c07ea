import type { TaskBroker } from "../index.ts";
import { InvalidMessage } from "../index.ts";
import type { Clock } from "./clock.ts";
import { TaskFailed, TaskTimeout, UnknownTask } from "./errors.ts";
import { isOver, statusOf, type TaskStatus } from "./status.ts";
import type { TicketOptions } from "./tickets.ts";

/** A run that was enqueued: ask it how it goes, wait for it, end it. Made again from its id by `tasks.handle`. */
export interface TaskHandle<Result = unknown> {
  /** `<queue>.<text>`; whoever knows it can ask nothing without a ticket. */
  readonly id: string;
  /** Nothing was added: a run with the same key waits or runs, and this is its handle. */
  readonly merged: boolean;
  /** @throws UnknownTask when it is forgotten (`keepMs` after its end); LayerUnavailable */
  status(): Promise<TaskStatus>;
  /**
   * Waits for the outcome; undefined comes back as null. The run goes on if the time is over.
   *
   * @throws TaskFailed with the code of what went wrong; TaskTimeout; UnknownTask; LayerUnavailable
   */
  result(options: { readonly timeoutMs: number; readonly signal?: AbortSignal }): Promise<Result>;
  /**
   * Asks for its end, and that of the steps before it. One that waits does not run; one that runs hears its
   * signal and ends when it looks. False: it had ended, or is forgotten.
   */
  cancel(): Promise<boolean>;
  /** What a browser shows to watch it. */
  ticket(options?: TicketOptions): string;
}

export interface HandleHost {
  readonly broker: TaskBroker;
  readonly clock: Clock;
  ticket(id: string, options: TicketOptions): string;
}

/** Timers overflow beyond. */
const MAX_TIMEOUT_MS = 2_147_483_647;

export class Handle<Result> implements TaskHandle<Result> {
  readonly id: string;
  readonly merged: boolean;
  readonly #host: HandleHost;

  constructor(host: HandleHost, id: string, merged: boolean) {
    this.#host = host;
    this.id = id;
    this.merged = merged;
  }

  async status(): Promise<TaskStatus> {
    const record = await this.#host.broker.find(this.id);
    if (record === undefined) throw new UnknownTask(this.id);
    return statusOf(record);
  }

  async result(options: { readonly timeoutMs: number; readonly signal?: AbortSignal }): Promise<Result> {
    const { timeoutMs, signal } = (options ?? {}) as Partial<typeof options>;
    if (timeoutMs === undefined || !(timeoutMs > 0 && timeoutMs <= MAX_TIMEOUT_MS)) {
      throw new InvalidMessage(
        `result needs a time limit: { timeoutMs } above 0, up to ${MAX_TIMEOUT_MS}, not ${String(timeoutMs)}`,
      );
    }
    signal?.throwIfAborted();
    const status = await this.#end(timeoutMs, signal);
    if (status.state === "succeeded") return status.result as Result;
    const { code, message } = status.error ?? { code: "task_failed", message: "the task failed" };
    throw new TaskFailed(this.id, { code, message, name: "TaskFailed" });
  }

  cancel(): Promise<boolean> {
    return this.#host.broker.cancel(this.id);
  }

  ticket(options: TicketOptions = {}): string {
    return this.#host.ticket(this.id, options);
  }

  async #end(timeoutMs: number, signal: AbortSignal | undefined): Promise<TaskStatus> {
    const { broker, clock } = this.#host;
    let wake = () => {};
    let isLate = false;
    const timer = clock.setTimeout(() => {
      isLate = true;
      wake();
    }, timeoutMs);
    const aborted = () => wake();
    signal?.addEventListener("abort", aborted, { once: true });
    let forget = () => {};
    let hints = 0;
    try {
      forget = await broker.follow(this.id, {
        changed() {
          hints += 1;
          wake();
        },
      });
      for (;;) {
        const seen = hints;
        const status = await this.status();
        if (isOver(status)) return status;
        signal?.throwIfAborted();
        if (isLate) throw new TaskTimeout(`the task has not ended within ${timeoutMs} ms; it goes on`);
        if (hints !== seen) continue;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      clock.clearTimeout(timer);
      signal?.removeEventListener("abort", aborted);
      forget();
    }
  }
}
