// What was said here and the server hasn't confirmed. Nothing gets lost in silence, nothing is said twice:
//
//  - While we are not live a message waits here, and goes out when we are; after a while it is "not sent".
//  - A message that was out when the connection was lost may or may not have arrived. It is not sent again by
//    itself, because that could say it twice: a person decides.
//
// So nothing is handed to Socket.IO while we are not live: its own send buffer would replay it all.

const WAIT_MS = 10_000;

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
  #entries = new Set(); // { text, phase: "waiting" | "sending" | "failed", failed, code, timer }
  #early = new Map(); // own messages that came before the acknowledgement with their id

  /** `on.change(entry)`, `on.sent(entry, { id, at, text })`, `on.failed(entry, words)`. */
  constructor(connection, on) {
    this.#connection = connection;
    this.#on = on;
  }

  say(text) {
    const entry = { text };
    this.#entries.add(entry);
    this.#start(entry);
  }

  retry(entry) {
    this.#start(entry);
  }

  remove(entry) {
    this.#entries.delete(entry);
  }

  /** We are live (again): what has waited goes out, in order. */
  flush() {
    for (const entry of this.#in("waiting")) this.#transmit(entry);
  }

  /** We won't be live soon: what waits need not wait any longer. */
  giveUp() {
    for (const entry of this.#in("waiting")) this.#fail(entry, { code: "not_live" });
  }

  /**
   * Asks for an own message from the server whether it is one of these. True: it belongs to an entry, or may
   * do so, which the acknowledgement on its way will tell; `on.sent` follows.
   */
  claim(message) {
    if (this.#in("sending").length > 0) {
      this.#early.set(message.id, message);
      return true;
    }
    const late = this.#in("failed").find(
      (entry) => entry.code === "no_answer" && entry.text === message.text,
    );
    if (late) this.#settle(late, message);
    return late !== undefined;
  }

  #start(entry) {
    entry.failed = false;
    if (this.#connection.isLive) {
      this.#transmit(entry);
    } else {
      entry.phase = "waiting";
      entry.timer = setTimeout(() => this.#fail(entry, { code: "not_live" }), WAIT_MS);
      this.#on.change(entry);
    }
  }

  async #transmit(entry) {
    clearTimeout(entry.timer);
    entry.phase = "sending";
    this.#on.change(entry);
    const answer = await this.#connection
      .ask("say", { text: entry.text })
      .catch(() => this.#withoutAnswer(entry));
    if (answer?.id) this.#settle(entry, this.#early.get(answer.id) ?? { ...answer, text: entry.text });
    else this.#fail(entry, answer?.error ?? {});
    if (this.#in("sending").length === 0) this.#releaseEarly();
  }

  /** The acknowledgement got lost; if the message itself came back, that says the same. */
  #withoutAnswer(entry) {
    const echo = [...this.#early.values()].find((message) => message.text === entry.text);
    return echo ?? { error: { code: "no_answer" } };
  }

  #settle(entry, message) {
    this.#early.delete(message.id);
    this.#entries.delete(entry);
    this.#on.sent(entry, message);
  }

  #fail(entry, { code, message }) {
    clearTimeout(entry.timer);
    Object.assign(entry, { phase: "failed", failed: true, code });
    this.#on.change(entry);
    this.#on.failed(entry, KIND_WORDS[code] ?? message ?? "The server gave no reason.");
  }

  /** No acknowledgement is due: what is left belongs to an unconfirmed entry, or to another tab. */
  #releaseEarly() {
    const early = [...this.#early.values()];
    this.#early.clear();
    for (const message of early) {
      if (!this.claim(message)) this.#on.sent(null, message);
    }
  }

  #in(phase) {
    return [...this.#entries].filter((entry) => entry.phase === phase);
  }
}
