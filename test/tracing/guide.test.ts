/** The guide's program runs as it stands, and writes what it says it does. */
import { expect, test } from "@jest/globals";
import { transform } from "esbuild";
import { blockOf, Project } from "../guides.ts";
import { atEnd, connected, heard, stock, until } from "../server/live-server.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";

test("a page hands its own trace on with each event", async () => {
  const project = await Project.make("@opentelemetry", "socket.io", "socket.io-client");
  atEnd(() => project.close());
  const block = await blockOf("docs/tracing.md", "js", "carryTrace");
  const code = `
    import { trace, TraceFlags } from "@opentelemetry/api";
    import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
    import { W3CTraceContextPropagator } from "@opentelemetry/core";
    import { Server } from "socket.io";
    import { io } from "socket.io-client";
    const server = new Server(0);
    server.on("connection", (socket) => socket.on("say", (...told) => {
      console.log(JSON.stringify(told));
      if (told[0] === "outside") process.exit();
    }));
    const socket = io("http://127.0.0.1:" + server.httpServer.address().port);
    ${block}
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    propagation.setGlobalPropagator(new W3CTraceContextPropagator());
    await new Promise((resolve) => socket.on("connect", resolve));
    const span = { traceId: "${TRACE}", spanId: "b7ad6b7169203331", traceFlags: TraceFlags.SAMPLED };
    context.with(trace.setSpanContext(context.active(), span), () => socket.emit("say", "inside"));
    socket.emit("say", "outside");`;
  const told = (await project.run(code))
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  expect(told).toEqual([["inside", { traceparent: `00-${TRACE}-b7ad6b7169203331-01` }], ["outside"]]);
});

test("a chat that writes its spans to the terminal", async () => {
  const project = await Project.make("@opentelemetry");
  atEnd(() => project.close());
  const block = await blockOf("docs/tracing.md", "ts", "ConsoleSpanExporter");
  await project.write("traced.js", (await transform(block, { loader: "ts", target: "es2022" })).code);
  const program = project.start(["traced.js"], { env: { PORT: "0" } });
  const socket = await connected(stock(`${await program.says(/^(http:\S+)/m)}/chat`));
  const counted = heard(socket, "counted");
  socket.emit("say", "one two three", { traceparent: `00-${TRACE}-b7ad6b7169203331-01` });
  expect(await counted).toEqual([3]);
  await program.says(/name: 'run words.count'/);
  const names = [...program.output.matchAll(new RegExp(`traceId: '${TRACE}',.*?name: '([^']+)'`, "gs"))];
  expect(names.map(([, name]) => name).sort()).toEqual([
    "enqueue words.count",
    "event /chat",
    "groupEmit",
    "groupEmit",
    "progress words.count",
    "run words.count",
  ]);
  const before = program.output.length;
  socket.disconnect();
  await until(() => program.output.slice(before).includes("disconnect /chat"), "its end is told");
  expect(program.output).not.toContain("one two three");
});
