/** Every variable of the environment that the command reads: the one table, and the one check. */
import { availableParallelism } from "node:os";
import { ConfigurationError } from "../errors.ts";
import { nearest, printable } from "../names.ts";
import { serverDefaults } from "../options.ts";
import { redisUrlFault, URL_FORMS } from "../redis/redis-options.ts";

interface Variable<T> {
  /** As one would write it; empty: not set. */
  readonly default: string;
  readonly meaning: string;
  /** @throws Error whose message says what it must be; its cause, if that is text, what is wrong with it */
  read(text: string): T;
}

const LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"];
const MAX_PROCESSES = 256;
/** Names of variables whose values are told to nobody. */
const SECRET = /TOKEN|PASSWORD|SECRET|KEYS|URL/;

export const VARIABLES = {
  HOST: variable(serverDefaults.host, "the address to listen on; `0.0.0.0` or `::` for all", text),
  PORT: variable(String(serverDefaults.port), "the port to listen on; `0` takes a free one", readPort),
  SOCKET_PATH: variable("", "a unix socket to listen on instead; for one process", text),
  SOCKET_FD: variable(
    "",
    "a descriptor to listen on instead, inherited from the process that started this one, e.g. `3` from systemd; for one process",
    (value) => integer(value, 0, 2_147_483_647),
  ),
  PROCESSES: variable("1", "how many processes serve the port; `auto` for one per core", readProcesses),
  LOG_LEVEL: variable(
    "info",
    `how much is logged: ${LEVELS.map((level) => `\`${level}\``).join(", ")}`,
    level,
  ),
  LOG_LEVELS: variable(
    "",
    "how much is logged of single routes instead, by their patterns, e.g. `/chat/:room=debug, /lobby=warn`",
    readLevels,
  ),
  METRICS: variable(
    "off",
    "`on`: the process answers `/metrics` to programs on this machine, workers at `HEALTH_PORT`; one of several (`PROCESSES`) tells of all",
    (value) => {
      if (value === "on" || value === "off") return value;
      throw new Error("on or off (a token is METRICS_TOKEN)");
    },
  ),
  METRICS_TOKEN: variable(
    "",
    "the same, and to whoever shows this as a bearer token from elsewhere; at least 16 characters, of several, by commas, any",
    (value) => {
      const tokens = list(value);
      if (tokens.every((token) => token.length >= 16)) return tokens;
      throw new Error("at least 16 characters; make one by: openssl rand -base64 24");
    },
  ),
  REDIS_URL: variable(
    "",
    "the Redis that nodes share: groups, histories, presence, limits, e.g. `redis://127.0.0.1:6379`; without it this machine is alone",
    redisUrl,
  ),
  REDIS_USERNAME: variable("", "who we are to that Redis, if the URL does not say it", text),
  REDIS_PASSWORD: variable("", "the password, with any characters, if the URL does not have it", text),
  REDIS_CA_FILE: variable(
    "",
    "a file with the certificates of authorities to trust, in PEM, if Redis' is not from a well-known one",
    text,
  ),
  REDIS_SENTINEL_PASSWORD: variable("", "the password of the sentinels themselves, if they have one", text),
  REDIS_PREFIX: variable(
    "sluice",
    "begins every name in Redis; applications that share one need their own",
    text,
  ),
  TASKS_REDIS_URL: variable(
    "",
    "the Redis that tasks wait in, if it is not that of `REDIS_URL`: a single server, not a Cluster or Sentinel, with its password in the URL",
    redisUrl,
  ),
  QUEUES: variable(
    "default:10",
    "what `sluice work` works on: queues, and how many runs of each at once, e.g. `default:20,heavy:2`",
    readQueues,
  ),
  HEALTH_PORT: variable(
    "",
    "where `sluice work` answers `/livez` and `/readyz`, at `HOST`; `0` takes a free port, without it there is none",
    readPort,
  ),
  SLUICE_SECRET: variable(
    "",
    "signs what clients show when they come back to groups with history; the same on all nodes, at least 32 characters; of several, by commas, the first signs and all are believed",
    list,
  ),
  SLUICE_ENCRYPTION_KEYS: variable(
    "",
    "encrypt what travels through Redis and is kept there; the same on all nodes and workers, each made by `openssl rand -base64 32`; of several, by commas, the first encrypts and all decrypt",
    list,
  ),
  CANARY_KEY: variable(
    "",
    "lets `sluice canary` in, if the application has the part `canary({ key })`; at least 16 characters",
    text,
  ),
  DASHBOARD_PASSWORD: variable(
    "",
    "opens the dashboard at `/dashboard` to those who know it; at least 12 characters, the same on all nodes and workers",
    text,
  ),
  ORIGINS: variable(
    "",
    "pages of which other origins may connect, e.g. `https://a.example, *.b.example`",
    list,
  ),
  HOSTS: variable(
    "",
    "names by which clients may call the server, e.g. `a.example, *.b.example`; none: any",
    list,
  ),
  ROOT_PATH: variable(
    "",
    "where a proxy publishes the server, e.g. `/app`, if it leaves that in the path of requests",
    text,
  ),
  TRUSTED_PROXIES: variable(
    String(serverDefaults.trustedProxies),
    "how many proxies in front are yours, so that their `X-Forwarded-For` is believed",
    (value) => integer(value, 0, 100),
  ),
  MAX_AGE_MS: variable(
    String(serverDefaults.maxAgeMs),
    "after about so long a connection ends, and its client comes back; `0`: never",
    (value) => integer(value, 0, 2_147_483_647),
  ),
  DRAIN_DELAY_MS: variable(
    String(serverDefaults.drainDelayMs),
    "how long, when told to stop, everything goes on but `/readyz`, so that the balancer notices",
    (value) => integer(value, 0, 2_147_483_647),
  ),
  DRAIN_MS: variable(
    String(serverDefaults.drainMs),
    "after that: the time over which clients are told to move, each at a moment of its own",
    (value) => integer(value, 0, 2_147_483_647),
  ),
  STOP_TIMEOUT_MS: variable(
    String(serverDefaults.stopTimeoutMs),
    "how long, after `DRAIN_DELAY_MS`, stopping may take before what is left is cut; more than `DRAIN_MS`",
    (value) => integer(value, 1, 2_147_483_647),
  ),
} satisfies Readonly<Record<string, Variable<unknown>>>;

