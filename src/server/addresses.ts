import { addressKey } from "../address-key.ts";
import type { Allowances, RefillingBudget } from "../types.ts";

interface Entry {
  connections: number;
  readonly allowances: Allowances<RefillingBudget>;
}

/** How many addresses without a connection are remembered before the idle ones are let go. */
const SWEEP_AT = 10_000;

/** What is counted per client address: open connections, and what their clients may still do. */
export class Addresses {
  readonly #entries = new Map<string, Entry>();
  readonly #limit: number;
  readonly #allow: (address: string) => Allowances<RefillingBudget>;
  #sweepAt = SWEEP_AT;

  /** @param allow - makes what a new address has */
  constructor(limit: number, allow: (address: string) => Allowances<RefillingBudget>) {
    this.#limit = limit;
    this.#allow = allow;
  }

  hasRoom(address: string): boolean {
    return (this.#entries.get(addressKey(address))?.connections ?? 0) < this.#limit;
  }

  /** A connection begins. `leave` it once. */
  enter(address: string): { readonly allowances: Allowances; leave(): void } {
    if (this.#entries.size >= this.#sweepAt) this.#sweep();
    const key = addressKey(address);
    const entry = this.#entries.get(key) ?? { connections: 0, allowances: this.#allow(key) };
    this.#entries.set(key, entry);
    entry.connections += 1;
    let left = false;
    const leave = () => {
      if (left) return;
      left = true;
      entry.connections -= 1;
      // One that has spent its allowance is remembered, or coming back would refill it.
      if (isUnspent(entry)) this.#entries.delete(key);
    };
    return { allowances: entry.allowances, leave };
  }

  get connections(): number {
    let sum = 0;
    for (const { connections } of this.#entries.values()) sum += connections;
    return sum;
  }

  #sweep(): void {
    for (const [address, entry] of this.#entries) if (isUnspent(entry)) this.#entries.delete(address);
    this.#sweepAt = Math.max(SWEEP_AT, this.#entries.size * 2);
  }
}

function isUnspent({ connections, allowances }: Entry): boolean {
  const { newGroups, replayed, events } = allowances;
  return connections === 0 && newGroups.isFull && replayed.isFull && events?.isFull !== false;
}
