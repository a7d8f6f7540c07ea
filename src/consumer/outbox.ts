import type { ClientLink, Frame } from "../types.ts";

/**
 * What is sent to a client before it is accepted waits here; acceptance lets it out, in order, refusal
 * throws it away. Socket.IO itself would put it on the wire.
 */
export class Outbox {
  readonly #link: ClientLink;
  readonly #maxBytes: number;
  #waiting: Frame[] | undefined = [];
  #bytes = 0;

  constructor(link: ClientLink, maxBytes: number) {
    this.#link = link;
    this.#maxBytes = maxBytes;
  }

  /** False when more waits than may wait; the frame is not taken then. */
  write(frame: Frame): boolean {
    if (this.#waiting === undefined) {
      this.#link.write(frame);
      return true;
    }
    if (this.#bytes + frame.bytes > this.#maxBytes) return false;
    this.#bytes += frame.bytes;
    this.#waiting.push(frame);
    return true;
  }

  open(): void {
    const frames = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const frame of frames) this.#link.write(frame);
  }

  discard(): void {
    this.#waiting = [];
    // Nothing goes out any more, and nothing is kept.
    this.#bytes = Number.POSITIVE_INFINITY;
  }
}
