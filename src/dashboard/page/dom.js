// The only way in which anything gets into the page: text becomes text, never markup.

/** `create("p", { class: "hint" }, "some text", another)`. What is null or undefined is left out. */
export function create(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== null && value !== false) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== undefined && child !== null));
  return element;
}

export function button(label, onClick, attributes = {}) {
  const element = create("button", { type: "button", ...attributes }, label);
  element.addEventListener("click", onClick);
  return element;
}

/** One line to fill in: `done` is given what was written, if it was anything. */
export function lineForm({ label, placeholder = label, maxlength, submit, done }) {
  const input = create("input", {
    ...{ "aria-label": label, placeholder, maxlength },
    ...{ autocapitalize: "none", spellcheck: "false" },
  });
  const send = create("button", { type: "submit", class: "quiet bordered" }, submit);
  const form = create("form", { class: "inline-form" }, input, send);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const text = input.value.trim();
    if (text) done(text);
  });
  return form;
}

/** What a button is called by those who do not see its row; begins with what stands on it. */
export function name(element, words) {
  if (element.getAttribute("aria-label") !== words) element.setAttribute("aria-label", words);
}

/** Changes it only where it differs, so that what somebody has marked stays marked. */
export function say(element, text) {
  const words = String(text);
  if (element.textContent !== words) element.textContent = words;
}

/** `say`, and hidden when there is nothing to say. */
export function sayOrHide(element, text) {
  say(element, text ?? "");
  element.hidden = !text;
}

/**
 * A table whose rows stay the same elements as long as they are about the same thing: focus, marks and open
 * menus outlive the next report. On a phone each row is a card, and each cell has its label.
 */
export class Table {
  element;
  #body;
  #empty;
  #columns;
  #rows = new Map();

  /** @param columns - `{ label, class, make() => element, fill(element, row) }` or `{ label, text(row) }` */
  constructor({ columns, label, empty, testId }) {
    this.#columns = columns;
    // On a phone these are no table to the eye, and without roles none to the ear.
    this.#body = create("tbody", { role: "rowgroup" });
    this.#empty = create("div", { class: "empty", hidden: "" }, ...[empty].flat());
    const head = columns.map(({ label, class: name }) =>
      create(
        "th",
        { scope: "col", role: "columnheader", class: name },
        label || create("span", { class: "hidden-text" }, "Actions"),
      ),
    );
    const table = create(
      "table",
      { class: "table", role: "table", "aria-label": label, "data-testid": testId },
      create("thead", { role: "rowgroup" }, create("tr", { role: "row" }, ...head)),
      this.#body,
    );
    this.element = create("div", { class: "table-box" }, table, this.#empty);
  }

  /** @param rows - objects with a `key` */
  show(rows) {
    const left = new Map(this.#rows);
    let before = null;
    for (const row of rows) {
      const known = left.get(row.key) ?? this.#make(row.key);
      left.delete(row.key);
      known.row = row;
      known.element.className = row.class ?? "";
      this.#columns.forEach((column, index) => {
        const { inner } = known.cells[index];
        if (column.fill) column.fill(inner, row);
        else say(inner, column.text(row));
      });
      const place = before === null ? this.#body.firstChild : before.nextSibling;
      if (place !== known.element) this.#body.insertBefore(known.element, place);
      before = known.element;
    }
    for (const [key, { element }] of left) {
      element.remove();
      this.#rows.delete(key);
    }
    this.element.firstChild.hidden = rows.length === 0;
    this.#empty.hidden = rows.length > 0;
  }

  #make(key) {
    const known = { element: create("tr", { role: "row" }), cells: [], row: undefined };
    known.cells = this.#columns.map(({ label, class: name, make }) => {
      const inner = make ? make(() => known.row) : create("span");
      known.element.append(create("td", { role: "cell", class: name, "data-label": label }, inner));
      return { inner };
    });
    this.#rows.set(key, known);
    return known;
  }
}
