import { randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { ConfigurationError, Faults, LayerUnavailable } from "../errors.ts";
import { type Given, resolveOptions } from "../options.ts";
import type { Backplane, BackplaneListener } from "../types.ts";
import { within } from "../within.ts";
import { Holes } from "./numbering.ts";
import { type Batch, Outgoing } from "./outgoing.ts";
import { isRefusal, startFault } from "./redis-faults.ts";
import { RedisLink } from "./redis-link.ts";
import { describeTarget, type RedisOptions, type RedisTarget, redisTarget } from "./redis-options.ts";

export const redisBackplaneDefaults = {
  /** Begins every name in Redis. Applications that share a Redis need different ones. */
  prefix: "sluice",
  /** How long a connection may take to be made. */
  connectTimeoutMs: 5_000,
  /** How long a subscription may take, outages included; less than the application's `connectTimeoutMs`. */
  subscribeTimeoutMs: 5_000,
  /** How often Redis is asked whether it is there; three times without an answer are an outage. */
  heartbeatMs: 1_000,
  /** How long `close` waits for what has not left yet. */
  closeTimeoutMs: 2_000,
  limits: {
    /** What may wait while Redis is away, or slow: messages, their bytes, and for how long. */
    maxWaitingMessages: 10_000,
    maxWaitingBytes: 16_777_216,
    maxWaitingMs: 10_000,
  },
};

export type RedisBackplaneSettings = typeof redisBackplaneDefaults;
export interface RedisBackplaneOptions extends RedisOptions, Given<RedisBackplaneSettings> {}

/** Of what travels: nodes take what has the fields they know. */
const WIRE_VERSION = 1;
const MAX_BACKOFF_MS = 2_000;

/**
 * Carries groups between nodes by sharded publish/subscribe of Redis 7 (or Valkey), through the stock
 * Socket.IO Redis adapter. One subscription per topic that is open here; the texts for one topic within one
 * turn of the event loop travel as one message.
 *
 * At most once; per sender and topic in order. During an outage what is published waits, bounded; on
 * return all subscriptions are made anew before `up` is told, and what others published meanwhile is told
 * as a possible loss. Holes in a sender's numbers are told, too.
 *
 * @example
 * createApplication({ routes, backplane: new RedisBackplane({ url: "redis://127.0.0.1:6379" }) });
 */
export class RedisBackplane implements Backplane {
  readonly #target: RedisTarget;
  readonly #settings: RedisBackplaneSettings;
  /** Of this start; numbers of an earlier one mean nothing. */
  readonly #sender = randomBytes(9).toString("base64url");
  readonly #topics = new Set<string>();
  readonly #holes = new Holes();
  readonly #outgoing: Outgoing;
  readonly #closing = new AbortController();
  #listener: BackplaneListener | undefined;
  #link: RedisLink | undefined;
  #waitingForLink: (() => void)[] = [];
  /** After an outage, until what waits goes out. */
  #settling: NodeJS.Timeout | undefined;

  /** @throws ConfigurationError that lists every fault of the options */
  constructor(options: RedisBackplaneOptions = {}) {
    const { target, settings } = checked(options);
    this.#target = target;
    this.#settings = settings;
    this.#outgoing = new Outgoing(settings.limits, {
      dropped: (topic, count) => this.#listener?.dropped(topic, count),
      delivered: (topic, receivers) => {
        if (receivers <= 0) this.#listener?.unheard(topic);
      },
      isRefusal: (error) => {
        if (isRefusal(error)) return true;
        this.#link?.fail((error as Error).message);
        return false;
      },
    });
  }

  async open(listener: BackplaneListener): Promise<void> {
    if (this.#listener !== undefined) throw new LayerUnavailable("a Redis backplane opens once");
    this.#listener = listener;
    try {
      this.#begin(await this.#connect(), 0);
    } catch (error) {
      this.#closing.abort();
      throw startFault(error, this.#target, this.#settings.prefix);
    }
  }

  async subscribe(topic: string): Promise<void> {
    this.#topics.add(topic);
    const { subscribeTimeoutMs } = this.#settings;
    const late = () =>
      new LayerUnavailable(`Redis confirmed no subscription within ${subscribeTimeoutMs} ms`);
    try {
      await within(subscribeTimeoutMs, this.#confirmed(topic), late);
    } catch (error) {
      void this.unsubscribe(topic);
      throw error instanceof LayerUnavailable ? error : new LayerUnavailable((error as Error).message);
    }
  }

  async unsubscribe(topic: string): Promise<void> {
    this.#topics.delete(topic);
    this.#holes.forget(topic);
    // A connection that breaks over it has forgotten the topic anyway.
    await this.#link?.hub.unsubscribe(topic).catch(() => {});
  }

  publish(topic: string, text: () => string): void {
    if (this.#closing.signal.aborted) return this.#listener?.dropped(topic, 1);
    this.#outgoing.add(topic, text());
  }

  flush(): Promise<void> {
    return this.#outgoing.flush();
  }

  async close(): Promise<void> {
    if (this.#closing.signal.aborted) return;
    this.#closing.abort();
    this.#wakeAll();
    if (this.#link !== undefined) {
      // Nobody else is waited for any more.
      if (this.#settling !== undefined) this.#beginOutgoing(this.#link);
      const { closeTimeoutMs } = this.#settings;
      // What does not leave in time is dropped and told below.
      await within(closeTimeoutMs, this.#outgoing.flush(), () => new Error("late")).catch(() => {});
    }
    this.#outgoing.close();
    this.#link?.close();
    this.#link = undefined;
    this.#topics.clear();
  }

  /** A link that breaks meanwhile is followed by one that has the topic from its beginning. */
  async #confirmed(topic: string): Promise<void> {
    while (this.#topics.has(topic)) {
      this.#checkOpen();
      const link = this.#link;
      if (link === undefined) {
        await new Promise<void>((resolve) => this.#waitingForLink.push(resolve));
        continue;
      }
      try {
        return await link.hub.subscribe(topic);
      } catch (error) {
        if (isRefusal(error)) throw error;
        link.fail((error as Error).message);
      }
    }
    this.#checkOpen();
  }

  /** Makes a connection on which all topics are confirmed. */
  async #connect(): Promise<RedisLink> {
    const link = await RedisLink.open(this.#target, this.#settings, {
      hear: (topic, data) => this.#hear(topic, data),
      broken: (broken, reason) => this.#broken(broken, reason),
    });
    try {
      while (await link.follow(this.#topics)) {
        // Topics came or went while others were being confirmed.
      }
      return link;
    } catch (error) {
      link.close();
      throw error;
    }
  }

  #begin(link: RedisLink, settleMs: number): void {
    this.#link = link;
    if (settleMs === 0) this.#beginOutgoing(link);
    else this.#settling = setTimeout(() => this.#beginOutgoing(link), settleMs);
    this.#wakeAll();
  }

  #beginOutgoing(link: RedisLink): void {
    this.#endSettling();
    this.#outgoing.begin((batch) => link.hub.publish(batch.topic, this.#packet(batch)));
  }

  #endSettling(): void {
    clearTimeout(this.#settling);
    this.#settling = undefined;
  }

  #broken(link: RedisLink, reason: string): void {
    link.close();
    // One that was not in use yet is replaced by whoever made it.
    if (link !== this.#link) return;
    this.#link = undefined;
    this.#endSettling();
    this.#outgoing.pause();
    this.#listener?.down(`${describeTarget(this.#target)}: ${reason}`);
    void this.#reconnect();
  }

  async #reconnect(): Promise<void> {
    const { signal } = this.#closing;
    const downSince = performance.now();
    for (let backoffMs = 25; !signal.aborted; backoffMs = Math.min(backoffMs * 2, MAX_BACKOFF_MS)) {
      // Drawn, so that the nodes do not all come at once.
      await sleep(Math.random() * backoffMs, undefined, { signal }).catch(() => {});
      const link = await this.#connect().catch(() => undefined);
      if (link === undefined) continue;
      if (signal.aborted) return link.close();
      // The other nodes were cut off as well, perhaps, and come back within the time of one more attempt.
      // What waits waits for them, or it would be published to nobody.
      const { maxWaitingMs } = this.#settings.limits;
      this.#begin(link, Math.min(performance.now() - downSince, MAX_BACKOFF_MS, maxWaitingMs / 4));
      if (this.#topics.size > 0) this.#listener?.lost({});
      this.#listener?.up();
      return;
    }
  }

  #packet({ stream, first, texts }: Batch): readonly unknown[] {
    return [WIRE_VERSION, this.#sender, stream, first, texts];
  }

  #hear(topic: string, [_version, sender, stream, first, texts]: readonly unknown[]): void {
    const listener = this.#listener;
    if (listener === undefined || this.#closing.signal.aborted) return;
    if (
      typeof sender !== "string" ||
      !(typeof stream === "number" && typeof first === "number" && isTextList(texts))
    ) {
      return listener.lost({ topic });
    }
    const { known, missed } = this.#holes.hear(topic, sender, stream, first, texts.length);
    if (missed > 0) listener.lost({ topic, missed });
    for (const text of known === 0 ? texts : texts.slice(known)) listener.hear(topic, text);
  }

  #wakeAll(): void {
    for (const wake of this.#waitingForLink.splice(0)) wake();
  }

  #checkOpen(): void {
    if (this.#listener === undefined) throw new LayerUnavailable("the Redis backplane is not open");
    if (this.#closing.signal.aborted) throw new LayerUnavailable("the Redis backplane is closed");
  }
}

const PREFIX = /^[A-Za-z0-9._:{}-]{1,60}$/;

function checked(options: RedisBackplaneOptions): { target: RedisTarget; settings: RedisBackplaneSettings } {
  const isOurs = ([name]: [string, unknown]) => Object.hasOwn(redisBackplaneDefaults, name);
  const entries = Object.entries(options);
  const faults = new Faults();
  const target = faults.collect(() =>
    redisTarget(Object.fromEntries(entries.filter((entry) => !isOurs(entry))) as RedisOptions),
  );
  const settings = faults.collect(() =>
    resolveOptions(redisBackplaneDefaults, Object.fromEntries(entries.filter(isOurs)), "redis"),
  );
  if (settings !== undefined && !PREFIX.test(settings.prefix)) {
    faults.list.push("redis.prefix must be 1 to 60 ASCII letters, digits or any of . _ : - { }");
  }
  if (target === undefined || settings === undefined || faults.list.length > 0) {
    throw new ConfigurationError(faults.list);
  }
  return { target, settings };
}

function isTextList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((part) => typeof part === "string");
}
