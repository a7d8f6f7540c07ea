import { avatar } from "./avatar.js";
import { timeView } from "./clock.js";
import { button, create } from "./dom.js";
import { linkify } from "./linkify.js";

const EMOJI = String.raw`\p{Extended_Pictographic}|\p{M}|\u200d|[\u{1f3fb}-\u{1f3ff}\u{1f1e6}-\u{1f1ff}]|\s`;
const ONLY_EMOJI = new RegExp(`^(?:${EMOJI}){1,16}$`, "u");

/**
 * A message as an element. Author and time are always in it, also where a message that follows another of the
 * same author hides them (class `follow`): whoever listens instead of looking needs them.
 */
export function messageView({ id, from, text, at }, { own }) {
  const view = create(
    "article",
    { class: own ? "message own" : "message", "data-testid": "message", "data-state": "sent" },
    avatar(from),
    create("p", { class: "head" }, create("span", { class: "author", dir: "auto" }, from.name), timeView(at)),
    bubble(text),
  );
  view.dataset.id = id;
  return view;
}

/** A message the server hasn't confirmed, or that it won't take. `actions` are the ways out for the latter. */
export function pendingView({ text, failed }, { onRetry, onEdit, onDelete }) {
  const state = create("p", { class: "delivery" });
  if (failed) {
    state.append(
      create("span", {}, "Not sent"),
      button("Try again", onRetry),
      button("Edit", onEdit),
      button("Delete", onDelete),
    );
  } else {
    state.append("Sending…");
  }
  const attributes = {
    class: "message own",
    "data-testid": "message",
    "data-state": failed ? "failed" : "pending",
  };
  return create("article", attributes, bubble(text), state);
}

/** A line of the room itself: `kind` is joined, left, renamed or gap. */
export function systemView(kind, text, at) {
  const attributes = { class: "system", "data-testid": "system-line", "data-kind": kind };
  return create("p", attributes, create("span", { dir: "auto" }, text), timeView(at));
}

export function dayView(label) {
  return create("p", { class: "day" }, create("span", {}, label));
}

function bubble(text) {
  const view = create("p", { class: "bubble", dir: "auto" }, linkify(text));
  if (ONLY_EMOJI.test(text)) view.classList.add("emoji");
  return view;
}
