import { expect, test } from "@jest/globals";
import { pino } from "pino";
import { Consumer, createApplication, createLogger, loggable, logSignals, route } from "sluice";
import { TestClient, untilIdle } from "sluice/testing";

class Room extends Consumer {
  override connect() {
    if (this.scope.auth.token === "wrong") this.deny(4401, "wrong\ntoken");
  }
  override receive() {
    throw new Error("broken");
  }
}

class Quiet extends Consumer {
  override receive() {
    return "ok";
  }
}

function logged() {
  const lines: Record<string, unknown>[] = [];
  const logger = pino({ level: "debug" }, { write: (line) => void lines.push(JSON.parse(line)) });
  const app = createApplication({ routes: [route("/room/:name", Room)] });
  const stop = logSignals(app.signals, logger);
  return { app, lines, stop };
}

test("a connection's life is told in lines that hold no secrets and no line breaks", async () => {
  const { app, lines, stop } = logged();
  const secret = "hunter2";
  const client = new TestClient(app, "/room/a", {
    auth: { password: secret },
    headers: { cookie: `sid=${secret}`, authorization: secret },
    query: { token: secret },
  });
  await client.connect();
  await client.emit("say", { secret });
  await client.closed();
  await untilIdle(app);
  await new TestClient(app, "/room/b", { auth: { token: "wrong" } }).connect();
  await new TestClient(app, "/nowhere%0aelse").connect();
  app.signals.draining.announce({ node: app.node, connections: 2, delayMs: 0, drainMs: 500 });
  await app.stop();
  expect(lines.map(({ msg }) => msg)).toEqual([
    "started",
    "connected",
    "receive failed",
    "disconnected",
    "denied",
    "denied",
    "draining",
    "stopped",
  ]);
  expect(lines[2]).toMatchObject({ level: 50, route: "/room/:name", err: { message: "broken" } });
  expect(lines[3]).toMatchObject({ reason: "failed", code: 4500 });
  expect(lines[4]).toMatchObject({ level: 30, code: 4401, reason: "wrong\\u000atoken" });
  // An unknown namespace is nobody's fault.
  expect(lines[5]).toMatchObject({ level: 20, code: 4404 });
  expect(lines[6]).toMatchObject({ level: 30, node: app.node, connections: 2, drainMs: 500 });
  expect(JSON.stringify(lines)).not.toContain(secret);
  stop();
});

