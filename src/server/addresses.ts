import type { IncomingMessage } from "node:http";
import { addressKey } from "../address-key.ts";
import type { Seat, Seats } from "../layer/seats.ts";
import { type Soon, soon } from "../soon.ts";
import type { Allowances, RefillingBudget } from "../types.ts";

interface Entry {
  readonly key: string;
  connections: number;
  readonly allowances: Allowances<RefillingBudget>;
}

/** A connection of an address, as long as it counts. */
export interface AddressPlace {
  readonly allowances: Allowances;
  /** Idempotent. */
  leave(): void;
}

interface Reserved {
  readonly place: AddressPlace;
  /** Hears that the request's connection has closed. */
  gone?: () => void;
}

class TakenPlace implements AddressPlace {
  readonly #addresses: Addresses;
  readonly #entry: Entry;
  #seat: Seat | undefined;

  constructor(addresses: Addresses, entry: Entry, seat: Seat) {
    this.#addresses = addresses;
    this.#entry = entry;
    this.#seat = seat;
  }

  get allowances(): Allowances {
    return this.#entry.allowances;
  }

  leave(): void {
    if (this.#seat === undefined) return;
    this.#seat.leave();
    this.#seat = undefined;
    this.#addresses.left(this.#entry);
  }
}

/** How many addresses without a connection are remembered before the idle ones are let go. */
const SWEEP_AT = 10_000;

/** What is counted per client address: open connections, with a store over all nodes, and what their clients may still do. */
export class Addresses {
  readonly #entries = new Map<string, Entry>();
  readonly #limit: number;
  readonly #seats: Seats;
  readonly #allow: (address: string) => Allowances<RefillingBudget>;
  /** Of those that were let in and are no connection yet. */
  readonly #reserved = new Map<IncomingMessage, Reserved>();
  #sweepAt = SWEEP_AT;

  /** Of a request that is no connection yet: whether what it came by closes. */
  readonly #watch = (request: IncomingMessage): void => {
    const reserved = this.#reserved.get(request);
    if (reserved === undefined) return;
    // It may have gone while others were asked.
    if (request.socket.destroyed) return this.release(request);
    reserved.gone = () => this.release(request);
    request.socket.on("close", reserved.gone);
  };

  /** @param allow - makes what a new address has */
  constructor(limit: number, seats: Seats, allow: (address: string) => Allowances<RefillingBudget>) {
    this.#limit = limit;
    this.#seats = seats;
    this.#allow = allow;
  }

  /**
   * A connection begins, if the address may have one more.
   *
   * @returns undefined: it may not
   */
  enter(address: string): Soon<AddressPlace | undefined> {
    const key = addressKey(address);
    const seat = this.#seats.take(`connections:address:${key}`, this.#limit);
    return soon(seat, (seat) => seat && this.#place(key, seat));
  }

  #place(key: string, seat: Seat): AddressPlace {
    if (this.#entries.size >= this.#sweepAt) this.#sweep();
    const entry = this.#entries.get(key) ?? { key, connections: 0, allowances: this.#allow(key) };
    this.#entries.set(key, entry);
    entry.connections += 1;
    return new TakenPlace(this, entry, seat);
  }

  /** What a place does that is left. */
  left(entry: Entry): void {
    entry.connections -= 1;
    // One that has spent its allowance is remembered, or coming back would refill it.
    if (isUnspent(entry)) this.#entries.delete(entry.key);
  }

  /**
   * The same for a request that is about to become a connection: `claim` it then, or `release` it. It is
   * released by itself with what the request came by.
   *
   * @returns whether it may
   */
  reserve(request: IncomingMessage, address: string): Soon<boolean> {
    return soon(this.enter(address), (place) => place !== undefined && this.#reserve(request, place));
  }

  #reserve(request: IncomingMessage, place: AddressPlace): boolean {
    this.#reserved.set(request, { place });
    // Most are a connection before this turn has ended.
    process.nextTick(this.#watch, request);
    return true;
  }

  claim(request: IncomingMessage): AddressPlace | undefined {
    const reserved = this.#reserved.get(request);
    if (reserved === undefined) return undefined;
    this.#reserved.delete(request);
    if (reserved.gone !== undefined) request.socket.off("close", reserved.gone);
    return reserved.place;
  }

  release(request: IncomingMessage): void {
    this.claim(request)?.leave();
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
