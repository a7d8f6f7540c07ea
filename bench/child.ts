/** Requests between the benchmark and its child processes, over the channel that `fork` opens. */
import { type ChildProcess, fork, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { Usage } from "./protocol.ts";

interface Request {
  readonly id: number;
  readonly verb: string;
  readonly input: unknown;
}

type Answer =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: string };

type Verb = (input: never) => Promise<unknown>;
type Input<V> = V extends (...input: infer I) => unknown ? I : never;
type Output<V> = V extends (...input: never[]) => Promise<infer O> ? O : never;

interface Waiting {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/**
 * A module of ours, relative to this file and without its ending, as that is another one in `dist/`; or any
 * program that speaks JSON, a line each, on the descriptor that `NODE_CHANNEL_FD` names.
 */
export type Program = string | { readonly command: string; readonly args: readonly string[] };

export function moduleFile(module: string): string {
  return fileURLToPath(new URL(`${module}${import.meta.url.slice(-3)}`, import.meta.url));
}

/** A child process, as its parent sees it. */
export class Child<Verbs extends { readonly [K in keyof Verbs]: Verb }> {
  readonly name: string;
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;

  constructor(name: string, program: Program, flags: readonly string[] = []) {
    this.name = name;
    this.#process =
      typeof program === "string"
        ? fork(moduleFile(program), { execArgv: [...process.execArgv, ...flags] })
        : spawn(program.command, program.args, { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    // That it could not be started is told to whoever asks it something.
    this.#process.on("error", () => {});
    this.#process.on("message", (answer: Answer) => this.#settle(answer));
    this.#process.on("exit", (code, signal) => {
      const ended = new Error(`${name} ended (${signal ?? `status ${code}`})`);
      for (const { reject } of this.#waiting.values()) reject(ended);
      this.#waiting.clear();
    });
  }

  call<K extends keyof Verbs & string>(verb: K, ...[input]: Input<Verbs[K]>): Promise<Output<Verbs[K]>> {
    this.#lastId += 1;
    const request: Request = { id: this.#lastId, verb, input };
    return new Promise((resolve, reject) => {
      this.#waiting.set(request.id, { resolve: resolve as Waiting["resolve"], reject });
      this.#process.send(request, (error) => error && reject(error));
    });
  }

  /** Ends the process and waits for it. */
  async stop(): Promise<void> {
    const { pid, exitCode, signalCode } = this.#process;
    if (pid === undefined || exitCode !== null || signalCode !== null) return;
    const exit = once(this.#process, "exit");
    if (this.#process.connected) this.#process.disconnect();
    await exit;
  }

  #settle(answer: Answer): void {
    const waiting = this.#waiting.get(answer.id);
    this.#waiting.delete(answer.id);
    if ("error" in answer) waiting?.reject(new Error(`${this.name}: ${answer.error}`));
    else waiting?.resolve(answer.value);
  }
}

/** The child's side: answers requests until the parent is gone. `usage` is answered for everyone. */
export function serve(verbs: Readonly<Record<string, Verb>>): void {
  const table = new Map<string, Verb>(Object.entries({ usage, ...verbs }));
  const answer = async ({ id, verb, input }: Request): Promise<Answer> => {
    try {
      return { id, value: await table.get(verb)?.(input as never) };
    } catch (error) {
      return { id, error: String(error) };
    }
  };
  process.on("message", (request: Request) => {
    void answer(request).then((given) => process.send?.(given));
  });
  process.on("disconnect", () => process.exit());
}

export async function usage(): Promise<Usage> {
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed, external } = process.memoryUsage();
  return { cpuUs: user + system, rssBytes: rss, heapBytes: heapUsed + external };
}
