/**
 * The log of a group as it lies in Redis, for all whose scripts append to it. The keys of a group share its
 * name as their hash tag, so that in a cluster one script can reach all of them:
 *
 * - `{prefix}:{group}:log`, a stream: entry `<offset>-0` with the fields `i` (id), `a` (at) and `t` (text)
 * - `{prefix}:{group}:meta`, a hash: epoch, offset and id of the last entry; it outlives the stream
 */

export interface GroupKeys {
  readonly meta: string;
  readonly log: string;
}

export function groupKeys(prefix: string, group: string): GroupKeys {
  return { meta: groupKey(prefix, group, "meta"), log: groupKey(prefix, group, "log") };
}

/** A key of that group, which one script can use together with its other keys. */
export function groupKey(prefix: string, group: string, name: string): string {
  return `${prefix}:{${group}}:${name}`;
}

/**
 * Lua: `append(meta, log, epoch, id, text, size, ttlMs, positionTtlMs)` appends and returns
 * `{epoch, offset, id, at}`. The epoch counts only where a log begins. Its first write is one that a full
 * Redis refuses, so all of it happens or nothing.
 */
export const APPEND_FUNCTION = `
local function append(meta, log, epoch, id, text, size, ttl, positionTtl)
  local time = redis.call('TIME')
  local at = time[1] * 1000 + math.floor(time[2] / 1000)
  local living = redis.call('HGET', meta, 'epoch')
  local offset = redis.call('HINCRBY', meta, 'offset', 1)
  if living then epoch = living else redis.call('DEL', log) end
  redis.call('HSET', meta, 'epoch', epoch, 'id', id)
  redis.call('XADD', log, 'MAXLEN', '=', size, string.format('%.0f-0', offset),
    'i', id, 'a', string.format('%.0f', at), 't', text)
  redis.call('PEXPIRE', log, ttl)
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
