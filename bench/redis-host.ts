/** A child process with a redis-server of its own, which ends with it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createClient } from "redis";
import { serve } from "./child.ts";
import type { RedisVerbs } from "./protocol.ts";

let ask: ReturnType<typeof createClient>;

const verbs: RedisVerbs = {
  async start() {
    const port = await freePort();
    await begin(port);
    ask = createClient({ socket: { port, reconnectStrategy: false } });
    // Its end is seen by whoever asks next.
    ask.on("error", () => {});
    await ask.connect();
    const { redis_version: version = "" } = await info("server");
    return { url: `redis://127.0.0.1:${port}`, version };
  },

  async usage() {
    const { used_cpu_user, used_cpu_sys } = await info("cpu");
    const { used_memory_rss, used_memory } = await info("memory");
    const cpuUs = (Number(used_cpu_user) + Number(used_cpu_sys)) * 1e6;
    return { cpuUs, rssBytes: Number(used_memory_rss), heapBytes: Number(used_memory) };
  },

  async subscriptions() {
    const clients = String(await ask.sendCommand(["CLIENT", "LIST"]));
    let count = 0;
    for (const [, number] of clients.matchAll(/ p?s?sub=(\d+)/g)) count += Number(number);
    return count;
  },

  keys: async () => Number(await ask.dbSize()),
};

async function info(section: string): Promise<Readonly<Record<string, string>>> {
  const lines = (await ask.info(section)).split("\r\n").filter((line) => line.includes(":"));
  return Object.fromEntries(lines.map((line) => line.split(":", 2)));
}

/** Resolves when it takes connections. */
async function begin(port: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "bench-redis-"));
  const options = ["--port", String(port), "--bind", "127.0.0.1", "--dir", folder, "--save", ""];
  const redis = spawn("redis-server", options, { stdio: ["ignore", "pipe", "inherit"] });
  process.on("exit", () => {
    redis.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  });
  await ready(redis);
  redis.stdout?.resume();
}

function ready(redis: ChildProcess): Promise<void> {
  let said = "";
  return new Promise((resolve, reject) => {
    redis.stdout?.on("data", (text) => {
      said += text;
      if (said.includes("Ready to accept connections")) resolve();
    });
    redis.once("exit", (code) => reject(new Error(`redis-server ended with ${code}:\n${said}`)));
    redis.once("error", (error) =>
      reject(new Error(`redis-server 7.0 or newer is needed: ${error.message}`)),
    );
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return port;
}

serve({ ...verbs });
