/** What is written down while everything breaks; the judges read nothing else. */

/** A position as the protocol tells it. */
export interface Place {
  readonly epoch: string;
  readonly offset: number;
  readonly id: string;
}

/** One thing that happened to a client, in the order in which it did. Times are of one clock, in ms. */
export type Entry = { readonly at: number } & (
  | {
      readonly kind: "connected";
      /** The groups that its consumer had joined by then. */
      readonly groups: readonly string[];
      /** The node's name, new for each start. */
      readonly node: string;
    }
  | { readonly kind: "disconnected" }
  /** The client is about to ask to join. */
  | { readonly kind: "joining"; readonly group: string }
  /** The server has said that the consumer is in the group now. */
  | { readonly kind: "entered"; readonly group: string }
  /** The client is about to ask to leave. */
  | { readonly kind: "leaving"; readonly group: string }
  /** The server has said that the consumer is out. */
  | { readonly kind: "left"; readonly group: string }
  | {
      readonly kind: "joined";
      readonly group: string;
      readonly place: Place;
      readonly recovered: boolean;
    }
  | { readonly kind: "gap"; readonly group: string; readonly reason: string; readonly place: Place }
  | { readonly kind: "position"; readonly group: string; readonly place: Place }
  /** Who is in the group. */
  | { readonly kind: "list"; readonly group: string; readonly users: readonly string[] }
  | {
      readonly kind: "presence";
      readonly group: string;
      readonly type: string;
      readonly user: string;
      /** Where the group's log tells it. */
      readonly place?: Place;
    }
  | {
      readonly kind: "event";
      readonly group: string;
      /** Number of the publish. */
      readonly publish: number;
      /** In groups with history. */
      readonly place?: Place;
      readonly part?: number;
    }
);

export interface ClientRecord {
  readonly name: string;
  /** Whose connection it is; nobody's, or one of several of the same user. */
  readonly user?: string | undefined;
  readonly entries: readonly Entry[];
}

export interface Publish {
  readonly number: number;
  readonly group: string;
  readonly verb: "emit" | "send";
  /** One connection of a client, or one life of a node: what it publishes to a group keeps its order. */
  readonly sender: string;
  /** The node it was handed to. */
  readonly node: string;
  /** The client that is not to get it, if any. */
  readonly except?: string;
  readonly startedAt: number;
  endedAt: number;
  /** `unknown`: nobody knows whether it was published. */
  outcome: "pending" | "acknowledged" | "refused" | "unknown";
}

/** What a node has said about losses. */
export interface LossNote {
  readonly at: number;
  readonly node: string;
  readonly fact: "dropped" | "lost";
  /** Undefined: of any group. */
  readonly group?: string;
}

export interface Records {
  readonly clients: readonly ClientRecord[];
  readonly publishes: readonly Publish[];
  readonly losses: readonly LossNote[];
  /** Nodes that were killed, and when. */
  readonly killed: readonly { readonly at: number; readonly node: string }[];
  /** When Redis may have lost what it had acknowledged: emptied, or failed over. */
  readonly amnesias: readonly number[];
  readonly policies: ReadonlyMap<string, GroupKind>;
  readonly endedAt: number;
}

export interface GroupKind {
  readonly history: boolean;
  /** How many of the last messages a newcomer is given. */
  readonly newcomers: number;
  /** Only the latest message counts. */
  readonly conflate: boolean;
  /** The log is forgotten as soon as nobody has said anything for a while. */
  readonly isBrief: boolean;
  /** Members are told who comes and goes. */
  readonly presence: boolean;
}

/** What judges say: broken promises, and figures for the report. */
export interface Verdict {
  readonly broken: readonly string[];
  readonly figures: Readonly<Record<string, number>>;
}
