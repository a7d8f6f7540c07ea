import { type Clock, type ClockTimer, realClock } from "../clock.ts";
import { LayerUnavailable } from "../errors.ts";
import type { Backplane, BackplaneListener } from "../types.ts";

/** How long everything takes, in milliseconds; a function may answer anew each time. */
export type Delay = number | (() => number);

/**
 * Where the memory backplanes of one process meet. With a delay, messages and confirmations of
 * subscriptions take that long, as over a network, so that races show; the order per sender is kept.
 */
export class MemoryHub {
  readonly #listeners = new Map<string, Set<MemoryBackplane>>();
  /** @internal */
  readonly clock: Clock;
  delayMs: Delay;

  constructor(delayMs: Delay = 0, clock: Clock = realClock) {
    this.delayMs = delayMs;
    this.clock = clock;
  }

  /** @internal */
  add(topic: string, node: MemoryBackplane): void {
    const nodes = this.#listeners.get(topic) ?? new Set();
    this.#listeners.set(topic, nodes.add(node));
  }

  /** @internal */
  remove(topic: string, node: MemoryBackplane): void {
    const nodes = this.#listeners.get(topic);
    if (nodes?.delete(node) && nodes.size === 0) this.#listeners.delete(topic);
  }

  /** @internal */
  listeners(topic: string): ReadonlySet<MemoryBackplane> {
    return this.#listeners.get(topic) ?? NOBODY;
  }

  /** @internal */
  drawDelay(): number {
    return typeof this.delayMs === "function" ? this.delayMs() : this.delayMs;
  }

  /** How many topics somebody listens to. */
  get size(): number {
    return this.#listeners.size;
  }
}

const NOBODY: ReadonlySet<MemoryBackplane> = new Set();

/** The backplane of nodes that live in one process. A node alone has a hub of its own. */
export class MemoryBackplane implements Backplane {
  readonly #hub: MemoryHub;
  readonly #topics = new Set<string>();
  /** What waits for its time; the function runs early when the backplane closes. */
  readonly #waiting = new Map<ClockTimer, () => void>();
  /** Messages under way, in the order of sending. */
  readonly #underWay: (() => void)[] = [];
  #listener: BackplaneListener | undefined;

  constructor(hub: MemoryHub = new MemoryHub()) {
    this.#hub = hub;
  }

  async open(listener: BackplaneListener): Promise<void> {
    this.#listener = listener;
  }

  async subscribe(topic: string): Promise<void> {
    await this.#after(this.#hub.drawDelay());
    if (this.#listener === undefined) throw new LayerUnavailable("the memory backplane is closed");
    this.#topics.add(topic);
    this.#hub.add(topic, this);
  }

  async unsubscribe(topic: string): Promise<void> {
    await this.#after(this.#hub.drawDelay());
    this.#topics.delete(topic);
    this.#hub.remove(topic, this);
  }

  publish(topic: string, text: () => string, left?: (isLost: boolean) => void): void {
    left?.(false);
    const others = [...this.#hub.listeners(topic)].filter((node) => node !== this);
    if (others.length === 0) return this.#listener?.unheard(topic);
    const sent = text();
    this.#underWay.push(() => {
      for (const node of others) node.#receive(topic, sent);
    });
    // Whichever timer comes first delivers the oldest message, so none overtakes another.
    void this.#after(this.#hub.drawDelay()).then(() => this.#underWay.shift()?.());
  }

  /** At once: what is under way has left. */
  async flush(): Promise<void> {}

  async close(): Promise<void> {
    this.#listener = undefined;
    this.#underWay.length = 0;
    for (const topic of this.#topics) this.#hub.remove(topic, this);
    this.#topics.clear();
    for (const [timer, run] of this.#waiting) {
      this.#hub.clock.clearTimeout(timer);
      run();
    }
    this.#waiting.clear();
  }

  #receive(topic: string, text: string): void {
    if (this.#topics.has(topic)) this.#listener?.hear(topic, text);
  }

  #after(delayMs: number): Promise<void> {
    if (delayMs <= 0) return Promise.resolve();
    return new Promise((resolve) => {
      const timer = this.#hub.clock.setTimeout(() => {
        this.#waiting.delete(timer);
        resolve();
      }, delayMs);
      this.#waiting.set(timer, resolve);
    });
  }
}
