/** What the pages show of the core runs as it stands, and does what they say. */
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { blockOf, complete, Project } from "../guides.ts";
import { surroundingsOf } from "./surroundings.ts";

jest.setTimeout(90_000);

let project: Project;

beforeAll(async () => {
  project = await Project.make();
});
afterAll(() => project.close());

/** Runs a page's first block with that in it, with what tries it; what both wrote, line by line. */
async function tried(
  page: string,
  language: string,
  word: string,
  after: string,
  before = "",
): Promise<readonly string[]> {
  const block = await blockOf(page, language, word);
  const [first, last] = [before, after].map((code) => code.replace(/^ {4}/gm, ""));
  const code = await complete([first, block, last].join("\n"), surroundingsOf(page));
  return (await project.run(code)).trimEnd().split("\n");
}

test("a first consumer refuses strangers, tells a room what is said, and why it ends", async () => {
  const attempt = `
    const app = createApplication({ routes: [route("/chat/:room", ChatConsumer)] });
    console.log(JSON.stringify(await new TestClient(app, "/chat/den").connect()));
    const ann = new TestClient(app, "/chat/den", { auth: { token: "letmein" } });
    await ann.connect();
    console.log(JSON.stringify(await ann.emit("say", "hi")), await ann.next("said"));
    console.log((await ann.emit("say", 7)).error.code);
    await ann.disconnect();
    await app.stop();`;
  expect(await tried("docs/consumers.md", "ts", "export class ChatConsumer", attempt)).toEqual([
    "denied",
    '{"accepted":false,"code":4401,"reason":"log in first"}',
    '{"sent":true} hi',
    "invalid_message",
    "client",
  ]);
});

test("the chat of Channels' tutorial", async () => {
  const attempt = `
    const [ann, bob] = ["/chat/den", "/chat/den"].map((room) => new TestClient(app, room));
    await ann.connect();
    await bob.connect();
    await ann.emit("say", { text: "hi" });
    console.log(JSON.stringify([await ann.next("message"), await bob.next("message")]));
    await bob.disconnect();
    console.log(app.layer.groupMembers("chat_den").length);
    console.log((await new TestClient(app, "/chat/a%20b").connect()).code);
    await app.stop();`;
  expect(await tried("docs/from-django-channels.md", "ts", "class ChatConsumer", attempt)).toEqual([
    '[{"text":"hi"},{"text":"hi"}]',
    "1",
    "4404",
  ]);
});

test("a table of events takes what its schemas take, and nothing else", async () => {
  const attempt = `
    const app = createApplication({ routes: [route("/chat", ChatConsumer)] });
    const ann = new TestClient(app, "/chat");
    await ann.connect();
    for (const [event, payload] of [["say", { text: "hi" }], ["ping"], ["say", 7], ["shout"]]) {
      const answer = await ann.emit(event, payload);
      console.log(event, answer?.error?.code ?? JSON.stringify(answer));
    }
    await app.stop();`;
  expect(await tried("docs/consumers.md", "ts", "static override readonly events", attempt)).toEqual([
    'say {"sent":true}',
    'ping "pong"',
    "say invalid_message",
    "shout no_handler",
  ]);
});

test("a codec stands between the wire and the handlers", async () => {
  await project.write("node_modules/superjson/package.json", '{ "type": "module", "exports": "./index.js" }');
  await project.write(
    "node_modules/superjson/index.js",
    "export default { serialize: (at) => at.getTime(), deserialize: (ms) => new Date(ms) };",
  );
  const attempt = `
    class Diary extends Calendar {
      async receive(_event, at) { return new Date(at.getTime() + 1); }
    }
    const app = createApplication({ routes: [route("/diary", Diary)] });
    const ann = new TestClient(app, "/diary");
    await ann.connect();
    console.log(await ann.emit("later", 41));
    await app.stop();`;
  expect(await tried("docs/consumers.md", "ts", "superjson", attempt)).toEqual(["42"]);
});

test("a consumer that says what it speaks", async () => {
  const attempt = `
    const options = { maxPeople: 3 };
    const app = createApplication({ routes: [route("/chat/:room", ChatConsumer, { options })] });
    const ann = new TestClient(app, "/chat/den");
    await ann.connect();
    ann.send("say", { text: "hi" });
    console.log(JSON.stringify(await ann.next("said")));
    await app.stop();`;
  expect(await tried("docs/consumers.md", "ts", "interface Chat", attempt)).toEqual(['{"text":"hi"}']);
});

test("routes are found, and named", async () => {
  const attempt = `
    console.log(app.url("chat", { room: "lobby" }), app.url("admin:user", { id: 7 }));
    const ann = new TestClient(app, "/admin/users/7");
    console.log((await ann.connect()).accepted, (await new TestClient(app, "/").connect()).code);
    await app.stop();`;
  expect(await tried("docs/routing.md", "ts", "include(", attempt)).toEqual([
    "/chat/lobby /admin/users/7",
    "true 4404",
  ]);
});

test("a converter of one's own", async () => {
  const attempt = `
    console.log(app.url("archive", { from: new Date(0) }));
    const ann = new TestClient(app, "/archive/1999");
    await ann.connect();
    console.log(app.layer.groupMembers("archive.1999").length);
    console.log((await new TestClient(app, "/archive/soon").connect()).code);
    await app.stop();`;
  expect(await tried("docs/routing.md", "ts", "converters: {", attempt)).toEqual([
    "/archive/1970",
    "1",
    "4404",
  ]);
});

