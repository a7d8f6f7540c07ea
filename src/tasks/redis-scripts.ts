/**
 * How jobs lie in Redis: as BullMQ keeps them, moved by BullMQ's own Lua, each with what it leaves open in
 * one script with it, so that both happen or none. Below `{prefix}:tasks`:
 *
 * - `:{queue}:...`, BullMQ's keys. Every job has a priority, and these fields beside BullMQ's: `at` (not
 *   before), `keep` (how long it is kept), `cx` (it is cancelled), `kids` (ids of its children), `policy`
 *   (`run` when some of them failed). `pb` is the worker that has it, `ats` counts its attempts, `failedReason`
 *   is the error of the last.
 * - `:{queue}:~ends`, a sorted set: what has ended -> when it is forgotten
 * - `:{queue}:~checked`, when somebody looked last for workers that died, and 1 if that was late
 * - `#queues`, a set; `#ticks`, a hash: schedule -> `<moment> <job>`; `#workers`, a hash: worker -> `<when> <report>`
 * - `#rate:{name}`, when the next start is free, in microseconds
 *
 * Channels: `#ended:{job}` when one has ended, `#told:{job}` with its progress, or with nothing when it waits for
 * another attempt, `#cancel` with the id of a running one that shall end.
 * All times are milliseconds by Redis' own clock.
 */
import { RedisScript } from "../redis/index.ts";
import { bull, ERASE_FUNCTION, NOW, WAKE_FUNCTION } from "./redis-lua.ts";

/** How many arguments of ADD make a job. */
const ADD_FIELDS = 12;

/**
 * KEYS root; ARGV schedule and moment (or empty), then of each job queue, id, task, body, priority, delay,
 * time, how long to keep it, key, policy, ids of its children as JSON, and the place of its parent, before it,
 * or empty. Returns of each that has no parent its id, or that of another, and whether it was merged; nothing
 * when the moment had its turn.
 */
export const ADD = new RedisScript(`
${bull("addPrioritizedJob", 9)}
${bull("addDelayedJob", 6)}
${bull("addParentJob", 6)}
${NOW}${ERASE_FUNCTION}
local root, schedule, moment = KEYS[1], ARGV[1], ARGV[2]
if schedule ~= '' then
  local last = redis.call('HGET', root .. '#ticks', schedule)
  if last and tonumber(string.match(last, '^%S+')) >= tonumber(moment) then return {} end
end
local jobs, answers = {}, {}
for i = 3, #ARGV, ${ADD_FIELDS} do
  jobs[#jobs + 1] = {queue = root .. ':' .. ARGV[i], name = ARGV[i], id = ARGV[i + 1], task = ARGV[i + 2], body = ARGV[i + 3],
    priority = tonumber(ARGV[i + 4]), delay = tonumber(ARGV[i + 5]), at = ARGV[i + 6], keep = ARGV[i + 7], key = ARGV[i + 8],
    policy = ARGV[i + 9], kids = ARGV[i + 10], parent = tonumber(ARGV[i + 11])}
end
local function put(job, parent)
  local base = job.queue .. ':'
  if redis.call('SADD', root .. '#queues', job.name) == 1 then
    -- Nobody reads BullMQ's stream of events.
    redis.call('HSET', base .. 'meta', 'opts.maxLenEvents', 1)
  end
  local options = {priority = job.priority, attempts = 1}
  local args = {base, job.id, job.task, stamp}
  if parent then
    args[5] = parent.queue .. ':' .. parent.id
    args[6] = args[5] .. ':dependencies'
    args[7] = {id = parent.id, queueKey = parent.queue, idof = true}
  end
  if job.key ~= '' then
    options.de = {id = job.key}
    args[9] = base .. 'de:' .. job.key
  end
  local function keys(names)
    for i, name in ipairs(names) do names[i] = base .. name end
    return names
  end
  local function values()
    return {cmsgpack.pack(args), job.body, cmsgpack.pack(options)}
  end
  if job.kids ~= '' then
    addParentJob(keys({'meta', 'id', 'delayed', 'waiting-children', 'completed', 'events'}), values())
  elseif job.delay > 0 then
    options.delay = job.delay
    addDelayedJob(keys({'marker', 'meta', 'id', 'delayed', 'completed', 'events'}), values())
  else
    addPrioritizedJob(keys({'marker', 'meta', 'id', 'prioritized', 'delayed', 'completed', 'active', 'events', 'pc'}), values())
  end
  redis.call('HSET', base .. job.id, 'keep', job.keep, 'at', job.at)
  if job.policy ~= '' then redis.call('HSET', base .. job.id, 'policy', job.policy) end
  if job.kids ~= '' then redis.call('HSET', base .. job.id, 'kids', job.kids) end
end
local i = 1
while i <= #jobs do
  local job = jobs[i]
  local base, last = job.queue .. ':', i
  while last < #jobs and jobs[last + 1].parent do last = last + 1 end
  local holder = false
  if redis.call('EXISTS', base .. job.id) == 1 and not expired(base, job.id) then
    holder = job.id
  elseif job.key ~= '' then
    holder = redis.call('GET', base .. 'de:' .. job.key)
    if holder and redis.call('EXISTS', base .. holder) == 0 then holder = false end
  end
  if not holder then
    for child = i + 1, last do
      if redis.call('EXISTS', jobs[child].queue .. ':' .. jobs[child].id) == 1 then
        return redis.error_reply('KNOWN ' .. jobs[child].id)
      end
    end
    for each = i, last do put(jobs[each], jobs[each].parent and jobs[jobs[each].parent]) end
  end
  answers[#answers + 1] = holder or job.id
  answers[#answers + 1] = holder and 1 or 0
  i = last + 1
end
if schedule ~= '' then redis.call('HSET', root .. '#ticks', schedule, moment .. ' ' .. answers[1]) end
return answers
`);

