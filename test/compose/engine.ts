/** docker and docker compose (v2, or docker-compose 1.29), each call bounded in time. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, "../../..");
const BUILD_MS = 600_000;
const COMMAND_MS = 180_000;

export class Engine {
  readonly #env: NodeJS.ProcessEnv;
  readonly #command: readonly string[];

  private constructor(command: readonly string[], env: NodeJS.ProcessEnv) {
    this.#command = command;
    this.#env = env;
  }

  /** @throws if no engine answers */
  static async find(project: string, settings: Readonly<Record<string, string>>): Promise<Engine> {
    await run("docker", ["info"], { timeout: 10_000 });
    const env = { ...process.env, COMPOSE_PROJECT_NAME: project, ...settings };
    const hasPlugin = await run("docker", ["compose", "version"], { timeout: 10_000 }).then(
      () => true,
      () => false,
    );
    return new Engine(hasPlugin ? ["docker", "compose"] : ["docker-compose"], env);
  }

  get name(): string {
    return this.#command.join(" ");
  }

  build(): Promise<string> {
    return this.#run([...this.#command, "build"], BUILD_MS);
  }

  compose(...args: readonly string[]): Promise<string> {
    return this.#run([...this.#command, ...args]);
  }

  docker(...args: readonly string[]): Promise<string> {
    return this.#run(["docker", ...args]);
  }

  script(path: string): Promise<string> {
    return this.#run([join(ROOT, path)], BUILD_MS);
  }

  /** Short ids of the running nodes, as their hosts are named. */
  async nodes(): Promise<readonly string[]> {
    const ids = await this.compose("ps", "-q", "app");
    const running = await this.docker("ps", "-q", "--no-trunc");
    return ids
      .split("\n")
      .filter((id) => id !== "" && running.includes(id))
      .map((id) => id.slice(0, 12));
  }

  async #run([command = "", ...args]: readonly string[], timeout = COMMAND_MS): Promise<string> {
    const { stdout } = await run(command, args, {
      cwd: ROOT,
      env: this.#env,
      timeout,
      maxBuffer: 64 * 1024 * 1024,
    });
    return stdout;
  }
}
