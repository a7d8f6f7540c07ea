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
  /** Answered when all are connected. */
  connect(to: { readonly port: number; readonly namespace: string; readonly clients: number }): Promise<void>;
  /** Count from zero. */
  count(): Promise<void>;
  /** Answered when that many events have come, or when time is up; what came is in the tally. */
  received(until: { readonly events: number; readonly timeoutMs: number }): Promise<Tally>;
  tally(): Promise<Tally>;
}

/** The namespace that every contender serves. */
export const NAMESPACE = "/fan-out";

export const EVENT = "message";

/** What is published: 100 bytes of JSON. */
export const PAYLOAD = { text: "x".repeat(100 - '{"text":""}'.length) };
