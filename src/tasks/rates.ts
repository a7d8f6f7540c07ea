/** Names whose rate is remembered, before those are forgotten that hold nobody back. */
const MANY = 10_000;

/** Starts under rates, evenly spread: the generic cell rate algorithm (ITU-T I.371). */
export class Rates {
  readonly #free = new Map<string, number>();

  /** Takes the next start; how many milliseconds it is away. */
  reserve(name: string, max: number, perMs: number, now: number): number {
    if (this.#free.size >= MANY) {
      for (const [known, at] of this.#free) if (at <= now) this.#free.delete(known);
    }
    const at = Math.max(this.#free.get(name) ?? 0, now) + perMs / max;
    this.#free.set(name, at);
    return Math.max(Math.ceil(at - perMs - now), 0);
  }
}