test("the namespace, as a client wrote it, is made printable and cut wherever a line names a connection", async () => {
  const { app, lines } = logged();
  const namespace = `/room/a\u001b[2J\u202e${"x".repeat(5_000)}`;
  const scope = { namespace, requestId: "r-1" } as never;
  const fact = { channel: "n!c", route: "/room/:name", scope };
  app.signals.failed.announce({ ...fact, hook: "connect", error: new Error("no") });
  app.signals.refused.announce({ ...fact, event: "say", code: "no_handler" });
  expect(lines).toHaveLength(2);
  for (const line of lines) {
    expect(line.namespace).toMatch(/^\/room\/a\\u001b\[2J\\u202ex+…$/);
    expect(String(line.namespace).length).toBeLessThan(150);
  }
});

/** Of what clients, other nodes and libraries can say; 50 MB of it, with what moves a cursor. */
const FLOOD = `\u001b[2J\u202e\n${"x".repeat(50_000_000)}`;
const SHOWN = /^\\u001b\[2J\\u202e\\u000ax+…$/;

function floods({ signals }: ReturnType<typeof logged>["app"]): Readonly<Record<string, () => void>> {
  const scope = { namespace: "/room", requestId: "r-1" } as never;
  const from = { channel: "n!c", route: "/room/:name", scope };
  const where = { channel: "n!c", route: "/room/:name", namespace: "/room", scope } as never;
  const reason = { kind: "closed", code: 4400, message: FLOOD } as const;
  return {
    detail: () => signals.disconnected.announce({ ...from, reason, wasOpen: true, lastedMs: 1 }),
    reason: () =>
      signals.denied.announce({
        ...(where as object),
        ...{ namespace: "/x", remoteAddress: "::1", code: 4401, reason: FLOOD },
      }),
    namespace: () =>
      signals.denied.announce({ namespace: FLOOD, remoteAddress: "::1", code: 4401, reason: "no" }),
    event: () => signals.refused.announce({ ...from, event: FLOOD, code: "no_handler" }),
    target: () => signals.dropped.announce({ cause: "no-handler", target: FLOOD, what: "say" }),
    what: () => signals.dropped.announce({ cause: "no-handler", target: "n!c", what: FLOOD }),
    group: () => signals.lost.announce({ group: FLOOD, missed: 1 }),
    path: () =>
      signals.answered.announce({
        ...{ requestId: "r", method: "GET", path: FLOOD, status: 200, tookMs: 1, remoteAddress: "::1" },
      }),
    by: () =>
      signals.audited.announce({
        ...{ action: "login", target: "", by: FLOOD, remoteAddress: "::1", outcome: "done" },
      }),
  };
}

test("whatever is said in 50 MB is told in a line that is cut and printable", async () => {
  const seen = logged();
  for (const [field, announce] of Object.entries(floods(seen.app))) {
    announce();
    const line = seen.lines.at(-1) ?? {};
    expect([field, line[field]]).toEqual([field, expect.stringMatching(SHOWN)]);
    expect(JSON.stringify(line).length).toBeLessThan(5_000);
    expect(JSON.stringify(line)).not.toMatch(/[\u202e]|[^\\]\\u001b/);
  }
  expect(seen.lines).toHaveLength(9);
});

test("of an error that says 50 MB, what stands first is told, and where it comes from", () => {
  const error = Object.assign(new Error(FLOOD, { cause: new Error(FLOOD) }), { code: FLOOD });
  // A name that is given later is not in it.
  expect(error.stack).toBeDefined();
  error.name = FLOOD;
  const told = loggable(error) as Readonly<Record<"type" | "message" | "stack" | "code", string>>;
  expect(told.message).toMatch(/^\\u001b\[2J\\u202e\nx+…$/);
  expect(told.stack).toMatch(/x…\n {4}at /);
  expect([told.type, told.code]).toEqual([expect.stringMatching(SHOWN), expect.stringMatching(SHOWN)]);
  expect(JSON.stringify(told).length).toBeLessThan(50_000);
});

test.each([
  ["dropped", { cause: "no-handler", target: "n!c", what: "say" }],
  ["lost", { layer: "default", group: "den", missed: 1 }],
  ["gap", { channel: "n!c", group: "den", reason: "trimmed" }],
  ["unopened", { carrier: "backplane", target: "den", reason: "altered" }],
  ["receiverFailed", { signal: "gap", error: new Error("a bug") }],
  ["failed", { hook: "http", error: new Error("a bug") }],
] as const)("lines of %s are limited as well", async (name, fact) => {
  const { app, lines } = logged();
  for (let n = 0; n < 500; n++) app.signals[name].announce(fact as never);
  expect(lines.length).toBeGreaterThan(0);
  // Of each second there may be so many, and this may take two.
  expect(lines.length).toBeLessThanOrEqual(101);
});

test("where a limit was met is printable, and of a gap its group", () => {
  const { app, lines } = logged();
  app.signals.limited.announce({ limit: "eventsPerSecond", namespace: "/a\u001b", remoteAddress: "::1" });
  app.signals.gap.announce({ channel: "n!c", group: "a\u001b", reason: "trimmed" } as never);
  expect(lines.map((line) => line.namespace ?? line.group)).toEqual(["/a\\u001b", "a\\u001b"]);
});

test("a logger of yours, without serializers of ours, gets nothing of an error that libraries hang on it", () => {
  const { app, lines } = logged();
  const error = Object.assign(new Error("refused"), { password: "hunter2" });
  app.signals.failed.announce({ hook: "http", error });
  app.signals.receiverFailed.announce({ signal: "gap", error });
  expect(lines.map(({ err }) => (err as Error).message)).toEqual(["refused", "refused"]);
  expect(JSON.stringify(lines)).not.toContain("hunter2");
});

test("an unknown level is refused with those there are", () => {
  expect(() => createLogger("loud")).toThrow('"loud" is no level of a log; there are trace, debug, info');
  expect(() => createLogger({ level: "warn" } as never)).toThrow('"[object Object]" is no level of a log');
  expect(createLogger("silent").level).toBe("silent");
});

test("lines that clients can cause at will are limited, and the rest is counted", async () => {
  const { app, lines, stop } = logged();
  const denials = (count: number) => {
    for (let i = 0; i < count; i++) {
      app.signals.denied.announce({ namespace: "/x", remoteAddress: "::1", code: 4401, reason: "no" });
    }
  };
  denials(500);
  expect(lines.length).toBeLessThanOrEqual(100);
  const before = performance.now();
  while (Math.floor(performance.now() / 1000) === Math.floor(before / 1000)) {
    await new Promise((resolve) => setImmediate(resolve));
  }
  denials(1);
  const told = lines.filter(({ msg }) => msg === "lines left out of the log");
  expect(told.reduce((sum, line) => sum + (line.lines as number), 0)).toBe(
    501 - lines.filter((l) => l.msg === "denied").length,
  );
  stop();
});

test("the whole life of a connection is one line, and what else happened to it names it", async () => {
  const lines: Record<string, unknown>[] = [];
  const logger = pino({ level: "info" }, { write: (line) => void lines.push(JSON.parse(line)) });
  const app = createApplication({ routes: [route("/room/:name", Room)] });
  logSignals(app.signals, logger);
  const channels: string[] = [];
  app.signals.connected.connect(({ channel }) => void channels.push(channel));
  await app.start();
  lines.length = 0;
  const quiet = new TestClient(app, "/room/a");
  await quiet.connect();
  const channel = channels[0];
  await quiet.disconnect();
  expect(lines).toEqual([
    expect.objectContaining({ msg: "disconnected", channel, route: "/room/:name", namespace: "/room/a" }),
  ]);
  expect(lines[0]).toMatchObject({ reason: "client", code: 4000, lastedMs: expect.any(Number) });

  lines.length = 0;
  const broken = new TestClient(app, "/room/b");
  await broken.connect();
  const other = channels[1];
  await broken.emit("say");
  await broken.closed();
  await untilIdle(app);
  expect(lines.map(({ msg, channel: named }) => [msg, named])).toEqual([
    ["receive failed", other],
    ["disconnected", other],
  ]);
  await app.stop();
});

test("routes have levels of their own", async () => {
  const lines: Record<string, unknown>[] = [];
  const logger = pino({ level: "info" }, { write: (line) => void lines.push(JSON.parse(line)) });
  const app = createApplication({
    routes: [route("/loud", Quiet), route("/still", Quiet), route("/usual", Quiet)],
  });
  logSignals(app.signals, logger, { levels: { "/loud": "trace", "/still": "error" } });
  for (const namespace of ["/loud", "/still", "/usual"]) {
    const client = new TestClient(app, namespace);
    await client.connect();
    await client.emit("say\u202e", "a secret");
    await client.disconnect();
  }
  const told = lines.filter(({ route: pattern }) => pattern).map(({ route: pattern, msg }) => [pattern, msg]);
  expect(told).toEqual([
    ["/loud", "connected"],
    ["/loud", "received"],
    ["/loud", "disconnected"],
    ["/usual", "disconnected"],
  ]);
  expect(lines.find(({ msg }) => msg === "received")).toMatchObject({ event: "say\\u202e" });
  expect(JSON.stringify(lines)).not.toContain("a secret");
  expect(() => logSignals(app.signals, logger, { levels: { "/loud": "shrill" } })).toThrow(
    '"shrill" is no level',
  );
  await app.stop();
});

test("of refusals in the audit some are written, of what was done each", async () => {
  const { app, lines, stop } = logged();
  const fact = { action: "login", target: "a\nb", by: "eve\u001b[31m", remoteAddress: "::1" };
  for (let n = 0; n < 200; n += 1) app.signals.audited.announce({ ...fact, outcome: "refused" });
  for (let n = 0; n < 200; n += 1) app.signals.audited.announce({ ...fact, outcome: "done" });
  const count = (outcome: string) => lines.filter((line) => line.outcome === outcome).length;
  expect(count("done")).toBe(200);
  // Of each second there may be so many, and this may take two.
  expect(count("refused")).toBeLessThanOrEqual(100);
  expect(lines[0]).toMatchObject({ target: "a\\u000ab", by: "eve\\u001b[31m" });
  stop();
  await app.stop();
});

test("an error that quotes a client can move no cursor, and what it says stays whole", () => {
  const error = new Error("no room \u001b[2J\u009b31m\u202eback\r\nsecond line", {
    cause: new Error("\u0007"),
  });
  error.name = "Bad\u001b[31m\nName";
  const told = loggable(error) as Readonly<Record<"type" | "message" | "stack", string>>;
  expect(told.message).toBe("no room \\u001b[2J\\u009b31m\\u202eback\\u000d\nsecond line");
  expect(told.type).toBe("Bad\\u001b[31m\\u000aName");
  expect(told.stack).toContain("second line\n    at ");
  expect(told).toMatchObject({ cause: { message: "\\u0007" } });
  expect(JSON.stringify(told)).not.toMatch(/[\u007f-\u009f\u202e]|\\u001b[^[]/);
  expect(told.message + told.stack).not.toContain("\u001b");
  const odd = Object.assign(new Error(), { message: 7, stack: {}, name: undefined });
  expect(loggable(odd)).toEqual({ type: "undefined", message: "7" });
});

test("what libraries hang on their errors does not get into a line", () => {
  const cause = Object.assign(new Error("refused"), { code: "ECONNREFUSED", password: "hunter2" });
  const error = Object.assign(new TypeError("request failed", { cause }), {
    config: { headers: { authorization: "Bearer hunter2" } },
  });
  const told = loggable(error) as { readonly cause: unknown };
  expect(told).toMatchObject({ type: "TypeError", message: "request failed", stack: error.stack });
  expect(told.cause).toMatchObject({ type: "Error", message: "refused", code: "ECONNREFUSED" });
  expect(JSON.stringify(told)).not.toContain("hunter2");
  expect(loggable("text\nof two lines")).toBe("text\\u000aof two lines");
  let line = "";
  const write = (text: string) => {
    line = text;
  };
  createLogger("info", { write }).error({ err: error }, "oops");
  expect(JSON.parse(line).err).toMatchObject({ message: "request failed", cause: { code: "ECONNREFUSED" } });
  expect(line).not.toContain("hunter2");
  const app = createApplication({ routes: [] });
  const stop = logSignals(app.signals, createLogger("info", { write }));
  app.signals.failed.announce({ hook: "http", error });
  expect(JSON.parse(line)).toMatchObject({ msg: "http failed", err: { message: "request failed" } });
  stop();
  const circle = new Error("round");
  circle.cause = circle;
  expect(JSON.stringify(loggable(circle)).length).toBeLessThan(20_000);
});
