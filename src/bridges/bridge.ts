/** The machine between a source and `to`: what is in hand, when it is tried again, and when that ends. */
import type { StandardSchemaV1 } from "@standard-schema/spec";
import {
  CloseCode,
  ConfigurationError,
  type Given,
  isForClient,
  isRetryable,
  resolveOptions,
  Signal,
  type Tracer,
  Unencodable,
} from "../index.ts";
import { BridgeTimeout, PoisonMessage, RejectMessage } from "./errors.ts";
import { type BridgedMessage, bodyOf, type Decode } from "./message.ts";
import type { Source, SourceLink, SourceMessage } from "./types.ts";

/** What counts where an option of a bridge is left out. */
export const bridgeDefaults = {
  /** Messages in hand at once; 1 keeps their order, through retries, too. */
  prefetch: 10,
  /** How often a message is tried before it is rejected. What fails because something is away does not count. */
  maxAttempts: 5,
  /** The pause after the first attempt; it doubles with each, */
  retryMs: 1_000,
  /** up to this. */
  maxRetryMs: 30_000,
  /** How long one attempt may take. */
  timeoutMs: 60_000,
  /** The pause before the first new connection; it doubles with each failure, */
  reconnectMs: 500,
  /** up to this. */
  maxReconnectMs: 30_000,
  /** A larger message is poison. */
  maxMessageBytes: 1_048_576,
};

/** Numbers of a bridge, with nothing left out. */
export type BridgeSettings = typeof bridgeDefaults;

/** What every bridge takes, whatever its carrier: settings, and what to do with a message. */
export interface BridgeOptions<Body> extends Given<BridgeSettings> {
  readonly source: Source;
  /** Does what is to be done with a message. It is accepted after this has resolved, and not before. */
  readonly to: (message: BridgedMessage<Body>) => unknown;
  /** What a body must be; `to` gets what it makes of it. */
  readonly schema?: StandardSchemaV1<unknown, Body>;
  /** Instead of JSON. */
  readonly decode?: Decode<unknown>;
  /** What becomes of a message that can never be handled: the carrier's dead letters, or nothing at all. */
  readonly poison?: "reject" | "drop";
  /**
   * The application's (`app.tracer`): what is done with a message is part of the trace that its header `traceparent`
   * names, unless an instrumentation of the carrier's package has begun a span for it.
   */
  readonly tracer?: Tracer | undefined;
  /** Whether a failure is worth another attempt; by default all but {@link isHopeless}. */
  readonly retryOn?: (error: unknown) => boolean;
}

/** What a bridge tells. Bodies are not in it. */
export interface BridgeFacts {
  readonly id: string;
  readonly source: string;
}

/** Facts of one bridge; bodies of messages are in none of them. */
export interface BridgeSignals {
  /** A message was handled and accepted. */
  readonly done: Signal<BridgeFacts & { readonly attempt: number; readonly tookMs: number }>;
  /** An attempt failed; another follows. */
  readonly retrying: Signal<
    BridgeFacts & { readonly attempt: number; readonly afterMs: number; readonly error: unknown }
  >;
  /** A message was given up: rejected, or dropped if it is poison and the policy says so. */
  readonly rejected: Signal<
    BridgeFacts & { readonly attempt: number; readonly isDropped: boolean; readonly error: unknown }
  >;
  /** The source cannot be reached; told for each failed attempt. */
  readonly down: Signal<{ readonly source: string; readonly error: Error; readonly retryMs: number }>;
  readonly up: Signal<{ readonly source: string }>;
}

/** Since the beginning, but for `inHand`. */
export interface BridgeCounts {
  readonly inHand: number;
  readonly done: number;
  readonly retried: number;
  readonly rejected: number;
}

/**
 * Takes messages of a source and hands each to `to`: at least once, with retries, dead letters and a bound of
 * what is in hand. {@link bridge} makes it.
 */
