import { once } from "node:events";
import {
  createServer as createHttpServer,
  type Server as HttpServer,
  type IncomingMessage,
  type RequestListener,
} from "node:http";
import type { Server as HttpsServer } from "node:https";
import type { Socket as NetSocket } from "node:net";
import express, { type Express } from "express";
import { Server as IoServer } from "socket.io";
import type { Application } from "../application.ts";
import { ConfigurationError } from "../errors.ts";
import { type Given, resolveServerOptions, type ServerSettings } from "../options.ts";
import { Origins } from "../origins.ts";
import { type Soon, soon } from "../soon.ts";
import { Addresses } from "./addresses.ts";
import { checkedHeaders, type HandshakeHeaders, Hosts, watchArrivals } from "./arrivals.ts";
import { type Carrier, pause, spread } from "./draining.ts";
import { clientsOf, cut, type EngineSocket, queryOf } from "./engine-internals.ts";
import { Handshakes } from "./handshakes.ts";
import { Health, type Phase } from "./health.ts";
import { httpRoutes, lastErrors } from "./http.ts";
import { bind, describe, type Listening, tryAddress } from "./listening.ts";
import { refuseNewcomers, refuseTooMany } from "./refusal.ts";
import { roomlessAdapter } from "./roomless-adapter.ts";
import { clientAddress } from "./scope.ts";
import { checkConnectionsOf, newSessionId } from "./shared-port.ts";
import { SocketCarrier } from "./socket.ts";
import { StreamCarrier } from "./sse.ts";

/**
 * A stock client that was told to move tries again after a second and a half at most, a busy one a little
 * later, and a balancer may bring it here by its cookie: a refusal sends it elsewhere at once, a host that
 * is gone costs it a timeout.
 */
const COME_BACK_MS = 2_500;

/**
 * What {@link createServer} takes; all may be left out. Faults are told together, as one
 * ConfigurationError.
 */
export interface ServerOptions extends Given<ServerSettings> {
  /**
   * A server of yours to serve on, instead of a new one; `host`, `port` and `socketPath` are then of no
   * use, and `stop` does not close it. If nothing handles its requests yet, `express` will.
   */
  readonly server?: HttpServer | HttpsServer;
  /**
   * Headers of the first answer to a connection, before any middleware or consumer: of a WebSocket's 101,
   * the first poll, an event stream. E.g. a cookie that counts browsers.
   */
  readonly headers?: HandshakeHeaders;
}

/**
 * An application on the network: Socket.IO and Express around one HTTP server.
 *
 * @example
 * const server = createServer(app, { port: 3000 });
 * server.express.use(express.static("public"));
 * const { url } = await server.listen();
 */
export class Server {
  readonly app: Application;
  /** For pages and routes of your own; the application's `http` and `sse` routes come first. */
  readonly express: Express;
  readonly settings: ServerSettings;
  readonly #http: HttpServer | HttpsServer;
  readonly #ownsHttp: boolean;
  readonly #addresses: Addresses;
  readonly #handshakes: Handshakes;
  readonly #origins: Origins;
  readonly #hosts: Hosts;
  readonly #headers: HandshakeHeaders | undefined;
  readonly #health: Health;
  readonly #carriers: Carrier[] = [];
  #io: IoServer | undefined;
  /** Connections to a server of its own; Node forgets those that became WebSockets. */
  readonly #sockets = new Set<NetSocket>();
  /** Of those, the ones without a request so far: browsers open such in advance. */
  readonly #unused = new Set<NetSocket>();
  #stopWatching: () => void = () => {};
  #phase: Phase = "starting";
  #listening: Promise<Listening> | undefined;
  /** The number of this process, if another one holds the port. */
  #process: number | undefined;
  #stopped: Promise<void> | undefined;
  /** Aborted when `stop` is to wait for nobody's sake any more. */
  readonly #hurry = new AbortController();

