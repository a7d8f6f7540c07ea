/** Connections beside that of {@link RedisCommands}: one that commands may block, one that listens. */
import { LayerUnavailable } from "../errors.ts";
import { within } from "../within.ts";
import { type Breakable, Kept } from "./kept.ts";
import { connectRedis, type RedisConnection } from "./redis-connection.ts";
import { type RedisOptions, type RedisTarget, redisTarget } from "./redis-options.ts";

/** Silence beyond what a command may take is an outage. */
const GRACE_MS = 3_000;
const CONNECT_TIMEOUT_MS = 5_000;

/**
 * A connection for commands that wait in Redis, one at a time. It is made when it is needed first, and again
 * after it broke.
 */
export class RedisBlocking {
  readonly #target: RedisTarget;
  #connection: RedisConnection | undefined;
  #isClosed = false;

  constructor(options: RedisOptions) {
    this.#target = redisTarget(options);
  }

  /** @param waitMs - how long it may wait in Redis; rejects when Redis says nothing for longer */
  async command(args: string[], waitMs: number): Promise<unknown> {
    const connection = this.#connection ?? (await this.#connect());
    try {
      return await within(waitMs + GRACE_MS, connection.command("", args), () => new Error("no answer"));
    } catch (error) {
      connection.destroy();
      if (this.#connection === connection) this.#connection = undefined;
      throw error;
    }
  }

  /** Whatever waits is rejected. */
  close(): void {
    this.#isClosed = true;
    this.#connection?.destroy();
    this.#connection = undefined;
  }

  async #connect(): Promise<RedisConnection> {
    let made: RedisConnection | undefined;
    made = await connectRedis(this.#target, "commands", CONNECT_TIMEOUT_MS, () => {
      if (this.#connection === made) this.#connection = undefined;
    });
    if (this.#isClosed) {
      made.destroy();
      throw new Error("closed");
    }
    this.#connection = made;
    return made;
  }
}

interface Hearing extends Breakable {
  readonly connection: RedisConnection;
}

/**
 * Listens to sharded channels. When its connection breaks it makes another and subscribes anew; what was
 * said meanwhile is not heard.
 */
export class RedisHearing {
  readonly #target: RedisTarget;
  readonly #kept: Kept<Hearing>;
  readonly #channels = new Map<string, (text: string) => void>();
  /** Subscribing and unsubscribing take turns, channel by channel. */
  readonly #turns = new Map<string, Promise<unknown>>();

  /** @param again - it listens again, to all channels, after it did not */
  constructor(options: RedisOptions, again: () => void) {
    this.#target = redisTarget(options);
    this.#kept = new Kept<Hearing>({
      make: (broken) => this.#make(broken),
      up: (_link, downMs) => {
        if (downMs !== undefined) again();
      },
      down() {},
    });
  }

  /** @throws what the `redis` package says */
  open(): Promise<void> {
    return this.#kept.open();
  }

  /**
   * Resolved: whatever is published from now on is heard, while the connection lasts.
   *
   * @throws LayerUnavailable
   */
  subscribe(channel: string, hear: (text: string) => void): Promise<void> {
    this.#channels.set(channel, hear);
    return this.#inTurn(channel, async () => {
      const { link } = this.#kept;
      if (link === undefined) throw new LayerUnavailable("Redis cannot be reached");
      try {
        if (this.#channels.has(channel)) await this.#listen(link.connection, channel);
      } catch (error) {
        throw new LayerUnavailable(`Redis cannot be reached: ${(error as Error).message}`, { cause: error });
      }
    });
  }

  async unsubscribe(channel: string): Promise<void> {
    this.#channels.delete(channel);
    await this.#inTurn(channel, async () => {
      if (!this.#channels.has(channel)) await this.#kept.link?.connection.sUnsubscribe(channel);
    }).catch(() => {});
  }

  close(): void {
    this.#channels.clear();
    this.#kept.close();
  }

  async #make(broken: (reason: string) => void): Promise<Hearing> {
    const connection = await connectRedis(this.#target, "commands", CONNECT_TIMEOUT_MS, broken);
    try {
      const all = [...this.#channels.keys()].map((channel) => this.#listen(connection, channel));
      await within(CONNECT_TIMEOUT_MS, Promise.all(all), () => new Error("no answer"));
    } catch (error) {
      connection.destroy();
      throw error;
    }
    return { connection, close: () => connection.destroy() };
  }

  #listen(connection: RedisConnection, channel: string): Promise<unknown> {
    return connection.sSubscribe(channel, (message) => this.#channels.get(channel)?.(message.toString()));
  }

  async #inTurn(channel: string, work: () => Promise<void>): Promise<void> {
    const turn = (this.#turns.get(channel) ?? Promise.resolve()).then(work, work);
    this.#turns.set(channel, turn);
    try {
      await turn;
    } finally {
      if (this.#turns.get(channel) === turn) this.#turns.delete(channel);
    }
  }
}
