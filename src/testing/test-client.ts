import { setImmediate as turn } from "node:timers/promises";
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
  isRetryable,
  type OutgoingEvent,
  RouteNotFound,
} from "../index.ts";
import { PageSocket } from "./page-socket.ts";

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

/** What a {@link TestClient} shows of itself, and how long it waits. */
export interface TestClientOptions {
  readonly auth?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string>>;
  readonly remoteAddress?: string;
  /** How long to wait for what a test expects. Default 1,000. */
  readonly timeoutMs?: number;
}

/** An event as it reached a client. */
export interface ReceivedEvent {
  readonly event: string;
  readonly payload: unknown;
  /** Where a client that carries positions by itself is then, in a group with history. */
  readonly position?: EventPosition;
}

/** What a page's socket is handed: name, payload, and where its client is then. */
interface TestFrame extends Frame {
  readonly args: readonly unknown[];
}

/** Everything goes through JSON, as it would over a network: nothing is shared, dates become text. */
const codec: FrameCodec<TestFrame> = {
  encode(event: OutgoingEvent) {
    const args = event.json === "" ? [event.event] : [event.event, decodePayload(event)];
    return { args, bytes: event.json.length };
  },
};

/** For a client that carries positions: one whose `auth` has `sluice`. */
const positionedCodec: FrameCodec<TestFrame> = {
  encode(event: OutgoingEvent) {
    const frame = codec.encode(event);
    if (event.position === undefined) return frame;
    const isBare = event.json === "";
    const mark = { sluice: event.position, ...(isBare && { bare: true }) };
    return { ...frame, args: [event.event, isBare ? null : frame.args[1], mark] };
  },
};

const MAX_BYTES = 1_048_576;
/** So much of what came is remembered for matchers. */
const MAX_REMEMBERED = 10_000;
/** Tells code and reason before the connection ends; `closed()` returns them. */
const CLOSE_EVENT = "sluice.close";

/** One connection, from `connect` to its end. */
interface Visit {
  readonly runner: ReturnType<Application["connect"]>;
  /** What came before the client was let in. */
  readonly early: TestFrame[];
  state: "entering" | "open" | "over";
}

/**
 * A client that talks to an application in memory, through routing and middleware, without port or
 * browser. After `drop()`, or any other end of its connection, it may `connect()` again, also to another node.
 *
 * @example
 * const ann = new TestClient(app, "/chat/den", { auth: { name: "Ann" } });
 * expect(await ann.connect()).toEqual({ accepted: true });
 * expect(await ann.emit("say", { text: "hi" })).toEqual({ sent: true });
 * expect(await ann.next("chat.message")).toEqual({ text: "hi" });
 * await ann.disconnect();
 */
export class TestClient {
  /**
   * The page's end: what `recover`, `presence` and `watchTask` of `sluice/client` take for a socket of
   * socket.io-client. What they keep from the page, `next`, `take` and `pending` do not see either.
   *
   * @example
   * const recovery = recover(ann.socket);
   * await ann.connect();
   */
  readonly socket: PageSocket;
  readonly #namespace: string;
  readonly #options: TestClientOptions;
  readonly #timeoutMs: number;
  readonly #received: ReceivedEvent[] = [];
  readonly #remembered: ReceivedEvent[] = [];
  readonly #answers = new Map<string, (payload: unknown) => unknown>();
  readonly #errors: unknown[] = [];
  readonly #waiting = new Set<() => void>();
  #app: Application;
  #visit: Visit | undefined;
  #entry: Entry | undefined;
  #entering: { resolve(entry: Entry): void; reject(error: unknown): void } | undefined;
  #closedWith: { readonly code: number; readonly reason: string } | undefined;

  constructor(app: Application, namespace: string, options: TestClientOptions = {}) {
    this.#app = app;
    this.#namespace = namespace;
    this.#options = options;
    this.#timeoutMs = options.timeoutMs ?? 1_000;
    this.socket = new PageSocket(namespace, options.auth ?? {}, {
      open: (auth) => void this.#enter(auth),
      receive: (event, payload, answer) => this.#receive(event, payload, answer),
      heard: (args) => this.#heard(args),
      leave: () => this.#leave(),
    });
  }

  /**
   * Runs middleware and `connect`, and says whether the client was accepted.
   *
   * @param app - comes (back) to this node instead of the one it was made for
   */
  connect(app: Application = this.#app): Promise<Entry> {
    if (this.socket.active) {
      return Promise.reject(new Error("it is connected already; drop() or disconnect() it first"));
    }
    this.#app = app;
    return new Promise((resolve, reject) => {
      this.#entering = { resolve, reject };
      this.socket.connect();
    });
  }

  /** What became of the last `connect`; undefined before that, and while it runs. */
  get entry(): Entry | undefined {
    return this.#entry;
  }

  /** The consumer's address, for `layer.send` and `except`. */
  get channel(): string {
    return this.#connected.runner.channel;
  }

