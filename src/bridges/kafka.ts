/** `sluice/bridges/kafka`: a topic of Kafka, by the package `@platformatic/kafka`. */
import type { Consumer, ConsumerOptions, Message, MessagesStream, Producer } from "@platformatic/kafka";
import { ConfigurationError, peer } from "../index.ts";
import type { Source, SourceLink, SourceMessage, SourceTaker } from "./types.ts";

type Kafka = typeof import("@platformatic/kafka");
type KafkaMessage = Message<Buffer, Buffer, Buffer, Buffer>;

/** Where Kafka is, and what of it is read. */
export interface KafkaOptions {
  /** Where to begin: `["kafka-1:9092", "kafka-2:9092"]`. */
  readonly brokers: readonly string[];
  readonly topic: string;
  /** Bridges with the same group share the topic's partitions; how far they are is kept under this name. */
  readonly groupId: string;
  /** Where rejected messages go, with `x-rejected-because` and where they were. Without it they are skipped. */
  readonly deadLetterTopic?: string;
  /** Where a group begins that was never here. */
  readonly from?: "earliest" | "latest";
  /** How long a member may be silent before its partitions go to others. */
  readonly sessionTimeoutMs?: number;
  /** More for the client: `sasl`, `tls`, ... */
  readonly client?: Partial<
    Pick<ConsumerOptions<Buffer, Buffer, Buffer, Buffer>, "sasl" | "tls" | "timeout" | "connectTimeout">
  >;
}

/** What the package uses, and Node 20 does not have. */
const CAN_RUN = "withResolvers" in Promise;

/** Messages that wait here for others of their partition. */
const MAX_QUEUED = 1_000;

/**
 * A topic of Kafka. One message of a partition is in hand at a time, so partitions keep their order, and as many
 * are done at once as there are partitions (up to `prefetch`). A message is accepted by committing its offset.
 *
 * @example
 * new KafkaSource({ brokers: ["localhost:9092"], topic: "orders", groupId: "sluice" });
 */
export class KafkaSource implements Source {
  readonly name: string;
  readonly #options: KafkaOptions;

  /** @throws ConfigurationError that lists what is wrong */
  constructor(options: KafkaOptions) {
    const { brokers, topic, groupId, deadLetterTopic } = options;
    const faults: string[] = [];
    const isBrokers =
      Array.isArray(brokers) && brokers.length > 0 && brokers.every((each) => /:\d+$/.test(each));
    if (!isBrokers) faults.push('brokers must be a list of "host:port"');
    for (const [name, value] of Object.entries({ topic, groupId })) {
      if (typeof value !== "string" || value === "") faults.push(`${name} must be a text`);
    }
    if (deadLetterTopic === topic) faults.push("deadLetterTopic must not be the topic itself");
    if (faults.length > 0) throw new ConfigurationError(faults);
    this.#options = options;
    this.name = `Kafka topic "${topic}"`;
  }

  async connect(taker: SourceTaker, prefetch: number): Promise<SourceLink> {
    if (!CAN_RUN) {
      const fault = `${this.name}: @platformatic/kafka needs Node.js 22.22 or newer, and this is ${process.version}`;
      throw new ConfigurationError([fault]);
    }
    const kafka = await peer("@platformatic/kafka", () => import("@platformatic/kafka"));
    const link = new KafkaLink(this.#options, kafka, taker, prefetch);
    try {
      await link.open();
      return link;
    } catch (error) {
      await link.close().catch(() => {});
      throw this.#told(error as Error);
    }
  }

  #told(error: Error): Error {
    const all = [error, ...(error instanceof AggregateError ? error.errors : []), error.cause];
    const said = all.map((each) => `${(each as Error)?.name} ${(each as Error)?.message}`).join(" ");
    if (!/Authentication|AUTHORIZATION|UNKNOWN_TOPIC|Unknown topic|does not host/i.test(said)) return error;
    const fault = new ConfigurationError([
      `${this.name}: ${error.message}; do topic, user and rights exist?`,
    ]);
    fault.cause = error;
    return fault;
  }
}

/** What is known of a partition that is this member's. */
interface Part {
  readonly queue: KafkaMessage[];
  /** The lowest offset that was not taken yet: after a rebalance the client brings again what is not committed. */
  next: bigint;
  isBusy: boolean;
}

class KafkaLink implements SourceLink {
  readonly #options: KafkaOptions;
  readonly #taker: SourceTaker;
  readonly #prefetch: number;
  readonly #consumer: Consumer<Buffer, Buffer, Buffer, Buffer>;
  readonly #producer: Producer<Buffer, Buffer, Buffer, Buffer> | undefined;
  #stream: MessagesStream<Buffer, Buffer, Buffer, Buffer> | undefined;
  readonly #parts = new Map<number, Part>();
  /** Partitions that went to others while this link was open. */
  readonly #gone = new Set<number>();
  #inHand = 0;
  #queued = 0;
  #wake: () => void = () => {};
  #state: "open" | "paused" | "ended" = "open";
  #closed: Promise<void> | undefined;

