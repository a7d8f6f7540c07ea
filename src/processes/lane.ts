import type { Serializable } from "node:child_process";
import type { Batch, Port } from "./protocol.ts";

/** What one entry costs beside its text. */
const ENTRY_BYTES = 64;

/**
 * One direction of a channel between processes: what is posted within a turn of the event loop leaves as
 * one message, in order, and the next one leaves when the channel has taken it. So what waits for a process
 * that is slow or frozen waits here, where it is counted.
 */
export class Lane<Entry extends readonly unknown[]> {
  readonly #port: Port;
  readonly #maxBytes: number;
  readonly #emptied: () => void;
  #entries: Entry[] = [];
  #bytes = 0;
  #bytesUnderWay = 0;
  #state: "idle" | "collecting" | "sending" | "ended" = "idle";
  /** Who waits for what is collected, and for what is being sent. */
  #waiters: (() => void)[] = [];
  #waitersUnderWay: (() => void)[] = [];

  /** @param emptied - called each time nothing waits any more */
  constructor(port: Port, maxBytes: number, emptied: () => void = () => {}) {
    this.#port = port;
    this.#maxBytes = maxBytes;
    this.#emptied = emptied;
  }

  /** Always takes it: for what is small and has a bound of its own. */
  post(entry: Entry): void {
    if (this.#state === "ended") return;
    this.#entries.push(entry);
    this.#bytes += ENTRY_BYTES;
    if (this.#state !== "idle") return;
    this.#state = "collecting";
    setImmediate(() => this.#send());
  }

  /**
   * False, and nothing is taken, when too much waits.
   *
   * @param room - how much more than usual may wait before it
   */
  offer(entry: Entry, bytes: number, room = 1): boolean {
    if (this.#bytes + this.#bytesUnderWay + bytes > this.#maxBytes * room) return false;
    this.#bytes += bytes;
    this.post(entry);
    return this.#state !== "ended";
  }

  /** Resolves when the channel has taken what was posted before. */
  async left(): Promise<void> {
    if (this.#state === "idle" || this.#state === "ended") return;
    const waiters = this.#entries.length > 0 ? this.#waiters : this.#waitersUnderWay;
    await new Promise<void>((resolve) => waiters.push(resolve));
  }

  /** The channel is gone, and what waits with it. */
  end(): void {
    this.#state = "ended";
    this.#entries = [];
    for (const resolve of [...this.#waitersUnderWay, ...this.#waiters]) resolve();
  }

  get hasEnded(): boolean {
    return this.#state === "ended";
  }

  #send(): void {
    if (this.#state === "ended") return;
    this.#state = "sending";
    const batch: Batch<Entry> = { sluice: "backplane", entries: this.#entries };
    this.#entries = [];
    this.#bytesUnderWay = this.#bytes;
    this.#bytes = 0;
    this.#waitersUnderWay = this.#waiters;
    this.#waiters = [];
    const sent = (error: Error | null) => (error ? this.end() : this.#sent());
    if (this.#port.send === undefined) this.end();
    else this.#port.send(batch as unknown as Serializable, sent);
  }

  #sent(): void {
    if (this.#state === "ended") return;
    this.#bytesUnderWay = 0;
    for (const resolve of this.#waitersUnderWay.splice(0)) resolve();
    if (this.#entries.length > 0) return this.#send();
    this.#state = "idle";
    this.#emptied();
  }
}
