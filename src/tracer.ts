/**
 * What follows a message through the house, where somebody wants to: the core tells it what begins and ends.
 * Without one nothing is asked and nothing travels. See `sluice/tracing`.
 */

/** W3C Trace Context (https://www.w3.org/TR/trace-context/), as it travels: to other nodes, and with tasks. */
export interface TraceCarrier {
  readonly traceparent: string;
  readonly tracestate?: string;
}

/** Where what waits to be handled comes from. Its tracer alone knows what is in it. */
export type TraceOrigin = object;

/** What is sent. */
export interface Sending {
  readonly verb: "groupSend" | "groupEmit" | "send" | "enqueue" | "progress";
  /** The event's name, the message's type or the task's name. */
  readonly what: string;
  readonly group?: string;
  /** How many members of the group are here. */
  readonly members?: number;
}

/** What another node has sent, or a history, and members here are given. */
export interface Delivering {
  readonly kind: "emit" | "send" | "direct";
  readonly what: string;
  readonly group?: string;
  readonly members: number;
}

/** What a hook, handler or task is run for. */
export type Handling =
  | {
      readonly hook: "connect" | "event" | "message" | "disconnect";
      readonly route: string;
      readonly channel: string;
      readonly user: string | undefined;
      /** The event's name or the message's type; empty for the others. */
      readonly what: string;
    }
  | {
      readonly hook: "task";
      readonly what: string;
      readonly id: string;
      readonly queue: string;
      readonly attempt: number;
    }
  /** A message of somebody else's queue: `what` is the source's name. */
  | { readonly hook: "bridge"; readonly what: string; readonly id: string; readonly attempt: number };

/** None of these may throw but for what `run` throws. */
export interface Tracer {
  /** @param run - is given what is to travel with it */
  sends<T>(sending: Sending, run: (trace: TraceCarrier | undefined) => Promise<T>): Promise<T>;
  /** @param trace - what travelled with it, unchecked */
  delivers(delivering: Delivering, trace: unknown, run: () => void): void;
  /**
   * Also if `run` returns a promise, to its end.
   *
   * @param origin - undefined: it begins here
   */
  handles<T>(handling: Handling, origin: TraceOrigin | undefined, run: () => T): T;
  /** A request of a program that showed a key; `T` has the status it is answered with. */
  publishes<T extends { readonly status: number }>(
    request: { readonly method: string; readonly route: string; readonly headers: object },
    run: () => Promise<T>,
  ): Promise<T>;
  /** Of what is handed over in this moment, within `sends` or `delivers`. */
  origin(): TraceOrigin | undefined;
  /** Of what a client says of itself, unchecked. */
  clientOrigin(given: unknown): TraceOrigin | undefined;
  /** Of what travelled with a task, or with a message of a queue, unchecked. */
  taskOrigin(given: unknown): TraceOrigin | undefined;
  /** What is handled in this moment has failed. */
  failed(error: unknown): void;
  /** Whatever is sent meanwhile belongs to nothing before it. */
  outside<T>(run: () => T): T;
  /** Of what happens in this moment, for lines of a log. */
  ids(): { readonly trace_id: string; readonly span_id: string } | undefined;
}

/** Longer ones there will not be for a while: version 00 has 55 characters. */
const MAX_PARENT = 128;
/** As many as the recommendation has everybody carry. */
const MAX_STATE = 512;

/** What may stand behind a payload: fields of a trace, and nothing else. Whether they make sense is not asked. */
export interface ClientTrace {
  readonly traceparent: string;
  readonly tracestate?: string;
  /** There is no payload: what stands in its place is JSON's null for it. */
  readonly bare?: true;
}

export function isClientTrace(value: unknown): value is ClientTrace {
  if (typeof value !== "object" || value === null) return false;
  const { traceparent, tracestate, bare, ...others } = value as Readonly<Record<string, unknown>>;
  return (
    typeof traceparent === "string" &&
    (tracestate === undefined || typeof tracestate === "string") &&
    (bare === undefined || bare === true) &&
    Object.keys(others).length === 0
  );
}

/** The fields of a trace, within their bounds; whatever else is there stays where it is. */
export function carrierOf(value: unknown): TraceCarrier | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { traceparent, tracestate } = value as Readonly<Record<string, unknown>>;
  if (typeof traceparent !== "string" || traceparent.length > MAX_PARENT) return undefined;
  const isState = typeof tracestate === "string" && tracestate.length > 0 && tracestate.length <= MAX_STATE;
  return isState ? { traceparent, tracestate } : { traceparent };
}
