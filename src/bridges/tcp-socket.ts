import type { Socket } from "node:net";
import type { IStompSocket } from "@stomp/stompjs";

/** A TCP socket where stompjs expects a WebSocket. */
export class TcpSocket implements IStompSocket {
  readonly url: string;
  onopen: IStompSocket["onopen"] = null;
  onclose: IStompSocket["onclose"] = null;
  onerror: IStompSocket["onerror"] = null;
  onmessage: IStompSocket["onmessage"] = null;
  binaryType = "arraybuffer";
  readonly #socket: Socket;
  #state = 0;

  constructor(socket: Socket, opened: "connect" | "secureConnect", url: string) {
    this.url = url;
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.once(opened, () => {
      this.#state = 1;
      this.onopen?.();
    });
    socket.on("data", (data) => {
      // A copy: Buffers share their memory.
      this.onmessage?.({ data: new Uint8Array(Buffer.from(data)).buffer });
    });
    socket.on("error", (error) => this.onerror?.(error));
    socket.on("close", () => {
      this.#state = 3;
      this.onclose?.({ code: 1006, reason: "closed", wasClean: false });
    });
  }

  get readyState(): number {
    return this.#state;
  }

  send(data: Parameters<IStompSocket["send"]>[0]): void {
    if (typeof data === "string") this.#socket.write(data);
    else if (data instanceof Uint8Array) this.#socket.write(data);
    else this.#socket.write(Buffer.from(data as ArrayBuffer));
  }

  close(): void {
    this.#state = 2;
    this.#socket.end();
  }

  terminate(): void {
    this.#socket.destroy();
  }
}