  constructor(options: KafkaOptions, kafka: Kafka, taker: SourceTaker, prefetch: number) {
    this.#options = options;
    this.#taker = taker;
    this.#prefetch = prefetch;
    const { brokers, groupId, sessionTimeoutMs = 10_000, client = {} } = options;
    const base = {
      clientId: "sluice-bridge",
      bootstrapBrokers: [...brokers],
      retries: 1,
      retryDelay: 200,
      ...client,
    };
    this.#consumer = new kafka.Consumer({
      ...base,
      groupId,
      autocommit: false,
      sessionTimeout: sessionTimeoutMs,
      heartbeatInterval: Math.ceil(sessionTimeoutMs / 4),
      rebalanceTimeout: sessionTimeoutMs,
      maxWaitTime: 1_000,
      highWaterMark: 100,
    });
    if (options.deadLetterTopic !== undefined) this.#producer = new kafka.Producer(base);
  }

  async open(): Promise<void> {
    const { topic, from = "earliest" } = this.#options;
    // Joining a group does not ask whether there is anything to read.
    await this.#consumer.metadata({ topics: [topic] });
    this.#consumer.on("consumer:group:join", () => this.#joined());
    this.#stream = await this.#consumer.consume({
      topics: [topic],
      mode: "committed",
      fallbackMode: from,
    });
    this.#joined();
    this.#stream.on("error", (error) => this.#lost(error));
    void this.#read(this.#stream).then(
      () => this.#lost(new Error("the client ended its stream")),
      (error) => this.#lost(error),
    );
  }

  async pause(): Promise<void> {
    if (this.#state === "open") this.#state = "paused";
  }

  close(): Promise<void> {
    this.#state = "ended";
    this.#wake();
    this.#closed ??= (async () => {
      // Leaves the group, so that others get its partitions at once.
      await this.#stream?.close().catch(() => {});
      await this.#producer?.close(true).catch(() => {});
      await this.#consumer.close(true);
    })();
    return this.#closed;
  }

  async #read(stream: MessagesStream<Buffer, Buffer, Buffer, Buffer>): Promise<void> {
    for await (const message of stream) {
      const part = this.#parts.get(message.partition);
      if (part === undefined || message.offset < part.next) continue;
      part.next = message.offset + 1n;
      part.queue.push(message);
      this.#queued += 1;
      this.#pump();
      while (this.#queued >= MAX_QUEUED && this.#state !== "ended") {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
      if (this.#state === "ended") return;
    }
  }

  #pump(): void {
    for (const [partition, part] of this.#parts) {
      if (this.#state !== "open" || this.#inHand >= this.#prefetch) return;
      const message = part.isBusy ? undefined : part.queue.shift();
      if (message === undefined) continue;
      part.isBusy = true;
      this.#inHand += 1;
      this.#queued -= 1;
      this.#wake();
      this.#taker.message(this.#messageOf(message, partition, part));
    }
  }

  #messageOf(message: KafkaMessage, partition: number, part: Part): SourceMessage {
    const { topic, offset } = message;
    let isSettled = false;
    const settle = async (reason?: Error) => {
      const isMine = this.#state !== "ended" && this.#parts.get(partition) === part;
      if (!isMine) throw new Error(`partition ${partition} belongs to another member now`);
      if (isSettled) throw new Error("it was settled before");
      isSettled = true;
      try {
        if (reason !== undefined) await this.#bury(message, reason);
        await message.commit();
      } catch (error) {
        // Nothing of this partition can be accepted before that is.
        this.#lost(error as Error);
        throw error;
      }
      this.#inHand -= 1;
      part.isBusy = false;
      this.#pump();
    };
    const headers = new Map<string, string>([["partition", String(partition)]]);
    for (const [key, value] of message.headers) headers.set(String(key), String(value));
    if (message.key !== undefined && message.key !== null) headers.set("key", String(message.key));
    return {
      id: `${topic}/${partition}/${offset}`,
      bytes: message.value ?? new Uint8Array(),
      headers,
      isRedelivered: false,
      accept: () => settle(),
      reject: (reason) => settle(reason),
    };
  }

  async #bury(message: KafkaMessage, reason: Error): Promise<void> {
    const { deadLetterTopic } = this.#options;
    if (this.#producer === undefined || deadLetterTopic === undefined) return;
    const { topic, partition, offset, key, value, headers } = message;
    const because = { "x-rejected-because": reason.message, "x-from": `${topic}/${partition}/${offset}` };
    const added = Object.entries(because).map(
      ([name, text]) => [Buffer.from(name), Buffer.from(text)] as const,
    );
    await this.#producer.send({
      messages: [{ topic: deadLetterTopic, key, value, headers: new Map([...headers, ...added]) }],
    });
  }

  /** A rebalance, or the first join: whose is what? */
  #joined(): void {
    const mine =
      this.#consumer.assignments?.find(({ topic }) => topic === this.#options.topic)?.partitions ?? [];
    for (const [partition, part] of this.#parts) {
      if (mine.includes(partition)) continue;
      this.#parts.delete(partition);
      this.#gone.add(partition);
      this.#queued -= part.queue.length;
      if (part.isBusy) this.#inHand -= 1;
    }
    for (const partition of mine) {
      // The client may still have read ahead in it from the first time; a new connection begins where it stands.
      if (this.#gone.has(partition)) return this.#lost(new Error(`partition ${partition} came back`));
      if (!this.#parts.has(partition)) this.#parts.set(partition, { queue: [], next: 0n, isBusy: false });
    }
    this.#wake();
    this.#pump();
  }

  #lost(error: Error): void {
    if (this.#state === "ended") return;
    this.#state = "ended";
    this.#wake();
    this.#taker.lost(error);
  }
}
