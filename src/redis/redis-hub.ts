/**
 * The stock Socket.IO Redis adapter as a carrier of packets between nodes: one hub, of which each node is
 * one member, and a room of the hub for each topic.
 *
 * The adapter neither waits for its subscriptions nor handles their failures, and it swallows those of
 * publishing. So it is lent clients of ours, whose promises are kept here. What is relied on (which
 * methods it calls, and that it does so within the call) is pinned by a test.
 */
import { createShardedAdapter } from "@socket.io/redis-adapter";

/** The part of the `redis` package's clients that the adapter uses; server, sentinel and cluster have it. */
export interface HubClients {
  /** Resolves with the number of receivers that Redis knows of. */
  sPublish(channel: string, message: string | Buffer): Promise<number>;
  sSubscribe(channel: string, hear: (message: Buffer, channel: Buffer) => void): Promise<unknown>;
  sUnsubscribe(channel: string): Promise<unknown>;
}

interface Packet {
  readonly type: number;
  readonly data: readonly unknown[];
}

/** Socket.IO's packet type EVENT. */
const EVENT = 2;
/** With binary in it the adapter encodes a packet by msgpack, which takes texts as they are, not by JSON. */
const AS_MSGPACK = Buffer.alloc(0);
const MEMBER = "node";
const HUB = "hub";

export class RedisHub {
  readonly #adapter: ReturnType<ReturnType<typeof createShardedAdapter>>;
  readonly #clients: HubClients;
  readonly #probeChannel: string;
  readonly #topics = new Map<string, Promise<void>>();
  /** Of those that we publish: the adapter delivers them to ourselves as well. */
  readonly #own = new WeakSet<object>();
  /** What the adapter has asked of our clients in the present call. */
  #steps: Promise<unknown>[] = [];
  readonly #subscribed: Promise<unknown>;

  /** @param hear - gets what other nodes publish to topics that are open here; must not throw */
  constructor(clients: HubClients, prefix: string, hear: (topic: string, data: readonly unknown[]) => void) {
    this.#clients = clients;
    this.#probeChannel = `${prefix}#${HUB}#probe#`;
    const publisher = {
      // By this the adapter knows a client of the `redis` package.
      sSubscribe() {},
      sPublish: (channel: string, message: string | Buffer) => this.#note(clients.sPublish(channel, message)),
    };
    const subscriber = {
      sSubscribe: (channel: string, listen: (message: Buffer, channel: Buffer) => void) =>
        this.#note(clients.sSubscribe(channel, guarded(listen))),
      sUnsubscribe: (channel: string) => this.#note(clients.sUnsubscribe(channel)),
    };
    const member = {
      id: MEMBER,
      client: { writeToEngine() {} },
      notifyOutgoingListeners: (packet: Packet) => {
        if (this.#own.has(packet)) return;
        const [topic, ...data] = packet.data;
        if (typeof topic === "string") hear(topic, data);
      },
    };
    const namespace = {
      name: HUB,
      server: { encoder: { encode: () => [] }, opts: {} },
      sockets: new Map([[MEMBER, member]]),
      _onServerSideEmit() {},
    };
    const options = { channelPrefix: prefix, subscriptionMode: "dynamic-private" as const };
    this.#adapter = onlyBroadcasts(createShardedAdapter(publisher, subscriber, options)(namespace));
    this.#subscribed = Promise.all(this.#takeSteps());
    this.#subscribed.catch(() => {});
  }

  /** Resolves when the hub's own channels are confirmed and publishing is seen to be allowed. */
  async ready(): Promise<void> {
    await this.#subscribed;
    await this.#clients.sPublish(this.#probeChannel, "");
  }

  /** What is open or being opened. */
  get topics(): ReadonlyMap<string, unknown> {
    return this.#topics;
  }

  /** Resolves when Redis has confirmed. */
  subscribe(topic: string): Promise<void> {
    const known = this.#topics.get(topic);
    if (known !== undefined) return known;
    void this.#adapter.addAll(MEMBER, new Set([topic]));
    const confirmed = all(this.#takeSteps());
    this.#topics.set(topic, confirmed);
    confirmed.catch(() => {
      if (this.#topics.get(topic) === confirmed) void this.unsubscribe(topic);
    });
    return confirmed;
  }

  /** Nothing of the topic is heard any more, at once. Resolves when Redis has confirmed. */
  unsubscribe(topic: string): Promise<void> {
    if (!this.#topics.delete(topic)) return Promise.resolve();
    void this.#adapter.del(MEMBER, topic);
    return all(this.#takeSteps());
  }

  /** Resolves when Redis has taken it, with the number of nodes that get it; rejects otherwise. */
  publish(topic: string, data: readonly unknown[]): Promise<number> {
    const packet = { type: EVENT, data: [topic, ...data, AS_MSGPACK] };
    this.#own.add(packet);
    void this.#adapter.broadcast(packet, { rooms: new Set([topic]), except: new Set() });
    const [step] = this.#takeSteps();
    // Ourselves among them, where the topic is open here.
    const own = this.#topics.has(topic) ? 1 : 0;
    return (step as Promise<number>).then((receivers) => receivers - own);
  }

  #note<T>(step: Promise<T>): Promise<T> {
    this.#steps.push(step);
    // The adapter leaves it unhandled.
    step.catch(() => {});
    return step;
  }

  #takeSteps(): Promise<unknown>[] {
    const steps = this.#steps;
    this.#steps = [];
    return steps;
  }
}

function all(steps: readonly Promise<unknown>[]): Promise<void> {
  const done = Promise.all(steps).then(() => {});
  done.catch(() => {});
  return done;
}

/** Socket.IO's message type BROADCAST between nodes. */
const BROADCAST = 3;

/**
 * The adapter knows more messages than ours, among them such as change the members' rooms, or that it fails
 * over later, where nobody catches it. Whoever else may publish on our channels must not reach those.
 */
function onlyBroadcasts<A extends object>(adapter: A): A {
  const inner = adapter as unknown as { onMessage(message: unknown, offset?: unknown): void };
  const hear = inner.onMessage;
  inner.onMessage = (message, offset) => {
    const { type, data } = (message ?? {}) as { type?: unknown; data?: { requestId?: unknown } };
    if (type === BROADCAST && data !== undefined && data.requestId === undefined) {
      hear.call(adapter, message, offset);
    }
  };
  return adapter;
}

/** A stranger's message on our channels must not become an uncaught exception. */
function guarded(listen: (message: Buffer, channel: Buffer) => void) {
  return (message: Buffer, channel: Buffer): void => {
    try {
      listen(message, channel);
    } catch {
      // What it can make nothing of is nobody's packet.
    }
  };
}
