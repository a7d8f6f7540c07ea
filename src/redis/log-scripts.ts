/**
 * The log of a group as it lies in Redis, for all whose scripts append to it. The keys of a group share its
 * name as their hash tag, so that in a cluster one script can reach all of them:
 *
 * - `{prefix}:{group}:log`, a stream of messages: entry `<offset>-0` with the fields `i` (id), `a` (at) and
 *   `t` (text)
 * - `{prefix}:{group}:presence`, a stream of who came and left, numbered together with the messages
 * - `{prefix}:{group}:meta`, a hash: epoch, offset and id of the last entry; it outlives the streams
 */

/** The keys of one group in Redis, which live together in a cluster. */
export interface GroupKeys {
  readonly meta: string;
  readonly log: string;
  readonly presence: string;
}

/** Where what a group keeps is in Redis. */
export function groupKeys(prefix: string, group: string): GroupKeys {
  return {
    meta: groupKey(prefix, group, "meta"),
    log: groupKey(prefix, group, "log"),
    presence: groupKey(prefix, group, "presence"),
  };
}

/** A key of that group, which one script can use together with its other keys. */
export function groupKey(prefix: string, group: string, name: string): string {
  return `${prefix}:{${group}}:${name}`;
}

export interface RedisLogsOptions {
  /** How long after an append the position is remembered, at least. */
  readonly positionTtlMs: number;
  /** Where a log ends, as the history sees it. */
  top(group: string): Promise<{ readonly epoch: string; readonly offset: number } | undefined>;
  /** Counts the groups that have a log; never fails. */
  appended(
    group: string,
    offset: number,
    last: { readonly at: number; readonly positionTtlMs: number },
  ): void;
}

/** The logs of a history in Redis, for those who append to the same. */
export class RedisLogs {
  readonly top: RedisLogsOptions["top"];
  readonly #options: RedisLogsOptions;

  constructor(options: RedisLogsOptions) {
    this.#options = options;
    this.top = options.top;
  }

  /** How long after an append the position is remembered, if the entries are kept for `ttlMs`. */
  positionTtlMs(ttlMs: number): number {
    return Math.max(this.#options.positionTtlMs, ttlMs * 10);
  }

  /** To be told of each append: groups that have a log are counted. Never fails, and nobody waits for it. */
  appended(group: string, { offset, at }: { offset: number; at: number }, ttlMs: number): void {
    this.#options.appended(group, offset, { at, positionTtlMs: this.positionTtlMs(ttlMs) });
  }
}

/**
 * Lua: `append(meta, stream, other, epoch, id, text, size, ttlMs, positionTtlMs)` appends to one of the two
 * streams, keeps both for longer, and returns `{epoch, offset, id, at}`. The epoch counts only where a log
 * begins. Its first write is one that a full Redis refuses, so all of it happens or nothing.
 */
export const APPEND_FUNCTION = `
local function append(meta, stream, other, epoch, id, text, size, ttl, positionTtl)
  local time = redis.call('TIME')
  local at = time[1] * 1000 + math.floor(time[2] / 1000)
  local living = redis.call('HGET', meta, 'epoch')
  local offset = redis.call('HINCRBY', meta, 'offset', 1)
  if living then epoch = living else redis.call('DEL', stream, other) end
  redis.call('HSET', meta, 'epoch', epoch, 'id', id)
  redis.call('XADD', stream, 'MAXLEN', '=', size, string.format('%.0f-0', offset),
    'i', id, 'a', string.format('%.0f', at), 't', text)
  redis.call('PEXPIRE', stream, ttl)
  redis.call('PEXPIRE', other, ttl)
  redis.call('PEXPIRE', meta, positionTtl)
  return {epoch, offset, id, at}
end
`;

/** What a user of Redis must be allowed for it. */
export const APPEND_COMMANDS: readonly string[] = [
  "time",
  "hget",
  "hincrby",
  "hset",
  "del",
  "xadd",
  "pexpire",
];
