/** What spans say, and what they do not; on one node, with real clients. */
import { afterAll, beforeAll, beforeEach, expect, test } from "@jest/globals";
import { context, propagation, trace } from "@opentelemetry/api";
import { BasicTracerProvider } from "@opentelemetry/sdk-trace-base";
import {
  ConfigurationError,
  Consumer,
  createApplication,
  createLogger,
  InvalidMessage,
  logSignals,
  type Message,
  route,
  sse,
} from "sluice";
import { carryTrace } from "sluice/client";
import { createPublishingKey, publishing } from "sluice/publishing";
import { MemoryBroker, Tasks, task } from "sluice/tasks";
import { type TracingOptions, tracing } from "sluice/tracing";
import { Project } from "../guides.ts";
import { atEnd, connected, heard, type Live, serve, until } from "../server/live-server.ts";
import { BROWSER, linkedTraces, Recorded, TRACEPARENT, withContext } from "./recorded.ts";

const SECRET = "a-secret-in-a-payload";
let recorded: Recorded;
let restore = () => {};

beforeAll(() => {
  restore = withContext();
});
afterAll(() => restore());
beforeEach(() => {
  recorded = new Recorded();
});

class Room extends Consumer {
  static override readonly groups = ["chat.den"];
  override async receive(event: string, payload: unknown) {
    if (event === "fail") throw new TypeError("it broke");
    if (event === "refuse") throw new InvalidMessage(`"${String(payload)}" is not valid`);
    if (event === "say") await this.groupSend("chat.den", { type: "chat.message", text: payload });
    if (event === "wrong") await this.groupSend("no such name!", { type: "chat.message" });
    if (event === "answer") return 1n;
    return { event, payload };
  }
  async chatMessage({ text }: Message) {
    if (text === "break") throw new Error("a message broke it");
    this.send("heard", text);
  }
  override async disconnect() {
    await this.groupEmit("chat.den", "left");
  }
}

class Strict extends Consumer {
  static override readonly events = { ping: { handler: () => "pong" } };
}

const user = (scope: { auth: Record<string, unknown> }, next: (changes: object) => Promise<void>) =>
  next({ user: scope.auth.user });

function node(options: TracingOptions = {}): Promise<Live> {
  return serve({
    routes: [route("/room", Room), route("/strict", Strict), sse("/stream", Room)],
    middleware: [user],
    parts: [recorded.part("one", options)],
  });
}

test("a connection, an event, its message to the only member, and the end", async () => {
  const live = await node();
  const ann = await connected(live.client("/room", { auth: { user: "ann", traceparent: TRACEPARENT } }));
  await ann.emitWithAck("say", "hi", { traceparent: TRACEPARENT });
  ann.disconnect();
  await until(() => recorded.named("disconnect /room").length === 1, "it is over");
  expect(recorded.tree()).toEqual([
    "connect /room (one)",
    "event /room (one)",
    "  groupSend (one)",
    "    message /room (one)",
  ]);
  const end = recorded.named("disconnect /room")[0]?.spanContext().traceId as string;
  expect(recorded.tree(end)).toEqual(["disconnect /room (one)", "  groupEmit (one)"]);
});

test("payloads are in no span; groups and users only if somebody asks", async () => {
  const texts: string[] = [];
  for (const shown of [false, true]) {
    recorded = new Recorded();
    const live = await node({ groups: shown, users: shown });
    const ann = await connected(live.client("/room", { auth: { user: "user-ann", token: SECRET } }));
    for (const event of ["say", "refuse", "other"]) await ann.emitWithAck(event, SECRET);
    await until(() => recorded.named("message /room").length === 1, "it is handled");
    texts.push(recorded.text);
  }
  const [shy, frank] = texts;
  for (const text of texts) expect(text).not.toContain(SECRET);
  for (const name of ["chat.den", "user-ann"]) {
    expect(shy).not.toContain(name);
    expect(frank).toContain(name);
  }
});

test("errors: of bugs all that is known, of what a client is told its kind alone", async () => {
  const live = await node();
  const open = () => connected(live.client("/room"));
  const outcomes: unknown[] = [];
  const failing: readonly (readonly [string, unknown, string])[] = [
    ["fail", 1, "event /room"],
    ["refuse", SECRET, "event /room"],
    ["wrong", 1, "groupSend"],
    ["answer", 1, "event /room"],
    ["say", "break", "message /room"],
  ];
  for (const [event, payload, name] of failing) {
    const client = await open();
    recorded.clear();
    client.emit(event, payload, () => {});
    const span = await until(() => recorded.named(name)[0], `${event} has failed`);
    const exceptions = span.events.map(({ attributes }) => attributes?.["exception.message"]);
    outcomes.push([event, span.status.code, span.attributes["error.type"], exceptions]);
    client.disconnect();
  }
  expect(outcomes).toEqual([
    ["fail", 2, "TypeError", ["it broke"]],
    ["refuse", 2, "invalid_message", []],
    ["wrong", 2, "invalid_name", []],
    ["answer", 2, "unencodable", [expect.any(String)]],
    ["say", 2, "Error", ["a message broke it"]],
  ]);
});

