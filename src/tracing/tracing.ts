/** Traces by OpenTelemetry, as a part of an application. It knows the API alone; the SDK is the application's. */
import type { Context, Link, Span, SpanContext, SpanKind, TracerProvider } from "@opentelemetry/api";
import {
  type ApplicationPart,
  ConfigurationError,
  type Delivering,
  Faults,
  type Given,
  type Handling,
  isForClient,
  resolveOptions,
  type Sending,
  type TraceCarrier,
  type TraceOrigin,
  type Tracer,
  thrownText,
} from "../index.ts";
import { type Api, loadApi } from "./api.ts";
import { type Description, errorType, ofDelivering, ofHandling, ofSending } from "./attributes.ts";
import { readTrace, writeTrace } from "./trace-context.ts";

/** What counts where an option of {@link tracing} is left out. */
export const tracingDefaults = {
  /** Whether spans name groups: they may hold ids of people and rooms. */
  groups: false,
  /** Whether spans name users, by the application's `userId`. */
  users: false,
  /**
   * A message to a group is handled by its members here within its own trace, if they are at most so many. Of more
   * each begins a trace of its own, with a link to that of the message.
   */
  handlersInTrace: 1,
};

/** Settings of {@link tracing}, with nothing left out. */
export type TracingSettings = typeof tracingDefaults;

/**
 * What becomes of the trace that a client says it is in. `parent`: the client's event is part of it, sampled if the
 * client says so; `link`: the event begins a trace of its own, with a link; `ignore`: nothing.
 */
export type ClientTraces = "parent" | "link" | "ignore";

const CLIENT_TRACES: readonly ClientTraces[] = ["parent", "link", "ignore"];

/** What {@link tracing} takes; all may be left out. */
export interface TracingOptions extends Given<TracingSettings> {
  /** Default `parent`. */
  readonly clients?: ClientTraces;
  /** Where spans go; by default what the SDK has registered, also if it does so later. */
  readonly tracerProvider?: TracerProvider;
}

/** A part of an application; see {@link tracing}. */
export interface Tracing extends ApplicationPart {
  readonly tracer: Tracer;
  /**
   * Of what runs now, for lines of a log (pino's `mixin`); undefined outside of a trace.
   */
  readonly ids: Tracer["ids"];
}

interface Origin {
  readonly context: SpanContext;
  /** It is not its parent. */
  readonly isLink: boolean;
}

/** Within `sends` and `delivers`. */
interface Handover {
  readonly members: number;
}

/**
 * A part of an application that follows what happens in it: from a client's event through its handler, the groups it
 * sends to, other nodes and their handlers, to the tasks it has enqueued and what they tell. All processes that are to
 * be seen need it, and an SDK of OpenTelemetry with a context manager, such as `NodeSDK` sets up.
 *
 * Without an SDK nothing is recorded, and the traces of others pass through. Payloads and baggage are never in a span
 * and never travel.
 *
 * @example
 * createApplication({ routes, parts: [tracing()] });
 *
 * @throws ConfigurationError that lists every fault of the options, or says that `@opentelemetry/api` is missing
 */
export function tracing(options: TracingOptions = {}): Tracing {
  const { clients = "parent", tracerProvider, ...rest } = options;
  const faults = new Faults();
  const settings = faults.collect(() => resolveOptions(tracingDefaults, rest, "tracing"));
  if (!CLIENT_TRACES.includes(clients)) {
    faults.list.push(`tracing.clients must be ${CLIENT_TRACES.join(", ")}, not "${String(clients)}"`);
  }
  if (tracerProvider !== undefined && typeof tracerProvider?.getTracer !== "function") {
    faults.list.push("tracing.tracerProvider must be a TracerProvider of OpenTelemetry");
  }
  if (settings === undefined || faults.list.length > 0) throw new ConfigurationError(faults.list);
  const tracer = new SpanTracer(loadApi(), settings, clients, tracerProvider);
  return {
    tracer,
    ids: () => tracer.ids(),
    open: async () => {},
    close: async () => {},
  };
}

class SpanTracer implements Tracer {
  readonly #api: Api;
  readonly #settings: TracingSettings;
  readonly #clients: ClientTraces;
  readonly #tracer: ReturnType<TracerProvider["getTracer"]>;
  readonly #handover: symbol;

  constructor(
    api: Api,
    settings: TracingSettings,
    clients: ClientTraces,
    provider: TracerProvider | undefined,
  ) {
    this.#api = api;
    this.#settings = settings;
    this.#clients = clients;
    this.#tracer = (provider ?? api.trace).getTracer("sluice");
    this.#handover = api.createContextKey("sluice handover");
  }

