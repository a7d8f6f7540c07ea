/**
 * What keeps who is in a group, by user, across nodes. Each node states its own users, in absolute numbers,
 * so that a repeated statement changes nothing; who came or left is decided by the store, in one step.
 */

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
}

export interface PresenceList {
  /** That of the last change which the list has; for a group without users greater than all before. */
  readonly version: number;
  readonly users: readonly PresentUser[];
}

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
  /** How long a node may be silent; also how long users of a node that stops are held, so that they can move. */
  readonly leaseMs: number;
  /**
   * @param node - unique, a new one for each start
   * @throws ConfigurationError when it cannot work as it was set up, with what to do
   */
  open(node: string, listener: PresenceListener): Promise<void>;
  /**
   * The user is in the group on this node. One call for a user of a group at a time.
   *
   * @returns what that changed, undefined for nothing; `full` if the user was not taken in
   */
  state(group: string, user: string, statement: Statement): Promise<PresenceChange | "full" | undefined>;
  /** The user is no longer in the group on this node. */
  withdraw(group: string, user: string): Promise<PresenceChange | undefined>;
  list(group: string): Promise<PresenceList>;
  /** How many users, without reading them. */
  count(group: string): Promise<number>;
  /**
   * Ends. What this node has stated and not withdrawn is removed after `holdMs` by another node; if there is
   * none, at once.
   */
  close(holdMs: number): Promise<void>;
}
