import { Refused, retryAfter } from "./refused.ts";

interface Kept<T> {
  readonly fingerprint: string;
  readonly value: T;
  readonly bytes: number;
  readonly expiresAt: number;
}

export interface OnceTableOptions<T> {
  /** When more are remembered, the oldest are forgotten. */
  readonly maxEntries: number;
  /** Likewise, for the bytes of names and values together. */
  readonly maxBytes: number;
  readonly ttlMs: number;
  /** What is refused by a reused name, for the message: `Idempotency-Key`. */
  readonly what: string;
  bytesOf(value: T): number;
  /** Whether a retry gets this; otherwise a retry runs again. */
  isKept(value: T): boolean;
  /** For tests; milliseconds that never go back. */
  now?(): number;
}

/** What an entry costs beside its name and value, roughly. */
const ENTRY_BYTES = 200;

/**
 * Runs what has a name once, and gives its result to those who come with the same name later. Bounded in
 * entries, in bytes and in time, without a timer: all live equally long, so the oldest go first. What
 * runs is counted by whoever lets it run.
 */
export class OnceTable<T> {
  readonly #options: OnceTableOptions<T>;
  readonly #now: () => number;
  readonly #running = new Map<string, string>();
  readonly #kept = new Map<string, Kept<T>>();
  #bytes = 0;

  constructor(options: OnceTableOptions<T>) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  get size(): number {
    return this.#running.size + this.#kept.size;
  }

  /** @throws Refused: 422 for the name of something else, 409 while it still runs; what `run` throws */
  async once(
    name: string,
    fingerprint: string,
    run: () => Promise<T>,
  ): Promise<{ readonly value: T; readonly isReplay: boolean }> {
    this.#forget();
    const { what } = this.#options;
    const kept = this.#kept.get(name);
    const first = this.#running.get(name) ?? kept?.fingerprint;
    if (first !== undefined && first !== fingerprint) {
      throw new Refused(
        422,
        "idempotency_key_reused",
        `this ${what} was used for something else already; take a new one for each thing you publish`,
      );
    }
    if (kept !== undefined) return { value: kept.value, isReplay: true };
    if (first !== undefined) {
      throw new Refused(409, "still_running", `the first request with this ${what} is still running`, {
        headers: retryAfter(1_000),
      });
    }
    this.#running.set(name, fingerprint);
    try {
      const value = await run();
      if (this.#options.isKept(value)) this.#keep(name, fingerprint, value);
      return { value, isReplay: false };
    } finally {
      this.#running.delete(name);
    }
  }

  #keep(name: string, fingerprint: string, value: T): void {
    const { bytesOf, ttlMs } = this.#options;
    const bytes = ENTRY_BYTES + name.length + bytesOf(value);
    this.#kept.set(name, { fingerprint, value, bytes, expiresAt: this.#now() + ttlMs });
    this.#bytes += bytes;
    this.#forget();
  }

  #forget(): void {
    const { maxEntries, maxBytes } = this.#options;
    const now = this.#now();
    for (const [name, { bytes, expiresAt }] of this.#kept) {
      if (expiresAt > now && this.#kept.size <= maxEntries && this.#bytes <= maxBytes) return;
      this.#kept.delete(name);
      this.#bytes -= bytes;
    }
  }
}
