/** The Redis of a run: one server that keeps its data when it is killed, or a master with a replica and a sentinel. */
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "redis";
import type { RedisOptions } from "sluice/redis";
import { RedisGroup, RedisServer, until } from "../redis/redis-server.ts";
import type { Topology } from "./plan.ts";

const PASSWORD = "of-the-fault-checker";
/** So that what was acknowledged outlives its process. */
const ON_DISK = ["--appendonly", "yes", "--appendfsync", "everysec"];
const ELECTION_MS = 15_000;

type Client = ReturnType<typeof createClient>;

export class RedisPlace {
  readonly topology: Topology;
  readonly #servers: readonly RedisServer[];
  readonly #sentinel: RedisServer | undefined;
  /** Nobody may outlive this process. */
  readonly #endAll = () => {
    for (const { pid } of this.#all) end(pid);
  };

  private constructor(topology: Topology, servers: readonly RedisServer[], sentinel?: RedisServer) {
    this.topology = topology;
    this.#servers = servers;
    this.#sentinel = sentinel;
    process.once("exit", this.#endAll);
  }

  static async start(topology: Topology): Promise<RedisPlace> {
    if (topology === "single") return new RedisPlace(topology, [await RedisServer.start(...ON_DISK)]);
    const { servers } = await RedisGroup.sentinel(PASSWORD);
    return new RedisPlace(topology, servers.slice(0, 2), servers[2]);
  }

  /** For one server: where it is. A node may go there by a way of its own. */
  get port(): number {
    return this.#servers[0]?.port ?? 0;
  }

  /** @param port - of the way, for one server */
  options(port: number): RedisOptions {
    if (this.#sentinel === undefined) return { port };
    const nodes = [{ host: "127.0.0.1", port: this.#sentinel.port }];
    return { password: PASSWORD, sentinel: { master: "mymaster", nodes, password: PASSWORD } };
  }

  async kill(forMs: number): Promise<void> {
    const server = await this.#master();
    await server.end("SIGKILL");
    await sleep(forMs);
    await server.begin();
  }

  async freeze(forMs: number): Promise<void> {
    const server = await this.#master();
    server.freeze();
    await sleep(forMs);
    server.thaw();
  }

  async empty(): Promise<void> {
    await this.withClient((client) => client.sendCommand(["FLUSHALL"]));
  }

  async restartEmpty(forMs: number): Promise<void> {
    const server = await this.#master();
    await this.empty();
    await server.end("SIGKILL");
    await sleep(forMs);
    await server.begin();
  }

  /** Kills the master; the sentinel makes the replica one, and the old one its replica. */
  async failOver(forMs: number): Promise<void> {
    const old = await this.#master();
    await old.end("SIGKILL");
    await until(async () => (await this.#master().catch(() => old)) !== old, ELECTION_MS);
    await sleep(forMs);
    await old.begin();
  }

  /** All processes run, and a master serves. */
  async heal(): Promise<void> {
    for (const server of this.#all) server.thaw();
    await until(async () => {
      const answer = await this.withClient((client) => client.ping()).catch(() => "");
      return answer === "PONG";
    }, ELECTION_MS);
  }

  /** Every key, and for how many milliseconds it stays; -1: for ever. */
  async keys(): Promise<ReadonlyMap<string, number>> {
    return this.withClient(async (client) => {
      const names = await client.keys("*");
      return new Map(
        await Promise.all(names.map(async (name) => [name, await client.pTTL(name)] as [string, number])),
      );
    });
  }

  /** Topics that anybody has subscribed to. */
  async topics(): Promise<readonly string[]> {
    return this.withClient(async (client) => {
      const names = (await client.sendCommand(["PUBSUB", "SHARDCHANNELS"])) as unknown as string[];
      return names.filter((name) => !name.startsWith("__sentinel__"));
    });
  }

  async close(): Promise<void> {
    process.off("exit", this.#endAll);
    await Promise.all(this.#all.map((server) => server.close()));
  }

  async withClient<T>(use: (client: Client) => Promise<T>): Promise<T> {
    const server = await this.#master();
    const password = this.#sentinel === undefined ? {} : { password: PASSWORD };
    const socket = { port: server.port, reconnectStrategy: false as const, connectTimeout: 1_000 };
    const client = createClient({ socket, ...password, commandOptions: { timeout: 2_000 } });
    client.on("error", () => {});
    await client.connect();
    try {
      return await use(client as Client);
    } finally {
      client.destroy();
    }
  }

  get #all(): readonly RedisServer[] {
    return this.#sentinel === undefined ? this.#servers : [...this.#servers, this.#sentinel];
  }

  async #master(): Promise<RedisServer> {
    const [first] = this.#servers;
    if (first === undefined) throw new Error("there is no Redis");
    if (this.#sentinel === undefined) return first;
    const client = createClient({
      socket: { port: this.#sentinel.port, reconnectStrategy: false },
      password: PASSWORD,
    });
    client.on("error", () => {});
    await client.connect();
    try {
      const at = (await client.sendCommand(["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"])) as unknown;
      const port = Number((at as string[])[1]);
      return this.#servers.find((server) => server.port === port) ?? first;
    } finally {
      client.destroy();
    }
  }
}

function end(pid: number): void {
  try {
    if (pid > 0) process.kill(pid, "SIGKILL");
  } catch {
    // It has ended.
  }
}