  /** @throws ConfigurationError that lists every fault of the options */
  constructor(app: Application, { server, headers, ...options }: ServerOptions = {}) {
    this.app = app;
    this.#headers = headers === undefined ? undefined : checkedHeaders(headers, app.signals);
    this.settings = resolveServerOptions(options);
    const { limits, hosts, origins, allowMissingOrigin, trustedProxies } = this.settings;
    this.#origins = new Origins(origins, allowMissingOrigin);
    this.#hosts = new Hosts(hosts);
    this.#addresses = new Addresses(limits.connectionsPerAddress, app.seats, (address) =>
      app.allowances(address),
    );
    this.#handshakes = new Handshakes(limits, app.sharedLimits);
    this.express = express();
    this.express.disable("x-powered-by");
    // What is added after `listen` comes after our own error handler: Express' must show no stack either.
    this.express.set("env", "production");
    this.express.set("trust proxy", trustedProxies);
    this.#health = new Health(app, this.settings, () => this.#phase);
    app.contribute(() => ({
      server: Object.freeze({ phase: this.#phase, transports: this.connections }),
    }));
    const streams = new StreamCarrier({
      app,
      addresses: this.#addresses,
      tooMany: (request) => this.#tooMany(request),
      origins: this.#origins,
      settings: this.settings,
      headers: this.#headers ?? (() => ({})),
      isLeaving: () => this.#isLeaving,
    });
    this.#carriers.push(streams);
    this.express.use(this.#hosts.handler, streams.handler, httpRoutes(app, trustedProxies));
    this.#ownsHttp = server === undefined;
    this.#http = server ?? createHttpServer();
    if (this.#ownsHttp) this.#watchSockets();
  }

  /**
   * Opens the channel layer and begins to listen. Idempotent.
   *
   * @throws ConfigurationError when the address cannot be listened on
   */
  listen(): Promise<Listening> {
    this.#listening ??= this.#listen();
    return this.#listening;
  }

  /**
   * Begins like `listen`, but binds no port: the process that holds the port hands each connection to
   * `take`, and tells by `processOf` which process a session lives in.
   *
   * @throws ConfigurationError with a `server` of yours
   * @internal
   */
  async share(process: number): Promise<void> {
    if (!this.#ownsHttp) {
      throw new ConfigurationError(["several processes cannot share a `server` of yours: leave it out"]);
    }
    this.#process = process;
    await this.listen();
  }

  /** A connection that another process has accepted, and the bytes it has read from it. @internal */
  take(socket: NetSocket, head: Uint8Array): void {
    // As if Node's server had accepted it.
    socket.allowHalfOpen = true;
    this.#http.emit("connection", socket);
    socket.unshift(head);
  }

  /**
   * Ends so that nobody notices. At once `readyPath` says "draining", and for `drainDelayMs` everything
   * else goes on, newcomers are served too. Then new clients are refused, and those that are here are told
   * to come back later (4503), each at a moment of its own within `drainMs`, all its routes together. When
   * the `disconnect` hooks have run, the channel layer and its own HTTP server are closed. `stopTimeoutMs`
   * after the delay whatever is left is cut.
   *
   * Idempotent: it resolves when all is closed, however often it is called.
   *
   * @param options - `atOnce`: tell all clients now, also when it is stopping already; their hooks are
   * waited for all the same
   */
  stop({ atOnce = false }: { readonly atOnce?: boolean } = {}): Promise<void> {
    if (atOnce) this.#hurry.abort();
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  /** Open transport connections; zero when nobody is here. */
  get connections(): number {
    return this.#addresses.connections;
  }

  async #listen(): Promise<Listening> {
    try {
      return await this.#open();
    } catch (error) {
      // Half a start must not keep the process from ending.
      this.#phase = "stopped";
      this.#stopWatching();
      this.#closeIo();
      await this.app.stop();
      throw error;
    }
  }

  async #open(): Promise<Listening> {
    this.#takeRequests();
    if (this.#ownsHttp && this.#process === undefined) await tryAddress(this.settings);
    await this.app.start();
    this.express.use(lastErrors(this.app, this.settings.trustedProxies));
    this.#io = this.#createIo();
    this.#watchUpgrades();
    if (this.#handshakes.areLimited) {
      this.#io.engine.use(refuseTooMany((request) => this.#tooMany(request)));
    }
    this.#carriers.push(new SocketCarrier(this.#io, this.app, this.#addresses, this.settings));
    this.#stopWatching = watchArrivals(this.#http, this.settings, this.app.signals);
    if (this.#ownsHttp) {
      this.#watchRequests();
      if (this.#process === undefined) await bind(this.#http, this.settings);
      else checkConnectionsOf(this.#http);
    }
    if (this.#phase === "starting") this.#phase = "serving";
    return describe(this.#http);
  }

  /** Health first, then whoever handled requests until now; Socket.IO will put itself in front likewise. */
  #takeRequests(): void {
    const before = this.#http.listeners("request") as RequestListener[];
    const handlers = before.length === 0 ? [this.express] : before;
    this.#http.removeAllListeners("request");
    this.#http.on("request", (request, response) => {
      if (this.#health.answer(request, response)) return;
      for (const handle of handlers) handle.call(this.#http, request, response);
    });
  }

  #createIo(): IoServer {
    const { path, pingIntervalMs, pingTimeoutMs, limits } = this.settings;
    const io = new IoServer(this.#http, {
      path,
      adapter: roomlessAdapter,
      pingInterval: pingIntervalMs,
      pingTimeout: pingTimeoutMs,
      maxHttpBufferSize: limits.maxPayloadBytes,
      // Ours waits for a `connect` that is pending, Socket.IO's would close the connection over it.
      connectTimeout: 2_147_483_647,
      cleanupEmptyChildNamespaces: true,
      // Of a server of our own `#watchUpgrades` sees to it, at once.
      destroyUpgrade: !this.#ownsHttp,
      allowRequest: (request, answer) => {
        void soon(this.#refusalOf(request), (refusal) => answer(refusal, refusal === undefined));
      },
      ...(this.#origins.allowsNoOthers
        ? {}
        : {
            cors: {
              origin: (origin: string | undefined, answer: (error: null, allowed: boolean) => void) =>
                answer(null, this.#origins.allowsCross(origin)),
              credentials: !this.#origins.allowsAll,
            },
          }),
    });
    const more = this.#headers;
    if (more !== undefined) {
      io.engine.on("initial_headers", (headers: Record<string, string>, request: IncomingMessage) => {
        Object.assign(headers, more(request));
      });
    }
    // Let in, and then found to speak another protocol.
    io.engine.on("connection_error", ({ req }: { readonly req: IncomingMessage }) =>
      this.#addresses.release(req),
    );
    if (this.#process !== undefined) io.engine.generateId = newSessionId(this.#process);
    return io;
  }

  /** Why a new transport connection is not taken; if it is, its place is reserved. */
  #refusalOf(request: IncomingMessage): Soon<string | undefined> {
    const { origin, host, "sec-fetch-site": site } = request.headers;
    if (!this.#hosts.allows(host)) return "this server has another name";
    if (!this.#origins.allows(origin, host, site)) return "this origin may not connect";
    // A script of any page, for which browsers send no Origin, could ask for it and read what comes.
    if (queryOf(request).j !== undefined) return "JSONP is not served";
    const address = clientAddress(request, this.settings.trustedProxies);
    return soon(this.#addresses.reserve(request, address), (hasRoom) => {
      if (hasRoom) return undefined;
      this.app.signals.limited.announce({ limit: "connectionsPerAddress", remoteAddress: address });
      return "too many connections from this address";
    });
  }

  /** The same for one that comes too soon after others. */
  async #tooMany(request: IncomingMessage): Promise<string | undefined> {
    // Told so, and not that there are too many, it goes to another node.
    if (this.#isLeaving) return undefined;
    const remoteAddress = clientAddress(request, this.settings.trustedProxies);
    const limit = await this.#handshakes.take(remoteAddress);
    if (limit === undefined) return undefined;
    this.app.signals.limited.announce({ limit, remoteAddress });
    return "too many new connections in too little time; come back later";
  }

  /** Of all requests, those of Socket.IO too. */
  #watchRequests(): void {
    const isUsed = ({ socket }: IncomingMessage) => void this.#unused.delete(socket);
    this.#http.on("upgrade", isUsed);
    this.#http.prependListener("request", (request, response) => {
      isUsed(request);
      // So that nobody's next request comes by this connection.
      if (this.#phase !== "serving") response.setHeader("Connection", "close");
    });
  }

  /**
   * Node lets go of a connection that asks for an upgrade, and Engine.IO takes only its own: nobody would hear
   * an error on the others, which would end the process, nor close them.
   */
  #watchUpgrades(): void {
    const ours = this.settings.path.replace(/\/?$/, "/");
    this.#http.prependListener("upgrade", (request: IncomingMessage, socket: NetSocket) => {
      socket.on("error", destroy);
      if (request.url?.startsWith(ours)) {
        // The answer and the first packet leave together: two writes for a newcomer instead of three.
        socket.cork();
        setImmediate(uncork, socket);
        return;
      }
      if (!this.#ownsHttp) return;
      socket.end("HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
      socket.destroySoon();
    });
  }

  #watchSockets(): void {
    const [sockets, unused] = [this.#sockets, this.#unused];
    // One for all of them.
    function forget(this: NetSocket): void {
      sockets.delete(this);
      unused.delete(this);
    }
    this.#http.on("connection", (socket: NetSocket) => {
      sockets.add(socket);
      unused.add(socket);
      socket.on("close", forget);
    });
  }

  async #stop(): Promise<void> {
    const { drainDelayMs, stopTimeoutMs } = this.settings;
    this.#beginDraining();
    // A start that failed has said so itself.
    const hasOpened = await this.#listening?.then(
      () => true,
      () => false,
    );
    if (hasOpened) await pause(drainDelayMs, this.#hurry.signal);
    this.#phase = "leaving";
    this.#io?.engine.use(refuseNewcomers);
    const endsAt = performance.now() + stopTimeoutMs;
    let cutter: NodeJS.Timeout | undefined;
    const deadline = setTimeout(() => {
      cutter = setInterval(() => this.#cutAll(), 50);
    }, stopTimeoutMs);
    try {
      const toldAny = await this.#tellToMove();
      const lingerMs = toldAny ? Math.min(COME_BACK_MS, endsAt - performance.now()) : 0;
      const allCameBack = pause(lingerMs, this.#hurry.signal);
      await this.app.stop({ withinMs: Math.max(0, endsAt - performance.now()) });
      // It still listens: a client that polls comes once more to hear why. New clients are refused.
      await Promise.all(clientsOf(this.#io?.engine).map(closed));
      await allCameBack;
      this.#closeIo();
      if (this.#ownsHttp) await this.#closeHttp();
    } finally {
      clearTimeout(deadline);
      clearInterval(cutter);
      this.#stopWatching();
      this.#phase = "stopped";
    }
  }

  #beginDraining(): void {
    if (this.#phase === "stopped") return;
    this.#phase = "draining";
    if (this.#listening === undefined) return;
    const { drainDelayMs: delayMs, drainMs } = this.settings;
    const { node, signals } = this.app;
    signals.draining.announce({ node, connections: this.connections, delayMs, drainMs });
  }

  /**
   * A client that finds another route on its connection meanwhile is served until its time has come.
   *
   * @returns whether somebody was told who may come back through a balancer
   */
  async #tellToMove(): Promise<boolean> {
    const { drainMs } = this.settings;
    const goodbyes = this.#carriers.flatMap((carrier) => carrier.goodbyes());
    await spread(goodbyes, drainMs, this.#hurry.signal);
    return drainMs > 0 && goodbyes.length > 0;
  }

  get #isLeaving(): boolean {
    return this.#phase === "leaving" || this.#phase === "stopped";
  }

  #closeIo(): void {
    this.#io?.engine.close();
    this.#io?.removeAllListeners();
  }

  async #closeHttp(): Promise<void> {
    const isClosed = Promise.all([once(this.#http.close(), "close"), ...[...this.#sockets].map(ended)]);
    // Answers may be on their way still; their connections are idle once they have arrived.
    const sweeper = setInterval(() => {
      this.#http.closeIdleConnections();
      for (const socket of this.#unused) socket.destroy();
    }, 20);
    await isClosed;
    clearInterval(sweeper);
  }

  #cutAll(): void {
    for (const client of clientsOf(this.#io?.engine)) cut(client);
    for (const socket of this.#sockets) socket.destroy();
  }
}

/**
 * A server for an application: Express 5 and Socket.IO on one port. It does not listen yet; `listen`
 * starts the application as well.
 *
 * @throws ConfigurationError with all faults of the options
 */
export function createServer(app: Application, options?: ServerOptions): Server {
  return new Server(app, options);
}

/** Closes a client's connection when all that waits for it has been sent. */
function closed(client: EngineSocket): Promise<void> {
  return new Promise((resolve) => {
    client.once("close", () => resolve());
    client.close();
  });
}

function ended(socket: NetSocket): Promise<void> {
  return new Promise((resolve) => void socket.once("close", () => resolve()));
}

function destroy(this: NetSocket): void {
  this.destroy();
}

function uncork(socket: NetSocket): void {
  socket.uncork();
}