test.each(["parent", "link"] as const)(
  "a trace that is none is no %s, and the event is handled",
  async (clients) => {
    const live = await node({ clients });
    const ann = await connected(live.client("/room", { auth: { traceparent: { a: [1] } } }));
    const zeros = "0".repeat(32);
    const hostile: readonly string[] = [
      "",
      "x",
      `00-${zeros}-${BROWSER.span}-01`,
      `00-${BROWSER.trace}-${"0".repeat(16)}-01`,
      `ff-${BROWSER.trace}-${BROWSER.span}-01`,
      `00-${BROWSER.trace}-${BROWSER.span}-01-more`,
      `00-${BROWSER.trace.toUpperCase()}-${BROWSER.span}-01`,
      `01-${BROWSER.trace}-${BROWSER.span}-01-${"a".repeat(1_000)}`,
      `${TRACEPARENT}\n${TRACEPARENT}`,
      "a".repeat(10_000),
    ];
    for (const traceparent of hostile) {
      recorded.clear();
      expect(await ann.emitWithAck("other", { a: 1 }, { traceparent })).toEqual({
        event: "other",
        payload: { a: 1 },
      });
      const [event] = await until(() => recorded.named("event /room"), "it is handled");
      expect([event?.parentSpanContext, event?.links]).toEqual([undefined, []]);
    }
    recorded.clear();
    const tracestate = `a=${"b".repeat(600)}`;
    await ann.emitWithAck("other", 1, {
      traceparent: `cc-${BROWSER.trace}-${BROWSER.span}-ff-new`,
      tracestate,
    });
    const [event] = await until(() => recorded.named("event /room"), "it is handled");
    const given = clients === "parent" ? event?.parentSpanContext : event?.links[0]?.context;
    expect(given).toEqual({ traceId: BROWSER.trace, spanId: BROWSER.span, traceFlags: 1, isRemote: true });
  },
);

test("whatever else stands behind a payload is refused as before, also with a trace in it", async () => {
  const live = await node();
  const ann = await connected(live.client("/room"));
  const strange: readonly (readonly unknown[])[] = [
    [{ traceparent: 7 }],
    [{ traceparent: TRACEPARENT, more: 1 }],
    [{ tracestate: "a=1" }],
    [{ traceparent: TRACEPARENT }, { traceparent: TRACEPARENT }],
    [[TRACEPARENT]],
    [TRACEPARENT],
    [null],
    [JSON.parse(`{"traceparent":"${TRACEPARENT}","__proto__":{"a":1}}`)],
  ];
  for (const more of strange) {
    const answer = await ann.emitWithAck("other", 1, ...more);
    expect(answer.error?.code).toBe("invalid_message");
  }
});

test("an event keeps its payload, and its lack of one, whether it carries a trace or not", async () => {
  const live = await node();
  const [ann, strict] = await Promise.all([
    connected(live.client("/room")),
    connected(live.client("/strict", { forceNew: true })),
  ]);
  const both = [ann, strict];
  const ends = both.map((socket) => carryTrace(socket, () => ({ traceparent: TRACEPARENT })));
  for (const isOn of [true, false]) {
    recorded.clear();
    expect(await strict.emitWithAck("ping")).toBe("pong");
    expect(await ann.timeout(10_000).emitWithAck("other")).toEqual({ event: "other" });
    expect(await ann.emitWithAck("other", null)).toEqual({ event: "other", payload: null });
    expect(await ann.emitWithAck("other", [1, { a: 2 }])).toEqual({ event: "other", payload: [1, { a: 2 }] });
    await until(() => recorded.spans.length === 4, "all have ended");
    expect(recorded.tree()).toHaveLength(isOn ? 4 : 0);
    for (const end of ends) end();
  }
  expect(Object.hasOwn(ann, "emit")).toBe(false);
  expect(() => carryTrace({} as never, () => ({}))).toThrow(TypeError);
});

