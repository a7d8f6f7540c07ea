/**
 * Which groups have a log in Redis, so that there are not many more than allowed. A log and the register live
 * in different parts of a cluster, so no script can change both; hence nothing here is exact at once, and
 * each step leaves a state from which the next node that begins a log goes on:
 *
 * - `{prefix}:{sluice.logs}:appended`, a sorted set: group -> its last append, as far as it is known here
 * - `{prefix}:{sluice.logs}:until`, a sorted set: group -> until when its position is remembered, likewise
 *
 * The difference between the two is how long a position of that group is kept. So the expiry of its position
 * says when it was appended to last, and an append need not write here: only those do that begin a log, and a
 * few later ones, in case a node ended in between. What is known is never later than what is true.
 */
import { type RedisCommands, RedisScript } from "../redis/index.ts";

export interface RegisterKeys {
  readonly appended: string;
  readonly until: string;
}

export function registerKeys(prefix: string, tag = "sluice.logs"): RegisterKeys {
  return { appended: `${prefix}:{${tag}}:appended`, until: `${prefix}:{${tag}}:until` };
}

/** When a group was appended to, by the clock of its part of the cluster, and how long its position is kept. */
export interface LastAppend {
  readonly at: number;
  readonly positionTtlMs: number;
}

/** The keys of one group's log; the first says by its expiry how long the position is remembered. */
export type LogKeys = readonly [meta: string, ...streams: string[]];

interface Seen {
  readonly group: string;
  readonly appended: number;
  readonly until: number;
}

interface Found {
  readonly seen: Seen;
  /** When its position expires, by the clock of its part of the cluster; undefined: there is no log. */
  readonly expiry: number | undefined;
  /** The last append. */
  readonly appended: number;
}

type Living = Found & { readonly expiry: number };

/** Logs that are looked at to find the one idle longest, and at most if many are to go. */
const CANDIDATES = 16;
const MAX_CANDIDATES = 200;

const SEEN = `
local function seen(groups, answer)
  for _, group in ipairs(groups) do
    local n = #answer
    answer[n + 1] = group
    answer[n + 2] = tonumber(redis.call('ZSCORE', KEYS[1], group) or '0')
    answer[n + 3] = tonumber(redis.call('ZSCORE', KEYS[2], group) or '0')
  end
  return answer
end
`;

/**
 * KEYS appended, until; ARGV how many overdue groups are wanted, then for each group its name, when it was
 * appended to and how long its position is kept. Returns how many groups there are, then those whose time may
 * be up.
 */
const ENROL = new RedisScript(`${SEEN}
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local longest = 0
for i = 2, #ARGV, 3 do
  local ttl = tonumber(ARGV[i + 2])
  redis.call('ZADD', KEYS[1], ARGV[i + 1], ARGV[i])
  redis.call('ZADD', KEYS[2], string.format('%.0f', ARGV[i + 1] + ttl), ARGV[i])
  longest = math.max(longest, ttl)
end
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, string.format('%.0f', longest), 'NX')
  redis.call('PEXPIRE', key, string.format('%.0f', longest), 'GT')
end
local overdue = redis.call('ZRANGE', KEYS[2], '-inf', string.format('%.0f', now), 'BYSCORE', 'LIMIT', 0, ARGV[1])
return seen(overdue, {redis.call('ZCARD', KEYS[1])})
`);

/**
 * KEYS appended, until; ARGV how many are allowed. Returns how many groups there are, then those known to be
 * idle longest: some that may have to go, and one more.
 */
const IDLEST = new RedisScript(`${SEEN}
local count = redis.call('ZCARD', KEYS[1])
local most = math.min(math.max(2 * (count - ARGV[1]), ${CANDIDATES}), ${MAX_CANDIDATES})
return seen(redis.call('ZRANGE', KEYS[1], 0, most), {count})
`);

/**
 * KEYS appended, until; ARGV for each group: its name, its last append as it was seen here, and what is to
 * stand here instead, or nothing twice if it has no log. Leaves alone who was enrolled anew meanwhile.
 * Returns how many groups there are.
 */
