import type { IncomingMessage, ServerResponse } from "node:http";
import { MessageTooLarge } from "../index.ts";
import { Refused } from "./refused.ts";

/** The client went before it had sent everything: there is nobody to answer. */
export class Gone extends Error {}

const FIRST_BYTES = 4_096;

/**
 * The body of one request, bounded in bytes and in time. Time runs from the start, whether the body is
 * read or the request was refused before: a client that sends slowly or without end is cut.
 */
export class Body {
  readonly #request: IncomingMessage;
  readonly #maxBytes: number;
  readonly #timeoutMs: number;
  #onTimeout = () => {};

  constructor(request: IncomingMessage, response: ServerResponse, maxBytes: number, timeoutMs: number) {
    this.#request = request;
    this.#maxBytes = maxBytes;
    this.#timeoutMs = timeoutMs;
    const { socket } = request;
    const timer = setTimeout(() => {
      stop();
      if (request.complete) return;
      const cut = () => void socket.destroy();
      if (response.writableFinished) return cut();
      response.once("finish", cut);
      this.#onTimeout();
    }, timeoutMs);
    // Once a request is answered, Node does not tell it any more that its connection was lost.
    const stop = () => {
      clearTimeout(timer);
      socket.off("close", stop);
    };
    socket.once("close", stop);
    request.once("end", stop).once("close", stop);
  }

  /** @throws MessageTooLarge; Refused (408) when it takes too long; Gone */
  read(): Promise<Buffer> {
    const request = this.#request;
    if (request.readableEnded || request.readableFlowing !== null) {
      throw new Error(
        "something has read the request's body before publishing(); mount it before express.json() and its like",
      );
    }
    const announced = Number(request.headers["content-length"] ?? 0);
    if (announced > this.#maxBytes) throw this.#tooLarge();
    return new Promise((resolve, reject) => {
      // One buffer that grows: a million chunks of one byte must not become a million buffers.
      let buffer = Buffer.allocUnsafe(announced || Math.min(FIRST_BYTES, this.#maxBytes));
      let bytes = 0;
      this.#onTimeout = () => {
        reject(
          new Refused(
            408,
            "body_timeout",
            `the request's body must arrive within ${this.#timeoutMs} milliseconds`,
            { headers: { Connection: "close" } },
          ),
        );
      };
      request.on("data", (chunk: Buffer) => {
        const end = bytes + chunk.length;
        if (end > this.#maxBytes) {
          // What else comes is read and let go, so that the client gets to read the answer.
          buffer = Buffer.alloc(0);
          bytes = Number.POSITIVE_INFINITY;
          return reject(this.#tooLarge());
        }
        if (end > buffer.length) {
          const larger = Buffer.allocUnsafe(Math.min(this.#maxBytes, Math.max(end, buffer.length * 2)));
          buffer.copy(larger, 0, 0, bytes);
          buffer = larger;
        }
        chunk.copy(buffer, bytes);
        bytes = end;
      });
      request.once("end", () => resolve(buffer.subarray(0, bytes)));
      request.once("close", () => reject(new Gone()));
    });
  }

  #tooLarge(): MessageTooLarge {
    return new MessageTooLarge(
      `a request may have at most ${this.#maxBytes} bytes; send fewer events at once, and a link to large things`,
    );
  }
}
