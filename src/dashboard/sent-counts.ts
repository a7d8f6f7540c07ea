/** How much this node sends to which group, in periods. */
import type { Facts } from "../index.ts";

/** Groups that are counted in a period; of more the others are not. */
const MAX_COUNTED = 2_000;

export interface CountedGroup {
  readonly layer: string;
  readonly group: string;
}

export class SentCounts {
  readonly #stop: () => void;
  #period = new Period();
  #last: Period | undefined;
  #followed: readonly CountedGroup[] = [];

  constructor(signals: Pick<Facts, "groupSent">) {
    this.#stop = signals.groupSent.connect(({ layer, group }) => this.#period.add(layer, group, 1));
  }

  stop(): void {
    this.#stop();
  }

  /** Groups that are counted from the next period on, however many others there are. */
  follow(groups: readonly CountedGroup[]): void {
    this.#followed = groups;
  }

  /** Ends a period, and returns what was counted in it. */
  turn(): Period {
    this.#period.end();
    this.#last = this.#period;
    this.#period = new Period();
    for (const { layer, group } of this.#followed) this.#period.add(layer, group, 0);
    return this.#last;
  }

  /** In the period that ended last; undefined if it was not counted. */
  perSecond(layer: string, group: string): number | undefined {
    const count = this.#last?.of(layer, group);
    return this.#last === undefined || count === undefined ? undefined : (count / this.#last.ms) * 1_000;
  }

  /** What was counted in the period that ended last. */
  get last(): Iterable<CountedGroup & { readonly count: number }> {
    return this.#last ?? [];
  }
}

class Period {
  /** By layer and group. */
  readonly #counts = new Map<string, Map<string, number>>();
  readonly #since = performance.now();
  #size = 0;
  #isFull = false;
  #ms = 0;

  add(layer: string, group: string, count: number): void {
    const counts = this.#counts.get(layer) ?? new Map<string, number>();
    this.#counts.set(layer, counts);
    const before = counts.get(group);
    if (before === undefined) {
      this.#isFull ||= this.#size >= MAX_COUNTED;
      if (this.#isFull) return;
      this.#size += 1;
    }
    counts.set(group, (before ?? 0) + count);
  }

  end(): void {
    this.#ms = Math.max(performance.now() - this.#since, 1);
  }

  /** How long it took. */
  get ms(): number {
    return this.#ms;
  }

  /** Undefined if it may have been more than none, and was not counted. */
  of(layer: string, group: string): number | undefined {
    return this.#counts.get(layer)?.get(group) ?? (this.#isFull ? undefined : 0);
  }

  /** Those to which something was sent. */
  *[Symbol.iterator](): Generator<CountedGroup & { readonly count: number }> {
    for (const [layer, counts] of this.#counts) {
      for (const [group, count] of counts) if (count > 0) yield { layer, group, count };
    }
  }
}
