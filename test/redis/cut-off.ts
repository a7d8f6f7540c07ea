import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";

/** A way to a port on this machine that can be slow, and can be cut: silently, as by a network, or loudly, as by a kill. */
export class CuttableWay {
  readonly port: number;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isSilent = false;
  #isBlocked = false;
  /** How long each piece takes; the order is kept. */
  delayMs: () => number = () => 0;

  private constructor(server: Server) {
    this.#server = server;
    this.port = (server.address() as { port: number }).port;
  }

  /** @param port - or which one, asked anew for each connection */
  static async to(port: number | (() => number)): Promise<CuttableWay> {
    const target = typeof port === "number" ? () => port : port;
    const server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const way = new CuttableWay(server);
    server.on("connection", (socket) => way.#join(socket, connect(target(), "127.0.0.1")));
    return way;
  }

  /** Nothing arrives any more, and nobody is told. What was on its way is lost. */
  silence(): void {
    this.#isSilent = true;
  }

  /** Ends all connections, and every new one at once. */
  block(): void {
    this.#isBlocked = true;
    this.reset();
  }

  /** New connections work again; those that were silenced stay silent. */
  restore(): void {
    this.#isSilent = false;
    this.#isBlocked = false;
  }

  /** Ends all connections that are open. */
  reset(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }

  #join(near: Socket, far: Socket): void {
    if (this.#isBlocked) near.resetAndDestroy();
    let isLost = this.#isSilent;
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      this.#sockets.add(from);
      from.on("error", () => {});
      from.on("close", () => {
        this.#sockets.delete(from);
        if (!isLost) to.destroy();
      });
      const pieces: Buffer[] = [];
      const forward = () => {
        const piece = pieces.shift();
        isLost ||= this.#isSilent;
        if (!isLost && piece !== undefined && to.writable) to.write(piece);
      };
      from.on("data", (piece) => {
        pieces.push(piece);
        const delayMs = this.delayMs();
        // Whichever timer comes first sends the oldest piece.
        if (delayMs > 0) setTimeout(forward, delayMs);
        else forward();
      });
    }
  }
}
