import { button, byId } from "./dom.js";

/** The line above the composer for what went wrong, with what helps beside it. */
export class Notice {
  #box = byId("notice");
  #text = byId("notice-text");
  #actions = byId("notice-actions");

  /** `actions` are elements; without any, the notice can be dismissed. */
  show(text, actions = [button("Dismiss", () => this.clear(), { class: "quiet" })]) {
    this.#text.textContent = text;
    this.#actions.replaceChildren(...actions);
    this.#box.hidden = false;
  }

  clear() {
    this.#box.hidden = true;
    this.#text.textContent = "";
  }
}
