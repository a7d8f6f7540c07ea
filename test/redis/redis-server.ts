/** Real Redis servers for tests, each on a free port with nothing kept on disk. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "redis";
import { testNeeding } from "../needing.ts";

export const hasRedis = spawnSync("redis-server", ["--version"]).status === 0;

/** A test that is skipped, by name, where there is no redis-server. */
export const redisTest = testNeeding(hasRedis, "install redis-server");

export class RedisServer {
  readonly port: number;
  readonly folder: string;
  readonly #args: readonly string[];
  #process: ChildProcess | undefined;

  private constructor(port: number, folder: string, args: readonly string[]) {
    this.port = port;
    this.folder = folder;
    this.#args = args;
  }

  /** @param args - as on its command line, e.g. `--requirepass secret` */
  static async start(...args: string[]): Promise<RedisServer> {
    return onFreePort(async () => RedisServer.on(await freePort(), ...args));
  }

  static async on(port: number, ...args: string[]): Promise<RedisServer> {
    const folder = await mkdtemp(join(tmpdir(), "redis-"));
    const server = new RedisServer(port, folder, args);
    await server.begin();
    return server;
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  /** Begins (again), empty. */
  async begin(): Promise<void> {
    const isSentinel = this.#args.includes("--sentinel");
    const child = spawn("redis-server", this.#commandLine(isSentinel), {
      stdio: ["ignore", "pipe", "inherit"],
    });
    this.#process = child;
    let said = "";
    await new Promise<void>((resolve, reject) => {
      child.stdout?.on("data", (text) => {
        said += text;
        if (/Ready to accept connections|\+monitor master|Sentinel ID is/.test(said)) resolve();
      });
      child.once("exit", (code) => reject(new Error(`redis-server ended with ${code}:\n${said}`)));
    });
    child.stdout?.removeAllListeners("data").resume();
  }

  /** Ends it: SIGTERM closes its connections, SIGKILL too. */
  async end(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGCONT");
    child.kill(signal);
    await ended;
  }

  freeze(): void {
    this.#process?.kill("SIGSTOP");
  }

  thaw(): void {
    this.#process?.kill("SIGCONT");
  }

  /** For good. */
  async close(): Promise<void> {
    await this.end();
    await rm(this.folder, { recursive: true, force: true });
  }

  #commandLine(isSentinel: boolean): string[] {
    // A sentinel's configuration file comes first.
    if (isSentinel) return [...this.#args, "--port", String(this.port)];
    const place = ["--port", String(this.port), "--bind", "127.0.0.1", "--dir", this.folder];
    return [...place, "--save", "", "--appendonly", "no", ...this.#args];
  }
}

/** Again with others where somebody else has taken the port that was free a moment ago. */
async function onFreePort<T>(begin: () => Promise<T>, attempts = 5): Promise<T> {
  try {
    return await begin();
  } catch (error) {
    if (attempts <= 1 || !String(error).includes("Address already in use")) throw error;
    return onFreePort(begin, attempts - 1);
  }
}

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

/** Several servers that belong together. */
export class RedisGroup {
  readonly servers: readonly RedisServer[];

  private constructor(servers: readonly RedisServer[]) {
    this.servers = servers;
  }

  /** A cluster of masters, each with as many replicas, that serves all slots. */
  static async cluster(masters: number, replicas: number, ...args: string[]): Promise<RedisGroup> {
    const started = await Promise.allSettled(
      Array.from({ length: masters * (1 + replicas) }, () =>
        onFreePort(async () => {
          const busPort = await freePort();
          const server = await RedisServer.start(
            ...[
              "--cluster-enabled",
              "yes",
              "--cluster-node-timeout",
              "1500",
              "--cluster-port",
              String(busPort),
            ],
            ...["--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0", ...args],
          );
          return { server, busPort };
        }),
      ),
    );
    const nodes = started.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    const group = new RedisGroup(nodes.map(({ server }) => server));
    try {
      for (const one of started) if (one.status === "rejected") throw one.reason;
      await joined(nodes, masters, args);
    } catch (error) {
      await group.close();
      throw error;
    }
    return group;
  }

  /** A master, a replica and a sentinel, in this order. */
  static async sentinel(password: string): Promise<RedisGroup> {
    const secret = ["--requirepass", password, "--masterauth", password];
    const master = await RedisServer.start(...secret);
    const replica = await RedisServer.start(...secret, "--replicaof", "127.0.0.1", String(master.port));
    const config = join(replica.folder, "sentinel.conf");
    const lines = [
      `dir ${replica.folder}`,
      `sentinel monitor mymaster 127.0.0.1 ${master.port} 1`,
      `sentinel auth-pass mymaster ${password}`,
      "sentinel down-after-milliseconds mymaster 500",
      "sentinel failover-timeout mymaster 3000",
      `requirepass ${password}`,
    ];
    await writeFile(config, `${lines.join("\n")}\n`);
    const sentinel = await RedisServer.start(config, "--sentinel");
    const client = await createClient({ socket: { port: sentinel.port }, password }).connect();
    await until(async () => {
      const replicas = (await client.sendCommand(["SENTINEL", "REPLICAS", "mymaster"])) as unknown[];
      return replicas.length === 1;
    });
    client.destroy();
    return new RedisGroup([master, replica, sentinel]);
  }

  /** Where they are, for a URL. */
  get hosts(): string {
    return this.servers.map(({ port }) => `127.0.0.1:${port}`).join(",");
  }

  async close(): Promise<void> {
    await Promise.all(this.servers.map((server) => server.close()));
  }
}

/** Makes a cluster of servers that run. */
async function joined(
  nodes: readonly { readonly server: RedisServer; readonly busPort: number }[],
  masters: number,
  args: readonly string[],
): Promise<void> {
  const password = args[args.indexOf("--requirepass") + 1];
  const clients = await Promise.all(
    nodes.map(({ server }) =>
      createClient({
        socket: { port: server.port },
        ...(args.includes("--requirepass") ? { password: password as string } : {}),
      }).connect(),
    ),
  );
  try {
    const command = (i: number, ...words: string[]) => clients[i]?.sendCommand(["CLUSTER", ...words]);
    const [first] = nodes;
    await Promise.all(
      nodes.map(async (_, i) => {
        if (i < masters) {
          const [from, to] = [i, i + 1].map((n) => Math.floor((16_384 * n) / masters));
          await command(i, "ADDSLOTSRANGE", String(from), String((to as number) - 1));
        }
        await command(i, "SET-CONFIG-EPOCH", String(i + 1));
      }),
    );
    // Only now: a node that knows another takes no epoch.
    for (let i = 1; i < nodes.length; i++) {
      await command(i, "MEET", "127.0.0.1", String(first?.server.port), String(first?.busPort));
    }
    const all = async (holds: (info: string) => boolean) => {
      for (const i of nodes.keys()) await until(async () => holds(String(await command(i, "INFO"))));
    };
    await all((info) => info.includes(`cluster_known_nodes:${nodes.length}`));
    for (let i = masters; i < nodes.length; i++) {
      const id = String(await command(i % masters, "MYID"));
      await until(async () => String(await command(i, "NODES")).includes(id));
      await command(i, "REPLICATE", id);
    }
    await all((info) => info.includes("cluster_state:ok"));
    for (let i = masters; i < nodes.length; i++) {
      await until(async () =>
        String(await clients[i]?.info("replication")).includes("master_link_status:up"),
      );
    }
  } finally {
    for (const client of clients) client.destroy();
  }
}

/** Waits for a fact. */
export async function until(holds: () => boolean | Promise<boolean>, timeoutMs = 20_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`never came true: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
