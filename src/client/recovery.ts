import type { Acknowledge } from "./answers.ts";
import { Comeback } from "./comeback.ts";
import { Ears } from "./ears.ts";
import { HistoryError } from "./history-error.ts";
import { KeptPositions } from "./kept-positions.ts";
import { fieldsOf, isCount, isText, markOf, positionOf, reasonOf, receiptOf, textOf } from "./marks.ts";
import { Positions } from "./positions.ts";
import { hookInto, inside } from "./stock-socket.ts";
import type {
  HistoryMessage,
  HistoryOptions,
  HistoryPage,
  Position,
  RecoverOptions,
  RecoveryEvents,
  StockSocket,
} from "./types.ts";

const HISTORY_TIMEOUT_MS = 10_000;

/** Made by {@link recover}. */
class Recovery {
  readonly #socket: StockSocket;
  readonly #positions: Positions;
  readonly #kept: KeptPositions | undefined;
  readonly #comeback: Comeback;
  readonly #ears = new Ears<RecoveryEvents>();
  readonly #unhook: () => void;

  constructor(socket: StockSocket, { storage }: RecoverOptions) {
    this.#socket = socket;
    this.#comeback = new Comeback(socket);
    this.#unhook = hookInto(
      socket,
      {
        incoming: (args) => this.#incoming(args),
        greeting: () => ({ v: 1, positions: this.#positions.handOver() }),
        connected: () => this.#comeback.connected(),
        disconnected: (reason) => this.#comeback.disconnected(reason),
        refused: (error) => this.#comeback.refused(error),
        left: () => this.#comeback.cancel(),
      },
      "recover",
    );
    const { nsp, io } = inside(socket);
    const key = `sluice.positions ${io.uri ?? ""} ${nsp} ${storage?.user}`;
    this.#kept = storage && new KeptPositions(storage.area, key, () => this.#positions.claims);
    this.#positions = new Positions(this.#kept?.read());
  }

  /** Where this client is, in each group that keeps history; the last used last. */
  get positions(): readonly Position[] {
    return this.#positions.all;
  }

  /** In one group. While a listener hears an event, that event's. */
  position(group: string): Position | undefined {
    return this.#positions.of(group);
  }

  /**
   * - `joined`: the consumer has joined a group with history, and what follows comes after this position.
   *   Also when the group's log has begun anew.
   * - `gap`: what was missed cannot be given. Said before whatever comes after the gap; what comes then may
   *   have been seen before.
   * - `left`: the consumer has left the group.
   *
   * @returns ends the listening
   */
  on<E extends keyof RecoveryEvents>(event: E, listener: (event: RecoveryEvents[E]) => void): () => void {
    return this.#ears.on(event, listener);
  }

  /**
   * What was sent to a group before, as far as its policy lets clients read it and the consumer was in.
   *
   * @throws HistoryError (rejects)
   */
  history(
    group: string,
    { limit, before, timeoutMs = HISTORY_TIMEOUT_MS }: HistoryOptions = {},
  ): Promise<HistoryPage> {
    // Socket.IO would keep the question until the next connection, whenever that is.
    if (!this.#socket.connected) {
      return Promise.reject(new HistoryError("not_connected", "the history cannot be read while offline"));
    }
    return new Promise((resolve, reject) => {
      const asked = { group, limit, before };
      inside(this.#socket)
        .timeout(timeoutMs)
        .emit("sluice.history", asked, (error, answer) => {
          const page = error === null ? pageOf(answer) : this.#withoutAnswer(timeoutMs);
          if (page instanceof HistoryError) reject(page);
          else resolve(page);
        });
    });
  }

  /** Forgets the position in a group, or in all (somebody else logs in): it will join as a newcomer. */
  forget(group?: string): void {
    this.#positions.forget(group);
    this.#kept?.writeSoon();
  }

  /** The socket is a stock one again; positions that are kept stay. */
  stop(): void {
    if (recoveries.get(this.#socket) === this) recoveries.delete(this.#socket);
    this.#comeback.cancel();
    this.#unhook();
    this.#kept?.stop();
    this.#ears.clear();
  }

  /** What the application's listeners get of an event: what a stock client's would get. */
  #incoming(args: readonly unknown[]): readonly unknown[] | undefined {
    const [event, payload, second] = args;
    const position = positionOf(payload);
    switch (event) {
      case "sluice.joined":
        return this.#joined(position, payload);
      case "sluice.gap":
        return this.#gap(position, payload);
      case "sluice.position":
        if (position !== undefined) this.#positions.advance(position);
        this.#kept?.writeSoon();
        return undefined;
      case "sluice.left":
        return this.#left(fieldsOf(payload).group);
      case "sluice.close":
        this.#comeback.announced(fieldsOf(payload).code);
        return args;
    }
    const mark = markOf(second);
    if (mark === undefined) return args;
    const heard = this.#positions.hear(mark, args[3] as Acknowledge | undefined);
    this.#kept?.writeSoon();
    if (heard === false) return undefined;
    const { acknowledge } = heard;
    const passed = mark.isBare ? [event] : [event, payload];
    return acknowledge === undefined ? passed : [...passed, acknowledge];
  }

  #joined(position: Position | undefined, payload: unknown): undefined {
    const receipt = receiptOf(payload);
    if (position === undefined || receipt === undefined) return;
    const recovered = fieldsOf(payload).recovered === true;
    const isSurplus = this.#positions.join(position, receipt, recovered);
    this.#kept?.writeSoon();
    if (isSurplus) this.#ears.tell("gap", { ...position, reason: "too_many" });
    this.#ears.tell("joined", { ...position, recovered });
  }

  #gap(position: Position | undefined, payload: unknown): undefined {
    if (position === undefined) return;
    this.#positions.jump(position);
    this.#kept?.writeSoon();
    this.#ears.tell("gap", { ...position, reason: reasonOf(payload) });
  }

  #left(group: unknown): undefined {
    if (typeof group !== "string") return;
    this.forget(group);
    this.#ears.tell("left", { group });
  }

