import { createHash, randomBytes } from "node:crypto";
import type { Appended, AppendOptions, Given, HistoryStore, LogEntry, LogSlice, Position } from "../index.ts";
import {
  APPEND_COMMANDS,
  APPEND_FUNCTION,
  groupKey,
  groupKeys,
  RedisCommands,
  type RedisCommandsSettings,
  RedisLogs,
  type RedisOptions,
  type RedisRights,
  RedisScript,
  readOptions,
} from "../redis/index.ts";
import {
  type LogKeys,
  LogRegister,
  REGISTER_COMMANDS,
  type RegisterKeys,
  registerKeys,
} from "./redis-log-register.ts";

export const redisHistoryDefaults = {
  /** Begins every key. Applications that share a Redis need different ones. */
  prefix: "sluice",
  /**
   * Groups with a log, on all nodes; beyond that the one appended to longest ago is forgotten, position and
   * all. The same for all nodes.
   */
  maxGroups: 100_000,
  /**
   * How long after the last append to a group its position is remembered; ten times the group's `ttlMs`
   * where that is longer.
   */
  positionTtlMs: 604_800_000,
  /** How long an idempotency key is remembered. */
  idempotencyTtlMs: 600_000,
};

export type RedisHistorySettings = typeof redisHistoryDefaults;
/** Where Redis is, and what {@link RedisHistory} keeps there. */
export interface RedisHistoryOptions
  extends RedisOptions,
    Given<RedisCommandsSettings>,
    Given<RedisHistorySettings> {}

const APPEND = new RedisScript(`${APPEND_FUNCTION}
if KEYS[4] then
  local known = redis.call('HMGET', KEYS[4], 'epoch', 'offset', 'id', 'at')
  -- Keys belong to a log: of one that is lost, nothing was appended.
  if known[1] and known[1] == redis.call('HGET', KEYS[1], 'epoch') then
    return {known[1], tonumber(known[2]), known[3], tonumber(known[4]), 1}
  end
end
local appended = append(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6])
if KEYS[4] then
  redis.call('HSET', KEYS[4], 'epoch', appended[1], 'offset', string.format('%.0f', appended[2]),
    'id', appended[3], 'at', string.format('%.0f', appended[4]))
  redis.call('PEXPIRE', KEYS[4], ARGV[7])
end
appended[5] = 0
return appended
`);

/** KEYS meta, streams; ARGV command, first, last, limit. Returns the top, and what each stream has. */
const READ = new RedisScript(`
local answer = {redis.call('HMGET', KEYS[1], 'epoch', 'offset', 'id')}
for i = 2, #KEYS do
  if not answer[1][1] or ARGV[4] == '0' then answer[i] = {}
  else answer[i] = redis.call(ARGV[1], KEYS[i], ARGV[2], ARGV[3], 'COUNT', ARGV[4]) end
end
return answer
`);

const COMMANDS = [...new Set([...APPEND_COMMANDS, "hmget", "xrange", "xrevrange", ...REGISTER_COMMANDS])];

/** Beside those that all commands need. @internal */
export function historyRights(prefix: string): RedisRights {
  return { names: `resetkeys ~${prefix}:*`, commands: COMMANDS };
}

/** Long enough to be read again: of a log that is gone, a script reads no entries. */
const REHEARSAL_TTL_MS = 1_000;

/** Groups that are asked for at once. */
const SLICE = 500;

/**
 * Keeps the history of groups in Redis 7 or Valkey: one server, Sentinel or a cluster. A script appends and
 * numbers in one step, by Redis' own clock.
 *
 * What Redis loses is lost: emptied, it begins new logs with new epochs; failed over to a replica that
 * lags, the last offsets are handed out again with other ids. Both can be told from a position.
 *
 * @example
 * new RedisHistory({ url: "redis://127.0.0.1:6379", prefix: "shop" });
 */
