/** What workers do in Redis. Where things lie is told in `redis-scripts.ts`. */
import { RedisScript } from "../redis/index.ts";
import { bull, ERASE_FUNCTION, HOLD_FUNCTION, NOW, TAKEN_FUNCTION, WAKE_FUNCTION } from "./redis-lua.ts";

/** KEYS base; ARGV token, lock. Returns what was taken. */
export const FETCH = new RedisScript(`
${bull("moveToActive", 11)}
${NOW}${TAKEN_FUNCTION}
local base = KEYS[1]
return taken(moveToActive({base .. 'wait', base .. 'active', base .. 'prioritized', base .. 'events', base .. 'stalled',
  base .. 'limiter', base .. 'delayed', base .. 'paused', base .. 'meta', base .. 'pc', base .. 'marker'},
  {base, stamp, cmsgpack.pack(optionsOf(ARGV[1], ARGV[2]))}))
`);

/**
 * KEYS base, root; ARGV token, lock, whether to take another, id, `completed` or `failed`, result or error.
 * Returns what was taken.
 */
export const FINISH = new RedisScript(`
${bull("moveToFinished", 14)}
${NOW}${HOLD_FUNCTION}${TAKEN_FUNCTION}
local base, root, token, lockMs, more, id, target = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local job = base .. id
hold(base, id, token, lockMs)
local keep = redis.call('HGET', job, 'keep')
local answer = moveToFinished({base .. 'wait', base .. 'active', base .. 'prioritized', base .. 'events', base .. 'stalled',
  base .. 'limiter', base .. 'delayed', base .. 'paused', base .. 'meta', base .. 'pc', base .. target, job,
  base .. 'metrics:' .. target, base .. 'marker'},
  {id, stamp, target == 'completed' and 'returnvalue' or 'failedReason', ARGV[6], target, more, base,
   cmsgpack.pack(optionsOf(token, lockMs)), ''})
if type(answer) == 'table' or answer == 0 then
  redis.call('ZADD', base .. '~ends', string.format('%.0f', now + tonumber(keep or 0)), id)
  redis.call('SPUBLISH', root .. '#ended:' .. id, target)
end
return taken(answer)
`);

/**
 * KEYS base, root; ARGV token, lock, whether to take another, id, after how long, the error of another attempt or
 * empty, 1 for another body, the body. Returns what was taken.
 */
export const POSTPONE = new RedisScript(`
${bull("moveToDelayed", 11)}
${NOW}${HOLD_FUNCTION}${TAKEN_FUNCTION}
local base, root, token, lockMs, more, id, delay = KEYS[1], KEYS[2], ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local job = base .. id
hold(base, id, token, lockMs)
if redis.call('HEXISTS', job, 'cx') == 1 then delay = '0' end
local options = cmsgpack.pack(optionsOf(token, lockMs))
local function postpone(fetch)
  return moveToDelayed({base .. 'marker', base .. 'active', base .. 'prioritized', base .. 'delayed', job, base .. 'events',
    base .. 'meta', base .. 'stalled', base .. 'wait', base .. 'limiter', base .. 'pc'},
    {base, stamp, id, token, delay, '0', '', fetch, options})
end
-- What is told of it must be written before the same job is taken again; so the job is still ours.
if redis.call('GET', job .. ':lock') ~= token then return {'', {}, -1} end
redis.call('HSET', job, 'at', string.format('%.0f', now + tonumber(delay)))
if ARGV[6] ~= '' then
  redis.call('HSET', job, 'failedReason', ARGV[6])
  redis.call('SPUBLISH', root .. '#told:' .. id, '')
else redis.call('HINCRBY', job, 'ats', -1) end
if ARGV[7] == '1' then redis.call('HSET', job, 'data', ARGV[8]) end
return taken(postpone(more))
`);

/** `handBack(base, id, token)`: it goes to the front of its priority, and did not run. */
const HAND_BACK_FUNCTION = `
${bull("moveJobFromActiveToWait", 9)}
${WAKE_FUNCTION}
local function handBack(base, id, token)
  local answer = moveJobFromActiveToWait({base .. 'active', base .. 'wait', base .. 'stalled', base .. 'paused', base .. 'meta',
    base .. 'limiter', base .. 'prioritized', base .. 'marker', base .. 'events'}, {id, token, base .. id})
  if answer < 0 then return 0 end
  redis.call('HINCRBY', base .. id, 'ats', -1)
  redis.call('HDEL', base .. id, 'pb')
  wake(base)
  return 1
end
`;