test("middleware hands a user down, or refuses", async () => {
  const attempt = `
    const app = createApplication({ middleware: [logIn], routes: [route("/chat", class extends Consumer {
      connect() { this.send("you", this.scope.user); }
    })] });
    async function findUser(sid) { return sid === "right" ? { name: "Ann" } : undefined; }
    const headers = { cookie: "sid=right" };
    const ann = new TestClient(app, "/chat", { headers });
    await ann.connect();
    console.log(JSON.stringify(await ann.next("you")));
    console.log(JSON.stringify(await new TestClient(app, "/chat").connect()));
    await app.stop();`;
  expect(await tried("docs/routing.md", "ts", "export const logIn", attempt)).toEqual([
    '{"name":"Ann"}',
    '{"accepted":false,"code":4401,"reason":"log in first"}',
  ]);
});

test("one that stays is around every hook", async () => {
  const attempt = `
    const hooks = [];
    histogram.record = (hook) => hooks.push(hook);
    const app = createApplication({ middleware: [timed], routes: [route("/x", class extends Consumer {
      receive() {}
    })] });
    const ann = new TestClient(app, "/x");
    await ann.connect();
    await ann.emit("a");
    await ann.disconnect();
    console.log(hooks.join());
    await app.stop();`;
  expect(await tried("docs/routing.md", "ts", "const timed", attempt)).toEqual([
    "connect,receive,disconnect",
  ]);
});

test("only administrators, by what an earlier middleware found", async () => {
  const before = `
    const logIn = (scope, next) => next({ user: { isAdmin: scope.auth.word === "open" } });`;
  const after = `
    const routes = [route("/admin", class extends Consumer {})];
    const app = createApplication({ middleware: [logIn, requireAdmin], routes });
    for (const word of ["open", "shut"]) {
      console.log(JSON.stringify(await new TestClient(app, "/admin", { auth: { word } }).connect()));
    }
    await app.stop();`;
  expect(await tried("docs/routing.md", "ts", "const requireAdmin", after, before)).toEqual([
    '{"accepted":true}',
    '{"accepted":false,"code":4403,"reason":"administrators only"}',
  ]);
});

test("the layer reaches clients, consumers and one of them", async () => {
  const before = `
    class Room extends Consumer {
      static groups = ["chat.lobby"];
      roomClosed() { this.send("closed", true); }
      youWon() { this.send("won", true); }
    }
    const app = createApplication({ routes: [route("/room", Room)] });
    const ann = new TestClient(app, "/room");
    await ann.connect();
    const [channel] = app.layer.groupMembers("chat.lobby");`;
  const after = `
    console.log(JSON.stringify(await ann.next("notice")), await ann.next("closed"), await ann.next("won"));
    await app.stop();`;
  expect(await tried("docs/groups.md", "ts", "app.layer.send", after, before)).toEqual([
    '{"text":"maintenance at noon"} true true',
  ]);
});

test("nodes of one process hear each other after a while", async () => {
  const before = `
    const routes = [route("/room", class extends Consumer { static groups = ["room"]; })];`;
  const after = `
    const ann = new TestClient(two, "/room");
    await ann.connect();
    await one.start();
    await one.layer.groupEmit("room", "said", "hi");
    console.log(await ann.next("said"));
    await one.stop();
    await two.stop();`;
  expect(await tried("docs/groups.md", "ts", "new MemoryHub", after, before)).toEqual(["hi"]);
});

test("signals of one's own are sent, sent robustly and announced, to those who listen to their sender", async () => {
  const attempt = `
    const answers = await orderPaid.sendRobust({ orderId: "43" }, shop);
    console.log(JSON.stringify(answers), (await orderPaid.sendRobust({ orderId: "44" }, {})).length);
    disconnect();
    console.log((await orderPaid.sendRobust({ orderId: "45" }, shop)).length);`;
  const lines = await tried(
    "docs/signals.md",
    "ts",
    'new Signal<{ orderId: string }>("order.paid")',
    attempt,
  );
  expect(lines).toEqual([expect.stringContaining('"43"'), "0"]);
});

test("a fact of the core is heard by its receiver", async () => {
  const before = `
    const told = [];
    const count = (kind, ms) => told.push(kind + " " + typeof ms);
    const app = createApplication({ routes: [route("/room", class extends Consumer {})] });`;
  const after = `
    const ann = new TestClient(app, "/room");
    await ann.connect();
    await ann.disconnect();
    console.log(told.join());
    await app.stop();`;
  expect(await tried("docs/signals.md", "ts", "signals.disconnected.connect", after, before)).toEqual([
    "client number",
  ]);
});

test("signals of the core, and a consumer that hears them in turn", async () => {
  const attempt = `
    const app = createApplication({ routes: [route("/shop", ShopConsumer)] });
    const ann = new TestClient(app, "/shop");
    await ann.connect();
    await orderPaid.send({ orderId: "42" });
    console.log(JSON.stringify(await ann.next("order.paid")));
    await app.stop();`;
  expect(await tried("docs/signals.md", "ts", "class ShopConsumer", attempt)).toEqual(['{"orderId":"42"}']);
});

test("facts are logged as lines of JSON", async () => {
  const attempt = `
    await app.start();
    await app.stop();
    stop();`;
  const lines = await tried("docs/signals.md", "ts", "logSignals(", attempt);
  expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual([
    expect.stringContaining("start"),
    expect.stringContaining("stop"),
  ]);
});
