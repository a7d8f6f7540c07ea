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
/** A node with people says so this often, and is believed for three times as long: it may have been killed. */
const TELL_AGAIN_MS = 10_000;
const MOST_NODES = 1_000;

/** Which rooms of this node have whom in them, and what other nodes say of theirs. */
export class RoomDirectory {
  readonly #rooms = new Map<string, Map<string, Person>>();
  readonly #elsewhere = new Map<string, { readonly rooms: readonly RoomSummary[]; readonly at: number }>();
  #timer: NodeJS.Timeout | undefined;
  #again: NodeJS.Timeout | undefined;

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

  /** The rooms of this node. */
  own(): readonly RoomSummary[] {
    return fullest([...this.#rooms].map(([name, { size }]) => ({ name, people: size })));
  }

  /** Another node has said which rooms it has. */
  learn(node: string, rooms: readonly RoomSummary[]): void {
    this.#elsewhere.delete(node);
    if (this.#elsewhere.size < MOST_NODES) this.#elsewhere.set(node, { rooms, at: Date.now() });
  }

  /** The rooms of all nodes. */
  list(): readonly RoomSummary[] {
    const people = new Map(this.own().map((room) => [room.name, room.people]));
    for (const [node, { rooms, at }] of this.#elsewhere) {
      if (Date.now() - at > 3 * TELL_AGAIN_MS) this.#elsewhere.delete(node);
      else for (const room of rooms) people.set(room.name, (people.get(room.name) ?? 0) + room.people);
    }
    return fullest([...people].map(([name, count]) => ({ name, people: count })));
  }

  /** Calls `tell` in a moment, once for all changes until then, and now and then while there is anybody. */
  tellSoon(tell: () => void): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      clearTimeout(this.#again);
      tell();
      if (this.#rooms.size > 0) this.#again = setTimeout(() => this.tellSoon(tell), TELL_AGAIN_MS).unref();
    }, TELL_AFTER_MS).unref();
  }
}

function fullest(rooms: readonly RoomSummary[]): readonly RoomSummary[] {
  return [...rooms].sort((a, b) => b.people - a.people || a.name.localeCompare(b.name)).slice(0, MOST_ROOMS);
}
