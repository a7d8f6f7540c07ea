import { randomBytes } from "node:crypto";
import { connect, type Socket } from "node:net";
import { FrameReader } from "./frame-reader.ts";
import { numberIn, type Question, type Wire } from "./wires.ts";

const OPCODE_TEXT = 1;
const OPCODE_CLOSE = 8;
const OPCODE_PING = 9;
const BUFFER_BYTES = 4096;

export interface RawClientEvents {
  /** The server has let it in. */
  onOpen(): void;
  /** An event came: its number, and the bytes of the WebSocket frame's payload. */
  onEvent(number: number, bytes: number): void;
  /** The answer to a question came. */
  onAnswer(number: number): void;
  /** It was refused, or the connection ended; without a call to `cut` that is an error. */
  onEnd(error: Error): void;
}

/** A client on a bare TCP socket: it becomes a WebSocket, enters rooms, answers pings, asks, and counts. */
export class RawClient {
  readonly #socket: Socket;
  readonly #wire: Wire;
  readonly #rooms: readonly number[];
  readonly #events: RawClientEvents;
  readonly #frames = new FrameReader((opcode, bytes, at, length) => this.#frame(opcode, bytes, at, length));
  /** The answer to the upgrade, until it is complete. */
  #response: string | undefined = "";
  #isCut = false;

  constructor(port: number, wire: Wire, rooms: readonly number[], events: RawClientEvents) {
    this.#wire = wire;
    this.#rooms = rooms;
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
    this.#socket.on("error", (error) => this.#ended(error));
    this.#socket.on("close", () => this.#ended(new Error("the server ended the connection")));
    this.#socket.write(
      [
        `GET ${wire.path(rooms)} HTTP/1.1`,
        `Host: 127.0.0.1:${port}`,
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
        "\r\n",
      ].join("\r\n"),
    );
  }

  ask(question: Question, number: number): void {
    this.#send(this.#wire.ask(question, number));
  }

  /** Ends without a word, as when a cable is pulled; resolves when it is gone. */
  cut(): Promise<void> {
    this.#isCut = true;
    return new Promise((resolve) => {
      if (this.#socket.closed) return resolve();
      this.#socket.once("close", () => resolve());
      this.#socket.destroy();
    });
  }

  #ended(error: Error): void {
    if (!this.#isCut) this.#events.onEnd(error);
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
      void this.cut();
      return;
    }
    this.#response = undefined;
    this.#frames.read(buffer, end + 4 - before, length);
  }

  #frame(opcode: number, bytes: Buffer, at: number, length: number): void {
    if (opcode === OPCODE_PING) return this.#write(0x8a, Buffer.from(bytes.subarray(at, at + length)));
    if (opcode === OPCODE_CLOSE) return this.#ended(new Error("the server closed the WebSocket"));
    if (opcode !== OPCODE_TEXT) return this.#ended(new Error(`unexpected frame with opcode ${opcode}`));
    const said = this.#wire.said(bytes, at);
    if (said === "event") this.#events.onEvent(numberIn(bytes, at + this.#wire.eventNumberAt), length);
    else if (said === "answer") this.#events.onAnswer(numberIn(bytes, at + this.#wire.answerNumberAt));
    else if (said === "entered") this.#events.onOpen();
    else if (said === "hello") this.#send(this.#wire.enter(this.#rooms));
    else if (said === "ping") this.#send(this.#wire.pong);
    else this.#ended(new Error(`unexpected: ${bytes.toString("latin1", at, at + Math.min(length, 40))}`));
  }

  #send(text: string): void {
    this.#write(0x81, Buffer.from(text));
  }

  /** A payload of less than 65,536 bytes, masked as clients must: servers may skip a mask of zeros. */
  #write(head: number, payload: Buffer): void {
    const { length } = payload;
    const size = length < 126 ? [0x80 | length] : [0x80 | 126, length >> 8, length & 0xff];
    const start = 1 + size.length + MASK.length;
    const frame = Buffer.allocUnsafe(start + length);
    frame[0] = head;
    frame.set(size, 1);
    frame.set(MASK, 1 + size.length);
    for (let i = 0; i < length; i += 1) frame[start + i] = (payload[i] ?? 0) ^ (MASK[i & 3] ?? 0);
    this.#socket.write(frame);
  }
}

const MASK = Buffer.of(0x5a, 0xc3, 0x17, 0xe9);
