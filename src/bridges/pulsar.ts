/** `sluice/bridges/pulsar`: a subscription of Apache Pulsar, by the package `pulsar-client`. */
import { ConfigurationError, peer } from "../index.ts";
import type { Source, SourceLink, SourceMessage, SourceTaker } from "./types.ts";

/** Where Pulsar is, and what of it is read. */
export interface PulsarOptions {
  /** `pulsar://host:6650` or `pulsar+ssl://host:6651`; several hosts with commas between them. */
  readonly serviceUrl: string;
  /** `persistent://tenant/namespace/topic`, or only its last part in `public/default`. */
  readonly topic: string;
  /** Bridges with the same subscription share the topic's messages; what is done is kept under this name. */
  readonly subscription: string;
  /**
   * `Shared` (the default): whoever is free gets the next message. `KeyShared`: the messages of a key go to one
   * bridge, which has one of them in hand at a time. `Failover`: one bridge gets all, the others stand by.
   */
  readonly type?: "Shared" | "KeyShared" | "Failover";
  /** Where rejected messages go, with `x-rejected-because` and `x-from`. Without it they are skipped. */
  readonly deadLetterTopic?: string;
  /** Where a subscription begins that was never here; by default with the earliest. */
  readonly from?: "earliest" | "latest";
  /** After how long a message comes again that could neither be accepted nor be moved to the dead letters (1,000). */
  readonly redeliverMs?: number;
  /** How long the client may try to reconnect by itself before the bridge is told that the connection is lost (10,000). */
  readonly lostAfterMs?: number;
  /** How long a connection may take to come about (15,000; rounded up to seconds). */
  readonly connectTimeoutMs?: number;
  /** More for the package's `Client`: `authentication`, `tlsTrustCertsFilePath`, `logLevel`, ... */
  readonly client?: Readonly<Record<string, unknown>>;
}

/** What is used of `pulsar-client`, as its declarations say; here because the package is not installed with us. */
interface Pulsar {
  readonly Client: new (config: Record<string, unknown>) => PulsarClient;
}

interface PulsarClient {
  subscribe(config: Record<string, unknown>): Promise<PulsarConsumer>;
  createProducer(config: Record<string, unknown>): Promise<PulsarProducer>;
  close(): Promise<null>;
}

interface PulsarConsumer {
  receive(): Promise<PulsarMessage>;
  acknowledge(message: PulsarMessage): Promise<null>;
  negativeAcknowledge(message: PulsarMessage): void;
  isConnected(): boolean;
  close(): Promise<null>;
}

interface PulsarProducer {
  send(message: {
    data: Buffer;
    properties: Record<string, string>;
    partitionKey?: string;
    orderingKey?: string;
    eventTimestamp?: number;
  }): Promise<unknown>;
  close(): Promise<null>;
}

interface PulsarMessage {
  getTopicName(): string;
  getData(): Buffer;
  getProperties(): { [name: string]: string };
  getMessageId(): { toString(): string };
  getRedeliveryCount(): number;
  getPartitionKey(): string;
  getOrderingKey(): string;
  getEventTimestamp(): number;
}

/** What the client says when trying again is of no use. */
const FOR_GOOD =
  /AuthenticationError|AuthorizationError|TopicNotFound|InvalidTopicName|InvalidUrl|InvalidConfiguration|IncompatibleSchema|NotAllowedError/;

/** The package's `LogLevel.WARN`: it writes every step to the standard output otherwise. */
const WARNINGS = 2;

/** Not a literal, so that nobody needs the package for our types. */
const PACKAGE: string = "pulsar-client";

/**
 * A subscription of Apache Pulsar. Accepting is acknowledging each message by itself; the client sends that within
 * 100 ms, and a process that is killed before sees the message again. Of messages that a producer sent as one batch,
 * the done ones come again with the others unless the broker acknowledges within batches.
 *
 * **No real Pulsar server has been run against it**: it was written after the client's declarations and sources,
 * and is tested against a stand-in of that client.
 *
 * @example
 * new PulsarSource({ serviceUrl: "pulsar://localhost:6650", topic: "orders", subscription: "sluice" });
 */
export class PulsarSource implements Source {
  readonly name: string;
  readonly #options: PulsarOptions;

