import { type Clock, type ClockTimer, realClock } from "../clock.ts";
import { LayerUnavailable, RateLimited } from "../errors.ts";
import type { PresenceChange, PresenceStore } from "./presence-store.ts";

export interface OwnUsersHost {
  /** Resolves when a user of the group may be stated. Never rejects. */
  before(group: string): Promise<void>;
  /**
   * The store has taken a statement.
   *
   * @param isCertain - false if an earlier one may have been taken without an answer: what it changed is unknown
   */
  changed(group: string, change: PresenceChange | undefined, isCertain: boolean): void;
  /** Some could not be stated; `retry` does it again. */
  unsaid(): void;
  failed(error: unknown): void;
}

/** One user in one group, on this node. */
interface Entry {
  readonly group: string;
  readonly user: string;
  readonly channels: Set<string>;
  info: string;
  isUpdate: boolean;
  /** After the last connection, until then: the end of it by the clock. */
  heldUntil: number;
  holding: ClockTimer | undefined;
  /** What the store knows: a number of connections, GONE or UNKNOWN. */
  written: number;
  writing: Promise<void> | undefined;
  isCertain: boolean;
  isRefused: boolean;
}

const GONE = -1;
/** Equal to nothing, so that it is written again. */
const UNKNOWN = Number.NaN;
const AT_ONCE = 200;
/** A node that stops leaves no user behind for longer. */
const MAX_FAREWELL_MS = 30_000;

/**
 * The users of this node, and what the store has been told of them. Each entry is written by one call at a
 * time, the latest state wins, and what fails is written again.
 */
export class OwnUsers {
  readonly #store: PresenceStore;
  readonly #host: OwnUsersHost;
  readonly #clock: Clock;
  readonly #maxUsers: number;
  readonly #groups = new Map<string, Map<string, Entry>>();
  readonly #unsaid = new Set<Entry>();
  /** Groups that did not take a user in. */
  readonly #full = new Set<string>();
  #generation = 0;
  #isClosed = false;

  constructor(store: PresenceStore, maxUsers: number, host: OwnUsersHost, clock: Clock = realClock) {
    this.#clock = clock;
    this.#store = store;
    this.#maxUsers = maxUsers;
    this.#host = host;
  }

  /** Groups with a user here, or one that is held. */
  get size(): number {
    return this.#groups.size;
  }

  joined(group: string, user: string, channel: string, info: string): void {
    const entry = this.#entryOf(group, user) ?? this.#add(group, user, info);
    this.#endHold(entry);
    entry.holding = undefined;
    entry.channels.add(channel);
    void this.#write(entry);
  }