/** KEYS base; ARGV id. Returns state and fields, or nothing. */
export const FIND = new RedisScript(`${NOW}
local base, id = KEYS[1], ARGV[1]
local fields = redis.call('HGETALL', base .. id)
if #fields == 0 then return {} end
local ends = redis.call('ZSCORE', base .. '~ends', id)
if ends and tonumber(ends) <= now then return {} end
local function state()
  if redis.call('ZSCORE', base .. 'completed', id) then return 'done' end
  if redis.call('ZSCORE', base .. 'failed', id) then return 'failed' end
  if redis.call('ZSCORE', base .. 'prioritized', id) then return 'waiting' end
  if redis.call('ZSCORE', base .. 'delayed', id) then return 'delayed' end
  if redis.call('ZSCORE', base .. 'waiting-children', id) then return 'blocked' end
  -- Only what goes before all others is in this list.
  if redis.call('LPOS', base .. 'wait', id) then return 'waiting' end
  return 'active'
end
return {state(), fields}
`);

/** KEYS root; ARGV jobs as `queue:id`. Returns those that have ended or are not known. */
export const ENDED = new RedisScript(`
local ended = {}
for _, job in ipairs(ARGV) do
  local found = redis.call('HMGET', KEYS[1] .. ':' .. job, 'name', 'finishedOn')
  if not found[1] or found[2] then ended[#ended + 1] = string.match(job, '[^:]+$') end
end
return ended
`);

