/**
 * A stand-in for `pulsar-client` 1.18 and a broker behind it, in memory: no Pulsar. It behaves as the package's
 * declarations and sources say, where a carrier meets them: permits, redelivery, reconnecting by itself.
 */

interface Entry {
  readonly ledger: number;
  readonly data: Buffer;
  readonly properties: Record<string, string>;
  readonly partitionKey: string;
  readonly eventTimestamp: number;
  redeliveries: number;
}

export interface Sent {
  readonly data: Buffer;
  readonly properties?: Record<string, string>;
  readonly partitionKey?: string;
  readonly eventTimestamp?: number;
}

export interface SubscribeConfig {
  readonly topic: string;
  readonly subscription: string;
  readonly subscriptionType: "Shared" | "KeyShared" | "Failover";
  readonly subscriptionInitialPosition: "Earliest" | "Latest";
  readonly receiverQueueSize: number;
  readonly nAckRedeliverTimeoutMs: number;
}

class StandInMessage {
  readonly entry: Entry;
  readonly #topic: string;
  readonly #redeliveries: number;

  constructor(topic: string, entry: Entry) {
    this.#topic = topic;
    this.entry = entry;
    this.#redeliveries = entry.redeliveries;
  }

  getTopicName = () => `persistent://public/default/${this.#topic}`;
  getData = () => this.entry.data;
  getProperties = () => this.entry.properties;
  getMessageId = () => ({ toString: () => `(${this.entry.ledger},0,-1,-1)` });
  getRedeliveryCount = () => this.#redeliveries;
  getPartitionKey = () => this.entry.partitionKey;
  getOrderingKey = () => "";
  getEventTimestamp = () => this.entry.eventTimestamp;
}

class Subscription {
  readonly type: string;
  ready: Entry[];
  readonly done = new Set<Entry>();
  consumers: StandInConsumer[] = [];

  constructor(type: string, ready: Entry[]) {
    this.type = type;
    this.ready = ready;
  }

  back(entries: Iterable<Entry>): void {
    const again = [...entries].filter((entry) => !this.done.has(entry) && !this.ready.includes(entry));
    for (const entry of again) entry.redeliveries += 1;
    this.ready = [...again, ...this.ready].sort((a, b) => a.ledger - b.ledger);
    this.pump();
  }

  pump(): void {
    for (const entry of [...this.ready]) {
      const all = this.consumers.filter((consumer) => consumer.isConnected());
      const free = this.#mayGet(entry, all).find((consumer) => consumer.hasRoom);
      if (free === undefined) continue;
      this.ready.splice(this.ready.indexOf(entry), 1);
      this.consumers = [...this.consumers.filter((each) => each !== free), free];
      free.push(entry);
    }
  }

  #mayGet({ partitionKey }: Entry, all: StandInConsumer[]): StandInConsumer[] {
    if (this.type === "Shared") return all;
    const sorted = [...all].sort((a, b) => a.number - b.number);
    if (this.type === "Failover") return sorted.slice(0, 1);
    const hash = [...partitionKey].reduce((sum, each) => sum + (each.codePointAt(0) ?? 0), 0);
    return sorted.filter((_, i) => i === hash % sorted.length);
  }
}

let consumers = 0;

class StandInConsumer {
  readonly number = consumers++;
  readonly config: SubscribeConfig;
  readonly #subscription: Subscription;
  /** What the broker has sent and not seen acknowledged: the client's own queue, and what the carrier holds. */
  readonly #pending = new Set<Entry>();
  #queue: Entry[] = [];
  #waiting: { resolve(message: StandInMessage): void; reject(error: Error): void }[] = [];
  #isConnected = true;
  #isClosed = false;
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(config: SubscribeConfig, subscription: Subscription) {
    this.config = config;
    this.#subscription = subscription;
  }

  get hasRoom(): boolean {
    return this.#queue.length < this.config.receiverQueueSize;
  }

  isConnected(): boolean {
    return this.#isConnected && !this.#isClosed;
  }

  push(entry: Entry): void {
    this.#pending.add(entry);
    this.#queue.push(entry);
    this.#flow();
  }

