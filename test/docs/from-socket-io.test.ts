/** The program on the page for people from Socket.IO, before and after, with the same clients. */
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { io, type Socket } from "socket.io-client";
import { blockOf, type Program, Project } from "../guides.ts";
import { freePort } from "../redis/redis-server.ts";
import { atEnd, connected, heard, until } from "../server/live-server.ts";

jest.setTimeout(60_000);

const blocks: Readonly<Record<string, () => Promise<string>>> = {
  "before.js": () => blockOf("docs/from-socket-io.md", "js", "// before.js"),
  "after.js": () => blockOf("docs/from-socket-io.md", "js", "// after.js"),
};
let project: Project;

beforeAll(async () => {
  project = await Project.make("socket.io", "socket.io-client");
});
afterAll(() => project.close());

async function started(file: string): Promise<{ readonly program: Program; readonly url: string }> {
  await project.write(file, (await blocks[file]?.()) ?? "");
  const program = project.start([file], { env: { PORT: String(await freePort()) } });
  atEnd(() => program.end("SIGKILL"));
  return { program, url: await program.says(/^(http:\S+)$/m) };
}

function visitor(url: string, name?: string): Socket {
  const auth = name === undefined ? {} : { name };
  const socket = io(`${url}/chat`, { auth, forceNew: true, reconnection: false });
  atEnd(() => socket.disconnect());
  return socket;
}

test.each(Object.keys(blocks))("%s does what the page says, to the same stock clients", async (file) => {
  const { url } = await started(file);
  const [ann, bob, nobody] = [visitor(url, "Ann"), visitor(url, "Bob"), visitor(url)];
  const refused = new Promise<Error>((resolve) => nobody.on("connect_error", resolve));
  expect((await refused).message).toBe("who are you?");
  await Promise.all([connected(ann), connected(bob)]);
  expect(await ann.emitWithAck("join", { room: "den" })).toEqual({ people: 1 });
  const told: unknown[] = [];
  for (const event of ["joined", "said", "typing", "left"]) {
    ann.on(event, (payload) => told.push([event, payload]));
  }
  expect(await bob.emitWithAck("join", { room: "den" })).toEqual({ people: 2 });
  const hearing = heard(bob, "said");
  expect(await ann.emitWithAck("say", { room: "den", text: "hi" })).toEqual({ sent: true });
  expect(await hearing).toEqual([{ name: "Ann", text: "hi" }]);
  bob.emit("typing", { room: "den" });
  expect(await bob.emitWithAck("say", { room: "den", text: "hello" })).toEqual({ sent: true });
  bob.disconnect();
  await until(() => told.length === 5, "Ann is told that Bob left");
  expect(told).toEqual([
    ["joined", { name: "Bob" }],
    ["said", { name: "Ann", text: "hi" }],
    ["typing", { name: "Bob" }],
    ["said", { name: "Bob", text: "hello" }],
    ["left", { name: "Bob" }],
  ]);
});

test("a payload that nobody expected ends the one, and is answered by the other", async () => {
  const [before, after] = [await started("before.js"), await started("after.js")];
  const [bare, ours] = [visitor(before.url, "Eve"), visitor(after.url, "Eve")];
  await Promise.all([connected(bare), connected(ours)]);
  bare.emit("say", null);
  expect(await before.program.ended()).not.toBe(0);
  expect(before.program.output).toContain("TypeError");

  expect(await ours.emitWithAck("say", null)).toMatchObject({ error: { code: "invalid_message" } });
  expect(await ours.emitWithAck("join", { room: "den" })).toEqual({ people: 1 });
});

test("the page's client talks to either", async () => {
  const code = await blockOf("docs/from-socket-io.md", "js", "// client.js");
  for (const file of Object.keys(blocks)) {
    const { url } = await started(file);
    const client = `const url = ${JSON.stringify(url)};\n${code}\nsocket.disconnect();`;
    expect(await project.run(client)).toBe("{ people: 1 }\nAnn: hi\n{ sent: true }\n");
  }
});

test("a server of Socket.IO and ours stand side by side on one HTTP server, while routes move", async () => {
  const code = `
    import { createServer as createHttpServer } from "node:http";
    import { Consumer, createApplication, route } from "sluice";
    import { createServer } from "sluice/server";
    import { Server } from "socket.io";
    const server = createHttpServer();
    new Server(server).of("/old").on("connection", (socket) => socket.on("who", (answer) => answer("old")));
    class New extends Consumer { receive() { return "new"; } }
    const app = createApplication({ routes: [route("/new", New)] });
    await createServer(app, { server, path: "/sluice" }).listen();
    server.listen(0, "127.0.0.1", () => console.log("http://127.0.0.1:" + server.address().port));`;
  await project.write("both.js", code);
  const program = project.start(["both.js"]);
  atEnd(() => program.end("SIGKILL"));
  const url = await program.says(/^(http:\S+)$/m);
  for (const transports of [["websocket"], ["polling"]]) {
    const old = io(`${url}/old`, { forceNew: true, reconnection: false, transports });
    const moved = io(`${url}/new`, { forceNew: true, reconnection: false, transports, path: "/sluice" });
    atEnd(() => old.disconnect());
    atEnd(() => moved.disconnect());
    await Promise.all([connected(old), connected(moved)]);
    expect(await old.emitWithAck("who")).toBe("old");
    expect(await moved.emitWithAck("who")).toBe("new");
  }
});
