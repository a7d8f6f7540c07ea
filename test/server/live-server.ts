/**
 * A server on loopback for one test, stock and raw clients for it, and the wait for a fact. All of it is
 * closed after the test, and nothing may be left then. (Jest itself fails a test during which a promise
 * is rejected unheard or an exception is not caught.)
 */
import { afterEach, expect, jest } from "@jest/globals";
import {
  type Application,
  type ApplicationOptions,
  Consumer,
  type ConsumerContext,
  createApplication,
  type DisconnectReason,
} from "sluice";
import { createServer, type Server, type ServerOptions } from "sluice/server";
import { LiveServer } from "sluice/testing";
import { Server as IoServer } from "socket.io";
import { io as connectStock, type ManagerOptions, type Socket, type SocketOptions } from "socket.io-client";
import { WebSocket } from "ws";

jest.setTimeout(30_000);

const DEADLINE_MS = 20_000;
const endings: (() => unknown)[] = [];

/** Something to be ended after the test; the last that was begun ends first. */
export function atEnd(end: () => unknown): void {
  endings.push(end);
}

afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
  // What was thrown last has a moment to be noticed.
  await new Promise((resolve) => setImmediate(resolve));
});

/** Waits until something is true or there; what it found is returned. */
export async function until<T>(fact: () => T, what: string): Promise<NonNullable<T>> {
  const givenUpAt = performance.now() + DEADLINE_MS;
  for (;;) {
    const found = fact();
    if (found) return found;
    if (performance.now() > givenUpAt) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** A promise for later. */
export interface Gate {
  readonly passed: Promise<void>;
  open(): void;
}

export function gate(): Gate {
  let open = () => {};
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { passed, open };
}

/** A consumer that says back what it hears. */
export class Echo extends Consumer {
  override receive(event: string, payload: unknown): unknown {
    return { event, payload };
  }
}

/** Notes of all consumers of a test: how many were made, and why each ended. */
export class Diary {
  made = 0;
  readonly reasons: DisconnectReason[] = [];

  /** A consumer class that writes into this diary. */
  get Witness() {
    const diary = this;
    return class Witness extends Echo {
      constructor(context: ConsumerContext) {
        super(context);
        diary.made += 1;
      }
      override disconnect(reason: DisconnectReason): unknown {
        diary.reasons.push(reason);
        return undefined;
      }
    };
  }

  /** The one reason there is; more than one would be an error of the server. */
  async reason(): Promise<DisconnectReason> {
    await until(() => this.reasons.length > 0, "disconnect runs");
    expect(this.reasons).toHaveLength(1);
    return this.reasons[0] as DisconnectReason;
  }
}

export interface Live {
  readonly app: Application;
  readonly server: Server;
  /** Socket.IO's own server, to look for what is left in it. */
  readonly io: IoServer;
  readonly url: string;
  readonly port: number;
  /** A stock client, over WebSocket alone unless told otherwise. */
  client(namespace: string, options?: Partial<ManagerOptions & SocketOptions>): Socket;
  /** A client that knows no manners. */
  raw(options?: RawOptions): Promise<RawClient>;
  /** All that the server keeps for clients is gone. */
  empty(): Promise<void>;
}

/**
 * Serves until the end of the test.
 *
 * @param application - its options; or one that is there already, say a node of a cluster
 */
export async function serve(
  application: ApplicationOptions | Application,
  options: ServerOptions = {},
): Promise<Live> {
  const app = "layer" in application ? application : createApplication(application);
  const server = createServer(app, { port: 0, stopTimeoutMs: 200, ...options });
  // What was begun in the test ends before it, and nothing may be left then.
  let live: LiveServer<Server> | undefined;
  atEnd(() => (live === undefined ? server.stop({ atOnce: true }) : live.stop()));
  const attach = jest.spyOn(IoServer.prototype, "attach");
  live = await LiveServer.start(server, { timeoutMs: DEADLINE_MS });
  const { url, port } = live;
  const io = attach.mock.contexts.at(-1) as IoServer;
  attach.mockRestore();
  return {
    app,
    server,
    io,
    url,
    port,
    client: (namespace, given = {}) => stock(url + namespace, given),
    raw: (given) => RawClient.open(`${url.replace("http", "ws")}/socket.io/`, given),
    async empty() {
      await live.empty();
      await until(() => io.engine.clientsCount === 0 && leftInSocketIo(io) === 0, "everything is gone");
    },
  };
}

/** The next HTTP request for that path has reached the server. */
export function requested(live: Live, path: string): Promise<void> {
  return new Promise((resolve) => {
    live.io.httpServer.on("request", ({ url }: { url?: string }) => url === path && resolve());
  });
}

/** Sockets of clients and child namespaces. */
export function leftInSocketIo(io: IoServer): number {
  const { _nsps: namespaces, parentNsps: parents } = io as unknown as {
    _nsps: Map<string, { sockets: Map<string, unknown>; _preConnectSockets: Map<string, unknown> }>;
    parentNsps: Map<unknown, { children: Set<unknown> }>;
  };
  let left = namespaces.size - 1;
  for (const { sockets, _preConnectSockets } of namespaces.values()) {
    left += sockets.size + _preConnectSockets.size;
  }
  for (const { children } of parents.values()) left += children.size;
  return left;
}

export function stock(url: string, options: Partial<ManagerOptions & SocketOptions> = {}): Socket {
  const socket = connectStock(url, {
    transports: ["websocket"],
    forceNew: true,
    reconnection: false,
    reconnectionDelay: 10,
    reconnectionDelayMax: 20,
    ...options,
  });
  atEnd(async () => {
    // With whatever else was opened on its connection.
    socket.io.reconnection(false);
    socket.disconnect();
    const { engine } = socket.io;
    engine?.close();
    // One that polls says goodbye by a request, which must not outlive the test.
    await until(() => engine === undefined || engine.readyState === "closed", "the client has closed");
  });
  return socket;
}

/** The next event of that name, with all that came with it. */
export function heard<T extends unknown[]>(socket: Socket, event: string): Promise<T> {
  return new Promise((resolve) => socket.once(event, (...args: unknown[]) => resolve(args as T)));
}

/** Resolves when the client is let in; rejects when it is refused. */
export function connected(socket: Socket): Promise<Socket> {
  if (socket.connected) return Promise.resolve(socket);
  return new Promise((resolve, reject) => {
    socket.once("connect", () => resolve(socket));
    socket.once("connect_error", reject);
  });
}

/** What a refused client finds in its `connect_error`. */
export async function refusalOf(socket: Socket): Promise<{ message: string; data?: unknown }> {
  const [error] = await heard<[Error & { data?: unknown }]>(socket, "connect_error");
  const { message, data } = error;
  return data === undefined ? { message } : { message, data };
}

export interface RawOptions {
  readonly headers?: Readonly<Record<string, string>>;
  /** Answers pings unless false. */
  readonly pongs?: boolean;
}

/** A WebSocket that speaks Engine.IO and Socket.IO as badly as it is told to. */
export class RawClient {
  readonly socket: WebSocket;
  /** All that came, text as it is. */
  readonly received: (string | Buffer)[] = [];
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>;

  private constructor(socket: WebSocket, pongs: boolean) {
    this.socket = socket;
    socket.on("error", () => {});
    socket.on("message", (data, isBinary) => {
      const packet = isBinary ? (data as Buffer) : String(data);
      if (packet === "2" && pongs && socket.readyState === WebSocket.OPEN) socket.send("3");
      this.received.push(packet);
    });
    this.closed = new Promise((resolve) => {
      socket.once("close", (code, reason) => resolve({ code, reason: String(reason) }));
    });
  }

  static async open(url: string, { headers = {}, pongs = true }: RawOptions = {}): Promise<RawClient> {
    const client = new RawClient(new WebSocket(`${url}?EIO=4&transport=websocket`, { headers }), pongs);
    atEnd(() => client.socket.terminate());
    const isClosed = () => client.socket.readyState === WebSocket.CLOSED;
    await until(() => client.received.length > 0 || isClosed(), "the server answers");
    if (client.received.length === 0) throw new Error("the server does not take the connection");
    return client;
  }

  send(data: string | Buffer): void {
    this.socket.send(data);
  }

  /** Opens a namespace and waits until the server has let it in. */
  async enter(namespace: string): Promise<void> {
    this.send(`40${namespace},`);
    await this.hears(`40${namespace},`);
  }

  /** The first packet that begins like this, now or later. */
  hears(beginning: string): Promise<string> {
    const find = () => this.received.find((packet) => String(packet).startsWith(beginning));
    return until(find, `"${beginning}" arrives`).then(String);
  }

  get isOpen(): boolean {
    return this.socket.readyState === WebSocket.OPEN;
  }
}