  /** Sends an event and waits for its acknowledgement: what the handler returned, or `{ error }`. */
  emit(event: string, payload?: unknown): Promise<unknown> {
    const visit = this.#connected;
    let answer: { readonly value: unknown } | undefined;
    this.#receive(event, payload, (value) => {
      answer = { value };
      this.#lookAgain();
    });
    return this.#within(`an acknowledgement of "${event}"`, (found, fail) => {
      if (answer !== undefined) found(answer.value);
      else if (visit.state === "over") fail(this.#error(`"${event}" was not answered`));
    });
  }

  /** Sends an event without asking for an acknowledgement. */
  send(event: string, payload?: unknown): void {
    this.#connected;
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
      const index = this.#received.findIndex((received) => received.event === event);
      if (index >= 0) found(this.#received.splice(index, 1)[0]?.payload);
    });
  }

  /** Events that were not taken yet, in the order of arrival. */
  get pending(): readonly Omit<ReceivedEvent, "position">[] {
    return this.#received.map(({ event, payload }) => ({ event, payload }));
  }

  /** Takes all events that came. `position` is of those of groups with history, for who carries positions. */
  take(): readonly ReceivedEvent[] {
    return this.#received.splice(0);
  }

  /** All events that ever came, taken or not; of very many the last 10,000. */
  get received(): readonly ReceivedEvent[] {
    return this.#remembered;
  }

  /** Waits until an event has come, or had come before, for which `is` holds; it takes none. */
  receives(what: string, is: (received: ReceivedEvent) => boolean): Promise<ReceivedEvent> {
    return this.#within(what, (found) => {
      const received = this.#remembered.find(is);
      if (received !== undefined) found(received);
    });
  }

  /** Waits until the application has nothing left to do. */
  quiet(): Promise<void> {
    return untilIdle(this.#app, this.#timeoutMs);
  }

  /**
   * Waits until the application has nothing left to do, and throws if an event came that was not taken.
   *
   * @param event - only events of that name
   */
  async expectSilence(event?: string): Promise<void> {
    await this.quiet();
    const came = this.#received.find((received) => event === undefined || received.event === event);
    if (came !== undefined) {
      throw new Error(`expected silence, but "${came.event}" came with ${JSON.stringify(came.payload)}`);
    }
  }

  /** Waits until the server has closed this client, and returns what it was told. */
  closed(): Promise<{ readonly code: number; readonly reason: string }> {
    return this.#within("the server to close the connection", (found) => {
      if (this.#closedWith !== undefined) found(this.#closedWith);
    });
  }

  /** The same, if it has come in the last connection. */
  get closedWith(): { readonly code: number; readonly reason: string } | undefined {
    return this.#closedWith;
  }

  /** Leaves on purpose, and waits until `disconnect` has run. */
  disconnect(): Promise<void> {
    const { runner } = this.#connected;
    this.socket.disconnect();
    return goneFrom(runner);
  }

  /** Loses the connection, as by a pulled cable, and waits until `disconnect` has run. */
  drop(): Promise<void> {
    const visit = this.#connected;
    visit.runner.lost({ kind: "transport", code: 4001, message: "transport close" });
    this.#over(visit, "transport close");
    return goneFrom(visit.runner);
  }

  get #connected(): Visit {
    if (this.#visit === undefined) throw new Error("connect() first");
    return this.#visit;
  }

  async #enter(auth: Readonly<Record<string, unknown>>): Promise<void> {
    const entering = this.#entering;
    this.#entering = undefined;
    this.#entry = undefined;
    this.#closedWith = undefined;
    this.#errors.length = 0;
    try {
      await this.#app.start();
      const entry = await this.#admitted(auth);
      this.#entry = entry;
      if (!entry.accepted) this.socket.refused(entry.code, entry.reason);
      entering?.resolve(entry);
    } catch (error) {
      this.socket.gone("transport error");
      if (entering === undefined) throw error;
      entering.reject(error);
    }
  }

  async #admitted(auth: Readonly<Record<string, unknown>>): Promise<Entry> {
    let visit: Visit | undefined;
    try {
      visit = this.#arrive(auth);
      const { runner } = visit;
      await runner.admit();
      runner.opened();
      visit.state = "open";
      this.socket.entered(runner.scope.id);
      for (const frame of visit.early.splice(0)) this.#pass(visit, frame);
      // It ended between acceptance and this moment: there was no open client to tell.
      if (runner.reason !== undefined) this.#closed(visit, runner.reason.code, runner.reason.message);
      return { accepted: true };
    } catch (error) {
      if (!(error instanceof ConnectionDenied || error instanceof RouteNotFound)) throw error;
      await visit?.runner.finished;
      if (visit !== undefined) visit.state = "over";
      const refused = { accepted: false, code: error.closeCode, reason: error.message } as const;
      return this.#errors.length > 0 ? { ...refused, error: this.#errors[0] } : refused;
    }
  }

  #arrive(auth: Readonly<Record<string, unknown>>): Visit {
    const link = this.#link(() => visit);
    const runner = this.#app.connect("socket", this.#handshake(auth), link);
    const visit: Visit = { runner, early: [], state: "entering" };
    this.#visit = visit;
    const stopListening = this.#app.signals.failed.connect(({ channel, error }) => {
      if (channel === runner.channel) this.#errors.push(error);
    });
    void runner.finished.then(() => {
      // Its node was killed, or nobody would have told it nothing.
      if (visit.state === "open") this.#over(visit, "transport close");
      // A little longer: what `disconnect` does wrong counts as well.
      setImmediate(stopListening);
    });
    return visit;
  }

  #leave(): void {
    const visit = this.#visit;
    visit?.runner.lost({ kind: "client", code: 4000, message: "the client left" });
    if (visit !== undefined) this.#over(visit, "io client disconnect");
    else this.socket.gone("io client disconnect");
  }

  /** As the server ends a connection: it says why, then it disconnects the client or its transport. */
  #closed(visit: Visit, code: number, reason: string): void {
    if (visit.state === "over") return;
    this.#closedWith = { code, reason };
    this.socket.emitEvent([CLOSE_EVENT, { code, reason }]);
    this.#over(visit, isRetryable(code) ? "transport close" : "io server disconnect");
  }

  #over(visit: Visit, reason: string): void {
    if (visit.state === "over") return;
    visit.state = "over";
    this.socket.gone(reason);
    this.#lookAgain();
  }

  #receive(event: string, payload: unknown, answer: ((value: unknown) => void) | undefined): void {
    const visit = this.#connected;
    const args = payload === undefined ? [] : [throughJson(payload)];
    const acknowledge: Acknowledge = (value) => {
      const json = throughJson(value);
      // An answer after the end reaches no real client either.
      if (visit.state === "open") answer?.(json);
    };
    visit.runner.receive(event, args, answer && acknowledge);
  }

  #handshake(auth: Readonly<Record<string, unknown>>): Handshake {
    const { headers = {}, query = {}, remoteAddress = "127.0.0.1" } = this.#options;
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

  #link(visit: () => Visit): ClientLink<TestFrame> {
    const events: Budget = this.#app.eventBudget();
    return {
      codec,
      positionedCodec,
      waitingBytes: 0,
      events,
      write: (frame) => this.#pass(visit(), frame),
      ask: (event, payload, timeoutMs) => this.#asked(visit(), event, payload, timeoutMs),
      close: (code, reason) => this.#closed(visit(), code, reason),
    };
  }

  #pass(visit: Visit, frame: TestFrame): void {
    if (visit.state === "entering") visit.early.push(frame);
    else if (visit.state === "open") this.socket.emitEvent(frame.args);
  }

  /** What passed whatever `sluice/client` has put before it; questions are not for `next`. */
  #heard([event, payload, second, ...rest]: readonly unknown[]): void {
    if (event === CLOSE_EVENT || typeof (rest[0] ?? second ?? payload) === "function") return;
    const mark = second as { readonly sluice: EventPosition; readonly bare?: true } | undefined;
    const received: ReceivedEvent = {
      event: String(event),
      payload: mark?.bare ? undefined : payload,
      ...(mark && { position: mark.sluice }),
    };
    this.#received.push(received);
    this.#remembered.push(received);
    if (this.#remembered.length > MAX_REMEMBERED) this.#remembered.shift();
    this.#lookAgain();
  }

  #lookAgain(): void {
    for (const look of [...this.#waiting]) look();
  }

  #asked(visit: Visit, event: string, payload: unknown, timeoutMs: number): Promise<unknown> {
    if (visit.state !== "open") return Promise.reject(new ConnectionClosed("the connection has ended"));
    return new Promise((resolve, reject) => {
      const late = () =>
        reject(new AskTimeout(`the client did not answer "${event}" within ${timeoutMs} ms`));
      const known = this.#answers.get(event);
      // Nobody will answer: there is nothing to wait for.
      if (known === undefined && !this.socket.hasListeners(event)) return late();
      const timer = setTimeout(late, timeoutMs);
      const answer = (value: unknown) => {
        clearTimeout(timer);
        resolve(throughJson(value));
      };
      void visit.runner.finished.then(() => {
        clearTimeout(timer);
        reject(new ConnectionClosed("the connection ended before the client answered"));
      });
      const asked = throughJson(payload);
      if (known !== undefined) void Promise.resolve(asked).then(known).then(answer, reject);
      this.socket.emitEvent(asked === undefined ? [event, answer] : [event, asked, answer]);
    });
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

/** Until its groups and whoever is told who is there have let go of it as well, which they do in this turn. */
async function goneFrom(runner: Visit["runner"]): Promise<void> {
  await runner.finished;
  await turn();
}
