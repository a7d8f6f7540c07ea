import { create } from "./dom.js";

const FORGET_MS = 6_000;

/**
 * Who is typing. Not a live region on purpose: read aloud at every keystroke of others it would drown what
 * they say.
 */
export class TypingLine {
  #line;
  #typists = new Map(); // id -> { name, timer }

  constructor(line) {
    this.#line = line;
  }

  set({ id, name, typing }) {
    clearTimeout(this.#typists.get(id)?.timer);
    this.#typists.delete(id);
    if (typing) this.#typists.set(id, { name, timer: setTimeout(() => this.forget(id), FORGET_MS) });
    this.#show();
  }

  forget(id) {
    this.set({ id, typing: false });
  }

  forgetAll() {
    for (const id of [...this.#typists.keys()]) this.forget(id);
  }

  #show() {
    const names = [...this.#typists.values()].map(({ name }) => name);
    if (names.length === 0) {
      this.#line.replaceChildren();
      return;
    }
    const dots = create(
      "span",
      { class: "dots", "aria-hidden": "true" },
      create("i"),
      create("i"),
      create("i"),
    );
    this.#line.replaceChildren(dots, create("span", { class: "typing-text", dir: "auto" }, sentence(names)));
  }
}

function sentence(names) {
  if (names.length === 1) return `${names[0]} is typing…`;
  if (names.length === 2) return `${names[0]} and ${names[1]} are typing…`;
  return `${names[0]}, ${names[1]} and ${names.length - 2} more are typing…`;
}
