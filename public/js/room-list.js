import { byId, create } from "./dom.js";
import { pathOfRoom } from "./room-name.js";

/**
 * The rooms that are open now. Sorted by name and updated in place, so that no row moves away from under a
 * pointer, and none loses the keyboard's focus, because somebody joined elsewhere.
 */
export class RoomList {
  #list = byId("rooms");
  #summary = byId("rooms-summary");
  #empty = byId("rooms-empty");
  #rows = new Map(); // name -> { row, people }

  show(rooms) {
    const sorted = rooms.toSorted((a, b) => a.name.localeCompare(b.name, undefined, { numeric: true }));
    const names = new Set(sorted.map(({ name }) => name));
    for (const [name, { row }] of this.#rows) {
      if (names.has(name)) continue;
      row.remove();
      this.#rows.delete(name);
    }
    sorted.forEach(({ name, people }, index) => {
      const { row, count } = this.#rowOf(name);
      count.textContent = countText(people);
      if (this.#list.children[index] !== row)
        this.#list.insertBefore(row, this.#list.children[index] ?? null);
    });
    this.#empty.hidden = sorted.length > 0;
    this.#summary.textContent = sorted.length === 0 ? "" : `${sorted.length} live`;
  }

  #rowOf(name) {
    const known = this.#rows.get(name);
    if (known) return known;
    const count = create("span", { class: "room-people" });
    const label = create("span", { class: "room-label" }, name);
    const link = create("a", { href: pathOfRoom(name) }, label, count);
    const made = { row: create("li", { "data-testid": "room-item" }, link), count };
    made.row.dataset.room = name;
    this.#rows.set(name, made);
    return made;
  }
}

/** Where nobody counts, a room is open because somebody is in it. */
function countText(people) {
  if (people === undefined) return "open";
  return people === 1 ? "1 person" : `${people} people`;
}
