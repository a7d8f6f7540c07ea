/** Looks at the calendar in one worker. Others do the same; the broker gives each moment to one of them. */
import { ConfigurationError, type NewJob, type TaskBroker } from "../index.ts";
import type { Clock } from "./clock.ts";
import type { TaskFacts } from "./facts.ts";
import { nextTimes, type Schedule } from "./schedule.ts";

export interface SchedulerOptions {
  readonly broker: TaskBroker;
  readonly clock: Clock;
  readonly facts: TaskFacts;
  readonly schedules: readonly Schedule[];
  jobOf(schedule: Schedule): Promise<NewJob>;
}

const RETRY_MS = 1_000;
/** A moment that could not be kept for so long, as Redis was away, counts as missed. */
const LATE_MS = 60_000;
/** A schedule that is not declared here may be one that newer workers declare: only an old one is forgotten. */
const FORGOTTEN_MS = 604_800_000;
const SHOWN = 3;
/** Node's timers know no longer time: one that is longer ends at once. */
const MAX_WAIT_MS = 2_147_483_647;

export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #timers = new Map<string, object>();
  #isOpen = false;

  constructor(options: SchedulerOptions) {
    this.#options = options;
  }

  /** Tells what is planned, forgets schedules that are no more, and makes up for what was missed. */
  async start(): Promise<void> {
    const { broker, clock, facts, schedules } = this.#options;
    this.#isOpen = true;
    const ticks = await broker.ticks();
    const declared = new Set(schedules.map(({ id }) => id));
    for (const [id, { at }] of ticks) {
      if (!declared.has(id) && clock.now() - at > FORGOTTEN_MS) await broker.forgetSchedule(id);
    }
    for (const schedule of schedules) {
      const { id, timing, tz, missed } = schedule;
      const now = clock.now();
      facts.scheduled.announce({
        schedule: id,
        timing: timing.text,
        tz,
        next: nextTimes(schedule, now, SHOWN),
      });
      const last = ticks.get(id);
      const due = timing.before(now, tz);
      if (missed === "once" && last !== undefined && last.at < due) await this.#fire(schedule, due);
      else this.#plan(schedule, now);
    }
  }

  stop(): void {
    this.#isOpen = false;
    for (const timer of this.#timers.values()) this.#options.clock.clearTimeout(timer);
    this.#timers.clear();
  }

  /** @throws ConfigurationError with all whose arguments their task does not take */
  async check(): Promise<void> {
    const faults: string[] = [];
    for (const schedule of this.#options.schedules) {
      try {
        await this.#options.jobOf(schedule);
      } catch (error) {
        faults.push(`schedule "${schedule.id}" of "${schedule.task.name}": ${(error as Error).message}`);
      }
    }
    if (faults.length > 0) throw new ConfigurationError(faults);
  }

  /** @param from - the moment before: one that passed while it was kept is not left out for that */
  #plan(schedule: Schedule, from: number): void {
    const { clock } = this.#options;
    const { timing, tz, missed } = schedule;
    const now = clock.now();
    let at = timing.after(from, tz);
    if (now - at > LATE_MS) at = missed === "once" ? timing.before(now, tz) : timing.after(now, tz);
    this.#wait(schedule, at - now, () => this.#reach(schedule, at));
  }

  /** Timers may be early, and cannot be as long as some waits. */
  #reach(schedule: Schedule, at: number): void {
    const early = at - this.#options.clock.now();
    if (early > 0) this.#wait(schedule, early, () => this.#reach(schedule, at));
    else void this.#fire(schedule, at);
  }

  #wait({ id }: Schedule, ms: number, then: () => void): void {
    if (!this.#isOpen) return;
    this.#timers.set(id, this.#options.clock.setTimeout(then, Math.min(ms, MAX_WAIT_MS)));
  }

  /** Never rejects. */
  async #fire(schedule: Schedule, at: number): Promise<void> {
    const { clock, facts, broker } = this.#options;
    try {
      if (!(await this.#isBusy(schedule))) {
        const made = await this.#options.jobOf(schedule);
        // The same whoever makes it, so that the broker knows it again.
        const job = { ...made, id: `${made.queue}.${schedule.id}-${at}` };
        const isOurs = await broker.tick(schedule.id, at, job);
        if (isOurs) facts.queued.announce({ id: job.id, task: job.task, queue: job.queue, isMerged: false });
      }
    } catch (error) {
      // Redis is away. It is kept when that is over, unless it is too late, or another moment has come.
      const isOvertaken = schedule.timing.before(clock.now(), schedule.tz) > at;
      const isTooLate = schedule.missed === "skip" && clock.now() - at > LATE_MS;
      if (!isOvertaken && !isTooLate) {
        return this.#wait(schedule, RETRY_MS, () => void this.#fire(schedule, at));
      }
      facts.faulted.announce({ error });
      return this.#wait(schedule, RETRY_MS, () => this.#plan(schedule, at));
    }
    if (this.#isOpen) this.#plan(schedule, at);
  }

  /** Whether the run of the moment before still goes on, and that matters. */
  async #isBusy({ id, overlap }: Schedule): Promise<boolean> {
    if (overlap === "allow") return false;
    const { broker } = this.#options;
    const last = (await broker.ticks()).get(id);
    const record = last && (await broker.find(last.job));
    return record !== undefined && record.state !== "done" && record.state !== "failed";
  }
}
