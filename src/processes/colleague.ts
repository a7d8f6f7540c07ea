import type { Worker } from "node:cluster";
import type { Socket } from "node:net";
import type { Host } from "./front-door.ts";
import { type Call, isPassed, isReport, type Passed } from "./protocol.ts";

/** Connections that may be on their way to one process. */
const MAX_UNDER_WAY = 1_000;
/** A process that has said nothing for so long is stopped, or busy with one thing only. */
const ASLEEP_AFTER_MS = 3_000;
/** What others say to a process that it has not taken. */
const MAX_CALLS_WAITING = 1_000;

/** One worker process as the primary sees it. */
export class Colleague implements Host {
  readonly worker: Worker;
  readonly bornAt = performance.now();
  readonly #underWay = new Set<Socket>();
  readonly #ready: () => void;
  readonly #passed: (message: Passed) => void;
  #state: "starting" | "serving" | "leaving" | "gone" = "starting";
  #stopMs = 0;
  #connections = 0;
  #callsWaiting = 0;
  #lastHeardAt = performance.now();

  /**
   * @param ready - called once, when it serves
   * @param passed - called with what it says to others
   */
  constructor(worker: Worker, ready: () => void, passed: (message: Passed) => void = () => {}) {
    this.worker = worker;
    this.#ready = ready;
    this.#passed = passed;
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

  /** Of one that does not take them, calls beyond a thousand are left out. */
  call(call: Call): void {
    if (this.#callsWaiting >= MAX_CALLS_WAITING || !this.worker.isConnected()) return;
    this.#callsWaiting += 1;
    this.worker.send(call, () => {
      this.#callsWaiting -= 1;
    });
  }

  /** The process has ended; what was on its way to it ends, too. */
  end(): void {
    this.#state = "gone";
    for (const socket of this.#underWay) socket.destroy();
    this.#underWay.clear();
  }

  #hear(message: unknown): void {
    if (this.#state === "gone") return;
    if (isPassed(message)) return this.#passed(message);
    if (!isReport(message)) return;
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
