/** Leads the program that is fuzzed, and hears what must never happen there. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFile } from "node:fs/promises";
import { join } from "node:path";
import { createPublishingKey } from "sluice/publishing";
import type { InstalledPackage } from "../installed-package.ts";
import { root } from "../installed-package.ts";

export interface State {
  readonly heapUsed: number;
  readonly external: number;
  /** What keeps the event loop alive, by kind. */
  readonly resources: Readonly<Record<string, number>>;
  readonly sizes: Readonly<Record<string, number>>;
  readonly connections: number;
}

interface Told {
  readonly number?: number;
  readonly state?: unknown;
  readonly violation?: string;
}

const MAX_VIOLATIONS = 20;

export class FuzzedServer {
  readonly url: string;
  readonly port: number;
  readonly publishingKey: string;
  /** What handlers, signals and the process itself complained of. */
  readonly violations: string[];
  readonly #program: ChildProcess;
  readonly #asked = new Map<number, (state: unknown) => void>();
  #number = 0;

  private constructor(
    program: ChildProcess,
    { url, port }: { url: string; port: number },
    key: string,
    said: string[],
  ) {
    this.#program = program;
    this.url = url;
    this.port = port;
    this.publishingKey = key;
    this.violations = said;
    program.on("message", ({ number, state }: Told) => {
      if (number !== undefined) this.#asked.get(number)?.(state);
    });
  }

  static async start({ folder }: InstalledPackage): Promise<FuzzedServer> {
    for (const file of ["rooms.js", "fuzzed-program.js"]) {
      await copyFile(join(root, "test/fuzz", file), join(folder, file));
    }
    const { key, hash } = createPublishingKey();
    const program = spawn(process.execPath, ["--expose-gc", "fuzzed-program.js"], {
      cwd: folder,
      env: { ...process.env, PUBLISH_HASH: hash },
      stdio: ["ignore", "inherit", "pipe", "ipc"],
    });
    const said: string[] = [];
    const say = (violation: string) => {
      if (said.length < MAX_VIOLATIONS) said.push(violation);
    };
    program.stderr?.on("data", (text) => say(`stderr: ${text}`));
    program.on("message", ({ violation }: Told) => {
      if (violation !== undefined) say(violation);
    });
    program.once("exit", (code, signal) => {
      if (code !== 0) say(`the server ended with ${code ?? signal}`);
    });
    const ended = once(program, "exit").then(() => Promise.reject(new Error(said.join("\n"))));
    ended.catch(() => {});
    const [{ state }] = (await Promise.race([once(program, "message"), ended])) as [Told];
    return new FuzzedServer(program, state as { url: string; port: number }, key, said);
  }

  state(): Promise<State> {
    return this.#ask({ ask: "state" }) as Promise<State>;
  }

  snapshot(path: string): Promise<unknown> {
    return this.#ask({ ask: "snapshot", path });
  }

  /** Ends in order; what was left then. */
  async stop(): Promise<{ readonly sizes: Readonly<Record<string, number>> }> {
    const exited = once(this.#program, "exit");
    const state = await this.#ask({ ask: "stop" });
    await exited;
    return state as { readonly sizes: Readonly<Record<string, number>> };
  }

  kill(): void {
    if (this.#program.exitCode === null) this.#program.kill("SIGKILL");
  }

  #ask(question: object): Promise<unknown> {
    this.#number += 1;
    const number = this.#number;
    return new Promise((resolve, reject) => {
      const ended = () => reject(new Error(`the server is gone:\n${this.violations.join("\n")}`));
      this.#program.once("exit", ended);
      this.#asked.set(number, (state) => {
        this.#program.off("exit", ended);
        this.#asked.delete(number);
        resolve(state);
      });
      if (!this.#program.connected) ended();
      else this.#program.send({ ...question, number });
    });
  }
}
