/**
 * A bounded queue whose items run one at a time (or `concurrency` at a time), in order. It is closed at
 * first, so that `connect` can run before all; what is posted meanwhile waits.
 */
export class Mailbox<Item> {
  readonly #capacity: number;
  readonly #concurrency: number;
  readonly #run: (item: Item) => Promise<void> | undefined;
  #items: Item[] = [];
  #state: "waiting" | "open" | "ended" = "waiting";
  #running = 0;
  #scheduled = false;
  #sinceYield = 0;
  #idle: (() => void)[] = [];

  /**
   * @param capacity - how many items may wait
   * @param run - handles one item; must not throw nor reject. Undefined: it is done already.
   */
  constructor(capacity: number, concurrency: number, run: (item: Item) => Promise<void> | undefined) {
    this.#capacity = capacity;
    this.#concurrency = concurrency;
    this.#run = run;
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
    this.#schedule();
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
    return new Promise((resolve) => this.#idle.push(resolve));
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
    queueMicrotask(this.#startNext);
  }

  readonly #startNext = (): void => {
    this.#scheduled = false;
    while (this.#running < this.#concurrency && !this.#scheduled) {
      const item = this.#items.shift();
      if (item === undefined) break;
      this.#running += 1;
      const work = this.#run(item);
      if (work === undefined) this.#done();
      else void work.then(this.#finished);
    }
    this.#settle();
  };

  readonly #finished = (): void => {
    this.#done();
    if (!this.#scheduled) this.#startNext();
  };

  #done(): void {
    this.#running -= 1;
    // By way of the event loop now and then, so that a busy mailbox does not starve the sockets.
    this.#sinceYield += 1;
    if (this.#sinceYield < 64) return;
    this.#sinceYield = 0;
    this.#scheduled = true;
    setImmediate(this.#startNext);
  }

  #settle(): void {
    if (!this.isIdle) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
