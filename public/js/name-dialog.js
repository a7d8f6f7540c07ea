import { byId } from "./dom.js";
import { cleanName } from "./name.js";

/** Asks for a name. The first time there is no way around it but back to the lobby. */
export class NameDialog {
  #dialog = byId("name-dialog");
  #form = byId("name-form");
  #field = byId("name");
  #title = byId("name-title");
  #error = byId("name-error");
  #cancel = byId("name-cancel");
  #lobby = byId("name-lobby");
  #current = null;
  #onName;

  constructor(onName) {
    this.#onName = onName;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#cancel.addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("cancel", (event) => {
      if (!this.#current) event.preventDefault();
    });
    this.#dialog.addEventListener("close", () => {
      // A browser lets a second Escape through, whatever `cancel` said.
      if (!this.#current) this.#dialog.showModal();
    });
    this.#field.addEventListener("input", () => this.#complain(""));
  }

  /** Opens with the name so far, or null when there is none yet. */
  open(current) {
    this.#current = current;
    this.#title.textContent = current ? "Change your name" : "What should we call you?";
    this.#field.value = current ?? "";
    this.#cancel.hidden = !current;
    this.#lobby.hidden = Boolean(current);
    this.#complain("");
    this.#dialog.showModal();
    this.#field.select();
  }

  #submit() {
    const name = cleanName(this.#field.value);
    if (!name) {
      this.#complain("Please type a name that can be read: 1 to 40 characters.");
      this.#field.focus();
      return;
    }
    this.#current = name;
    this.#dialog.close();
    this.#onName(name);
  }

  #complain(text) {
    this.#error.textContent = text;
    this.#error.hidden = !text;
    this.#field.setAttribute("aria-invalid", Boolean(text));
  }
}
