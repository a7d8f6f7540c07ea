import type { HistoryStore } from "./history-store.ts";

/**
 * The offsets of the last messages in a log that also tells who comes and goes. Newcomers are given so many
 * messages, and where those begin no arithmetic says.
 */
export class LastSaid {
  readonly #group: string;
  readonly #count: number;
  readonly #store: HistoryStore;
  /** Before the log was followed, once somebody needed them. */
  #before: readonly number[] | undefined;
  #reading: Promise<void> | undefined;
  /** And since then; together as many as newcomers are given. */
  #since: number[] = [];

  /** @param count - how many messages newcomers are given, 1 or more */
  constructor(group: string, count: number, store: HistoryStore) {
    this.#group = group;
    this.#count = count;
    this.#store = store;
  }

  /** Once, not for each newcomer. Rejects with LayerUnavailable. */
  async read(): Promise<void> {
    if (this.#before !== undefined) return;
    this.#reading ??= this.#store
      .readBefore(this.#group, undefined, this.#count)
      .then(({ entries }) => {
        if (this.#reading === reading) this.#before = entries.map(({ offset }) => offset);
      })
      .finally(() => {
        if (this.#reading === reading) this.#reading = undefined;
      });
    const reading = this.#reading;
    await reading;
  }

  note(offset: number): void {
    this.#since.push(offset);
    if (this.#since.length > this.#count) this.#since.shift();
  }

  /** The log goes on elsewhere. */
  forget(): void {
    this.#since = [];
    this.#before = undefined;
    this.#reading = undefined;
  }

  /** The first message for a newcomer who comes now; undefined where nothing was read since the log went elsewhere. */
  get first(): number | undefined {
    if (this.#before === undefined) return undefined;
    const [next = Number.POSITIVE_INFINITY] = this.#since;
    const all = [...this.#before.filter((offset) => offset < next), ...this.#since];
    return all[Math.max(all.length - this.#count, 0)] ?? Number.POSITIVE_INFINITY;
  }
}
