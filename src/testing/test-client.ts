import {
  type Acknowledge,
  type Application,
  AskTimeout,
  type Budget,
  type ClientLink,
  ConnectionClosed,
  ConnectionDenied,
  decodePayload,
  type EventPosition,
  encodePayload,
  type Frame,
  type FrameCodec,
  type Handshake,
  type OutgoingEvent,
  RouteNotFound,
} from "../index.ts";

/** What became of `connect`. */
export type Entry =
  | { readonly accepted: true }
  | {
      readonly accepted: false;
      readonly code: number;
      readonly reason: string;
      /** What the consumer or a middleware threw, if that was the reason; a real client never sees it. */
      readonly error?: unknown;
    };

export interface TestClientOptions {
  readonly auth?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string>>;
  readonly remoteAddress?: string;
  /** How long to wait for what a test expects. Default 1,000. */
  readonly timeoutMs?: number;
}

interface TestFrame extends Frame {
  readonly event: string;
  readonly payload: unknown;
  readonly position?: EventPosition;
}

/** Everything goes through JSON, as it would over a network: nothing is shared, dates become text. */
const codec: FrameCodec<TestFrame> = {
  encode(event: OutgoingEvent) {
    return { event: event.event, payload: decodePayload(event), bytes: event.json.length };
  },
};

/** For a client that carries positions: one whose `auth` has `sluice`. */
const positionedCodec: FrameCodec<TestFrame> = {
  encode(event: OutgoingEvent) {
    return { ...codec.encode(event), ...(event.position && { position: event.position }) };
  },
};

const MAX_BYTES = 1_048_576;

/**
 * A client that talks to an application in memory, through routing and middleware, without port or
 * browser.
 *
 * @example
 * const ann = new TestClient(app, "/chat/den", { auth: { name: "Ann" } });
 * expect(await ann.connect()).toEqual({ accepted: true });
 * expect(await ann.emit("say", { text: "hi" })).toEqual({ sent: true });
 * expect(await ann.next("chat.message")).toEqual({ text: "hi" });
 * await ann.disconnect();
 */
export class TestClient {
  readonly #app: Application;
  readonly #namespace: string;
  readonly #options: TestClientOptions;
  readonly #timeoutMs: number;
  readonly #received: TestFrame[] = [];
  readonly #answers = new Map<string, (payload: unknown) => unknown>();
  readonly #errors: unknown[] = [];
  readonly #waiting = new Set<() => void>();
  #runner: ReturnType<Application["connect"]> | undefined;
  #closedWith: { readonly code: number; readonly reason: string } | undefined;

  constructor(app: Application, namespace: string, options: TestClientOptions = {}) {
    this.#app = app;
    this.#namespace = namespace;
    this.#options = options;
    this.#timeoutMs = options.timeoutMs ?? 1_000;
  }