  #withoutAnswer(timeoutMs: number): HistoryError {
    return this.#socket.connected
      ? new HistoryError("timeout", `the server did not answer within ${timeoutMs} ms`)
      : new HistoryError("connection_lost", "the connection was lost before the server answered");
  }
}

export type { Recovery };

const recoveries = new WeakMap<StockSocket, Recovery>();

/**
 * Lets a stock socket recover what it missed: it carries the positions of groups with history from one
 * connection to the next, each event reaches its listeners once and in order, and what cannot be given is
 * told as a `gap`. Call it before the socket connects (`autoConnect: false`, or right after `io()`); on one
 * that is connected it counts from the next connection on. Called again it returns the same.
 *
 * @throws TypeError if `socket` is no socket of `socket.io-client` 4
 * @example
 * const socket = io("/chat/lobby");
 * const recovery = recover(socket);
 * recovery.on("gap", ({ group, reason }) => show("Some messages could not be recovered."));
 */
export function recover(socket: StockSocket, options: RecoverOptions = {}): Recovery {
  const known = recoveries.get(socket);
  if (known !== undefined) return known;
  const recovery = new Recovery(socket, options);
  recoveries.set(socket, recovery);
  return recovery;
}

function pageOf(answer: unknown): HistoryPage | HistoryError {
  const { epoch, messages, more, error } = fieldsOf(answer);
  if (error !== undefined) {
    const { code, message } = fieldsOf(error);
    return new HistoryError(textOf(code), textOf(message));
  }
  if (!isText(epoch) || !Array.isArray(messages) || !messages.every(isMessage)) {
    return new HistoryError("invalid_answer", "the server answered with something that is no history");
  }
  return { epoch, messages, more: more === true };
}

function isMessage(value: unknown): value is HistoryMessage {
  const { event, offset, id, at } = fieldsOf(value);
  return typeof event === "string" && isCount(offset) && isText(id) && typeof at === "number";
}
