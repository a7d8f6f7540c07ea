/** What was recorded, by which node, as a tree to read. */
import { context, type Link } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  BasicTracerProvider,
  InMemorySpanExporter,
  type ReadableSpan,
  SimpleSpanProcessor,
  type SpanProcessor,
} from "@opentelemetry/sdk-trace-base";
import { type Tracing, type TracingOptions, tracing } from "sluice/tracing";

/** What a browser's own span would be. */
export const BROWSER = { trace: "0af7651916cd43dd8448eb211c80319c", span: "b7ad6b7169203331" };
export const TRACEPARENT = `00-${BROWSER.trace}-${BROWSER.span}-01`;

/** As the SDK's set-up does it. */
export function withContext(): () => void {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  return () => context.disable();
}

/** The spans of several nodes, each with an exporter of its own. */
export class Recorded {
  readonly #exporters = new Map<string, InMemorySpanExporter>();
  /** In which order they began: several do within a tick of the clock. */
  readonly #order = new WeakMap<object, number>();
  #began = 0;

  /** The part for a node of that name. */
  part(node: string, options: TracingOptions = {}): Tracing {
    const exporter = new InMemorySpanExporter();
    this.#exporters.set(node, exporter);
    const order: SpanProcessor = {
      onStart: (span) => {
        this.#began += 1;
        this.#order.set(span, this.#began);
      },
      onEnd: () => {},
      forceFlush: async () => {},
      shutdown: async () => {},
    };
    const spanProcessors = [order, new SimpleSpanProcessor(exporter)];
    const tracerProvider = new BasicTracerProvider({ spanProcessors });
    return tracing({ ...options, tracerProvider });
  }

  /** All that have ended, in the order in which they began. */
  get spans(): readonly (ReadableSpan & { readonly node: string })[] {
    const spans = [...this.#exporters].flatMap(([node, exporter]) =>
      exporter.getFinishedSpans().map((span) => Object.assign(span, { node })),
    );
    return spans.sort((a, b) => (this.#order.get(a) ?? 0) - (this.#order.get(b) ?? 0));
  }

  named(name: string): readonly (ReadableSpan & { readonly node: string })[] {
    return this.spans.filter((span) => span.name === name);
  }

  /** Those of a trace, each below its parent: `name (node)`. */
  tree(traceId: string = BROWSER.trace): readonly string[] {
    const spans = this.spans.filter((span) => span.spanContext().traceId === traceId);
    const known = new Set(spans.map((span) => span.spanContext().spanId));
    const below = (parent: string | undefined, depth: number): string[] =>
      spans
        .filter(({ parentSpanContext: of }) =>
          parent === undefined ? !known.has(of?.spanId ?? "") : of?.spanId === parent,
        )
        .flatMap((span) => [
          `${"  ".repeat(depth)}${span.name} (${span.node})`,
          ...below(span.spanContext().spanId, depth + 1),
        ]);
    return below(undefined, 0);
  }

  /** All that could be read in it. */
  get text(): string {
    return JSON.stringify(
      this.spans.map(({ name, attributes, events, links, status }) => {
        return { name, attributes, events, links, status };
      }),
    );
  }

  clear(): void {
    for (const exporter of this.#exporters.values()) exporter.reset();
  }
}

export function linkedTraces(links: readonly Link[]): readonly string[] {
  return links.map(({ context }) => context.traceId);
}
