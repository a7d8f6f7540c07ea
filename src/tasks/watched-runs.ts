import type { TaskBroker } from "../index.ts";
import { UnknownTask } from "./errors.ts";
import { isOver, statusOf, type TaskStatus, withProgress } from "./status.ts";

interface WatchedRun {
  readonly id: string;
  readonly watchers: Set<(status: TaskStatus) => void>;
  /** Resolves with what ends it. */
  readonly following: Promise<() => void>;
  status: TaskStatus | undefined;
  /** Heard before anything else was known. */
  early: string | undefined;
  looking: NodeJS.Timeout | undefined;
}

/**
 * The runs that somebody watches in this process: each is followed once, however many watch it.
 *
 * The run's record at the broker is the truth. What the broker tells of it comes sooner; as that may be lost
 * with a connection, the record is looked at when nothing was heard for a while.
 */
export class WatchedRuns {
  readonly #broker: Pick<TaskBroker, "find" | "follow">;
  readonly #lookMs: number;
  readonly #runs = new Map<string, WatchedRun>();

  /** @param lookMs - how long nothing may be heard of a run before its record is looked at */
  constructor(broker: Pick<TaskBroker, "find" | "follow">, lookMs: number) {
    this.#broker = broker;
    this.#lookMs = lookMs;
  }

  /** How many. */
  get size(): number {
    return this.#runs.size;
  }

  /**
   * Tells the state of a run as it is now, and has done so when this resolves; then every other that is heard
   * of or found, to the end. Some may be told twice, or late: whoever is told compares ({@link isNews}).
   *
   * @returns what ends it
   * @throws UnknownTask, LayerUnavailable
   */
  async watch(id: string, tell: (status: TaskStatus) => void): Promise<() => void> {
    const run = this.#runs.get(id) ?? this.#begin(id);
    run.watchers.add(tell);
    const stop = () => this.#leave(run, tell);
    try {
      await run.following;
      await this.#look(run);
    } catch (error) {
      stop();
      throw error;
    }
    return stop;
  }

  #begin(id: string): WatchedRun {
    const run: WatchedRun = {
      ...{ id, watchers: new Set(), status: undefined, early: undefined, looking: undefined },
      following: this.#broker.follow(id, {
        changed: () => void this.#lookSilently(run),
        progress: (json) => this.#hear(run, json),
      }),
    };
    this.#runs.set(id, run);
    return run;
  }

  #leave(run: WatchedRun, tell: (status: TaskStatus) => void): void {
    run.watchers.delete(tell);
    if (run.watchers.size > 0 || this.#runs.get(run.id) !== run) return;
    this.#runs.delete(run.id);
    clearTimeout(run.looking);
    run.following.then(
      (end) => end(),
      () => {},
    );
  }

  #hear(run: WatchedRun, json: string): void {
    const { status } = run;
    if (status === undefined) run.early = json;
    else this.#tell(run, withProgress(status, json));
  }

  async #look(run: WatchedRun): Promise<void> {
    const record = await this.#broker.find(run.id);
    if (record !== undefined) {
      this.#tell(run, statusOf(record));
      if (run.early !== undefined) this.#hear(run, run.early);
      run.early = undefined;
    } else if (run.status !== undefined) {
      this.#tell(run, vanished(run.status));
    } else {
      throw new UnknownTask(run.id);
    }
  }

  /** What comes of itself has nobody to tell of its failure; the next look is due anyhow. */
  async #lookSilently(run: WatchedRun): Promise<void> {
    try {
      await this.#look(run);
    } catch {
      this.#lookLater(run);
    }
  }

  #tell(run: WatchedRun, status: TaskStatus): void {
    if (this.#runs.get(run.id) !== run) return;
    if (run.status === undefined || isNews(status, run.status)) run.status = status;
    for (const tell of run.watchers) tell(run.status);
    if (!isOver(run.status)) this.#lookLater(run);
  }

  #lookLater(run: WatchedRun): void {
    if (this.#runs.get(run.id) !== run) return;
    if (run.looking !== undefined) run.looking.refresh();
    else run.looking = setTimeout(() => void this.#lookSilently(run), this.#lookMs);
  }
}

/** Whether a state is another than, and not older than, one that is known. */
export function isNews(status: TaskStatus, known: TaskStatus): boolean {
  if (status.attempt !== known.attempt) return status.attempt > known.attempt;
  return status.step > known.step || (status.step === known.step && status.state !== known.state);
}

/** Of one that was forgotten while it was watched: there is nothing more to come. */
function vanished(last: TaskStatus): TaskStatus {
  const error = { code: "unknown_task", message: "the run is no longer known" };
  return { ...last, attempt: last.attempt + 1, state: "failed", error };
}
