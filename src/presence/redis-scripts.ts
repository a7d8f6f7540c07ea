/**
 * How presence lies in Redis. Of each group, under one hash tag:
 *
 * - `{prefix}:{group}:who`, a hash: user -> `<nodes> <connections> <info>`; its length counts the users
 * - `{prefix}:{group}:at:<node>`, a hash: user -> connections on that node
 * - `{prefix}:{group}:on`, a hash: `version`, and each node that has users there
 *
 * They are gone when the last user is. In groups that keep history what changes is appended to their log in
 * the same step (see `redis/log-scripts.ts`). And of all nodes, under another hash tag:
 *
 * - `{prefix}:{sluice.nodes}:leases`, a sorted set: node -> when its lease ends
 * - `{prefix}:{sluice.nodes}:dead`, a sorted set: node whose entries must be removed -> from when somebody may
 * - `{prefix}:{sluice.nodes}:pulse`, a hash: `last` renewal of any node; `quiet`, until when nobody is judged
 * - `{prefix}:{sluice.nodes}:groups:<node>`, a set: groups in which the node may have entries
 *
 * All of them expire if no node is left to prolong them. All times are milliseconds by Redis' own clock. A version is that of the last change plus one, or the time
 * in microseconds if that is more, so that it grows also over the life of the keys.
 */
import { APPEND_FUNCTION, RedisScript } from "../redis/index.ts";

/**
 * Lua: `change(who, at, on, node, user, connections, info, isUpdate, maxUsers)` makes one change, with -1
 * connections for none, and returns `{kind, user, info, connections, before, version}`; the kind is `none`
 * where nothing changed, and `full` where the user was not taken in.
 */
const CHANGE_FUNCTION = `
local function change(who, at, on, node, user, connections, info, isUpdate, maxUsers)
  local before = tonumber(redis.call('HGET', on, 'version') or '0')
  local row = redis.call('HGET', who, user)
  local old = row and tonumber(redis.call('HGET', at, user) or nil)
  local nodes, total, known = 0, 0, ''
  if row then
    nodes, total, known = string.match(row, '^(%d+) (%d+) (.*)$')
    nodes, total = tonumber(nodes), tonumber(total)
  end
  local kind = 'count'
  if connections < 0 then
    if not old then
      redis.call('HDEL', at, user)
      return {'none', user, '', 0, before, before}
    end
    nodes, total = nodes - 1, total - old
    if nodes == 0 then kind = 'leave' end
  else
    if not row then
      if redis.call('HLEN', who) >= maxUsers then return {'full', user, '', 0, before, before} end
      kind, known = 'join', info
    elseif isUpdate and known ~= info then
      kind, known = 'update', info
    elseif old == connections then
      return {'none', user, '', 0, before, before}
    end
    if not old then nodes = nodes + 1 end
    total = total - (old or 0) + connections
  end
  local time = redis.call('TIME')
  local version = math.max(before + 1, time[1] * 1000000 + time[2])
  if connections < 0 then
    redis.call('HDEL', at, user)
    if redis.call('EXISTS', at) == 0 then redis.call('HDEL', on, node) end
  else
    redis.call('HSET', at, user, connections)
    redis.call('HSET', on, node, 1)
  end
  if kind == 'leave' then redis.call('HDEL', who, user)
  else redis.call('HSET', who, user, nodes .. ' ' .. total .. ' ' .. known) end
  if redis.call('EXISTS', who) == 0 then redis.call('DEL', on)
  else redis.call('HSET', on, 'version', string.format('%.0f', version)) end
  return {kind, user, known, total, before, version}
end
`;

/**
 * Lua: `told(made, id)` appends a change to the group's log, if the script was told to, and adds
 * `{epoch, offset, id, at, text}`. It uses KEYS 4 to 6 (meta, presence, log) and ARGV 1 to 6: epoch, id,
 * header of the text, size (0 for no log), ttl, ttl of the position. After the change, whose first write a
 * full Redis refuses if it makes anything larger: then nothing has happened.
 */
const TOLD_FUNCTION = `${APPEND_FUNCTION}
local function told(made, number)
  local kind = made[1]
  if ARGV[4] == '0' or (kind ~= 'join' and kind ~= 'leave' and kind ~= 'update') then return made end
  local text = ARGV[3] .. string.format('[{"kind":"%s","user":', kind) .. cjson.encode(made[2])
    .. ',"info":' .. cjson.encode(made[3])
    .. string.format(',"connections":%.0f,"before":%.0f,"version":%.0f}]', made[4], made[5], made[6])
  local entry = append(KEYS[4], KEYS[5], KEYS[6], ARGV[1], ARGV[2] .. number, text, ARGV[4], ARGV[5], ARGV[6])
  for i = 1, 4 do made[6 + i] = entry[i] end
  made[11] = text
  return made
end
`;

/**
 * KEYS who, at, on, meta, presence, log; ARGV of `told`, node, user, connections, info, isUpdate, maxUsers,
 * for how long all of it stays.
 */
export const CHANGE = new RedisScript(`${CHANGE_FUNCTION}${TOLD_FUNCTION}
local made = change(KEYS[1], KEYS[2], KEYS[3], ARGV[7], ARGV[8], tonumber(ARGV[9]), ARGV[10], ARGV[11] == '1',
  tonumber(ARGV[12]))
for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], ARGV[13]) end
return told(made, '')
`);

/** KEYS who, at, on; ARGV for how long all of it stays. Returns what is in `on`, names and values in turn. */
export const TOUCH = new RedisScript(`
for i = 1, 3 do redis.call('PEXPIRE', KEYS[i], ARGV[1]) end
return redis.call('HGETALL', KEYS[3])
`);

