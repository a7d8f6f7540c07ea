import type { Worker } from "node:cluster";
import type { Socket } from "node:net";
import type { Host } from "./front-door.ts";
import { isReport } from "./protocol.ts";

/** Connections that may be on their way to one process. */
const MAX_UNDER_WAY = 1_000;
/** A process that has said nothing for so long is stopped, or busy with one thing only. */
const ASLEEP_AFTER_MS = 3_000;

/** One worker process as the primary sees it. */
export class Colleague implements Host {
  readonly worker: Worker;
  readonly bornAt = performance.now();
  readonly #underWay = new Set<Socket>();
  readonly #ready: () => void;
  #state: "starting" | "serving" | "leaving" | "gone" = "starting";
  #stopMs = 0;
  #connections = 0;
  #lastHeardAt = performance.now();

  /** @param ready - called once, when it serves */
  constructor(worker: Worker, ready: () => void) {
    this.worker = worker;
    this.#ready = ready;
    worker.on("message", (message: unknown) => this.#hear(message));
    // A channel that breaks is followed by the end of the process, which is what counts.
    worker.on("error", () => {});
  }

  get isServing(): boolean {
    return this.#state === "serving" || this.#state === "leaving";
  }

  get isLeaving(): boolean {
    return this.#state === "leaving";
  }

  /** It is about to be told to end; what was handed to it before comes first. */
  leave(): void {
    if (this.#state === "serving") this.#state = "leaving";
  }

  /** What its `stop` may take. */
  get stopMs(): number {
    return this.#stopMs;
  }

  /** For newcomers the least is best: those that leave come last, before them those that are asleep. */
  get reluctance(): readonly [rank: number, connections: number] {
    const isAsleep = performance.now() - this.#lastHeardAt > ASLEEP_AFTER_MS;
    return [(this.isLeaving ? 2 : 0) + (isAsleep ? 1 : 0), this.#connections];
  }

  take(socket: Socket, head: Uint8Array): boolean {
    if (!this.isServing || this.#underWay.size >= MAX_UNDER_WAY || !this.worker.isConnected()) return false;
    this.#connections += 1;
    this.#underWay.add(socket);
    // Node holds it back until the process has confirmed the one before.
    this.worker.send({ sluice: "connection", head }, socket, (error: Error | null) => {
      this.#underWay.delete(socket);
      if (error) socket.destroy();
    });
    return true;
  }

  /** The process has ended; what was on its way to it ends, too. */
  end(): void {
    this.#state = "gone";
    for (const socket of this.#underWay) socket.destroy();
    this.#underWay.clear();
  }

  #hear(message: unknown): void {
    if (!isReport(message) || this.#state === "gone") return;
    this.#lastHeardAt = performance.now();
    switch (message.sluice) {
      case "ready":
        this.#state = "serving";
        this.#stopMs = message.stopMs;
        return this.#ready();
      case "leaving":
        this.#state = "leaving";
        return;
      case "load":
        this.#connections = message.connections;
    }
  }
}
