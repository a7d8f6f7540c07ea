/** Socket.IO clients, brought to the application: namespaces become routes, sockets become links. */
import type { Server as IoServer, Namespace, Socket } from "socket.io";
import type { Application } from "../application.ts";
import type { Runner } from "../consumer/runner.ts";
import {
  AskTimeout,
  ConnectionClosed,
  isRetryable,
  type LimitName,
  RateLimited,
  RouteNotFound,
  verdictOf,
} from "../errors.ts";
import { ReservedEvent } from "../names.ts";
import type { ServerSettings } from "../options.ts";
import { CLIENT_LEFT, connectionLost, STOPPING } from "../reasons.ts";
import type { Acknowledge, Budget, ClientLink } from "../types.ts";
import type { Addresses } from "./addresses.ts";
import { Connection, type ConnectionLimits, type ConnectionOwner, type Packet } from "./connection.ts";
import type { Carrier } from "./draining.ts";
import {
  clientsOf,
  type EngineSocket,
  type EventPacket,
  endAcknowledgements,
  isPayloadTooLarge,
  letGoOfHandshake,
  letGoOfRequest,
  onEvents,
  refuseSilently,
} from "./engine-internals.ts";
import { SocketCodec, type SocketFrame } from "./frames.ts";
import { packConnection, packSocket } from "./packing.ts";
import { clientAddress, RequestHandshake, RequestLine } from "./scope.ts";
import { Turn } from "./turn.ts";

const MAX_PENDING_ASKS = 100;
const MAX_POLL_TIMEOUT_MS = 5_000;

interface Codecs {
  readonly codec: SocketCodec;
  readonly positionedCodec: SocketCodec;
}

/** One pair per namespace object, gone with it. */
const codecs = new WeakMap<Namespace, Codecs>();

function codecsOf(namespace: Namespace): Codecs {
  const known = codecs.get(namespace);
  if (known !== undefined) return known;
  const { name } = namespace;
  const made = { codec: new SocketCodec(name, false), positionedCodec: new SocketCodec(name, true) };
  codecs.set(namespace, made);
  return made;
}

class SocketLink implements ClientLink<SocketFrame> {
  readonly codec: SocketCodec;
  readonly positionedCodec: SocketCodec;
  readonly events: Budget;
  /** Whom it was made for. */
  runner: Runner | undefined;
  readonly #socket: Socket;
  readonly #connection: Connection;
  #asks: Set<(error: Error) => void> | undefined;

  constructor(socket: Socket, connection: Connection) {
    this.#socket = socket;
    this.#connection = connection;
    this.events = connection.events;
    const { codec, positionedCodec } = codecsOf(socket.nsp);
    this.codec = codec;
    this.positionedCodec = positionedCodec;
  }

  get waitingBytes(): number {
    return this.#connection.waitingBytes;
  }

