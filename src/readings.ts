/** How a node stands, in numbers: plain data, for metrics, dashboards and whoever else watches. */

/** How often each of a few things happened, or how many there are. At most about a hundred. */
export type Counts = Readonly<Record<string, number>>;

/** How often something took how long. */
export interface SpreadReading {
  /** Milliseconds, ascending. */
  readonly bounds: readonly number[];
  /** How often it took at most so long, but longer than the bound before; the last is for beyond all bounds. */
  readonly counts: readonly number[];
  readonly sumMs: number;
}

/**
 * One node at one moment. All `counters` go up only, from the start of the process' application on; they are
 * of this node alone: what a cluster did is their sum.
 */
export interface Readings {
  readonly node: string;
  /** Of the package `sluice`. */
  readonly version: string;
  /** Milliseconds since 1970, as `takenAt`. */
  readonly startedAt: number;
  readonly takenAt: number;
  readonly counters: {
    /** Clients that were let in, by route. */
    readonly accepted: Counts;
    /** Of those, the ones that have ended, by the kind of `DisconnectReason`. */
    readonly ended: Counts;
    /** Clients that were refused, by close code. */
    readonly denied: Counts;
    /** Events of clients that were let through to handlers. */
    readonly received: number;
    /** Events of clients that were refused, by the error's code. */
    readonly refused: Counts;
    /** How often clients came to limits, by the option's name; `maxWaitingBytes`: slow ones that were cut. */
    readonly limited: Counts;
    /** What hooks, handlers and middleware threw that was not meant for a client, by hook. */
    readonly failed: Counts;
    /** Messages and events sent to groups from here. */
    readonly sentToGroups: number;
    /** Messages sent to single channels from here, wherever those are. */
    readonly sentToChannels: number;
    /** Events and questions that consumers here sent to their own clients. */
    readonly sentToClients: number;
    /** Events of groups handed over to clients here, one for each of them; histories included. */
    readonly deliveredToClients: number;
    /** Messages of groups put into mailboxes here, one for each. */
    readonly deliveredToConsumers: number;
    /** Texts handed to the backplane, and heard from it. */
    readonly published: number;
    readonly heard: number;
    /** Texts of other nodes that did not arrive, or may not have. */
    readonly lost: number;
    /** Messages and events that did not arrive, by cause. */
    readonly dropped: Counts;
    /** What could not be decrypted, by carrier. */
    readonly unopened: Counts;
    /** Writes to Socket.IO clients, each of all that one of them gets in a turn of the event loop. */
    readonly writes: number;
    readonly writtenBytes: number;
    /** Messages that this node appended to histories. */
    readonly appended: number;
    /** Messages of histories that this node had not heard of and has read. */
    readonly healed: number;
    /** Clients that were told that something is missing, by why. */
    readonly gaps: Counts;
    /** Clients that were given what they missed, and how many messages that was. */
    readonly recovered: number;
    readonly replayed: number;
    /** Who came to groups with members here, left, or has other info: `join`, `leave`, `update`. */
    readonly presence: Counts;
  };
  readonly gauges: {
    /** Connections that are open, by route. */
    readonly open: Counts;
    /** Those that are being let in, or end. */
    readonly unsettled: number;
    /** Bytes that were written to clients and have not left. */
    readonly waitingBytes: number;
    /** Events and messages in mailboxes. */
    readonly mailboxes: number;
    /** Groups with members here. */
    readonly groups: number;
    /** Groups with history in use here. */
    readonly logs: number;
    /** Groups with presence that are known here, and how many of them may be out of date. */
    readonly presence: number;
    readonly stalePresence: number;
  };
  /** By name; `default` is there always. */
  readonly layers: Readonly<Record<string, LayerReadings>>;
  /** How long things take, by route; only while `app.beginTiming()` asks for it. */
  readonly timings?: {
    /** Handlers of events and messages, whatever became of them. */
    readonly handled: Readonly<Record<string, SpreadReading>>;
    /** Events and messages in mailboxes; a sample, one at a time of each mailbox. */
    readonly waited: Readonly<Record<string, SpreadReading>>;
  };
  /** There with a server. */
  readonly server?: ServerReadings;
  /** There with tasks. */
  readonly tasks?: TaskReadings;
}

/** How a channel layer stands on this node. */
export interface LayerReadings {
  /** Whether other nodes cannot be reached. */
  readonly isDegraded: boolean;
  /** Groups with members here. */
  readonly groups: number;
  /** What is heard from other nodes. */
  readonly topics: number;
  /** Left out by a backplane that does not know. */
  readonly backplane?: BackplaneReadings;
}

/** How a backplane stands. */
export interface BackplaneReadings {
  /** What was published and has not left yet. */
  readonly waitingMessages: number;
  readonly waitingBytes: number;
  /** From here to the carrier and back, as its heartbeat goes. */
  readonly roundTrip?: SpreadReading;
}

/** How a server stands. */
export interface ServerReadings {
  readonly phase: "starting" | "serving" | "draining" | "leaving" | "stopped";
  /** Transport connections; several routes may be open on one. */
  readonly transports: number;
}

/** Tasks as one process sees them: one that serves, or a worker. */
export interface TaskReadings {
  /** Runs that were enqueued here, by task. */
  readonly queued: Counts;
  /** Runs here, by task, and then by what they came to: `done`, `failed`, `retried`, `cancelled`, `expired`. */
  readonly ended: Readonly<Record<string, Counts>>;
  /** Runs here that are not over. */
  readonly running: number;
  /** How long runs took that were done, by task. */
  readonly took: Readonly<Record<string, SpreadReading>>;
  /** How long runs waited before they began here, by queue. */
  readonly waited: Readonly<Record<string, SpreadReading>>;
  /** Runs that lost their worker, as this process noticed. */
  readonly stalled: number;
  /** How often a run held the event loop here. */
  readonly blocked: number;
  readonly isBrokerUp: boolean;
  /** Workers that said within the last minute that they live; by the look of `lookedAt`, as `queues`. */
  readonly workers: number;
  /** Runs of all processes by queue and state, as the broker said at `lookedAt`; see `Application.look`. */
  readonly queues: Readonly<Record<string, Counts>>;
  /** Milliseconds since 1970; 0: never. */
  readonly lookedAt: number;
}

/** What parts of an application (see `ApplicationPart.readings`) add. */
export type PartReadings = Pick<Readings, "server" | "tasks">;

/** A group with members here. */
export interface BusyGroup {
  readonly layer: string;
  readonly group: string;
  /** Members here. */
  readonly members: number;
}
