import type { PresenceChange, PresenceList, PresentUser } from "./presence-store.ts";

/** Tells that a user came, left or changed; for each user joins and leaves alternate. */
export type Tell = (type: "join" | "leave" | "update", user: PresentUser) => void;

const MAX_PARKED = 1_000;
const MAX_FOLLOWED = 10_000;

/** What is told, to whom it may concern. */
export type Told = readonly [type: "join" | "leave" | "update", user: PresentUser];

/** An entry of the group's log. */
interface Followed {
  readonly change: PresenceChange;
  readonly offset: number;
}

/**
 * Who is in one group, as this node knows: a list, and the changes after it in their order. A change that
 * comes before its predecessor waits for it; if that does not come, the list must be read again, and the
 * difference is told.
 *
 * Of a group with a log it is who was there at the entry that was followed last: the log brings who comes and
 * goes, in its order; what is heard beside it tells only how many connections a user has.
 */
export class Roster {
  readonly #tell: Tell;
  readonly #isLogged: boolean;
  #users = new Map<string, PresentUser>();
  /** By the version they follow. */
  readonly #parked = new Map<number, PresenceChange>();
  #version = 0;
  #isKnown = false;
  #isReading = false;
  #isStale = false;
  /** Some of the log was lost since the reading of the list began. */
  #hasLost = false;
  /** Since the reading of the list began: it may have them or not. */
  #followed: Followed[] = [];

  constructor(tell: Tell, isLogged = false) {
    this.#tell = tell;
    this.#isLogged = isLogged;
  }

  /** Whether it has been read. */
  get isKnown(): boolean {
    return this.#isKnown;
  }

  /** Whether it has been read, and then some of the log was lost: it is what was true before. */
  get isStale(): boolean {
    return this.#isStale;
  }

  /** Whether a change waits for one that has not come. */
  get hasHole(): boolean {
    return this.#parked.size > 0 && !this.#isReading;
  }

  get size(): number {
    return this.#users.size;
  }

  get users(): readonly PresentUser[] {
    return [...this.#users.values()];
  }

  /** Some of them, without a list of all. */
  first(count: number): readonly string[] {
    const users: string[] = [];
    for (const user of this.#users.keys()) {
      if (users.length >= count) break;
      users.push(user);
    }
    return users;
  }

  hear(change: PresenceChange): void {
    if (this.#isKnown && !this.#isReading && change.version <= this.#version) return;
    // One that overflows is lost, and the hole it leaves is seen.
    if (this.#parked.size < MAX_PARKED) this.#parked.set(change.before, change);
    if (this.#isKnown && !this.#isReading) this.#drain();
  }

  /**
   * The next entry of the log.
   *
   * @returns what it tells; nothing to those who know it, after the log was lost and all were stated again
   */
  follow(change: PresenceChange, offset: number): Told | undefined {
    if (this.#isReading && this.#followed.length < MAX_FOLLOWED) this.#followed.push({ change, offset });
    const { kind, before: _before, version: _version, appended: _appended, ...user } = change;
    if (kind === "count") return undefined;
    const told = kind === "leave" ? this.#remove(user) : this.#put(user);
    this.hear(change);
    return this.#isKnown ? told : [kind, user];
  }

  /** The log goes on elsewhere; what happened between is found in a list that is read from now on. */
  lose(): void {
    this.#isStale = this.#isKnown;
    this.#hasLost = true;
    this.#followed = [];
  }

  /** What is heard from now on waits for the list. */
  beginReading(): void {
    this.#isReading = true;
    this.#hasLost = false;
    this.#followed = [];
  }

  /** The list could not be read. */
  giveUpReading(): void {
    this.#isReading = false;
    this.#followed = [];
  }

  /**
   * The list as the store has it, read after `beginReading`; of a log up to where the list has it must have
   * been followed. The first one is not told.
   *
   * @returns false if so much was followed meanwhile, or some of the log lost, that it must be read again
   */
  replace({ version, users, top }: PresenceList): boolean {
    if (this.#hasLost || this.#followed.length >= MAX_FOLLOWED) return false;
    const wasKnown = this.#isKnown;
    const present = new Map(users.map((user) => [user.user, user]));
    for (const { change, offset } of this.#followed) {
      if (offset <= (top?.offset ?? 0)) continue;
      const { kind, before: _before, version: _version, appended: _appended, ...user } = change;
      if (kind === "leave") present.delete(user.user);
      else present.set(user.user, user);
    }
    this.#followed = [];
    this.#isReading = false;
    this.#isKnown = true;
    this.#version = version;
    if (wasKnown) this.#difference(present);
    else this.#users = present;
    this.#isStale = false;
    this.#drain();
    return true;
  }

  #difference(present: ReadonlyMap<string, PresentUser>): void {
    for (const known of [...this.#users.values()])
      if (!present.has(known.user)) this.#say(this.#remove(known));
    for (const user of present.values()) this.#say(this.#put(user));
  }

  #drain(): void {
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      this.#parked.delete(next.before);
      const { kind, before: _before, version, appended: _appended, ...user } = next;
      this.#version = version;
      if (this.#isLogged) this.#count(user);
      else this.#say(kind === "leave" ? this.#remove(user) : this.#put(user));
    }
    for (const [before, { version }] of this.#parked)
      if (version <= this.#version) this.#parked.delete(before);
  }

  #next(): PresenceChange | undefined {
    // Where nobody was before, nothing before counts; the log may know that nobody is before this does.
    const isEmpty = this.#isLogged || this.#users.size === 0;
    const next = this.#parked.get(this.#version) ?? (isEmpty ? this.#parked.get(0) : undefined);
    return next !== undefined && next.version > this.#version ? next : undefined;
  }

  #put(user: PresentUser): Told | undefined {
    const known = this.#users.get(user.user);
    this.#users.set(user.user, user);
    if (known === undefined) return ["join", user];
    return known.info === user.info ? undefined : ["update", user];
  }

  #remove(user: PresentUser): Told | undefined {
    return this.#users.delete(user.user) ? ["leave", user] : undefined;
  }

  #count({ user, connections }: PresentUser): void {
    const known = this.#users.get(user);
    if (known !== undefined) this.#users.set(user, { ...known, connections });
  }

  #say(told: Told | undefined): void {
    if (told !== undefined) this.#tell(...told);
  }
}
