import { dayLabel, dayOf } from "./clock.js";
import { byId } from "./dom.js";
import { dayView, messageView, pendingView, systemView } from "./message-view.js";

const MAX_LINES = 500;
const GROUP_MS = 5 * 60_000;

/**
 * The log: what everyone said, in the order the server gave it, then what is on its way from here. Pending
 * messages stay below until they are confirmed, so that every window ends up with the same order.
 */
export class MessageList {
  #lines = byId("lines");
  #waiting = byId("waiting");
  #empty = byId("messages-empty");
  #pending = new Map(); // entry of the outbox -> its element
  #shown = new Set(); // ids, so that a message which comes twice is shown once
  #group = null; // { author, since }
  #day = "";

  /** False when this message is already there. */
  add(message, { own }) {
    if (this.#shown.has(message.id)) return false;
    this.#shown.add(message.id);
    this.#startDay(message.at);
    const view = messageView(message, { own });
    const author = `${own ? "" : message.from.id} ${message.from.name}`;
    const follows = this.#group?.author === author && message.at - this.#group.since < GROUP_MS;
    if (follows) view.classList.add("follow");
    else this.#group = { author, since: message.at };
    this.#append(view);
    this.#empty.hidden = true;
    return true;
  }

  addSystem(kind, text, at = Date.now()) {
    this.#startDay(at);
    this.#group = null;
    this.#append(systemView(kind, text, at));
  }

  /** Shows an entry of the outbox, or shows it anew when something about it changed. */
  showPending(entry, actions) {
    const view = pendingView(entry, actions);
    const before = this.#pending.get(entry);
    if (before) before.replaceWith(view);
    else this.#waiting.append(view);
    this.#pending.set(entry, view);
    this.#empty.hidden = true;
  }

  removePending(entry) {
    this.#pending.get(entry)?.remove();
    this.#pending.delete(entry);
  }

  #startDay(at) {
    if (dayOf(at) === this.#day) return;
    this.#day = dayOf(at);
    this.#group = null;
    this.#append(dayView(dayLabel(at)));
  }

  #append(view) {
    this.#lines.append(view);
    while (this.#lines.childElementCount > MAX_LINES) {
      const oldest = this.#lines.firstElementChild;
      this.#shown.delete(oldest.dataset.id);
      oldest.remove();
      this.#lines.firstElementChild.classList.remove("follow"); // its author went with the line before
    }
  }
}
