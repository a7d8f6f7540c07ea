/** Real Redis servers for tests, each on a free port with nothing kept on disk. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "@jest/globals";

export const hasRedis = spawnSync("redis-server", ["--version"]).status === 0;

/** A test that is skipped, by name, where there is no redis-server. */
export const redisTest: typeof test = hasRedis
  ? test
  : (((name: string, run: () => void) => test.skip(`${name} [skipped: install redis-server]`, run)) as never);

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
    return RedisServer.on(await freePort(), ...args);
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

export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}
