/** Workers in processes of their own, to be killed, frozen and blocked. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { RedisBrokerOptions } from "../../src/tasks/redis-broker.ts";
import type { InstalledPackage } from "../installed-package.ts";
import { until } from "../redis/redis-server.ts";

/**
 * It works on the queue `q`. What a job does is its body: `wait` until it is aborted, `block` the event loop
 * for so many milliseconds, or be `done`. It tells what it does, and closes when its parent is gone.
 */
function source(dist: string): string {
  const broker = JSON.stringify(pathToFileURL(join(dist, "src/tasks/redis-broker.js")).href);
  return `
import { RedisBroker } from ${broker};
const broker = new RedisBroker(JSON.parse(process.argv[2]));
const tell = (...words) => process.connected && process.send(words.join(" "));
await broker.open({
  down: () => tell("down"),
  up: () => tell("up"),
  failed: (error) => tell("failed", error.stack),
  stalled: (id) => tell("stalled", id),
});
await broker.consume("q", { concurrency: 5 }, async ({ id, body, attempt, signal }) => {
  tell("run", id, attempt);
  signal.addEventListener("abort", () => tell("aborted", id, signal.reason));
  const { wait, block } = JSON.parse(body);
  if (block) for (const end = Date.now() + block; Date.now() < end; );
  if (wait && !signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve));
  // A turn for whatever was to be heard meanwhile.
  await new Promise((resolve) => setTimeout(resolve, 300));
  return { kind: "done", result: JSON.stringify("by " + process.pid) };
});
process.on("disconnect", () => broker.close(0));
tell("ready");
`;
}

export class WorkerProgram {
  readonly child: ChildProcess;
  readonly said: string[] = [];

  private constructor(child: ChildProcess) {
    this.child = child;
    child.on("message", (words: string) => this.said.push(words));
  }

  static async start(
    { folder, dist }: InstalledPackage,
    options: RedisBrokerOptions,
  ): Promise<WorkerProgram> {
    const file = join(folder, "worker.js");
    await writeFile(file, source(dist));
    const program = new WorkerProgram(fork(file, [JSON.stringify(options)], { execArgv: [] }));
    await program.says("ready");
    return program;
  }

  says(words: string): Promise<void> {
    return until(() => {
      if (this.child.exitCode !== null) throw new Error(`it ended with ${this.child.exitCode}: ${this.said}`);
      return this.said.includes(words);
    });
  }

  async kill(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, "exit");
    this.child.kill("SIGCONT");
    this.child.kill("SIGKILL");
    await ended;
  }

  /** It ends when it has nothing left to do, and in no other way. */
  async leave(): Promise<number | null> {
    const ended = once(this.child, "exit");
    this.child.disconnect();
    const [code] = await ended;
    return code;
  }
}
