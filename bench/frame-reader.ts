/** How many bytes of a payload are looked at. */
const LOOKED = 40;
/** The longest header of an unmasked frame, and what is looked at. */
const MOST_NEEDED = 10 + LOOKED;

/** Called for each frame; its payload of that length begins in `bytes` at `at`, and is there for 40 bytes at most. */
export type OnFrame = (opcode: number, bytes: Buffer, at: number, length: number) => void;

/**
 * Finds the frames in a stream of a WebSocket server by their headers (RFC 6455, section 5.2), whatever
 * the chunks it comes in. It looks at the beginning of a payload only, so it costs next to nothing.
 */
export class FrameReader {
  readonly #onFrame: OnFrame;
  /** The beginning of a frame that was cut off by the end of a chunk. */
  readonly #begun = Buffer.alloc(MOST_NEEDED);
  #begunLength = 0;
  /** Bytes of the current frame that are still to come and of no interest. */
  #skip = 0;

  constructor(onFrame: OnFrame) {
    this.#onFrame = onFrame;
  }

  read(chunk: Buffer, start: number, end: number): void {
    let at = start;
    while (at < end) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, end - at);
        this.#skip -= skipped;
        at += skipped;
        continue;
      }
      const taken = this.#begunLength === 0 ? this.#frame(chunk, at, end) : 0;
      if (taken > 0) {
        at += taken;
        continue;
      }
      this.#begun[this.#begunLength] = chunk.readUInt8(at);
      this.#begunLength += 1;
      at += 1;
      if (this.#frame(this.#begun, 0, this.#begunLength) > 0) this.#begunLength = 0;
    }
  }

  /** Takes the frame that begins at `at`; returns how many bytes it took, 0 if there are too few to tell. */
  #frame(bytes: Buffer, at: number, end: number): number {
    const available = end - at;
    if (available < 2) return 0;
    const short = bytes.readUInt8(at + 1);
    const header = short < 126 ? 2 : short === 126 ? 4 : 10;
    if (available < header) return 0;
    const length =
      header === 2
        ? short
        : header === 4
          ? bytes.readUInt16BE(at + 2)
          : Number(bytes.readBigUInt64BE(at + 2));
    const looked = Math.min(length, LOOKED);
    if (available < header + looked) return 0;
    this.#skip = length - looked;
    this.#onFrame(bytes.readUInt8(at) & 0x0f, bytes, at + header, length);
    return header + looked;
  }
}
