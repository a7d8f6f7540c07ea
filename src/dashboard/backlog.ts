/**
 * How many runs wait, are delayed and run, known before anybody looks. Where nodes share a broker one of them asks
 * it each period and tells the others, so that many nodes ask it no more often than one.
 */
import type { Message } from "../index.ts";
import type { Desk, TaskOverview } from "./desk.ts";
import { count } from "./report.ts";
import type { Backlog } from "./timeline.ts";

export const BACKLOG = "dashboard.backlog";
/** Of a period; what is younger need not be asked for. */
const FRESH = 0.8;
/** Periods after which it is not known any more. */
const STALE_PERIODS = 3;

export class BacklogWatch {
  readonly #desk: Pick<Desk, "look">;
  readonly #everyMs: number;
  readonly #say: (message: Message) => void;
  readonly #now: () => number;
  #last: Backlog | undefined;
  #knownAt = Number.NEGATIVE_INFINITY;
  #isShared = false;

  /** @param now - milliseconds that never go back; for tests */
  constructor(
    desk: Pick<Desk, "look">,
    everyMs: number,
    say: (message: Message) => void,
    now: () => number = () => performance.now(),
  ) {
    this.#desk = desk;
    this.#everyMs = everyMs;
    this.#say = say;
    this.#now = now;
  }

  /** Has the broker asked if nobody has told lately; waits for nothing, and what comes of it is in the next point. */
  look(): void {
    if (this.#now() - this.#knownAt < FRESH * this.#everyMs) return;
    void this.#desk.look().then((overview) => this.#learn(overview));
  }

  /** What another node has found. */
  hear({ waiting, delayed, running }: Message): void {
    // Of a broker in the memory of that node it is none of ours.
    if (this.#isShared)
      this.#keep({ waiting: count(waiting), delayed: count(delayed), running: count(running) });
  }

  /** Undefined if the broker has not answered for a while. */
  get current(): Backlog | undefined {
    return this.#now() - this.#knownAt > STALE_PERIODS * this.#everyMs ? undefined : this.#last;
  }

  #learn({ isShared, queues, trouble }: TaskOverview): void {
    this.#isShared = isShared;
    if (trouble !== undefined) return;
    const sum = (state: "waiting" | "delayed" | "active") =>
      queues.reduce((all, { counts }) => all + counts[state], 0);
    const backlog = { waiting: sum("waiting"), delayed: sum("delayed"), running: sum("active") };
    this.#keep(backlog);
    if (isShared) this.#say({ type: BACKLOG, ...backlog });
  }

  #keep(backlog: Backlog): void {
    this.#last = backlog;
    this.#knownAt = this.#now();
  }
}
