import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import type { NodeSettings, SayOrder } from "./node-program.ts";

const PROGRAM = fileURLToPath(new URL("./node-program.js", import.meta.url));
const ANSWER_MS = 15_000;

export interface NodeEar {
  /** Something a node has noticed. */
  fact(node: string, fact: { readonly fact: string; readonly [field: string]: unknown }): void;
}

interface Told {
  readonly number?: number;
  readonly value?: unknown;
  readonly code?: string;
  readonly message?: string;
  readonly ready?: string;
  readonly port?: number;
  readonly handles?: Record<string, number>;
  readonly fact?: string;
}

interface Pending {
  resolve(value: unknown): void;
  reject(error: Error): void;
}

/** Why a node did not do what it was asked; `gone` if nobody knows whether it did. */
export class NodeRefusal extends Error {
  readonly code: string;
  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

/** One life of a node. */
export class FaultyNode {
  readonly port: number;
  readonly name: string;
  /** What kept it alive before anybody came. */
  readonly handlesAtStart: Readonly<Record<string, number>>;
  readonly #child: ChildProcess;
  readonly #pending: Map<number, Pending>;
  #number = 0;

  private constructor(child: ChildProcess, ready: Told, pending: Map<number, Pending>) {
    this.#child = child;
    this.port = ready.port ?? 0;
    this.name = ready.ready ?? "";
    this.handlesAtStart = ready.handles ?? {};
    this.#pending = pending;
  }

  /** Rejects when it could not start: Redis may be away. */
  static async start(settings: NodeSettings, ear: NodeEar): Promise<FaultyNode> {
    const child = fork(PROGRAM, [JSON.stringify(settings)], {
      execArgv: [],
      stdio: ["ignore", 2, "pipe", "ipc"],
    });
    children.add(child);
    child.once("exit", () => children.delete(child));
    const pending = new Map<number, Pending>();
    let name = "";
    // One that cannot start, because Redis is away, says so at length.
    child.stderr?.on("data", (text) => name !== "" && process.stderr.write(text));
    const ready = new Promise<Told>((resolve, reject) => {
      child.on("message", (told: Told) => {
        if (told.ready !== undefined) {
          name = told.ready;
          resolve(told);
        } else if (told.fact !== undefined) ear.fact(name, told as { fact: string });
        else settle(pending, told);
      });
      child.once("exit", (code, signal) => {
        reject(new Error(`a node ended before it was ready: ${code ?? signal}`));
        for (const { reject: refuse } of pending.values()) refuse(new NodeRefusal("gone", "the node ended"));
        pending.clear();
      });
    });
    return new FaultyNode(child, await ready, pending);
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  async call(call: "say" | "present" | "sizes" | "handles", order?: Partial<SayOrder>): Promise<unknown> {
    if (!this.isAlive || !this.#child.connected) throw new NodeRefusal("gone", "the node has ended");
    this.#number += 1;
    const number = this.#number;
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise((resolve, reject) => {
        this.#pending.set(number, { resolve, reject });
        timer = setTimeout(() => reject(new NodeRefusal("gone", "the node does not answer")), ANSWER_MS);
        this.#child.send({ number, call, order }, () => {});
      });
    } finally {
      clearTimeout(timer);
      this.#pending.delete(number);
    }
  }

  freeze(): void {
    this.#child.kill("SIGSTOP");
  }

  thaw(): void {
    this.#child.kill("SIGCONT");
  }

  async kill(): Promise<void> {
    if (!this.isAlive) return;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }

  /** Asks it to end; resolves when it serves nobody any more, and has ended. */
  async stop(withinMs: number): Promise<void> {
    if (!this.isAlive) return;
    const stopped = Promise.race([once(this.#child, "disconnect"), once(this.#child, "exit")]);
    this.#child.kill("SIGTERM");
    await within(withinMs, stopped);
    await this.kill();
  }

  /** Asks it to end by itself; how it did, or undefined if it did not within that time. */
  async end(withinMs: number): Promise<number | string | undefined> {
    if (!this.isAlive) return this.#child.exitCode ?? this.#child.signalCode ?? undefined;
    const ended = once(this.#child, "exit") as Promise<[number | null, string | null]>;
    this.#child.kill("SIGTERM");
    const how = await within(withinMs, ended);
    if (how === undefined) await this.kill();
    return how === undefined ? undefined : (how[0] ?? how[1] ?? undefined);
  }
}

async function within<T>(ms: number, promise: Promise<T>): Promise<T | undefined> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(resolve, ms, undefined);
  });
  const first = await Promise.race([promise, late]);
  clearTimeout(timer);
  return first;
}

/** Nobody may outlive this process. */
const children = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});

function settle(pending: Map<number, Pending>, { number = 0, value, code, message }: Told): void {
  const asked = pending.get(number);
  if (code === undefined) asked?.resolve(value);
  else asked?.reject(new NodeRefusal(code, message ?? ""));
}
