/** What knows its place, so that it can be taken out from the middle. */
export interface Placed {
  /** Kept by the heap it is in; -1 outside. */
  place: number;
}

/** A binary heap: the first by `isBefore` comes out first, and any can be taken out, each in O(log n). */
export class Heap<T extends Placed> {
  readonly #items: T[] = [];
  readonly #isBefore: (a: T, b: T) => boolean;

  constructor(isBefore: (a: T, b: T) => boolean) {
    this.#isBefore = isBefore;
  }

  get size(): number {
    return this.#items.length;
  }

  get first(): T | undefined {
    return this.#items[0];
  }

  add(item: T): void {
    this.#items.push(item);
    this.#rise(item, this.#items.length - 1);
  }

  /** False: it is not in it. */
  delete(item: T): boolean {
    const { place } = item;
    if (this.#items[place] !== item) return false;
    const last = this.#items.pop() as T;
    item.place = -1;
    if (last === item) return true;
    this.#rise(last, place);
    this.#sink(last, last.place);
    return true;
  }

  /** In their order; of the whole, so not for a path that is hot. */
  sorted(): T[] {
    return [...this.#items].sort((a, b) => (this.#isBefore(a, b) ? -1 : 1));
  }

  #put(item: T, place: number): void {
    this.#items[place] = item;
    item.place = place;
  }

  #rise(item: T, from: number): void {
    let place = from;
    while (place > 0) {
      const above = (place - 1) >> 1;
      const parent = this.#items[above] as T;
      if (!this.#isBefore(item, parent)) break;
      this.#put(parent, place);
      place = above;
    }
    this.#put(item, place);
  }

  #sink(item: T, from: number): void {
    let place = from;
    for (;;) {
      let below = 2 * place + 1;
      const left = this.#items[below];
      if (left === undefined) break;
      const right = this.#items[below + 1];
      if (right !== undefined && this.#isBefore(right, left)) below += 1;
      const child = this.#items[below] as T;
      if (!this.#isBefore(child, item)) break;
      this.#put(child, place);
      place = below;
    }
    this.#put(item, place);
  }
}
