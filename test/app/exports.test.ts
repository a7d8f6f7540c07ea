/** What the demo does in the background: exports of rooms, and the night's count. */
import { afterEach, describe, expect, test } from "@jest/globals";
import {
  type ApplicationOptions,
  createApplication,
  LayerUnavailable,
  MemoryHistory,
  MemoryLogs,
} from "sluice";
import { createServer } from "sluice/server";
import { MemoryBroker, Tasks, type TestTasks, testTasks } from "sluice/tasks";
import { TestClient } from "sluice/testing";
import { Diary, dayOf } from "../../consumers/diary.ts";
import { exportFiles } from "../../routing/exports.ts";
import { diaryGroup, groups, roomGroup, TRANSCRIPT_MS, transcriptGroup } from "../../routing/groups.ts";
import { guestInfo } from "../../routing/guests.ts";
import { pages } from "../../routing/pages.ts";
import { chatRoutes } from "../../routing/routes.ts";
import { work } from "../../routing/tasks.ts";

const DAY_MS = 24 * 3_600_000;
const endings: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end();
});

const parts = (history: ApplicationOptions["history"] = new MemoryHistory()) =>
  ({
    routes: chatRoutes({ node: "7@web-1", diary: new Diary() }),
    userInfo: guestInfo,
    groups,
    history,
    secret: "a secret that all nodes of a test share",
  }) satisfies ApplicationOptions;

/** The demo, whose runs wait for the test to let them go. */
async function demo(history?: ApplicationOptions["history"], now = Date.now()): Promise<TestTasks> {
  const kit = await testTasks({ ...work, application: parts(history), now });
  endings.push(() => kit.stop());
  return kit;
}

/** Its pages and downloads over HTTP. */
async function served({ app, tasks }: Pick<TestTasks, "app" | "tasks">): Promise<string> {
  const server = createServer(app, { port: 0 });
  server.express.use(pages({ clientFolder: "/nowhere" }));
  server.express.use(exportFiles({ tasks, layer: app.layer }));
  const { url } = await server.listen();
  endings.push(() => server.stop());
  return url;
}

async function enter({ app }: Pick<TestTasks, "app">, name: string, room = "den"): Promise<TestClient> {
  const auth = { name, secret: `what only ${name}'s browser knows` };
  const client = new TestClient(app, app.url("chat", { room }), { auth, timeoutMs: 8_000 });
  await expect(client).toBeAccepted();
  return client;
}

interface Begun {
  readonly id: string;
  readonly room: string;
  readonly ticket: string;
}

const next = (tab: TestClient) => tab.next("export") as Promise<Begun>;

function fileOf(url: string, { id, ticket }: Begun): Promise<Response> {
  return fetch(`${url}/exports/${id}?ticket=${ticket}`);
}

/** Exports what was said in a room, and fetches it. */
async function transcript(kit: TestTasks, url: string, room = "den"): Promise<string> {
  const ann = await enter(kit, "Ann", room);
  await ann.emit("export", {});
  expect((await kit.advance(5_000)).at(-1)).toMatchObject({ state: "succeeded" });
  return (await fileOf(url, await next(ann))).text();
}

function say(kit: TestTasks, text: string, name = "Eve", room = "den"): Promise<void> {
  const message = { id: "m", from: { id: "e", name }, text, at: Date.UTC(2026, 10, 21, 12) };
  return kit.app.layer.groupEmit(roomGroup(room), "message", message);
}

