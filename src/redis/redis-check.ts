/** What can be told of a Redis without using it: its version, its part, and what its user may not do. */
import { randomBytes } from "node:crypto";
import type { PartFinding } from "../types.ts";
import { within } from "../within.ts";
import { connectRedis, type RedisConnection } from "./redis-connection.ts";
import { isRightLacking, NO_ANSWER, type RedisRights, reasonOf } from "./redis-faults.ts";
import { describeTarget, type RedisOptions, type RedisTarget, redisTarget } from "./redis-options.ts";
import { isErrorReply } from "./redis-package.ts";

/** Something that needs Redis. */
export interface RedisUse {
  /** For people, e.g. `history`. */
  readonly name: string;
  readonly rights: RedisRights;
  /** Whether what it keeps must never be thrown away to make room. */
  readonly keeps: boolean;
}

/** One thing that was found out about a Redis. */
export type RedisFinding = PartFinding;

/** Sharded pub/sub, which groups travel by. */
const OLDEST = 7;
const TIMEOUT_MS = 5_000;

/**
 * Asks Redis for each command on a key of its own that nobody else has, such that nothing is left there.
 * What only some node of a cluster lacks is found, too.
 *
 * @throws ConfigurationError that lists every fault of the options
 */
export async function checkRedis(
  options: RedisOptions,
  uses: readonly RedisUse[],
  timeoutMs = TIMEOUT_MS,
): Promise<readonly RedisFinding[]> {
  return checkTarget(redisTarget(options), uses, timeoutMs);
}

/** The same of options that were read already; what it finds out is never thrown. */
export async function checkTarget(
  target: RedisTarget,
  uses: readonly RedisUse[],
  timeoutMs = TIMEOUT_MS,
): Promise<readonly RedisFinding[]> {
  const place = describeTarget(target);
  const rights = { names: "", commands: [] };
  let connection: RedisConnection | undefined;
  try {
    connection = await connectRedis(target, "hub", timeoutMs, () => {});
    return await within(timeoutMs * 2, findings(connection, target, place, uses), () => new Error(NO_ANSWER));
  } catch (error) {
    return [{ level: "fault", what: reasonOf(error, target, rights) }];
  } finally {
    connection?.destroy();
  }
}

async function findings(
  connection: RedisConnection,
  target: RedisTarget,
  place: string,
  uses: readonly RedisUse[],
): Promise<RedisFinding[]> {
  const { server, version, role } = fieldsOf(await connection.command("", ["HELLO"]));
  const found: RedisFinding[] = [];
  if (Number.parseInt(version ?? "", 10) < OLDEST) {
    const what = `${place} is ${server} ${version}, which is too old; use Redis ${OLDEST}.0 or newer, or Valkey`;
    return [{ level: "fault", what }];
  }
  found.push({ level: "fine", what: `${place} is ${server} ${version}` });
  if (role === "replica" && target.at.kind !== "cluster") {
    const what = `${place} is a replica, which takes no writes; give its master, or the sentinels (redis+sentinel://host,host/name)`;
    found.push({ level: "fault", what });
  }
  for (const use of uses) found.push(await findingOf(use, connection, target, place));
  const keeping = uses.filter(({ keeps }) => keeps).map(({ name }) => name);
  const policy = keeping.length === 0 ? undefined : await evictionPolicy(connection);
  if (policy !== undefined && policy !== "noeviction") {
    const what = `${place} may throw away what is kept (${keeping.join(", ")}) when its memory is full (maxmemory-policy ${policy}); set it: CONFIG SET maxmemory-policy noeviction, and in redis.conf`;
    found.push({ level: "hint", what });
  }
  return found;
}

async function findingOf(
  { name, rights }: RedisUse,
  connection: RedisConnection,
  target: RedisTarget,
  place: string,
): Promise<RedisFinding> {
  const lacking = await lackingRights(connection, rights);
  if (lacking.length === 0) return { level: "fine", what: `${place} lets us do all that ${name} needs` };
  const user = target.username ?? "default";
  const what = `${place}: the user "${user}" lacks for ${name}: ${lacking.join(" ")}; allow it: ACL SETUSER ${user} ${lacking.join(" ")}`;
  return { level: "fault", what };
}

/** As `ACL SETUSER` takes them: `~keys:*`, `&channels:*`, `+command`. */
async function lackingRights(
  connection: RedisConnection,
  { names, commands }: RedisRights,
): Promise<readonly string[]> {
  const lacking = new Set<string>();
  const tokens = names.split(" ");
  const own = `sluice-check-${randomBytes(9).toString("base64url")}`;
  const probe = async (command: string, name: string, act: () => Promise<unknown>) => {
    try {
      await act();
    } catch (error) {
      if (!isRightLacking(error)) return isAnswer(error);
      lacking.add(/run the/.test((error as Error).message) ? `+${command}` : name);
    }
  };
  for (const channels of tokens.filter((token) => token.startsWith("&"))) {
    for (const channel of await connection.heartbeatChannels(channels.slice(1).replace("*", own))) {
      if (commands.includes("ssubscribe")) {
        await probe("ssubscribe", channels, () => connection.sSubscribe(channel, () => {}));
        await probe("sunsubscribe", channels, () => connection.sUnsubscribe(channel));
      }
      await probe("spublish", channels, () => connection.sPublish(channel, ""));
    }
  }
  for (const keys of tokens.filter((token) => token.startsWith("~"))) {
    for (const key of await connection.heartbeatChannels(keys.slice(1).replace("*", own))) {
      // A name without a `*` is one that is in use.
      const asked = keys.includes("*") ? commands : commands.filter((command) => HARMLESS.includes(command));
      for (const command of asked) {
        const args = PROBES.get(command)?.(key);
        if (args === undefined) continue;
        await probe(command, keys, () => connection.command(key, [command.toUpperCase(), ...args]));
      }
      const remover = ["del", "unlink"].find((command) => commands.includes(command));
      if (keys.includes("*") && remover !== undefined) await remove(connection, remover, key);
    }
  }
  return [...lacking];
}

