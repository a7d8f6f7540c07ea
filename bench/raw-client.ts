import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { FrameReader } from "./frame-reader.ts";

const OPCODE_TEXT = 1;
const OPCODE_CLOSE = 8;
/** Packets of Engine.IO 4, and of Socket.IO 5 inside its messages. */
const [ENGINE_OPEN, ENGINE_PING, ENGINE_MESSAGE] = [code("0"), code("2"), code("4")];
const [SOCKET_CONNECT, SOCKET_EVENT] = [code("0"), code("2")];
const BUFFER_BYTES = 4096;

export interface RawClientEvents {
  /** The server has let it in everywhere. */
  onOpen(): void;
  /** An event came; bytes of the WebSocket frame's payload. */
  onEvent(bytes: number): void;
  /** It was refused, or the connection ended; without a call to `close` that is an error. */
  onEnd(error: Error): void;
}

/**
 * A Socket.IO client on a bare TCP socket: it upgrades to a WebSocket, enters namespaces, answers pings and
 * counts events, and does nothing else.
 */
export class RawClient {
  readonly #socket: Socket;
  readonly #entries: readonly string[];
  /** Entries that have not been answered yet. */
  #unanswered: number;
  readonly #events: RawClientEvents;
  readonly #frames = new FrameReader((opcode, first, second, length) =>
    this.#frame(opcode, first, second, length),
  );
  /** The answer to the upgrade, until it is complete. */
  #response: string | undefined = "";

  /** @param entries - of each namespace: its name with a comma, and the client's credentials if any */
  constructor(port: number, entries: readonly string[], events: RawClientEvents) {
    this.#entries = entries;
    this.#unanswered = entries.length;
    this.#events = events;
    const buffer = Buffer.allocUnsafe(BUFFER_BYTES);
    this.#socket = connect({
      port,
      host: "127.0.0.1",
      noDelay: true,
      // One buffer per client, filled again and again, instead of a new one for each read.
      onread: {
        buffer,
        callback: (length) => {
          this.#read(buffer, length);
          return true;
        },
      },
    });
    this.#socket.on("error", (error) => this.#events.onEnd(error));
    this.#socket.on("close", () => this.#events.onEnd(new Error("the server ended the connection")));
    this.#socket.write(
      [
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1",
        `Host: 127.0.0.1:${port}`,
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
        "\r\n",
      ].join("\r\n"),
    );
  }

  #read(buffer: Buffer, length: number): void {
    if (this.#response === undefined) return this.#frames.read(buffer, 0, length);
    // Latin-1, so that characters are bytes.
    const before = this.#response.length;
    this.#response += buffer.toString("latin1", 0, length);
    const end = this.#response.indexOf("\r\n\r\n");
    if (end < 0) return;
    if (!this.#response.startsWith("HTTP/1.1 101 ")) {
      this.#events.onEnd(new Error(`no WebSocket: ${this.#response.slice(0, end)}`));
      this.#socket.destroy();
      return;
    }
    this.#response = undefined;
    this.#frames.read(buffer, end + 4 - before, length);
  }

  #frame(opcode: number, first: number, second: number, length: number): void {
    if (opcode === OPCODE_TEXT && first === ENGINE_MESSAGE && second === SOCKET_EVENT) {
      this.#events.onEvent(length);
    } else if (opcode === OPCODE_CLOSE) this.#events.onEnd(new Error("the server closed the WebSocket"));
    else if (first === ENGINE_PING) this.#send("3");
    else if (first === ENGINE_OPEN) for (const entry of this.#entries) this.#send(`40${entry}`);
    else if (first === ENGINE_MESSAGE && second === SOCKET_CONNECT) this.#entered();
    else this.#events.onEnd(new Error(`unexpected packet ${String.fromCharCode(first, second)}`));
  }

  #entered(): void {
    this.#unanswered -= 1;
    if (this.#unanswered === 0) this.#events.onOpen();
  }

  /** A text of less than 65,536 bytes, in a masked frame as clients must. */
  #send(text: string): void {
    const mask = randomBytes(4);
    const payload = Buffer.from(text).map((byte, i) => byte ^ mask.readUInt8(i % 4));
    const { length } = payload;
    const size = length < 126 ? [0x80 | length] : [0x80 | 126, length >> 8, length & 0xff];
    this.#socket.write(Buffer.concat([Buffer.of(0x81, ...size), mask, payload]));
  }
}

function code(character: string): number {
  return character.charCodeAt(0);
}
