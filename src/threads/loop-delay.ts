import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";
import { ConfigurationError } from "../index.ts";

/** How late this process's event loop was, in milliseconds. */
export interface LoopDelayReading {
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
}

/**
 * A gauge of the event loop: how late a timer fires. A loop that a computation holds for 300 ms shows 300 ms
 * as its maximum, and so much was added to everything that wanted to be answered meanwhile. A block counts
 * once, however long it is, so look at `maxMs` first.
 *
 * It measures from its making until `stop`, and keeps no process alive.
 *
 * @example
 * const delay = new LoopDelay();
 * setInterval(() => metrics.set("loop_delay_ms", delay.take().maxMs), 10_000).unref();
 */
export class LoopDelay {
  readonly #histogram: IntervalHistogram;
  readonly #resolutionMs: number;

  /** @param resolutionMs - how often it looks, a whole number from 1 */
  constructor(resolutionMs = 10) {
    if (!Number.isInteger(resolutionMs) || resolutionMs < 1) {
      throw new ConfigurationError([`resolutionMs must be a whole number from 1, not ${resolutionMs}`]);
    }
    this.#resolutionMs = resolutionMs;
    this.#histogram = monitorEventLoopDelay({ resolution: resolutionMs });
    this.#histogram.enable();
  }

  /** Since the beginning, or the last `take`; all zero when it has not looked yet. */
  read(): LoopDelayReading {
    const { mean, max } = this.#histogram;
    return {
      meanMs: this.#late(mean),
      p50Ms: this.#late(this.#histogram.percentile(50)),
      p99Ms: this.#late(this.#histogram.percentile(99)),
      maxMs: this.#late(max),
    };
  }

  /** Reads, and begins anew. */
  take(): LoopDelayReading {
    const reading = this.read();
    this.#histogram.reset();
    return reading;
  }

  stop(): void {
    this.#histogram.disable();
  }

  /** The histogram has the time from look to look. */
  #late(nanoseconds: number): number {
    return Number.isNaN(nanoseconds) ? 0 : Math.max(0, nanoseconds / 1e6 - this.#resolutionMs);
  }
}
