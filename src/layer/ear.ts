import type { Frame, FrameCodec, Message } from "../types.ts";
import type { Member } from "./fan-out.ts";

const NO_CODEC: FrameCodec = { encode: () => ({ bytes: 0 }) };

/** A member of a group of the framework's own that is no connection: it only hears messages. */
export class Ear implements Member {
  readonly channel: string;
  readonly codec = NO_CODEC;
  readonly info = "";
  readonly whenOpen = Promise.resolve(true);
  readonly backlog = { bytes: 0, messages: 0 };
  readonly #hear: (message: Message) => void;
  readonly #failed: (error: unknown) => void;

  constructor(channel: string, hear: (message: Message) => void, failed: (error: unknown) => void) {
    this.channel = channel;
    this.#hear = hear;
    this.#failed = failed;
  }

  deliver(message: Message): void {
    try {
      this.#hear(message);
    } catch (error) {
      this.#failed(error);
    }
  }

  handles(): boolean {
    return true;
  }

  mayBeGiven(): boolean {
    return false;
  }

  claim(): undefined {}
  write(_frame: Frame): void {}
  writeInTurn(_frame: Frame): void {}
  skip(): void {}
  tellPosition(): void {}
  close(): void {}
}
