import { button, byId } from "./dom.js";

/** The line above the composer for what went wrong, with what helps beside it, and for what operators tell all. */
export class Notice {
  #box = byId("notice");
  #text = byId("notice-text");
  #actions = byId("notice-actions");
  #subject = "";

  /** `actions` are elements; without any, the notice can be dismissed. `subject` is what it is about. */
  show(text, { actions, subject = "", isNews = false } = {}) {
    const dismiss = () => button("Dismiss", () => this.clear(), { class: "quiet" });
    this.#subject = subject;
    this.#box.dataset.kind = isNews ? "news" : "trouble";
    this.#text.textContent = text;
    this.#actions.replaceChildren(...(actions ?? [dismiss()]));
    this.#box.hidden = false;
  }

  /** News stay until they are dismissed: that somebody writes does not say that they were read. */
  clearTrouble() {
    if (this.#box.dataset.kind === "trouble") this.clear();
  }

  /** Given a subject, it goes only if it is about that. */
  clear(subject = this.#subject) {
    if (subject !== this.#subject) return;
    this.#box.hidden = true;
    this.#text.textContent = "";
  }
}
