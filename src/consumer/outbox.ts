import type { ClientLink, Frame } from "../types.ts";

/**
 * What is sent to a client before it is accepted waits here; acceptance lets it out, in order, refusal
 * throws it away. Socket.IO itself would put it on the wire.
 */
export class Outbox {
  /** Takes nothing. */
  static readonly closed = new Outbox(undefined, -1);
  readonly #link: ClientLink | undefined;
  readonly #maxBytes: number;
  #waiting: Frame[] = [];
  #bytes = 0;

  constructor(link: ClientLink | undefined, maxBytes: number) {
    this.#link = link;
    this.#maxBytes = maxBytes;
  }

  /** False when more waits than may wait; the frame is not taken then. */
  write(frame: Frame): boolean {
    if (this.#bytes + frame.bytes > this.#maxBytes) return false;
    this.#bytes += frame.bytes;
    this.#waiting.push(frame);
    return true;
  }

  open(): void {
    for (const frame of this.#waiting.splice(0)) this.#link?.write(frame);
  }
}