export interface Bridge {
  readonly signals: BridgeSignals;
  readonly isConnected: boolean;
  readonly counts: BridgeCounts;
  /**
   * Connects, and again whenever the connection is lost, until `stop`. Resolves after the first attempt,
   * whether it succeeded or not: `signals.down` tells, `isConnected` knows.
   *
   * @throws ConfigurationError when the source says that it can never work
   */
  start(): Promise<void>;
  /**
   * Takes no more messages, waits for attempts under way (not for pauses between them), at most `withinMs`
   * (default 10,000), aborts what is left, and ends the connection. What was not accepted goes back to the queue.
   */
  stop(options?: { readonly withinMs?: number }): Promise<void>;
}

/**
 * Whether an error will be the same next time: it is poison, rejected, or one of the family that says "do not come
 * back unchanged" (a wrong name, a message too large).
 */
export function isHopeless(error: unknown): boolean {
  if (error instanceof PoisonMessage || error instanceof RejectMessage || error instanceof Unencodable)
    return true;
  return isForClient(error) && !isRetryable(error.closeCode);
}

/**
 * Takes messages from a queue that somebody else runs and gives each to `to`: at least once, accepted only after
 * `to` has succeeded.
 *
 * @example
 * const orders = bridge({
 *   source: new RabbitmqSource({ url: "amqp://localhost", queue: "orders" }),
 *   to: toGroup(app.layer, "orders", "order.changed"),
 * });
 * await orders.start();
 *
 * @throws ConfigurationError that lists every wrong option
 */
export function bridge<Body = unknown>(options: BridgeOptions<Body>): Bridge {
  return new RunningBridge(options);
}

/** As https://www.w3.org/TR/trace-context/ calls them, and instrumentations of publishers do in headers. */
const TRACE = ["traceparent", "tracestate"] as const;

/** One connection of a source, and the end of it. */
interface Span {
  readonly lost: AbortController;
  /** Of the messages that came over it. (Not by AbortSignal.any: on Node 20 a long-lived signal keeps all of these.) */
  readonly cuts: Set<AbortController>;
  link: SourceLink | undefined;
}

class RunningBridge<Body> implements Bridge {
  readonly signals: BridgeSignals = {
    done: new Signal("bridge.done"),
    retrying: new Signal("bridge.retrying"),
    rejected: new Signal("bridge.rejected"),
    down: new Signal("bridge.down"),
    up: new Signal("bridge.up"),
  };
  readonly #options: BridgeOptions<Body>;
  readonly #settings: BridgeSettings;
  readonly #counted = { done: 0, retried: 0, rejected: 0 };
  /** What each message in hand does. */
  readonly #inHand = new Set<Promise<void>>();
  readonly #stopping = new AbortController();
  /** Wakes up who pauses between attempts. */
  readonly #pauses = new Set<() => void>();
  #span: Span | undefined;
  #running: Promise<void> | undefined;
  #started: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;

  constructor(options: BridgeOptions<Body>) {
    const { source, to, schema, decode, poison, tracer, retryOn, ...given } = options;
    this.#options = options;
    this.#settings = resolveOptions(bridgeDefaults, given, "bridge");
    const faults: string[] = [];
    if (typeof source?.connect !== "function") faults.push("bridge.source must be a source of messages");
    if (typeof to !== "function") faults.push("bridge.to must be a function of a message");
    for (const [name, value] of Object.entries({ decode, retryOn })) {
      if (value !== undefined && typeof value !== "function")
        faults.push(`bridge.${name} must be a function`);
    }
    if (schema !== undefined && schema["~standard"] === undefined) {
      faults.push("bridge.schema must be a Standard Schema (zod, valibot, arktype, ...)");
    }
    if (tracer !== undefined && typeof tracer.handles !== "function") {
      faults.push("bridge.tracer must be an application's tracer (app.tracer)");
    }
    if (poison !== undefined && poison !== "reject" && poison !== "drop") {
      faults.push('bridge.poison must be "reject" or "drop"');
    }
    if (faults.length > 0) throw new ConfigurationError(faults);
  }

  get isConnected(): boolean {
    return this.#span?.link !== undefined && !this.#span.lost.signal.aborted;
  }