  write(frame: SocketFrame): void {
    if (this.#socket.connected) this.#connection.write(frame);
  }

  ask(event: string, payload: unknown, timeoutMs: number): Promise<unknown> {
    this.#asks ??= new Set();
    const asks = this.#asks;
    if (asks.size >= MAX_PENDING_ASKS) {
      return Promise.reject(new RateLimited(`${MAX_PENDING_ASKS} questions wait for this client already`));
    }
    return new Promise((resolve, reject) => {
      asks.add(reject);
      this.#connection.asked();
      this.#socket.timeout(timeoutMs).emit(event, payload, (error: Error | null, answer: unknown) => {
        asks.delete(reject);
        if (error === null) resolve(answer);
        else reject(new AskTimeout(`the client did not answer "${event}" within ${timeoutMs} ms`));
      });
    });
  }

  /** What answers the event of that number; without a number nobody wants an answer. */
  acknowledging(id: number | undefined): Acknowledge | undefined {
    if (id === undefined) return undefined;
    return (answer) => this.#connection.write(this.codec.answer(id, answer));
  }

  close(code: number, reason: string): void {
    if (!this.#socket.connected) return;
    this.#socket.emit(ReservedEvent.close, { code, reason });
    const disconnect = () => void this.#socket.disconnect();
    if (isRetryable(code)) this.#connection.leave(this.#socket.nsp.name, disconnect);
    else disconnect();
  }

  /** The socket is gone: nobody will answer any more. */
  ended(): void {
    if (this.#asks === undefined) return;
    const gone = new ConnectionClosed("the connection ended before the client answered");
    for (const reject of this.#asks) reject(gone);
    this.#asks.clear();
    endAcknowledgements(this.#socket);
  }
}

/** Serves all routes through one dynamic parent namespace, and closes `/` unless it is routed. */
export class SocketCarrier implements Carrier, ConnectionOwner {
  readonly #io: IoServer;
  readonly #app: Application;
  readonly #addresses: Addresses;
  readonly #settings: ServerSettings;
  readonly limits: ConnectionLimits;
  readonly turn: Turn;
  /** Whose packet Socket.IO is reading: it does not say so when it asks whether a namespace is routed. */
  #speaking: EngineSocket | undefined;
  /** Until it is open, or gone. */
  readonly #connecting = new Map<Runner, Socket>();
  readonly #heard = this.#listeners();

  constructor(io: IoServer, app: Application, addresses: Addresses, settings: ServerSettings) {
    this.#io = io;
    this.#app = app;
    this.#addresses = addresses;
    this.#settings = settings;
    const { connectTimeoutMs, limits } = app.settings;
    this.limits = {
      maxWaitingBytes: limits.maxWaitingBytes,
      floodEvents: limits.floodEvents,
      idleTimeoutMs: connectTimeoutMs,
      pollTimeoutMs: Math.min(settings.pingTimeoutMs, MAX_POLL_TIMEOUT_MS),
      maxAgeMs: settings.maxAgeMs,
    };
    this.turn = new Turn(app.tally, app.hasBackplane);
    const dynamic = io.of((name, _auth, next) => next(null, this.#isRouted(name)));
    for (const namespace of [io.of("/"), dynamic]) {
      namespace.use((socket, next) => {
        try {
          this.#admit(socket, next);
        } catch (error) {
          next(refusal(error));
        }
      });
      namespace.on("connection", (socket) => this.#open(socket));
    }
    io.engine.on("connection", (conn: EngineSocket) => this.#connectionOf(conn));
  }

  goodbyes(): readonly (() => void)[] {
    return clientsOf(this.#io.engine).map((conn) => () => this.#connectionOf(conn).close(STOPPING));
  }

  /** Said before there is a socket, so that names nobody serves cost next to nothing. */
  #isRouted(namespace: string): boolean {
    if (this.#app.router.consumerAt("socket", namespace) !== undefined) return true;
    const connection = this.#speaking && this.#connectionOf(this.#speaking);
    connection?.takeEvent();
    this.#app.notFound(namespace, connection?.remoteAddress ?? "");
    return false;
  }

  #admit(socket: Socket, next: (refused?: Error) => void): void {
    const connection = this.#connectionOf(socket.conn);
    const { name } = socket.nsp;
    this.#checkRoom(connection, name);
    const auth = socket.handshake.auth as Readonly<Record<string, unknown>>;
    const link = new SocketLink(socket, connection);
    const handshake = new RequestHandshake(
      connection.request,
      "socket.io",
      name,
      auth,
      connection.remoteAddress,
    );
    const runner = this.#app.connect("socket", handshake, link, connection.allowances);
    connection.add(runner);
    link.runner = runner;
    socket.data = link;
    this.#connecting.set(runner, socket);
    if (!connection.isOpen) runner.lost(connectionLost("transport close"));
    const refuse = (error: unknown) => {
      this.#connecting.delete(runner);
      connection.remove(runner);
      // While the server stops, a refusal would keep a stock client away; losing its transport does not.
      if (runner.reason?.kind === "stopping") refuseSilently(socket);
      next(refusal(error));
    };
    runner.admit().then(() => next(), refuse);
  }

  #checkRoom(connection: Connection, namespace: string): void {
    const { remoteAddress } = connection;
    const limited = (limit: LimitName) =>
      this.#app.signals.limited.announce({ limit, remoteAddress, namespace });
    if (!connection.takeEvent()) {
      limited("eventsPerSecond");
      throw new RateLimited("too many events in too little time; slow down", "eventsPerSecond");
    }
    const { namespacesPerConnection } = this.#settings.limits;
    if (connection.runners.length >= namespacesPerConnection) {
      limited("namespacesPerConnection");
      throw new RateLimited(
        `a connection may have ${namespacesPerConnection} routes open`,
        "namespacesPerConnection",
      );
    }
    this.#supersede(connection.runnerOf(namespace));
  }

  /**
   * A stock client that disconnects while it is being connected says nothing, and connects anew: the
   * older attempt is then nobody's, and a word about it would be taken for one about the newer.
   */
  #supersede(runner: Runner | undefined): void {
    const socket = runner && this.#connecting.get(runner);
    if (socket === undefined) return;
    refuseSilently(socket);
    runner?.lost(CLIENT_LEFT);
  }

  #open(socket: Socket): void {
    const link = linkOf(socket);
    const { runner } = link;
    if (runner === undefined) return void socket.disconnect(true);
    this.#connecting.delete(runner);
    letGoOfHandshake(socket);
    socket.on("disconnect", this.#heard.disconnect);
    // As they come; `on` hears them a turn later, when a client that left at once is gone.
    onEvents(socket, hear, fall);
    packSocket(socket);
    runner.opened();
    // It ended between acceptance and this moment: there was no open client to tell.
    if (runner.reason !== undefined) link.close(runner.reason.code, runner.reason.message);
  }

  #connectionOf(conn: EngineSocket): Connection {
    const { [CONNECTION]: known } = conn as Carrying;
    if (known !== undefined) return known;
    const { request } = conn;
    const address = clientAddress(request, this.#settings.trustedProxies);
    const place = this.#addresses.claim(request);
    const connection = new Connection(
      conn,
      new RequestLine(request, this.#settings.trustedProxies),
      address,
      this.#app.eventBudget(),
      place?.allowances ?? this.#app.allowances(),
      place,
      this,
    );
    letGoOfRequest(conn);
    (conn as Carrying)[CONNECTION] = connection;
    conn.on("packetCreate", this.#heard.packetCreate);
    // From the first line: if the transport dies while `connect` is pending, Socket.IO says nothing.
    conn.on("close", this.#heard.close);
    conn.prependListener("data", this.#heard.data);
    packConnection(conn);
    return connection;
  }

  #ended(connection: Connection, reason: string, description: unknown): void {
    for (const runner of connection.runners) this.#connecting.delete(runner);
    connection.lost(reason);
    if (!isPayloadTooLarge(description)) return;
    const { remoteAddress } = connection;
    this.#app.signals.limited.announce({ limit: "maxPayloadBytes", remoteAddress });
  }

  /** One function each for all connections, which they are called on. */
  #listeners() {
    const carrier = this;
    return {
      data(this: EngineSocket, packet: unknown): void {
        carrier.#speaking = this;
        if (isAcknowledgement(packet)) carrier.#connectionOf(this).answered();
      },
      packetCreate(this: EngineSocket, packet: Packet): void {
        carrier.#connectionOf(this).created(packet);
      },
      close(this: EngineSocket, reason: string, description: unknown): void {
        carrier.#ended(carrier.#connectionOf(this), reason, description);
      },
      disconnect(this: Socket, reason: string): void {
        const link = linkOf(this);
        const { runner } = link;
        if (runner === undefined) return;
        carrier.#connectionOf(this.conn).remove(runner);
        link.ended();
        runner.lost(reason === "client namespace disconnect" ? CLIENT_LEFT : connectionLost(reason));
      },
    };
  }
}

/** Of Socket.IO, plain or with attachments. */
function isAcknowledgement(packet: unknown): boolean {
  return typeof packet === "string" && (packet.startsWith("3") || packet.startsWith("6"));
}

/** Where a transport has its connection: thousands of them in a WeakMap have their price at each collection. */
const CONNECTION = Symbol("connection");
type Carrying = EngineSocket & { [CONNECTION]?: Connection };

/** What is kept with a socket. */
function linkOf(socket: Socket): SocketLink {
  return socket.data as SocketLink;
}

function hear(this: Socket, { data, id }: EventPacket): void {
  const link = linkOf(this);
  const [event, ...args] = data ?? [];
  link.runner?.receive(event, args, link.acknowledging(id ?? undefined));
}

function fall(this: Socket, event: unknown, ...args: unknown[]): void {
  const acknowledge = typeof args.at(-1) === "function" ? (args.pop() as Acknowledge) : undefined;
  linkOf(this).runner?.receive(event, args, acknowledge);
}

/** What the client finds in its `connect_error`. That nothing is routed there is said as Socket.IO says it. */
function refusal(error: unknown): Error & { data?: { code: number; reason: string } } {
  if (error instanceof RouteNotFound) return new Error("Invalid namespace");
  const { closeCode: code, message: reason } = verdictOf(error);
  return Object.assign(new Error(reason), { data: { code, reason } });
}
