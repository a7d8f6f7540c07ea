import { Comeback } from "./comeback.ts";
import { Ears } from "./ears.ts";
import { fieldsOf, textOf } from "./marks.ts";
import { hookInto, inside } from "./stock-socket.ts";
import type { StockSocket, TokenEvents } from "./types.ts";

const ANSWER_TIMEOUT_MS = 10_000;
const FIRST_RETRY_MS = 1_000;
const MAX_RETRY_MS = 30_000;

/** Made by {@link useToken}. */
class TokenKeeper {
  readonly #socket: StockSocket;
  readonly #getToken: () => string | Promise<string>;
  readonly #comeback: Comeback;
  readonly #ears = new Ears<TokenEvents>();
  readonly #ends: (() => void)[];
  /** Counts connections, so that a token that comes late opens none that is not asked for any more. */
  #round = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Lets a connection that waits for a token open without one. */
  #openAnyway: (() => void) | undefined;
  /** The round in which the server has said that the token ends, until it has another. */
  #expiringRound = -1;
  #nextAt = 0;

  constructor(socket: StockSocket, getToken: () => string | Promise<string>) {
    this.#socket = socket;
    this.#getToken = getToken;
    this.#comeback = new Comeback(socket);
    const own = inside(socket);
    const unhook = hookInto(
      socket,
      {
        connected: () => this.#comeback.connected(),
        disconnected: (reason) => {
          this.#halt();
          this.#comeback.disconnected(reason);
        },
        refused: (error) => this.#comeback.refused(error),
        left: () => {
          this.#halt();
          this.#comeback.cancel();
        },
      },
      "useToken",
    );
    const before = own.auth;
    const auth = (give: (auth: object) => void) => {
      this.#halt();
      if (typeof before === "function") before.call(own, (rest: object) => this.#open(rest, give));
      else this.#open(before ?? {}, give);
    };
    own.auth = auth;
    const expiring = () => this.#expiring();
    const closing = (payload: unknown) => this.#comeback.announced(fieldsOf(payload).code);
    own.on("sluice.expiring", expiring);
    own.on("sluice.close", closing);
    this.#ends = [
      () => {
        if (own.auth === auth) own.auth = before;
      },
      () => own.off("sluice.expiring", expiring),
      () => own.off("sluice.close", closing),
      unhook,
    ];
  }

  /**
   * - `refreshed`: the server has taken a new token; the connection goes on.
   * - `failed`: no token could be had, or the server refused it. It is tried again while the connection is open.
   *
   * @returns ends the listening
   */
  on<E extends keyof TokenEvents>(event: E, listener: (event: TokenEvents[E]) => void): () => void {
    return this.#ears.on(event, listener);
  }

  /** Sends a new token now, e.g. because rights have changed. Rejects as the server refuses, or when offline. */
  async refresh(): Promise<void> {
    await this.#send(await this.#getToken());
    this.#ears.tell("refreshed", undefined);
  }

  /** The socket is a stock one again; a connection that waits for a token opens without one. */
  stop(): void {
    if (keepers.get(this.#socket) === this) keepers.delete(this.#socket);
    const openAnyway = this.#openAnyway;
    this.#halt();
    this.#comeback.cancel();
    for (const end of this.#ends) end();
    this.#ears.clear();
    openAnyway?.();
  }

  /** A connection opens: it waits for a token, however often it must be asked for. */
  #open(rest: object, give: (auth: object) => void): void {
    const round = this.#round;
    this.#openAnyway = () => give(rest);
    const attempt = async (retryMs: number) => {
      let token: string;
      try {
        token = await this.#getToken();
      } catch (error) {
        if (round === this.#round) this.#later(error, retryMs, attempt);
        return;
      }
      if (round !== this.#round) return;
      this.#openAnyway = undefined;
      give({ ...rest, token });
    };
    void attempt(FIRST_RETRY_MS);
  }

  /** However often the server says so, there is one refresh at a time, and one a second. */
  #expiring(): void {
    if (this.#expiringRound === this.#round) return;
    this.#expiringRound = this.#round;
    const waitMs = Math.max(0, this.#nextAt - performance.now());
    this.#timer = setTimeout(() => void this.#refresh(FIRST_RETRY_MS), waitMs);
  }

  async #refresh(retryMs: number): Promise<void> {
    const round = this.#round;
    try {
      await this.refresh();
      this.#nextAt = performance.now() + FIRST_RETRY_MS;
      if (round === this.#round) this.#expiringRound = -1;
    } catch (error) {
      if (round === this.#round) this.#later(error, retryMs, (nextMs) => this.#refresh(nextMs));
    }
  }

  #later(error: unknown, retryMs: number, again: (nextMs: number) => Promise<void>): void {
    this.#ears.tell("failed", error);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void again(Math.min(retryMs * 2, MAX_RETRY_MS)), retryMs);
  }

  #halt(): void {
    this.#round += 1;
    this.#openAnyway = undefined;
    clearTimeout(this.#timer);
  }

  #send(token: string): Promise<void> {
    if (!this.#socket.connected) return Promise.reject(new Error("the token cannot be sent while offline"));
    return new Promise((resolve, reject) => {
      inside(this.#socket)
        .timeout(ANSWER_TIMEOUT_MS)
        .emit("sluice.auth", { token }, (error, answer) => {
          const { error: refusal } = fieldsOf(answer);
          if (error !== null) reject(error);
          else if (refusal === undefined) resolve();
          else reject(new Error(textOf(fieldsOf(refusal).message)));
        });
    });
  }
}

export type { TokenKeeper };

const keepers = new WeakMap<StockSocket, TokenKeeper>();

/**
 * Lets a stock socket show a token, and keep its connection when that expires: whenever the server says that the
 * token will end, and for each connection, the function is asked for one, which is sent as `auth.token` beside
 * what `auth` has already. Refused with 4510 (expired) it comes back with another. Call it before the socket
 * connects (`autoConnect: false`, or right after `io()`). Called again it returns the same.
 *
 * @throws TypeError if `socket` is no socket of `socket.io-client` 4
 * @example
 * const socket = io("/chat/lobby");
 * useToken(socket, async () => (await fetch("/token")).text());
 */
export function useToken(socket: StockSocket, getToken: () => string | Promise<string>): TokenKeeper {
  const known = keepers.get(socket);
  if (known !== undefined) return known;
  const keeper = new TokenKeeper(socket, getToken);
  keepers.set(socket, keeper);
  return keeper;
}
