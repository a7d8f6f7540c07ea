/** Traces that come with the messages of a queue. */

import { afterAll, afterEach, beforeAll, expect, test } from "@jest/globals";
import { context, trace } from "@opentelemetry/api";
import { type Application, ConfigurationError, createApplication } from "sluice";
import { type BridgeOptions, bridge, MemoryQueue, toGroup } from "sluice/bridges";
import { atEnd, until } from "../server/live-server.ts";
import { BROWSER, Recorded, TRACEPARENT, withContext } from "../tracing/recorded.ts";

const recorded = new Recorded();
let endContext = () => {};
beforeAll(() => {
  endContext = withContext();
});
afterAll(() => endContext());
afterEach(() => recorded.clear());

async function application(): Promise<Application> {
  const app = createApplication({ routes: [], parts: [recorded.part("a")] });
  atEnd(() => app.stop());
  await app.start();
  return app;
}

async function bridged(
  app: Application,
  options: Partial<BridgeOptions<unknown>> = {},
): Promise<MemoryQueue> {
  const queue = new MemoryQueue("orders");
  const to = toGroup(app.layer, "room", "changed");
  const mine = bridge({ source: queue.source(), to, tracer: app.tracer, retryMs: 1, ...options });
  atEnd(() => mine.stop());
  await mine.start();
  return queue;
}

test("what is done with a message is part of the trace that its publisher was in, each attempt", async () => {
  const app = await application();
  const send = toGroup(app.layer, "room", "changed");
  const queue = await bridged(app, {
    to: (message) => {
      if (message.attempt === 1) throw new Error("not yet");
      return send(message);
    },
  });
  const id = queue.put({ id: 7 }, { traceparent: TRACEPARENT, tracestate: "vendor=1" });
  await until(() => recorded.named("bridge orders").length === 2, "both attempts");
  expect(recorded.tree()).toEqual(["bridge orders (a)", "bridge orders (a)", "  groupEmit (a)"]);
  const [first, second] = recorded.named("bridge orders");
  expect(first?.parentSpanContext).toMatchObject({ spanId: BROWSER.span, isRemote: true });
  expect(second?.spanContext().traceState?.serialize()).toBe("vendor=1");
  expect(first?.attributes).toMatchObject({
    "messaging.operation.type": "process",
    "messaging.destination.name": "orders",
    "messaging.message.id": id,
    "sluice.bridge.attempt": 1,
    "error.type": "Error",
  });
  expect(second?.attributes["error.type"]).toBeUndefined();
});

test("a message without a trace, or with one that is none, begins its own and is handled all the same", async () => {
  const app = await application();
  const queue = await bridged(app);
  queue.put({});
  for (const traceparent of [
    "",
    "nonsense",
    `00-${"0".repeat(32)}-${BROWSER.span}-01`,
    "x".repeat(100_000),
  ]) {
    queue.put({}, { traceparent });
  }
  await until(() => recorded.named("bridge orders").length === 5, "all are handled");
  const spans = recorded.named("bridge orders");
  expect(new Set(spans.map((span) => span.spanContext().traceId)).size).toBe(5);
  expect(spans.map(({ parentSpanContext }) => parentSpanContext)).toEqual(spans.map(() => undefined));
});

test("where an instrumentation has begun a span for the message, that one is the parent", async () => {
  const app = await application();
  const queue = await bridged(app);
  const span = trace.wrapSpanContext({ traceId: BROWSER.trace, spanId: BROWSER.span, traceFlags: 1 });
  context.with(trace.setSpan(context.active(), span), () => queue.put({}));
  await until(() => recorded.named("groupEmit").length === 1, "it is sent");
  expect(recorded.tree()).toEqual(["groupEmit (a)"]);
  expect(recorded.named("groupEmit")[0]?.parentSpanContext?.spanId).toBe(BROWSER.span);
});

test("what a message says is in no span, and poison begins none", async () => {
  const app = await application();
  const queue = await bridged(app);
  queue.put("no JSON, but a secret", { traceparent: TRACEPARENT });
  queue.put({ text: "a secret" }, { traceparent: TRACEPARENT, authorization: "a secret" });
  await until(
    () => recorded.named("bridge orders").length === 1 && queue.rejected.length === 1,
    "both are done",
  );
  expect(recorded.text).not.toContain("secret");
});

test("a tracer that is none is refused", () => {
  const source = new MemoryQueue().source();
  const wrong = { source, to: () => {}, tracer: {} } as unknown as BridgeOptions<unknown>;
  expect(() => bridge(wrong)).toThrow(ConfigurationError);
  expect(() => bridge(wrong)).toThrow("bridge.tracer must be an application's tracer (app.tracer)");
});
