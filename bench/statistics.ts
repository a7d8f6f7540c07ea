export interface Spread {
  readonly min: number;
  readonly q1: number;
  readonly median: number;
  readonly q3: number;
  readonly max: number;
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b);
  const at = (share: number) => quantile(sorted, share);
  return { min: at(0), q1: at(0.25), median: at(0.5), q3: at(0.75), max: at(1) };
}

export interface Comparison {
  /** Each round by itself, then the median: drift of the machine cancels out. This one is judged. */
  readonly medianOfRatios: number;
  readonly ratioOfMedians: number;
  readonly ratios: Spread;
}

/** How one contender compares with another that was measured in the same rounds. */
export function compare(ours: readonly number[], theirs: readonly number[]): Comparison {
  const ratios = spread(ours.map((value, round) => value / (theirs[round] ?? Number.NaN)));
  return {
    medianOfRatios: ratios.median,
    ratioOfMedians: spread(ours).median / spread(theirs).median,
    ratios,
  };
}

/** Between neighbours, in proportion. */
export function quantile(sorted: ArrayLike<number>, share: number): number {
  const place = (sorted.length - 1) * share;
  const below = sorted[Math.floor(place)] ?? Number.NaN;
  const above = sorted[Math.ceil(place)] ?? Number.NaN;
  return below + (above - below) * (place - Math.floor(place));
}
