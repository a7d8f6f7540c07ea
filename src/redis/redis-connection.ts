/** Connections to Redis: one server, one found through Sentinel, or a cluster, all seen alike. */
import type { RedisClientOptions, RedisSentinelOptions } from "redis";
import { within } from "../within.ts";
import { NO_ANSWER } from "./redis-faults.ts";
import type { HubClients } from "./redis-hub.ts";
import type { RedisTarget } from "./redis-options.ts";
import { loadRedis } from "./redis-package.ts";

/**
 * One connection to publish by and one to listen by (a cluster: one pair for each of its masters).
 *
 * It lives once: nothing here reconnects. Whatever breaks a part of it breaks the whole, `broken` is told,
 * and who needs Redis makes a new one; so there is one way out of all kinds of trouble.
 */
export interface RedisConnection extends HubClients {
  /**
   * Any command, by the connection to publish by. `key` says which part of a cluster it goes to; Redis'
   * answer, or its refusal.
   */
  command(key: string, args: (string | Buffer)[]): Promise<unknown>;
  /**
   * Names made from `base` such that what is published to all of them goes through every part of it.
   * Whoever listens to them also keeps each part in use: the `redis` package ends one without subscriptions.
   */
  heartbeatChannels(base: string): Promise<readonly string[]>;
  /** At once; what is under way is rejected. */
  destroy(): void;
}

/** What a connection is for: to publish and listen, or for commands alone. */
export type Purpose = "hub" | "commands";

/**
 * @param broken - called at most once, and not before this has resolved
 * @throws what the `redis` package says, within `timeoutMs`
 */
export async function connectRedis(
  target: RedisTarget,
  purpose: Purpose,
  timeoutMs: number,
  broken: (reason: string) => void,
): Promise<RedisConnection> {
  const watch = new Watch(broken);
  const redis = await loadRedis();
  const [connection, connected] = open(redis, target, purpose, timeoutMs, watch);
  // One that loses the race has nobody else to hear it.
  connected.catch(() => {});
  try {
    await within(timeoutMs, connected, () => new Error(NO_ANSWER));
    watch.begin();
    return connection;
  } catch (error) {
    connection.destroy();
    throw watch.lastError ?? error;
  }
}

type Redis = typeof import("redis");

function open(
  redis: Redis,
  target: RedisTarget,
  purpose: Purpose,
  timeoutMs: number,
  watch: Watch,
): [RedisConnection, Promise<unknown>] {
  switch (target.at.kind) {
    case "sentinel":
      return openSentinel(redis, target, target.at, timeoutMs, watch);
    case "cluster":
      return openCluster(redis, target, target.at, timeoutMs, watch);
    default:
      return openServer(redis, target, purpose, timeoutMs, watch);
  }
}

/** What can go wrong with clients, made one: the first trouble after the beginning. */
class Watch {
  readonly #broken: (reason: string) => void;
  #state: "connecting" | "up" | "over" = "connecting";
  lastError: Error | undefined;

  constructor(broken: (reason: string) => void) {
    this.#broken = broken;
  }

  readonly failed = (error: unknown): void => {
    if (this.#state === "connecting" && error instanceof Error) this.lastError = error;
    this.ended(error instanceof Error ? error.message : String(error));
  };

  readonly ended = (reason = "the connection was closed"): void => {
    if (this.#state !== "up") return;
    this.#state = "over";
    this.#broken(reason);
  };

  begin(): void {
    this.#state = "up";
  }

  end(): void {
    this.#state = "over";
  }
}

type Options = RedisClientOptions;

/** What all clients have in common. */
function clientOptions({ username, password, database, tls }: RedisTarget, timeoutMs: number): Options {
  return {
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    database,
    // A command without a connection is refused instead of kept.
    disableOfflineQueue: true,
    // The package's own costs an AbortSignal per command; who waits here has a time limit of its own.
    commandOptions: { timeout: undefined } as never,
    // Neither asks a server for what its users may not do.
    disableClientInfo: true,
    maintNotifications: "disabled",
    socket: {
      connectTimeout: timeoutMs,
      reconnectStrategy: false,
      ...(tls === undefined ? {} : { tls: true, ...definedOf(tls) }),
    } as Options["socket"] & object,
  };
}

function definedOf(options: object): object {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined));
}

