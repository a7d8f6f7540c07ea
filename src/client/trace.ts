import type { StockSocket, TraceFields } from "./types.ts";

interface Emitting {
  emit(event: string, ...args: readonly unknown[]): unknown;
}

/**
 * Gives each event that the application sends the trace it belongs to, beside its payload. Servers that do not
 * trace leave it out; what asks for an answer, waits or is volatile is as it was.
 *
 * @param traceOf - called for each event; without `traceparent` it belongs to none. Must not throw
 * @returns takes it off again
 * @throws TypeError if this is no socket of socket.io-client 4
 * @example
 * carryTrace(socket, () => {
 *   const fields = {};
 *   propagation.inject(context.active(), fields);
 *   return fields;
 * });
 */
export function carryTrace(
  socket: StockSocket,
  traceOf: (event: string) => Partial<TraceFields>,
): () => void {
  const own = socket as unknown as Emitting;
  if (typeof own?.emit !== "function") {
    throw new TypeError("carryTrace() takes a socket of socket.io-client 4; this one has no emit()");
  }
  const before = Object.getOwnPropertyDescriptor(own, "emit");
  const { emit } = own;
  let isOff = false;
  const ours: Emitting["emit"] = (event, ...args) => {
    const last = args.at(-1);
    const answer = typeof last === "function" ? [last] : [];
    const payload = args.slice(0, args.length - answer.length);
    // One that is tried again has its trace already.
    const isPlain = !isOff && payload.length < 2 && !String(event).startsWith("sluice.");
    const { traceparent, tracestate } = isPlain ? traceOf(event) : {};
    if (traceparent === undefined) return emit.call(own, event, ...args);
    const bare = payload.length === 0 || payload[0] === undefined;
    const trace = { traceparent, ...(tracestate && { tracestate }), ...(bare && { bare }) };
    return emit.call(own, event, bare ? null : payload[0], trace, ...answer);
  };
  own.emit = ours;
  return () => {
    isOff = true;
    // Somebody has put theirs before ours meanwhile: ours pass on.
    if (own.emit !== ours) return;
    if (before !== undefined) Object.defineProperty(own, "emit", before);
    else Reflect.deleteProperty(own, "emit");
  };
}
