import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { type Application, createApplication, MemoryBackplane, MemoryHub } from "sluice";
import { TestClient } from "sluice/testing";
import { chatRoutes } from "../../routing/routes.ts";

let app: Application;

async function enter(name: string, room = "den"): Promise<TestClient> {
  const client = new TestClient(app, app.url("chat", { room }), { auth: { name } });
  expect(await client.connect()).toEqual({ accepted: true });
  return client;
}

beforeEach(() => {
  app = createApplication({ routes: chatRoutes() });
});

afterEach(() => app.stop());

describe("a chat room", () => {
  test("welcomes with who is here, and tells the others", async () => {
    const ann = await enter("Ann");
    expect(await ann.next("welcome")).toEqual({
      room: "den",
      you: { id: expect.any(String), name: "Ann" },
      people: [{ id: expect.any(String), name: "Ann" }],
      at: expect.any(Number),
    });
    const bob = await enter(" Bob ");
    const { you, people } = (await bob.next("welcome")) as { you: { name: string }; people: unknown[] };
    expect([you.name, people.length]).toEqual(["Bob", 2]);
    expect(await ann.next("joined")).toMatchObject({ name: "Bob", at: expect.any(Number) });
    await bob.expectSilence("joined");
  });

  test("brings a message to everyone in it, with the id of its acknowledgement, and to nobody else", async () => {
    const [ann, bob, cid] = [await enter("Ann"), await enter("Bob"), await enter("Cid", "attic")];
    const answer = (await ann.emit("say", { text: " hello " })) as { id: string; at: number };
    const message = { ...answer, from: { id: expect.any(String), name: "Ann" }, text: "hello" };
    expect(await ann.next("message")).toEqual(message);
    expect(await bob.next("message")).toEqual(message);
    await cid.expectSilence("message");
  });

  test.each([[{}], [{ text: "  " }], [{ text: "x".repeat(4001) }], [{ text: 7 }], ["text"], [undefined]])(
    "refuses to say %j, and goes on",
    async (payload) => {
      const ann = await enter("Ann");
      expect(await ann.emit("say", payload)).toMatchObject({ error: { code: "invalid_message" } });
      expect(await ann.emit("say", { text: "ok" })).toMatchObject({ id: expect.any(String) });
    },
  );

  test("shows the others who is typing", async () => {
    const [ann, bob] = [await enter("Ann"), await enter("Bob")];
    await ann.emit("typing", { typing: true });
    expect(await bob.next("typing")).toMatchObject({ name: "Ann", typing: true });
    await ann.expectSilence("typing");
  });

  test("tells who is left when somebody leaves, however they leave", async () => {
    const [ann, bob, cid] = [await enter("Ann"), await enter("Bob"), await enter("Cid")];
    await bob.disconnect();
    expect(await ann.next("left")).toMatchObject({ name: "Bob" });
    await cid.drop();
    expect(await ann.next("left")).toMatchObject({ name: "Cid" });
  });

  test.each([
    [{}],
    [{ name: "" }],
    [{ name: "  " }],
    [{ name: "x".repeat(41) }],
    [{ name: "a\u0000b" }],
    [{ name: 7 }],
  ])("refuses %j for a name", async (auth) => {
    const entry = await new TestClient(app, "/chat/den", { auth }).connect();
    expect(entry).toEqual({ accepted: false, code: 4400, reason: "Choose a name of 1 to 40 characters." });
  });

  test.each(["👩‍💻 Ada", "می‌خواهم", "🇺🇳", "Zoë"])("takes %s for a name", async (name) => {
    const ann = await enter(name);
    expect(await ann.next("welcome")).toMatchObject({ you: { name } });
  });

  test("refuses a room whose name makes no group's name", async () => {
    const client = new TestClient(app, "/chat/no%20room", { auth: { name: "Ann" } });
    expect(await client.connect()).toMatchObject({ accepted: false, code: 4400 });
  });
});

describe("the lobby", () => {
  test.each(["/lobby", "/chat/den"])("and every room say which node serves them: %s", async (path) => {
    await app.stop();
    app = createApplication({ routes: chatRoutes({ node: "7@web-1" }) });
    const client = new TestClient(app, path, { auth: { name: "Ann" } });
    await client.connect();
    expect(await client.next("node")).toEqual({ name: "7@web-1" });
  });

  test("lists the rooms, and every change of them", async () => {
    await enter("Ann");
    const lobby = new TestClient(app, app.url("lobby"));
    await lobby.connect();
    expect(await lobby.next("rooms")).toEqual({ rooms: [{ name: "den", people: 1 }] });
    const cid = await enter("Cid", "attic");
    await enter("Bob");
    const both = [
      { name: "den", people: 2 },
      { name: "attic", people: 1 },
    ];
    let list = await lobby.next("rooms");
    while (JSON.stringify(list) !== JSON.stringify({ rooms: both })) list = await lobby.next("rooms");
    await cid.disconnect();
    while (JSON.stringify(list) !== JSON.stringify({ rooms: [both[0]] })) list = await lobby.next("rooms");
  });

  test("lists the rooms of other nodes as well, and adds up whom they have", async () => {
    const hub = new MemoryHub();
    const [one, two] = ["1@a", "2@b"].map((node) =>
      createApplication({ routes: chatRoutes({ node }), backplane: new MemoryBackplane(hub) }),
    ) as [Application, Application];
    await Promise.all([one.start(), two.start()]);
    const lobby = new TestClient(two, two.url("lobby"));
    await lobby.connect();
    const come = async (on: Application, name: string, room: string) => {
      const client = new TestClient(on, on.url("chat", { room }), { auth: { name } });
      await client.connect();
      return client;
    };
    const ann = await come(one, "Ann", "den");
    await come(two, "Bob", "den");
    await come(one, "Cid", "attic");
    const until = async (rooms: unknown) => {
      let list = await lobby.next("rooms");
      while (JSON.stringify(list) !== JSON.stringify({ rooms })) list = await lobby.next("rooms");
    };
    await until([
      { name: "den", people: 2 },
      { name: "attic", people: 1 },
    ]);
    await ann.disconnect();
    await until([
      { name: "attic", people: 1 },
      { name: "den", people: 1 },
    ]);
    await Promise.all([one.stop(), two.stop()]);
  });
});