  sends<T>(sending: Sending, run: (trace: TraceCarrier | undefined) => Promise<T>): Promise<T> {
    const { SpanKind, context } = this.#api;
    const span = this.#begin(ofSending(sending, this.#settings), SpanKind.PRODUCER, context.active());
    const trace = writeTrace(this.#api, span.spanContext());
    const { members } = sending;
    return this.#within(span, this.#handing(context.active(), members), () => run(trace));
  }

  delivers(delivering: Delivering, trace: unknown, run: () => void): void {
    const { SpanKind, ROOT_CONTEXT } = this.#api;
    const from = this.#from(this.#originOf(readTrace(this.#api, trace), false));
    const span = this.#begin(ofDelivering(delivering, this.#settings), SpanKind.CONSUMER, ...from);
    this.#within(span, this.#handing(ROOT_CONTEXT, delivering.members), run);
  }

  handles<T>(handling: Handling, origin: TraceOrigin | undefined, run: () => T): T {
    const span = this.#begin(
      ofHandling(handling, this.#settings),
      this.#kindOf(handling),
      ...this.#from(origin as Origin | undefined),
    );
    return this.#within(span, this.#api.ROOT_CONTEXT, run);
  }

  publishes<T extends { readonly status: number }>(
    { method, route, headers }: { readonly method: string; readonly route: string; readonly headers: object },
    run: () => Promise<T>,
  ): Promise<T> {
    const { trace, context, SpanKind } = this.#api;
    // Somebody follows the requests of this server already.
    if (trace.getActiveSpan() !== undefined) return run();
    const attributes = { "http.request.method": method, "http.route": route };
    const from = this.#from(this.#originOf(readTrace(this.#api, headers), false));
    const span = this.#begin({ name: `${method} ${route}`, attributes }, SpanKind.SERVER, ...from);
    return this.#within(span, context.active(), async () => {
      const answer = await run();
      this.#guarded(() => span.setAttribute("http.response.status_code", answer.status));
      return answer;
    });
  }

  origin(): TraceOrigin | undefined {
    const { context, trace } = this.#api;
    const active = context.active();
    const handover = active.getValue(this.#handover) as Handover | undefined;
    if (handover === undefined) return undefined;
    return this.#originOf(trace.getSpanContext(active), handover.members > this.#settings.handlersInTrace);
  }

  clientOrigin(given: unknown): TraceOrigin | undefined {
    if (this.#clients === "ignore") return undefined;
    return this.#originOf(readTrace(this.#api, given), this.#clients === "link");
  }

  taskOrigin(given: unknown): TraceOrigin | undefined {
    return this.#originOf(readTrace(this.#api, given), false);
  }

  failed(error: unknown): void {
    const span = this.#api.trace.getActiveSpan();
    if (span !== undefined) this.#record(span, error);
  }

  outside<T>(run: () => T): T {
    return this.#api.context.with(this.#api.ROOT_CONTEXT, run);
  }

  ids(): { readonly trace_id: string; readonly span_id: string } | undefined {
    const context = this.#api.trace.getActiveSpan()?.spanContext();
    if (context === undefined || !this.#api.isSpanContextValid(context)) return undefined;
    return { trace_id: context.traceId, span_id: context.spanId };
  }

  #originOf(context: SpanContext | undefined, isLink: boolean): Origin | undefined {
    return context && { context, isLink };
  }

  /** Nothing else of what was there is there any more: not the baggage either. */
  #from(origin: Origin | undefined): readonly [Context, Link[]] {
    const { ROOT_CONTEXT, trace } = this.#api;
    if (origin === undefined) return [ROOT_CONTEXT, []];
    const { context, isLink } = origin;
    return isLink ? [ROOT_CONTEXT, [{ context }]] : [trace.setSpanContext(ROOT_CONTEXT, context), []];
  }

  #kindOf({ hook }: Handling): SpanKind {
    const { SpanKind } = this.#api;
    if (hook === "connect") return SpanKind.SERVER;
    return hook === "disconnect" ? SpanKind.INTERNAL : SpanKind.CONSUMER;
  }

  #begin({ name, attributes }: Description, kind: SpanKind, parent: Context, links: Link[] = []): Span {
    const { trace, INVALID_SPAN_CONTEXT } = this.#api;
    const begun = this.#guarded(() => this.#tracer.startSpan(name, { kind, attributes, links }, parent));
    return begun ?? trace.wrapSpanContext(INVALID_SPAN_CONTEXT);
  }

  #end(span: Span): void {
    this.#guarded(() => span.end());
  }

  /** What an SDK throws is none of the application's affair; OpenTelemetry's own log has it. */
  #guarded<T>(ask: () => T): T | undefined {
    try {
      return ask();
    } catch (error) {
      this.#api.diag.error(`sluice: a span is not recorded: ${thrownText(error)}`);
      return undefined;
    }
  }

  /** What is handed over within it comes from it. */
  #handing(around: Context, members: number | undefined): Context {
    return around.setValue(
      this.#handover,
      members === undefined ? undefined : ({ members } satisfies Handover),
    );
  }

  /** Runs with the span as the active one, and ends it. */
  #within<T>(span: Span, around: Context, run: () => T): T {
    const { context, trace } = this.#api;
    let result: T;
    try {
      result = context.with(trace.setSpan(around, span), run);
    } catch (error) {
      this.#record(span, error);
      this.#end(span);
      throw error;
    }
    if (!(result instanceof Promise)) {
      this.#end(span);
      return result;
    }
    return result.then(
      (value: unknown) => {
        this.#end(span);
        return value;
      },
      (error: unknown) => {
        this.#record(span, error);
        this.#end(span);
        throw error;
      },
    ) as T;
  }

  /** What a client is told may quote what it sent: of that its kind alone. */
  #record(span: Span, error: unknown): void {
    this.#guarded(() => {
      span.setAttribute("error.type", errorType(error));
      span.setStatus({ code: this.#api.SpanStatusCode.ERROR });
      if (!isForClient(error)) span.recordException(error instanceof Error ? error : thrownText(error));
    });
  }
}
