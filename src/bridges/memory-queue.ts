import { randomUUID } from "node:crypto";
import { ConfigurationError } from "../index.ts";
import type { Source, SourceLink, SourceMessage, SourceTaker } from "./types.ts";

interface Kept {
  readonly id: string;
  readonly bytes: Uint8Array;
  readonly headers: ReadonlyMap<string, string>;
  isRedelivered: boolean;
}

interface Consumer {
  readonly taker: SourceTaker;
  readonly prefetch: number;
  readonly held: Set<Kept>;
  isPaused: boolean;
  isOpen: boolean;
}

/** A queue in memory, for tests: messages go to the consumers in turn, and back to the front when one is lost. */
export class MemoryQueue {
  readonly name: string;
  readonly #maxMessages: number;
  readonly #ready: Kept[] = [];
  readonly #consumers = new Set<Consumer>();
  readonly #rejected: string[] = [];
  #isDown = false;

  /** @param maxMessages - how many may wait, and how many rejected ones are kept */
  constructor(name = "memory queue", maxMessages = 10_000) {
    this.name = name;
    this.#maxMessages = maxMessages;
  }

  /** Waiting, not in anybody's hand. */
  get waiting(): number {
    return this.#ready.length;
  }

  get inHand(): number {
    let count = 0;
    for (const { held } of this.#consumers) count += held.size;
    return count;
  }

  /** What was rejected, as text, oldest first. */
  get rejected(): readonly string[] {
    return this.#rejected;
  }

  /**
   * Adds a message: text and bytes as they are, anything else as JSON.
   *
   * @returns its id
   */
  put(body: unknown, headers: Readonly<Record<string, string>> = {}): string {
    if (this.#ready.length >= this.#maxMessages) throw new RangeError(`${this.name} is full`);
    const isRaw = typeof body === "string" || body instanceof Uint8Array;
    const bytes =
      body instanceof Uint8Array ? body : Buffer.from(isRaw ? String(body) : JSON.stringify(body));
    const id = randomUUID();
    this.#ready.push({ id, bytes, headers: new Map(Object.entries(headers)), isRedelivered: false });
    this.#pump();
    return id;
  }

  /** A source of its messages; several compete. */
  source(): Source {
    return { name: this.name, connect: async (taker, prefetch) => this.#connect(taker, prefetch) };
  }

  /** Breaks all connections. With `stayDown` none can be made until `comeBack`. */
  cut({ stayDown = false } = {}): void {
    this.#isDown = stayDown;
    for (const consumer of [...this.#consumers]) {
      this.#close(consumer);
      consumer.taker.lost(new Error(`${this.name} was cut`));
    }
  }

  comeBack(): void {
    this.#isDown = false;
  }

  #connect(taker: SourceTaker, prefetch: number): SourceLink {
    if (this.#isDown) throw new Error(`${this.name} is down`);
    if (prefetch < 1) throw new ConfigurationError([`prefetch must be at least 1, not ${prefetch}`]);
    const consumer: Consumer = { taker, prefetch, held: new Set(), isPaused: false, isOpen: true };
    this.#consumers.add(consumer);
    // Not before whoever connects has the link.
    queueMicrotask(() => this.#pump());
    return {
      pause: async () => {
        consumer.isPaused = true;
      },
      close: async () => this.#close(consumer),
    };
  }

  #close(consumer: Consumer): void {
    if (!this.#consumers.delete(consumer)) return;
    consumer.isOpen = false;
    const back = [...consumer.held];
    for (const kept of back) kept.isRedelivered = true;
    this.#ready.unshift(...back);
    this.#pump();
  }

  #pump(): void {
    for (;;) {
      const free = [...this.#consumers].find(({ held, prefetch, isPaused }) => {
        return !isPaused && held.size < prefetch;
      });
      const kept = free === undefined ? undefined : this.#ready.shift();
      if (free === undefined || kept === undefined) return;
      // Whose turn is over goes to the end.
      this.#consumers.delete(free);
      this.#consumers.add(free);
      free.held.add(kept);
      free.taker.message(this.#messageOf(kept, free));
    }
  }

  #messageOf(kept: Kept, consumer: Consumer): SourceMessage {
    const { id, bytes, headers, isRedelivered } = kept;
    const settle = () => {
      if (!consumer.isOpen) throw new Error("the connection is gone");
      if (!consumer.held.delete(kept)) throw new Error("it was settled before");
    };
    return {
      ...{ id, bytes, headers, isRedelivered },
      accept: async () => {
        settle();
        this.#pump();
      },
      reject: async () => {
        settle();
        this.#rejected.push(Buffer.from(bytes).toString());
        if (this.#rejected.length > this.#maxMessages) this.#rejected.shift();
        this.#pump();
      },
    };
  }
}