/** KEYS base, root; ARGV id. Returns whether there was something to cancel. */
export const CANCEL = new RedisScript(`${WAKE_FUNCTION}
local root = KEYS[2]
local function cancel(base, id)
  local job = base .. id
  if redis.call('HEXISTS', job, 'name') == 0 or redis.call('HEXISTS', job, 'finishedOn') == 1 then return 0 end
  redis.call('HSET', job, 'cx', 1)
  if redis.call('ZREM', base .. 'prioritized', id) + redis.call('ZREM', base .. 'delayed', id) > 0 then
    redis.call('HSET', job, 'delay', 0)
    redis.call('RPUSH', base .. 'wait', id)
    wake(base)
  elseif redis.call('ZSCORE', base .. 'waiting-children', id) then
    for _, child in ipairs(redis.call('SMEMBERS', job .. ':dependencies')) do
      cancel(string.match(child, '^(.*:)([^:]+)$'))
    end
  else
    redis.call('SPUBLISH', root .. '#cancel', id)
  end
  return 1
end
return cancel(KEYS[1], ARGV[1])
`);

/** KEYS base; ARGV id. Returns whether it had failed. */
export const RUN_AGAIN = new RedisScript(`
${bull("reprocessJob", 9)}
${NOW}${ERASE_FUNCTION}
local base, id = KEYS[1], ARGV[1]
local job = base .. id
if not redis.call('ZSCORE', base .. 'failed', id) or expired(base, id) then return 0 end
local known = redis.call('HMGET', job, 'parentKey', 'deid')
local parent, key = known[1], known[2]
if parent then
  local above, parentId = string.match(parent, '^(.*:)([^:]+)$')
  local isOpen = redis.call('ZSCORE', above .. 'waiting-children', parentId) or redis.call('ZSCORE', above .. 'failed', parentId)
  -- Else BullMQ would let the parent wait for it, which has begun.
  if isOpen then parent = false else redis.call('HDEL', job, 'parentKey') end
end
redis.call('HDEL', job, 'stc', 'cx', 'progress', 'pb', 'defa')
redis.call('HSET', job, 'at', 0, 'delay', 0)
redis.call('ZREM', base .. '~ends', id)
reprocessJob({job, base .. 'events', base .. 'failed', base .. 'wait', base .. 'meta', base .. 'active', base .. 'marker',
  base .. 'prioritized', base .. 'pc'}, {id, 'LPUSH', 'failedReason', 'failed', '1', '1'})
if parent then redis.call('HSET', job, 'parentKey', parent) end
if key then redis.call('SET', base .. 'de:' .. key, id, 'NX') end
if redis.call('SCARD', job .. ':dependencies') > 0 then
  redis.call('ZREM', base .. 'prioritized', id)
  redis.call('ZADD', base .. 'waiting-children', stamp, id)
end
return 1
`);

/** KEYS base, root; ARGV id. Returns whether it is gone; its parent does not wait for it any more. */
export const REMOVE = new RedisScript(`
${bull("removeJob", 2)}
${NOW}${ERASE_FUNCTION}
local base, root, id = KEYS[1], KEYS[2], ARGV[1]
local job = base .. id
if redis.call('EXISTS', job) == 0 or expired(base, id) then return 0 end
local function runs(base, id)
  if redis.call('LPOS', base .. 'active', id) then return true end
  for _, child in ipairs(redis.call('SMEMBERS', base .. id .. ':dependencies')) do
    if runs(string.match(child, '^(.*:)([^:]+)$')) then return true end
  end
  return false
end
if runs(base, id) then return 0 end
if removeJob({job, base .. 'repeat'}, {id, '1', base}) ~= 1 then return 0 end
redis.call('ZREM', base .. '~ends', id)
redis.call('SPUBLISH', root .. '#ended:' .. id, 'removed')
return 1
`);

/** KEYS base. Returns how many wait, are delayed, blocked, active, done, failed, and whether it is paused. */
export const COUNTS = new RedisScript(`${NOW}${ERASE_FUNCTION}
local base = KEYS[1]
purge(base, 1000)
return {redis.call('LLEN', base .. 'wait') + redis.call('ZCARD', base .. 'prioritized'), redis.call('ZCARD', base .. 'delayed'),
  redis.call('ZCARD', base .. 'waiting-children'), redis.call('LLEN', base .. 'active'), redis.call('ZCARD', base .. 'completed'),
  redis.call('ZCARD', base .. 'failed'), redis.call('HEXISTS', base .. 'meta', 'paused')}
`);

