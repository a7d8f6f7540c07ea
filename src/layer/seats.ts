import type { Soon } from "../soon.ts";
import type { LimitStore } from "./limit-store.ts";

/** One of the seats in a room. */
export interface Seat {
  /** Gives it back. Idempotent. */
  leave(): void;
}

/** Who sits here in one room. */
interface Room {
  readonly name: string;
  readonly taken: Set<TakenSeat>;
}

class TakenSeat implements Seat {
  readonly room: Room;
  /** In the store, if there is one. */
  readonly name: string;
  readonly #seats: Seats;

  constructor(seats: Seats, room: Room, name: string) {
    this.#seats = seats;
    this.room = room;
    this.name = name;
  }

  leave(): void {
    this.#seats.giveBack(this);
  }
}

/** How long a seat in a shared store is held by a node that says nothing. */
const HOLD_MS = 60_000;
const KEEP_MS = 20_000;
/** Seats that are kept at once. */
const AT_ONCE = 100;

/**
 * Seats in rooms: connections of a user, of an address. Each node counts its own; with a store all nodes count
 * together, and this node alone while it cannot be reached: it keeps nobody out then.
 */
export class Seats {
  readonly #node: string;
  readonly #store: LimitStore | undefined;
  readonly #rooms = new Map<string, Room>();
  /** What is being given back to the store. */
  readonly #leaving = new Set<Promise<void>>();
  #taken = 0;
  #keeping: NodeJS.Timeout | undefined;

  constructor(node: string, store: LimitStore | undefined) {
    this.#node = node;
    this.#store = store;
  }

  /** Rooms in which somebody from here sits. */
  get size(): number {
    return this.#rooms.size;
  }

  /**
   * Takes one of so many seats, here at once, then in the store. Never rejects.
   *
   * @returns undefined: none was left
   */
  take(room: string, seats: number): Soon<Seat | undefined> {
    const here = this.#rooms.get(room) ?? { name: room, taken: new Set<TakenSeat>() };
    if (here.taken.size >= seats) return undefined;
    this.#taken += 1;
    const name = this.#store === undefined ? "" : `${this.#node}.${this.#taken}`;
    const seat = new TakenSeat(this, here, name);
    here.taken.add(seat);
    this.#rooms.set(room, here);
    if (this.#store === undefined) return seat;
    return this.#sit(this.#store, room, name, seats).then((isThere) => {
      if (isThere) return seat;
      this.#forget(seat);
      return undefined;
    });
  }

  /** Gives all back that are taken still. Never rejects. */
  async close(): Promise<void> {
    const seats = this.#all;
    this.abandon();
    for (let i = 0; i < seats.length; i += AT_ONCE) {
      const left = seats
        .slice(i, i + AT_ONCE)
        .map(async ({ room, name }) => this.#store?.leave(room.name, name));
      // Where it cannot be reached they end by themselves.
      if ((await Promise.allSettled(left)).every(({ status }) => status === "rejected")) break;
    }
    await Promise.all(this.#leaving);
  }

  /** Knows of none any more, as if this process had been killed. */
  abandon(): void {
    this.#rooms.clear();
    this.#rest();
  }

  #rest(): void {
    clearInterval(this.#keeping);
    this.#keeping = undefined;
  }

  get #all(): readonly TakenSeat[] {
    return [...this.#rooms.values()].flatMap(({ taken }) => [...taken]);
  }

  #sit(store: LimitStore, room: string, name: string, seats: number): Promise<boolean> {
    this.#keeping ??= setInterval(() => void this.#keep(store), KEEP_MS).unref();
    return store.sit(room, name, seats, HOLD_MS).catch(() => true);
  }

  /** What a seat does that is left. */
  giveBack(seat: TakenSeat): void {
    if (!this.#forget(seat) || this.#store === undefined) return;
    // Otherwise it ends by itself.
    const leaving = this.#store.leave(seat.room.name, seat.name).catch(() => {});
    this.#leaving.add(leaving);
    void leaving.then(() => this.#leaving.delete(leaving));
  }

  /** Of a room that was abandoned nobody knows any more. */
  #has(seat: TakenSeat): boolean {
    const { name, taken } = seat.room;
    return this.#rooms.get(name)?.taken === taken && taken.has(seat);
  }

  #forget(seat: TakenSeat): boolean {
    const { name, taken } = seat.room;
    if (!this.#has(seat)) return false;
    taken.delete(seat);
    if (taken.size === 0) this.#rooms.delete(name);
    if (this.#rooms.size === 0) this.#rest();
    return true;
  }

  /** Also those that the store did not take in while it could not be reached. */
  async #keep(store: LimitStore): Promise<void> {
    const seats = this.#all;
    const keep = async (seat: TakenSeat) => {
      const { room, name } = seat;
      // Given back since: it would be held for nobody.
      if (!this.#has(seat)) return;
      // Who is in stays in, however many there are by now.
      await store.sit(room.name, name, Number.MAX_SAFE_INTEGER, HOLD_MS);
    };
    for (let i = 0; i < seats.length; i += AT_ONCE) {
      await Promise.allSettled(seats.slice(i, i + AT_ONCE).map(keep));
    }
  }
}