  #flow(): void {
    while (this.#waiting.length > 0 && this.#queue.length > 0) {
      const entry = this.#queue.shift() as Entry;
      this.#waiting.shift()?.resolve(new StandInMessage(this.config.topic, entry));
    }
  }

  receive(): Promise<StandInMessage> {
    if (this.#isClosed) return Promise.reject(new Error("Failed to receive message: AlreadyClosed"));
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject });
      this.#flow();
      queueMicrotask(() => this.#subscription.pump());
    });
  }

  async acknowledge({ entry }: StandInMessage): Promise<null> {
    if (this.#isClosed) throw new Error("Failed to acknowledge: AlreadyClosed");
    // Without a connection the real one resolves too, and the broker never hears of it.
    if (!this.#isConnected) return null;
    this.#pending.delete(entry);
    this.#subscription.done.add(entry);
    this.#subscription.ready = this.#subscription.ready.filter((each) => each !== entry);
    return null;
  }

  negativeAcknowledge({ entry }: StandInMessage): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (this.#pending.delete(entry)) this.#subscription.back([entry]);
    }, this.config.nAckRedeliverTimeoutMs);
    this.#timers.add(timer);
  }

  /** The broker is gone: what it had sent goes to others, or comes again. */
  cut(): void {
    this.#isConnected = false;
    this.#queue = [];
    const back = [...this.#pending];
    this.#pending.clear();
    this.#subscription.back(back);
  }

  reconnect(): void {
    if (this.#isClosed) return;
    this.#isConnected = true;
    this.#subscription.pump();
  }

  async close(): Promise<null> {
    if (this.#isClosed) throw new Error("Failed to close consumer: AlreadyClosed");
    this.#isClosed = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#subscription.consumers = this.#subscription.consumers.filter((each) => each !== this);
    for (const { reject } of this.#waiting.splice(0)) {
      reject(new Error("Failed to receive message: AlreadyClosed"));
    }
    this.#subscription.back(this.#pending);
    return null;
  }
}

interface Topic {
  readonly log: Entry[];
  readonly subscriptions: Map<string, Subscription>;
}

/** One broker. Whoever connects to `serviceUrl` by {@link standInPackage} meets it. */
export class StandInPulsar {
  readonly serviceUrl = `pulsar://stand-in-${brokers.size}:6650`;
  /** Topics that nobody may make or use, with what the client says. */
  readonly refused = new Map<string, string>();
  /** Of each client that was made. */
  readonly clientConfigs: Record<string, unknown>[] = [];
  readonly consumers = new Set<StandInConsumer>();
  openClients = 0;
  isDown = false;
  readonly #topics = new Map<string, Topic>();

  constructor() {
    brokers.set(this.serviceUrl, this);
  }

  #topic(name: string): Topic {
    const topic: Topic = this.#topics.get(name) ?? { log: [], subscriptions: new Map() };
    this.#topics.set(name, topic);
    return topic;
  }

  log(topic: string): readonly Entry[] {
    return this.#topic(topic).log;
  }

  /** What is neither done nor in anybody's hand or client. */
  ready(topic: string, subscription: string): number {
    return this.#topic(topic).subscriptions.get(subscription)?.ready.length ?? 0;
  }

  put(topic: string, { data, properties = {}, partitionKey = "", eventTimestamp = 0 }: Sent): void {
    const { log, subscriptions } = this.#topic(topic);
    const entry = { ledger: log.length, data, properties, partitionKey, eventTimestamp };
    log.push({ ...entry, redeliveries: 0 });
    for (const subscription of subscriptions.values()) {
      // Each subscription counts for itself.
      subscription.ready.push({ ...entry, redeliveries: 0 });
      subscription.pump();
    }
  }

  check(topic: string): void {
    const why = this.isDown ? "ConnectError" : this.refused.get(topic);
    if (why !== undefined) throw new Error(`Failed to create consumer: ${why}`);
  }

  subscribe(config: SubscribeConfig): StandInConsumer {
    this.check(config.topic);
    const { log, subscriptions } = this.#topic(config.topic);
    const begin = config.subscriptionInitialPosition === "Earliest" ? log.map((entry) => ({ ...entry })) : [];
    const subscription =
      subscriptions.get(config.subscription) ?? new Subscription(config.subscriptionType, begin);
    subscriptions.set(config.subscription, subscription);
    const consumer = new StandInConsumer(config, subscription);
    subscription.consumers.push(consumer);
    this.consumers.add(consumer);
    queueMicrotask(() => subscription.pump());
    return consumer;
  }

  /** Breaks all connections; the clients reconnect by themselves as soon as they can. */
  cut({ stayDown = false } = {}): void {
    this.isDown = stayDown;
    for (const consumer of this.consumers) consumer.cut();
    if (!stayDown) setImmediate(() => this.comeBack());
  }

  comeBack(): void {
    this.isDown = false;
    for (const consumer of this.consumers) consumer.reconnect();
  }
}

const brokers = new Map<string, StandInPulsar>();

class StandInClient {
  readonly #broker: StandInPulsar;

  constructor(config: Record<string, unknown>) {
    const broker = brokers.get(String(config.serviceUrl));
    if (broker === undefined) throw new Error(`no stand-in at ${config.serviceUrl}`);
    if (typeof config.authentication === "string") {
      throw new Error("Authentication must be a Pulsar authentication object");
    }
    this.#broker = broker;
    broker.openClients += 1;
    broker.clientConfigs.push(config);
  }

  async subscribe(config: SubscribeConfig): Promise<StandInConsumer> {
    return this.#broker.subscribe(config);
  }

  async createProducer({ topic }: { topic: string }) {
    this.#broker.check(topic);
    const send = async (message: Sent) => {
      this.#broker.check(topic);
      this.#broker.put(topic, message);
    };
    return { send, close: async () => null };
  }

  async close(): Promise<null> {
    this.#broker.openClients -= 1;
    return null;
  }
}

/** What `import("pulsar-client")` gives. */
export const standInPackage = { default: { Client: StandInClient } };