export type VariableName = keyof typeof VARIABLES;
/** What was set; an empty value is as good as none. */
export type Environment = {
  readonly [Name in VariableName]?: ReturnType<(typeof VARIABLES)[Name]["read"]>;
};

/** @throws ConfigurationError that lists every wrong value, and every name that was probably meant otherwise */
export function readEnvironment(env: Readonly<Record<string, string | undefined>>): Environment {
  const faults: string[] = [];
  const found: Record<string, unknown> = {};
  for (const [name, variable] of Object.entries(VARIABLES)) {
    const value = name.endsWith("_PASSWORD") ? env[name] : env[name]?.trim();
    if (!value) continue;
    try {
      found[name] = variable.read(value);
    } catch (error) {
      const shown = SECRET.test(name) ? "what it is" : `"${printable(value)}"`;
      const { message, cause } = error as Error;
      faults.push(
        `${name} must be ${message}, not ${shown}${typeof cause === "string" ? `: it ${cause}` : ""}`,
      );
    }
  }
  faults.push(...misspelt(env), ...withoutRedis(env));
  if (faults.length > 0) throw new ConfigurationError(faults);
  return found as Environment;
}

export function readPort(value: string): number {
  return integer(value, 0, 65_535, "a port from 0 to 65535");
}

export function readProcesses(value: string): number {
  if (value === "auto") return Math.min(availableParallelism(), MAX_PROCESSES);
  return integer(value, 1, MAX_PROCESSES, `"auto" or a whole number from 1 to ${MAX_PROCESSES}`);
}

/** From 1. */
export function readCount(value: string): number {
  return integer(value, 1, 2_147_483_647);
}

