/** What the benchmark asks of its child processes. Each verb is one request and one answer. */
import type { Spent } from "./profile.ts";
import type { Question, WireName } from "./wires.ts";

/** What a process has cost so far. */
export interface Usage {
  /** User and system time of all its threads, in microseconds. */
  readonly cpuUs: number;
  readonly rssBytes: number;
  /** What Node's heap and the buffers beside it hold; 0 where nobody knows. */
  readonly heapBytes: number;
}

/** Any process of ours. */
export interface ProcessVerbs {
  usage(): Promise<Usage>;
}

export interface PublishOrder {
  /** How many messages, numbered from 0. */
  readonly count: number;
  /** How many of them in one turn of the event loop. */
  readonly perTurn: number;
  /** From the beginning of one turn that publishes to that of the next; 0: no pause. */
  readonly everyMs: number;
  /** Messages go to rooms 0, 1, ... and after that many to room 0 again. */
  readonly rooms: number;
}

export interface ServerSettings {
  /** One of several nodes that share it, or undefined. */
  readonly redisUrl?: string | undefined;
  /** What the contender does otherwise than usually. */
  readonly variant?: string | undefined;
}

/** A server under test: its clients say which rooms they are in. */
export interface ServerVerbs extends ProcessVerbs {
  start(settings: ServerSettings): Promise<{ readonly port: number }>;
  /**
   * Answered when the last message is handed to the server, with the time of each (see `clock.ts`); it may
   * be on its way for a while yet.
   */
  publish(order: PublishOrder): Promise<readonly number[]>;
  /** What it uses after it has let go of everything that it can. */
  collect(): Promise<Usage>;
  /** Begins to sample whose code its time goes to; servers that are not Node's reject. */
  beginProfile(): Promise<void>;
  endProfile(file: string): Promise<Spent>;
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
  /** Payload of the events' WebSocket frames. */
  readonly bytes: number;
}

/** Many clients in one process. */
export interface LoadVerbs extends ProcessVerbs {
  /** Adds clients, in the rooms that `clients` has for each; answered when all are let in, with the time it took. */
  connect(to: {
    readonly port: number;
    readonly wire: WireName;
    readonly clients: readonly (readonly number[])[];
    /** How many at the same time; all, if not said. */
    readonly atOnce?: number;
  }): Promise<number>;
  /**
   * From now on, or not any more, the clients look once a millisecond for what has come, instead of being woken
   * by it.
   */
  nap(isOn: boolean): Promise<void>;
  /** All clients go without a word. */
  leave(): Promise<void>;
  /** All clients lose their connection and come back at the same time; answered as `connect` is. */
  again(): Promise<number>;
  /**
   * Counts from zero: that many messages are going to come, numbered from 0, to so many rooms in turn. Timed,
   * it is noted when they arrive.
   */
  count(what: {
    readonly messages: number;
    readonly rooms: number;
    readonly isTimed?: boolean;
  }): Promise<void>;
  /** Answered when as many events have come as there should, or when time is up. */
  received(until: { readonly timeoutMs: number }): Promise<void>;
  /** @throws Error unless each client got each message of its rooms exactly once */
  tally(): Promise<Tally>;
  /** Of what was noted, for clients `from` to before `to`. */
  latency(of: {
    readonly sentAt: readonly number[];
    readonly from: number;
    readonly to: number;
  }): Promise<Latency>;
  /** Each of the first clients asks that often, the next time when it has its answer. From question to answer. */
  ask(order: {
    readonly question: Question;
    readonly clients: number;
    readonly times: number;
  }): Promise<Latency>;
}

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
