import { dayLabel, dayOf } from "./clock.js";
import { byId } from "./dom.js";
import { dayView, messageView, pendingView, systemView } from "./message-view.js";

const MAX_LINES = 500;
const MAX_LINES_AT_END = 100; // while nobody looks at older ones; they can be had again
const GROUP_MS = 5 * 60_000;
const NAMES_IN_A_LINE = 3;

const list = new Intl.ListFormat("en-GB");

/** Lines from one on, in order: a new day gets a heading, what follows from the same author no head. */
class Thread {
  #group = null; // { author, since }
  #day = "";

  message(message, { own }) {
    const heading = this.heading(message.at);
    const view = messageView(message, { own });
    const author = `${own ? "" : message.from.id} ${message.from.name}`;
    const follows = this.#group?.author === author && message.at - this.#group.since < GROUP_MS;
    if (follows) view.classList.add("follow");
    else this.#group = { author, since: message.at };
    view.dataset.day = this.#day;
    return [...heading, view];
  }

  system(kind, text, at) {
    const heading = this.heading(at);
    this.#group = null;
    const view = systemView(kind, text, at);
    view.dataset.day = this.#day;
    return [...heading, view];
  }

  heading(at) {
    if (dayOf(at) === this.#day) return [];
    this.#day = dayOf(at);
    this.#group = null;
    return [heading(this.#day, at)];
  }
}

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
  #thread = new Thread();
  #moves = null; // the last line, if it says who came or went: { view, kind, since, names, count }

  /**
   * False when this message is already there. `position` is its place in the room's history, if it keeps one;
   * `atEnd` that nobody looks at older lines.
   */
  add(message, { own, position, atEnd }) {
    if (this.#shown.has(message.id)) return false;
    this.#shown.add(message.id);
    this.#append(this.#thread.message(message, { own }), atEnd);
    place(this.#lines.lastElementChild, position);
    return true;
  }

  /** Where the oldest message stands in the room's history: `{ epoch, offset }`, or undefined. */
  get oldest() {
    const { epoch, offset } = this.#lines.querySelector(".message")?.dataset ?? {};
    return offset ? { epoch, offset: Number(offset) } : undefined;
  }

  get isFull() {
    return this.#lines.childElementCount >= MAX_LINES;
  }

  /** Older messages, oldest first, above all others: `{ message, own, position }`. */
  prepend(entries) {
    const first = this.#lines.firstElementChild;
    const thread = new Thread();
    const views = [];
    let latest = 0;
    for (const { message, own, position } of entries) {
      if (this.#shown.has(message.id)) continue;
      this.#shown.add(message.id);
      views.push(...thread.message(message, { own }));
      place(views.at(-1), position);
      latest = message.at;
    }
    if (views.length === 0) return;
    const isSameDay = first?.dataset.day === dayOf(latest);
    if (isSameDay && first.classList.contains("day")) first.remove();
    else if (first && !isSameDay && !first.classList.contains("day")) {
      views.push(heading(first.dataset.day, new Date(first.dataset.day).getTime()));
    }
    this.#lines.prepend(...views);
    this.#empty.hidden = true;
  }

  addSystem(kind, text, at = Date.now()) {
    if (kind === "gap" && this.#lines.lastElementChild?.dataset.kind === "gap") return; // one mark says it
    this.#append(this.#thread.system(kind, text, at), false);
  }

  /** Somebody has `joined` or `left`; those who do so in a row share a line. */
  addMove(kind, name) {
    const at = Date.now();
    const { view, ...last } = this.#moves ?? {};
    const goesOn =
      view && view === this.#lines.lastElementChild && kind === last.kind && at - last.since < GROUP_MS;
    if (goesOn) view.remove();
    const { since, names, count } = goesOn ? last : { since: at, names: [], count: 0 };
    const moves = { kind, since, names: [...names, name].slice(0, NAMES_IN_A_LINE), count: count + 1 };
    this.addSystem(kind, `${sentenceOf(moves)} ${kind}`, at);
    this.#moves = { ...moves, view: this.#lines.lastElementChild };
  }

  /** Who moves from now on gets a line of their own. */
  endMoves() {
    this.#moves = null;
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

  #append(views, atEnd) {
    this.#lines.append(...views);
    this.#empty.hidden ||= views.some((view) => view.classList.contains("message"));
    const most = atEnd ? MAX_LINES_AT_END : MAX_LINES;
    while (this.#lines.childElementCount > most) {
      const oldest = this.#lines.firstElementChild;
      this.#shown.delete(oldest.dataset.id);
      oldest.remove();
      this.#lines.firstElementChild.classList.remove("follow"); // its author went with the line before
    }
  }
}

function sentenceOf({ names, count }) {
  if (count <= NAMES_IN_A_LINE) return list.format(names);
  const shown = names.slice(0, NAMES_IN_A_LINE - 1);
  return list.format([...shown, `${count - shown.length} others`]);
}

function heading(day, at) {
  const view = dayView(dayLabel(at));
  view.dataset.day = day;
  return view;
}

function place(view, position) {
  if (!position) return;
  view.dataset.epoch = position.epoch;
  view.dataset.offset = position.offset;
}