  get counts(): BridgeCounts {
    return { inHand: this.#inHand.size, ...this.#counted };
  }

  start(): Promise<void> {
    this.#started ??= new Promise((resolve, reject) => {
      const { tracer } = this.#options;
      const run = () => this.#run(resolve).catch(reject);
      // Messages that come later belong to nothing that starts it.
      this.#running = tracer === undefined ? run() : tracer.outside(run);
    });
    return this.#started;
  }

  stop({ withinMs = 10_000 } = {}): Promise<void> {
    this.#stopped ??= this.#stop(withinMs);
    return this.#stopped;
  }

  async #stop(withinMs: number): Promise<void> {
    this.#stopping.abort();
    for (const wake of this.#pauses) wake();
    const span = this.#span;
    const timer = setTimeout(() => cutAll(span, new Error("the bridge is stopping")), withinMs);
    // Whatever is wrong with the connection, its end mends it.
    await span?.link?.pause().catch(() => {});
    while (this.#inHand.size > 0) await Promise.all(this.#inHand);
    clearTimeout(timer);
    await span?.link?.close().catch(() => {});
    span?.lost.abort();
    await this.#running;
  }

  /** From connection to connection. */
  async #run(attempted: () => void): Promise<void> {
    let failures = 0;
    for (let isFirst = true; !this.#stopping.signal.aborted; isFirst = false) {
      try {
        const span = await this.#connect();
        failures = 0;
        attempted();
        await aborted(span.lost.signal);
        await span.link?.close().catch(() => {});
        throw span.lost.signal.reason;
      } catch (error) {
        if (isFirst && error instanceof ConfigurationError) throw error;
        if (this.#stopping.signal.aborted) break;
        const { reconnectMs, maxReconnectMs } = this.#settings;
        const retryMs = backoff(failures, reconnectMs, maxReconnectMs);
        failures += 1;
        this.signals.down.announce({ source: this.#options.source.name, error: error as Error, retryMs });
        attempted();
        await this.#pause(retryMs);
      }
    }
    attempted();
  }

  async #connect(): Promise<Span> {
    const { source } = this.#options;
    const span: Span = { lost: new AbortController(), cuts: new Set(), link: undefined };
    const taker = {
      message: (message: SourceMessage) => this.#take(message, span),
      lost: (reason: Error) => {
        span.lost.abort(reason);
        cutAll(span, reason);
      },
    };
    this.#span = span;
    span.link = await source.connect(taker, this.#settings.prefetch);
    if (this.#stopping.signal.aborted) {
      await span.link.close().catch(() => {});
      span.lost.abort();
    } else if (!span.lost.signal.aborted) {
      this.signals.up.announce({ source: source.name });
    }
    return span;
  }

  #take(message: SourceMessage, span: Span): void {
    if (this.#stopping.signal.aborted) return;
    const cut = new AbortController();
    span.cuts.add(cut);
    // Nothing in there rejects.
    const handled = this.#handle(message, cut.signal).finally(() => {
      span.cuts.delete(cut);
      this.#inHand.delete(handled);
    });
    this.#inHand.add(handled);
  }

  async #handle(message: SourceMessage, cut: AbortSignal): Promise<void> {
    const { maxAttempts, retryMs, maxRetryMs } = this.#settings;
    const facts = { id: message.id, source: this.#options.source.name };
    let counted = 0;
    for (let attempt = 1; ; attempt++) {
      const startedAt = performance.now();
      try {
        await this.#attempt(message, attempt, cut);
      } catch (error) {
        if (cut.aborted) return;
        if (!isAway(error)) counted += 1;
        if (counted >= maxAttempts || !this.#isWorthAnother(error)) {
          return this.#giveUp(message, facts, attempt, error);
        }
        const afterMs = backoff(attempt - 1, retryMs, maxRetryMs);
        this.#counted.retried += 1;
        this.signals.retrying.announce({ ...facts, attempt, afterMs, error });
        await this.#pause(afterMs, cut);
        if (cut.aborted || this.#stopping.signal.aborted) return;
        continue;
      }
      // A connection that breaks over it brings the message again.
      if (!(await settled(message.accept()))) return;
      this.#counted.done += 1;
      this.signals.done.announce({ ...facts, attempt, tookMs: performance.now() - startedAt });
      return;
    }
  }

  async #attempt(message: SourceMessage, attempt: number, cut: AbortSignal): Promise<void> {
    const { to, decode, schema } = this.#options;
    const { timeoutMs, maxMessageBytes } = this.#settings;
    const body = await bodyOf<Body>(message, decode, schema, maxMessageBytes);
    const end = new AbortController();
    const cutOff = () => end.abort(cut.reason);
    const late = () => end.abort(new BridgeTimeout(`it took longer than ${timeoutMs} ms (timeoutMs)`));
    const timer = setTimeout(late, timeoutMs);
    const { id, headers } = message;
    const isRedelivered = message.isRedelivered || attempt > 1;
    try {
      cut.throwIfAborted();
      cut.addEventListener("abort", cutOff, { once: true });
      const work = async () => to({ body, id, headers, isRedelivered, attempt, signal: end.signal });
      await this.#traced(message, attempt, () => unlessAborted(end.signal, work()));
    } finally {
      clearTimeout(timer);
      cut.removeEventListener("abort", cutOff);
    }
  }

  #traced(message: SourceMessage, attempt: number, run: () => Promise<unknown>): Promise<unknown> {
    const { tracer, source } = this.#options;
    // Somebody follows the carrier's messages already.
    if (tracer === undefined || tracer.ids() !== undefined) return run();
    const [traceparent, tracestate] = TRACE.map((name) => message.headers.get(name));
    const handling = { hook: "bridge", what: source.name, id: message.id, attempt } as const;
    return tracer.handles(handling, tracer.taskOrigin({ traceparent, tracestate }), run);
  }

  #isWorthAnother(error: unknown): boolean {
    if (error instanceof PoisonMessage || error instanceof RejectMessage) return false;
    return this.#options.retryOn?.(error) ?? !isHopeless(error);
  }

  async #giveUp(message: SourceMessage, facts: BridgeFacts, attempt: number, error: unknown): Promise<void> {
    const isDropped = error instanceof PoisonMessage && this.#options.poison === "drop";
    const reason = error instanceof Error ? error : new Error(String(error));
    if (!(await settled(isDropped ? message.accept() : message.reject(reason)))) return;
    this.#counted.rejected += 1;
    this.signals.rejected.announce({ ...facts, attempt, isDropped, error });
  }

  /** Ends early when it is cut, and when the bridge stops. */
  async #pause(ms: number, cut?: AbortSignal): Promise<void> {
    if (cut?.aborted || this.#stopping.signal.aborted) return;
    await new Promise<void>((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#pauses.delete(wake);
        cut?.removeEventListener("abort", wake);
        resolve();
      };
      const timer = setTimeout(wake, ms);
      this.#pauses.add(wake);
      cut?.addEventListener("abort", wake, { once: true });
    });
  }
}

/** Twice as long each time, and never the same for all who wait. */
function backoff(failures: number, firstMs: number, maxMs: number): number {
  const full = Math.min(maxMs, firstMs * 2 ** Math.min(failures, 30));
  return Math.round(full * (0.75 + Math.random() / 4));
}

function cutAll(span: Span | undefined, reason: Error): void {
  for (const cut of span?.cuts ?? []) cut.abort(reason);
}

/** Not the message's fault: what `to` needs cannot be reached now. */
function isAway(error: unknown): boolean {
  return isForClient(error) && error.closeCode === CloseCode.unavailable;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

function unlessAborted<T>(signal: AbortSignal, work: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const end = () => reject(signal.reason);
    signal.addEventListener("abort", end, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", end));
  });
}

/** Whether it could be said; if not, the connection is broken. */
async function settled(said: Promise<void>): Promise<boolean> {
  try {
    await said;
    return true;
  } catch {
    return false;
  }
}
