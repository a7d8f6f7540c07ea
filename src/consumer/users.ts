import { RateLimited } from "../errors.ts";
import type { LimitStore } from "../layer/limit-store.ts";
import { SharedBucket } from "../layer/shared-bucket.ts";
import { TokenBucket } from "../token-bucket.ts";
import type { Budget, RefillingBudget } from "../types.ts";

export interface UserLimits {
  /** 0: any number. */
  readonly connectionsPerUser: number;
  readonly eventsPerSecondPerUser: number;
}

/** A connection of a user, as long as it counts. */
export interface UserPlace {
  /** Shared by all of the user's connections; undefined for none. */
  readonly events: Budget | undefined;
  /** Idempotent. */
  leave(): void;
}

interface Seat {
  readonly name: string;
  /** Routes that are open on the connection. */
  routes: number;
  /** Whether the store, if there is one, has taken it in. */
  readonly taken: Promise<boolean>;
}

interface Entry {
  readonly seats: Map<object, Seat>;
  readonly events: RefillingBudget | undefined;
}

/** How long a seat in a shared store is held by a node that says nothing. */
const HOLD_MS = 60_000;
const KEEP_MS = 20_000;
/** Seats that are kept at once. */
const AT_ONCE = 100;
/** How many users without a connection are remembered before those with a full allowance are let go. */
const SWEEP_AT = 10_000;

/** What is counted per user: connections, and what they may still send; with a store over all nodes. */
export class Users {
  readonly #limits: UserLimits;
  readonly #node: string;
  readonly #store: LimitStore | undefined;
  readonly #entries = new Map<string, Entry>();
  #sweepAt = SWEEP_AT;
  #seats = 0;
  #keeping: NodeJS.Timeout | undefined;

  constructor(limits: UserLimits, node: string, store: LimitStore | undefined) {
    this.#limits = limits;
    this.#node = node;
    this.#store = store;
  }

  /** Whether anything is counted at all. */
  get areLimited(): boolean {
    return this.#limits.connectionsPerUser > 0 || this.#limits.eventsPerSecondPerUser > 0;
  }

  /** Users who are here, or whose allowance is not full. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * @param connection - the same for all routes of one connection
   * @throws RateLimited if the user has as many as may be
   */
  async enter(user: string, connection: object): Promise<UserPlace> {
    if (this.#entries.size >= this.#sweepAt) this.#sweep();
    const entry = this.#entries.get(user) ?? { seats: new Map(), events: this.#eventsOf(user) };
    this.#entries.set(user, entry);
    const seat = entry.seats.get(connection) ?? this.#seat(user, entry, connection);
    seat.routes += 1;
    let isHere = true;
    const leave = () => {
      if (isHere) this.#leave(user, entry, connection, seat);
      isHere = false;
    };
    if (await seat.taken) return { events: entry.events, leave };
    leave();
    throw this.#tooMany();
  }

  close(): void {
    clearInterval(this.#keeping);
    this.#keeping = undefined;
  }

  #eventsOf(user: string): RefillingBudget | undefined {
    const { eventsPerSecondPerUser: perSecond } = this.#limits;
    if (perSecond === 0) return undefined;
    if (this.#store === undefined) return new TokenBucket(perSecond, perSecond * 2);
    return new SharedBucket(this.#store, `events:user:${user}`, { perSecond, burst: perSecond * 2 });
  }

  #seat(user: string, entry: Entry, connection: object): Seat {
    const { connectionsPerUser } = this.#limits;
    if (connectionsPerUser > 0 && entry.seats.size >= connectionsPerUser) {
      this.#forgetUnused(user, entry);
      throw this.#tooMany();
    }
    this.#seats += 1;
    const name = `${this.#node}.${this.#seats}`;
    const seat = { name, routes: 0, taken: this.#sit(user, name) };
    entry.seats.set(connection, seat);
    return seat;
  }

  /** A store that cannot be reached keeps nobody out. */
  async #sit(user: string, seat: string): Promise<boolean> {
    const { connectionsPerUser } = this.#limits;
    if (this.#store === undefined || connectionsPerUser === 0) return true;
    this.#keeping ??= setInterval(() => void this.#keep(), KEEP_MS).unref();
    return this.#store.sit(roomOf(user), seat, connectionsPerUser, HOLD_MS).catch(() => true);
  }

  #leave(user: string, entry: Entry, connection: object, seat: Seat): void {
    seat.routes -= 1;
    if (seat.routes > 0) return;
    entry.seats.delete(connection);
    this.#forgetUnused(user, entry);
    if (this.#entries.size === 0) this.close();
    if (this.#store === undefined || this.#limits.connectionsPerUser === 0) return;
    // Otherwise it ends by itself; and not before it is taken.
    void seat.taken.then(() => this.#store?.leave(roomOf(user), seat.name)).catch(() => {});
  }

  #forgetUnused(user: string, { seats, events }: Entry): void {
    // One that has spent its allowance is remembered, or coming back would refill it.
    if (seats.size === 0 && events?.isFull !== false) this.#entries.delete(user);
  }

  #sweep(): void {
    for (const [user, entry] of this.#entries) this.#forgetUnused(user, entry);
    this.#sweepAt = Math.max(SWEEP_AT, this.#entries.size * 2);
  }

  /** Also those that the store did not take in while it could not be reached. */
  async #keep(): Promise<void> {
    const seats = [...this.#entries].flatMap(([user, entry]) =>
      [...entry.seats.values()].map(({ name }) => [roomOf(user), name] as const),
    );
    // Who is in stays in, however many there are by now.
    const keep = async (room: string, name: string) => {
      await this.#store?.sit(room, name, Number.MAX_SAFE_INTEGER, HOLD_MS);
    };
    for (let i = 0; i < seats.length; i += AT_ONCE) {
      await Promise.allSettled(seats.slice(i, i + AT_ONCE).map(([room, name]) => keep(room, name)));
    }
  }

  #tooMany(): RateLimited {
    const { connectionsPerUser } = this.#limits;
    return new RateLimited(
      `a user may have ${connectionsPerUser} connections at once; close another first`,
      "connectionsPerUser",
    );
  }
}

function roomOf(user: string): string {
  return `connections:user:${user}`;
}
