// One namespace of the server, with a state a person can be shown:
//
//   connecting ──> live <──> reconnecting        and from each of them to: refused
//
// Sluice says why it closes or refuses with a code: 4400-4499 do not come back unchanged, 4500-4599 come back
// later; sluice/client sees to that, and to what was missed meanwhile.

import { presence, recover, watchTask } from "/sluice/client/index.js";
import { io } from "/socket.io/socket.io.esm.min.js";

const ANSWER_TIMEOUT_MS = 10_000;

export class Connection {
  /** Of what was missed. */
  recovery;
  #socket;
  #tasks = null; // the namespace where runs are watched, over the same connection; once it is wanted
  #onState;
  #state = "connecting";
  #goodbye = null; // what `sluice.close` said, until the next connection
  #lostAt = 0;
  #heardAt = 0;

  /**
   * `readyEvent` is the event with which the server opens the conversation: only then are we live.
   * `auth` says who we are, at each connection anew. `onState` is called with `{ state, reason, code, lostMs }`.
   */
  constructor(namespace, { readyEvent, auth = () => ({}), onState }) {
    this.#onState = onState;
    this.#socket = io(namespace, { autoConnect: false, auth: (give) => give(auth()) });
    this.recovery = recover(this.#socket);
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

  /** Who is in a group. */
  presence(group) {
    return presence(this.#socket, group);
  }

  /** A run of a task, with the ticket that the server gave out for it. */
  watch(ticket) {
    if (!this.#tasks) {
      this.#tasks = io("/tasks");
      recover(this.#tasks); // comes back also where a stock client stays away
      this.#tasks.connect();
    }
    return watchTask(this.#tasks, ticket);
  }

  /** Connects, or connects anew when it already was: with a new name, or because someone said "try again". */
  open() {
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
    this.#heardAt = Date.now();
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
    else if (isPassing(code)) this.#enter("reconnecting", { reason, code });
    else this.#refuse(reason ?? "The server closed the connection.", code);
  }

  #failed(error) {
    const { code, reason } = error.data ?? {};
    if (isPassing(code)) this.#enter("reconnecting", { reason, code });
    else if (this.#socket.active) this.#enter("reconnecting", { reason: "The server can't be reached." });
    else if (error.message === "Invalid namespace") this.#refuse("There is nothing at this address.", code);
    else this.#refuse(reason ?? error.message, code);
  }

  #refuse(reason, code) {
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
