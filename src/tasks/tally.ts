/** How tasks stand in this process, in numbers. */
import { Kinds, PERIODS, Spreads, type TaskBroker, type TaskReadings, within } from "../index.ts";
import type { TaskFacts } from "./facts.ts";

/** A look that is newer than this is not taken again. */
const LOOK_MS = 1_000;
const LOOK_TIMEOUT_MS = 2_000;
/** Queues of which is told. */
const MAX_QUEUES = 50;

const OUTCOMES: readonly string[] = ["done", "failed", "retried", "cancelled", "expired"];

type Look = Pick<TaskReadings, "queues" | "workers" | "lookedAt">;

export class TaskTally {
  readonly #queued = new Kinds();
  readonly #ended = new Map<string, Kinds>();
  readonly #took = new Spreads(PERIODS);
  readonly #waited = new Spreads(PERIODS);
  #stalled = 0;
  #blocked = 0;
  #isBrokerUp = false;
  #look: Look = Object.freeze({ queues: Object.freeze({}), workers: 0, lookedAt: 0 });
  #looking: Promise<void> | undefined;

  /** @param knows - whether there is a task of that name: names on the wire are anybody's */
  constructor(facts: TaskFacts, knows: (task: string) => boolean) {
    const ended = (task: string, how: string) => {
      this.#kindsOf(knows(task) ? task : "unknown").add(how);
    };
    facts.queued.connect(({ task, isMerged }) => {
      if (!isMerged) this.#queued.add(task);
    });
    facts.started.connect(({ queue, waitedMs }) => this.#waited.of(queue).note(Math.max(waitedMs, 0)));
    facts.succeeded.connect(({ task, tookMs }) => {
      ended(task, "done");
      this.#took.of(task).note(tookMs);
    });
    facts.retrying.connect(({ task }) => ended(task, "retried"));
    facts.failed.connect(({ task }) => ended(task, "failed"));
    facts.cancelled.connect(({ task }) => ended(task, "cancelled"));
    facts.expired.connect(({ task }) => ended(task, "expired"));
    facts.stalled.connect(() => {
      this.#stalled += 1;
    });
    facts.blocking.connect(() => {
      this.#blocked += 1;
    });
    facts.brokerDown.connect(() => this.reachable(false));
    facts.brokerUp.connect(() => this.reachable(true));
  }

  get isBrokerUp(): boolean {
    return this.#isBrokerUp;
  }

  reachable(isUp: boolean): void {
    this.#isBrokerUp = isUp;
  }

  #kindsOf(task: string): Kinds {
    const known = this.#ended.get(task);
    if (known !== undefined) return known;
    const kinds = new Kinds();
    for (const outcome of OUTCOMES) kinds.add(outcome, 0);
    this.#ended.set(task, kinds);
    return kinds;
  }

  /** Asks the broker how its queues stand. Never rejects: of one that does not answer the last look stays. */
  look(broker: TaskBroker): Promise<void> {
    if (Date.now() - this.#look.lookedAt < LOOK_MS) return Promise.resolve();
    this.#looking ??= within(LOOK_TIMEOUT_MS, lookAt(broker), () => new Error("late"))
      .then((look) => {
        this.#look = look;
      })
      .catch(() => {})
      .finally(() => {
        this.#looking = undefined;
      });
    return this.#looking;
  }

  /** @param own - tasks that are run here, of which is told from the start on */
  reading(running: number, own: Iterable<string>): TaskReadings {
    for (const task of own) this.#kindsOf(task);
    return Object.freeze({
      queued: this.#queued.reading,
      ended: Object.freeze(
        Object.fromEntries([...this.#ended].map(([task, { reading }]) => [task, reading])),
      ),
      running,
      took: this.#took.reading,
      waited: this.#waited.reading,
      stalled: this.#stalled,
      blocked: this.#blocked,
      isBrokerUp: this.#isBrokerUp,
      ...this.#look,
    });
  }
}

async function lookAt(broker: TaskBroker): Promise<Look> {
  const [names, workers] = await Promise.all([broker.queues(), broker.workers()]);
  const queues = await Promise.all(
    names.slice(0, MAX_QUEUES).map(async (queue) => {
      const { isPaused: _isPaused, ...counts } = await broker.counts(queue);
      return [queue, Object.freeze(counts)] as const;
    }),
  );
  return Object.freeze({
    queues: Object.freeze(Object.fromEntries(queues)),
    workers: workers.length,
    lookedAt: Date.now(),
  });
}