export class RedisHistory implements HistoryStore {
  readonly isShared = true;
  readonly logs: RedisLogs;
  readonly #settings: RedisHistorySettings;
  readonly #commands: RedisCommands;
  readonly #register: LogRegister;

  /** @throws ConfigurationError that lists every fault of the options */
  constructor(options: RedisHistoryOptions = {}) {
    const own = { defaults: redisHistoryDefaults, purpose: "a history" };
    const { made, settings } = readOptions(options, own, (others, { prefix }) => {
      return new RedisCommands(others, {}, historyRights(prefix));
    });
    this.#settings = settings;
    this.#commands = made;
    this.#register = this.#registerAt(registerKeys(settings.prefix), settings.maxGroups);
    this.logs = new RedisLogs({
      positionTtlMs: settings.positionTtlMs,
      top: (group) => this.#top(group),
      appended: (group, offset, last) => this.#register.appended(group, offset, last),
    });
  }

  get prefix(): string {
    return this.#settings.prefix;
  }

  /** @throws ConfigurationError when Redis cannot be used, with what to do */
  open(): Promise<void> {
    return this.#commands.open(() => this.#rehearse());
  }

  async append(group: string, text: string, options: AppendOptions): Promise<Appended> {
    const ttls = {
      entries: options.ttlMs,
      position: this.logs.positionTtlMs(options.ttlMs),
      key: this.#settings.idempotencyTtlMs,
    };
    const appended = await this.#append(group, text, options, ttls);
    if (!appended.isKnown) this.logs.appended(group, appended, options.ttlMs);
    return appended;
  }

  async read(group: string, from: number, limit: number): Promise<LogSlice> {
    const { log, presence } = this.#keys(group);
    return this.#read(group, [log, presence], "XRANGE", `${wholeNumber(from)}-0`, "+", limit);
  }

  async readBefore(group: string, before: number | undefined, limit: number): Promise<LogSlice> {
    // Of Redis 6.2: the parenthesis leaves the border itself out.
    const end = before === undefined ? "+" : `(${Math.max(wholeNumber(before), 1)}-0`;
    return this.#read(group, [this.#keys(group).log], "XREVRANGE", end, "-", limit);
  }

  async tops(groups: readonly string[]): Promise<readonly (Position | undefined)[]> {
    const tops: (Position | undefined)[] = [];
    for (let i = 0; i < groups.length; i += SLICE) {
      tops.push(...(await Promise.all(groups.slice(i, i + SLICE).map((group) => this.#top(group)))));
    }
    return tops;
  }

  async close(): Promise<void> {
    await this.#register.close();
    this.#commands.close();
  }

  async #append(
    group: string,
    text: string,
    { size, idempotencyKey }: AppendOptions,
    ttls: { readonly entries: number; readonly position: number; readonly key: number },
  ): Promise<Appended> {
    const { meta, log, presence } = this.#keys(group);
    const keys = [meta, log, presence];
    if (idempotencyKey !== undefined) {
      keys.push(groupKey(this.#settings.prefix, group, `key:${hashed(idempotencyKey)}`));
    }
    const [epoch, id] = [randomText(), randomText()];
    const { entries, position, key } = ttls;
    const answer = await this.#commands.run(APPEND, keys, [epoch, id, text, size, entries, position, key]);
    return appendedOf(group, answer);
  }

  async #read(
    group: string,
    streams: readonly string[],
    command: "XRANGE" | "XREVRANGE",
    first: string,
    last: string,
    limit: number,
  ): Promise<LogSlice> {
    const { meta } = this.#keys(group);
    const most = wholeNumber(limit);
    const answer = await this.#commands.run(READ, [meta, ...streams], [command, first, last, most]);
    const { top, entries } = sliceOf(group, answer);
    return { top, entries: command === "XRANGE" ? entries.slice(0, most) : entries };
  }

  async #top(group: string): Promise<Position | undefined> {
    const { meta } = this.#keys(group);
    return topOf(group, await this.#commands.command(meta, ["HMGET", meta, "epoch", "offset", "id"]));
  }

  #keys(group: string) {
    return groupKeys(this.#settings.prefix, group);
  }

  /** All that will be done, once, to the log of a group of its own: so rights that lack are told now. */
  async #rehearse(): Promise<void> {
    const group = `sluice.rehearsal.${randomText()}`;
    const options = { size: 1, ttlMs: REHEARSAL_TTL_MS, idempotencyKey: "rehearsal" };
    const { at } = await this.#append(group, "", options, {
      entries: REHEARSAL_TTL_MS,
      position: REHEARSAL_TTL_MS,
      key: REHEARSAL_TTL_MS,
    });
    await this.read(group, 0, 1);
    await this.readBefore(group, undefined, 1);
    await this.#top(group);
    await this.#register.look();
    await this.#registerAt(registerKeys(this.#settings.prefix, group), 0).enrol(group, {
      at,
      positionTtlMs: REHEARSAL_TTL_MS,
    });
  }

  #registerAt(keys: RegisterKeys, maxGroups: number): LogRegister {
    const logOf = (group: string): LogKeys => {
      const { meta, log, presence } = this.#keys(group);
      return [meta, log, presence];
    };
    return new LogRegister(this.#commands, keys, logOf, maxGroups);
  }
}