  /** @param holdMs - how long the user stays without a connection here */
  left(group: string, user: string, channel: string, holdMs: number): void {
    const entry = this.#entryOf(group, user);
    if (!entry?.channels.delete(channel)) return;
    if (entry.channels.size === 0 && holdMs > 0) {
      entry.heldUntil = this.#clock.now() + holdMs;
      entry.holding = this.#clock.setTimeout(() => {
        entry.holding = undefined;
        void this.#write(entry);
      }, holdMs);
    }
    void this.#write(entry);
  }

  has(group: string, user: string): boolean {
    return this.#entryOf(group, user) !== undefined;
  }

  /** @throws LayerUnavailable if it could not be done; it will be, later */
  async update(group: string, user: string, info: string): Promise<void> {
    const entry = this.#entryOf(group, user);
    if (entry === undefined) return;
    entry.info = info;
    entry.isUpdate = true;
    entry.written = UNKNOWN;
    await this.#write(entry);
    if (this.#unsaid.has(entry)) {
      throw new LayerUnavailable("the presence store cannot be reached; the others are told when it can be");
    }
  }

  /** Another node has changed a user's info: what is stated again must not undo that. */
  learn(group: string, user: string, info: string): void {
    const entry = this.#entryOf(group, user);
    if (entry !== undefined && !entry.isUpdate) entry.info = info;
  }

  /** Somebody has left the group: there may be room for one whom it did not take in. */
  roomAgain(group: string): void {
    if (!this.#full.has(group)) return;
    for (const entry of this.#groups.get(group)?.values() ?? []) {
      // One alone: if all tried, each leave of a full group would cost as many calls as wait before it.
      if (entry.isRefused) return void this.#writeAnew(entry);
    }
    this.#full.delete(group);
  }

  /** Resolves when nothing about the group is under way to the store. */
  async settled(group: string): Promise<void> {
    await writings(this.#groups.get(group)?.values() ?? []);
  }

  /** States everything again, whatever the store knows. */
  async restate(): Promise<void> {
    this.#generation += 1;
    this.#full.clear();
    await this.#each(this.#all());
  }

  /** States what could not be stated. */
  async retry(): Promise<void> {
    await this.#each([...this.#unsaid]);
  }

  /** Nothing is stated any more. Resolves with how long those who are still stated shall be held. */
  async close(leaseMs: number): Promise<number> {
    const entries = this.#all();
    this.#isClosed = true;
    for (const entry of entries) this.#endHold(entry);
    await writings(entries);
    const now = this.#clock.now();
    const holds = entries.map(({ channels, heldUntil, holding }) =>
      channels.size > 0 ? leaseMs : holding === undefined ? 0 : heldUntil - now,
    );
    this.#groups.clear();
    this.#unsaid.clear();
    return Math.min(
      holds.reduce((longest, hold) => Math.max(longest, hold), 0),
      MAX_FAREWELL_MS,
    );
  }

  #endHold({ holding }: Entry): void {
    if (holding !== undefined) this.#clock.clearTimeout(holding);
  }

  #all(): readonly Entry[] {
    return [...this.#groups.values()].flatMap((entries) => [...entries.values()]);
  }

  #entryOf(group: string, user: string): Entry | undefined {
    return this.#groups.get(group)?.get(user);
  }

  #add(group: string, user: string, info: string): Entry {
    const entry: Entry = {
      ...{ group, user, info, channels: new Set(), isUpdate: false },
      ...{ heldUntil: 0, holding: undefined },
      ...{ written: GONE, writing: undefined, isCertain: true, isRefused: false },
    };
    const entries = this.#groups.get(group) ?? new Map<string, Entry>();
    this.#groups.set(group, entries.set(user, entry));
    return entry;
  }

  #forget(entry: Entry): void {
    this.#unsaid.delete(entry);
    const entries = this.#groups.get(entry.group);
    if (entries?.get(entry.user) !== entry) return;
    entries.delete(entry.user);
    if (entries.size > 0) return;
    this.#groups.delete(entry.group);
    this.#full.delete(entry.group);
  }

  async #each(entries: readonly Entry[]): Promise<void> {
    const waiting = entries.values();
    const some = async () => {
      for (const entry of waiting) await this.#writeAnew(entry);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, some));
  }

  #writeAnew(entry: Entry): Promise<void> {
    entry.written = UNKNOWN;
    entry.isRefused = false;
    return this.#write(entry);
  }

  #write(entry: Entry): Promise<void> {
    entry.writing ??= this.#writeUntilTrue(entry);
    return entry.writing;
  }

  async #writeUntilTrue(entry: Entry): Promise<void> {
    // A moment later in any case, so that who comes and goes within one turn costs nothing.
    await this.#host.before(entry.group);
    try {
      for (let wanted = wantedOf(entry); wanted !== entry.written; wanted = wantedOf(entry)) {
        if (this.#isClosed) return;
        await this.#state(entry, wanted);
      }
      this.#unsaid.delete(entry);
      if (entry.written === GONE) this.#forget(entry);
    } catch (error) {
      entry.written = UNKNOWN;
      if (entry.isCertain && !(error instanceof LayerUnavailable)) this.#host.failed(error);
      entry.isCertain = false;
      this.#unsaid.add(entry);
      this.#host.unsaid();
    } finally {
      entry.writing = undefined;
    }
  }

  async #state(entry: Entry, wanted: number): Promise<void> {
    const { group, user, info, isUpdate, isCertain } = entry;
    const generation = this.#generation;
    // Set before, so that a wish for more that comes meanwhile is seen.
    entry.written = wanted;
    entry.isUpdate = false;
    let change: PresenceChange | "full" | undefined;
    try {
      change =
        wanted === GONE
          ? await this.#store.withdraw(group, user)
          : await this.#store.state(group, user, {
              ...{ connections: wanted, info, isUpdate, maxUsers: this.#maxUsers },
            });
    } catch (error) {
      entry.isUpdate ||= isUpdate;
      throw error;
    }
    if (generation !== this.#generation) entry.written = UNKNOWN;
    entry.isCertain = true;
    if (change === "full") return this.#refused(entry);
    this.#host.changed(group, change, isCertain);
  }

  #refused(entry: Entry): void {
    const { group } = entry;
    entry.isRefused = true;
    if (this.#full.has(group)) return;
    this.#full.add(group);
    this.#host.failed(
      new RateLimited(
        `${this.#maxUsers} users are present in the group "${group}"; no more are counted (limits.usersPerGroup)`,
      ),
    );
  }
}

async function writings(entries: Iterable<Entry>): Promise<void> {
  for (const { writing } of [...entries]) await writing;
}

function wantedOf({ channels, holding }: Entry): number {
  return channels.size > 0 ? channels.size : holding === undefined ? GONE : 0;
}
