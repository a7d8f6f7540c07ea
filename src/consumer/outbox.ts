import type { ClientLink, Frame } from "../types.ts";

/**
 * What is sent to a client before it is accepted waits here; acceptance lets it out, in order, refusal
 * throws it away. Socket.IO itself would put it on the wire.
 */
export class Outbox {
  readonly #link: ClientLink;
  readonly #maxBytes: number;
  #state: "waiting" | "open" | "discarded" = "waiting";
  #waiting: Frame[] = [];
  #bytes = 0;

  constructor(link: ClientLink, maxBytes: number) {
    this.#link = link;
    this.#maxBytes = maxBytes;
  }

  /** False when more waits than may wait; the frame is not taken then. */
  write(frame: Frame): boolean {
    if (this.#state === "open") {
      this.#link.write(frame);
      return true;
    }
    if (this.#state === "discarded" || this.#bytes + frame.bytes > this.#maxBytes) return false;
    this.#bytes += frame.bytes;
    this.#waiting.push(frame);
    return true;
  }

  open(): void {
    this.#state = "open";
    for (const frame of this.#waiting.splice(0)) this.#link.write(frame);
  }

  discard(): void {
    this.#state = "discarded";
    this.#waiting = [];
  }
}
