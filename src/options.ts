/** Every option and its default, and the one place that checks what was given instead. */
import { inspect } from "node:util";
import { ConfigurationError } from "./errors.ts";
import { nearest } from "./names.ts";

export const applicationDefaults = {
  /** How long middleware and `connect` may take together. */
  connectTimeoutMs: 10_000,
  /** How long handlers may go on after their connection ended, before `disconnect` runs all the same. */
  closeTimeoutMs: 10_000,
  limits: {
    /** Messages and events that may wait for one consumer. */
    mailbox: 1_000,
    /** Of those, events of its client. */
    pendingEvents: 100,
    groupsPerConnection: 100,
    /** Bytes of one message or event that the application sends, as JSON with its binary parts. */
    maxMessageBytes: 262_144,
    /** Bytes that may wait for one client; one that reads more slowly is cut with 4513. */
    maxWaitingBytes: 1_048_576,
    /** Events that one client may send per second, over all its routes; as many again in a burst. */
    eventsPerSecond: 100,
    /** The same for all connections of one user together, as `userId` names them; 0: as many as each may. */
    eventsPerSecondPerUser: 0,
    /** The same for all clients of one address together; 0: as many as each may. */
    eventsPerSecondPerAddress: 0,
    /** Connections that one user may have at once; 0: any number. */
    connectionsPerUser: 0,
    /** Refused events, less `eventsPerSecond` forgiven each second, after which a client is cut with 4429. */
    floodEvents: 1_000,
    /** Groups without a member on this node that the clients of one address may open per second. */
    newGroupsPerSecond: 100,
    /**
     * Messages of histories that the clients of one address are given per second; a replay waits for its
     * turn, a client that asks is answered with `rate_limited`.
     */
    replayedPerSecond: 20_000,
    /** Users that a group with presence counts and lists; others are in it uncounted. */
    usersPerGroup: 10_000,
    /** Bytes of what others see of a user, as JSON. */
    presenceInfoBytes: 4_096,
  },
};

export const serverDefaults = {
  /** Where to listen; "0.0.0.0" or "::" for all interfaces. */
  host: "127.0.0.1",
  /** 0 takes a free one. */
  port: 3000,
  /** A unix socket (or Windows pipe) to listen on instead of host and port. */
  socketPath: "",
  /** A descriptor that listens already, inherited from the process that started this one; -1: none. */
  fd: -1,
  /** Where a proxy publishes this server, if it leaves that in the path of requests: `/app`. */
  rootPath: "",
  /** Names by which clients may call this server (their Host header): `app.example`, `*.app.example`; none: any. */
  hosts: [] as readonly string[],
  /** Where Socket.IO answers. */
  path: "/socket.io",
  /**
   * Pages of which other origins may connect: `https://app.example`, `*.app.example`, or `*` for all.
   * The server's own origin always may.
   */
  origins: [] as readonly string[],
  /** Whether to accept clients that send no Origin, as programs and same-origin pages' GETs do. */
  allowMissingOrigin: true,
  /** How many proxies in front of this server are yours, so that their X-Forwarded-For is believed. */
  trustedProxies: 0,
  pingIntervalMs: 25_000,
  pingTimeoutMs: 20_000,
  /** After about so long a connection ends with 4503, and its client comes back; 0: never. */
  maxAgeMs: 0,
  /** Answers 200 as long as the process serves; empty: nothing does. */
  livePath: "/livez",
  /** Answers 200 while a balancer should send clients here; empty: nothing does. */
  readyPath: "/readyz",
  /** How long `stop` leaves everything as it is, but for `readyPath`, so that the balancer notices. */
  drainDelayMs: 0,
  /** After that: the time over which clients are told to move, each at a moment of its own; 0: all at once. */
  drainMs: 0,
  /** How long, after `drainDelayMs`, `stop` waits for clients and hooks before it ends what is left. */
  stopTimeoutMs: 10_000,
  limits: {
    /** Bytes of one packet of a client; a larger one ends its connection (WebSocket close code 1009). */
    maxPayloadBytes: 100_000,
    connectionsPerAddress: 10_000,
    /** New connections that this node takes per second, twice as many in a burst; 0: any number. */
    handshakesPerSecond: 0,
    /** The same for the clients of one address. */
    handshakesPerSecondPerAddress: 0,
    /** Routes that one client may have open at once on one connection. */
    namespacesPerConnection: 50,
  },
};

export type ApplicationSettings = typeof applicationDefaults;
export type ServerSettings = typeof serverDefaults;
/** All optional, `limits` too. */
export type Given<T> = {
  readonly [K in keyof T]?: T[K] extends readonly unknown[] ? T[K] : T[K] extends object ? Given<T[K]> : T[K];
};

