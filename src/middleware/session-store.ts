/** Where sessions are kept: the contract, and the form that keeps them in this process. */

/** Text by id, each until its time is up. What was removed never comes back under its id. */
export interface SessionStore {
  read(id: string): Promise<string | undefined>;
  /** Whatever was there before; unless it was removed. */
  write(id: string, text: string, ttlMs: number): Promise<void>;
  /** Only if what is there is what is expected; says whether it was. */
  swap(id: string, expected: string, text: string, ttlMs: number): Promise<boolean>;
  /** Lets it live so long from now, if it is there. */
  extend(id: string, ttlMs: number): Promise<void>;
  /** Says whether it was there; what never was is not noted as removed. */
  remove(id: string): Promise<boolean>;
}

/** A store of express-session, as far as it is asked here. */
export interface ExpressSessionStore {
  get(id: string, callback: (error: unknown, session?: never) => void): unknown;
  set(id: string, session: never, callback?: (error?: unknown) => void): unknown;
  destroy(id: string, callback?: (error?: unknown) => void): unknown;
  touch?(id: string, session: never, callback?: () => void): unknown;
}

/** How long an id is known as removed: longer than any request that read it before should take. */
export const REMOVED_MS = 3_600_000;

/** The bound of {@link MemorySessions}. */
export interface MemorySessionsOptions {
  /** Beyond so many those that were written first are dropped. Default 100,000. */
  readonly maxSessions?: number;
}

interface Entry {
  /** Undefined: it was removed. */
  readonly text: string | undefined;
  readonly endsAt: number;
}

/** Sessions of one process, gone with it. */
export class MemorySessions implements SessionStore {
  readonly #entries = new Map<string, Entry>();
  readonly #maxSessions: number;
  /** Writes beyond the bound since the last look for those whose time is up. */
  #unswept = 0;

  constructor({ maxSessions = 100_000 }: MemorySessionsOptions = {}) {
    this.#maxSessions = maxSessions;
  }

  /** How many are kept, with those whose time is up but which nobody has asked for. */
  get size(): number {
    return this.#entries.size;
  }

  async read(id: string): Promise<string | undefined> {
    return this.#find(id)?.text;
  }

  async write(id: string, text: string, ttlMs: number): Promise<void> {
    const entry = this.#find(id);
    if (entry === undefined || entry.text !== undefined) this.#put(id, text, ttlMs);
  }

  async swap(id: string, expected: string, text: string, ttlMs: number): Promise<boolean> {
    if (this.#find(id)?.text !== expected) return false;
    this.#put(id, text, ttlMs);
    return true;
  }

  async extend(id: string, ttlMs: number): Promise<void> {
    const text = this.#find(id)?.text;
    if (text !== undefined) this.#put(id, text, ttlMs);
  }

  async remove(id: string): Promise<boolean> {
    const isThere = this.#find(id)?.text !== undefined;
    if (isThere) this.#put(id, undefined, REMOVED_MS);
    return isThere;
  }

  #find(id: string): Entry | undefined {
    const entry = this.#entries.get(id);
    if (entry === undefined || entry.endsAt > Date.now()) return entry;
    this.#entries.delete(id);
    return undefined;
  }

  /** Not at each write: whoever writes many would have all looked through as often. */
  #sweep(): void {
    this.#unswept += 1;
    if (this.#unswept < this.#maxSessions / 100) return;
    this.#unswept = 0;
    const now = Date.now();
    for (const [id, { endsAt }] of this.#entries) if (endsAt <= now) this.#entries.delete(id);
  }

  /** The oldest come first, so whoever is dropped was not written for the longest. */
  #put(id: string, text: string | undefined, ttlMs: number): void {
    this.#entries.delete(id);
    this.#entries.set(id, { text, endsAt: Date.now() + ttlMs });
    if (this.#entries.size <= this.#maxSessions) return;
    this.#sweep();
    for (const key of this.#entries.keys()) {
      if (this.#entries.size <= this.#maxSessions) break;
      this.#entries.delete(key);
    }
  }
}
