import { LayerUnavailable } from "../errors.ts";
import { Numbering } from "./numbering.ts";

/** Texts for one topic that travel together. */
export interface Batch {
  readonly topic: string;
  readonly stream: number;
  /** The number of the first text. */
  readonly first: number;
  readonly texts: string[];
}

export interface OutgoingLimits {
  readonly maxWaitingMessages: number;
  readonly maxWaitingBytes: number;
  readonly maxWaitingMs: number;
}

export interface OutgoingHost {
  /** Texts that will never leave. */
  dropped(topic: string, count: number): void;
  /** A batch has left, and this many nodes get it. */
  delivered(topic: string, receivers: number): void;
  /**
   * Whether a failure means that this batch is refused for good. If not, the connection is of no use any
   * more, and `pause` follows: the batch may have left or not, and is sent again on the next one; who heard
   * it knows it by its number.
   */
  isRefusal(error: unknown): boolean;
}

/** Hands a batch to Redis; resolves with the number of nodes that get it. */
export type Carrier = (batch: Batch) => Promise<number>;

interface Waiting extends Batch {
  bytes: number;
  /** Who asked what becomes of it. */
  readonly asked: ((isLost: boolean) => void)[];
  readonly serial: number;
  readonly sinceMs: number;
}

/** One that waits for all up to a batch to have left. */
interface Flush {
  readonly upTo: number;
  resolve(): void;
  reject(error: Error): void;
}

/** A batch larger than this is not added to. */
const MAX_BATCH_BYTES = 262_144;
/** How much more may wait if somebody asks about it: a flood of chat must not push out a ban. */
const RESERVE = 1.25;
/** Batches handed to Redis that it has not answered yet. */
const MAX_UNDER_WAY = 1_000;

/**
 * What this node publishes, on its way out. The texts for one topic within one turn of the event loop make
 * one batch. While there is no carrier, or it is slow, batches wait in order, bounded by number, bytes and
 * age; what is beyond that is dropped and told.
 */
export class Outgoing {
  readonly #limits: OutgoingLimits;
  readonly #host: OutgoingHost;
  readonly #numbering = new Numbering();
  /** Batches that can still be added to, by topic. */
  readonly #turn = new Map<string, Waiting>();
  #isTurnScheduled = false;
  #waiting: Waiting[] = [];
  readonly #underWay = new Set<Waiting>();
  #carrier: Carrier | undefined;
  #messages = 0;
  #bytes = 0;
  #lastSerial = 0;
  #dropped = 0;
  /** Of those, what a flush has told. */
  #droppedTold = 0;
  #flushes: Flush[] = [];
  #expiry: NodeJS.Timeout | undefined;

  constructor(limits: OutgoingLimits, host: OutgoingHost) {
    this.#limits = limits;
    this.#host = host;
  }

  /** Texts that have not left yet. */
  get size(): number {
    return this.#messages;
  }

  /** Of those texts. */
  get bytes(): number {
    return this.#bytes;
  }

  /** @param left - hears, once, that the text has left, or that it is lost */
  add(topic: string, text: string, left?: (isLost: boolean) => void): void {
    const bytes = Buffer.byteLength(text);
    const { maxWaitingMessages, maxWaitingBytes } = this.#limits;
    const room = left === undefined ? 1 : RESERVE;
    if (this.#messages >= maxWaitingMessages * room || this.#bytes + bytes > maxWaitingBytes * room) {
      this.#refuse(topic);
      return left?.(true);
    }
    this.#messages += 1;
    this.#bytes += bytes;
    const open = this.#turn.get(topic);
    if (open !== undefined && open.bytes < MAX_BATCH_BYTES) {
      this.#numbering.take(topic, 1);
      open.texts.push(text);
      open.bytes += bytes;
      if (left !== undefined) open.asked.push(left);
    } else {
      this.#seal(topic);
      this.#lastSerial += 1;
      const serial = this.#lastSerial;
      const numbers = this.#numbering.take(topic, 1);
      const asked = left === undefined ? [] : [left];
      const sinceMs = performance.now();
      this.#turn.set(topic, { topic, ...numbers, texts: [text], bytes, asked, serial, sinceMs });
    }
    this.#scheduleTurn();
  }

  /** There is a way out again; what waits goes first. */
  begin(carrier: Carrier): void {
    this.#carrier = carrier;
    this.#pump();
  }

  /** The way out is gone. What was under way goes again with the next. */
  pause(): void {
    this.#carrier = undefined;
    this.#waiting = [...this.#underWay, ...this.#waiting];
    this.#underWay.clear();
    this.#watchAge();
  }

