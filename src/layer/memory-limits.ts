import { LayerUnavailable } from "../errors.ts";
import type { LimitStore, Rate, Taken } from "./limit-store.ts";

interface Bucket {
  /** When it is full again; milliseconds, as `now` tells them. */
  fullAt: number;
}

/** How many buckets or rooms are kept before those that tell nothing any more are let go. */
const SWEEP_AT = 10_000;

/** Buckets and rooms of one process; give the same to several nodes in it. */
export class MemoryLimitsHub {
  readonly #now: () => number;
  readonly #buckets = new Map<string, Bucket>();
  readonly #rooms = new Map<string, Map<string, number>>();
  #sweepAt = SWEEP_AT;

  /** @param now - for tests; milliseconds that never go back */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Buckets and rooms that are remembered. */
  get size(): number {
    return this.#buckets.size + this.#rooms.size;
  }

  /** The generic cell rate algorithm (ITU-T I.371). */
  take(name: string, { perSecond, burst }: Rate, most: number): Taken {
    this.#sweep();
    const now = this.#now();
    const shareMs = 1000 / perSecond;
    const bucket = this.#buckets.get(name) ?? { fullAt: now };
    const busyMs = Math.max(bucket.fullAt - now, 0);
    // A little more than nothing, for what is left of fractions.
    const there = Math.floor((burst * shareMs - busyMs) / shareMs + 1e-6);
    const count = Math.max(Math.min(there, most), 0);
    if (count > 0) this.#buckets.set(name, { fullAt: now + busyMs + count * shareMs });
    const waitMs = Math.max(busyMs + (count + 1 - burst) * shareMs, 0);
    return { count, waitMs: there > count ? 0 : Math.ceil(waitMs) };
  }

  sit(name: string, seat: string, seats: number, holdMs: number): boolean {
    this.#sweep();
    const now = this.#now();
    const room = this.#rooms.get(name) ?? new Map<string, number>();
    for (const [other, until] of room) if (until <= now) room.delete(other);
    if (!room.has(seat) && room.size >= seats) return false;
    this.#rooms.set(name, room.set(seat, now + holdMs));
    return true;
  }

  leave(name: string, seat: string): void {
    const room = this.#rooms.get(name);
    if (room?.delete(seat) && room.size === 0) this.#rooms.delete(name);
  }

  #sweep(): void {
    if (this.size < this.#sweepAt) return;
    const now = this.#now();
    for (const [name, { fullAt }] of this.#buckets) if (fullAt <= now) this.#buckets.delete(name);
    for (const [name, room] of this.#rooms) {
      if ([...room.values()].every((until) => until <= now)) this.#rooms.delete(name);
    }
    this.#sweepAt = Math.max(SWEEP_AT, this.size * 2);
  }
}

/** Counts in this process, for one node or several in it. */
export class MemoryLimits implements LimitStore {
  readonly #hub: MemoryLimitsHub;
  #isOpen = false;

  constructor(hub: MemoryLimitsHub = new MemoryLimitsHub()) {
    this.#hub = hub;
  }

  async open(): Promise<void> {
    this.#isOpen = true;
  }

  async take(bucket: string, rate: Rate, most: number): Promise<Taken> {
    this.#check();
    return this.#hub.take(bucket, rate, most);
  }

  async sit(room: string, seat: string, seats: number, holdMs: number): Promise<boolean> {
    this.#check();
    return this.#hub.sit(room, seat, seats, holdMs);
  }

  async leave(room: string, seat: string): Promise<void> {
    this.#check();
    this.#hub.leave(room, seat);
  }

  async close(): Promise<void> {
    this.#isOpen = false;
  }

  #check(): void {
    if (!this.#isOpen) throw new LayerUnavailable("the store of limits is not open");
  }
}
