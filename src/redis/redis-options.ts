/** How to say where Redis is, and what comes of it. */
import { inspect } from "node:util";
import { ConfigurationError } from "../errors.ts";
import { nearest } from "../names.ts";

/** What `tls.connect` of Node takes to know the server and to show who we are. */
export interface RedisTls {
  /** Certificates of authorities to trust instead of the well-known ones, in PEM. */
  readonly ca?: string | readonly string[];
  /** Our certificate and its key, in PEM, where Redis asks for them. */
  readonly cert?: string;
  readonly key?: string;
  /** The name in the server's certificate, if it is not the host. */
  readonly servername?: string;
  /** False takes any certificate: for experiments only. */
  readonly rejectUnauthorized?: boolean;
}

/** Where one server of Redis is. */
export interface RedisNode {
  readonly host: string;
  /** Default 6379, for a sentinel 26379. */
  readonly port?: number;
}

/**
 * Where Redis is: a URL, or its parts, or both; a part given apart wins over the URL's.
 *
 * | URL | what |
 * |---|---|
 * | `redis://[[user]:password@]host[:port][/database]` | one server; `rediss:` with TLS |
 * | `unix:///path/to/redis.sock` | one server by its socket (`unix://[user]:password@/path`) |
 * | `redis+sentinel://[[user]:password@]host[:port],host.../master[/database]` | found through Sentinel |
 * | `redis+cluster://[[user]:password@]host[:port],host...` | a Redis Cluster |
 *
 * A password may have any characters, in the URL as well: the last `@` ends it. It is percent-decoded
 * where that makes sense; one that must be taken literally is best given apart.
 */
export interface RedisOptions {
  readonly url?: string;
  /** Default `127.0.0.1`. */
  readonly host?: string;
  readonly port?: number;
  readonly username?: string;
  readonly password?: string;
  /** For what is stored; publishing knows no databases. */
  readonly database?: number;
  readonly socketPath?: string;
  readonly tls?: boolean | RedisTls;
  readonly sentinel?: {
    /** The name of the master group. */
    readonly master?: string;
    readonly nodes?: readonly RedisNode[];
    /** Of the sentinels themselves; username and password are those of Redis. */
    readonly username?: string;
    readonly password?: string;
  };
  readonly cluster?: { readonly nodes: readonly RedisNode[] };
}

/** Where Redis is, checked and complete. */
export interface RedisTarget {
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly database: number;
  readonly tls: RedisTls | undefined;
  readonly at:
    | { readonly kind: "server"; readonly host: string; readonly port: number }
    | { readonly kind: "socket"; readonly path: string }
    | {
        readonly kind: "sentinel";
        readonly master: string;
        readonly nodes: readonly Required<RedisNode>[];
        readonly username: string | undefined;
        readonly password: string | undefined;
      }
    | { readonly kind: "cluster"; readonly nodes: readonly Required<RedisNode>[] };
}

const PORT = 6379;
const SENTINEL_PORT = 26_379;
const OPTION_NAMES = [
  "url",
  "host",
  "port",
  "username",
  "password",
  "database",
  "socketPath",
  "tls",
  "sentinel",
  "cluster",
];

/** @throws ConfigurationError that lists every fault; no message has a password in it */
export function redisTarget(options: RedisOptions): RedisTarget {
  const faults: string[] = [];
  const check = new Checks(faults);
  const { password } = options;
  for (const name of Object.keys(options)) check.isOption(name);
  const url = options.url === undefined ? undefined : check.url(options.url);
  if (url?.username !== undefined && url.password === undefined && !password) {
    // It would be shown as a name, and is most probably the password.
    faults.push(
      "the Redis URL has a user without a password; write redis://:password@host, or redis://user:password@host",
    );
  }
  const given: RedisOptions = { ...url, ...definedOf(options) };
  const sentinel = { ...url?.sentinel, ...options.sentinel };
  const target: RedisTarget = {
    username: check.text("username", given.username),
    password: check.text("password", given.password),
    database: check.integer("database", given.database, 0, 1_000_000) ?? 0,
    tls: check.tls(given.tls),
    at: check.place(options.sentinel === undefined ? given : { ...given, sentinel }),
  };
  if (faults.length > 0) throw new ConfigurationError(faults);
  return target;
}