test("of strangers' traces there may be links alone, or nothing", async () => {
  for (const [clients, links] of [
    ["link", [BROWSER.trace]],
    ["ignore", []],
  ] as const) {
    recorded = new Recorded();
    const live = await node({ clients });
    const ann = await connected(live.client("/room"));
    await ann.emitWithAck("other", 1, { traceparent: TRACEPARENT });
    const [event] = await until(() => recorded.named("event /room"), "it is handled");
    expect(event?.parentSpanContext).toBeUndefined();
    expect(linkedTraces(event?.links ?? [])).toEqual(links);
  }
});

test("so many handlers as one asks for stay in the trace of a message", async () => {
  const live = await node({ handlersInTrace: 2 });
  const clients = [await connected(live.client("/room")), await connected(live.client("/room"))];
  await clients[0]?.emitWithAck("say", "hi", { traceparent: TRACEPARENT });
  await until(() => recorded.named("message /room").length === 2, "both have handled it");
  expect(recorded.tree()).toEqual([
    "event /room (one)",
    "  groupSend (one)",
    "    message /room (one)",
    "    message /room (one)",
  ]);
});

test("published over HTTP and posted beside an event stream, by the header traceparent", async () => {
  const live = await node();
  const { key, hash } = createPublishingKey();
  const keys = [{ name: "shop", hash, groups: ["chat.*"] }];
  live.server.express.use("/api", publishing({ layer: live.app.layer, keys }));
  const headers = {
    "Content-Type": "application/json",
    traceparent: TRACEPARENT,
    Authorization: `Bearer ${key}`,
  };
  const body = JSON.stringify({ event: "heard", payload: SECRET });
  const url = `${live.url}/api/groups/chat.den/events`;
  expect((await fetch(url, { method: "POST", headers, body })).status).toBe(202);
  expect(
    (await fetch(url, { method: "POST", headers: { ...headers, Authorization: "Bearer x" }, body })).status,
  ).toBe(401);
  await until(() => recorded.tree().length === 2, "it is sent");
  expect(recorded.tree()).toEqual(["POST /api/groups/:group/events (one)", "  groupEmit (one)"]);
  const [request] = recorded.named("POST /api/groups/:group/events");
  expect(request?.attributes["http.response.status_code"]).toBe(202);

  recorded.clear();
  const stream = await fetch(`${live.url}/stream`, { headers: { Accept: "text/event-stream" } });
  const reader = (stream.body as ReadableStream<Uint8Array>).getReader();
  atEnd(() => reader.cancel());
  let text = "";
  while (!text.includes("connection")) text += new TextDecoder().decode((await reader.read()).value);
  const connection = /"connection":"([^"]+)"/.exec(text)?.[1] as string;
  const posted = await fetch(`${live.url}/stream`, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      "Sluice-Connection": connection,
      traceparent: TRACEPARENT,
    },
    body: JSON.stringify({ event: "other", payload: 1 }),
  });
  expect(await posted.json()).toEqual({ event: "other", payload: 1 });
  await until(() => recorded.tree().length === 1, "it is handled");
  expect(recorded.tree()).toEqual(["event /stream (one)"]);
});

test("workflows and failing attempts of tasks in memory; baggage goes nowhere", async () => {
  let attempts = 0;
  const seen: unknown[] = [];
  const first = task("first", { retry: { attempts: 2, minMs: 1 } }, async () => {
    attempts += 1;
    seen.push(propagation.getActiveBaggage());
    if (attempts === 1) throw new RangeError("not yet");
    return 1;
  });
  const last = task("last", async (value: number) => value + 1);
  const tasks = new Tasks({ tasks: [first, last], broker: new MemoryBroker() });
  const part = recorded.part("one");
  const app = createApplication({ routes: [], parts: [tasks, part] });
  atEnd(() => app.stop());
  await app.start();
  const baggage = propagation.createBaggage({ secret: { value: SECRET } });
  const handle = await context.with(propagation.setBaggage(context.active(), baggage), () =>
    tasks.chain([first.with(undefined), last.step()]),
  );
  expect(await handle.result({ timeoutMs: 10_000 })).toBe(2);
  const enqueued = await until(
    () => recorded.named("run last") && recorded.named("enqueue last")[0],
    "it ran",
  );
  await until(() => recorded.spans.length === 4, "all have ended");
  expect(recorded.tree(enqueued.spanContext().traceId)).toEqual([
    "enqueue last (one)",
    "  run first (one)",
    "  run first (one)",
    "  run last (one)",
  ]);
  const [failed, well] = recorded.named("run first");
  expect([failed?.attributes["error.type"], failed?.status.code]).toEqual(["RangeError", 2]);
  expect([well?.attributes["sluice.task.attempt"], well?.status.code]).toEqual([2, 0]);
  expect(seen).toEqual([undefined, undefined]);
  const record = await tasks.broker.find(handle.id);
  expect(record?.body).toContain(enqueued.spanContext().traceId);
  expect(record?.body).not.toContain(SECRET);
});

