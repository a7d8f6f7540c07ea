import { setTimeout as sleep } from "node:timers/promises";

/** Something that lives once: whatever breaks it makes it useless. */
export interface Breakable {
  /** Idempotent. */
  close(): void;
}

export interface Keeper<L extends Breakable> {
  /** Makes one; calls `broken` at most once, and not before it has resolved. */
  make(broken: (reason: string) => void): Promise<L>;
  /** It can be used: the first, or another after an outage of that length. */
  up(link: L, downMs: number | undefined): void;
  down(reason: string): void;
  /** Another attempt has failed, for another reason than the last. */
  failed?(error: Error): void;
}

const FIRST_BACKOFF_MS = 25;
/** Between two attempts there is at most this long. */
export const MAX_BACKOFF_MS = 2_000;

/** Keeps one link to Redis alive: when it breaks, makes another, until one works or `close`. */
export class Kept<L extends Breakable> {
  readonly #keeper: Keeper<L>;
  readonly #closing = new AbortController();
  #link: L | undefined;
  readonly #waiting = new Set<() => void>();

  constructor(keeper: Keeper<L>) {
    this.#keeper = keeper;
  }

  /** Undefined during an outage, and before and after all. */
  get link(): L | undefined {
    return this.#link;
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Makes the first; what is wrong then is not tried again. */
  async open(): Promise<void> {
    try {
      this.#use(await this.#make(), undefined);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /**
   * Resolves when something has changed: there is a link again, or there will be none any more.
   *
   * @param signal - ends the waiting; it resolves then, too
   */
  change(signal: AbortSignal): Promise<void> {
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = () => {
        this.#waiting.delete(wake);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      this.#waiting.add(wake);
      signal.addEventListener("abort", wake);
    });
  }

  close(): void {
    this.#closing.abort();
    this.#link?.close();
    this.#link = undefined;
    this.#wakeAll();
  }

  async #make(): Promise<L> {
    let made: L | undefined;
    made = await this.#keeper.make((reason) => this.#broken(made, reason));
    return made;
  }

  #use(link: L, downMs: number | undefined): void {
    if (this.isClosed) return link.close();
    this.#link = link;
    this.#keeper.up(link, downMs);
    this.#wakeAll();
  }

  #broken(link: L | undefined, reason: string): void {
    link?.close();
    if (link === undefined || link !== this.#link) return;
    this.#link = undefined;
    this.#keeper.down(reason);
    void this.#remake();
  }

  async #remake(): Promise<void> {
    const { signal } = this.#closing;
    const downSince = performance.now();
    let lastReason = "";
    for (
      let backoffMs = FIRST_BACKOFF_MS;
      !signal.aborted;
      backoffMs = Math.min(backoffMs * 2, MAX_BACKOFF_MS)
    ) {
      // Drawn, so that the nodes do not all come at once.
      await sleep(Math.random() * backoffMs, undefined, { signal }).catch(() => {});
      if (signal.aborted) return;
      try {
        const link = await this.#make();
        return this.#use(link, performance.now() - downSince);
      } catch (error) {
        const { message } = error as Error;
        if (message !== lastReason && !signal.aborted) this.#keeper.failed?.(error as Error);
        lastReason = message;
      }
    }
  }

  #wakeAll(): void {
    for (const wake of this.#waiting) wake();
  }
}
