import type { ApplicationPart, Given, PartContext, PartFinding } from "../index.ts";
import {
  RedisCommands,
  type RedisCommandsSettings,
  type RedisOptions,
  RedisScript,
  readOptions,
} from "../redis/index.ts";
import { REMOVED_MS, type SessionStore } from "./session-store.ts";

/** What was removed is known by an empty text, which no session is. */
const WRITE = new RedisScript(`
  if redis.call('GET', KEYS[1]) == '' then return 0 end
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return 1`);
const SWAP = new RedisScript(`
  if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  return 1`);
const EXTEND = new RedisScript(`
  if redis.call('GET', KEYS[1]) == '' then return 0 end
  return redis.call('PEXPIRE', KEYS[1], ARGV[1])`);

export const redisSessionsDefaults = {
  /** Begins every key. Applications that share a Redis need different ones. */
  prefix: "sluice",
};

/** Where Redis is, and how long {@link RedisSessions} keeps a session. */
export interface RedisSessionsOptions
  extends RedisOptions,
    Given<RedisCommandsSettings>,
    Given<typeof redisSessionsDefaults> {}

/**
 * Sessions in Redis: one server, Sentinel or a cluster. Give it to the application as one of its `parts`,
 * which opens and closes it. With Redis down hooks of clients with sessions are refused with
 * `layer_unavailable`.
 *
 * @example
 * const store = new RedisSessions({ url: process.env.REDIS_URL });
 * const sessions = session({ secret, store });
 * createApplication({ middleware: [sessions], parts: [store], routes });
 */
export class RedisSessions implements SessionStore, ApplicationPart {
  readonly #commands: RedisCommands;
  readonly #prefix: string;

  /** @throws ConfigurationError that lists every fault of the options */
  constructor(options: RedisSessionsOptions = {}) {
    const own = { defaults: redisSessionsDefaults, purpose: "sessions" };
    const { made, settings } = readOptions(options, own, (others, { prefix }) => {
      const rights = { names: `resetkeys ~${prefix}.session.*`, commands: ["get", "set", "pexpire"] };
      return new RedisCommands(others, {}, rights);
    });
    this.#prefix = settings.prefix;
    this.#commands = made;
  }

  /** @throws ConfigurationError when Redis cannot be used, with what to do */
  async open(context?: PartContext): Promise<void> {
    await this.#commands.open(async () => {
      const id = "sluice-rehearsal";
      await this.#run(WRITE, id, "{}", 1_000);
      await this.#run(SWAP, id, "{}", "{}", 1_000);
      await this.#run(EXTEND, id, 1_000);
      await this.read(id);
    });
    // Not with the other parts: the last hooks still save.
    context?.signals.stopped.connect(() => this.#commands.close());
  }

  async check(): Promise<readonly PartFinding[]> {
    return this.#commands.check({ name: "sessions", keeps: true });
  }

  /** As a part it ends with the application; who opened it alone calls {@link end}. */
  async close(): Promise<void> {}

  end(): void {
    this.#commands.close();
  }

  async read(id: string): Promise<string | undefined> {
    const key = this.#key(id);
    const text = await this.#commands.command(key, ["GET", key]);
    return typeof text === "string" && text !== "" ? text : undefined;
  }

  async write(id: string, text: string, ttlMs: number): Promise<void> {
    await this.#run(WRITE, id, text, ttlMs);
  }

  async swap(id: string, expected: string, text: string, ttlMs: number): Promise<boolean> {
    return (await this.#run(SWAP, id, expected, text, ttlMs)) === 1;
  }

  async extend(id: string, ttlMs: number): Promise<void> {
    await this.#run(EXTEND, id, ttlMs);
  }

  async remove(id: string): Promise<boolean> {
    const key = this.#key(id);
    const before = await this.#commands.command(key, ["SET", key, "", "XX", "GET", "PX", String(REMOVED_MS)]);
    return typeof before === "string" && before !== "";
  }

  #run(script: RedisScript, id: string, ...args: (string | number)[]): Promise<unknown> {
    return this.#commands.run(script, [this.#key(id)], args);
  }

  #key(id: string): string {
    return `${this.#prefix}.session.${id}`;
  }
}