/** What is wrong with a URL, as the end of a sentence without anything of it; undefined: nothing. */
export function redisUrlFault(url: string): string | undefined {
  const parsed = parseUrl(url);
  return typeof parsed === "string" ? parsed : undefined;
}

/** For people: where it is, and as whom; never the password. */
export function describeTarget({ username, at }: RedisTarget): string {
  const who = username === undefined ? "" : ` as user "${username}"`;
  switch (at.kind) {
    case "server":
      return `Redis at ${address(at)}${who}`;
    case "socket":
      return `Redis at ${at.path}${who}`;
    case "sentinel":
      return `Redis "${at.master}" of the sentinels ${at.nodes.map(address).join(", ")}${who}`;
    case "cluster":
      return `the Redis Cluster of ${at.nodes.map(address).join(", ")}${who}`;
  }
}

function address({ host, port }: Required<RedisNode>): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

function definedOf(options: RedisOptions): RedisOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

/** Checks one part each, and notes what is wrong. */
class Checks {
  readonly #faults: string[];

  constructor(faults: string[]) {
    this.#faults = faults;
  }

  isOption(name: string): void {
    if (OPTION_NAMES.includes(name)) return;
    const meant = nearest(name, OPTION_NAMES);
    const hint = meant === undefined ? `there are ${OPTION_NAMES.join(", ")}` : `did you mean "${meant}"?`;
    this.#faults.push(`redis.${name} is no option; ${hint}`);
  }

  url(url: unknown): RedisOptions {
    const parsed = typeof url === "string" ? parseUrl(url) : undefined;
    if (typeof parsed === "object") return parsed;
    // Never the URL itself: it may hold a password.
    this.#faults.push(`the Redis URL ${parsed ?? "must be text"}; it looks like ${URL_FORMS}`);
    return {};
  }

  text(name: string, value: unknown): string | undefined {
    if (value === undefined || value === "") return undefined;
    if (typeof value === "string") return value;
    this.#faults.push(`redis.${name} must be text, not ${typeof value}`);
    return undefined;
  }

  integer(name: string, value: unknown, least: number, most: number): number | undefined {
    if (value === undefined) return undefined;
    if (typeof value === "number" && Number.isInteger(value) && value >= least && value <= most) return value;
    this.#faults.push(`redis.${name} must be a whole number from ${least} to ${most}, not ${inspect(value)}`);
    return undefined;
  }

  tls(value: unknown): RedisTls | undefined {
    if (value === undefined || value === false) return undefined;
    if (value === true) return {};
    if (typeof value === "object" && value !== null) return value as RedisTls;
    this.#faults.push("redis.tls must be true, false or an object with any of ca, cert, key, servername");
    return undefined;
  }

  place({ host, port, socketPath, sentinel, cluster, database }: RedisOptions): RedisTarget["at"] {
    const given = Object.entries({ "host and port": host ?? port, socketPath, sentinel, cluster });
    const places = given.filter(([, value]) => value !== undefined).map(([name]) => name);
    if (places.length > 1) this.#faults.push(`redis has ${places.join(" and ")}: give one of them`);
    if (cluster !== undefined) {
      if (database !== undefined && database !== 0) this.#faults.push("a Redis Cluster has database 0 only");
      return { kind: "cluster", nodes: this.#nodes("cluster", cluster.nodes, PORT) };
    }
    if (sentinel !== undefined) {
      const master = this.text("sentinel.master", sentinel.master) ?? "";
      if (master === "") this.#faults.push("redis.sentinel.master must be the name of the master group");
      return {
        kind: "sentinel",
        master,
        nodes: this.#nodes("sentinel", sentinel.nodes, SENTINEL_PORT),
        username: this.text("sentinel.username", sentinel.username),
        password: this.text("sentinel.password", sentinel.password),
      };
    }
    if (socketPath !== undefined) {
      return { kind: "socket", path: this.text("socketPath", socketPath) ?? "" };
    }
    return {
      kind: "server",
      host: this.text("host", host) ?? "127.0.0.1",
      port: this.integer("port", port, 1, 65_535) ?? PORT,
    };
  }

  #nodes(name: string, nodes: unknown, usualPort: number): readonly Required<RedisNode>[] {
    if (!Array.isArray(nodes) || nodes.length === 0) {
      this.#faults.push(`redis.${name}.nodes must list at least one { host, port }`);
      return [];
    }
    return nodes.map((node: RedisNode, i) => ({
      host: this.text(`${name}.nodes[${i}].host`, node?.host) ?? "127.0.0.1",
      port: this.integer(`${name}.nodes[${i}].port`, node?.port, 1, 65_535) ?? usualPort,
    }));
  }
}

