import { once } from "node:events";
import { connect as connectTcp, createServer } from "node:net";
import { freePort } from "../redis/redis-server.ts";

/** A door in front of a server that can be slammed: all who are inside are cut off, and may come again. */
export class Door {
  readonly port: number;
  readonly #server: ReturnType<typeof createServer>;
  readonly #inside = new Set<() => void>();
  #isShut = false;

  private constructor(port: number, server: ReturnType<typeof createServer>) {
    this.port = port;
    this.#server = server;
  }

  static async before(port: number): Promise<Door> {
    const mine = await freePort();
    const server = createServer();
    const door = new Door(mine, server);
    server.on("connection", (outer) => {
      if (door.#isShut) return void outer.destroy();
      const inner = connectTcp(port, "127.0.0.1");
      const end = () => {
        outer.destroy();
        inner.destroy();
        door.#inside.delete(end);
      };
      door.#inside.add(end);
      for (const socket of [outer, inner]) socket.on("error", end).on("close", end);
      outer.pipe(inner).pipe(outer);
    });
    server.listen(mine, "127.0.0.1");
    await once(server, "listening");
    return door;
  }

  /** Whether anybody is behind that port. */
  static async leadsSomewhere(port: number): Promise<boolean> {
    const socket = connectTcp(port, "127.0.0.1");
    try {
      await once(socket, "connect");
      return true;
    } catch {
      return false;
    } finally {
      socket.destroy();
    }
  }

  slam({ stayShut = false } = {}): void {
    this.#isShut = stayShut;
    for (const end of [...this.#inside]) end();
  }

  open(): void {
    this.#isShut = false;
  }

  async close(): Promise<void> {
    this.slam({ stayShut: true });
    this.#server.close();
    await once(this.#server, "close");
  }
}
