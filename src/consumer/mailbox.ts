/** Whose items they are. */
export interface MailboxOwner<Item> {
  /** Handles one; must not throw nor reject. Undefined: it is done already. */
  run(item: Item): Promise<void> | undefined;
}

/**
 * A bounded queue whose items run one at a time (or `concurrency` at a time), in order. It is closed at
 * first, so that `connect` can run before all; what is posted meanwhile waits.
 */
export class Mailbox<Item> {
  readonly #capacity: number;
  readonly #concurrency: number;
  readonly #owner: MailboxOwner<Item>;
  #items: Item[] = [];
  #state: "waiting" | "open" | "ended" = "waiting";
  #running = 0;
  #scheduled = false;
  #sinceYield = 0;
  #idle: (() => void)[] | undefined;

  /**
   * @param capacity - how many items may wait
   */
  constructor(capacity: number, concurrency: number, owner: MailboxOwner<Item>) {
    this.#capacity = capacity;
    this.#concurrency = concurrency;
    this.#owner = owner;
  }

  /** Takes an item, or says false because it is full or has ended. */
  post(item: Item): boolean {
    if (this.#state === "ended" || this.#items.length >= this.#capacity) return false;
    this.#items.push(item);
    this.#schedule();
    return true;
  }

  open(): void {
    if (this.#state !== "waiting") return;
    this.#state = "open";
    if (this.#items.length > 0) this.#schedule();
  }

  /** Takes nothing more. What waits still runs if `keep` says so; the rest is handed back. */
  end(keep: (item: Item) => boolean): readonly Item[] {
    const runs = this.#state === "open";
    this.#state = "ended";
    const dropped = this.#items.filter((item) => !runs || !keep(item));
    this.#items = this.#items.filter((item) => runs && keep(item));
    return dropped;
  }

  /** Resolves when nothing runs and nothing that may run waits. */
  idle(): Promise<void> {
    if (this.isIdle) return Promise.resolve();
    return new Promise((resolve) => {
      this.#idle ??= [];
      this.#idle.push(resolve);
    });
  }

  /** Items that wait. */
  get size(): number {
    return this.#items.length;
  }

  get hasEnded(): boolean {
    return this.#state === "ended";
  }

  get isIdle(): boolean {
    return this.#running === 0 && (this.#items.length === 0 || this.#state === "waiting");
  }

  #schedule(): void {
    if (this.#scheduled || this.#state === "waiting" || this.#running >= this.#concurrency) return;
    this.#scheduled = true;
    // Not at once: a handler must never run inside the call of whoever sent to it.
    queueMicrotask(() => this.#startNext());
  }

  #startNext(): void {
    this.#scheduled = false;
    while (this.#running < this.#concurrency && !this.#scheduled) {
      const item = this.#items.shift();
      if (item === undefined) break;
      this.#running += 1;
      const work = this.#owner.run(item);
      if (work === undefined) this.#done();
      else void work.then(() => this.#finished());
    }
    this.#settle();
  }

  #finished(): void {
    this.#done();
    if (!this.#scheduled) this.#startNext();
  }

  #done(): void {
    this.#running -= 1;
    // By way of the event loop now and then, so that a busy mailbox does not starve the sockets.
    this.#sinceYield += 1;
    if (this.#sinceYield < 64) return;
    this.#sinceYield = 0;
    this.#scheduled = true;
    setImmediate(() => this.#startNext());
  }

  #settle(): void {
    if (this.#idle === undefined || !this.isIdle) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
