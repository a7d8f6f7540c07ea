/** Nodes in processes of their own, led from the test, which is their primary. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { type Backplane, type BackplaneListener, LayerUnavailable } from "sluice";
import type { ProcessHub } from "../../src/processes/process-hub.ts";

/** A program with one node in it, that does what the test asks for and tells what it hears. */
export function nodeProgram(dist: string): string {
  const from = (file: string) => JSON.stringify(pathToFileURL(join(dist, "src", file)).href);
  return `
import { ProcessBackplane } from ${from("processes/process-backplane.js")};
const backplane = new ProcessBackplane(JSON.parse(process.argv[2]));
const tell = (name) => (...args) => process.send({ heard: [name, ...args] });
const listener = Object.fromEntries(
  ["hear", "dropped", "unheard", "lost", "down", "up"].map((name) => [name, tell(name)]),
);
const calls = {
  open: () => backplane.open(listener),
  subscribe: (topic) => backplane.subscribe(topic),
  unsubscribe: (topic) => backplane.unsubscribe(topic),
  publish: (topic, texts) => { for (const text of texts) backplane.publish(topic, () => text); },
  flush: () => backplane.flush(),
  close: () => backplane.close(),
};
process.on("message", async ({ call, number, args }) => {
  if (call === undefined) return;
  try {
    await calls[call](...args);
    process.send({ number });
  } catch (error) {
    process.send({ number, failed: error.message });
  }
});
process.send({ number: 0 });
`;
}

interface Answer {
  readonly number?: number;
  readonly failed?: string;
  readonly heard?: readonly [name: keyof BackplaneListener, ...args: unknown[]];
}

/** A backplane in a child process, used from here as if it were here. */
export class RemoteNode implements Backplane {
  readonly child: ChildProcess;
  readonly #pending = new Map<number, { resolve(): void; reject(error: Error): void }>();
  readonly #started: Promise<void>;
  #number = 0;
  #listener: BackplaneListener | undefined;
  #closed: Promise<void> | undefined;

  constructor(program: string, hub: ProcessHub, options: object = {}) {
    this.child = fork(program, [JSON.stringify(options)], { serialization: "advanced", execArgv: [] });
    hub.add(this.child as never);
    this.#started = new Promise((resolve, reject) => this.#pending.set(0, { resolve, reject }));
    this.child.on("message", (answer: Answer) => this.#hear(answer));
    this.child.once("exit", () => {
      for (const { reject } of this.#pending.values()) reject(new LayerUnavailable("the process has ended"));
      this.#pending.clear();
    });
  }

  async open(listener: BackplaneListener): Promise<void> {
    await this.#started;
    this.#listener = listener;
    await this.call("open");
  }
  subscribe(topic: string): Promise<void> {
    return this.call("subscribe", topic);
  }
  unsubscribe(topic: string): Promise<void> {
    return this.call("unsubscribe", topic);
  }
  publish(topic: string, text: () => string): void {
    void this.call("publish", topic, [text()]);
  }
  flush(): Promise<void> {
    return this.call("flush");
  }
  close(): Promise<void> {
    this.#closed ??= this.call("close");
    return this.#closed;
  }

  /** Ends the process. */
  async end(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, "exit");
    this.child.kill("SIGKILL");
    await ended;
  }

  async call(call: string, ...args: unknown[]): Promise<void> {
    this.#number += 1;
    const number = this.#number;
    await new Promise<void>((resolve, reject) => {
      this.#pending.set(number, { resolve, reject });
      this.child.send({ call, number, args });
    });
  }

  #hear({ number, failed, heard }: Answer): void {
    if (heard !== undefined && this.#listener !== undefined) {
      const [name, ...args] = heard;
      (this.#listener[name] as (...args: unknown[]) => void)(...args);
    }
    if (number === undefined) return;
    const pending = this.#pending.get(number);
    this.#pending.delete(number);
    if (failed === undefined) pending?.resolve();
    else pending?.reject(new LayerUnavailable(failed));
  }
}
