/** What counts for limits that several nodes share. */

/** A token bucket. */
export interface Rate {
  /** How many it gains per second; above 0. */
  readonly perSecond: number;
  /** How many it holds at most; 1 or more. */
  readonly burst: number;
}

/** What was taken of an allowance. */
export interface Taken {
  /** As many as were there, up to as many as asked. */
  readonly count: number;
  /** Milliseconds until there is one more, if nobody takes any; 0 if there is one now. */
  readonly waitMs: number;
}

/**
 * Every method rejects with LayerUnavailable when the store cannot be reached; what it should have done may
 * have happened all the same. Names are any text, and need not be readable in the store.
 */
export interface LimitStore {
  /** @throws ConfigurationError when it cannot work as it was set up, with what to do */
  open(): Promise<void>;
  /** Takes from a bucket; one that nobody has taken from is full, and forgotten when it is full again. */
  take(bucket: string, rate: Rate, most: number): Promise<Taken>;
  /**
   * Takes one of so many seats in a room, or keeps the one that is held, for `holdMs` from now.
   *
   * @param seat - whose, over all nodes
   * @returns whether there was one
   */
  sit(room: string, seat: string, seats: number, holdMs: number): Promise<boolean>;
  /** Gives a seat back. */
  leave(room: string, seat: string): Promise<void>;
  close(): Promise<void>;
}