describe("an export", () => {
  test("is answered at once; all tabs of who asked get a ticket, and those that come later, and nobody else", async () => {
    const kit = await demo();
    const url = await served(kit);
    const [ann, tab, bob] = [
      await enter(kit, "Ann"),
      await enter(kit, "Ann", "attic"),
      await enter(kit, "Bob"),
    ];
    await ann.emit("say", { text: "hello" });
    const { ticket } = (await ann.emit("export", {})) as Begun;
    expect(await kit.enqueued()).toMatchObject([{ task: "room.export", args: { room: "den" } }]);
    const begun = await next(ann);
    expect(begun).toEqual({ id: expect.any(String), room: "den", ticket });
    expect(await next(tab)).toEqual(begun);
    expect(await next(await enter(kit, "Ann", "attic"))).toEqual(begun);
    await bob.expectSilence("export");
    expect(await kit.drain()).toMatchObject([{ state: "succeeded", result: { room: "den", messages: 1 } }]);

    const response = await fileOf(url, begun);
    const today = dayOf(Date.now());
    expect(response.status).toBe(200);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      "content-type": "text/plain; charset=utf-8",
      "content-disposition": `attachment; filename=chat-den-${today}.txt`,
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      "content-security-policy": expect.stringContaining("default-src 'self'"),
    });
    expect(await response.text()).toMatch(
      /^The room den, \S+ \S+ UTC\. Messages: 1\n\n\[\S+ \S+ UTC\] Ann: hello\n$/,
    );
  });

  test("of a room that is being exported is the same one, whoever asks; afterwards it is another", async () => {
    const kit = await demo();
    const [ann, bob] = [await enter(kit, "Ann"), await enter(kit, "Bob")];
    await Promise.all([ann.emit("export", {}), ann.emit("export", {}), bob.emit("export", {})]);
    expect(await kit.enqueued()).toHaveLength(1);
    expect((await next(bob)).id).toBe((await next(ann)).id);
    expect(await kit.drain()).toHaveLength(1);
    await bob.emit("export", {});
    expect(await kit.advance(5_000)).toMatchObject([{ state: "succeeded" }, { state: "succeeded" }]);
  });

  test("has all that is kept, in order, whatever the pages", async () => {
    const kit = await demo();
    const url = await served(kit);
    for (let n = 1; n <= 230; n++) await say(kit, String(n));
    const lines = (await transcript(kit, url)).trimEnd().split("\n").slice(2);
    expect(lines).toEqual(Array.from({ length: 200 }, (_, n) => `[2026-11-21 12:00:00 UTC] Eve: ${n + 31}`));
  });

  test("is text: nobody can forge a line, or tell a terminal what to do; what is no message is left out", async () => {
    const kit = await demo();
    const url = await served(kit);
    await say(kit, "<b>bold</b>\n[2026-11-21 12:00:00 UTC] Bob: I owe you\r\n\u2028tail\u001b[2J");
    await say(kit, "hi", "Eve\u2028[2026-11-21 12:00:00 UTC] Bob: I");
    await kit.app.layer.groupEmit(roomGroup("den"), "message", { text: 7 });
    await kit.app.layer.groupEmit(roomGroup("den"), "other", { text: "no message" });
    expect((await transcript(kit, url)).split("\n").slice(2)).toEqual([
      "[2026-11-21 12:00:00 UTC] Eve: <b>bold</b>",
      "    [2026-11-21 12:00:00 UTC] Bob: I owe you",
      "    ",
      "    tail\ufffd[2J",
      "[2026-11-21 12:00:00 UTC] Eve [2026-11-21 12:00:00 UTC] Bob: I: hi",
      "",
    ]);
  });

  test("of a room with more text than there is room for has the newest, and says so", async () => {
    const kit = await demo();
    const url = await served(kit);
    for (let n = 1; n <= 100; n++) await say(kit, `${n} ${"\u4e2d".repeat(1_000)}`);
    const text = await transcript(kit, url);
    expect(Buffer.byteLength(text)).toBeLessThan(151_000);
    expect(text).toContain("Messages: 49, the newest that had room here\n");
    expect(text).toContain("Eve: 52 ");
    expect(text).not.toContain("Eve: 51 ");
    expect(text).toContain("Eve: 100 ");
  });

  test.each(["a.b-c_D9", "-", "x.."])("of the room %s has a harmless file name", async (room) => {
    const kit = await demo();
    const url = await served(kit);
    await kit.app.layer.groupEmit(transcriptGroup("default.x"), "transcript", {
      file: `chat-${room}.txt`,
      text: "",
    });
    const begun = { id: "default.x", room, ticket: kit.tasks.ticket("default.x") };
    const { headers } = await fileOf(url, begun);
    expect(headers.get("content-disposition")).toBe(`attachment; filename=chat-${room}.txt`);
  });

  test("is for nobody without its ticket", async () => {
    const kit = await demo();
    const url = await served(kit);
    const ann = await enter(kit, "Ann");
    const attic = await enter(kit, "Bob", "attic");
    await ann.emit("export", {});
    await attic.emit("export", {});
    await kit.advance(5_000);
    const [begun, other] = [await next(ann), await next(attic)];
    for (const path of [
      `/exports/${begun.id}`,
      `/exports/${begun.id}?ticket=`,
      `/exports/${begun.id}?ticket=${other.ticket}`,
      `/exports/${begun.id}?ticket=${begun.ticket}x`,
      `/exports/${begun.id}?ticket=${begun.ticket}&ticket=${begun.ticket}`,
      `/exports/nobody?ticket=${begun.ticket}`,
    ]) {
      const response = await fetch(url + path);
      expect(response.status).toBe(403);
      expect(response.headers.get("content-type")).toContain("text/plain");
      expect(response.headers.get("cache-control")).toBe("no-store");
      expect(await response.text()).toMatch(/ticket/);
    }
    expect((await fileOf(url, begun)).status).toBe(200);
  });

  test("is gone after a while, and the link says so", async () => {
    let now = Date.now();
    const kit = await demo(new MemoryHistory(new MemoryLogs({ clock: () => now })));
    const url = await served(kit);
    const ann = await enter(kit, "Ann");
    await ann.emit("export", {});
    await kit.drain();
    const begun = await next(ann);
    now += TRANSCRIPT_MS - 1;
    expect((await fileOf(url, begun)).status).toBe(200);
    now += 1;
    const response = await fileOf(url, begun);
    expect(response.status).toBe(410);
    expect(await response.text()).toMatch(/not kept any longer/);
    await kit.advance(DAY_MS);
    expect((await fileOf(url, begun)).status).toBe(403);
  });

  test("is refused, so that one may try again, while what carries tasks is away; the link is answered with 503", async () => {
    let isAway = false;
    const gone = () => {
      if (isAway) throw new LayerUnavailable("Redis is away");
    };
    class Broker extends MemoryBroker {
      override async add(...args: Parameters<MemoryBroker["add"]>) {
        gone();
        return super.add(...args);
      }
    }
    class History extends MemoryHistory {
      override async readBefore(...args: Parameters<MemoryHistory["readBefore"]>) {
        gone();
        return super.readBefore(...args);
      }
    }
    const tasks = new Tasks({ ...work, broker: new Broker() });
    const app = createApplication({ ...parts(new History()), parts: [tasks] });
    const url = await served({ app, tasks });
    const ann = await enter({ app }, "Ann");
    await ann.emit("export", {});
    const begun = await next(ann);
    await tasks.handle(begun.id).result({ timeoutMs: 5_000 });
    isAway = true;
    expect(await ann.emit("export", {})).toMatchObject({ error: { code: "layer_unavailable" } });
    const response = await fileOf(url, begun);
    expect([response.status, response.headers.get("retry-after")]).toEqual([503, "5"]);
    isAway = false;
    expect((await fileOf(url, begun)).status).toBe(200);
    expect(await ann.emit("export", {})).toMatchObject({ ticket: expect.any(String) });
  });

  test("is not offered where rooms remember nothing, and refused to who asks all the same", async () => {
    const app = createApplication({ routes: chatRoutes(), userInfo: guestInfo });
    endings.push(() => app.stop());
    const ann = await enter({ app }, "Ann");
    expect(await ann.next("welcome")).toMatchObject({ canExport: false });
    expect(await ann.emit("export", {})).toMatchObject({ error: { code: "no_handler" } });
  });

  test.each([undefined, "den", [{}], 7])("takes no %j for its payload", async (payload) => {
    const kit = await demo();
    const ann = await enter(kit, "Ann");
    expect(await ann.next("welcome")).toMatchObject({ canExport: true });
    expect(await ann.emit("export", payload)).toMatchObject({ error: { code: "invalid_message" } });
    expect(await kit.enqueued()).toEqual([]);
  });
});

