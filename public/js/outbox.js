// What was said here and hasn't come back from the room. Nothing gets lost in silence, nothing is said twice:
//
//  - While we are not live a message waits here, and goes out when we are; after a while it is "not sent".
//  - A message that was out when the connection was lost may or may not have arrived. Each has an id of its own.
//    A room that keeps history takes no id twice, so there it goes out again; elsewhere a person decides.
//
// So nothing is handed to Socket.IO while we are not live: its own send buffer would replay it all.

import { randomId } from "./random-id.js";

const WAIT_MS = 10_000;
const ECHO_MS = 3_000; // after the acknowledgement; the message itself comes before it, as a rule

const KIND_WORDS = {
  rate_limited: "You are sending faster than this room takes it. Wait a moment, then try again.",
  channel_full: "The server is busy with what you sent before. Wait a moment, then try again.",
  no_handler: "This room doesn't take messages.",
  not_live: "There is no connection. Try again when you are back.",
  no_answer: "The server didn't confirm it, though it may have arrived. Look before you try again.",
};

export class Outbox {
  #connection;
  #on;
  #entries = new Map(); // id -> { id, text, phase: "waiting" | "sending" | "sent" | "failed", failed, code, timer }

  /** `on.change(entry)`, `on.sent(entry, { id, at, text })`, `on.failed(entry, words)`, `on.takesNoneTwice()`. */
  constructor(connection, on) {
    this.#connection = connection;
    this.#on = on;
  }

  say(text) {
    const entry = { id: randomId(), text };
    this.#entries.set(entry.id, entry);
    this.#start(entry);
  }

  retry(entry) {
    this.#start(entry);
  }

  remove(entry) {
    clearTimeout(entry.timer);
    this.#entries.delete(entry.id);
  }

  /** We are live (again): what has waited goes out, in order. */
  flush() {
    for (const entry of this.#waiting()) this.#transmit(entry);
  }

  /** We won't be live soon: what waits need not wait any longer. */
  giveUp() {
    for (const entry of this.#waiting()) this.#fail(entry, { code: "not_live" });
  }

  /** A message came from the room. True if it is one of these; `on.sent` was called. */
  claim(message) {
    const entry = this.#entries.get(message.id);
    if (entry) this.#settle(entry, message);
    return entry !== undefined;
  }

  #start(entry) {
    entry.failed = false;
    if (this.#connection.isLive) this.#transmit(entry);
    else this.#wait(entry);
  }

  #wait(entry) {
    entry.phase = "waiting";
    clearTimeout(entry.timer);
    entry.timer = setTimeout(() => this.#fail(entry, { code: "not_live" }), WAIT_MS);
    this.#on.change(entry);
  }

  async #transmit(entry) {
    const { id, text } = entry;
    clearTimeout(entry.timer);
    entry.phase = "sending";
    this.#on.change(entry);
    const answer = await this.#connection.ask("say", { id, text }).catch(() => null);
    if (this.#entries.get(id) !== entry) return; // it came back from the room meanwhile
    if (answer?.id) {
      entry.phase = "sent";
      entry.timer = setTimeout(() => this.#settle(entry, { ...answer, text }), ECHO_MS);
    } else if (answer) {
      this.#fail(entry, answer.error ?? {});
    } else if (this.#on.takesNoneTwice() && !this.#connection.isRefused) {
      if (this.#connection.isLive) this.#transmit(entry);
      else this.#wait(entry);
    } else {
      this.#fail(entry, { code: "no_answer" });
    }
  }

  #settle(entry, message) {
    clearTimeout(entry.timer);
    this.#entries.delete(entry.id);
    this.#on.sent(entry, message);
  }

  #fail(entry, { code, message }) {
    clearTimeout(entry.timer);
    Object.assign(entry, { phase: "failed", failed: true, code });
    this.#on.change(entry);
    this.#on.failed(entry, KIND_WORDS[code] ?? message ?? "The server gave no reason.");
  }

  #waiting() {
    return [...this.#entries.values()].filter(({ phase }) => phase === "waiting");
  }
}
