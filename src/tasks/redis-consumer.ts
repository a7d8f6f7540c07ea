import { setTimeout as sleep } from "node:timers/promises";
import {
  type BrokerListener,
  type ChildOutcome,
  type Consumption,
  type Delivery,
  type JobHandler,
  type JobOutcome,
  LayerUnavailable,
} from "../index.ts";
import type { RedisBlocking, RedisCommands } from "../redis/index.ts";
import { brokerErrors, childFailure } from "./job-trees.ts";
import { listOf, outcomesOf, recordOf, type Taken, takenOf, textsOf } from "./redis-jobs.ts";
import {
  CHECK,
  FETCH,
  FINISH,
  HAND_BACK,
  HAND_BACK_OTHERS,
  OUTCOMES,
  POSTPONE,
  PROGRESS,
  RENEW,
  WAKE,
} from "./redis-worker-scripts.ts";

export interface ConsumerSettings {
  readonly lockMs: number;
  readonly checkMs: number;
  readonly maxDeaths: number;
}

export interface ConsumerPlace {
  readonly root: string;
  readonly queue: string;
  /** By which Redis knows who has a job. */
  readonly token: string;
}

/** How long a worker waits for Redis to say that there is something, before it looks by itself. */
const LOOK_MS = 5_000;
/** How much later than that Redis is to end the wait by itself. */
const ALARM_MS = 500;
/** Between two attempts to reach Redis. */
const PAUSE_MS = 200;
/** Jobs that one check forgets, and how many such checks follow each other. */
const FORGET_AT_ONCE = 500;
const FORGET_ROUNDS = 20;

interface Run {
  readonly id: string;
  readonly controller: AbortController;
  /** What it ends with is of no consequence. */
  isOver: boolean;
  /** Its outcome is on its way. */
  isEnding: boolean;
}

/**
 * Works on one queue. BullMQ's own Worker is not used, but its scripts are: the Worker makes a failure of an
 * outcome that the connection cuts off, stops renewing the lock of a job while its outcome waits for Redis,
 * and closes when Redis is there to close to.
 */
export class RedisConsumer implements Consumption {
  readonly #commands: RedisCommands;
  readonly #blocking: RedisBlocking;
  readonly #place: ConsumerPlace;
  readonly #settings: ConsumerSettings;
  readonly #concurrency: number;
  readonly #handler: JobHandler;
  readonly #listener: BrokerListener;
  readonly #base: string;
  readonly #runs = new Map<string, Run>();
  /** Jobs in a row, each taken with the outcome of the one before. */
  readonly #rows = new Set<Promise<void>>();
  readonly #stopping = new AbortController();
  readonly #closing = new AbortController();
  #working: Promise<void> = Promise.resolve();
  #stopped: Promise<void> | undefined;
  /** Wakes who waits for room. */
  #freed = () => {};
  /** The last look found nothing. */
  #isDrained = false;
  #dueInMs: number | undefined;
  #timer: NodeJS.Timeout | undefined;
  #beating: Promise<void> | undefined;

  constructor(
    commands: RedisCommands,
    blocking: RedisBlocking,
    place: ConsumerPlace,
    settings: ConsumerSettings,
    concurrency: number,
    handler: JobHandler,
    listener: BrokerListener,
  ) {
    this.#commands = commands;
    this.#blocking = blocking;
    this.#place = place;
    this.#settings = settings;
    this.#concurrency = concurrency;
    this.#handler = handler;
    this.#listener = listener;
    this.#base = `${place.root}:${place.queue}:`;
  }

  begin(): void {
    this.#working = this.#work();
    this.#timer = setInterval(() => this.beat(), this.#settings.checkMs);
    this.beat();
  }

  get active(): number {
    return this.#runs.size;
  }