/** KEYS groups of the node; ARGV for how long they stay, groups that are added. */
export const NOTE = new RedisScript(`
for i = 2, #ARGV do redis.call('SADD', KEYS[1], ARGV[i]) end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
`);

/**
 * KEYS who, at, on, meta, presence, log; ARGV of `told`, node, how many at most. Returns the changes, and
 * whether there are more.
 */
export const REMOVE = new RedisScript(`${CHANGE_FUNCTION}${TOLD_FUNCTION}
local changes = {}
for i, user in ipairs(redis.call('HRANDFIELD', KEYS[2], ARGV[8])) do
  local made = change(KEYS[1], KEYS[2], KEYS[3], ARGV[7], user, -1, '', false, 0)
  if made[1] ~= 'none' then changes[#changes + 1] = told(made, '.' .. i) end
end
local more = redis.call('EXISTS', KEYS[2])
if more == 0 then redis.call('HDEL', KEYS[3], ARGV[7]) end
return {more, changes}
`);

/** KEYS who, on, meta. Returns the version, users and rows in turn, the nodes, and where the log ends. */
export const LIST = new RedisScript(`
local fields = redis.call('HGETALL', KEYS[2])
local version, nodes = nil, {}
for i = 1, #fields, 2 do
  if fields[i] == 'version' then version = tonumber(fields[i + 1]) else nodes[#nodes + 1] = fields[i] end
end
if not version then
  local time = redis.call('TIME')
  version = time[1] * 1000000 + time[2]
end
local top = redis.call('HMGET', KEYS[3], 'epoch', 'offset', 'id')
return {version, redis.call('HGETALL', KEYS[1]), nodes, top}
`);

/** Lua: `expire(leases, dead, moment, ...)` gives up those whose lease has ended by then; a `LIMIT` may follow. */
const EXPIRE_FUNCTION = `
local function expire(leases, dead, moment, ...)
  for _, node in ipairs(redis.call('ZRANGEBYSCORE', leases, '-inf', moment, ...)) do
    redis.call('ZREM', leases, node)
    redis.call('ZADD', dead, moment, node)
  end
end
`;

/**
 * KEYS leases, dead, pulse, groups of the node; ARGV node, lease, the longest pause between renewals that
 * proves Redis was there, for how long all of it stays, 1 to take a lease instead of renewing it, nodes that
 * this one is removing. Returns whether there is a lease, for how long nobody is judged, and dead nodes that
 * the caller must remove.
 */
export const RENEW = new RedisScript(`${EXPIRE_FUNCTION}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease = tonumber(ARGV[2])
local pulse = redis.call('HMGET', KEYS[3], 'last', 'quiet')
local last, quiet = tonumber(pulse[1] or '0'), tonumber(pulse[2] or '0')
if now < last or now - last > tonumber(ARGV[3]) then quiet = now + lease end
redis.call('HSET', KEYS[3], 'last', string.format('%.0f', now), 'quiet', string.format('%.0f', quiet))
redis.call('PEXPIRE', KEYS[3], ARGV[4])
local wait = math.max(quiet - now, 0)
if ARGV[5] ~= '1' and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then return {0, wait, {}} end
local until_ = string.format('%.0f', now + lease)
redis.call('ZADD', KEYS[1], until_, ARGV[1])
for i = 6, #ARGV do redis.call('ZADD', KEYS[2], 'XX', until_, ARGV[i]) end
local moment = string.format('%.0f', now)
if wait == 0 then expire(KEYS[1], KEYS[2], moment, 'LIMIT', 0, 50) end
local claimed = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', moment, 'LIMIT', 0, 4)
for _, node in ipairs(claimed) do redis.call('ZADD', KEYS[2], until_, node) end
for _, key in ipairs({KEYS[1], KEYS[2], KEYS[4]}) do redis.call('PEXPIRE', key, ARGV[4]) end
return {1, wait, claimed}
`);

/**
 * KEYS leases, dead, pulse; ARGV node, for how long it shall be left alone, the longest pause as for `RENEW`,
 * for how long all of it stays. Ends the lease. Returns the nodes to remove: all that are dead, if nobody
 * else is there to do it.
 */
export const LEAVE = new RedisScript(`${EXPIRE_FUNCTION}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREM', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[2]), ARGV[1])
local pulse = redis.call('HMGET', KEYS[3], 'last', 'quiet')
local last, quiet = tonumber(pulse[1] or '0'), tonumber(pulse[2] or '0')
local isJudged = now >= last and now - last <= tonumber(ARGV[3]) and now >= quiet
if isJudged then expire(KEYS[1], KEYS[2], string.format('%.0f', now)) end
redis.call('PEXPIRE', KEYS[2], ARGV[4])
if redis.call('EXISTS', KEYS[1]) == 1 then return {} end
return redis.call('ZRANGE', KEYS[2], 0, -1)
`);

/** KEYS leases, dead, pulse, groups of the node; ARGV node. It is removed from everywhere. */
export const BURY = new RedisScript(`
redis.call('DEL', KEYS[4])
redis.call('ZREM', KEYS[2], ARGV[1])
if redis.call('EXISTS', KEYS[1], KEYS[2]) == 0 then redis.call('DEL', KEYS[3]) end
return 1
`);

/** KEYS leases, dead; ARGV nodes. Returns those that are neither: whatever they left is nobody's. */
export const STRANGERS = new RedisScript(`
local strangers = {}
for _, node in ipairs(ARGV) do
  if not redis.call('ZSCORE', KEYS[1], node) and not redis.call('ZSCORE', KEYS[2], node) then
    strangers[#strangers + 1] = node
  end
end
return strangers
`);