  /** @throws ConfigurationError that lists what is wrong */
  constructor(options: PulsarOptions) {
    const { serviceUrl, topic, subscription, type, deadLetterTopic, from } = options;
    const faults: string[] = [];
    const isUrl = typeof serviceUrl === "string" && /^(pulsar(\+ssl)?|https?):\/\/[^/\s]+/.test(serviceUrl);
    if (!isUrl) faults.push("serviceUrl must be pulsar://host:port (or pulsar+ssl)");
    for (const [name, value] of Object.entries({ topic, subscription })) {
      if (typeof value !== "string" || value === "") faults.push(`${name} must be a text`);
    }
    if (type !== undefined && !["Shared", "KeyShared", "Failover"].includes(type)) {
      faults.push('type must be "Shared", "KeyShared" or "Failover"');
    }
    if (from !== undefined && from !== "earliest" && from !== "latest") {
      faults.push('from must be "earliest" or "latest"');
    }
    if (deadLetterTopic !== undefined && (typeof deadLetterTopic !== "string" || deadLetterTopic === "")) {
      faults.push("deadLetterTopic must be a text");
    } else if (deadLetterTopic !== undefined && deadLetterTopic === topic) {
      faults.push("deadLetterTopic must not be the topic itself");
    }
    const { redeliverMs, lostAfterMs, connectTimeoutMs } = options;
    for (const [name, value] of Object.entries({ redeliverMs, lostAfterMs, connectTimeoutMs })) {
      const isFine = value === undefined || (Number.isInteger(value) && value > 0 && value < 2 ** 31);
      if (!isFine) faults.push(`${name} must be a number of milliseconds above 0`);
    }
    if (faults.length > 0) throw new ConfigurationError(faults);
    this.#options = options;
    this.name = `Pulsar topic "${topic}"`;
  }

  async connect(taker: SourceTaker, prefetch: number): Promise<SourceLink> {
    const pulsar = await this.#load();
    const { serviceUrl, connectTimeoutMs = 15_000, client = {} } = this.#options;
    let made: PulsarClient;
    try {
      // A fresh object: the package writes into it.
      made = new pulsar.Client({
        logLevel: WARNINGS,
        operationTimeoutSeconds: Math.ceil(connectTimeoutMs / 1_000),
        connectionTimeoutMs: connectTimeoutMs,
        ...client,
        serviceUrl,
      });
    } catch (error) {
      // It opens no connection yet: what it dislikes are its options.
      throw this.#fault((error as Error).message, error);
    }
    const link = new PulsarLink(this.#options, made, taker, prefetch);
    try {
      await link.open();
      return link;
    } catch (error) {
      await link.close().catch(() => {});
      const { message } = error as Error;
      if (!FOR_GOOD.test(message)) throw error;
      throw this.#fault(`${message}; do topic, user and rights exist?`, error);
    }
  }

  async #load(): Promise<Pulsar> {
    try {
      // CommonJS: all of it is the default export.
      return (await peer<{ default: Pulsar }>(PACKAGE, () => import(PACKAGE))).default;
    } catch (error) {
      if (error instanceof ConfigurationError) throw error;
      const why = `${PACKAGE} cannot be loaded: ${(error as Error).message}`;
      throw this.#fault(`${why}; is its native library there (npm rebuild ${PACKAGE})?`, error);
    }
  }

  #fault(text: string, cause: unknown): ConfigurationError {
    const fault = new ConfigurationError([`${this.name}: ${text}`]);
    fault.cause = cause;
    return fault;
  }
}

class PulsarLink implements SourceLink {
  readonly #options: PulsarOptions;
  readonly #client: PulsarClient;
  readonly #taker: SourceTaker;
  readonly #prefetch: number;
  #consumer: PulsarConsumer | undefined;
  #producer: PulsarProducer | undefined;
  /** Ids of what came and is not settled, at most `prefetch`. */
  readonly #held = new Set<string>();
  /** Of a `KeyShared` subscription: what came behind the message of its key that is in hand. Part of `held`. */
  readonly #lanes = new Map<string, PulsarMessage[]>();
  #watch: NodeJS.Timeout | undefined;
  #wake: () => void = () => {};
  #state: "open" | "paused" | "ended" = "open";
  #closed: Promise<void> | undefined;

  constructor(options: PulsarOptions, client: PulsarClient, taker: SourceTaker, prefetch: number) {
    this.#options = options;
    this.#client = client;
    this.#taker = taker;
    this.#prefetch = prefetch;
  }

