import { apart } from "./ears.ts";
import { fieldsOf, isCount, isText, textOf } from "./marks.ts";
import type { StockSocket, TaskEvents, TaskStatus } from "./types.ts";

type Name = keyof TaskEvents;
type Listener<E extends Name> = (event: TaskEvents[E]) => void;

/** The documented part of a socket that this needs. */
interface Socket {
  readonly connected: boolean;
  on(event: string, listener: (payload?: unknown) => void): unknown;
  off(event: string, listener: (payload?: unknown) => void): unknown;
  timeout(ms: number): {
    emit(event: string, payload: unknown, answer: (error: Error | null, answer: unknown) => void): unknown;
  };
  emit(event: string, payload: unknown): unknown;
}

const ANSWER_MS = 10_000;
const AGAIN_MS = 2_000;
/** What the server says when it may be otherwise soon. */
const PASSING = new Set(["layer_unavailable", "rate_limited", "internal_error"]);
const OVER = new Set(["succeeded", "failed", "cancelled", "expired"]);
const STATES = new Set<unknown>(["queued", "running", "retrying", ...OVER]);

/** By socket, how many watch each run: the server counts a socket once. */
const watching = new WeakMap<Socket, Map<string, number>>();

/** Made by {@link watchTask}. */
class TaskWatch {
  /** Of the run. */
  readonly id: string;
  /** Resolves with the last state, whatever it is; rejects never. */
  readonly ended: Promise<TaskStatus>;
  readonly #socket: Socket;
  readonly #ticket: string;
  readonly #listeners: { readonly [E in Name]: Set<Listener<E>> } = {
    progress: new Set(),
    done: new Set(),
    failed: new Set(),
  };
  #status: TaskStatus | undefined;
  #again: ReturnType<typeof setTimeout> | undefined;
  #isStopped = false;
  #resolve: (status: TaskStatus) => void = () => {};

  constructor(socket: Socket, ticket: string) {
    this.#socket = socket;
    this.#ticket = ticket;
    this.id = idIn(ticket);
    this.ended = new Promise((resolve) => {
      this.#resolve = resolve;
    });
    this.#count(1);
    socket.on("task", this.#hear);
    socket.on("connect", this.#ask);
    if (socket.connected) this.#ask();
  }

  /** The newest that is known; undefined before the first. */
  get status(): TaskStatus | undefined {
    return this.#status;
  }

  /**
   * - `progress`: every newer state while the run is not over, the first at once.
   * - `done`: it succeeded; with its result.
   * - `failed`: it failed, was cancelled or expired, or cannot be watched (any more); with the reason.
   *
   * Of `done` and `failed` one comes, once; who listens after that is told all the same.
   *
   * @returns ends the listening
   */
  on<E extends Name>(event: E, listener: Listener<E>): () => void {
    const listeners = this.#listeners[event] as Set<Listener<E>>;
    listeners.add(listener);
    const status = this.#status;
    if (status !== undefined && OVER.has(status.state)) {
      queueMicrotask(() => {
        if (listeners.has(listener)) this.#tellTo(event, listener, status);
      });
    }
    return () => void listeners.delete(listener);
  }

  /** Watches no more; the run goes on. The socket stays as it is. */
  stop(): void {
    if (this.#isStopped) return;
    const others = this.#leave();
    if (others === 0 && this.#socket.connected) this.#socket.emit("unwatch", { id: this.id });
  }

  readonly #ask = (): void => {
    clearTimeout(this.#again);
    this.#socket.timeout(ANSWER_MS).emit("watch", { ticket: this.#ticket }, (error, answer) => {
      if (this.#isStopped) return;
      const refusal = error === null ? fieldsOf(fieldsOf(answer).error) : { code: "rate_limited" };
      if (refusal.code === undefined) return this.#hear(answer);
      const code = textOf(refusal.code);
      if (!PASSING.has(code)) return this.#giveUp(code, textOf(refusal.message));
      // Not connected: it asks when it is.
      this.#again = setTimeout(() => this.#socket.connected && this.#ask(), AGAIN_MS);
    });
  };

  readonly #hear = (payload?: unknown): void => {
    const status = statusOf(payload);
    if (this.#isStopped || status?.id !== this.id || !isNewer(status, this.#status)) return;
    this.#status = status;
    if (OVER.has(status.state)) this.#end(status);
    else this.#tell("progress", status);
  };

  #giveUp(code: string, message: string): void {
    const last = this.#status ?? { id: this.id, task: "", attempt: 0, step: 0, at: Date.now() };
    const status: TaskStatus = { ...last, state: "failed", error: { code, message } };
    this.#status = status;
    this.#end(status);
  }

  #end(status: TaskStatus): void {
    this.#leave();
    this.#tell(status.state === "succeeded" ? "done" : "failed", status);
    this.#resolve(status);
  }

  /** @returns how many others watch the same run by the same socket */
  #leave(): number {
    this.#isStopped = true;
    clearTimeout(this.#again);
    this.#socket.off("task", this.#hear);
    this.#socket.off("connect", this.#ask);
    return this.#count(-1);
  }

  #count(change: number): number {
    const runs = watching.get(this.#socket) ?? new Map<string, number>();
    watching.set(this.#socket, runs);
    const count = (runs.get(this.id) ?? 0) + change;
    if (count > 0) runs.set(this.id, count);
    else runs.delete(this.id);
    return count;
  }

  #tell(event: Name, status: TaskStatus): void {
    for (const listener of [...this.#listeners[event]]) {
      apart(() => this.#tellTo(event, listener as never, status));
    }
  }

  #tellTo(event: Name, listener: (event: never) => void, status: TaskStatus): void {
    const { state, result, error } = status;
    if (event === "progress") {
      if (!OVER.has(state)) listener(status as never);
    } else if (event === "done") {
      if (state === "succeeded") listener({ result, status } as never);
    } else if (OVER.has(state) && state !== "succeeded") {
      listener({ ...(error ?? { code: state, message: state }), status } as never);
    }
  }
}

export type { TaskWatch };

/**
 * Watches a run of a task with a ticket that the server issued, over a socket of the namespace of tasks. It is
 * told the state at once and then every newer one, also after a lost connection, to the end.
 *
 * @throws TypeError if this is no ticket
 * @example
 * const watch = watchTask(io("/tasks"), ticket);
 * watch.on("progress", ({ progress }) => { bar.value = progress?.done ?? 0; bar.max = progress?.total || 1; });
 * watch.on("done", ({ result }) => show(result));
 * watch.on("failed", ({ code, message }) => show(message));
 */
export function watchTask(socket: StockSocket, ticket: string): TaskWatch {
  return new TaskWatch(socket as unknown as Socket, ticket);
}

/** What is no state is none; of one that is, what is no progress is left out. */
function statusOf(value: unknown): TaskStatus | undefined {
  const { progress, error, ...status } = fieldsOf(value);
  const { id, task, state, attempt, step, at } = status;
  const isStatus = isText(id) && isText(task) && STATES.has(state) && isCount(attempt) && isCount(step);
  if (!isStatus || typeof at !== "number") return undefined;
  const { done, total, note } = fieldsOf(progress);
  const isProgress = typeof done === "number" && typeof total === "number";
  const { code, message } = fieldsOf(error);
  return {
    ...(status as Omit<TaskStatus, "progress" | "error">),
    ...(isProgress && { progress: { done, total, ...(isText(note) && { note }) } }),
    ...(error !== undefined && { error: { code: textOf(code), message: textOf(message) } }),
  };
}

function isNewer(status: TaskStatus, known: TaskStatus | undefined): boolean {
  if (known === undefined) return true;
  if (status.attempt !== known.attempt) return status.attempt > known.attempt;
  return status.step > known.step || (status.step === known.step && status.state !== known.state);
}

/** What a ticket says stands in it for all to read; only the server can sign it. */
function idIn(ticket: unknown): string {
  try {
    const said = String(ticket).split(".")[2] ?? "";
    const text = atob(said.replaceAll("-", "+").replaceAll("_", "/"));
    const [id] = JSON.parse(text) as readonly unknown[];
    if (typeof id === "string") return id;
  } catch {
    // Said below.
  }
  throw new TypeError("watchTask() takes a ticket, as the server issues it for a run");
}