function openServer(
  { createClient }: Redis,
  target: RedisTarget,
  purpose: Purpose,
  timeoutMs: number,
  watch: Watch,
): [RedisConnection, Promise<unknown>] {
  const { at } = target;
  const options = clientOptions(target, timeoutMs);
  const place =
    at.kind === "server" ? { host: at.host, port: at.port } : at.kind === "socket" ? { path: at.path } : {};
  const clients = (purpose === "hub" ? [0, 1] : [0]).map(() => {
    const client = createClient({
      ...options,
      socket: { ...options.socket, ...place } as Options["socket"] & object,
    });
    client.on("error", watch.failed).on("end", () => watch.ended());
    return client;
  });
  const publisher = clients[0] as (typeof clients)[0];
  const subscriber = clients[1] ?? publisher;
  const connection: RedisConnection = {
    sPublish: (channel, message) => publisher.sPublish(channel, message).then(Number),
    sSubscribe: (channel, hear) => subscriber.sSubscribe(channel, hear, true),
    sUnsubscribe: (channel) => subscriber.sUnsubscribe(channel),
    command: (_key, args) => publisher.sendCommand(args),
    heartbeatChannels: async (base) => [base],
    destroy() {
      watch.end();
      for (const client of clients) silently(() => client.destroy());
    },
  };
  return [connection, Promise.all(clients.map((client) => client.connect()))];
}

function openSentinel(
  { createSentinel }: Redis,
  target: RedisTarget,
  at: Extract<RedisTarget["at"], { kind: "sentinel" }>,
  timeoutMs: number,
  watch: Watch,
): [RedisConnection, Promise<unknown>] {
  const options = clientOptions(target, timeoutMs);
  const { username, password } = at;
  const client = createSentinel({
    name: at.master,
    sentinelRootNodes: [...at.nodes],
    nodeClientOptions: options as RedisSentinelOptions["nodeClientOptions"] & object,
    sentinelClientOptions: {
      ...options,
      username,
      password,
      database: 0,
    } as RedisSentinelOptions["sentinelClientOptions"] & object,
    // It asks every sentinel anew in each; whoever connects tries again later anyway.
    maxCommandRediscovers: 1,
  });
  client.on("error", watch.failed).on("end", () => watch.ended());
  client.on("reconnecting", () => watch.ended("the sentinels name another master"));
  client.on("client-error", ({ type, error }: { type: string; error: Error }) => {
    // That a sentinel goes is no trouble while others are there.
    if (type === "MASTER") watch.failed(error);
    else watch.lastError ??= error;
  });
  client.on("topology-change", ({ type }: { type: string }) => {
    if (type === "MASTER_CHANGE") watch.ended("the sentinels name another master");
  });
  const connection: RedisConnection = {
    sPublish: (channel, message) => client.sPublish(channel, message).then(Number),
    sSubscribe: (channel, hear) => client.sSubscribe(channel, hear, true),
    sUnsubscribe: (channel) => client.sUnsubscribe(channel),
    command: (_key, args) => client.sendCommand(false, args),
    heartbeatChannels: async (base) => [base],
    destroy() {
      watch.end();
      void client.destroy().catch(() => {});
    },
  };
  return [connection, client.connect()];
}

function openCluster(
  { createCluster }: Redis,
  target: RedisTarget,
  at: Extract<RedisTarget["at"], { kind: "cluster" }>,
  timeoutMs: number,
  watch: Watch,
): [RedisConnection, Promise<unknown>] {
  const { database: _only0, ...defaults } = clientOptions(target, timeoutMs);
  const client = createCluster({
    rootNodes: at.nodes.map(({ host, port }) => ({ socket: { host, port } })),
    defaults,
  });
  client.on("error", watch.failed).on("node-error", watch.failed);
  client.on("sharded-channel-moved-error", watch.failed);
  client.on("disconnect", () => watch.ended());
  client.on("node-disconnect", () => watch.ended("a node of the cluster was lost"));
  const connection: RedisConnection = {
    sPublish: (channel, message) => client.sPublish(channel, message).then(Number),
    sSubscribe: (channel, hear) => client.sSubscribe(channel, hear, true),
    sUnsubscribe: (channel) => client.sUnsubscribe(channel),
    command: (key, args) => client.sendCommand(key, false, args),
    async heartbeatChannels(base) {
      const channels = new Map<unknown, string>();
      for (let i = 0; channels.size < client.masters.length && i < MAX_NAMES; i++) {
        const name = `${base}${i}#`;
        const master = client.slots[slotOf(name)]?.master;
        if (master !== undefined && !channels.has(master)) channels.set(master, name);
      }
      return [...channels.values()];
    },
    destroy() {
      watch.end();
      silently(() => client.destroy());
    },
  };
  return [connection, client.connect()];
}

/** Enough to find one for a master that has a single slot. */
const MAX_NAMES = 500_000;

/** CRC16 (XMODEM) of a name without hash tag, modulo 16384: the Redis Cluster specification. */
function slotOf(name: string): number {
  let crc = 0;
  for (const byte of Buffer.from(name)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++)
      crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
  }
  return crc % 16_384;
}

/** Destroying what never was connected, or no longer is, is refused; nobody cares. */
function silently(act: () => void): void {
  try {
    act();
  } catch {
    // As said.
  }
}
