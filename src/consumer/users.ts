import { RateLimited } from "../errors.ts";
import type { LimitStore } from "../layer/limit-store.ts";
import type { Seat, Seats } from "../layer/seats.ts";
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

interface OpenConnection {
  /** Routes that are open on it. */
  routes: number;
  /** Undefined: there was none left. */
  readonly seat: Promise<Seat | undefined>;
}

interface Entry {
  readonly connections: Map<object, OpenConnection>;
  readonly events: RefillingBudget | undefined;
}

const FREE: Seat = { leave: () => {} };
/** How many users without a connection are remembered before those with a full allowance are let go. */
const SWEEP_AT = 10_000;

/** What is counted per user: connections, and what they may still send; with a store over all nodes. */
export class Users {
  readonly #limits: UserLimits;
  readonly #seats: Seats;
  readonly #store: LimitStore | undefined;
  readonly #entries = new Map<string, Entry>();
  #sweepAt = SWEEP_AT;

  constructor(limits: UserLimits, seats: Seats, store: LimitStore | undefined) {
    this.#limits = limits;
    this.#seats = seats;
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
    const entry = this.#entries.get(user) ?? { connections: new Map(), events: this.#eventsOf(user) };
    this.#entries.set(user, entry);
    const open = entry.connections.get(connection) ?? { routes: 0, seat: this.#sit(user) };
    entry.connections.set(connection, open);
    open.routes += 1;
    let isHere = true;
    const leave = () => {
      if (isHere) this.#leave(user, entry, connection, open);
      isHere = false;
    };
    if ((await open.seat) !== undefined) return { events: entry.events, leave };
    leave();
    const { connectionsPerUser } = this.#limits;
    throw new RateLimited(
      `a user may have ${connectionsPerUser} connections at once; close another first`,
      "connectionsPerUser",
    );
  }

  #eventsOf(user: string): RefillingBudget | undefined {
    const { eventsPerSecondPerUser: perSecond } = this.#limits;
    if (perSecond === 0) return undefined;
    if (this.#store === undefined) return new TokenBucket(perSecond, perSecond * 2);
    return new SharedBucket(this.#store, `events:user:${user}`, { perSecond, burst: perSecond * 2 });
  }

  async #sit(user: string): Promise<Seat | undefined> {
    const { connectionsPerUser } = this.#limits;
    return connectionsPerUser === 0 ? FREE : this.#seats.take(`connections:user:${user}`, connectionsPerUser);
  }

  #leave(user: string, entry: Entry, connection: object, open: OpenConnection): void {
    open.routes -= 1;
    if (open.routes > 0) return;
    entry.connections.delete(connection);
    this.#forgetUnused(user, entry);
    // Not before it is taken.
    void open.seat.then((seat) => seat?.leave());
  }

  #forgetUnused(user: string, { connections, events }: Entry): void {
    // One that has spent its allowance is remembered, or coming back would refill it.
    if (connections.size === 0 && events?.isFull !== false) this.#entries.delete(user);
  }

  #sweep(): void {
    for (const [user, entry] of this.#entries) this.#forgetUnused(user, entry);
    this.#sweepAt = Math.max(SWEEP_AT, this.#entries.size * 2);
  }
}
