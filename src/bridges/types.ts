/**
 * What a bridge needs of a carrier (RabbitMQ, Kafka, ...), on one page. A carrier knows connections and messages;
 * when to try again, how often, and what to do with what fails is the bridge's.
 */

/** A queue that somebody else runs. */
export interface Source {
  /** For errors and logs, e.g. `RabbitMQ queue "orders"`; without passwords. */
  readonly name: string;
  /**
   * Connects once and begins to bring messages, at most `prefetch` at a time that are not settled. Called again
   * after `lost`, or when it rejected.
   *
   * @throws ConfigurationError when trying again is of no use: no such queue, refused credentials
   */
  connect(taker: SourceTaker, prefetch: number): Promise<SourceLink>;
}

/** Who is brought messages. Neither may throw. */
export interface SourceTaker {
  message(message: SourceMessage): void;
  /** The connection is gone, and with it the right to settle what it brought: that will come again. Once. */
  lost(reason: Error): void;
}

/** One connection. */
export interface SourceLink {
  /** Brings no more, if the carrier can; what it brought can still be settled. What comes now is left unsettled. */
  pause(): Promise<void>;
  /** Ends it, after all that was settled is written. What was not settled goes back to the queue. Idempotent. */
  close(): Promise<void>;
}

/** A message as its carrier brings it, before anybody has looked into it. */
export interface SourceMessage {
  /** For logs, and to tell it from others: the publisher's id if it gave one, else the carrier's; may be empty. */
  readonly id: string;
  readonly bytes: Uint8Array;
  /** What the publisher and the carrier say of it, as text. */
  readonly headers: ReadonlyMap<string, string>;
  /** It was brought before, as far as the carrier knows. */
  readonly isRedelivered: boolean;
  /** It is done: the queue forgets it. */
  accept(): Promise<void>;
  /** It cannot be done: the carrier does with it what it does with such (a dead letter queue, if there is one). */
  reject(reason: Error): Promise<void>;
}
