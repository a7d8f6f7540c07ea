import { createServer, type Server, type Socket } from "node:net";
import { bind, describe, type Listening } from "../server/listening.ts";
import { processOf } from "../server/shared-port.ts";

/** How long a connection may take to say its first line, as in Node's HTTP server. */
const FIRST_LINE_TIMEOUT_MS = 60_000;
/** The longest first line that is looked at; Node's HTTP server takes no longer head. */
const MAX_FIRST_LINE_BYTES = 16_384;
/** Connections that may be about to say their first line; beyond that the oldest is closed. */
const MAX_WAITING = 10_000;
const NEWLINE = 10;
const NOBODY_HERE =
  "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

export interface FrontDoorOptions {
  readonly host: string;
  readonly port: number;
  readonly firstLineTimeoutMs?: number;
}

/** A process that takes connections. */
export interface Host {
  /** False, and nothing is taken, when too many connections are on their way to it. */
  take(socket: Socket, head: Uint8Array): boolean;
}

/**
 * Holds the port of several processes. It reads the first line of each connection, which may name the
 * session of a polling client, and hands socket and bytes to the process that has that session, or to the
 * one that has least to do. From there on the process alone reads and writes: clients' addresses, limits
 * and slow readers are what they are without it.
 */
export class FrontDoor {
  readonly #options: Required<FrontDoorOptions>;
  /** A process by its number; anyone for newcomers. */
  readonly #hostFor: (process: number | undefined) => Host | undefined;
  readonly #server: Server;
  readonly #waiting = new Set<Socket>();

  constructor(
    { firstLineTimeoutMs = FIRST_LINE_TIMEOUT_MS, ...where }: FrontDoorOptions,
    hostFor: (process: number | undefined) => Host | undefined,
  ) {
    this.#options = { ...where, firstLineTimeoutMs };
    this.#hostFor = hostFor;
    // With a mark of 0 a socket stops reading after each chunk until it is told to go on: so nothing that
    // belongs to the other process is read here while the socket is on its way.
    this.#server = createServer({ allowHalfOpen: true, noDelay: true, highWaterMark: 0 }, (socket) =>
      this.#receive(socket),
    );
  }

  /** @throws ConfigurationError when the address cannot be listened on */
  async listen(): Promise<Listening> {
    await bind(this.#server, this.#options);
    return describe(this.#server);
  }

  /** Takes no more connections, and ends those that are not handed over yet. */
  close(): void {
    this.#server.close();
    for (const socket of this.#waiting) socket.destroy();
  }

  #receive(socket: Socket): void {
    socket.on("error", () => socket.destroy());
    this.#waiting.add(socket);
    if (this.#waiting.size > MAX_WAITING) this.#waiting.values().next().value?.destroy();
    const timer = setTimeout(() => socket.destroy(), this.#options.firstLineTimeoutMs);
    let head: Buffer = Buffer.alloc(0);
    const read = () => {
      const chunk = socket.read() as Buffer | null;
      if (chunk === null) return;
      head = head.length === 0 ? chunk : Buffer.concat([head, chunk]);
      if (!head.includes(NEWLINE) && head.length < MAX_FIRST_LINE_BYTES) return void socket.read(0);
      leave();
      socket.off("close", leave);
      this.#hand(socket, head);
    };
    const leave = () => {
      clearTimeout(timer);
      this.#waiting.delete(socket);
      socket.off("readable", read);
    };
    socket.on("readable", read);
    socket.once("close", leave);
    socket.once("end", () => socket.destroy());
  }

  #hand(socket: Socket, head: Buffer): void {
    const line = head.toString("latin1", 0, Math.min(head.indexOf(NEWLINE) >>> 0, MAX_FIRST_LINE_BYTES));
    if (this.#hostFor(processOf(line))?.take(socket, head)) return;
    socket.once("finish", () => socket.destroy());
    socket.end(NOBODY_HERE);
  }
}
