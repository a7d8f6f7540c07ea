import { ConfigurationError, LayerUnavailable } from "../errors.ts";
import type { Backplane, BackplaneListener } from "../types.ts";
import { Lane } from "./lane.ts";
import { bytesOf, isBatch, type Notice, type Port, type Request } from "./protocol.ts";

/** Bytes that may wait for a primary that is slow; more texts are dropped and counted. */
const MAX_WAITING_BYTES = 16_777_216;
/** How much more may wait if somebody asks about it. */
const RESERVE = 1.25;
/** How long `close` waits for what it still has to say. */
const CLOSE_TIMEOUT_MS = 2_000;

export interface ProcessBackplaneOptions {
  /** Default 16 MiB. */
  readonly maxWaitingBytes?: number;
}

/**
 * The backplane of the processes of one machine, without a network: all talk to the primary's
 * {@link ProcessHub}, which passes a text on to those processes alone that have its topic open. One for
 * each process.
 *
 * At most once; per sender and topic in order. A process that does not keep up loses texts (the publisher
 * does not) and is told how many of which topic.
 */
export class ProcessBackplane implements Backplane {
  readonly #port: Port = process as unknown as Port;
  readonly #lane: Lane<Request>;
  readonly #topics = new Set<string>();
  readonly #asked = new Map<number, { resolve(): void; reject(error: Error): void }>();
  #lastNumber = 0;
  /** Since the last `flush`. */
  #dropped = 0;
  #listener: BackplaneListener | undefined;
  #closed: Promise<void> | undefined;
  readonly #hear = (message: unknown) => {
    if (isBatch(message)) for (const notice of message.entries) this.#handle(notice);
  };
  readonly #end = () => {
    this.#lane.end();
    for (const { reject } of this.#asked.values()) reject(gone());
    this.#asked.clear();
  };

  constructor({ maxWaitingBytes = MAX_WAITING_BYTES }: ProcessBackplaneOptions = {}) {
    this.#lane = new Lane(this.#port, maxWaitingBytes);
  }

  async open(listener: BackplaneListener): Promise<void> {
    if (this.#port.send === undefined) {
      throw new ConfigurationError([
        "a process backplane works in the processes of `sluice start --processes N` only; this process has no channel to a primary",
      ]);
    }
    this.#listener = listener;
    this.#port.on("message", this.#hear);
    this.#port.once("disconnect", this.#end);
  }

  async subscribe(topic: string): Promise<void> {
    this.#topics.add(topic);
    try {
      await this.#ask((number) => ["subscribe", number, topic]);
    } catch (error) {
      this.#topics.delete(topic);
      throw error;
    }
  }

  async unsubscribe(topic: string): Promise<void> {
    this.#topics.delete(topic);
    await this.#ask((number) => ["unsubscribe", number, topic]);
  }

  publish(topic: string, text: () => string, left?: (isLost: boolean) => void): void {
    const body = this.#listener === undefined ? undefined : text();
    const room = left === undefined ? 1 : RESERVE;
    if (body !== undefined && this.#lane.offer(["text", topic, body], bytesOf(topic, body), room)) {
      if (left !== undefined) void this.#lane.left().then(() => left(this.#lane.hasEnded));
      return;
    }
    this.#dropped += 1;
    this.#listener?.dropped(topic, 1);
    left?.(true);
  }

  async flush(): Promise<void> {
    const dropped = this.#dropped;
    this.#dropped = 0;
    await this.#lane.left();
    if (dropped > 0)
      throw new LayerUnavailable(`too much waits for the primary: ${dropped} texts were dropped`);
    if (this.#lane.hasEnded) throw gone();
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    if (this.#listener === undefined) return;
    this.#listener = undefined;
    this.#topics.clear();
    let timer: NodeJS.Timeout | undefined;
    const tooLong = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_TIMEOUT_MS);
    });
    // The answer to the last word says that all before it has arrived.
    const left = this.#request((number) => ["leave", number]).catch(() => {});
    await Promise.race([left, tooLong]);
    clearTimeout(timer);
    this.#port.off("message", this.#hear);
    this.#port.off("disconnect", this.#end);
    this.#end();
  }

  #ask(request: (number: number) => Request): Promise<void> {
    if (this.#listener === undefined) return Promise.reject(gone());
    return this.#request(request);
  }

  async #request(request: (number: number) => Request): Promise<void> {
    if (this.#lane.hasEnded) throw gone();
    this.#lastNumber += 1;
    const number = this.#lastNumber;
    await new Promise<void>((resolve, reject) => {
      this.#asked.set(number, { resolve, reject });
      this.#lane.post(request(number));
    });
  }

  #handle(notice: Notice): void {
    switch (notice[0]) {
      case "text":
        if (this.#topics.has(notice[1])) this.#listener?.hear(notice[1], notice[2]);
        return;
      case "done":
        this.#asked.get(notice[1])?.resolve();
        this.#asked.delete(notice[1]);
        return;
      case "unheard":
        return this.#listener?.unheard(notice[1]);
      case "missed": {
        const [, missed, topic] = notice;
        this.#listener?.lost(topic === undefined ? { missed } : { topic, missed });
      }
    }
  }
}

function gone(): LayerUnavailable {
  return new LayerUnavailable("the backplane between the processes is closed");
}
