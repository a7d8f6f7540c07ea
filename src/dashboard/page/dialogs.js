// What asks, and what tells.

import { button, create } from "./dom.js";

const TOAST_MS = 6_000;

/** Words at the edge of the page, for a while. */
export function toast(words, tone = "good") {
  const element = create("p", { class: "toast", "data-tone": tone, "data-testid": "toast" }, words);
  document.getElementById("toasts").append(element);
  setTimeout(() => element.remove(), TOAST_MS);
}

/**
 * Asks whether to do something, and does it. The dialog stays open, and says why, if it fails.
 *
 * @param fields - elements with a value, handed to `act`
 */
export function ask({ title, words, fields = [], yes, tone = "danger", act, done }) {
  const error = create("p", {
    class: "field-error",
    role: "alert",
    "data-testid": "dialog-error",
    hidden: "",
  });
  const confirm = create(
    "button",
    { type: "submit", class: tone === "danger" ? "primary danger" : "primary", "data-testid": "confirm" },
    yes,
  );
  const form = create(
    "form",
    { method: "dialog" },
    create("h2", {}, title),
    ...[words].flat().map((text) => create("p", { class: "muted" }, text)),
    ...fields,
    error,
    create(
      "div",
      { class: "dialog-actions" },
      button("Cancel", () => dialog.close(), { class: "quiet" }),
      confirm,
    ),
  );
  const dialog = show(form, "dialog");
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (confirm.disabled) return;
    confirm.disabled = true;
    error.hidden = true;
    try {
      await act();
      dialog.close();
      if (done) toast(done);
    } catch (failure) {
      error.textContent = failure.message;
      error.hidden = false;
    } finally {
      confirm.disabled = false;
    }
  });
  return dialog;
}

/** Something larger to read. */
export function show(content, name = "sheet") {
  const title = content.querySelector("h2");
  title.id = `${name}-title`;
  const dialog = create("dialog", { class: name, "data-testid": name, "aria-labelledby": title.id }, content);
  document.body.append(dialog);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.showModal();
  return dialog;
}
