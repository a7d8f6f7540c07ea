import { createHash } from "node:crypto";
import { ConfigurationError, Faults, LayerUnavailable } from "../errors.ts";
import { type Given, resolveOptions } from "../options.ts";
import { within } from "../within.ts";
import { Kept } from "./kept.ts";
import { checkTarget, type RedisFinding, type RedisUse } from "./redis-check.ts";
import { connectRedis, type RedisConnection } from "./redis-connection.ts";
import { isRefusal, isUnable, type RedisRights, reasonOf, startFault } from "./redis-faults.ts";
import { describeTarget, type RedisOptions, type RedisTarget, redisTarget } from "./redis-options.ts";

export const redisCommandsDefaults = {
  /** How long a connection may take to be made. */
  connectTimeoutMs: 5_000,
  /** How long Redis may take for one command; then it counts as gone. */
  commandTimeoutMs: 2_000,
  /** How often Redis is asked whether it is there, when nothing else is asked. */
  heartbeatMs: 1_000,
  /** Commands that may wait for an answer at once. */
  maxUnderWay: 10_000,
};

/** What whoever uses {@link RedisCommands} needs beside its own. @internal */
export const COMMON_COMMANDS: readonly string[] = ["ping", "evalsha", "eval"];

/** Settings of {@link RedisCommands}, with nothing left out. */
export type RedisCommandsSettings = typeof redisCommandsDefaults;

/** A Lua script, sent once to each server and known by its hash from then on. */
export class RedisScript {
  readonly text: string;
  readonly hash: string;

  constructor(text: string) {
    this.text = text;
    this.hash = createHash("sha1").update(text).digest("hex");
  }
}

/** Hears whether Redis can be reached. */
export interface CommandsListener {
  /** Redis cannot be reached; commands reject until `up`. Told again when the reason changes. */
  down?(reason: string): void;
  /** After `down`: it may be another server, or an empty one. */
  up?(downMs: number): void;
}

/**
 * Commands and scripts for whatever keeps its state in Redis: one connection that is made anew when it
 * breaks. Nothing waits for Redis to return: a command without a connection is refused at once.
 */
export class RedisCommands {
  readonly #target: RedisTarget;
  readonly #settings: RedisCommandsSettings;
  readonly #listener: CommandsListener;
  readonly #rights: RedisRights;
  readonly #kept: Kept<CommandLink>;
  #underWay = 0;