  /**
   * Resolves when all that was added before has left; rejects with LayerUnavailable if something was dropped
   * since the last flush.
   */
  flush(): Promise<void> {
    this.#endTurn();
    return new Promise((resolve, reject) => {
      this.#flushes.push({ upTo: this.#lastSerial, resolve, reject });
      this.#settle();
    });
  }

  /** Drops all that is left. */
  close(): void {
    this.#endTurn();
    this.pause();
    for (const batch of this.#waiting.splice(0)) this.#drop(batch);
    clearTimeout(this.#expiry);
    this.#settle();
  }

  #scheduleTurn(): void {
    if (this.#isTurnScheduled) return;
    this.#isTurnScheduled = true;
    setImmediate(() => this.#endTurn());
  }

  #endTurn(): void {
    this.#isTurnScheduled = false;
    if (this.#turn.size === 0) return;
    for (const topic of this.#turn.keys()) this.#seal(topic);
    this.#pump();
  }

  #seal(topic: string): void {
    const batch = this.#turn.get(topic);
    if (batch === undefined) return;
    this.#turn.delete(topic);
    this.#waiting.push(batch);
  }

  /** There is no room. The number is used up all the same, so that listeners notice. */
  #refuse(topic: string): void {
    this.#seal(topic);
    this.#numbering.take(topic, 1);
    this.#tellDropped(topic, 1);
  }

  #pump(): void {
    let sent = 0;
    while (this.#carrier !== undefined && this.#underWay.size < MAX_UNDER_WAY) {
      const batch = this.#waiting[sent];
      if (batch === undefined) break;
      sent += 1;
      if (this.#isTooOld(batch)) this.#drop(batch);
      else this.#send(batch, this.#carrier);
    }
    this.#waiting.splice(0, sent);
    this.#watchAge();
    this.#settle();
  }

  #send(batch: Waiting, carrier: Carrier): void {
    this.#underWay.add(batch);
    carrier(batch).then(
      (receivers) => {
        if (!this.#finish(batch)) return;
        for (const left of batch.asked) left(false);
        this.#host.delivered(batch.topic, receivers);
        this.#pump();
      },
      (error) => {
        if (carrier !== this.#carrier || !this.#host.isRefusal(error) || !this.#finish(batch)) return;
        this.#lose(batch);
        this.#pump();
      },
    );
  }

  /** False if it waits for another carrier already. */
  #finish(batch: Waiting): boolean {
    if (!this.#underWay.delete(batch)) return false;
    this.#messages -= batch.texts.length;
    this.#bytes -= batch.bytes;
    return true;
  }

  #drop(batch: Waiting): void {
    this.#messages -= batch.texts.length;
    this.#bytes -= batch.bytes;
    this.#lose(batch);
  }

  #lose(batch: Waiting): void {
    for (const left of batch.asked) left(true);
    this.#tellDropped(batch.topic, batch.texts.length);
  }

  #tellDropped(topic: string, count: number): void {
    this.#dropped += count;
    this.#host.dropped(topic, count);
  }

  #isTooOld({ sinceMs }: Waiting): boolean {
    return performance.now() - sinceMs >= this.#limits.maxWaitingMs;
  }

  #watchAge(): void {
    clearTimeout(this.#expiry);
    const oldest = this.#waiting[0];
    if (oldest === undefined) return;
    const leftMs = oldest.sinceMs + this.#limits.maxWaitingMs - performance.now();
    // A millisecond more, for timers may fire a little early.
    this.#expiry = setTimeout(() => this.#expire(), Math.max(leftMs, 0) + 1);
  }

  #expire(): void {
    let count = 0;
    for (const batch of this.#waiting) {
      if (!this.#isTooOld(batch)) break;
      count += 1;
      this.#drop(batch);
    }
    this.#waiting.splice(0, count);
    this.#watchAge();
    this.#settle();
  }

  #settle(): void {
    if (this.#flushes.length === 0) return;
    const oldest = this.#oldestSerial();
    this.#flushes = this.#flushes.filter(({ upTo, resolve, reject }) => {
      if (oldest <= upTo) return true;
      if (this.#dropped === this.#droppedTold) resolve();
      else reject(new LayerUnavailable("other nodes cannot be reached: what was sent has been dropped"));
      this.#droppedTold = this.#dropped;
      return false;
    });
  }

  #oldestSerial(): number {
    for (const { serial } of this.#underWay) return serial;
    const first = this.#waiting[0] ?? [...this.#turn.values()][0];
    return first?.serial ?? Number.POSITIVE_INFINITY;
  }
}
