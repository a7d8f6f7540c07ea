import type { Application } from "../index.ts";
import { whatIsLeft } from "./nothing-left.ts";

/** What is needed of a server; `createServer` of `sluice/server` makes one. */
interface AnyServer {
  readonly app: Application;
  /** Open transport connections. */
  readonly connections: number;
  listen(): Promise<{ readonly url: string; readonly port: number }>;
  stop(options: { readonly atOnce: boolean }): Promise<void>;
}

/** What is needed of a socket of `socket.io-client`. */
export interface StockClient {
  disconnect(): unknown;
  readonly io: { reconnection(isOn: boolean): unknown; readonly engine?: StockEngine };
}

interface StockEngine {
  readonly readyState: string;
  close(): unknown;
}

/** Settings of a stock client in a test: a connection of its own, at once, and once. */
const CLIENT = { forceNew: true, reconnection: false, transports: ["websocket"] };

/** How long {@link LiveServer} waits. */
export interface LiveServerOptions {
  /** How long to wait for what must come to pass. Default 5,000. */
  readonly timeoutMs?: number;
}

/**
 * A real server on a free port for the time of a test: for browsers, stock clients, and whatever speaks HTTP.
 * `stop` ends all that was begun with it, and proves that nothing is left.
 *
 * @example
 * const live = await LiveServer.start(createServer(app, { port: 0 }));
 * await page.goto(live.url);
 * const ann = live.client(io, "/chat/den");
 * await live.stop();
 */
export class LiveServer<S extends AnyServer = AnyServer> {
  readonly server: S;
  /** Without a slash at its end. */
  readonly url: string;
  readonly port: number;
  /** What hooks and handlers threw so far. */
  readonly errors: readonly unknown[];
  readonly #timeoutMs: number;
  readonly #endings: (() => unknown)[] = [];
  #stopped: Promise<void> | undefined;

  /** Use {@link LiveServer.start}. @internal */
  constructor(server: S, url: string, port: number, errors: readonly unknown[], timeoutMs: number) {
    this.server = server;
    this.url = url;
    this.port = port;
    this.errors = errors;
    this.#timeoutMs = timeoutMs;
  }

  /**
   * Listens. Make the server with `port: 0`, so that tests may run side by side.
   *
   * @throws ConfigurationError when it cannot listen
   */
  static async start<S extends AnyServer>(
    server: S,
    { timeoutMs = 5_000 }: LiveServerOptions = {},
  ): Promise<LiveServer<S>> {
    const errors: unknown[] = [];
    server.app.signals.failed.connect(({ error }) => void errors.push(error));
    const { url, port } = await server.listen();
    return new LiveServer(server, url, port, errors, timeoutMs);
  }

  get app(): Application {
    return this.server.app;
  }

  /**
   * A stock client; its connection is its own and ends with the server at the latest. It does not reconnect
   * unless `options` say so.
   *
   * @param io - of `socket.io-client`
   */
  client<C extends StockClient>(
    io: (url: string, options: object) => C,
    namespace: string,
    options: object = {},
  ): C {
    const socket = io(this.url + namespace, { ...CLIENT, ...options });
    this.atEnd(() => this.#endClient(socket));
    return socket;
  }

  /** Something to be ended before the server: a page, a browser, a client. The last that was begun ends first. */
  atEnd(end: () => unknown): void {
    this.#endings.push(end);
  }

  /**
   * Waits until all clients have gone and nothing is kept for them any more, while it goes on serving.
   *
   * @throws Error that says what is left
   */
  async empty(): Promise<void> {
    await this.#until(() => this.#left, `the server to be empty, but it still has`);
  }

  /**
   * Ends what was begun with it, then the server: clients that are left are told to go, `disconnect` runs.
   * Idempotent.
   *
   * @throws Error that says what is left afterwards; the first of what an ending threw
   */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  get #left(): string {
    const { app, connections } = this.server;
    const open = connections > 0 ? [`${connections} open transports`] : [];
    return [...open, whatIsLeft(app)].filter((text) => text !== "").join(", ");
  }

  async #stop(): Promise<void> {
    const errors: unknown[] = [];
    for (const end of this.#endings.splice(0).reverse()) {
      try {
        await end();
      } catch (error) {
        errors.push(error);
      }
    }
    await this.server.stop({ atOnce: true });
    if (this.#left !== "") errors.push(new Error(`the server has stopped and still has ${this.#left}`));
    if (errors.length > 0) throw errors[0];
  }

  async #endClient(socket: StockClient): Promise<void> {
    // With whatever else was opened on its connection.
    socket.io.reconnection(false);
    socket.disconnect();
    const { engine } = socket.io;
    if (engine === undefined) return;
    engine.close();
    // One that polls says goodbye by a request, which must not outlive the server.
    const left = () => (engine.readyState === "closed" ? "" : "open");
    await this.#until(left, "a client to close its connection, which is");
  }

  async #until(left: () => string, what: string): Promise<void> {
    const givenUpAt = performance.now() + this.#timeoutMs;
    for (;;) {
      const still = left();
      if (still === "") return;
      if (performance.now() > givenUpAt) throw new Error(`waited ${this.#timeoutMs} ms for ${what} ${still}`);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }
}
