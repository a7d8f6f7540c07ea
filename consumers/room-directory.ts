export interface RoomSummary {
  readonly name: string;
  /** Undefined where nobody counts them. */
  readonly people?: number | undefined;
}

/** The lobby shows so many rooms at most, the fullest first. */
const MOST_ROOMS = 100;
const MOST_KNOWN = 1_000;
/** Many changes in a moment are told to the lobby as one. */
const TELL_AFTER_MS = 50;
/** A node says this often which rooms somebody of its own is in. */
const TELL_AGAIN_MS = 2_000;
/** A room of which no node has said anything for so long is closed. */
const BELIEVED_MS = 5_000;

/** Which rooms somebody of this node is in, and what all nodes have said of theirs. */
export class RoomDirectory {
  readonly #here = new Map<string, Set<string>>();
  readonly #open = new Map<string, { readonly room: RoomSummary; readonly at: number }>();
  #soon: NodeJS.Timeout | undefined;
  #again: NodeJS.Timeout | undefined;

  enter(room: string, channel: string): void {
    const channels = this.#here.get(room) ?? new Set<string>();
    this.#here.set(room, channels.add(channel));
  }

  leave(room: string, channel: string): void {
    const channels = this.#here.get(room);
    if (channels?.delete(channel) && channels.size === 0) this.#here.delete(room);
  }

  /** A node has said which rooms are open, and how many people are in each, on all nodes. */
  learn(rooms: readonly RoomSummary[]): void {
    for (const room of rooms) {
      this.#open.delete(room.name);
      if (this.#open.size < MOST_KNOWN) this.#open.set(room.name, { room, at: Date.now() });
    }
  }

  list(): readonly RoomSummary[] {
    for (const [name, { at }] of this.#open) if (Date.now() - at > BELIEVED_MS) this.#open.delete(name);
    return fullest([...this.#open.values()].map(({ room }) => room));
  }

  /** Calls `tell` in a moment, once for all changes until then, and now and then while anybody is here. */
  tellSoon(tell: (rooms: readonly string[]) => Promise<void>): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      clearTimeout(this.#again);
      if (this.#here.size === 0) return;
      // The next time it is told again, so whatever was in the way may be gone by then.
      tell([...this.#here.keys()].slice(0, MOST_KNOWN)).catch(() => {});
      this.#again = setTimeout(() => this.tellSoon(tell), TELL_AGAIN_MS).unref();
    }, TELL_AFTER_MS).unref();
  }
}

export function fullest(rooms: readonly RoomSummary[]): readonly RoomSummary[] {
  const sorted = [...rooms].sort((a, b) => (b.people ?? 0) - (a.people ?? 0) || a.name.localeCompare(b.name));
  return sorted.slice(0, MOST_ROOMS);
}