  /**
   * @param rights - what is needed beside scripts, for the fault that tells an ACL user lacks some
   * @throws ConfigurationError that lists every fault of the options
   */
  constructor(
    options: RedisOptions & Given<RedisCommandsSettings>,
    listener: CommandsListener = {},
    { names, commands, inCluster = [] }: RedisRights = { names: "", commands: [] },
  ) {
    const isOurs = ([name]: [string, unknown]) => Object.hasOwn(redisCommandsDefaults, name);
    const entries = Object.entries(options);
    const faults = new Faults();
    const target = faults.collect(() =>
      redisTarget(Object.fromEntries(entries.filter((entry) => !isOurs(entry)))),
    );
    const settings = faults.collect(() =>
      resolveOptions(redisCommandsDefaults, Object.fromEntries(entries.filter(isOurs)), "redis"),
    );
    if (target === undefined || settings === undefined) throw new ConfigurationError(faults.list);
    this.#target = target;
    this.#settings = settings;
    this.#listener = listener;
    this.#rights = { names, commands: [...COMMON_COMMANDS, ...commands], inCluster };
    this.#kept = new Kept({
      make: (broken) => CommandLink.open(this.#target, this.#settings, broken),
      up: (_link, downMs) => {
        if (downMs !== undefined) this.#listener.up?.(downMs);
      },
      down: (reason) => this.#listener.down?.(`${describeTarget(this.#target)}: ${reason}`),
      failed: (error) => this.#listener.down?.(reasonOf(error, this.#target, this.#rights)),
    });
  }

  /**
   * @param rehearse - does what will be done later, so that what does not work is told now
   * @throws ConfigurationError when Redis cannot be used, with what to do
   */
  async open(rehearse: () => Promise<void> = async () => {}): Promise<void> {
    try {
      await this.#kept.open();
    } catch (error) {
      throw startFault(error, this.#target, this.#rights);
    }
    await this.rehearse(rehearse);
  }

  /**
   * More of what {@link open} does, for who looks at Redis first.
   *
   * @throws ConfigurationError when Redis cannot be used, with what to do
   */
  async rehearse(rehearsal: () => Promise<void>): Promise<void> {
    try {
      await rehearsal();
    } catch (error) {
      this.close();
      throw startFault(error, this.#target, this.#rights);
    }
  }

  /** Whether Redis would let us do it, told without opening anything that stays. */
  check(use: Omit<RedisUse, "rights">, commands = this.#rights.commands): Promise<readonly RedisFinding[]> {
    const rights = { ...this.#rights, commands };
    return checkTarget(this.#target, [{ ...use, rights }], this.#settings.connectTimeoutMs);
  }

  get isUp(): boolean {
    return this.#kept.link !== undefined;
  }

  close(): void {
    this.#kept.close();
  }

  /**
   * Runs a script; all keys must live in one slot of a cluster, so they share a hash tag.
   *
   * @returns what it returns; numbers, text and lists of them
   * @throws LayerUnavailable if Redis cannot be reached or did not answer in time (it may have run it all
   * the same) or can do nothing now, full for example; whatever else Redis refuses is a bug and thrown as it is
   */
  async run(
    script: RedisScript,
    keys: readonly string[],
    args: readonly (string | number)[],
  ): Promise<unknown> {
    const [key = ""] = keys;
    const rest = [String(keys.length), ...keys, ...args.map(String)];
    const whole = () => this.command(key, ["EVAL", script.text, ...rest]);
    const { link } = this.#kept;
    const part = this.#target.at.kind === "cluster" ? tagOf(key) : "";
    if (link !== undefined && !link.knows(script, part)) {
      const answer = await whole();
      link.learn(script, part);
      return answer;
    }
    try {
      return await this.command(key, ["EVALSHA", script.hash, ...rest]);
    } catch (error) {
      // Forgotten (SCRIPT FLUSH), or in a cluster its part has moved.
      if (!(error instanceof Error && error.message.startsWith("NOSCRIPT"))) throw error;
      return whole();
    }
  }

  /** One command. `key` says which part of a cluster it goes to. Throws as {@link run} does. */
  async command(key: string, args: string[]): Promise<unknown> {
    const { link } = this.#kept;
    if (link === undefined) throw new LayerUnavailable("Redis cannot be reached");
    if (this.#underWay >= this.#settings.maxUnderWay) {
      throw new LayerUnavailable(`${this.#settings.maxUnderWay} commands wait for Redis already`);
    }
    this.#underWay += 1;
    try {
      return await link.command(key, args);
    } catch (error) {
      const { message } = error as Error;
      if (isUnable(error)) throw new LayerUnavailable(`Redis cannot do it now: ${message}`, { cause: error });
      if (isRefusal(error)) throw error;
      throw new LayerUnavailable(`Redis cannot be reached: ${message}`, { cause: error });
    } finally {
      this.#underWay -= 1;
    }
  }
}

/** Scripts and the parts of a cluster they ran in, that a connection remembers. */
const MAX_KNOWN = 10_000;

/** What decides where in a cluster a key lives: its hash tag, or all of it. */
function tagOf(key: string): string {
  return /\{([^}]+)\}/.exec(key)?.[1] ?? key;
}

/** One life of the connection; a command that is not answered in time ends it. */
class CommandLink {
  readonly #connection: RedisConnection;
  readonly #timeoutMs: number;
  readonly #broken: (reason: string) => void;
  readonly #heartbeat: NodeJS.Timeout;
  readonly #known = new Set<string>();
  #isOver = false;

  private constructor(
    connection: RedisConnection,
    { commandTimeoutMs, heartbeatMs }: RedisCommandsSettings,
    broken: (reason: string) => void,
  ) {
    this.#connection = connection;
    this.#timeoutMs = commandTimeoutMs;
    this.#broken = broken;
    this.#heartbeat = setInterval(() => void this.command("", ["PING"]).catch(() => {}), heartbeatMs);
  }

  static async open(
    target: RedisTarget,
    settings: RedisCommandsSettings,
    broken: (reason: string) => void,
  ): Promise<CommandLink> {
    let link: CommandLink | undefined;
    const connection = await connectRedis(target, "commands", settings.connectTimeoutMs, (reason) =>
      link?.fail(reason),
    );
    try {
      await within(settings.connectTimeoutMs, connection.command("", ["PING"]), () => new Error("no answer"));
    } catch (error) {
      connection.destroy();
      throw error;
    }
    link = new CommandLink(connection, settings, broken);
    return link;
  }

  async command(key: string, args: string[]): Promise<unknown> {
    const late = () => new Error(`no answer within ${this.#timeoutMs} ms`);
    try {
      return await within(this.#timeoutMs, this.#connection.command(key, args), late);
    } catch (error) {
      if (!isRefusal(error)) this.fail((error as Error).message);
      throw error;
    }
  }

  /**
   * Whether it ran there already, so that Redis knows it by its hash. Until then it goes whole: one that is
   * refused and sent again would be overtaken by those sent meanwhile.
   */
  knows(script: RedisScript, part: string): boolean {
    return this.#known.has(`${script.hash} ${part}`);
  }

  learn(script: RedisScript, part: string): void {
    if (this.#known.size >= MAX_KNOWN) this.#known.clear();
    this.#known.add(`${script.hash} ${part}`);
  }

  fail(reason: string): void {
    if (this.#isOver) return;
    this.close();
    this.#broken(reason);
  }

  close(): void {
    this.#isOver = true;
    clearInterval(this.#heartbeat);
    this.#connection.destroy();
  }
}