const SETTLE = new RedisScript(`
for i = 1, #ARGV, 4 do
  if tonumber(redis.call('ZSCORE', KEYS[1], ARGV[i]) or '-1') == tonumber(ARGV[i + 1]) then
    if ARGV[i + 2] == '' then
      redis.call('ZREM', KEYS[1], ARGV[i])
      redis.call('ZREM', KEYS[2], ARGV[i])
    else
      redis.call('ZADD', KEYS[1], ARGV[i + 2], ARGV[i])
      redis.call('ZADD', KEYS[2], ARGV[i + 3], ARGV[i])
    end
  end
end
return redis.call('ZCARD', KEYS[1])
`);

/** KEYS of a log; ARGV the expiry that was seen: who appended since then has moved it. Returns 1 if it is gone. */
const FORGET = new RedisScript(`
if redis.call('PEXPIRETIME', KEYS[1]) ~= tonumber(ARGV[1]) then return 0 end
redis.call('UNLINK', unpack(KEYS))
return 1
`);

/** What a user of Redis must be allowed for it. */
export const REGISTER_COMMANDS: readonly string[] = [
  ...["time", "pexpire", "pexpiretime", "unlink", "zadd", "zcard", "zrange", "zrem", "zscore"],
];

/** Groups that one script enrols, and as many that it may find overdue: so the latter never pile up. */
const BATCH = 100;
/** Groups that wait to be enrolled; what is beyond is enrolled by a later append. */
const MAX_WAITING = 10_000;
/** How soon a register that failed is tried again. */
const RETRY_MS = 1_000;
/** Looks that end with nothing forgotten, since all had been appended to, until the idlest of them has to go. */
const VAIN_LOOKS = 3;
const MAX_VAIN_LOOKS = 6;

