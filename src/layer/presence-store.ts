/**
 * What keeps who is in a group, by user, across nodes. Each node states its own users, in absolute numbers,
 * so that a repeated statement changes nothing; who came or left is decided by the store, in one step. In a
 * group that keeps history the same step appends it to the group's log.
 */
import type { LogEntry, Position } from "./history-store.ts";

/** A user in a group, over all nodes. */
export interface PresentUser {
  readonly user: string;
  /** JSON; empty for none. */
  readonly info: string;
  /** 0 for a user whose last connection ended and who is held for a while. */
  readonly connections: number;
}

/** Everything that changes in a group makes one of these; each follows the one before. */
export interface PresenceChange extends PresentUser {
  /** `count`: only the number of connections is another. */
  readonly kind: "join" | "leave" | "update" | "count";
  /** The version before; 0 if nobody was in the group. */
  readonly before: number;
  /** Greater than all before, whoever made them, but for a store that has lost its state. */
  readonly version: number;
  /** What was appended for it, where `logFor` says so. */
  readonly appended?: LogEntry & { readonly epoch: string };
}

/** Who is in a group, in one moment. */
export interface PresenceList {
  /** That of the last change which the list has; for a group without users greater than all before. */
  readonly version: number;
  readonly users: readonly PresentUser[];
  /** Where the group's log ended in that moment, if it has one and the store appends to logs. */
  readonly top?: Position | undefined;
}

/** How joins, leaves and updates of a group are appended to its log. */
export interface PresenceLog {
  /** At most so many are kept, beside the messages; 1 or more. */
  readonly size: number;
  /** As of messages: how long after the last append all entries are kept. */
  readonly ttlMs: number;
  /** Begins the text of the entry; a list of the one change follows, as JSON. */
  readonly header: string;
}

/** What a node states of a user in a group. */
export interface Statement {
  /** Those on this node; 0 holds the user there without any. */
  readonly connections: number;
  /** JSON; counts where the user is new, or if `isUpdate`. */
  readonly info: string;
  readonly isUpdate: boolean;
  /** In a group with so many users no other is taken in. */
  readonly maxUsers: number;
}

/** The node that opened a store. None of these may throw or reject. */
export interface PresenceListener {
  /**
   * Where the group's joins, leaves and updates (what changes only a number of connections is none) must be
   * appended; undefined for nowhere. Asked also of groups in which this node never had users, and while the
   * store closes.
   */
  logFor(group: string): PresenceLog | undefined;
  /** The store cannot be reached; everything rejects until `restate`. */
  down(): void;
  /**
   * The node must state all its users again: the store may have lost them, or given the node up.
   * Resolves when it has tried.
   *
   * @param quietMs - how long nobody is judged, so that all nodes can do so: lists are not complete before
   */
  restate(quietMs: number): Promise<void>;
  /**
   * This store has removed users of a node that is gone; the other nodes must be told, in these words.
   * Without changes: somebody else removed some and may not have told. Resolves when they have been told.
   */
  removed(group: string, changes: readonly PresenceChange[]): Promise<void>;
}

/**
 * Every method rejects with LayerUnavailable when the store cannot be reached; what it should have done may
 * have happened all the same.
 *
 * A node that says nothing for `leaseMs` counts as gone: what it has stated is removed, each once, and told
 * by the node that did it.
 */
export interface PresenceStore {
  /** What tells this application from others in the same place; what is encrypted is bound to it. */
  readonly prefix?: string;
  /** How long a node may be silent; also how long users of a node that stops are held, so that they can move. */
  readonly leaseMs: number;
  /**
   * @param node - unique, a new one for each start
   * @param logs - those of the history store (`HistoryStore.logs`), if any group keeps history and presence
   * @throws ConfigurationError when it cannot work as it was set up, or cannot append to these logs in one
   * step with its own changes, with what to do
   */
  open(node: string, listener: PresenceListener, logs?: unknown): Promise<void>;
  /**
   * The user is in the group on this node. One call for a user of a group at a time.
   *
   * @returns what that changed, undefined for nothing; `full` if the user was not taken in
   */
  state(group: string, user: string, statement: Statement): Promise<PresenceChange | "full" | undefined>;
  /** The user is no longer in the group on this node. */
  withdraw(group: string, user: string): Promise<PresenceChange | undefined>;
  /**
   * @param isAgain - what is missing will be told as having left: reject rather than answer with what is left
   * after the store has lost something that must be restated
   */
  list(group: string, isAgain?: boolean): Promise<PresenceList>;
  /** How many users, without reading them. */
  count(group: string): Promise<number>;
  /**
   * Ends. What this node has stated and not withdrawn is removed after `holdMs` by another node; if there is
   * none, at once.
   */
  close(holdMs: number): Promise<void>;
}