  /** Runs middleware and `connect`, and says whether the client was accepted. */
  async connect(): Promise<Entry> {
    if (this.#runner !== undefined) throw new Error("a TestClient connects once; make another");
    await this.#app.start();
    try {
      const runner = this.#app.connect("socket", this.#handshake(), this.#link());
      this.#runner = runner;
      const stopListening = this.#app.signals.failed.connect(({ channel, error }) => {
        if (channel === runner.channel) this.#errors.push(error);
      });
      // A little longer: what `disconnect` does wrong counts as well.
      void runner.finished.then(() => setImmediate(stopListening));
      await runner.admit();
      runner.opened();
      return { accepted: true };
    } catch (error) {
      if (!(error instanceof ConnectionDenied || error instanceof RouteNotFound)) throw error;
      await this.#runner?.finished;
      const refused = { accepted: false, code: error.closeCode, reason: error.message } as const;
      return this.#errors.length > 0 ? { ...refused, error: this.#errors[0] } : refused;
    }
  }

  /** The consumer's address, for `layer.send` and `except`. */
  get channel(): string {
    return this.#connected.channel;
  }

  /** Sends an event and waits for its acknowledgement: what the handler returned, or `{ error }`. */
  emit(event: string, payload?: unknown): Promise<unknown> {
    let answer: { readonly value: unknown } | undefined;
    this.#receive(event, payload, (value) => {
      const json = throughJson(value);
      // An answer after the close reaches no real client either.
      if (this.#closedWith === undefined) answer = { value: json };
      this.#lookAgain();
    });
    return this.#within(`an acknowledgement of "${event}"`, (found, fail) => {
      if (answer !== undefined) found(answer.value);
      else if (this.#closedWith !== undefined) fail(this.#error(`"${event}" was not answered`));
    });
  }

  /** Sends an event without asking for an acknowledgement. */
  send(event: string, payload?: unknown): void {
    this.#receive(event, payload, undefined);
  }

  /** Answers what the consumer `ask`s. Without an answer the consumer gets an `AskTimeout`. */
  answer(event: string, answer: (payload: unknown) => unknown): void {
    this.#answers.set(event, answer);
  }

  /**
   * Takes the next event of that name that was not taken yet, and returns its payload. Events of other
   * names stay where they are.
   */
  next(event: string): Promise<unknown> {
    return this.#within(`the event "${event}"`, (found) => {
      const index = this.#received.findIndex((frame) => frame.event === event);
      if (index >= 0) found(this.#received.splice(index, 1)[0]?.payload);
    });
  }

  /** Events that were not taken yet, in the order of arrival. */
  get pending(): readonly { readonly event: string; readonly payload: unknown }[] {
    return this.#received.map(({ event, payload }) => ({ event, payload }));
  }

  /** Takes all events that came. `position` is of those of groups with history, for who carries positions. */
  take(): readonly {
    readonly event: string;
    readonly payload: unknown;
    readonly position?: EventPosition;
  }[] {
    return this.#received.splice(0);
  }

  /**
   * Waits until the application has nothing left to do, and throws if an event came that was not taken.
   *
   * @param event - only events of that name
   */
  async expectSilence(event?: string): Promise<void> {
    await untilIdle(this.#app, this.#timeoutMs);
    const [frame] = this.#received.filter((received) => event === undefined || received.event === event);
    if (frame !== undefined) {
      throw new Error(`expected silence, but "${frame.event}" came with ${JSON.stringify(frame.payload)}`);
    }
  }

  /** Waits until the server has closed this client, and returns what it was told. */
  closed(): Promise<{ readonly code: number; readonly reason: string }> {
    return this.#within("the server to close the connection", (found) => {
      if (this.#closedWith !== undefined) found(this.#closedWith);
    });
  }

  /** Leaves on purpose, and waits until `disconnect` has run. */
  disconnect(): Promise<void> {
    this.#connected.lost({ kind: "client", code: 4000, message: "the client left" });
    return this.#connected.finished;
  }

  /** Loses the connection, as by a pulled cable, and waits until `disconnect` has run. */
  drop(): Promise<void> {
    this.#connected.lost({ kind: "transport", code: 4001, message: "transport close" });
    return this.#connected.finished;
  }

  get #connected() {
    if (this.#runner === undefined) throw new Error("connect() first");
    return this.#runner;
  }

  #receive(event: string, payload: unknown, acknowledge: Acknowledge | undefined): void {
    const args = payload === undefined ? [] : [throughJson(payload)];
    this.#connected.receive(event, args, acknowledge);
  }

  #handshake(): Handshake {
    const { auth = {}, headers = {}, query = {}, remoteAddress = "127.0.0.1" } = this.#options;
    const lower = Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]);
    return {
      protocol: "test",
      namespace: this.#namespace,
      path: "/",
      query: new URLSearchParams(query),
      headers: Object.fromEntries(lower) as Handshake["headers"],
      auth: throughJson(auth) as Handshake["auth"],
      remoteAddress,
    };
  }

  #link(): ClientLink<TestFrame> {
    const events: Budget = this.#app.eventBudget();
    return {
      codec,
      positionedCodec,
      waitingBytes: 0,
      events,
      write: (frame) => this.#hear(frame),
      ask: (event, payload, timeoutMs) => this.#asked(event, payload, timeoutMs),
      close: (code, reason) => {
        this.#closedWith = { code, reason };
        this.#lookAgain();
      },
    };
  }

  #hear(frame: TestFrame): void {
    this.#received.push(frame);
    this.#lookAgain();
  }

  #lookAgain(): void {
    for (const look of [...this.#waiting]) look();
  }

  async #asked(event: string, payload: unknown, timeoutMs: number): Promise<unknown> {
    const answer = this.#answers.get(event);
    if (this.#closedWith !== undefined) throw new ConnectionClosed("the connection has ended");
    if (answer === undefined)
      throw new AskTimeout(`the client did not answer "${event}" within ${timeoutMs} ms`);
    return throughJson(await answer(throughJson(payload)));
  }

  /** Resolves when `look` has found something; it looks now and whenever something came. */
  #within<T>(
    what: string,
    look: (found: (value: T) => void, fail: (error: Error) => void) => void,
  ): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(again);
        reject(this.#error(`waited ${this.#timeoutMs} ms for ${what}`));
      }, this.#timeoutMs);
      const done = () => {
        clearTimeout(timer);
        this.#waiting.delete(again);
      };
      const found = (value: T) => {
        done();
        resolve(value);
      };
      const fail = (error: Error) => {
        done();
        reject(error);
      };
      const again = () => look(found, fail);
      this.#waiting.add(again);
      again();
    });
  }

  /** With what came instead, and what the consumer threw. */
  #error(what: string): Error {
    const seen = this.#received.map((frame) => frame.event).join(", ") || "nothing";
    const [error] = this.#errors;
    const closed = this.#closedWith ? `; the server closed with ${this.#closedWith.code}` : "";
    const message = `${what}; received: ${seen}${closed}`;
    if (error === undefined) return new Error(message);
    return new Error(`${message}; the consumer threw: ${String(error)}`, { cause: error });
  }
}

/** Resolves when no consumer of the application has anything to do; rejects after `timeoutMs`. */
export async function untilIdle(app: Application, timeoutMs = 1_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  // What a handler leaves behind for the next turns counts as well.
  for (let quietTurns = 0; quietTurns < 3; quietTurns = app.isIdle ? quietTurns + 1 : 0) {
    if (performance.now() > deadline) {
      throw new Error(`the application was still busy after ${timeoutMs} ms`);
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function throughJson(value: unknown): unknown {
  return decodePayload(encodePayload(value, MAX_BYTES));
}
