/** A real RabbitMQ for tests, with its STOMP plugin, on free ports and with nothing left behind. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Channel } from "amqplib";
import { testNeeding } from "../needing.ts";
import { freePort, until } from "../redis/redis-server.ts";
import { Door } from "./door.ts";

/** The script itself: the one in the PATH changes the user. */
const SCRIPT = scriptIn("/usr/lib/rabbitmq/lib") ?? scriptIn("/opt/homebrew/opt/rabbitmq");

function scriptIn(folder: string): string | undefined {
  if (!existsSync(folder)) return undefined;
  const found = ["", ...readdirSync(folder)].map((name) => join(folder, name, "sbin/rabbitmq-server"));
  return found.find((path) => existsSync(path));
}

export const hasRabbit = SCRIPT !== undefined;

/** A test that is skipped, by name, where there is no RabbitMQ. */
export const rabbitTest = testNeeding(hasRabbit, "install rabbitmq-server");

export class RabbitmqServer {
  readonly port: number;
  readonly stompPort: number;
  readonly #folder: string;
  readonly #processes: readonly [ChildProcess, ChildProcess];

  private constructor(
    port: number,
    stompPort: number,
    folder: string,
    processes: readonly [ChildProcess, ChildProcess],
  ) {
    this.port = port;
    this.stompPort = stompPort;
    this.#folder = folder;
    this.#processes = processes;
  }

  static async start(): Promise<RabbitmqServer> {
    const folder = await mkdtemp(join(tmpdir(), "rabbitmq-"));
    const [port, stompPort, distPort, epmdPort] = [
      await freePort(),
      await freePort(),
      await freePort(),
      await freePort(),
    ];
    const config = [
      `listeners.tcp.1 = 127.0.0.1:${port}`,
      `stomp.listeners.tcp.1 = 127.0.0.1:${stompPort}`,
      "disk_free_limit.absolute = 1MB",
    ];
    await writeFile(join(folder, "rabbitmq.conf"), `${config.join("\n")}\n`);
    await writeFile(join(folder, "plugins"), "[rabbitmq_stomp].\n");
    // Its own, in the foreground: otherwise Erlang starts one that nobody ends.
    const epmd = spawn("epmd", ["-address", "127.0.0.1", "-port", String(epmdPort)], { stdio: "ignore" });
    await until(() => Door.leadsSomewhere(epmdPort));
    const server = spawn(String(SCRIPT), [], {
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        PATH: process.env.PATH,
        HOME: folder,
        ERL_EPMD_PORT: String(epmdPort),
        RABBITMQ_NODENAME: `t${port}@localhost`,
        RABBITMQ_DIST_PORT: String(distPort),
        RABBITMQ_MNESIA_BASE: join(folder, "mnesia"),
        RABBITMQ_LOG_BASE: join(folder, "log"),
        RABBITMQ_LOGS: "-",
        RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, "plugins"),
        RABBITMQ_CONFIG_FILE: join(folder, "rabbitmq"),
        RABBITMQ_PID_FILE: join(folder, "pid"),
      },
    });
    let said = "";
    await new Promise<void>((resolve, reject) => {
      for (const stream of [server.stdout, server.stderr]) {
        stream?.on("data", (chunk) => {
          said += chunk;
          if (said.includes("Server startup complete")) resolve();
        });
      }
      server.once("exit", (code) => reject(new Error(`rabbitmq-server ended with ${code}:\n${said}`)));
    });
    for (const stream of [server.stdout, server.stderr]) stream?.removeAllListeners("data").resume();
    return new RabbitmqServer(port, stompPort, folder, [server, epmd]);
  }

  get url(): string {
    return `amqp://guest:guest@127.0.0.1:${this.port}`;
  }

  async close(): Promise<void> {
    for (const child of this.#processes) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const ended = once(child, "exit");
      child.kill("SIGTERM");
      await ended;
    }
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** Takes what a queue of rejected messages gets, until there are so many. */
export function deadLetters(channel: Channel, queue: string): (count: number) => Promise<readonly string[]> {
  const rejected: string[] = [];
  return async (count) => {
    await until(async () => {
      const message = await channel.get(queue, { noAck: true });
      if (message) rejected.push(message.content.toString());
      return rejected.length >= count;
    });
    return rejected;
  };
}
