/** When a failed run is worth another attempt, and after how long. */
import { ConfigurationError, type Given, resolveOptions } from "../index.ts";
import { DoNotRetry, RetryLater } from "./errors.ts";

/** Classes of errors, or a function that says of an error whether it is worth another attempt. */
export type RetryOn = readonly (abstract new (...args: never[]) => Error)[] | ((error: unknown) => boolean);

export const retryDefaults = {
  /** Runs at most, the first included. */
  attempts: 5,
  /** Before the second attempt. */
  minMs: 1_000,
  /** At most, however often it failed. */
  maxMs: 600_000,
  /** Each wait is so many times the one before. */
  factor: 2,
  /** Part of each wait that is drawn by lot, so that many do not come back at once: 0 to 1. */
  jitter: 0.5,
};

export type RetrySettings = typeof retryDefaults;

/** When and how often a run that failed is tried again. */
export interface RetryOptions extends Given<RetrySettings> {
  /** Which errors are worth it; by default all but `DoNotRetry`. */
  readonly on?: RetryOn;
}

export interface RetryPolicy extends RetrySettings {
  readonly on: RetryOn;
}

const NO_AUTOMATIC: RetryOn = () => false;

/** @throws ConfigurationError that lists every fault */
export function retryPolicy(given: RetryOptions | undefined, where: string): RetryPolicy {
  if (given === undefined) return { ...retryDefaults, on: NO_AUTOMATIC };
  const { on = () => true, ...options } = given;
  const settings = resolveOptions(retryDefaults, options, `${where}.retry`);
  const { minMs, maxMs } = settings;
  const faults: string[] = [];
  const must = (isTrue: boolean, what: string) => {
    if (!isTrue) faults.push(`${where}.retry.${what}`);
  };
  must(maxMs >= minMs, `maxMs (${maxMs}) must be at least minMs (${minMs})`);
  must(typeof on === "function" || Array.isArray(on), "on must be a list of error classes or a function");
  if (faults.length > 0) throw new ConfigurationError(faults);
  return { ...settings, on };
}

/**
 * After how many milliseconds to try again; undefined: not at all.
 *
 * @param attempt - the one that failed, from 1
 * @param random - from 0 to 1
 */
export function retryAfter(
  policy: RetryPolicy,
  error: unknown,
  attempt: number,
  random: number,
): number | undefined {
  if (attempt >= policy.attempts || error instanceof DoNotRetry) return undefined;
  if (error instanceof RetryLater) return error.afterMs ?? backoff(policy, attempt, random);
  return isWorthIt(policy.on, error) ? backoff(policy, attempt, random) : undefined;
}

/** Exponential, capped, and spread by lot over its upper part. */
export function backoff(
  { minMs, maxMs, factor, jitter }: RetrySettings,
  attempt: number,
  random: number,
): number {
  const full = Math.min(minMs * factor ** (attempt - 1), maxMs);
  return Math.round(full * (1 - jitter * random));
}

function isWorthIt(on: RetryOn, error: unknown): boolean {
  return typeof on === "function" ? on(error) : on.some((kind) => error instanceof kind);
}
