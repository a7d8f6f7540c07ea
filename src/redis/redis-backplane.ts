import { randomBytes } from "node:crypto";
import { LayerUnavailable } from "../errors.ts";
import type { Given } from "../options.ts";
import type { BackplaneReadings } from "../readings.ts";
import { Spread } from "../tally.ts";
import type { Backplane, BackplaneListener } from "../types.ts";
import { within } from "../within.ts";
import { Kept, MAX_BACKOFF_MS } from "./kept.ts";
import { Holes } from "./numbering.ts";
import { type Batch, Outgoing } from "./outgoing.ts";
import { readOptions } from "./own-options.ts";
import { isRefusal, type RedisRights, reasonOf, startFault } from "./redis-faults.ts";
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
/** Where Redis is, and how long {@link RedisBackplane} waits for it. */
export interface RedisBackplaneOptions extends RedisOptions, Given<RedisBackplaneSettings> {}

/** Of what travels: nodes take what has the fields they know. */
const WIRE_VERSION = 1;

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
  readonly #roundTrip = new Spread();
  readonly #kept: Kept<RedisLink>;
  #listener: BackplaneListener | undefined;
  #isClosing = false;
  /** After an outage, until what waits goes out. */
  #settling: NodeJS.Timeout | undefined;

  /** @throws ConfigurationError that lists every fault of the options */
  constructor(options: RedisBackplaneOptions = {}) {
    const { made: target, settings } = readOptions(
      options,
      { defaults: redisBackplaneDefaults },
      redisTarget,
    );
    this.#target = target;
    this.#settings = settings;
    this.#outgoing = new Outgoing(settings.limits, {
      dropped: (topic, count) => this.#listener?.dropped(topic, count),
      delivered: (topic, receivers) => {
        if (receivers <= 0) this.#listener?.unheard(topic);
      },
      isRefusal: (error) => {
        if (isRefusal(error)) return true;
        this.#kept.link?.fail((error as Error).message);
        return false;
      },
    });
    this.#kept = new Kept({
      make: (broken) => this.#connect(broken),
      up: (link, downMs) => this.#up(link, downMs),
      down: (reason) => this.#down(reason),
      failed: (error) => this.#listener?.down(reasonOf(error, this.#target, backplaneRights(this.#settings))),
    });
  }

  get prefix(): string {
    return this.#settings.prefix;
  }

  async open(listener: BackplaneListener): Promise<void> {
    if (this.#listener !== undefined) throw new LayerUnavailable("a Redis backplane opens once");
    this.#listener = listener;
    try {
      await this.#kept.open();
    } catch (error) {
      throw startFault(error, this.#target, backplaneRights(this.#settings));
    }
  }

  async subscribe(topic: string): Promise<void> {
    this.#topics.add(topic);
    const { subscribeTimeoutMs } = this.#settings;
    const late = () =>
      new LayerUnavailable(`Redis confirmed no subscription within ${subscribeTimeoutMs} ms`);
    const waiting = new AbortController();
    try {
      await within(subscribeTimeoutMs, this.#confirmed(topic, waiting.signal), late);
    } catch (error) {
      waiting.abort();
      void this.unsubscribe(topic);
      throw error instanceof LayerUnavailable ? error : new LayerUnavailable((error as Error).message);
    }
  }

  async unsubscribe(topic: string): Promise<void> {
    this.#topics.delete(topic);
    this.#holes.forget(topic);
    // A connection that breaks over it has forgotten the topic anyway.
    await this.#kept.link?.hub.unsubscribe(topic).catch(() => {});
  }

  publish(topic: string, text: () => string, left?: (isLost: boolean) => void): void {
    if (this.#isClosing || this.#kept.isClosed) {
      this.#listener?.dropped(topic, 1);
      return left?.(true);
    }
    this.#outgoing.add(topic, text(), left);
  }

  flush(): Promise<void> {
    return this.#outgoing.flush();
  }

  readings(): BackplaneReadings {
    const { size, bytes } = this.#outgoing;
    return Object.freeze({ waitingMessages: size, waitingBytes: bytes, roundTrip: this.#roundTrip.reading });
  }

  async close(): Promise<void> {
    if (this.#isClosing) return;
    this.#isClosing = true;
    const { link } = this.#kept;
    if (link !== undefined) {
      // Nobody else is waited for any more.
      if (this.#settling !== undefined) this.#beginOutgoing(link);
      const { closeTimeoutMs } = this.#settings;
      // What does not leave in time is dropped and told below.
      await within(closeTimeoutMs, this.#outgoing.flush(), () => new Error("late")).catch(() => {});
    }
    this.#kept.close();
    this.#endSettling();
    this.#outgoing.close();
    this.#topics.clear();
  }

  /** A link that breaks meanwhile is followed by one that has the topic from its beginning. */
  async #confirmed(topic: string, signal: AbortSignal): Promise<void> {
    while (this.#topics.has(topic) && !signal.aborted) {
      this.#checkOpen();
      const { link } = this.#kept;
      if (link === undefined) {
        await this.#kept.change(signal);
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
  async #connect(broken: (reason: string) => void): Promise<RedisLink> {
    const hear = (topic: string, data: readonly unknown[]) => this.#hear(topic, data);
    const beat = (ms: number) => this.#roundTrip.note(ms);
    const link = await RedisLink.open(this.#target, this.#settings, { hear, broken, beat });
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

  #up(link: RedisLink, downMs: number | undefined): void {
    if (downMs === undefined) return this.#beginOutgoing(link);
    // The other nodes were cut off as well, perhaps, and come back within the time of one more attempt.
    // What waits waits for them, or it would be published to nobody.
    const settleMs = Math.min(downMs, MAX_BACKOFF_MS, this.#settings.limits.maxWaitingMs / 4);
    this.#settling = setTimeout(() => this.#beginOutgoing(link), settleMs);
    if (this.#topics.size > 0) this.#listener?.lost({});
    for (const topic of link.refused) this.#listener?.lost({ topic });
    this.#listener?.up();
  }

  #down(reason: string): void {
    this.#endSettling();
    this.#outgoing.pause();
    this.#listener?.down(`${describeTarget(this.#target)}: ${reason}`);
  }

  #beginOutgoing(link: RedisLink): void {
    this.#endSettling();
    this.#outgoing.begin((batch) => link.hub.publish(batch.topic, this.#packet(batch)));
  }

  #endSettling(): void {
    clearTimeout(this.#settling);
    this.#settling = undefined;
  }

  #packet({ stream, first, texts }: Batch): readonly unknown[] {
    return [WIRE_VERSION, this.#sender, stream, first, texts];
  }

  #hear(topic: string, [_version, sender, stream, first, texts]: readonly unknown[]): void {
    const listener = this.#listener;
    if (listener === undefined || this.#kept.isClosed) return;
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

  #checkOpen(): void {
    if (this.#listener === undefined) throw new LayerUnavailable("the Redis backplane is not open");
    if (this.#isClosing || this.#kept.isClosed) throw new LayerUnavailable("the Redis backplane is closed");
  }
}

/** @internal */
export function backplaneRights({ prefix }: Pick<RedisBackplaneSettings, "prefix">): RedisRights {
  return {
    names: `&${prefix}#*`,
    commands: ["spublish", "ssubscribe", "sunsubscribe"],
  };
}

function isTextList(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every((part) => typeof part === "string");
}
