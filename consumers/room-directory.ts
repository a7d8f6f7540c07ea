/** A person in a room: one connection of one browser tab. */
export interface Person {
  readonly id: string;
  readonly name: string;
}

export interface RoomSummary {
  readonly name: string;
  readonly people: number;
}

/** The lobby shows so many rooms at most, the fullest first. */
const MOST_ROOMS = 100;
/** Many joins in a moment are told to the lobby as one change. */
const TELL_AFTER_MS = 50;

/** Which rooms of this node have whom in them. */
export class RoomDirectory {
  readonly #rooms = new Map<string, Map<string, Person>>();
  #timer: NodeJS.Timeout | undefined;

  enter(room: string, person: Person): void {
    const people = this.#rooms.get(room) ?? new Map<string, Person>();
    this.#rooms.set(room, people.set(person.id, person));
  }

  leave(room: string, id: string): void {
    const people = this.#rooms.get(room);
    if (people?.delete(id) && people.size === 0) this.#rooms.delete(room);
  }

  people(room: string): readonly Person[] {
    return [...(this.#rooms.get(room)?.values() ?? [])];
  }

  list(): readonly RoomSummary[] {
    const rooms = [...this.#rooms].map(([name, { size }]) => ({ name, people: size }));
    return rooms.sort((a, b) => b.people - a.people || a.name.localeCompare(b.name)).slice(0, MOST_ROOMS);
  }

  /** Calls `tell` with the list in a moment, once for all changes until then. */
  tellSoon(tell: (rooms: readonly RoomSummary[]) => void): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      tell(this.list());
    }, TELL_AFTER_MS).unref();
  }
}
