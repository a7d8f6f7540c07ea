// One namespace of the server, with a state a person can be shown:
//
//   connecting ──> live <──> reconnecting        and from each of them to: refused
//
// Sluice says why it closes or refuses with a code: 4400-4499 do not come back unchanged, 4500-4599 come back
// later. The stock client returns by itself when the transport fails, but not when the server closed or
// refused only the namespace, so the timer for that case lives here.

import { io } from "/socket.io/socket.io.esm.min.js";

const ANSWER_TIMEOUT_MS = 10_000;
const RETRY_FIRST_MS = 1_000;
const RETRY_MAX_MS = 20_000;
const STEADY_MS = 10_000; // live for so long, and the next trouble counts as a new one

export class Connection {
  #socket;
  #onState;
  #state = "connecting";
  #goodbye = null; // what `sluice.close` said, until the next connection
  #retryTimer = 0;
  #retries = 0;
  #liveAt = 0;
  #lostAt = 0;
  #heardAt = 0;

  /**
   * `readyEvent` is the event with which the server opens the conversation: only then are we live.
   * `onState` is called with `{ state, reason, code, lostMs }`.
   */
  constructor(namespace, { readyEvent, onState }) {
    this.#onState = onState;
    this.#socket = io(namespace, { autoConnect: false });
    this.#socket.on(readyEvent, () => this.#live());
    this.#socket.on("sluice.close", (goodbye) => {
      this.#goodbye = goodbye;
    });
    this.#socket.on("disconnect", (cause) => this.#disconnected(cause));
    this.#socket.on("connect_error", (error) => this.#failed(error));
    this.#socket.io.on("ping", () => {
      this.#heardAt = Date.now();
    });
  }

  get isLive() {
    return this.#state === "live";
  }

  get isRefused() {
    return this.#state === "refused";
  }

  on(event, listener) {
    this.#socket.on(event, listener);
  }

  /** Connects, or connects anew when it already was: with a new name, or because someone said "try again". */
  open(auth = {}) {
    clearTimeout(this.#retryTimer);
    this.#socket.auth = auth;
    this.#goodbye = null;
    this.#enter("connecting");
    this.#socket.disconnect().connect();
  }

  /** Resolves with the acknowledgement; rejects when it didn't come in time or the connection was lost. */
  ask(event, payload) {
    return this.#socket.timeout(ANSWER_TIMEOUT_MS).emitWithAck(event, payload);
  }

  /** For what is worthless later: dropped when not live, never kept by the client for a replay. */
  tell(event, payload) {
    if (this.isLive) this.#socket.volatile.emit(event, payload);
  }

  #live() {
    if (this.isLive) return;
    const lostMs = this.#lostAt ? Date.now() - this.#lostAt : 0;
    this.#liveAt = this.#heardAt = Date.now();
    this.#lostAt = 0;
    this.#goodbye = null;
    this.#enter("live", { lostMs });
  }

  #disconnected(cause) {
    if (cause === "io client disconnect") return; // ours: open() or #refuse()
    // After a silence the connection was gone since the last sign of life, not since we noticed.
    if (this.isLive) this.#lostAt = cause === "ping timeout" ? this.#heardAt : Date.now();
    const { code, reason } = this.#goodbye ?? {};
    if (isFinal(code)) this.#refuse(reason, code);
    else if (cause !== "io server disconnect") this.#enter("reconnecting", { reason, code });
    else if (isPassing(code)) this.#retryLater(reason, code);
    else this.#refuse(reason ?? "The server closed the connection.", code);
  }

  #failed(error) {
    const { code, reason } = error.data ?? {};
    if (isPassing(code)) this.#retryLater(reason, code);
    else if (this.#socket.active) this.#enter("reconnecting", { reason: "The server can't be reached." });
    else if (error.message === "Invalid namespace") this.#refuse("There is nothing at this address.", code);
    else this.#refuse(reason ?? error.message, code);
  }

  #retryLater(reason, code) {
    if (Date.now() - this.#liveAt > STEADY_MS && this.isLive) this.#retries = 0;
    const delayMs = Math.min(RETRY_MAX_MS, RETRY_FIRST_MS * 2 ** this.#retries++);
    clearTimeout(this.#retryTimer);
    // Spread over half to one and a half of it, so that a restart isn't met by everyone at once.
    this.#retryTimer = setTimeout(() => this.#socket.connect(), delayMs * (0.5 + Math.random()));
    this.#enter("reconnecting", { reason, code });
  }

  #refuse(reason, code) {
    clearTimeout(this.#retryTimer);
    this.#enter("refused", { reason, code });
    this.#socket.disconnect();
  }

  #enter(state, details = {}) {
    this.#state = state;
    this.#onState({ state, lostMs: 0, ...details });
  }
}

function isFinal(code) {
  return code >= 4400 && code < 4500;
}

function isPassing(code) {
  return code >= 4500 && code < 4600;
}
