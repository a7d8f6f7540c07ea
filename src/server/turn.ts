/**
 * What is written to clients within one turn of the event loop leaves at its end: one write for each
 * client, and one buffer for all who get the same frames in the same order.
 */
import { Tally } from "../tally.ts";
import type { SocketFrame } from "./frames.ts";

/** Frames in order. Who goes on from the same sequence with the same frame gets the same sequence. */
export class Sequence {
  /** Of all its frames. */
  readonly bytes: number;
  readonly #before: Sequence | undefined;
  readonly #last: SocketFrame | undefined;
  /** What somebody went on with last: all members of a group do the same, one after the other. */
  #after: Sequence | undefined;
  #joined: Buffer | undefined;

  constructor(before?: Sequence, last?: SocketFrame) {
    this.#before = before;
    this.#last = last;
    this.bytes = (before?.bytes ?? 0) + (last?.wire.length ?? 0);
  }

  /** This one, and then the frame. */
  with(frame: SocketFrame): Sequence {
    const known = this.#after;
    if (known !== undefined && known.#last === frame) return known;
    this.#after = new Sequence(this, frame);
    return this.#after;
  }

  get frames(): readonly SocketFrame[] {
    const frames: SocketFrame[] = [];
    for (let at: Sequence | undefined = this; at !== undefined; at = at.#before) {
      if (at.#last !== undefined) frames.push(at.#last);
    }
    return frames.reverse();
  }

  /** All frames in one; made once. */
  get joined(): Buffer {
    this.#joined ??= this.#join();
    return this.#joined;
  }

  #join(): Buffer {
    const [first, ...others] = this.frames.map(({ wire }) => wire);
    if (first === undefined) return NOTHING;
    return others.length === 0 ? first : Buffer.concat([first, ...others], this.bytes);
  }
}

const NOTHING = Buffer.alloc(0);

/**
 * Those who have something to write at the end of the turn. Where it published something to other nodes as well,
 * they write a turn later: a backplane needs that time to hand it on, and then the other nodes write to their
 * clients while this one does, instead of after it.
 */
export class Turn {
  readonly tally: Tally;
  readonly #hasBackplane: boolean;
  /** Of the texts published, those that sockets have waited for. */
  #waitedFor = 0;
  #waiting: { flush(): void }[] = [];
  #empty = new Sequence();

  /** @param hasBackplane - whether what is published leaves this process */
  constructor(tally = new Tally(), hasBackplane = false) {
    this.tally = tally;
    this.#hasBackplane = hasBackplane;
  }

  /** Where everybody begins. `flush` is called once, at the end of the turn; it must not throw. */
  begin(writer: { flush(): void }): Sequence {
    if (this.#waiting.length === 0) setImmediate(this.#end);
    this.#waiting.push(writer);
    return this.#empty;
  }

  readonly #end = (): void => {
    const { published } = this.tally;
    if (this.#hasBackplane && published !== this.#waitedFor) setImmediate(this.#flush);
    else this.#flush();
    this.#waitedFor = published;
  };

  readonly #flush = (): void => {
    const waiting = this.#waiting;
    this.#waiting = [];
    // Or it would keep the last frame.
    this.#empty = new Sequence();
    for (const writer of waiting) writer.flush();
  };
}