/** Braces would make another hash tag. */

function appendedOf(group: string, answer: unknown): Appended {
  const [epoch, offset, id, at, isKnown] = isList(answer) ? answer : [];
  if (isText(epoch) && isOffset(offset) && isText(id) && typeof at === "number") {
    return { epoch, offset, id, at, isKnown: isKnown === 1 };
  }
  throw strange(group, "what was appended");
}

function topOf(group: string, answer: unknown): Position | undefined {
  const [epoch, offset, id] = isList(answer) ? answer : [];
  if (epoch === null && offset === null && id === null) return undefined;
  const number = Number(offset);
  if (isText(epoch) && isOffset(number) && isText(id)) return { epoch, offset: number, id };
  throw strange(group, "the position");
}

function sliceOf(group: string, answer: unknown): LogSlice {
  const [top, ...found] = isList(answer) ? answer : [];
  if (found.length === 0 || !found.every(isList)) throw strange(group, "the log");
  const entries = found.flat().map((entry) => entryOf(group, entry));
  entries.sort((a, b) => a.offset - b.offset);
  const end = topOf(group, top);
  if ((entries.at(-1)?.offset ?? 0) > (end?.offset ?? 0)) throw strange(group, "the log, which ended before");
  return { top: end, entries };
}

function entryOf(group: string, found: unknown): LogEntry {
  const [name, fields] = isList(found) ? found : [];
  const [i, id, a, at, t, text] = isList(fields) ? fields : [];
  const [, digits] = isText(name) ? (/^(\d+)-0$/.exec(name) ?? []) : [];
  const entry = { offset: Number(digits), id, at: Number(at), text };
  const hasFields = i === "i" && a === "a" && t === "t";
  if (hasFields && isOffset(entry.offset) && isText(id) && Number.isFinite(entry.at) && isText(text)) {
    return { ...entry, id, text };
  }
  throw strange(group, "an entry of the log");
}

function strange(group: string, what: string): Error {
  return new Error(
    `Redis holds something else than ${what} of the group "${group}"; does another program write below this prefix?`,
  );
}

function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function isOffset(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value > 0;
}

function randomText(): string {
  return randomBytes(9).toString("base64url");
}

/** Keys may be any text; 128 bits are enough to tell them apart. */
function hashed(key: string): string {
  return createHash("sha256").update(key).digest("base64url").slice(0, 22);
}

/** At least 0, and no more than can be counted, whatever is given. */
function wholeNumber(value: number): number {
  return value > 0 ? Math.min(Math.trunc(value), Number.MAX_SAFE_INTEGER) : 0;
}
