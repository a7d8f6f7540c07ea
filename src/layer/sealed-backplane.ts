import type { BackplaneReadings } from "../readings.ts";
import type { Seal } from "../sealing.ts";
import type { Backplane, BackplaneListener } from "../types.ts";

/** A backplane of which others see no text: each is sealed for its topic. Topics, sizes and times are in the open. */
export class SealedBackplane implements Backplane {
  readonly #inner: Backplane;
  readonly #seal: Seal;

  constructor(inner: Backplane, seal: Seal) {
    this.#inner = inner;
    this.#seal = seal;
  }

  open(listener: BackplaneListener): Promise<void> {
    return this.#inner.open({
      hear: (topic, text) => {
        const opened = this.#seal.open(text, topic);
        if (opened !== undefined) listener.hear(topic, opened);
        // Whatever is kept elsewhere as well, is looked for there.
        else listener.lost({ topic });
      },
      dropped: (topic, count) => listener.dropped(topic, count),
      unheard: (topic) => listener.unheard(topic),
      lost: (loss) => listener.lost(loss),
      down: (reason) => listener.down(reason),
      up: () => listener.up(),
    });
  }

  subscribe(topic: string): Promise<void> {
    return this.#inner.subscribe(topic);
  }

  unsubscribe(topic: string): Promise<void> {
    return this.#inner.unsubscribe(topic);
  }

  publish(topic: string, text: () => string, left?: (isLost: boolean) => void): void {
    this.#inner.publish(topic, () => this.#seal.seal(text(), topic), left);
  }

  flush(): Promise<void> {
    return this.#inner.flush();
  }

  readings(): BackplaneReadings | undefined {
    return this.#inner.readings?.();
  }

  close(): Promise<void> {
    return this.#inner.close();
  }
}
