/** Questions between nodes, each with one answer: for what only the node of a connection can do. */
import { ConnectionClosed, LayerUnavailable, RateLimited, SluiceError } from "../errors.ts";
import { decodePayload, encodePayload } from "../payload.ts";
import type { EncodedPayload } from "../types.ts";
import type { Header } from "./envelope.ts";

type Handler = (body: unknown) => unknown;
type Post = (node: string, header: Header, payload: EncodedPayload) => void;

interface Pending {
  readonly node: string;
  resolve(answer: unknown): void;
  reject(error: Error): void;
  readonly timer: NodeJS.Timeout;
}

const MAX_PENDING = 10_000;

export class NodeRequests {
  readonly #post: Post;
  readonly #maxBytes: number;
  readonly #onError: (error: unknown) => void;
  readonly #handlers = new Map<string, Handler>();
  readonly #pending = new Map<number, Pending>();
  #lastId = 0;

  /** @param onError - hears what handlers throw that the other node cannot know of */
  constructor(post: Post, maxBytes: number, onError: (error: unknown) => void) {
    this.#post = post;
    this.#maxBytes = maxBytes;
    this.#onError = onError;
  }

  /** What this node does when another asks for `verb`; the answer must be JSON. */
  handle(verb: string, handler: Handler): void {
    this.#handlers.set(verb, handler);
  }

  /**
   * Asks another node. Rejects with LayerUnavailable when it does not answer in time (it may be gone;
   * whether it did what was asked is then unknown) or when its handler failed.
   */
  async ask(node: string, verb: string, body: unknown, timeoutMs: number): Promise<unknown> {
    const payload = encodePayload(body, this.#maxBytes);
    if (this.#pending.size >= MAX_PENDING) {
      throw new LayerUnavailable(`${MAX_PENDING} questions to other nodes wait for an answer already`);
    }
    this.#lastId += 1;
    const id = this.#lastId;
    const answer = new Promise<unknown>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#pending.delete(id);
        reject(new LayerUnavailable(`node "${node}" did not answer "${verb}" within ${timeoutMs} ms`));
      }, timeoutMs);
      this.#pending.set(id, { node, resolve, reject, timer });
    });
    this.#post(node, { kind: "request", id, verb }, payload);
    return answer;
  }

  async hearRequest(from: string, id: number, verb: string, payload: EncodedPayload): Promise<void> {
    let reply: EncodedPayload;
    let failed = false;
    try {
      const handler = this.#handlers.get(verb);
      if (handler === undefined) throw new LayerUnavailable(`node "${from}" asked for the unknown "${verb}"`);
      reply = encodePayload(await handler(decodePayload(payload)), this.#maxBytes);
    } catch (error) {
      failed = true;
      const isKnown = error instanceof SluiceError;
      if (!isKnown) this.#onError(error);
      // Whatever the limit is, an answer there must be.
      const said = isKnown ? { code: error.code, message: error.message.slice(0, 1_000) } : {};
      reply = encodePayload(said, Number.POSITIVE_INFINITY);
    }
    this.#post(from, { kind: "reply", id, failed }, reply);
  }

  hearReply(from: string, id: number, failed: boolean, payload: EncodedPayload): void {
    const pending = this.#pending.get(id);
    if (pending === undefined) return;
    this.#pending.delete(id);
    clearTimeout(pending.timer);
    const answer = decodePayload(payload);
    if (failed) pending.reject(rebuilt(from, answer as { code?: string; message?: string }));
    else pending.resolve(answer);
  }

  /** Nobody hears that node: what it was asked need not wait longer. */
  unheard(node: string): void {
    this.#endAll(`nobody hears for the node "${node}": it is gone, or on its way back`, node);
  }

  /** Ends all that waits. */
  close(): void {
    this.#endAll("the channel layer was closed while another node was asked");
  }

  #endAll(message: string, node?: string): void {
    for (const [id, pending] of this.#pending) {
      if (node !== undefined && pending.node !== node) continue;
      this.#pending.delete(id);
      clearTimeout(pending.timer);
      pending.reject(new LayerUnavailable(message));
    }
  }
}

/** The errors that are worth telling apart keep their kind; what else went wrong is the other node's affair. */
function rebuilt(node: string, { code, message = "" }: { code?: string; message?: string }): Error {
  switch (code) {
    case "connection_closed":
      return new ConnectionClosed(message);
    case "rate_limited":
      return new RateLimited(message);
    default:
      return new LayerUnavailable(`node "${node}" could not do what it was asked for`);
  }
}