/** KEYS base; ARGV token, id. */
export const HAND_BACK = new RedisScript(`${HAND_BACK_FUNCTION}
return handBack(KEYS[1], ARGV[2], ARGV[1])
`);

/** KEYS base; ARGV token, ids. Hands back what else this worker was given, the answer having been cut off. */
export const HAND_BACK_OTHERS = new RedisScript(`${HAND_BACK_FUNCTION}
local base, isKnown = KEYS[1], {}
for i = 2, #ARGV do isKnown[ARGV[i]] = true end
for _, id in ipairs(redis.call('LRANGE', base .. 'active', 0, -1)) do
  if not isKnown[id] and redis.call('GET', base .. id .. ':lock') == ARGV[1] then handBack(base, id, ARGV[1]) end
end
return 1
`);

/** KEYS base; ARGV token, lock, ids. Returns those that are no longer held, and those that are cancelled. */
export const RENEW = new RedisScript(`${HOLD_FUNCTION}
local base, lost, cancelled = KEYS[1], {}, {}
for i = 3, #ARGV do
  local id = ARGV[i]
  if hold(base, id, ARGV[1], ARGV[2]) then
    redis.call('SET', base .. id .. ':lock', ARGV[1], 'PX', ARGV[2])
    redis.call('SREM', base .. 'stalled', id)
    if redis.call('HEXISTS', base .. id, 'cx') == 1 then cancelled[#cancelled + 1] = id end
  else
    lost[#lost + 1] = id
  end
end
return {lost, cancelled}
`);

/**
 * KEYS base; ARGV how often a job's worker may die, how often somebody looks, and how many may be forgotten.
 * Returns the jobs that wait again, and how many were forgotten.
 */
export const CHECK = new RedisScript(`
${bull("moveStalledJobsToWait", 9)}
${NOW}${ERASE_FUNCTION}
local base, everyMs = KEYS[1], tonumber(ARGV[2])
local last, wasLate = string.match(redis.call('GET', base .. '~checked') or '0 0', '^(%d+) (%d)$')
-- After an outage every lock looks lost: whoever lives has until the next time to say so.
local isLate = now - tonumber(last) > everyMs * 2 and wasLate == '0'
if isLate then redis.call('DEL', base .. 'stalled') end
local stalled = moveStalledJobsToWait({base .. 'stalled', base .. 'wait', base .. 'active', base .. 'stalled-check', base .. 'meta',
  base .. 'paused', base .. 'marker', base .. 'events', base .. 'repeat'}, {ARGV[1], base, stamp, math.floor(everyMs * 0.9)})
redis.call('SET', base .. '~checked', stamp .. (isLate and ' 1' or ' 0'))
for _, id in ipairs(stalled) do redis.call('HDEL', base .. id, 'pb') end
return {stalled, purge(base, ARGV[3])}
`);

/** KEYS base. For who took a marker and has no use for it. */
export const WAKE = new RedisScript(`${WAKE_FUNCTION}
local base = KEYS[1]
if redis.call('LLEN', base .. 'wait') + redis.call('ZCARD', base .. 'prioritized') + redis.call('ZCARD', base .. 'delayed') > 0 then
  wake(base)
end
return 1
`);

/** KEYS base, root; ARGV token, id, progress. Kept and told in one step: who looks never finds less than was told. */
export const PROGRESS = new RedisScript(`
local job = KEYS[1] .. ARGV[2]
if redis.call('GET', job .. ':lock') ~= ARGV[1] then return 0 end
redis.call('HSET', job, 'progress', ARGV[3])
redis.call('SPUBLISH', KEYS[2] .. '#told:' .. ARGV[2], ARGV[3])
return 1
`);

/** KEYS job. Returns results and errors, each with the key of the child. */
export const OUTCOMES = new RedisScript(`
return {redis.call('HGETALL', KEYS[1] .. ':processed'), redis.call('HGETALL', KEYS[1] .. ':failed')}
`);
