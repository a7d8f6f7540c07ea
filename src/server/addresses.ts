import { addressKey } from "../address-key.ts";
import { TokenBucket } from "../token-bucket.ts";

interface Entry {
  connections: number;
  readonly newGroups: TokenBucket;
}

/** How many addresses without a connection are remembered before the idle ones are let go. */
const SWEEP_AT = 10_000;

/** What is counted per client address: open connections, and the allowance for new groups. */
export class Addresses {
  readonly #entries = new Map<string, Entry>();
  readonly #limit: number;
  readonly #newGroupsPerSecond: number;
  #sweepAt = SWEEP_AT;

  constructor(limit: number, newGroupsPerSecond: number) {
    this.#limit = limit;
    this.#newGroupsPerSecond = newGroupsPerSecond;
  }

  hasRoom(address: string): boolean {
    return (this.#entries.get(addressKey(address))?.connections ?? 0) < this.#limit;
  }

  /** A connection begins. `leave` it once. */
  enter(address: string): { readonly newGroups: TokenBucket; leave(): void } {
    if (this.#entries.size >= this.#sweepAt) this.#sweep();
    const key = addressKey(address);
    const entry = this.#entries.get(key) ?? {
      connections: 0,
      newGroups: new TokenBucket(this.#newGroupsPerSecond),
    };
    this.#entries.set(key, entry);
    entry.connections += 1;
    let left = false;
    const leave = () => {
      if (left) return;
      left = true;
      entry.connections -= 1;
      // One that has spent its allowance is remembered, or coming back would refill it.
      if (entry.connections === 0 && entry.newGroups.isFull) this.#entries.delete(key);
    };
    return { newGroups: entry.newGroups, leave };
  }

  get connections(): number {
    let sum = 0;
    for (const { connections } of this.#entries.values()) sum += connections;
    return sum;
  }

  #sweep(): void {
    for (const [address, { connections, newGroups }] of this.#entries) {
      if (connections === 0 && newGroups.isFull) this.#entries.delete(address);
    }
    this.#sweepAt = Math.max(SWEEP_AT, this.#entries.size * 2);
  }
}
