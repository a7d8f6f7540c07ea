/** How much is measured: all of it, a first look in some minutes, or just that it works. */
export interface Scale {
  readonly name: "full" | "quick" | "tiny";
  readonly rounds: number;
  readonly warmUps: number;
  /** See `Plan`. */
  readonly repeats: number;
  /** After that no scenario begins another round. */
  readonly limitMs: number;
  /** After that no scenario begins that has no goal; those with goals come first, then. */
  readonly goalsOnlyAfterMs?: number;
  /** Clients of most scenarios, and of the large ones. */
  readonly crowd: number;
  readonly largeCrowd: number;
  /** Of each of two nodes. */
  readonly crowdPerNode: number;
  /** The usual numbers of messages and of the like, in a round, are multiplied by it. */
  readonly share: number;
  /** How many rooms are open while something is published to ten of them. */
  readonly rooms: readonly number[];
  readonly soakMs: number;
  /** How often a soak looks at its memory. */
  readonly soakLooks: number;
}

export const SCALES = {
  full: {
    name: "full",
    rounds: 9,
    warmUps: 1,
    repeats: 2,
    limitMs: 180_000,
    crowd: 1_000,
    largeCrowd: 5_000,
    crowdPerNode: 500,
    share: 1,
    rooms: [10, 100, 1_000, 10_000],
    soakMs: 600_000,
    soakLooks: 10,
  },
  quick: {
    name: "quick",
    rounds: 5,
    warmUps: 1,
    repeats: 1,
    limitMs: 6_000,
    goalsOnlyAfterMs: 210_000,
    crowd: 1_000,
    largeCrowd: 5_000,
    crowdPerNode: 500,
    share: 0.2,
    rooms: [10, 10_000],
    soakMs: 60_000,
    soakLooks: 5,
  },
  tiny: {
    name: "tiny",
    rounds: 1,
    warmUps: 0,
    repeats: 0,
    limitMs: 10_000,
    crowd: 10,
    largeCrowd: 10,
    crowdPerNode: 5,
    share: 0.01,
    rooms: [10, 30],
    soakMs: 1_000,
    soakLooks: 2,
  },
} as const satisfies Readonly<Record<string, Scale>>;

/** A number of messages or the like, at that scale. */
export function some(scale: Scale, usual: number): number {
  return Math.max(2, Math.round(usual * scale.share));
}
