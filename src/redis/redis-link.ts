import { randomBytes } from "node:crypto";
import { within } from "../within.ts";
import { connectRedis, type RedisConnection } from "./redis-connection.ts";
import { isRefusal, NO_ANSWER } from "./redis-faults.ts";
import { RedisHub } from "./redis-hub.ts";
import type { RedisTarget } from "./redis-options.ts";

export interface LinkSettings {
  readonly prefix: string;
  readonly connectTimeoutMs: number;
  readonly heartbeatMs: number;
}

export interface LinkHost {
  hear(topic: string, data: readonly unknown[]): void;
  /** It is of no use any more: close it. Called at most once, and not before it is open. */
  broken(reason: string): void;
  /** A heartbeat came back, after so long. */
  beat(ms: number): void;
}

/** Intervals without an answer that make an outage. */
const MAX_MISSED = 3;

/**
 * One life of the hub: a connection to Redis, the adapter on it, and a heartbeat that goes the way of every
 * message: published to a channel of its own and heard there again. A server that is frozen, or a network
 * that swallows packets, breaks no connection; the heartbeat does.
 */
export class RedisLink {
  readonly hub: RedisHub;
  /** Topics that Redis does not let us hear. */
  readonly refused = new Set<string>();
  readonly #connection: RedisConnection;
  readonly #host: LinkHost;
  readonly #heartbeatName: string;
  #heartbeatChannels: readonly string[] = [];
  #heartbeat: NodeJS.Timeout | undefined;
  #missed = 0;
  /** Channels on which the present beat has not come back yet. */
  readonly #silent = new Set<string>();
  #beatAt = 0;
  #isOpen = false;
  #failure: Error | undefined;

  private constructor(connection: RedisConnection, { prefix }: LinkSettings, host: LinkHost) {
    this.#connection = connection;
    this.#host = host;
    this.#heartbeatName = `${prefix}#heartbeat#${randomBytes(9).toString("base64url")}#`;
    this.hub = new RedisHub(connection, prefix, host.hear);
  }

  /** @throws what the `redis` package throws */
  static async open(target: RedisTarget, settings: LinkSettings, host: LinkHost): Promise<RedisLink> {
    let link: RedisLink | undefined;
    const broken = (reason: string) => link?.fail(reason);
    const connection = await connectRedis(target, "hub", settings.connectTimeoutMs, broken);
    link = new RedisLink(connection, settings, host);
    try {
      await within(settings.connectTimeoutMs, link.#begin(), () => new Error(NO_ANSWER));
      link.#check();
    } catch (error) {
      link.close();
      throw error;
    }
    link.#live(settings.heartbeatMs);
    return link;
  }

  /**
   * Opens what is in `topics` and not open here, and closes what is open and not in it.
   *
   * @returns whether there was anything to do
   */
  async follow(topics: ReadonlySet<string>): Promise<boolean> {
    this.#check();
    const missing = [...topics].filter((topic) => !this.hub.topics.has(topic) && !this.refused.has(topic));
    const surplus = [...this.hub.topics.keys()].filter((topic) => !topics.has(topic));
    await Promise.all([
      ...missing.map((topic) => this.#open(topic)),
      ...surplus.map((topic) => this.hub.unsubscribe(topic)),
    ]);
    this.#check();
    return missing.length + surplus.length > 0;
  }

  /** One topic that may not be opened must not keep the others closed. */
  async #open(topic: string): Promise<void> {
    try {
      await this.hub.subscribe(topic);
    } catch (error) {
      if (!isRefusal(error)) throw error;
      this.refused.add(topic);
    }
  }

  /** At once; nothing is heard any more. Idempotent. */
  close(): void {
    clearInterval(this.#heartbeat);
    this.#failure ??= new Error("the connection was closed");
    this.#connection.destroy();
  }

  async #begin(): Promise<void> {
    this.#heartbeatChannels = await this.#connection.heartbeatChannels(this.#heartbeatName);
    await Promise.all(
      this.#heartbeatChannels.map((channel) =>
        this.#connection.sSubscribe(channel, () => this.#heard(channel)),
      ),
    );
    await this.hub.ready();
  }

  /** Something shows that it is of no use any more. */
  fail(reason: string): void {
    if (this.#failure !== undefined) return;
    this.#failure = new Error(reason);
    // What waits for an answer on it need not wait longer.
    this.#connection.destroy();
    if (this.#isOpen) this.#host.broken(reason);
  }

  #live(heartbeatMs: number): void {
    this.#isOpen = true;
    this.#heartbeat = setInterval(() => this.#beat(), heartbeatMs);
  }

  #heard(channel: string): void {
    if (this.#silent.delete(channel)) this.#host.beat(performance.now() - this.#beatAt);
  }

  #beat(): void {
    if (this.#silent.size > 0) {
      this.#missed += 1;
      if (this.#missed >= MAX_MISSED) this.fail("it does not answer");
      return;
    }
    this.#missed = 0;
    this.#beatAt = performance.now();
    for (const channel of this.#heartbeatChannels) {
      this.#silent.add(channel);
      this.#connection.sPublish(channel, "").catch((error: Error) => this.fail(error.message));
    }
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure;
  }
}