/** Enrols the groups whose logs this node began, and forgets others where there are too many. */
export class LogRegister {
  readonly #commands: RedisCommands;
  readonly #keys: readonly [appended: string, until: string];
  readonly #logOf: (group: string) => LogKeys;
  readonly #maxGroups: number;
  readonly #waiting = new Map<string, LastAppend>();
  #working: Promise<void> | undefined;
  #notBefore = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  constructor(
    commands: RedisCommands,
    { appended, until }: RegisterKeys,
    logOf: (group: string) => LogKeys,
    maxGroups: number,
  ) {
    this.#commands = commands;
    this.#keys = [appended, until];
    this.#logOf = logOf;
    this.#maxGroups = maxGroups;
  }

  /** This node has appended. Nobody waits for what comes of it, and it never fails. */
  appended(group: string, offset: number, last: LastAppend): void {
    if (isTold(offset) && this.#waiting.size < MAX_WAITING) this.#waiting.set(group, last);
    const isFree = this.#working === undefined && !this.#isClosed;
    if (this.#waiting.size > 0 && isFree && performance.now() >= this.#notBefore) {
      this.#working = this.#work();
    }
  }

  /** Enrols what waits; forgets no more. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#working;
  }

  /** Says whether the register can be read. Rejects as `RedisCommands.run` does. */
  async look(): Promise<void> {
    await this.#commands.run(IDLEST, this.#keys, [this.#maxGroups]);
  }

  /** Enrols a group whose log there is; rejects if anything fails that is done then. */
  async enrol(group: string, last: LastAppend): Promise<void> {
    this.#waiting.set(group, last);
    await this.#enrolSome();
  }

  /** Never rejects. */
  async #work(): Promise<void> {
    // Those begun in one turn go together.
    await Promise.resolve();
    try {
      while (this.#waiting.size > 0) await this.#enrolSome();
    } catch {
      // Redis is away, or a part of it. What it would refuse for good it has refused at the start.
      this.#notBefore = performance.now() + RETRY_MS;
    }
    this.#working = undefined;
  }

  async #enrolSome(): Promise<void> {
    const some = [...this.#waiting].slice(0, BATCH);
    for (const [group] of some) this.#waiting.delete(group);
    let count: number;
    try {
      const args = some.flatMap(([group, { at, positionTtlMs }]) => [group, at, positionTtlMs]);
      const answer = await this.#commands.run(ENROL, this.#keys, [BATCH, ...args]);
      const [enrolled, overdue] = listIn(answer);
      count = overdue.length === 0 ? enrolled : await this.#settle(await this.#find(overdue));
    } catch (error) {
      for (const [group, last] of some) if (!this.#waiting.has(group)) this.#waiting.set(group, last);
      throw error;
    }
    if (count > this.#maxGroups) await this.#forgetIdlest();
  }

  /** Until there are no more than allowed, whoever else begins and forgets logs meanwhile. */
  async #forgetIdlest(): Promise<void> {
    for (let vain = 0; vain < MAX_VAIN_LOOKS && !this.#isClosed; ) {
      const [count, idlest] = listIn(await this.#commands.run(IDLEST, this.#keys, [this.#maxGroups]));
      if (count <= this.#maxGroups) return;
      const isAll = idlest.length === count;
      const found = await this.#find(isAll ? idlest : idlest.slice(0, -1));
      const living = found.filter(isLiving).sort((a, b) => a.appended - b.appended);
      // Whoever was not looked at was appended to later than this.
      const border = isAll || vain >= VAIN_LOOKS ? undefined : idlest.at(-1)?.appended;
      const idle = living.filter(({ appended }) => appended <= (border ?? appended));
      const missing = count - this.#maxGroups - (found.length - living.length);
      const forgotten = new Set(await this.#forget(idle.slice(0, Math.max(missing, 0))));
      const left = await this.#settle(
        found.map((one) => (forgotten.has(one) ? { ...one, expiry: undefined } : one)),
      );
      vain = left < count ? 0 : vain + 1;
    }
  }

  /** What is true of them. */
  #find(groups: readonly Seen[]): Promise<Found[]> {
    return Promise.all(
      groups.map(async (seen) => {
        const [meta] = this.#logOf(seen.group);
        const answer = await this.#commands.command(meta, ["PEXPIRETIME", meta]);
        const expiry = Number(answer) < 0 ? undefined : Number(answer);
        return { seen, expiry, appended: (expiry ?? 0) - (seen.until - seen.appended) };
      }),
    );
  }

  async #forget(chosen: readonly Living[]): Promise<Found[]> {
    const gone = await Promise.all(
      chosen.map(async (one) => {
        const answer = await this.#commands.run(FORGET, this.#logOf(one.seen.group), [one.expiry]);
        return answer === 1;
      }),
    );
    return chosen.filter((_, i) => gone[i]);
  }

  /** @returns how many groups are enrolled then */
  async #settle(found: readonly Found[]): Promise<number> {
    const args = found.flatMap(({ seen, expiry, appended }) => [
      ...[seen.group, seen.appended],
      ...(expiry === undefined ? ["", ""] : [appended, expiry]),
    ]);
    return countIn(await this.#commands.run(SETTLE, this.#keys, args));
  }
}

/** 1, 2, 4, ... and each 256th: should a node end before it has told of the first, another does. */
function isTold(offset: number): boolean {
  return offset % 256 === 0 || (offset < 256 && (offset & (offset - 1)) === 0);
}

function isLiving(found: Found): found is Living {
  return found.expiry !== undefined;
}

/** How many groups there are, and some of them. */
function listIn(answer: unknown): [count: number, groups: Seen[]] {
  const [count, ...list] = isList(answer) ? answer : [];
  const groups: Seen[] = [];
  for (let i = 0; i < list.length; i += 3) {
    const [group, appended, until] = list.slice(i, i + 3);
    if (typeof group !== "string" || typeof appended !== "number" || typeof until !== "number")
      throw strange();
    groups.push({ group, appended, until });
  }
  return [countIn(count), groups];
}

function countIn(answer: unknown): number {
  if (typeof answer === "number") return answer;
  throw strange();
}

function strange(): Error {
  return new Error(
    "Redis holds something else than the register of logs; does another program write below this prefix?",
  );
}

function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value);
}
