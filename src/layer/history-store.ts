/**
 * What keeps the history of groups: a log per group, in which each entry has the next number. The log is
 * the truth; what travels over the backplane only announces it.
 */

/** A place in a group's log. A position of another epoch, or another id at its offset, is of another log. */
export interface Position {
  /** New for each log: when the first one was lost, another begins at 1 again. */
  readonly epoch: string;
  /** 1, 2, 3, ... without holes; 0 is before the first. */
  readonly offset: number;
  /**
   * Of the entry at that offset; empty at offset 0. After a failover the same epoch can hand out an offset
   * twice, and only this tells.
   */
  readonly id: string;
}

/** One text of a log, with its number and id. */
export interface LogEntry {
  readonly offset: number;
  readonly id: string;
  /** When it was appended: milliseconds since 1970, by the store's clock. */
  readonly at: number;
  readonly text: string;
}

/** Entries of a log, and where it ended in that moment. */
export interface LogSlice {
  /** The last entry ever appended; undefined when there is no log: nothing was published, or all is forgotten. */
  readonly top: Position | undefined;
  /** In order of offset; there may be none. */
  readonly entries: readonly LogEntry[];
}

/** How an entry is appended, and what is kept of its log. */
export interface AppendOptions {
  /** At most so many entries are kept; 1 or more. */
  readonly size: number;
  /** How long after the last append the entries are kept. The position outlives them by far. */
  readonly ttlMs: number;
  /** A text appended under the same key before (within some minutes) is not appended again. */
  readonly idempotencyKey?: string;
}

/** Where an entry stands. */
export interface Appended extends Position {
  readonly at: number;
  /** It was there already, by its idempotency key; the position is that of the first time. */
  readonly isKnown: boolean;
}

/**
 * Every method rejects with LayerUnavailable when the store cannot be reached; an append may have happened
 * all the same.
 *
 * A log has entries of two kinds: messages, which this store appends, and who came and left, which a presence
 * store appends. They are numbered together and kept apart, up to `size` of each, so that however many come
 * and go, no message is lost by it.
 *
 * The number of groups is bounded: beyond it the one appended to longest ago is forgotten whole, soon if not at
 * once, as if nothing had ever been published there; its next log has another epoch.
 */
export interface HistoryStore {
  /** What tells this application from others in the same place; what is encrypted is bound to it. */
  readonly prefix?: string;
  /** Whether other processes see the same logs; the application then needs a secret that all of them share. */
  readonly isShared: boolean;
  /**
   * What a presence store needs to append to the same logs (see `PresenceStore.open`); stores that belong
   * together know each other's. Without it no group keeps history and presence.
   */
  readonly logs?: unknown;
  /** @throws ConfigurationError when it cannot work as it was set up, with what to do */
  open(): Promise<void>;
  /** Appends at the end, atomically, whoever else does; the first append of a group begins its log. */
  append(group: string, text: string, options: AppendOptions): Promise<Appended>;
  /** Up to `limit` entries of both kinds from that offset on, oldest first; those no longer kept are left out. */
  read(group: string, from: number, limit: number): Promise<LogSlice>;
  /** The last `limit` messages before that offset (undefined: the very last), oldest first. */
  readBefore(group: string, before: number | undefined, limit: number): Promise<LogSlice>;
  /** Where the logs of these groups end, in the same order. */
  tops(groups: readonly string[]): Promise<readonly (Position | undefined)[]>;
  close(): Promise<void>;
}
