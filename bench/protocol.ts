/** What the benchmark asks of its child processes. Each verb is one request and one answer. */

/** What a process has cost so far. */
export interface Usage {
  /** User and system time of all its threads, in microseconds. */
  readonly cpuUs: number;
  readonly rssBytes: number;
  readonly heapBytes: number;
}

/** Any process of ours. */
export interface ProcessVerbs {
  usage(): Promise<Usage>;
}

export interface PublishOrder {
  /** How many messages. */
  readonly count: number;
  /** How many of them in one turn of the event loop. */
  readonly perTurn: number;
}

/** A server under test: all its clients are in one group. */
export interface ContenderVerbs extends ProcessVerbs {
  start(): Promise<{ readonly port: number }>;
  /** Answered when the last message is handed to the server; it may be on its way for a while yet. */
  publish(order: PublishOrder): Promise<void>;
}

/** One of two nodes: clients enter its chat rooms. */
export interface NodeVerbs extends ProcessVerbs {
  start(at: { readonly redisUrl: string }): Promise<{ readonly port: number }>;
  /** Answered when the last message is handed over, with the time of each (see `clock.ts`). */
  publish(order: RoomOrder): Promise<readonly number[]>;
}

export interface RoomOrder extends PublishOrder {
  /** Messages go to rooms 0, 1, ... and after that many to room 0 again. */
  readonly rooms: number;
  /** From the beginning of one turn that publishes to that of the next; 0: no pause. */
  readonly everyMs: number;
}

/** A redis-server; its `usage` is that of Redis, `heapBytes` what Redis itself says it uses. */
export interface RedisVerbs extends ProcessVerbs {
  start(): Promise<{ readonly url: string; readonly version: string }>;
  /** Of all its clients: to channels, patterns and shard channels. */
  subscriptions(): Promise<number>;
  keys(): Promise<number>;
}

/** From publishing to arrival, in milliseconds. */
export interface Latency {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** What clients have got since they were told to count. */
export interface Tally {
  readonly events: number;
  /** Of the client that got the fewest. */
  readonly fewest: number;
  readonly most: number;
  /** Payload of the events' WebSocket frames. */
  readonly bytes: number;
}

/** Many clients in one process. */
export interface LoadVerbs extends ProcessVerbs {
  /**
   * Adds clients; answered when all are connected. `clients` has for each of them what it asks to enter: a
   * namespace with a comma and, if any, its credentials.
   */
  connect(to: { readonly port: number; readonly clients: readonly (readonly string[])[] }): Promise<void>;
  /** Count from zero; with `messages`, note for that many when they arrive. */
  count(what?: { readonly messages: number }): Promise<void>;
  /** Answered when that many events have come, or when time is up; what came is in the tally. */
  received(until: { readonly events: number; readonly timeoutMs: number }): Promise<Tally>;
  tally(): Promise<Tally>;
  /** Of what was noted, for clients `from` to before `to`. */
  latency(of: {
    readonly sentAt: readonly number[];
    readonly from: number;
    readonly to: number;
  }): Promise<Latency>;
}

/** The namespace that every contender serves. */
export const NAMESPACE = "/fan-out";

export const EVENT = "message";

/** What is published: 100 bytes of JSON. */
export const PAYLOAD = { text: "x".repeat(100 - '{"text":""}'.length) };

/** Socket.IO's namespace where there are two nodes; as long as Sluice's `/chat/0`, so that deliveries are alike. */
export const SOCKET_IO_CHAT = "/chat/x";

export interface JobsOrder {
  readonly count: number;
  /** How many are under way at once, or how many are in one call. */
  readonly atOnce: number;
}

export interface TaskLatency {
  readonly startMs: number;
  readonly progressMs: number;
  readonly heardMs: number;
}

/** Who adds jobs and who runs them, in one process. */
export interface TaskVerbs extends ProcessVerbs {
  start(at: { readonly redisUrl: string }): Promise<void>;
  add(order: JobsOrder): Promise<void>;
  addMany(order: JobsOrder): Promise<void>;
  /** Runs that many, which wait. */
  run(order: JobsOrder): Promise<void>;
  /**
   * Of jobs one after the other: from being added to being run; and of one progress until it is kept, and
   * until one who watches has heard it; medians.
   */
  latency(order: { readonly count: number }): Promise<TaskLatency>;
  /** Forgets all jobs. */
  clear(): Promise<void>;
}

/** What a process holds after a collection. */
export interface Kept {
  readonly heapBytes: number;
  readonly externalBytes: number;
  readonly rssBytes: number;
}

/** A process of the soak. */
export interface SoakVerbs extends ProcessVerbs {
  start(as: {
    readonly redisUrl: string;
    readonly role: "web" | "worker";
  }): Promise<{ readonly port: number }>;
  /** Answers with a ticket for each. */
  enqueue(order: { readonly from: number; readonly count: number }): Promise<readonly string[]>;
  /** Runs that Redis has not forgotten. */
  left(): Promise<number>;
  kept(): Promise<Kept>;
}