/** KEYS base; ARGV state, from, limit. Returns ids. */
export const IDS = new RedisScript(`${NOW}${ERASE_FUNCTION}
local base, state, from, limit = KEYS[1], ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
purge(base, 1000)
if limit < 1 then return {} end
local last = from + limit - 1
if state == 'waiting' then
  local ids, count = {}, redis.call('LLEN', base .. 'wait')
  -- Its right end is the front.
  local first = redis.call('LRANGE', base .. 'wait', -1 - last, -1 - from)
  for i = #first, 1, -1 do ids[#ids + 1] = first[i] end
  if last >= count then
    local others = redis.call('ZRANGE', base .. 'prioritized', math.max(from - count, 0), last - count)
    for _, id in ipairs(others) do ids[#ids + 1] = id end
  end
  return ids
end
if state == 'active' then return redis.call('LRANGE', base .. 'active', from, last) end
if state == 'done' then return redis.call('ZRANGE', base .. 'completed', from, last, 'REV') end
if state == 'failed' then return redis.call('ZRANGE', base .. 'failed', from, last, 'REV') end
if state == 'blocked' then return redis.call('ZRANGE', base .. 'waiting-children', from, last) end
return redis.call('ZRANGE', base .. 'delayed', from, last)
`);

/** KEYS base, root; ARGV queue, `paused` or `resumed`. */
export const PAUSE = new RedisScript(`
${bull("pause", 7)}
local base, root = KEYS[1], KEYS[2]
if redis.call('SADD', root .. '#queues', ARGV[1]) == 1 then redis.call('HSET', base .. 'meta', 'opts.maxLenEvents', 1) end
local from, to = 'wait', 'paused'
if ARGV[2] == 'resumed' then from, to = to, from end
return pause({base .. from, base .. to, base .. 'meta', base .. 'prioritized', base .. 'events', base .. 'delayed', base .. 'marker'},
  {ARGV[2], '0'})
`);

/**
 * KEYS rate; ARGV the share of one start and the whole, in microseconds. Returns how many of them to wait.
 * The generic cell rate algorithm.
 */
export const RESERVE = new RedisScript(`
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local free = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now) + ARGV[1]
redis.call('SET', KEYS[1], string.format('%.0f', free), 'PX', math.ceil((free - now) / 1000) + 1)
return math.ceil(math.max(free - ARGV[2] - now, 0))
`);

/** KEYS base, root; ARGV queue. For one that was never more than a rehearsal. */
export const FORGET_QUEUE = new RedisScript(`
redis.call('SREM', KEYS[2] .. '#queues', ARGV[1])
for _, name in ipairs({'meta', 'id', 'pc', 'events', 'marker', 'wait', 'prioritized', 'delayed', '~ends'}) do
  redis.call('DEL', KEYS[1] .. name)
end
return 1
`);

/** KEYS ticks. */
export const TICKS = new RedisScript("return redis.call('HGETALL', KEYS[1])");

/** KEYS workers; ARGV worker, report. */
export const REPORT = new RedisScript(`${NOW}
redis.call('HSET', KEYS[1], ARGV[1], stamp .. ' ' .. ARGV[2])
return 1
`);

/** KEYS workers; ARGV for how long they are seen. Returns of each how long ago it reported, and the report. */
export const WORKERS = new RedisScript(`${NOW}
local fields, seen = redis.call('HGETALL', KEYS[1]), {}
for i = 1, #fields, 2 do
  local at, report = string.match(fields[i + 1], '^(%d+) (.*)$')
  local age = math.max(now - tonumber(at), 0)
  if age > tonumber(ARGV[1]) then
    redis.call('HDEL', KEYS[1], fields[i])
  else
    seen[#seen + 1] = age
    seen[#seen + 1] = report
  end
end
return seen
`);
