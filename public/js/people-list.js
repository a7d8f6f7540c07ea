import { avatar } from "./avatar.js";
import { byId, create } from "./dom.js";

const MAX_ROWS = 200;
const collator = new Intl.Collator(undefined, { numeric: true });

/** Who is in the room: a sidebar where there is room for one, a sheet on a phone. */
export class PeopleList {
  #panel = byId("people-panel");
  #toggle = byId("people-toggle");
  #list = byId("people");
  #count = byId("people-count");
  #narrow = matchMedia("(max-width: 760px)");
  #people = []; // { id, name }
  #myId = "";
  #frame = 0;

  constructor() {
    this.#narrow.addEventListener("change", () => this.#toggle.hidden || this.#fit());
    this.#panel.addEventListener("toggle", (event) => this.#expanded(event.newState === "open"));
    this.#toggle.addEventListener("click", () => this.#toggled());
    byId("people-close").addEventListener("click", () => this.#panel.hidePopover());
    this.#fit();
  }

  /** `people`: id -> `{ name }`. */
  show(people, { myId, isCurrent }) {
    this.#people = [...people].map(([id, { name }]) => ({ id, name }));
    this.#myId = myId;
    this.#list.setAttribute("aria-busy", !isCurrent);
    this.#count.textContent = this.#people.length;
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(() => this.#draw());
    if (this.#toggle.hidden && isCurrent) this.#fit();
  }

  /** Nobody knows who is here. */
  hide() {
    this.#toggle.hidden = true;
    this.#panel.hidden = true;
  }

  // In the next frame: a hundred joins at once, or a tab nobody sees, cost one drawing.
  #draw() {
    const rank = ({ id }) => (id === this.#myId ? 0 : 1);
    const sorted = this.#people.sort(
      (a, b) => rank(a) - rank(b) || collator.compare(a.name, b.name) || collator.compare(a.id, b.id),
    );
    const rows = sorted.slice(0, MAX_ROWS).map((person) => this.#row(person));
    const rest = sorted.length - rows.length;
    if (rest > 0) rows.push(create("li", { class: "muted" }, `and ${rest} more`));
    this.#list.replaceChildren(...rows);
  }

  #row(person) {
    const row = create("li", { "data-testid": "person" }, avatar(person));
    row.append(create("span", { class: "person-name", dir: "auto", title: person.name }, person.name));
    if (person.id === this.#myId) row.append(create("span", { class: "tag" }, "you"));
    return row;
  }

  // As a popover the sheet gets Escape, tap-outside and the return of the focus from the browser.
  #fit() {
    this.#panel.popover = this.#narrow.matches ? "auto" : null;
    this.#panel.hidden = false;
    this.#toggle.hidden = false;
    this.#expanded(!this.#narrow.matches);
  }

  #toggled() {
    if (this.#narrow.matches) {
      this.#panel.togglePopover();
    } else {
      this.#panel.hidden = !this.#panel.hidden;
      this.#expanded(!this.#panel.hidden);
    }
  }

  #expanded(expanded) {
    this.#toggle.setAttribute("aria-expanded", expanded);
  }
}