  async open(): Promise<void> {
    const { topic, subscription, type = "Shared", from = "earliest", deadLetterTopic } = this.#options;
    if (deadLetterTopic !== undefined) {
      // A batch would only make each rejection wait for others.
      this.#producer = await this.#client.createProducer({ topic: deadLetterTopic, batchingEnabled: false });
    }
    const consumer = await this.#client.subscribe({
      topic,
      subscription,
      subscriptionType: type,
      subscriptionInitialPosition: from === "earliest" ? "Earliest" : "Latest",
      receiverQueueSize: this.#prefetch,
      nAckRedeliverTimeoutMs: this.#options.redeliverMs ?? 1_000,
      batchIndexAckEnabled: true,
    });
    this.#consumer = consumer;
    this.#watchOver(consumer);
    this.#read(consumer).catch((error) => this.#lost(error));
  }

  async pause(): Promise<void> {
    if (this.#state === "open") this.#state = "paused";
    this.#wake();
  }

  close(): Promise<void> {
    this.#state = "ended";
    clearInterval(this.#watch);
    this.#wake();
    this.#closed ??= (async () => {
      // Writes what was acknowledged, and gives the rest to others.
      await this.#consumer?.close().catch(() => {});
      await this.#producer?.close().catch(() => {});
      await this.#client.close();
    })();
    return this.#closed;
  }

  async #read(consumer: PulsarConsumer): Promise<void> {
    for (;;) {
      while (this.#state === "open" && this.#held.size >= this.#prefetch) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
      if (this.#state !== "open") return;
      this.#take(await consumer.receive());
    }
  }

  #take(message: PulsarMessage): void {
    const id = idOf(message);
    // After it has reconnected by itself, the client brings again what is still in hand here.
    if (this.#state !== "open" || this.#held.has(id)) return;
    this.#held.add(id);
    if (this.#options.type === "KeyShared") {
      const key = keyOf(message);
      const lane = this.#lanes.get(key);
      if (lane !== undefined) {
        lane.push(message);
        return;
      }
      this.#lanes.set(key, []);
    }
    this.#taker.message(this.#messageOf(message, id));
  }

  #messageOf(message: PulsarMessage, id: string): SourceMessage {
    let isSettled = false;
    const settle = async (reason?: Error) => {
      const consumer = this.#consumer;
      if (this.#state === "ended" || consumer === undefined) {
        throw new Error("the connection it came over is gone");
      }
      if (isSettled) throw new Error("it was settled before");
      isSettled = true;
      try {
        // The client would resolve, and forget it.
        if (!consumer.isConnected()) throw new Error("there is no connection now; it comes again");
        if (reason !== undefined) await this.#bury(message, id, reason);
        await consumer.acknowledge(message);
      } catch (error) {
        consumer.negativeAcknowledge(message);
        throw error;
      } finally {
        this.#held.delete(id);
        this.#next(message);
        this.#wake();
      }
    };
    return {
      id,
      bytes: message.getData(),
      headers: headersOf(message),
      isRedelivered: message.getRedeliveryCount() > 0,
      accept: () => settle(),
      reject: (reason) => settle(reason),
    };
  }

  /** The next of its key. */
  #next(message: PulsarMessage): void {
    if (this.#options.type !== "KeyShared") return;
    const key = keyOf(message);
    const next = this.#state === "open" ? this.#lanes.get(key)?.shift() : undefined;
    if (next === undefined) this.#lanes.delete(key);
    else this.#taker.message(this.#messageOf(next, idOf(next)));
  }

  async #bury(message: PulsarMessage, id: string, reason: Error): Promise<void> {
    const [partitionKey, orderingKey] = [message.getPartitionKey(), message.getOrderingKey()];
    const eventTimestamp = message.getEventTimestamp();
    await this.#producer?.send({
      data: message.getData(),
      properties: { ...message.getProperties(), "x-rejected-because": reason.message, "x-from": id },
      ...(partitionKey === "" ? {} : { partitionKey }),
      ...(orderingKey === "" ? {} : { orderingKey }),
      ...(eventTimestamp > 0 ? { eventTimestamp } : {}),
    });
  }

  /** The client does not tell when it is cut off; it can be asked. */
  #watchOver(consumer: PulsarConsumer): void {
    const { lostAfterMs = 10_000 } = this.#options;
    let seenAt = performance.now();
    const look = () => {
      if (consumer.isConnected()) seenAt = performance.now();
      else if (performance.now() - seenAt >= lostAfterMs) {
        this.#lost(new Error(`the client has had no connection for ${lostAfterMs} ms`));
      }
    };
    this.#watch = setInterval(look, Math.min(1_000, Math.ceil(lostAfterMs / 4)));
  }

  #lost(error: Error): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    clearInterval(this.#watch);
    this.#wake();
    this.#taker.lost(error);
  }
}

/** `persistent://public/default/orders/12:3:-1:0`: ledger, entry, partition, place in its batch. */
function idOf(message: PulsarMessage): string {
  const id = message.getMessageId().toString().replace(/[()]/g, "").replaceAll(",", ":");
  return `${message.getTopicName()}/${id}`;
}

/** What Pulsar itself goes by. */
function keyOf(message: PulsarMessage): string {
  return message.getOrderingKey() || message.getPartitionKey();
}

/** The publisher's properties, and `key` and `event-time` (ISO 8601) where they are given. */
function headersOf(message: PulsarMessage): ReadonlyMap<string, string> {
  const headers = new Map(Object.entries(message.getProperties()));
  const [key, eventTimestamp] = [message.getPartitionKey(), message.getEventTimestamp()];
  if (key !== "") headers.set("key", key);
  if (eventTimestamp > 0) headers.set("event-time", new Date(eventTimestamp).toISOString());
  return headers;
}
