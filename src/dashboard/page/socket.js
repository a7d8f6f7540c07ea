// The one connection of the page.
//
//   connecting ──> live <──> reconnecting        and from each of them to: out (log in), refused

import { below, namespace, socketPath } from "./base.js";

const ANSWER_TIMEOUT_MS = 12_000;

/** The token of this login, or null: nobody is logged in (any more). */
export async function session() {
  const answer = await fetch(below("session"));
  return answer.status === 200 ? answer.json() : null;
}

export class Connection {
  #socket;
  #onState;
  #state = "connecting";
  #goodbye = null;

  /** @param onState - called with `{ state, reason }` */
  constructor(onState) {
    this.#onState = onState;
  }

  get isLive() {
    return this.#state === "live";
  }

  async open(listeners) {
    const { io } = await import(`${socketPath}/socket.io.esm.min.js`);
    this.#socket = io(namespace, {
      path: socketPath,
      autoConnect: false,
      // A new page of an old login, or of another: each connection asks anew.
      auth: (give) => {
        session().then(
          (found) => (found ? give({ token: found.token }) : this.#enter("out")),
          () => give({}),
        );
      },
    });
    this.#socket.on("sluice.close", (goodbye) => {
      this.#goodbye = goodbye;
    });
    this.#socket.on("hello", (hello) => {
      this.#goodbye = null;
      listeners.hello(hello);
      this.#enter("live");
    });
    for (const [event, listener] of Object.entries(listeners)) {
      if (event !== "hello") this.#socket.on(event, listener);
    }
    this.#socket.on("disconnect", (cause) => {
      if (cause === "io client disconnect") return;
      const { code, reason } = this.#goodbye ?? {};
      if (code === 4401) this.#enter("out");
      else if (isFinal(code)) this.#enter("refused", reason);
      else {
        this.#enter("reconnecting", reason);
        // A stock client stays away when it was told to go; ours was told to come back later.
        if (cause === "io server disconnect") setTimeout(() => this.#socket.connect(), 1_500);
      }
    });
    this.#socket.on("connect_error", (error) => {
      const { code, reason } = error.data ?? {};
      if (code === 4401) this.#enter("out");
      else if (isFinal(code)) this.#enter("refused", reason);
      else {
        this.#enter("reconnecting", reason ?? "The server can't be reached");
        if (!this.#socket.active) setTimeout(() => this.#socket.connect(), 3_000);
      }
    });
    this.#socket.connect();
  }

  /** Resolves with the answer; rejects with an Error that says in words what went wrong. */
  async ask(event, payload) {
    if (!this.isLive) throw new Error("There is no connection at present.");
    let answer;
    try {
      answer = await this.#socket.timeout(ANSWER_TIMEOUT_MS).emitWithAck(event, payload);
    } catch {
      throw new Error("The server has not answered in time. It may have been done all the same.");
    }
    if (answer?.error) throw new Error(asSentence(answer.error.message ?? answer.error.code));
    return answer;
  }

  close() {
    this.#socket?.disconnect();
  }

  #enter(state, reason) {
    this.#state = state;
    if (state === "out" || state === "refused") this.#socket.disconnect();
    this.#onState({ state, reason });
  }
}

/** A server's reasons are words for programs, too: "this run has ended". */
function asSentence(words) {
  const sentence = `${words.charAt(0).toUpperCase()}${words.slice(1)}`;
  return /[.!?…]$/.test(sentence) ? sentence : `${sentence}.`;
}

function isFinal(code) {
  return code >= 4400 && code < 4500;
}