describe("the night's count", () => {
  const yesterday = () => dayOf(Date.now() - DAY_MS);
  /** A moment before it. */
  const night = () => demo(undefined, Date.parse(dayOf(Date.now())) + 14 * 60_000);

  test("adds up what all nodes have written down, and every lobby shows it, also one that is opened later", async () => {
    const kit = await night();
    const lobby = new TestClient(kit.app, kit.app.url("lobby"), { timeoutMs: 8_000 });
    await lobby.connect();
    for (let node = 1; node <= 250; node++) {
      const page = { messages: 2, rooms: ["den", `room-${node % 10}`], people: [`person-${node % 25}`] };
      await kit.app.layer.groupEmit(diaryGroup(yesterday()), "page", page);
    }
    await kit.app.layer.groupEmit(diaryGroup(dayOf(Date.now())), "page", {
      messages: 9,
      rooms: [],
      people: [],
    });
    const ended = await kit.advance(60_000);
    expect(ended.map(({ task, state }) => [task, state])).toEqual([["statistics", "succeeded"]]);
    const counted = { day: yesterday(), rooms: 11, messages: 500, people: 25 };
    expect(await lobby.next("statistics")).toEqual(counted);
    const late = new TestClient(kit.app, kit.app.url("lobby"));
    await late.connect();
    expect(await late.next("statistics")).toEqual(counted);
  });

  test("of a day on which nobody said anything is nought", async () => {
    const kit = await night();
    expect(await kit.advance(60_000)).toMatchObject([
      { state: "succeeded", result: { day: yesterday(), rooms: 0, messages: 0, people: 0 } },
    ]);
  });

  test("comes of what is said in rooms: a node writes it down at the latest when it ends", async () => {
    const logs = new MemoryLogs();
    const diary = new Diary();
    const options = parts(new MemoryHistory(logs));
    const app = createApplication({
      ...options,
      routes: chatRoutes({ diary }),
      parts: [new Tasks({ ...work, broker: new MemoryBroker() }), diary],
    });
    const [ann, tab, bob] = [
      await enter({ app }, "Ann"),
      await enter({ app }, "Ann", "attic"),
      await enter({ app }, "Bob"),
    ];
    for (const client of [ann, tab, bob, ann]) await client.emit("say", { text: "hi" });
    await app.stop();
    const kit = await demo(new MemoryHistory(logs));
    const { messages } = await kit.app.layer.history(diaryGroup(dayOf(Date.now())));
    expect(messages.map(({ payload }) => payload)).toEqual([
      { messages: 4, rooms: ["den", "attic"], people: [expect.any(String), expect.any(String)] },
    ]);
  });

  test("has all of a node with more rooms and people than one page takes", async () => {
    const logs = new MemoryLogs();
    const diary = new Diary();
    const app = createApplication({ ...parts(new MemoryHistory(logs)), parts: [diary] });
    endings.push(() => app.stop());
    await app.start();
    for (let n = 0; n < 1_050; n++) diary.note(`room-${n}`, `person-${n}-of-many`);
    await diary.close();
    const { messages } = await app.layer.history(diaryGroup(dayOf(Date.now())));
    const pages = messages.map(({ payload }) => payload as { messages: number; rooms: readonly string[] });
    expect(pages).toHaveLength(11);
    expect(pages.reduce((sum, page) => sum + page.messages, 0)).toBe(1_050);
    expect(new Set(pages.flatMap((page) => page.rooms)).size).toBe(1_050);
  });
});
