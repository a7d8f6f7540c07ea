import { Ears } from "./ears.ts";
import { fieldsOf } from "./marks.ts";
import { inside } from "./stock-socket.ts";
import type { PresenceEvents, StockSocket } from "./types.ts";

/** Who comes beyond them is not in the list until others have gone. */
const MAX_USERS = 100_000;

/** Made by {@link presence}. */
class Presence<Info> {
  readonly group: string;
  readonly #users = new Map<string, Info>();
  readonly #ears = new Ears<PresenceEvents<Info>>();
  readonly #end: () => void;
  #isKnown = false;
  #isCurrent = false;

  constructor(socket: StockSocket, group: string) {
    this.group = group;
    const own = inside(socket);
    const hear = (payload: unknown) => this.#hear(payload);
    const lost = () => this.#lost();
    own.on("sluice.presence", hear);
    own.on("disconnect", lost);
    this.#end = () => {
      own.off("sluice.presence", hear);
      own.off("disconnect", lost);
    };
  }

  /** Who is here, with their info, as far as this client knows; of more than 100,000 so many. */
  get users(): ReadonlyMap<string, Info> {
    return this.#users;
  }

  /** Whether the server has sent the list in this connection, so that `users` is true now. */
  get isCurrent(): boolean {
    return this.#isCurrent;
  }

  /**
   * - `join`, `leave`, `update`: in turn for each user, also over lost connections. Those who are in the
   *   first list have not joined.
   * - `list`: the list has come; so in each connection.
   * - `change`: after any of these, and when the connection is lost.
   *
   * @returns ends the listening
   */
  on<E extends keyof PresenceEvents<Info>>(
    event: E,
    listener: (event: PresenceEvents<Info>[E]) => void,
  ): () => void {
    return this.#ears.on(event, listener);
  }

  /** Hears nothing any more; `users` stays as it is. */
  stop(): void {
    this.#end();
    this.#isCurrent = false;
    this.#ears.clear();
  }

  #hear(payload: unknown): void {
    const { type, group, user, info, users } = fieldsOf(payload);
    if (group !== this.group) return;
    if (type === "list" && Array.isArray(users)) return this.#replace(users);
    // What comes before the first list is in it.
    if (!this.#isKnown || typeof user !== "string") return;
    const isNew = type === "leave" ? this.#remove(user) : this.#put(user, info as Info);
    if (isNew) this.#ears.tell("change", undefined);
  }

  #replace(users: readonly unknown[]): void {
    const present = new Map<string, Info>();
    for (const { user, info } of users.map(fieldsOf)) {
      if (typeof user === "string" && present.size < MAX_USERS) present.set(user, info as Info);
    }
    if (this.#isKnown) {
      for (const user of [...this.#users.keys()]) if (!present.has(user)) this.#remove(user);
      for (const [user, info] of present) this.#put(user, info);
    } else {
      for (const [user, info] of present) this.#users.set(user, info);
    }
    this.#isKnown = true;
    this.#isCurrent = true;
    this.#ears.tell("list", undefined);
    this.#ears.tell("change", undefined);
  }

  #put(user: string, info: Info): boolean {
    const before = this.#users.get(user) as Info;
    const isHere = this.#users.has(user);
    if (isHere ? isSame(before, info) : this.#users.size >= MAX_USERS) return false;
    this.#users.set(user, info);
    const isLate = !this.#isCurrent;
    if (isHere) this.#ears.tell("update", { user, info, before, isLate });
    else this.#ears.tell("join", { user, info, isLate });
    return true;
  }

  #remove(user: string): boolean {
    const info = this.#users.get(user) as Info;
    if (!this.#users.delete(user)) return false;
    this.#ears.tell("leave", { user, info, isLate: !this.#isCurrent });
    return true;
  }

  #lost(): void {
    this.#isCurrent = false;
    this.#ears.tell("change", undefined);
  }
}

export type { Presence };

/**
 * Keeps the list of who is in a group, from what the consumer's `sendPresence(group)` and the group's joins
 * and leaves tell; over lost connections too, if the consumer sends the list in `connect`. Call it before
 * the socket connects.
 *
 * @example
 * const here = presence(socket, "chat.lobby");
 * here.on("change", () => show([...here.users.values()].map(({ name }) => name)));
 */
export function presence<Info = unknown>(socket: StockSocket, group: string): Presence<Info> {
  return new Presence<Info>(socket, group);
}

function isSame(a: unknown, b: unknown): boolean {
  try {
    return JSON.stringify(a) === JSON.stringify(b);
  } catch {
    // Too deep to be written.
    return false;
  }
}