/** In milliseconds, of `5s`, `1500ms` or `1m`: at most an hour. */
export function readDuration(value: string): number {
  const [, number = "", unit = ""] = /^(\d{1,7})(ms|s|m)$/.exec(value) ?? [];
  const ms = number === "" ? 0 : Number(number) * ({ ms: 1, s: 1_000, m: 60_000 }[unit] ?? 0);
  if (ms >= 100 && ms <= 3_600_000) return ms;
  throw new Error("a time from 100ms to 60m, as 5s, 1500ms or 1m");
}

export function readQueues(value: string): Readonly<Record<string, number>> {
  const queues = new Map<string, number>();
  for (const entry of list(value)) {
    const [, name, count = "10"] = /^([A-Za-z0-9_-]{1,40})(?::(\d{1,5}))?$/.exec(entry) ?? [];
    const concurrency = Number(count);
    if (name === undefined || concurrency < 1 || concurrency > 10_000 || queues.has(name)) {
      throw new Error("queues with a number from 1 to 10000 each, as `default:20,heavy:2`");
    }
    queues.set(name, concurrency);
  }
  if (queues.size === 0) throw new Error("at least one queue, as `default:20`");
  return Object.fromEntries(queues);
}

/** By pattern. */
function readLevels(value: string): ReadonlyMap<string, string> {
  const levels = new Map<string, string>();
  for (const entry of list(value)) {
    const at = entry.lastIndexOf("=");
    const [pattern, name] = [entry.slice(0, at).trim(), entry.slice(at + 1).trim()];
    if (at < 1 || !LEVELS.includes(name)) {
      throw new Error(`patterns of routes, each with one of ${LEVELS.join(", ")}, as \`/chat/:room=debug\``);
    }
    levels.set(pattern, name);
  }
  return levels;
}

/** Of all that may stand in an environment, only what is close to a name of ours is our affair. */
function misspelt(env: Readonly<Record<string, string | undefined>>): string[] {
  const known = Object.keys(VARIABLES);
  return Object.keys(env).flatMap((name) => {
    if (known.includes(name) || !env[name] || name.length < 7) return [];
    const meant =
      nearest(name, known, name.length < 12 ? 2 : 3) ?? known.find((other) => isShortFor(name, other));
    // Others may read it, too; what was meant is set.
    return meant === undefined || env[meant]
      ? []
      : [`${name} is not read by anything; did you mean ${meant}?`];
  });
}

/** `REDIS_PASS`, say. */
function isShortFor(name: string, known: string): boolean {
  return name.includes("_") && !name.endsWith("_") && known.startsWith(name);
}

/** A platform may set `REDIS_PORT` and the like by itself (as `tcp://...`); a host of its own nobody sets in vain. */
function withoutRedis(env: Readonly<Record<string, string | undefined>>): string[] {
  if (env.REDIS_URL) return [];
  const lonely = ["REDIS_HOST", "REDIS_USERNAME", "REDIS_PASSWORD", "REDIS_PREFIX"].filter(
    (name) => env[name],
  );
  return lonely.map((name) => `${name} is set but REDIS_URL is not; say where Redis is: redis://host:port`);
}

function variable<T>(defaultText: string, meaning: string, read: (text: string) => T): Variable<T> {
  return { default: defaultText, meaning, read };
}

function text(value: string): string {
  return value;
}

function redisUrl(value: string): string {
  const fault = redisUrlFault(value);
  if (fault === undefined) return value;
  throw new Error(`like ${URL_FORMS}`, { cause: fault });
}

function list(value: string): readonly string[] {
  return value
    .split(",")
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "");
}

function level(value: string): string {
  if (LEVELS.includes(value)) return value;
  throw new Error(`one of ${LEVELS.join(", ")}`);
}

function integer(value: string, least: number, most: number, what?: string): number {
  const number = /^\d{1,10}$/.test(value) ? Number(value) : Number.NaN;
  if (number >= least && number <= most) return number;
  throw new Error(what ?? `a whole number from ${least} to ${most}`);
}