async function remove(connection: RedisConnection, command: string, key: string): Promise<void> {
  await connection.command(key, [command.toUpperCase(), key]).catch(() => {});
}

/** Whatever Redis says but "no right" was said after it had looked at the rights. A lost connection says nothing. */
function isAnswer(error: unknown): void {
  if (!isErrorReply(error)) throw error;
}

/** Of those that need a key, commands that change nothing of whatever it holds. */
const HARMLESS = ["exists", "pttl"];

/**
 * What each command is asked with: Redis looks at the number of arguments and at the rights before it looks
 * at what they are, so a change that is asked for wrongly tells of the right and changes nothing.
 */
const PROBES: ReadonlyMap<string, (key: string) => string[]> = new Map(
  Object.entries({
    ping: () => [],
    time: () => [],
    info: () => ["server"],
    eval: () => ["return 1", "0"],
    evalsha: () => ["0".repeat(40), "0"],
    get: (key) => [key],
    set: (key) => [key, "", "WRONG"],
    del: (key) => [key],
    unlink: (key) => [key],
    exists: (key) => [key],
    incr: (key) => [key],
    pttl: (key) => [key],
    pexpire: (key) => [key, "wrong"],
    pexpiretime: (key) => [key],
    persist: (key) => [key],
    rename: (key) => [key, key],
    hget: (key) => [key, "f"],
    hset: (key) => [key, "f", "v", "wrong"],
    hmset: (key) => [key, "f", "v", "wrong"],
    hdel: (key) => [key, "f"],
    hlen: (key) => [key],
    hmget: (key) => [key, "f"],
    hgetall: (key) => [key],
    hexists: (key) => [key, "f"],
    hrandfield: (key) => [key],
    hincrby: (key) => [key, "f", "wrong"],
    sadd: (key) => [key, "m"],
    srem: (key) => [key, "m"],
    scard: (key) => [key],
    smembers: (key) => [key],
    sismember: (key) => [key, "m"],
    llen: (key) => [key],
    lrange: (key) => [key, "0", "0"],
    lpush: (key) => [key, "e"],
    rpush: (key) => [key, "e"],
    rpoplpush: (key) => [key, key],
    lrem: (key) => [key, "0", "e"],
    lpos: (key) => [key, "e"],
    ltrim: (key) => [key, "0", "0"],
    zadd: (key) => [key, "wrong", "m"],
    zrem: (key) => [key, "m"],
    zcard: (key) => [key],
    zcount: (key) => [key, "0", "1"],
    zscore: (key) => [key, "m"],
    zrange: (key) => [key, "0", "0"],
    zrevrange: (key) => [key, "0", "0"],
    zrangebyscore: (key) => [key, "0", "1"],
    zrevrangebyscore: (key) => [key, "1", "0"],
    zpopmin: (key) => [key],
    zremrangebyscore: (key) => [key, "0", "1"],
    zremrangebyrank: (key) => [key, "0", "0"],
    bzpopmin: (key) => [key, "0.001"],
    xadd: (key) => [key, "wrong", "f", "v"],
    xtrim: (key) => [key, "MAXLEN", "0"],
    xrange: (key) => [key, "-", "+", "COUNT", "1"],
    xrevrange: (key) => [key, "+", "-", "COUNT", "1"],
  } satisfies Record<string, (key: string) => string[]>),
);

/** Those that {@link checkRedis} cannot ask for, of a list. For the test that there are none. @internal */
export function unprobed(commands: readonly string[]): readonly string[] {
  return commands.filter((command) => !PROBES.has(command) && !/^s(publish|(un)?subscribe)$/.test(command));
}

/** Undefined where we may not ask. */
async function evictionPolicy(connection: RedisConnection): Promise<string | undefined> {
  try {
    return /^maxmemory_policy:(\S+)/m.exec(String(await connection.command("", ["INFO", "memory"])))?.[1];
  } catch {
    return undefined;
  }
}

/** Of a map, in whichever form the protocol brings it. */
function fieldsOf(answer: unknown): {
  readonly server: string;
  readonly version?: string;
  readonly role?: string;
} {
  const list: unknown[] = Array.isArray(answer)
    ? answer
    : Object.entries(answer instanceof Map ? Object.fromEntries(answer) : (answer ?? {})).flat();
  const fields = new Map<string, string>();
  for (let i = 0; i + 1 < list.length; i += 2) fields.set(String(list[i]), String(list[i + 1]));
  const version = fields.get("version");
  const role = fields.get("role");
  const server = fields.get("server") === "valkey" ? "Valkey" : "Redis";
  return { server, ...(version === undefined ? {} : { version }), ...(role === undefined ? {} : { role }) };
}