/**
 * What a server goes by.
 *
 * @throws ConfigurationError that lists every fault
 */
export function resolveServerOptions(given: Given<ServerSettings>): ServerSettings {
  const settings = resolveOptions(serverDefaults, given, "server");
  const { path, livePath, readyPath, drainMs, stopTimeoutMs, fd, socketPath, rootPath } = settings;
  const faults: string[] = [];
  const socketIo = path.replace(/\/?$/, "/");
  for (const [name, value] of Object.entries({ livePath, readyPath })) {
    if (value !== "" && `${value}/`.startsWith(socketIo)) {
      faults.push(
        `server.${name} (${value}) must not be below server.path (${path}), where Socket.IO answers; choose another, or "" for none`,
      );
    }
  }
  if (livePath !== "" && livePath === readyPath) {
    faults.push(`server.livePath and server.readyPath must differ; both are ${inspect(livePath)}`);
  }
  if (fd >= 0 && socketPath !== "") {
    faults.push("server.fd and server.socketPath say two places to listen on; give one");
  }
  if (rootPath.endsWith("/")) faults.push(`server.rootPath must not end in "/": ${inspect(rootPath)}`);
  if (drainMs >= stopTimeoutMs) {
    faults.push(
      `server.drainMs (${drainMs}) must be below server.stopTimeoutMs (${stopTimeoutMs}), which holds for all of it and the disconnect hooks`,
    );
  }
  if (faults.length > 0) throw new ConfigurationError(faults);
  return settings;
}

/**
 * The defaults with what was given in their place.
 *
 * @throws ConfigurationError that lists every unknown option (with the nearest name) and wrong value
 */
export function resolveOptions<T extends object>(defaults: T, given: object, where: string): T {
  const faults: string[] = [];
  const options = resolve(defaults as Values, given as Values, where, faults);
  if (faults.length > 0) throw new ConfigurationError(faults);
  return options as T;
}

type Values = Readonly<Record<string, unknown>>;

function resolve(defaults: Values, given: Values, where: string, faults: string[]): Values {
  const options: Record<string, unknown> = { ...defaults };
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined) continue;
    const path = `${where}.${name}`;
    const usual = Object.hasOwn(defaults, name) ? defaults[name] : undefined;
    if (usual === undefined) faults.push(unknownOption(path, name, Object.keys(defaults)));
    else if (isSection(usual)) options[name] = resolveSection(usual, value, path, faults);
    else {
      const fault = wrongValue(name, usual, value);
      if (fault === undefined) options[name] = value;
      else faults.push(`${path} must be ${fault}, not ${inspect(value)}`);
    }
  }
  return options;
}

function resolveSection(defaults: Values, given: unknown, path: string, faults: string[]): Values {
  if (isSection(given)) return resolve(defaults, given, path, faults);
  faults.push(`${path} must be an object with any of ${Object.keys(defaults).join(", ")}`);
  return defaults;
}

function isSection(value: unknown): value is Values {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function unknownOption(path: string, name: string, known: readonly string[]): string {
  const meant = nearest(name, known);
  return meant === undefined
    ? `${path} is no option; there are ${known.join(", ")}`
    : `${path} is no option; did you mean "${meant}"?`;
}

/** What a value must be, if it is not that. */
function wrongValue(name: string, usual: unknown, value: unknown): string | undefined {
  if (name === "port") return isInteger(value, 0, 65_535) ? undefined : "a port from 0 to 65535";
  if (name === "trustedProxies") return isInteger(value, 0, 100) ? undefined : "a whole number of proxies";
  if (name === "livePath" || name === "readyPath" || name === "rootPath") {
    return isPath(value) ? undefined : 'a path such as "/health" without a query, or "" for none';
  }
  if (typeof usual === "number" && !Number.isInteger(usual)) {
    return typeof value === "number" && value >= 0 && value <= 1 ? undefined : "a number from 0 to 1";
  }
  if (typeof usual === "number") {
    const least = Math.min(usual, 1);
    // Timers overflow beyond 31 bits and would fire at once.
    return isInteger(value, least, 2_147_483_647)
      ? undefined
      : `a whole number of at least ${least} (below 2^31)`;
  }
  if (Array.isArray(usual)) {
    const isList = Array.isArray(value) && value.every((entry) => typeof entry === "string");
    return isList ? undefined : "a list of text";
  }
  return typeof value === typeof usual ? undefined : `a ${typeof usual}`;
}

function isPath(value: unknown): boolean {
  return typeof value === "string" && /^(\/[^?#\s]*)?$/.test(value);
}

function isInteger(value: unknown, least: number, most: number): boolean {
  return typeof value === "number" && Number.isInteger(value) && value >= least && value <= most;
}