test("lines of the log have the trace they are in", async () => {
  const lines: Record<string, unknown>[] = [];
  const logger = createLogger("info", { write: (line) => void lines.push(JSON.parse(line)) });
  const part = recorded.part("one");
  const live = await serve({ routes: [route("/room", Room)], parts: [part] });
  atEnd(logSignals(live.app.signals, logger, { ids: part.ids }));
  const ann = await connected(live.client("/room"));
  ann.emit("fail", 1, { traceparent: TRACEPARENT });
  const line = await until(() => lines.find(({ msg }) => msg === "receive failed"), "it is told");
  await until(() => recorded.named("event /room").length === 1, "it has ended");
  const [event] = recorded.named("event /room");
  expect(line).toMatchObject({ trace_id: BROWSER.trace, span_id: event?.spanContext().spanId });
  expect(part.ids()).toBeUndefined();
});

test.each(["startSpan", "end", "recordException", "setStatus"] as const)(
  "an SDK whose %s throws loses spans, and nothing else",
  async (broken) => {
    const fail = () => {
      throw new Error("a broken SDK");
    };
    const provider = new BasicTracerProvider();
    const spansOf = provider.getTracer.bind(provider);
    const tracerProvider = {
      getTracer: (name: string) => {
        const tracer = spansOf(name);
        const startSpan: typeof tracer.startSpan = (...given) =>
          broken === "startSpan" ? fail() : Object.assign(tracer.startSpan(...given), { [broken]: fail });
        return { startSpan } as typeof tracer;
      },
    };
    const live = await serve({
      routes: [route("/room", Room)],
      middleware: [user],
      parts: [tracing({ tracerProvider })],
    });
    const failures: unknown[] = [];
    live.app.signals.failed.connect(({ error }) => void failures.push((error as Error).message));
    const ann = await connected(live.client("/room"));
    const told = heard(ann, "heard");
    expect(await ann.emitWithAck("say", "hello")).toMatchObject({ event: "say" });
    expect(await told).toEqual(["hello"]);
    expect(await ann.emitWithAck("fail", 1)).toMatchObject({ error: { code: "internal_error" } });
    expect(failures).toEqual(["it broke"]);
  },
);

test("what a connection does belongs to nothing that goes on around its server", async () => {
  const part = recorded.part("one");
  const foreign = trace.wrapSpanContext({ traceId: BROWSER.trace, spanId: BROWSER.span, traceFlags: 1 });
  await context.with(trace.setSpan(context.active(), foreign), async () => {
    const live = await serve({ routes: [route("/room", Room)], parts: [part] });
    const ann = await connected(live.client("/room"));
    const said = heard(ann, "heard");
    await ann.emitWithAck("say", "hi");
    await said;
  });
  await until(() => recorded.named("message /room").length === 1, "it is handled");
  expect(recorded.tree()).toEqual([]);
});

test("all that is wrong with the options is said at once; two parts are one too many", () => {
  const wrong = { clients: "all", tracerProvider: {}, handlersInTrace: -1, gruops: true } as never;
  expect(() => tracing(wrong)).toThrow(
    expect.objectContaining({
      faults: [
        expect.stringContaining("tracing.handlersInTrace must be a whole number of at least 1"),
        expect.stringContaining('did you mean "groups"'),
        expect.stringContaining("tracing.clients must be parent, link, ignore"),
        expect.stringContaining("tracing.tracerProvider"),
      ],
    }),
  );
  expect(() => tracing({ handlersInTrace: -1 })).toThrow(ConfigurationError);
  const parts = [recorded.part("a"), recorded.part("b")];
  expect(() => createApplication({ routes: [], parts })).toThrow("two of them trace");
});

test("the API is loaded when the part is made, and not by the entries", async () => {
  const project = await Project.make();
  atEnd(() => project.close());
  const code = (isOn: boolean) => `
    import { createRequire } from "node:module";
    import { createApplication } from "sluice";
    import "sluice/server"; import "sluice/tasks"; import "sluice/publishing"; import "sluice/cli";
    import { tracing } from "sluice/tracing";
    const app = createApplication({ routes: [], parts: ${isOn ? "[tracing()]" : "[]"} });
    await app.start();
    await app.layer.groupEmit("a", "b");
    await app.stop();
    const loaded = Object.keys(createRequire(import.meta.url).cache).filter((file) => /opentelemetry/.test(file));
    console.log(loaded.length > 0);`;
  expect((await project.run(code(false))).trim()).toBe("false");
  expect((await project.run(code(true))).trim()).toBe("true");
});
