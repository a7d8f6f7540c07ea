import type { PresenceChange, PresenceList, PresentUser } from "./presence-store.ts";

/** Tells that a user came, left or changed; for each user joins and leaves alternate. */
export type Tell = (type: "join" | "leave" | "update", user: PresentUser) => void;

const MAX_PARKED = 1_000;

/**
 * Who is in one group, as this node knows: a list, and the changes after it in their order. A change that
 * comes before its predecessor waits for it; if that does not come, the list must be read again, and the
 * difference is told.
 */
export class Roster {
  readonly #tell: Tell;
  readonly #users = new Map<string, PresentUser>();
  /** By the version they follow. */
  readonly #parked = new Map<number, PresenceChange>();
  #version = 0;
  #isKnown = false;
  #isReading = false;

  constructor(tell: Tell) {
    this.#tell = tell;
  }

  /** Whether it has been read. */
  get isKnown(): boolean {
    return this.#isKnown;
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

  hear(change: PresenceChange): void {
    if (this.#isKnown && !this.#isReading && change.version <= this.#version) return;
    // One that overflows is lost, and the hole it leaves is seen.
    if (this.#parked.size < MAX_PARKED) this.#parked.set(change.before, change);
    if (this.#isKnown && !this.#isReading) this.#drain();
  }

  /** What is heard from now on waits for the list. */
  beginReading(): void {
    this.#isReading = true;
  }

  /** The list could not be read. */
  giveUpReading(): void {
    this.#isReading = false;
  }

  /** The list as the store has it, read after `beginReading`. The first one is not told. */
  replace({ version, users }: PresenceList): void {
    const wasKnown = this.#isKnown;
    this.#isReading = false;
    this.#isKnown = true;
    this.#version = version;
    if (wasKnown) this.#difference(users);
    else for (const user of users) this.#users.set(user.user, user);
    this.#drain();
  }

  #difference(users: readonly PresentUser[]): void {
    const present = new Set(users.map(({ user }) => user));
    for (const known of [...this.#users.values()]) if (!present.has(known.user)) this.#remove(known);
    for (const user of users) this.#put(user);
  }

  #drain(): void {
    for (let next = this.#next(); next !== undefined; next = this.#next()) {
      this.#parked.delete(next.before);
      const { kind, before: _before, version, ...user } = next;
      this.#version = version;
      if (kind === "leave") this.#remove(user);
      else this.#put(user);
    }
    for (const [before, { version }] of this.#parked)
      if (version <= this.#version) this.#parked.delete(before);
  }

  #next(): PresenceChange | undefined {
    const next =
      this.#parked.get(this.#version) ?? (this.#users.size === 0 ? this.#parked.get(0) : undefined);
    return next !== undefined && next.version > this.#version ? next : undefined;
  }

  #put(user: PresentUser): void {
    const known = this.#users.get(user.user);
    this.#users.set(user.user, user);
    if (known === undefined) this.#tell("join", user);
    else if (known.info !== user.info) this.#tell("update", user);
  }

  #remove(user: PresentUser): void {
    if (this.#users.delete(user.user)) this.#tell("leave", user);
  }
}