  /** Says that this worker lives, and looks for those that do not. */
  beat(): void {
    this.#beating ??= this.#beat()
      .catch((error: unknown) => this.#complain(error))
      .finally(() => {
        this.#beating = undefined;
      });
  }

  /**
   * Redis is back. What it gave this worker with an answer that was cut off goes back; and its locks may have
   * run out, so whose jobs they are is said before somebody looks.
   */
  recover(): void {
    const known = [this.#place.token, ...this.#runs.keys()];
    this.#commands
      .run(HAND_BACK_OTHERS, [this.#base], known)
      .catch((error: unknown) => this.#complain(error));
    this.beat();
  }

  /** Somebody wants this one to end, if it runs here. */
  cancelled(id: string): void {
    this.#runs.get(id)?.controller.abort("cancelled");
  }

  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  /** What still runs is aborted and handed back. */
  async abandon(): Promise<void> {
    this.#closing.abort();
    void this.stop();
    const runs = [...this.#runs.values()];
    this.#runs.clear();
    clearInterval(this.#timer);
    await Promise.all(runs.filter(({ isOver }) => !isOver).map((run) => this.#abandon(run)));
  }

  async #stop(): Promise<void> {
    this.#stopping.abort();
    this.#blocking.close();
    this.#freed();
    await this.#working;
    while (this.#rows.size > 0) await Promise.all(this.#rows);
    clearInterval(this.#timer);
    // It may have taken the sign that there is something, and nothing with it.
    await this.#wake();
  }

  async #abandon(run: Run): Promise<void> {
    run.isOver = true;
    run.controller.abort("lost");
    await this.#handBack(run.id);
  }

  async #handBack(id: string): Promise<void> {
    // Otherwise it is found when its lock has run out.
    await this.#commands.run(HAND_BACK, [this.#base], [this.#place.token, id]).catch(() => {});
  }

  // ---- taking -----------------------------------------------------------------------------------

  get #isStopping(): boolean {
    return this.#stopping.signal.aborted;
  }

  async #work(): Promise<void> {
    while (!this.#isStopping) {
      if (this.#rows.size >= this.#concurrency) {
        await new Promise<void>((resolve) => {
          this.#freed = resolve;
        });
      } else if (!this.#isDrained) {
        await this.#fetch();
      } else {
        await this.#wait();
      }
    }
  }

  async #fetch(): Promise<void> {
    try {
      const { token } = this.#place;
      const taken = takenOf(await this.#commands.run(FETCH, [this.#base], [token, this.#settings.lockMs]));
      if (taken.id === "") {
        this.#isDrained = true;
        this.#dueInMs = taken.dueInMs;
      } else {
        this.#begin(taken);
      }
    } catch (error) {
      this.#complain(error);
      await pause(this.#stopping.signal);
    }
  }

  /** Until there may be something, or it is time to look. */
  async #wait(): Promise<void> {
    const dueInMs = Math.min(this.#dueInMs ?? LOOK_MS, LOOK_MS);
    // Redis ends a wait up to a tenth of a second late; a sign that there is something ends it at once.
    const alarm = setTimeout(() => void this.#wake(), dueInMs);
    const waitMs = dueInMs + ALARM_MS;
    try {
      const args = ["BZPOPMIN", `${this.#base}marker`, (waitMs / 1000).toFixed(3)];
      const sign = await this.#blocking.command(args, waitMs);
      // While this worker was asleep it became busy: somebody else may have room.
      if (sign !== null && this.#rows.size >= this.#concurrency) await this.#wake();
    } catch {
      await pause(this.#stopping.signal);
    } finally {
      clearTimeout(alarm);
    }
    this.#isDrained = false;
  }

  async #wake(): Promise<void> {
    await this.#commands.run(WAKE, [this.#base], []).catch(() => {});
  }

  #begin(taken: Taken): void {
    const row = this.#run(taken)
      .catch((error: unknown) => this.#complain(error))
      .finally(() => {
        this.#rows.delete(row);
        this.#freed();
      });
    this.#rows.add(row);
  }

  // ---- running ----------------------------------------------------------------------------------

  async #run(first: Taken): Promise<void> {
    for (let taken: Taken | undefined = first; taken !== undefined; ) {
      if (this.#isStopping) return this.#handBack(taken.id);
      taken = await this.#runOne(taken);
    }
  }

  /** Returns the next, if there is one. */
  async #runOne(taken: Taken): Promise<Taken | undefined> {
    const { id } = taken;
    const run: Run = { id, controller: new AbortController(), isOver: false, isEnding: false };
    const former = this.#runs.get(id);
    // Given up for dead, and given to the same worker again.
    if (former !== undefined) this.#lose(former);
    this.#runs.set(id, run);
    try {
      const outcome = await this.#outcome(taken, run);
      return await this.#finish(run, outcome);
    } finally {
      run.isOver = true;
      if (this.#runs.get(id) === run) this.#runs.delete(id);
    }
  }

  async #outcome({ id, fields }: Taken, run: Run): Promise<JobOutcome> {
    const record = recordOf(this.#place.queue, id, "active", fields);
    if (fields.has("defa")) {
      return { kind: "failed", error: brokerErrors.workerDied(Number(fields.get("stc") ?? 0)) };
    }
    const { children = [], isCancelled, runAt } = record;
    if (children.length > 0 && !isCancelled) {
      if (fields.get("policy") !== "run") {
        const failure = childFailure(await this.#surely(run, () => this.#outcomes(id, children)));
        if (failure !== undefined) return { kind: "failed", error: failure };
      }
      const afterMs = runAt - Date.now();
      if (record.attempt === 1 && afterMs > 0) return { kind: "later", afterMs };
    }
    if (isCancelled) run.controller.abort("cancelled");
    const delivery: Delivery = {
      ...record,
      signal: run.controller.signal,
      childOutcomes: () => this.#outcomes(id, children),
      setProgress: async (json) => {
        if (run.isOver) return;
        await this.#commands.run(PROGRESS, [this.#base, this.#place.root], [this.#place.token, id, json]);
      },
    };
    try {
      return await this.#handler(delivery);
    } catch (error) {
      this.#listener.failed(error);
      return { kind: "failed", error: brokerErrors.handlerThrew(error) };
    }
  }

  async #outcomes(id: string, children: readonly string[]): Promise<readonly ChildOutcome[]> {
    if (children.length === 0) return [];
    return outcomesOf(children, await this.#commands.run(OUTCOMES, [`${this.#base}${id}`], []));
  }

  /** Tells Redis how it ended, however long that takes, while the job is ours. */
  async #finish(run: Run, outcome: JobOutcome): Promise<Taken | undefined> {
    if (run.isOver) return undefined;
    const answer = await this.#surely(run, () => {
      run.isEnding = true;
      const more = this.#isStopping ? 0 : 1;
      const ours = [this.#place.token, this.#settings.lockMs, more, run.id] as const;
      const keys = [this.#base, this.#place.root];
      if (outcome.kind === "done")
        return this.#commands.run(FINISH, keys, [...ours, "completed", outcome.result]);
      if (outcome.kind === "failed")
        return this.#commands.run(FINISH, keys, [...ours, "failed", outcome.error]);
      const error = outcome.kind === "retry" ? outcome.error : "";
      const body = outcome.kind === "later" ? outcome.body : undefined;
      const rest = [outcome.afterMs, error, body === undefined ? 0 : 1, body ?? ""];
      return this.#commands.run(POSTPONE, keys, [...ours, ...rest]);
    });
    const taken = takenOf(answer);
    // That there was nothing more is no news: by now there may be, as this very job after its delay.
    return taken.id === "" ? undefined : taken;
  }

  /** Does it until Redis has answered, while the run is not over. */
  async #surely<T>(run: Run, work: () => Promise<T>): Promise<T> {
    for (;;) {
      try {
        return await work();
      } catch (error) {
        run.isEnding = false;
        if (!(error instanceof LayerUnavailable) || run.isOver || this.#closing.signal.aborted) throw error;
        await pause(this.#closing.signal);
      }
    }
  }

  #lose(run: Run): void {
    run.isOver = true;
    run.controller.abort("lost");
    if (this.#runs.get(run.id) === run) this.#runs.delete(run.id);
  }

  // ---- staying alive ----------------------------------------------------------------------------

  async #beat(): Promise<void> {
    await this.#renew();
    const { checkMs, maxDeaths } = this.#settings;
    for (let i = 0; i < FORGET_ROUNDS && !this.#isStopping; i++) {
      const answer = await this.#commands.run(CHECK, [this.#base], [maxDeaths, checkMs, FORGET_AT_ONCE]);
      const [stalled, forgotten] = listOf(answer);
      for (const id of textsOf(stalled)) this.#listener.stalled(id);
      if (Number(forgotten) < FORGET_AT_ONCE) return;
    }
  }

  async #renew(): Promise<void> {
    const runs = [...this.#runs.values()].filter(({ isEnding }) => !isEnding);
    if (runs.length === 0) return;
    const ids = runs.map(({ id }) => id);
    const { token } = this.#place;
    const answer = await this.#commands.run(RENEW, [this.#base], [token, this.#settings.lockMs, ...ids]);
    const [lost, cancelled] = listOf(answer);
    for (const id of textsOf(cancelled)) this.cancelled(id);
    const isLost = new Set(textsOf(lost));
    for (const run of runs) if (isLost.has(run.id) && !run.isEnding && !run.isOver) this.#lose(run);
  }

  /** What is only that Redis is away, the broker says by itself. */
  #complain(error: unknown): void {
    if (!(error instanceof LayerUnavailable)) this.#listener.failed(error);
  }
}

async function pause(signal: AbortSignal): Promise<void> {
  await sleep(PAUSE_MS, undefined, { signal }).catch(() => {});
}
