import cluster, { type Worker } from "node:cluster";
import type { Socket } from "node:net";
import type { LogsSnapshot } from "../layer/memory-history.ts";
import { Colleague, type Host } from "../processes/index.ts";

/** From a process to its successor, by way of the one that holds the port. */
export type Legacy = LogsSnapshot | undefined;

/** What a process of a succession tells. */
export type HeirReport =
  /** The application is put together and could begin. */
  | { readonly sluice: "composed" }
  /** It serves nobody any more. */
  | { readonly sluice: "left"; readonly legacy: Legacy };

/** What it is told. */
export type HeirOrder = { readonly sluice: "begin"; readonly legacy: Legacy } | { readonly sluice: "end" };

export interface SuccessionOptions {
  readonly exec: string;
  readonly args: readonly string[];
  /** In the processes' environment, beside ours. */
  readonly env: Readonly<Record<string, string>>;
  /** How long one may take to end before it is killed. */
  readonly graceMs: number;
  /** It serves; how long that took from the change on. */
  serves(tookMs: number): void;
  /** It ended before it served, or while it did; and who is there then. */
  failed(how: string, then: "the one before" | "the next" | "nobody"): void;
}

interface Heir {
  readonly worker: Worker;
  readonly colleague: Colleague;
  readonly bornAt: number;
  readonly ended: Promise<void>;
}

/**
 * One process that serves, and the next that takes over from it: only when the next one is put together is
 * the first told to end, what it kept is handed on, and the other begins. Whoever knocks meanwhile waits.
 */
export class Succession {
  readonly #options: SuccessionOptions;
  readonly #waitingRoom = new WaitingRoom();
  #serving: Heir | undefined;
  #coming: Heir | undefined;
  #legacy: Legacy;
  #isOver = false;

  constructor(options: SuccessionOptions) {
    this.#options = options;
    // Advanced: bytes travel as bytes.
    cluster.setupPrimary({ exec: options.exec, args: [...options.args], serialization: "advanced" });
  }

  /** Another one is to take over; one that is still on its way is given up. */
  next(): void {
    if (this.#isOver) return;
    this.#coming?.worker.process.kill("SIGKILL");
    const { env } = this.#options;
    const worker = cluster.fork(env);
    const colleague = new Colleague(worker, () => this.#hasBegun(heir));
    const ended = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
    const heir: Heir = { worker, colleague, bornAt: performance.now(), ended };
    this.#coming = heir;
    worker.on("message", (message: unknown) => this.#hear(heir, message));
    worker.once("exit", (code: number | null, signal: string | null) => this.#hasEnded(heir, code, signal));
  }

  /** For a connection: who serves, the waiting room, or who says that there is nobody. */
  hostFor(process: number | undefined): Host {
    const serving = this.#serving;
    if (serving === undefined) return this.#coming === undefined ? NOBODY : this.#waitingRoom;
    // While it ends, who is known there is still heard.
    const isLeaving = serving.colleague.isLeaving && serving.worker.id !== process;
    return isLeaving ? this.#waitingRoom : serving.colleague;
  }

  /** Ends all; resolves when they have. */
  async stop(): Promise<void> {
    this.#isOver = true;
    this.#coming?.worker.process.kill("SIGKILL");
    await Promise.all([this.#coming?.ended, this.#retire(this.#serving)]);
    this.#waitingRoom.empty(NOBODY);
  }

  /** Ends all at once. */
  kill(): void {
    for (const heir of [this.#coming, this.#serving]) heir?.worker.process.kill("SIGKILL");
  }

  #hear(heir: Heir, message: unknown): void {
    if (isReport(message, "composed")) void this.#takeOver(heir);
    if (isReport(message, "left")) this.#legacy = message.legacy;
  }

  async #takeOver(heir: Heir): Promise<void> {
    await this.#retire(this.#serving);
    if (heir !== this.#coming || !heir.worker.isConnected()) return;
    heir.worker.send({ sluice: "begin", legacy: this.#legacy } satisfies HeirOrder, () => {});
  }

  async #retire(heir: Heir | undefined): Promise<void> {
    if (heir === undefined) return;
    // From here on newcomers wait: one that is sent after the order would be lost with the process.
    heir.colleague.leave();
    if (heir.worker.isConnected()) heir.worker.send({ sluice: "end" } satisfies HeirOrder, () => {});
    const killer = setTimeout(() => heir.worker.process.kill("SIGKILL"), this.#options.graceMs);
    await heir.ended;
    clearTimeout(killer);
  }

  #hasBegun(heir: Heir): void {
    if (heir !== this.#coming) return;
    this.#coming = undefined;
    this.#serving = heir;
    this.#legacy = undefined;
    this.#waitingRoom.empty(heir.colleague);
    this.#options.serves(performance.now() - heir.bornAt);
  }

  #hasEnded(heir: Heir, code: number | null, signal: string | null): void {
    heir.colleague.end();
    const isServing = heir === this.#serving;
    const isComing = heir === this.#coming;
    if (isServing) this.#serving = undefined;
    if (isComing) this.#coming = undefined;
    // One that makes room was asked to.
    const wasAsked = isServing && this.#coming !== undefined && code === 0;
    if (this.#isOver || wasAsked || (!isServing && !isComing)) return;
    if (this.#serving === undefined && this.#coming === undefined) this.#waitingRoom.empty(NOBODY);
    const how = signal === null ? `with exit code ${code}` : `by ${signal}`;
    const then =
      this.#serving !== undefined
        ? "the one before"
        : isServing && this.#coming !== undefined
          ? "the next"
          : "nobody";
    this.#options.failed(how, then);
  }
}

/** Connections for whoever will serve next. */
class WaitingRoom implements Host {
  readonly #waiting = new Map<Socket, Uint8Array>();

  take(socket: Socket, head: Uint8Array): boolean {
    if (this.#waiting.size >= MAX_WAITING) return false;
    this.#waiting.set(socket, head);
    socket.once("close", () => this.#waiting.delete(socket));
    return true;
  }

  empty(host: Host): void {
    for (const [socket, head] of this.#waiting) {
      if (!host.take(socket, head)) socket.destroy();
    }
    this.#waiting.clear();
  }
}

const MAX_WAITING = 1_000;

const APOLOGY = "The application does not run; the terminal says why. This page tries again.\n";
/** A browser that shows it tries again by itself; a client that polls does so anyway. */
const NOBODY: Host = {
  take(socket) {
    socket.once("finish", () => socket.destroy());
    socket.end(
      `HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain; charset=utf-8\r\nRefresh: 1\r\nRetry-After: 1\r\nCache-Control: no-store\r\nConnection: close\r\nContent-Length: ${APOLOGY.length}\r\n\r\n${APOLOGY}`,
    );
    return true;
  },
};

function isReport<K extends HeirReport["sluice"]>(
  message: unknown,
  kind: K,
): message is Extract<HeirReport, { readonly sluice: K }> {
  return (message as Partial<HeirReport> | null)?.sluice === kind;
}
