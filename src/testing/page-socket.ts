/**
 * The page's end of a {@link TestClient}: a socket with the face of one of socket.io-client 4, so that what
 * pages are built from (`recover`, `presence`, `useToken`, `watchTask` of `sluice/client`, or code of the page itself)
 * runs on it unchanged.
 */

type Listener = (...args: never[]) => unknown;
type Answer = (...answer: unknown[]) => void;

/** What goes over the wire, in Socket.IO's words: 0 opens the namespace, 2 is an event. */
interface Packet {
  readonly type: number;
  readonly data?: unknown;
  readonly answer?: Answer | undefined;
}

/** What the socket needs of the client it belongs to. */
export interface PageHost {
  /** Opens the namespace with what the page sent as `auth`. */
  open(auth: Readonly<Record<string, unknown>>): void;
  receive(event: string, payload: unknown, answer: Answer | undefined): void;
  /** What came and was passed on to listeners. */
  heard(args: readonly unknown[]): void;
  leave(): void;
}

/** Of one call. */
interface TimedSocket {
  emit(event: string, ...args: unknown[]): PageSocket;
  emitWithAck(event: string, ...args: unknown[]): Promise<unknown>;
}

const OPENING = 0;
const EVENT = 2;
/** Events that wait for a connection; beyond that the oldest is dropped. */
const MAX_WAITING = 1_000;

/**
 * Differs from a stock socket in this: it carries one payload an event, as a consumer does, and never comes
 * back by itself: the test says when, by `connect()` of the client.
 */
export class PageSocket {
  readonly nsp: string;
  /** A Manager that does not reconnect. */
  readonly io = {
    uri: "test:",
    reconnection: (): boolean => false,
    reconnectionAttempts: (): number => 0,
    reconnectionDelay: (): number => 1_000,
    reconnectionDelayMax: (): number => 5_000,
    randomizationFactor: (): number => 0.5,
  };
  /** Sent when it connects; a function is asked each time. */
  auth: object | ((give: (auth: object) => void) => void);
  connected = false;
  active = false;
  id: string | undefined;
  readonly #host: PageHost;
  readonly #listeners = new Map<string, Set<Listener>>();
  readonly #allListeners = new Set<Listener>();
  readonly #answers = new Set<(error: Error) => void>();
  readonly #waiting: Packet[] = [];

  /** @internal */
  constructor(nsp: string, auth: object, host: PageHost) {
    this.nsp = nsp;
    this.auth = auth;
    this.#host = host;
  }

  connect(): this {
    if (this.active) return this;
    this.active = true;
    const send = (data: object) => this.packet({ type: OPENING, data });
    if (typeof this.auth === "function") this.auth(send);
    else send(this.auth);
    return this;
  }

  open(): this {
    return this.connect();
  }

  disconnect(): this {
    if (this.active) this.#host.leave();
    return this;
  }

  close(): this {
    return this.disconnect();
  }

  on(event: string, listener: Listener): this {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
    return this;
  }

  once(event: string, listener: Listener): this {
    const once = (...args: never[]) => {
      this.off(event, once);
      listener(...args);
    };
    return this.on(event, once);
  }

  off(event?: string, listener?: Listener): this {
    if (event === undefined) this.#listeners.clear();
    else if (listener === undefined) this.#listeners.delete(event);
    else this.#listeners.get(event)?.delete(listener);
    return this;
  }

  onAny(listener: Listener): this {
    this.#allListeners.add(listener);
    return this;
  }

  offAny(listener?: Listener): this {
    if (listener === undefined) this.#allListeners.clear();
    else this.#allListeners.delete(listener);
    return this;
  }

  /** Sends now, or when it connects. A function at the end gets the acknowledgement. */
  emit(event: string, ...args: unknown[]): this {
    const answer = typeof args.at(-1) === "function" ? (args.pop() as Answer) : undefined;
    const packet = { type: EVENT, data: [event, ...args], answer };
    if (this.connected) {
      this.packet(packet);
      return this;
    }
    this.#waiting.push(packet);
    if (this.#waiting.length > MAX_WAITING) this.#waiting.shift();
    return this;
  }

  emitWithAck(event: string, ...args: unknown[]): Promise<unknown> {
    return new Promise((resolve) => this.emit(event, ...args, resolve));
  }

  /** The acknowledgement gets an error first: null, or why there is no answer. */
  timeout(timeoutMs: number): TimedSocket {
    const timed: TimedSocket = {
      emitWithAck: (event, ...args) =>
        new Promise((resolve, reject) => {
          timed.emit(event, ...args, (error: Error | null, value: unknown) =>
            error === null ? resolve(value) : reject(error),
          );
        }),
      emit: (event, ...args) => {
        const answer = args.pop() as Answer;
        const fail = (error: Error) => {
          if (settle()) answer(error);
        };
        const timer = setTimeout(() => fail(new Error("operation has timed out")), timeoutMs);
        const settle = () => {
          clearTimeout(timer);
          return this.#answers.delete(fail);
        };
        this.#answers.add(fail);
        return this.emit(event, ...args, (value: unknown) => {
          if (settle()) answer(null, value);
        });
      },
    };
    return timed;
  }

  /** Whether anybody listens to that event. @internal */
  hasListeners(event: string): boolean {
    return (this.#listeners.get(event)?.size ?? 0) + this.#allListeners.size > 0;
  }

  /** Has been let in. @internal */
  entered(id: string): void {
    this.id = id;
    this.connected = true;
    this.emitReserved("connect");
    for (const packet of this.#waiting.splice(0)) this.packet(packet);
  }

  /** Was not let in. @internal */
  refused(code: number, reason: string): void {
    this.active = false;
    this.emitReserved("connect_error", Object.assign(new Error(reason), { data: { code, reason } }));
  }

  /** @internal */
  gone(reason: string): void {
    const wasConnected = this.connected;
    this.connected = false;
    this.active = false;
    this.id = undefined;
    for (const fail of [...this.#answers]) fail(new Error("socket has been disconnected"));
    if (wasConnected) this.emitReserved("disconnect", reason);
  }

  // What follows is what `sluice/client` takes hold of, under the names that it has in socket.io-client 4.

  /** @internal */
  emitEvent(args: readonly unknown[]): void {
    this.#host.heard(args);
    for (const listener of [...this.#allListeners]) listener(...(args as never[]));
    const [event, ...rest] = args;
    this.#tell(String(event), rest);
  }

  /** @internal */
  emitReserved(event: string, ...args: readonly unknown[]): unknown {
    this.#tell(event, args);
    return this;
  }

  /** @internal */
  packet({ type, data, answer }: Packet): void {
    if (type === OPENING) return this.#host.open(data as Readonly<Record<string, unknown>>);
    const [event, payload] = data as readonly [string, unknown];
    this.#host.receive(event, payload, answer);
  }

  #tell(event: string, args: readonly unknown[]): void {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) listener(...(args as never[]));
  }
}
