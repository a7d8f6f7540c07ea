import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { type Application, type ApplicationOptions, createApplication, MemoryHistory } from "sluice";
import { TestClient, TestCluster } from "sluice/testing";
import { groups } from "../../routing/groups.ts";
import { guestInfo } from "../../routing/guests.ts";
import { chatRoutes } from "../../routing/routes.ts";

const secret = "a secret that all nodes of a test share";
/** The demo's, but nobody waits long for those who leave. */
const quick = Object.fromEntries(
  Object.entries(groups).map(([pattern, policy]) => [pattern, { ...policy, presence: { graceMs: 300 } }]),
);
const apps: Application[] = [];
let app: Application;

/** The demo, as a node that keeps what it shares with others in `options`. */
function demo(options: Omit<ApplicationOptions, "routes"> = {}, node = "7@web-1"): Application {
  const made = createApplication({
    ...{ routes: chatRoutes({ node }), userInfo: guestInfo, groups: quick, secret },
    ...{ history: new MemoryHistory(), ...options },
  });
  apps.push(made);
  return made;
}

function browserOf(name: string): string {
  return `what only ${name}'s browser knows`;
}

/** A tab; people have one browser each. */
async function enter(
  name: string,
  { room = "den", browser = browserOf(name), on = app } = {},
): Promise<TestClient> {
  const auth = { name, secret: browser };
  const client = new TestClient(on, on.url("chat", { room }), { auth, timeoutMs: 8_000 });
  await expect(client).toBeAccepted();
  return client;
}

interface Told {
  readonly type: "list" | "join" | "leave" | "update";
  readonly user: string;
  readonly info: { readonly name: string };
  readonly users: readonly Omit<Told, "type" | "users">[];
}

/** The names of those who are here, as it was told on entering. */
async function list(client: TestClient): Promise<string[]> {
  for (;;) {
    const { type, users } = (await client.next("sluice.presence")) as Told;
    if (type === "list") return users.map(({ info }) => info.name).sort();
  }
}

/** What it is told next of somebody's coming, going or new name; its own coming left out. */
async function next(client: TestClient, myName: string): Promise<string> {
  for (;;) {
    const { type, info } = (await client.next("sluice.presence")) as Told;
    if (type !== "list" && info.name !== myName) return `${type} ${info.name}`;
  }
}

beforeEach(() => {
  app = demo();
});

afterEach(() => Promise.all(apps.splice(0).map((each) => each.stop())));

