import { Lane } from "./lane.ts";
import { bytesOf, isBatch, type Notice, type Port, type Request } from "./protocol.ts";

/** Bytes that may wait for one process; more texts are dropped, counted, and told to it later. */
const MAX_WAITING_BYTES = 16_777_216;
/** Topics whose losses are counted apart, for one process; further ones are counted together. */
const MAX_TOPICS_MISSED = 1_000;

/**
 * Where the backplanes of the processes of one machine meet, in the primary: the table of topics, and a
 * lane to each process that hears some. It knows nothing of what the texts say.
 */
export class ProcessHub {
  readonly #topics = new Map<string, Set<Node>>();
  readonly #maxWaitingBytes: number;

  constructor({ maxWaitingBytes = MAX_WAITING_BYTES }: { readonly maxWaitingBytes?: number } = {}) {
    this.#maxWaitingBytes = maxWaitingBytes;
  }

  /** Serves one more process, until its channel closes. */
  add(port: Port): void {
    const node = new Node(port, this.#maxWaitingBytes);
    const hear = (message: unknown) => {
      if (isBatch(message)) this.#hear(node, message.entries);
    };
    port.on("message", hear);
    port.once("disconnect", () => {
      port.off("message", hear);
      this.#remove(node);
      node.end();
    });
  }

  /** How many topics somebody listens to. */
  get size(): number {
    return this.#topics.size;
  }

  #hear(node: Node, requests: readonly Request[]): void {
    const unheard = new Set<string>();
    for (const request of requests) {
      switch (request[0]) {
        case "text": {
          const isHeard = this.#pass(node, request);
          if (!isHeard) unheard.add(request[1]);
          break;
        }
        case "subscribe":
          this.#topics.set(request[2], (this.#topics.get(request[2]) ?? new Set()).add(node));
          node.topics.add(request[2]);
          node.tell(["done", request[1]]);
          break;
        case "unsubscribe":
          this.#close(node, request[2]);
          node.tell(["done", request[1]]);
          break;
        case "leave":
          this.#remove(node);
          node.tell(["done", request[1]]);
      }
    }
    for (const topic of unheard) node.tell(["unheard", topic]);
  }

  /** False when no other process has the topic open. */
  #pass(from: Node, text: Extract<Request, readonly ["text", ...unknown[]]>): boolean {
    let isHeard = false;
    for (const node of this.#topics.get(text[1]) ?? []) {
      if (node === from) continue;
      isHeard = true;
      node.pass(text);
    }
    return isHeard;
  }

  #close(node: Node, topic: string): void {
    node.topics.delete(topic);
    const nodes = this.#topics.get(topic);
    if (nodes?.delete(node) && nodes.size === 0) this.#topics.delete(topic);
  }

  #remove(node: Node): void {
    for (const topic of [...node.topics]) this.#close(node, topic);
  }
}

/** One process: its topics, what waits for it, and what it has missed. */
class Node {
  readonly topics = new Set<string>();
  readonly #lane: Lane<Notice>;
  #missed = new Map<string | undefined, number>();

  constructor(port: Port, maxWaitingBytes: number) {
    this.#lane = new Lane<Notice>(port, maxWaitingBytes, () => this.#tellMissed());
  }

  tell(notice: Notice): void {
    this.#lane.post(notice);
  }

  pass(text: Extract<Notice, readonly ["text", ...unknown[]]>): void {
    // Once something is missing, nothing goes on before that has been told.
    if (this.#missed.size === 0 && this.#lane.offer(text, bytesOf(text[1], text[2]))) return;
    if (this.#lane.hasEnded) return;
    const isKnown = this.#missed.has(text[1]) || this.#missed.size < MAX_TOPICS_MISSED;
    const topic = isKnown ? text[1] : undefined;
    this.#missed.set(topic, (this.#missed.get(topic) ?? 0) + 1);
  }

  end(): void {
    this.#lane.end();
  }

  #tellMissed(): void {
    const missed = this.#missed;
    this.#missed = new Map();
    for (const [topic, count] of missed) {
      this.tell(topic === undefined ? ["missed", count] : ["missed", count, topic]);
    }
  }
}
