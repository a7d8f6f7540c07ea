/** BullMQ's Lua, and pieces of ours that several scripts share. Where things lie is told in `redis-scripts.ts`. */
import { createRequire } from "node:module";

interface BullScript {
  readonly content: string;
  /** How many it takes. */
  readonly keys: number;
}

/** Without the rest of BullMQ, which takes eight times as long to load. */
const scripts: Readonly<Record<string, BullScript | undefined>> = createRequire(import.meta.url)(
  "bullmq/dist/cjs/scripts/index.js",
);

/** A script of BullMQ as a function of its KEYS and ARGV. */
export function bull(name: string, keys: number): string {
  const script = scripts[name];
  if (script?.keys !== keys) {
    throw new Error(`this bullmq has another script "${name}" than that of 6.7, which is what is needed`);
  }
  return `local function ${name}(KEYS, ARGV)\n${script.content}\nend\n`;
}

/** `now`, and `stamp`, the same as text. */
export const NOW = `
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local stamp = string.format('%.0f', now)
`;

/** `wake(base)`: a worker that waits for jobs of the queue looks for one. */
export const WAKE_FUNCTION = `
local function wake(base)
  if redis.call('HEXISTS', base .. 'meta', 'paused') == 0 then redis.call('ZADD', base .. 'marker', 0, '0') end
end
`;

/** `erase(base, id)`; `expired(base, id)` and `purge(base, limit)` erase what is past its time. */
export const ERASE_FUNCTION = `
local function erase(base, id)
  local job = base .. id
  for _, set in ipairs({'completed', 'failed', '~ends'}) do redis.call('ZREM', base .. set, id) end
  redis.call('DEL', job, job .. ':logs', job .. ':dependencies', job .. ':processed', job .. ':failed',
    job .. ':unsuccessful')
end
local function expired(base, id)
  local ends = redis.call('ZSCORE', base .. '~ends', id)
  if not ends or tonumber(ends) > now then return false end
  erase(base, id)
  return true
end
local function purge(base, limit)
  local ids = redis.call('ZRANGEBYSCORE', base .. '~ends', '-inf', stamp, 'LIMIT', 0, limit)
  for _, id in ipairs(ids) do erase(base, id) end
  return #ids
end
`;

/** `hold(base, id, token, lockMs)`: whether the job is this worker's; a lock that ran out unseen is renewed. */
export const HOLD_FUNCTION = `
local function hold(base, id, token, lockMs)
  local job = base .. id
  local holder = redis.call('GET', job .. ':lock')
  if holder then return holder == token end
  if redis.call('HGET', job, 'pb') ~= token or not redis.call('LPOS', base .. 'active', id) then return false end
  redis.call('SET', job .. ':lock', token, 'PX', lockMs)
  return true
end
`;

/** `taken(answer)`: what BullMQ took next, as `{id, fields, 0}`, or `{'', {}, when to look again or -1}`. */
export const TAKEN_FUNCTION = `
local function taken(answer)
  if type(answer) ~= 'table' then return {'', {}, -1} end
  if type(answer[1]) == 'table' then return {answer[2], answer[1], 0} end
  local due = tonumber(answer[4]) or 0
  if due <= 0 then return {'', {}, -1} end
  return {'', {}, math.max(math.floor(due) - now, 0)}
end
local function optionsOf(token, lockMs)
  return {token = token, name = token, lockDuration = tonumber(lockMs), attempts = 1, maxMetricsSize = '',
    keepJobs = {count = -1}}
end
`;
