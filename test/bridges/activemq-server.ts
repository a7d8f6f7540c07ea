/** A real ActiveMQ for tests, in memory and on a free port. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { testNeeding } from "../needing.ts";
import { freePort, until } from "../redis/redis-server.ts";
import { Door } from "./door.ts";

const HOME = process.env.ACTIVEMQ_HOME ?? "/usr/share/activemq";

export const hasActivemq =
  existsSync(join(HOME, "lib/activemq-stomp.jar")) && spawnSync("java", ["-version"]).status === 0;

/** A test that is skipped, by name, where there is no ActiveMQ. */
export const activemqTest = testNeeding(hasActivemq, "install activemq");

export class ActivemqServer {
  readonly port: number;
  readonly #folder: string;
  readonly #process: ChildProcess;

  private constructor(port: number, folder: string, process: ChildProcess) {
    this.port = port;
    this.#folder = folder;
    this.#process = process;
  }

  static async start(): Promise<ActivemqServer> {
    const folder = await mkdtemp(join(tmpdir(), "activemq-"));
    const port = await freePort();
    const places = { home: HOME, base: folder, conf: folder, data: folder };
    const child = spawn(
      "java",
      [
        "-Xmx128m",
        ...Object.entries(places).map(([name, path]) => `-Dactivemq.${name}=${path}`),
        ...["-cp", `${HOME}/lib/*:${HOME}/lib/optional/*`, "org.apache.activemq.console.Main", "start"],
        `broker:(stomp://127.0.0.1:${port})?persistent=false&useJmx=false&brokerName=t${port}`,
      ],
      { stdio: "ignore", cwd: folder },
    );
    await until(() => {
      if (child.exitCode !== null) throw new Error(`activemq ended with ${child.exitCode}`);
      return Door.leadsSomewhere(port);
    });
    return new ActivemqServer(port, folder, child);
  }

  async close(): Promise<void> {
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGTERM");
    await ended;
    await rm(this.#folder, { recursive: true, force: true });
  }
}
