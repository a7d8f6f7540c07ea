/** The guide's program runs as it stands, and writes what it says it does. */
import { expect, test } from "@jest/globals";
import { transform } from "esbuild";
import { blockOf, Project } from "../guides.ts";
import { atEnd, connected, heard, stock, until } from "../server/live-server.ts";

test("a chat that writes its spans to the terminal", async () => {
  const project = await Project.make("@opentelemetry");
  atEnd(() => project.close());
  const block = await blockOf("docs/tracing.md", "ts", "ConsoleSpanExporter");
  await project.write("traced.js", (await transform(block, { loader: "ts", target: "es2022" })).code);
  const program = project.start(["traced.js"], { env: { PORT: "0" } });
  const socket = await connected(stock(`${await program.says(/^(http:\S+)/m)}/chat`));
  const counted = heard(socket, "counted");
  const trace = "0af7651916cd43dd8448eb211c80319c";
  socket.emit("say", "one two three", { traceparent: `00-${trace}-b7ad6b7169203331-01` });
  expect(await counted).toEqual([3]);
  await program.says(/name: 'run words.count'/);
  const names = [...program.output.matchAll(new RegExp(`traceId: '${trace}',.*?name: '([^']+)'`, "gs"))];
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
