/** W3C Trace Context, level 1 (https://www.w3.org/TR/trace-context-1/): to and from what the API of OpenTelemetry has. */
import type { SpanContext } from "@opentelemetry/api";
import { carrierOf, type TraceCarrier } from "../index.ts";
import type { Api } from "./api.ts";

/** Later versions begin as the first one does, and may go on after another dash. */
const PARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/** What was sent; undefined for whatever is not as it must be. */
export function readTrace(api: Api, given: unknown): SpanContext | undefined {
  const carrier = carrierOf(given);
  const [, version, traceId, spanId, flags, more] = PARENT.exec(carrier?.traceparent ?? "") ?? [];
  if (version === undefined || version === "ff" || (version === "00" && more !== undefined)) return undefined;
  const context: SpanContext = {
    ...{ traceId: traceId as string, spanId: spanId as string, isRemote: true },
    // Of the flags only the first is defined.
    traceFlags: Number.parseInt(flags as string, 16) & api.TraceFlags.SAMPLED,
    ...(carrier?.tracestate && { traceState: api.createTraceState(carrier.tracestate) }),
  };
  return api.isSpanContextValid(context) ? context : undefined;
}

/** What is sent: of a trace alone, baggage stays here. */
export function writeTrace(api: Api, context: SpanContext): TraceCarrier | undefined {
  if (!api.isSpanContextValid(context)) return undefined;
  const { traceId, spanId, traceFlags } = context;
  const traceparent = `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`;
  return carrierOf({ traceparent, tracestate: context.traceState?.serialize() });
}
