/** Runs at times of the calendar or the clock, once, however many workers look at it. */
import { CronExpressionParser } from "cron-parser";
import { ConfigurationError, isGroupName } from "../index.ts";
import {
  type EnqueueOptions,
  isQueueName,
  priorities,
  priorityFault,
  queueFault,
  strangeOption,
  type Task,
} from "./task.ts";

/** When something is due. Made by {@link crontab} and {@link every}. */
export interface Timing {
  /** As it was written. */
  readonly text: string;
  /** The first moment after that; both milliseconds since 1970. */
  after(at: number, tz: string): number;
  /** The last moment before that, or at it. */
  before(at: number, tz: string): number;
  /** @throws Error that says what is wrong */
  check(tz: string): void;
}

/** How moments of a schedule are understood. */
export interface ScheduleOptions extends Pick<EnqueueOptions, "priority" | "queue" | "notify"> {
  /** An IANA time zone such as "Europe/Berlin"; default "UTC". */
  readonly tz?: string;
  /**
   * Moments that passed while no worker ran: none of them is made up for, or the last one is. Default `skip`.
   */
  readonly missed?: "skip" | "once";
  /** If the run before has not ended: leave this one out, or run both. Default `skip`. */
  readonly overlap?: "skip" | "allow";
}

/** A task that runs by the calendar; {@link schedule} makes it. */
export interface Schedule {
  readonly id: string;
  readonly timing: Timing;
  readonly task: Task<never, unknown>;
  readonly args: unknown;
  readonly tz: string;
  readonly missed: "skip" | "once";
  readonly overlap: "skip" | "allow";
  readonly options: EnqueueOptions;
}

const ID = /^[A-Za-z0-9_-]{1,30}$/;
const OPTIONS: readonly (keyof ScheduleOptions)[] = [
  ...(["tz", "missed", "overlap", "priority", "queue", "notify"] as const),
];
const MIN_EVERY_MS = 100;
const MAX_EVERY_MS = 366 * 24 * 3_600_000;
const FIELDS = 5;

/**
 * Minute, hour, day of month, month, day of week, as crontab(5) has them; also names (`mon`, `jan`), lists,
 * ranges and steps, and `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`. With six fields the first is
 * the second. When clocks are put forward, a moment in the hour that is left out comes an hour later by the
 * wall; when they are put back, a fixed hour has its moments once, and what is due every hour is due in both.
 *
 * @example crontab("30 2 * * mon-fri")
 */
export function crontab(expression: string): Timing {
  const from = (at: number, tz: string) =>
    CronExpressionParser.parse(expression, { currentDate: new Date(at), tz });
  return {
    text: expression,
    after: (at, tz) => from(at, tz).next().getTime(),
    // It looks before that moment, to the second.
    before: (at, tz) =>
      from(at + 1_000, tz)
        .prev()
        .getTime(),
    check: (tz) => {
      const fields = String(expression).trim().split(/\s+/).length;
      const isAlias = /^@[a-z]+$/.test(expression);
      if (!isAlias && fields !== FIELDS && fields !== FIELDS + 1) {
        throw new Error(`has ${fields} fields; a crontab has minute, hour, day of month, month, day of week`);
      }
      from(Date.now(), tz).next();
    },
  };
}

/** Every so many milliseconds, counted from 1970: all workers agree on the moments. From 100. */
export function every(ms: number): Timing {
  return {
    text: `every ${inWords(ms)}`,
    after: (at) => (Math.floor(at / ms) + 1) * ms,
    before: (at) => Math.floor(at / ms) * ms,
    check: () => {
      if (Number.isInteger(ms) && ms >= MIN_EVERY_MS && ms <= MAX_EVERY_MS) return;
      throw new Error(`every takes whole milliseconds from ${MIN_EVERY_MS} to a year, not ${String(ms)}`);
    },
  };
}

/**
 * Declares runs at times. All workers declare the same; each moment makes one run.
 *
 * @param id - unique, kept when the timing changes: letters, digits, "-" and "_"
 * @throws ConfigurationError for a timing, zone or id that cannot be
 * @example
 * schedule("nightly-report", crontab("0 3 * * *"), buildReport, { kind: "night" }, { tz: "Europe/Berlin" })
 */
export function schedule<Args>(
  id: string,
  timing: Timing,
  task: Task<Args, unknown>,
  args: Args,
  { tz = "UTC", missed = "skip", overlap = "skip", ...options }: ScheduleOptions = {},
): Schedule {
  const faults: string[] = [];
  const where = `schedule "${String(id)}"`;
  if (typeof id !== "string" || !ID.test(id)) {
    faults.push(`a schedule's id is 1 to 30 letters, digits, "-" or "_", not "${String(id)}"`);
  }
  if (!isTimeZone(tz)) faults.push(`${where}: "${String(tz)}" is no time zone; write one as "Europe/Berlin"`);
  else {
    try {
      timing.check(tz);
    } catch (error) {
      faults.push(`${where}: "${timing.text}" ${(error as Error).message}`);
    }
  }
  const strange = strangeOption(options, OPTIONS, where);
  if (strange !== undefined) faults.push(strange);
  const { queue, priority, notify } = options;
  if (queue !== undefined && !isQueueName(queue)) faults.push(`${where}: ${queueFault(queue)}`);
  if (priority !== undefined && !Object.hasOwn(priorities, priority)) {
    faults.push(`${where}: ${priorityFault(priority)}`);
  }
  if (notify !== undefined && !isGroupName(notify)) {
    faults.push(`${where}: notify must be the name of a group`);
  }
  if (missed !== "skip" && missed !== "once") faults.push(`${where}: missed must be "skip" or "once"`);
  if (overlap !== "skip" && overlap !== "allow") faults.push(`${where}: overlap must be "skip" or "allow"`);
  if (faults.length > 0) throw new ConfigurationError(faults);
  return { id, timing, task: task as Task<never, unknown>, args, tz, missed, overlap, options };
}

/** The next moments after that. */
export function nextTimes({ timing, tz }: Schedule, after: number, count: number): readonly number[] {
  const times: number[] = [];
  for (let at = after; times.length < count; ) {
    at = timing.after(at, tz);
    times.push(at);
  }
  return times;
}

/** `90 s`, `5 min`, `1500 ms`: in the largest unit that has it whole. */
function inWords(ms: number): string {
  const units = [
    ["d", 86_400_000],
    ["h", 3_600_000],
    ["min", 60_000],
    ["s", 1_000],
  ] as const;
  const [unit, size] = units.find(([, size]) => ms % size === 0) ?? ["ms", 1];
  return `${ms / size} ${unit}`;
}

function isTimeZone(tz: unknown): tz is string {
  if (typeof tz !== "string" || tz === "") return false;
  try {
    new Intl.DateTimeFormat("en", { timeZone: tz });
    return true;
  } catch {
    return false;
  }
}
