import { byId } from "./dom.js";

const MAX_LENGTH = 4000;
const COUNT_FROM = 3600;
const TYPING_EVERY_MS = 3_000;

/** The field to write in: Enter sends, Shift+Enter makes a new line, and others learn that someone writes. */
export class Composer {
  #form = byId("composer-form");
  #field = byId("composer");
  #send = byId("send");
  #count = byId("composer-count");
  #on;
  #typingSaidAt = 0;
  #enabled = true;

  /** `on.say(text)` and `on.typing(boolean)`. */
  constructor(on) {
    this.#on = on;
    this.#field.addEventListener("input", () => this.#changed());
    this.#field.addEventListener("keydown", (event) => {
      // An Enter that confirms a word in an input method (Japanese, Chinese ...) belongs to that word.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.#submit();
    });
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#changed(); // a browser may bring back what stood here before a reload
  }

  focus() {
    this.#field.focus();
  }

  /** While refused there is nobody to send to; the field itself stays usable. */
  enable(enabled) {
    this.#enabled = enabled;
    this.#show();
  }

  /** Gives a text back for editing, without losing what has been written since. */
  putBack(text) {
    this.#field.value = this.#field.value.trim() ? `${text}\n${this.#field.value}` : text;
    this.#changed();
    this.focus();
  }

  #submit() {
    if (this.#send.disabled) return;
    const text = this.#text();
    this.#field.value = "";
    this.#changed();
    this.focus();
    this.#on.say(text);
  }

  #changed() {
    this.#field.style.height = "auto";
    this.#field.style.height = `${this.#field.scrollHeight}px`;
    this.#show();
    this.#sayTyping();
  }

  #show() {
    const length = this.#text().length;
    this.#send.disabled = !this.#enabled || length === 0 || length > MAX_LENGTH;
    this.#count.hidden = length < COUNT_FROM;
    this.#count.classList.toggle("over", length > MAX_LENGTH);
    this.#count.textContent =
      length > MAX_LENGTH ? `Too long by ${length - MAX_LENGTH}` : `${MAX_LENGTH - length} left`;
  }

  #sayTyping() {
    const typing = this.#text().length > 0;
    const due = Date.now() - this.#typingSaidAt >= TYPING_EVERY_MS;
    if (typing ? !due : this.#typingSaidAt === 0) return;
    this.#typingSaidAt = typing ? Date.now() : 0;
    this.#on.typing(typing);
  }

  #text() {
    return this.#field.value.trim();
  }
}