/** What a URL may look like. */
export const URL_FORMS =
  "redis://user:password@host:6379, rediss://…, unix:///path, redis+sentinel://host,host/master or redis+cluster://host,host";
const URL_PARTS = /^(redis|rediss|unix|(?:rediss?)\+(?:sentinel|cluster)):\/\/(.*)$/s;
const HOST_AND_PORT = /^(?:\[([0-9A-Fa-f:.%]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?$/;

/**
 * By hand, for `new URL` refuses passwords with `#`, `/` or `?`, as many are.
 *
 * @returns what is wrong, as the end of a sentence
 */
function parseUrl(url: string): RedisOptions | string {
  const [, scheme, rest = ""] = URL_PARTS.exec(url) ?? [];
  if (scheme === undefined) return "has an unknown scheme";
  // A path may have one, too.
  const at = scheme === "unix" && rest.startsWith("/") ? -1 : rest.lastIndexOf("@");
  const credentials = at < 0 ? {} : parseCredentials(rest.slice(0, at));
  const place = rest.slice(at + 1);
  const tls = scheme.startsWith("rediss") ? { tls: true } : {};
  const found = scheme === "unix" ? { socketPath: decoded(place) } : parsePlace(scheme, place);
  return typeof found === "string" ? found : { ...credentials, ...tls, ...found };
}

function parseCredentials(text: string): RedisOptions {
  const colon = text.indexOf(":");
  if (colon < 0) return { username: decoded(text) };
  return { username: decoded(text.slice(0, colon)), password: decoded(text.slice(colon + 1)) };
}

function parsePlace(scheme: string, text: string): RedisOptions | string {
  const [hosts = "", ...path] = text.split("/");
  const nodes: RedisNode[] = [];
  for (const host of hosts === "" ? [] : hosts.split(",")) {
    const [, ipv6, name = ipv6, port] = HOST_AND_PORT.exec(host) ?? [];
    if (name === undefined)
      return /:(?:$|\D[^:]*$)/.test(host) ? "has a port that is no number" : "has a host that is none";
    if (port !== undefined && !isPort(Number(port))) return "has a port that is not from 1 to 65535";
    nodes.push({ host: decoded(name), ...(port === undefined ? {} : { port: Number(port) }) });
  }
  const isSentinel = scheme.endsWith("+sentinel");
  const master = isSentinel ? { master: decoded(path.shift() ?? "") } : undefined;
  const database = path.shift() ?? "";
  if (!/^\d{0,7}$/.test(database) || path.length > 0) return "has a path that is no database number";
  const number = database === "" ? {} : { database: Number(database) };
  if (master !== undefined) return { sentinel: { ...master, nodes }, ...number };
  if (scheme.endsWith("+cluster")) return { cluster: { nodes }, ...number };
  return nodes.length > 1 ? "has several hosts but is not of a cluster" : { ...nodes[0], ...number };
}

function isPort(number: number): boolean {
  return number >= 1 && number <= 65_535;
}

/** As it is where it was not encoded: a lone `%` is a character like any other. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
