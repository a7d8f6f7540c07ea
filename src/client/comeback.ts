import { inside } from "./stock-socket.ts";
import type { StockSocket } from "./types.ts";

/** Connected for so long, and the next trouble counts as a new one. */
const STEADY_MS = 10_000;

/** Those that will be told to connect. */
const waiting = new WeakSet<StockSocket>();

/**
 * Whether a socket that is not connected will be by itself: it (re)connects, or {@link recover} or
 * {@link useToken} brings it back. False after a code for good, and after `socket.disconnect()`.
 */
export function comesBack(socket: StockSocket): boolean {
  return socket.active || waiting.has(socket);
}

/**
 * Comes back after a code of 4500-4599 where a stock client stays away: when the server closes or refuses one
 * namespace, but not the connection. As often and as soon as the Manager's own settings of reconnection say.
 */
export class Comeback {
  readonly #socket: StockSocket;
  #code: unknown;
  #attempts = 0;
  #connectedAt: number | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(socket: StockSocket) {
    this.#socket = socket;
  }

  /** The server has said why it will close. */
  announced(code: unknown): void {
    this.#code = code;
  }

  connected(): void {
    this.cancel();
    this.#connectedAt = Date.now();
  }

  disconnected(reason: unknown): void {
    if (this.#connectedAt !== undefined && Date.now() - this.#connectedAt > STEADY_MS) this.#attempts = 0;
    this.#connectedAt = undefined;
    if (reason === "io server disconnect" && isPassing(this.#code)) this.#later();
  }

  refused(error: unknown): void {
    const { data } = (error ?? {}) as { data?: { code?: unknown } };
    if (!this.#socket.active && isPassing(data?.code)) this.#later();
  }

  cancel(): void {
    clearTimeout(this.#timer);
    waiting.delete(this.#socket);
    this.#code = undefined;
  }

  #later(): void {
    const { io } = inside(this.#socket);
    this.cancel();
    if (io.reconnection() === false || this.#attempts >= (io.reconnectionAttempts() ?? Infinity)) return;
    const delayMs = Math.min(
      (io.reconnectionDelay() ?? 1_000) * 2 ** this.#attempts,
      io.reconnectionDelayMax() ?? 5_000,
    );
    const spread = (io.randomizationFactor() ?? 0.5) * (2 * Math.random() - 1);
    this.#attempts += 1;
    waiting.add(this.#socket);
    this.#timer = setTimeout(
      () => {
        waiting.delete(this.#socket);
        if (!this.#socket.active) this.#socket.connect();
      },
      delayMs * (1 + spread),
    );
  }
}

function isPassing(code: unknown): boolean {
  return typeof code === "number" && code >= 4500 && code < 4600;
}
