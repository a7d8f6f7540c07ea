import { isIPv6 } from "node:net";
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
    return (this.#entries.get(keyOf(address))?.connections ?? 0) < this.#limit;
  }

  /** A connection begins. `leave` it once. */
  enter(address: string): { readonly newGroups: TokenBucket; leave(): void } {
    if (this.#entries.size >= this.#sweepAt) this.#sweep();
    const key = keyOf(address);
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

/** One client has a whole /64 of IPv6 addresses to choose from, so these are counted as one. */
export function keyOf(address: string): string {
  if (!isIPv6(address)) return address;
  const mapped = /^::ffff:([0-9.]+)$/i.exec(address)?.[1];
  if (mapped !== undefined) return mapped;
  const [head = "", tail] = address.split("%")[0]?.split("::") ?? [];
  const left = head === "" ? [] : head.split(":");
  const right = tail === undefined || tail === "" ? [] : tail.split(":");
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  const groups = [...left, ...Array<string>(Math.max(0, zeros)).fill("0"), ...right];
  return `${groups
    .slice(0, 4)
    .map((group) => Number.parseInt(group, 16).toString(16))
    .join(":")}::/64`;
}