describe("a chat room", () => {
  test("says who one is and who is here, and tells the others", async () => {
    const ann = await enter("Ann");
    expect(ann.pending.map(({ event }) => event).filter((event) => !event.startsWith("sluice."))).toEqual([
      ...["node", "you", "welcome"],
    ]);
    expect(await ann.next("you")).toEqual({ id: expect.any(String), name: "Ann" });
    expect(await ann.next("welcome")).toEqual({
      ...{ room: "den", knowsPeople: true, canExport: false },
      at: expect.any(Number),
    });
    expect(await list(ann)).toEqual(["Ann"]);
    const bob = await enter(" Bob ");
    expect(await bob.next("you")).toMatchObject({ name: "Bob" });
    expect(await list(bob)).toEqual(["Ann", "Bob"]);
    expect(await next(ann, "Ann")).toBe("join Bob");
  });

  test("takes two tabs of a browser for one person, and two browsers for two, whatever the name", async () => {
    const [ann, tab, other] = [
      await enter("Ann"),
      await enter("Ann"),
      await enter("Ann", { browser: browserOf("another Ann") }),
    ];
    const [me, again, namesake] = [await ann.next("you"), await tab.next("you"), await other.next("you")];
    expect(again).toEqual(me);
    expect(namesake).not.toEqual(me);
    expect(await list(other)).toEqual(["Ann", "Ann"]);
    await tab.disconnect();
    await other.drop();
    // Who has left last is told last.
    const { user } = await leaveOf(ann);
    expect(user).toBe((namesake as { id: string }).id);
    expect((await app.layer.presence("chat.den")).map(({ connections }) => connections)).toEqual([1]);
  });

  test("shows nobody the secret of a browser, nor anything that lets one in as somebody else", async () => {
    const [ann, eve] = [await enter("Ann"), await enter("Eve")];
    await ann.emit("say", { text: "hi" });
    await ann.emit("typing", { typing: true });
    await eve.next("typing");
    const seen = JSON.stringify(eve.pending);
    expect(seen).not.toContain(browserOf("Ann"));
    const { id } = (await ann.next("you")) as { id: string };
    expect(seen).toContain(id);
    const posing = await enter("Ann", { browser: id });
    expect(((await posing.next("you")) as { id: string }).id).not.toBe(id);
  });

  test("takes names of all scripts, and none that cannot be seen or turns the text around it", async () => {
    for (const name of ["Zoë", "李", "נועה", "علي\u200cرضا", "👩\u200d🚀", "O'Neil, 2nd", "-"]) {
      await (await enter(name)).disconnect();
    }
    const zero = ["\u200b", "\u200d\u2060", "\u3164", "\u2800", "\ufeff", "\u00ad", "\u0301"];
    const turning = ["a\u202eb", "a\u2066b", "a\u200fb", "a\u061cb", "a\u2028b", "a\u0000b", "a\ud800b"];
    for (const name of [...zero, ...turning, "", " ", "x".repeat(41), null, ["Ann"], { name: "Ann" }]) {
      const auth = { name, secret: browserOf("x") };
      const client = new TestClient(app, app.url("chat", { room: "den" }), { auth });
      expect([name, await client.connect()]).toEqual([name, expect.objectContaining({ code: 4400 })]);
    }
  });

  test("tells a new name to all, and all tabs of its owner speak under it", async () => {
    const [ann, tab, bob] = [await enter("Ann"), await enter("Ann"), await enter("Bob")];
    expect(await ann.emit("rename", { name: " Anna " })).toEqual({ name: "Anna" });
    expect(await next(bob, "Bob")).toBe("update Anna");
    await tab.next("sluice.presence");
    for (const speaker of [ann, tab]) {
      await speaker.emit("say", { text: "it's me" });
      expect(await bob.next("message")).toMatchObject({ from: { name: "Anna" } });
    }
    expect(await list(await enter("Cid"))).toEqual(["Anna", "Bob", "Cid"]);
  });

  test.each([[{}], [{ name: " " }], [{ name: "x".repeat(41) }], [{ name: 7 }], ["Anna"], [undefined]])(
    "takes no %j for a new name",
    async (payload) => {
      const ann = await enter("Ann");
      expect(await ann.emit("rename", payload)).toMatchObject({ error: { code: "invalid_message" } });
      expect(await ann.emit("say", { text: "still Ann" })).toMatchObject({ id: expect.any(String) });
      expect(await ann.next("message")).toMatchObject({ from: { name: "Ann" } });
    },
  );

  test("brings a message to everyone in it, with the id of its acknowledgement, and to nobody else", async () => {
    const [ann, bob, cid] = [await enter("Ann"), await enter("Bob"), await enter("Cid", { room: "attic" })];
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

  test("tells of those who leave, however they leave, and of nobody who is back within the grace period", async () => {
    const [ann, bob, cid] = [await enter("Ann"), await enter("Bob"), await enter("Cid")];
    await cid.drop();
    await enter("Cid");
    await bob.disconnect();
    const told = [await next(ann, "Ann"), await next(ann, "Ann"), await next(ann, "Ann")];
    expect(told).toEqual(["join Bob", "join Cid", "leave Bob"]);
    await ann.expectSilence("sluice.presence");
  });

  test("goes on where nobody counts who is here", async () => {
    app = demo({ groups: {} });
    const [ann, bob] = [await enter("Ann"), await enter("Bob")];
    expect(await bob.next("welcome")).toMatchObject({ knowsPeople: false });
    await ann.emit("say", { text: "hi" });
    expect(await bob.next("message")).toMatchObject({ text: "hi" });
    expect(bob.pending.filter(({ event }) => event === "sluice.presence")).toEqual([]);
    const lobby = new TestClient(app, app.url("lobby"));
    await lobby.connect();
    await rooms(lobby, [{ name: "den" }]);
  });

  test.each([
    [{}],
    [{ name: "" }],
    [{ name: "  " }],
    [{ name: "x".repeat(41) }],
    [{ name: "a\u0000b" }],
    [{ name: 7 }],
  ])("refuses %j for a name", async (auth) => {
    const entry = await new TestClient(app, "/chat/den", {
      auth: { secret: browserOf("Ann"), ...auth },
    }).connect();
    expect(entry).toEqual({ accepted: false, code: 4400, reason: "Choose a name of 1 to 40 characters." });
  });

  test.each([[{}], [{ secret: "x".repeat(19) }], [{ secret: "x".repeat(101) }], [{ secret: ["x"] }]])(
    "refuses %j for a secret",
    async (auth) => {
      const entry = await new TestClient(app, "/chat/den", { auth: { name: "Ann", ...auth } }).connect();
      expect(entry).toEqual({
        ...{ accepted: false, code: 4400 },
        reason: "Send a secret of 20 to 100 characters that only you know.",
      });
    },
  );

  test.each(["👩‍💻 Ada", "می‌خواهم", "🇺🇳", "Zoë"])("takes %s for a name", async (name) => {
    const ann = await enter(name);
    expect(await ann.next("you")).toMatchObject({ name });
  });

  test("refuses a room whose name makes no group's name", async () => {
    const client = new TestClient(app, "/chat/no%20room", {
      auth: { name: "Ann", secret: browserOf("Ann") },
    });
    await expect(client).toBeRefusedWith(4400);
  });
});

describe("the lobby", () => {
  test.each(["/lobby", "/chat/den"])("and every room say which node serves them: %s", async (path) => {
    const client = new TestClient(app, path, { auth: { name: "Ann", secret: browserOf("Ann") } });
    await client.connect();
    expect(await client.next("node")).toEqual({ name: "7@web-1" });
  });

  test("lists the rooms with their people, not their tabs, and every change of them", async () => {
    await enter("Ann");
    await enter("Ann");
    const lobby = new TestClient(app, app.url("lobby"), { timeoutMs: 10_000 });
    await lobby.connect();
    await rooms(lobby, [{ name: "den", people: 1 }]);
    const cid = await enter("Cid", { room: "attic" });
    await enter("Bob");
    const den = { name: "den", people: 2 };
    await rooms(lobby, [den, { name: "attic", people: 1 }]);
    await cid.disconnect();
    await rooms(lobby, [den]);
  }, 15_000);

  test("lists the rooms of other nodes as well, with the people of all nodes", async () => {
    const cluster = await TestCluster.start((backing, number) => demo(backing, `${number}@web`));
    const [one, two] = [cluster.node(1).app, cluster.node(2).app];
    const lobby = new TestClient(two, two.url("lobby"), { timeoutMs: 15_000 });
    await lobby.connect();
    const ann = await enter("Ann", { on: one });
    await enter("Bob", { on: two });
    await enter("Bob", { on: one });
    await enter("Cid", { on: one, room: "attic" });
    await rooms(lobby, [
      { name: "den", people: 2 },
      { name: "attic", people: 1 },
    ]);
    await ann.disconnect();
    await cluster.advance(300);
    await rooms(lobby, [
      { name: "attic", people: 1 },
      { name: "den", people: 1 },
    ]);
    await cluster.stop();
  }, 20_000);
});

/** Waits until the lobby shows these. */
async function rooms(lobby: TestClient, expected: readonly object[]): Promise<void> {
  let shown: unknown;
  while (JSON.stringify(shown) !== JSON.stringify({ rooms: expected })) shown = await lobby.next("rooms");
}

async function leaveOf(client: TestClient): Promise<Told> {
  for (;;) {
    const told = (await client.next("sluice.presence")) as Told;
    if (told.type === "leave") return told;
  }
}
