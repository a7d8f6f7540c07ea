/** The dashboard's page in a real Chromium: what somebody sees of it, and does at it. */
import { createServer, connect as dial, type Socket as TcpSocket } from "node:net";
import { afterEach, beforeAll, expect, jest, test } from "@jest/globals";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { MemoryHub } from "sluice";
import { MemoryBroker, Tasks, task } from "sluice/tasks";
import { enter, node, PASSWORD, type SceneOptions, type Watched } from "../dashboard/scene.ts";
import { atEnd, heard, refusalOf } from "../server/live-server.ts";
import { describeWithChromium } from "./chromium.ts";

jest.setTimeout(60_000);

const VIEWS = ["overview", "nodes", "connections", "groups", "tasks", "signals", "routes"];
/** If it ever runs, the test's page knows. */
const MARKUP = "<img src=x onerror=window.broken=1>";

let browser: Browser;
const contexts: BrowserContext[] = [];
let complaints: string[] = [];

async function look(live: Pick<Watched, "url">, width = 1280, query = ""): Promise<Page> {
  const viewport = { width, height: 844 };
  const context = await browser.newContext({ viewport, locale: "en-GB", reducedMotion: "reduce" });
  contexts.push(context);
  context.setDefaultTimeout(15_000);
  const page = await context.newPage();
  page.on("pageerror", (error) => complaints.push(String(error)));
  page.on("console", (message) => {
    if (message.type() === "error") complaints.push(`${message.text()} (${message.location().url})`);
  });
  await page.goto(`${live.url}/dashboard${query}`);
  return page;
}

async function logIn(page: Page, password = PASSWORD): Promise<void> {
  await page.getByTestId("password").fill(password);
  await page.getByTestId("login").click();
}

const is = (page: Page, state: string) =>
  page.locator(`[data-testid="state"][data-state="${state}"]`).waitFor();

/** Logged in, and told the first reports. */
async function watch(live: Pick<Watched, "url">, width?: number): Promise<Page> {
  const page = await look(live, width);
  await logIn(page);
  await is(page, "live");
  return page;
}

async function show(page: Page, view: string): Promise<void> {
  await page.locator(`.tabs a[data-view="${view}"]`).click();
  await page.locator(`.tabs a[data-view="${view}"][aria-current="page"]`).waitFor();
}

async function withTasks(options: SceneOptions = {}, queues?: Readonly<Record<string, number>>) {
  const fail = task("invoice.pay", { retry: { attempts: 1 } }, async () => {
    throw new TypeError(`${MARKUP} is no amount`, { cause: new Error("the amount is text") });
  });
  const store = task("invoice.store", { queue: "archive" }, async () => {});
  const tasks = new Tasks({
    tasks: [fail, store],
    ...(queues && { queues }),
    broker: new MemoryBroker(),
    reportMs: 100,
  });
  const live = await node({ tasks, ...options, app: { parts: [tasks] } });
  return { live, tasks, fail, store };
}

function permit(complaint: RegExp): void {
  complaints = complaints.filter((text) => !complaint.test(text));
}

/** A cable to a server that can stop carrying anything without being cut, as one to a node that hangs. */
async function cableTo(port: number) {
  const ends = new Set<TcpSocket>();
  let isStill = false;
  const server = createServer((near) => {
    const far = dial(port, "127.0.0.1");
    for (const end of [near, far]) {
      ends.add(end);
      end.on("error", () => {});
      end.on("close", () => ends.delete(end));
      if (isStill) end.pause();
    }
    near.pipe(far).pipe(near);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  atEnd(async () => {
    server.close();
    for (const end of ends) end.destroy();
  });
  const { port: own } = server.address() as { port: number };
  return {
    url: `http://127.0.0.1:${own}`,
    hold(still: boolean) {
      isStill = still;
      for (const end of ends) still ? end.pause() : end.resume();
    },
  };
}

describeWithChromium("The dashboard in a browser", (running) => {
  beforeAll(() => {
    browser = running();
  });
  afterEach(async () => {
    await Promise.all(contexts.splice(0).map((context) => context.close()));
    expect(complaints.splice(0)).toEqual([]);
  });

  test("a wrong password is told, too many are made to wait, and the right one lets in", async () => {
    const live = await node();
    const page = await look(live);
    await logIn(page, "not the password");
    await page.getByText("This is not the password.").waitFor();
    for (let n = 0; n < 5; n += 1) {
      await page.locator("#enter[aria-busy='false']").waitFor();
      await logIn(page, `wrong ${n}`);
    }
    await page.getByText(/Too many tries from your address/).waitFor();
    expect(await page.getByTestId("login").isDisabled()).toBe(true);
    permit(/status of (401|429)/);
    const other = await node();
    const second = await watch(other);
    await second.getByTestId("tile-nodes").getByText("1", { exact: true }).waitFor();
    expect(await second.title()).toBe("Overview · Sluice dashboard");
    await second.getByTestId("logout").click();
    await second.getByTestId("password").waitFor();
  });

  test("it shows who is there as they come, and what they send", async () => {
    const live = await node();
    const page = await watch(live);
    const tile = (id: string, text: string) =>
      page.locator(`[data-testid="tile-${id}"]`, { hasText: new RegExp(`^${text}$`) }).waitFor();
    await tile("nodes", "1");
    await enter(live, "den", "ann");
    await tile("connections", "2");
    await show(page, "groups");
    await page.getByTestId("groups").getByText("room.den").waitFor();
    await page.getByTestId("groups").getByText("ann", { exact: true }).waitFor();
    await show(page, "routes");
    await page.getByTestId("routes").getByText("/room/:room").waitFor();
    await show(page, "nodes");
    await page.getByTestId("node-state").getByText("reports").waitFor();
  });

  test("a node that does not report is shown as stale, and the page waits for nobody", async () => {
    const live = await node();
    const page = await watch(live);
    live.app.layer.tellListeners("sluice.reports", {
      ...{
        type: "dashboard.report",
        v: 1,
        node: "n-hung",
        host: "web-3",
        pid: 4711,
        everyMs: 500,
        number: 1,
      },
      ...{ phase: "serving", startedAt: 1 },
    });
    await page.getByTestId("banner").getByText("A node does not report: 4711@web-3.").waitFor();
    await show(page, "nodes");
    await page
      .getByTestId("node-state")
      .getByText(/^stale · /)
      .waitFor();
    await page
      .getByTestId("node-state")
      .getByText(/^gone · /)
      .waitFor();
  });

  test("more nodes than a message holds are all shown, with the routes of all", async () => {
    const live = await node({ app: { limits: { maxMessageBytes: 8_192 } } });
    const page = await watch(live);
    for (let n = 1; n <= 40; n += 1) {
      live.app.layer.tellListeners("sluice.reports", {
        ...{
          type: "dashboard.report",
          v: 1,
          node: `n-${n}`,
          host: "web",
          pid: n,
          everyMs: 60_000,
          number: 1,
        },
        ...{ phase: "serving", startedAt: 1 },
        routes: [{ pattern: `/room-${n}`, kind: "socket", consumer: "Room", open: 1, accepted: 1 }],
      });
    }
    await page.getByTestId("tile-nodes").getByText("41", { exact: true }).waitFor();
    await show(page, "nodes");
    expect(await page.getByTestId("node").count()).toBe(41);
    await show(page, "routes");
    for (const n of [1, 40]) await page.getByText(`/room-${n}`, { exact: true }).waitFor();
  });

  test("while the server is away it says so and from when that is what it shows, and goes on when it is back", async () => {
    const live = await node();
    const page = await watch(live);
    await page.getByTestId("tile-nodes").getByText("1", { exact: true }).waitFor();
    await live.server.stop({ atOnce: true });
    await page
      .getByTestId("banner")
      .getByText(/^The connection is lost.*What you see was true at/)
      .waitFor();
    expect(await page.getByTestId("state").getAttribute("data-state")).toBe("reconnecting");
    await node({ server: { port: live.port } });
    await is(page, "live");
    await page.getByTestId("banner").waitFor({ state: "hidden" });
    permit(/net::ERR_|WebSocket connection to|status of (400|503)/);
  });

  test("a server that hangs, or a cable that carries nothing, is told within seconds, and so is its return", async () => {
    const live = await node({ reportMs: 200 });
    const cable = await cableTo(live.port);
    const page = await watch(cable);
    await page.getByTestId("tile-nodes").getByText("1", { exact: true }).waitFor();
    cable.hold(true);
    await page
      .getByTestId("banner")
      .getByText(/^The node that serves this page says nothing any more\. What you see was true at/)
      .waitFor();
    await page.getByTestId("state").getByText("No answer").waitFor();
    cable.hold(false);
    await is(page, "live");
    await page.getByTestId("banner").waitFor({ state: "hidden" });
  });

  test("what went wrong is told in words, with the code beside; two versions at once are told, too", async () => {
    const live = await node();
    const page = await watch(live);
    await refusalOf(live.client("/nowhere"));
    const cause = page.getByRole("listitem").filter({ hasText: "4404" });
    await cause.getByText("Connection refused: no such route").waitFor();
    live.app.layer.tellListeners("sluice.reports", {
      ...{ type: "dashboard.report", v: 1, node: "n-new", host: "web", pid: 9, everyMs: 60_000, number: 1 },
      ...{ phase: "serving", startedAt: 1, version: "9.9.9" },
      causes: [
        ["denied 4477", 9],
        ["gap __proto__", 8],
      ],
    });
    await page.getByText("all report, 2 versions").waitFor();
    await page.getByText("Connection refused: for a reason of the application").waitFor();
    await page.getByText(/^Client told of a gap __proto__$/).waitFor();
  });

  test("a worker tells what it does instead of connections that it cannot have", async () => {
    const live = await node();
    const page = await watch(live);
    live.app.layer.tellListeners("sluice.reports", {
      ...{ type: "dashboard.report", v: 1, node: "n-work", host: "w", pid: 9, everyMs: 60_000, number: 1 },
      ...{ phase: "works", startedAt: 1, gauges: { tasksRunning: 3 } },
    });
    await show(page, "nodes");
    const worker = page.getByTestId("node").filter({ hasText: "9@w" });
    await worker.getByText(/^Runs now3$/).waitFor();
    expect(await worker.getByText("Connections").count()).toBe(0);
  });

  test("all of it is there for the keyboard and for those who listen", async () => {
    const live = await node();
    const page = await watch(live);
    await enter(live, "den", "ann");
    await page.getByTestId("tile-connections").getByText("2", { exact: true }).waitFor();
    // From the start of the page: past the head and the tabs at once.
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    expect(await page.evaluate("document.activeElement.id")).toBe("main");
    await show(page, "connections");
    expect(await page.title()).toBe("Connections · Sluice dashboard");
    const row = page.getByRole("table", { name: "Connections" }).getByRole("row").filter({ hasText: "ann" });
    const leave = row.getByRole("button", { name: "Disconnect ann at /room/den" });
    await leave.focus();
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog", { name: "Disconnect this connection?" });
    await dialog.waitFor();
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "detached" });
    expect(await page.locator(":focus").getAttribute("aria-label")).toBe("Disconnect ann at /room/den");
    await page.setViewportSize({ width: 390, height: 844 });
    await page
      .getByRole("table", { name: "Connections" })
      .getByRole("cell", { name: "Namespace /room/den" })
      .waitFor();
  });

  test("names and errors that are markup are text, wherever they come from", async () => {
    const { live, tasks, fail } = await withTasks();
    const page = await watch(live);
    await enter(live, "den", MARKUP);
    await tasks
      .enqueue(fail, undefined as never)
      .then((run) => run.result({ timeoutMs: 20_000 }).catch(() => {}));
    live.app.layer.tellListeners("sluice.reports", {
      ...{
        type: "dashboard.report",
        v: 1,
        node: "n-evil",
        host: MARKUP,
        version: MARKUP,
        appVersion: MARKUP,
      },
      ...{ pid: 1, everyMs: 5_000, number: 1, phase: MARKUP, startedAt: 1, causes: [[MARKUP, 1]] },
      routes: [{ pattern: MARKUP, kind: MARKUP, consumer: MARKUP, open: 1, accepted: 1 }],
      groups: [{ layer: MARKUP, group: MARKUP, members: 1, sent: 1, present: 1, users: [MARKUP] }],
      gauges: { connections: 1 },
    });
    for (const view of VIEWS) {
      await show(page, view);
      if (view === "signals") await enter(live, encodeURIComponent("den"), MARKUP);
      await page.locator("main").getByText("onerror").first().waitFor();
    }
    await show(page, "tasks");
    await page.getByTestId("more").first().click();
    await page.getByTestId("sheet").getByText("onerror").first().waitFor();
    await page.keyboard.press("Escape");
    expect(await page.evaluate("window.broken")).toBeUndefined();
    expect(await page.locator("main img").count()).toBe(0);
  });

  test("somebody is found and disconnected, after a question, and the page says that it was done", async () => {
    const live = await node();
    const page = await watch(live);
    const [ann, bob] = [await enter(live, "den", "ann"), await enter(live, "den", "bob")];
    await show(page, "connections");
    await page.getByTestId("find").fill("bob");
    const row = page.getByTestId("connections").locator("tbody tr");
    await row.filter({ hasText: "ann" }).waitFor({ state: "detached" });
    const gone = heard(bob, "disconnect");
    await row.filter({ hasText: "bob" }).getByTestId("disconnect").click();
    await page.getByTestId("confirm").click();
    await page.getByTestId("toast").getByText("The connection was ended.").waitFor();
    await gone;
    expect(ann.connected).toBe(true);
    expect(live.audits.at(-1)).toMatchObject({ action: "disconnect connection", outcome: "done" });
  });

  test("a group is found by words, opened, read by its address, and left again", async () => {
    const hub = new MemoryHub();
    const [live, other] = [await node({ hub }), await node({ hub })];
    const page = await watch(live);
    const [ann, bob] = [await enter(live, "den", "ann"), await enter(other, "den", "bob")];
    await enter(live, "hall", "carl");
    await show(page, "groups");
    const row = page.getByTestId("groups").locator("tbody tr");
    await row.filter({ hasText: "room.hall" }).waitFor();
    await page.getByTestId("find-groups").fill("ROOM d");
    await row.filter({ hasText: "room.hall" }).waitFor({ state: "detached" });
    await page.getByRole("heading", { name: "Groups with “ROOM d”" }).waitFor();
    await row.filter({ hasText: "room.den" }).filter({ hasText: "2 users" }).waitFor();
    await page.getByRole("status").filter({ hasText: "1 group" }).waitFor();
    await page.getByTestId("find-groups").fill("no such room");
    await page.getByText("No group has these words in its name").waitFor();
    await page.getByTestId("find-groups").fill("den");

    // By the keyboard, and the name of the group has the focus then.
    await row.getByRole("link", { name: "room.den" }).press("Enter");
    await page.getByTestId("group-members").getByText("2", { exact: true }).waitFor();
    expect(await page.locator(":focus").textContent()).toBe("room.den");
    expect(await page.title()).toBe("room.den · Groups · Sluice dashboard");
    const member = page.getByTestId("members").locator("tbody tr");
    await member.filter({ hasText: "ann" }).waitFor();
    const gone = heard(bob, "disconnect");
    await member.filter({ hasText: "bob" }).getByTestId("disconnect").click();
    await page.getByTestId("confirm").click();
    await page.getByTestId("toast").getByText("The connection was ended.").waitFor();
    await gone;
    await member.filter({ hasText: "bob" }).waitFor({ state: "detached" });
    expect(other.app.layer.groupMembers("room.den")).toEqual([]);
    expect(ann.connected).toBe(true);

    // The address is enough, for a reload and for others.
    expect(page.url()).toBe(`${live.url}/dashboard#groups/room.den`);
    await page.reload();
    await page.getByTestId("group-present").getByText("1", { exact: true }).waitFor();
    await member.filter({ hasText: "ann" }).waitFor();
    await page.getByTestId("back").click();
    await row.filter({ hasText: "room.hall" }).waitFor();
    expect(await page.locator(":focus").textContent()).toBe("room.den");
    // Anywhere in the row; and what the browser calls back is back.
    await page.getByTestId("find-groups").fill("hall");
    await row.filter({ hasText: "room.den" }).waitFor({ state: "detached" });
    await row.filter({ hasText: "room.hall" }).locator("td.figure").first().click();
    await member.filter({ hasText: "carl" }).waitFor();
    await page.goBack();
    await row.filter({ hasText: "room.hall" }).waitFor();
    expect(await page.getByTestId("find-groups").inputValue()).toBe("hall");
    expect(await page.title()).toBe("Groups · Sluice dashboard");
  });

  test("a group that nobody is in says so, and an address that is none of a group shows them all", async () => {
    const live = await node({ app: { groups: { "room.*": { history: { size: 20, ttlMs: 60_000 } } } } });
    const ann = await enter(live, "den", "ann");
    await ann.emitWithAck("say", "hi");
    const page = await watch(live);
    const go = (hash: string) => page.evaluate(`location.hash = ${JSON.stringify(hash)}`);
    await go("groups/room.empty");
    await page.getByText("Nobody is in it now").waitFor();
    await page.getByTestId("group-history").waitFor({ state: "hidden" });
    await go("groups/room.den");
    await page.getByTestId("group-history").getByText("1", { exact: true }).waitFor();
    await page.getByText("the last 20 messages are kept, for 1\u00a0min").waitFor();
    for (const hash of [
      "groups/%E0%A4%A",
      "groups/a/b/c",
      `groups/${encodeURIComponent(MARKUP)}`,
      "groups/",
    ]) {
      await go(hash);
      await page.getByTestId("groups").waitFor();
      await go("groups/room.den");
      await page.getByTestId("group").waitFor();
    }
    expect(await page.evaluate("window.broken")).toBeUndefined();
  });

  test("a notice reaches clients, and one that cannot be sent leaves its words to be tried again", async () => {
    const live = await node();
    const page = await watch(live);
    const ann = await enter(live, "den", "ann");
    const notice = heard<[{ text: string }]>(ann, "sluice.notice");
    await page.getByTestId("notice-open").click();
    await page.getByTestId("notice-text").fill("  ");
    await page.getByTestId("confirm").click();
    await page.getByTestId("dialog-error").getByText("Type the words first.").waitFor();
    await page.getByTestId("notice-text").fill("Back at noon.");
    await page.getByTestId("confirm").click();
    expect((await notice)[0].text).toBe("Back at noon.");
  });

  test("a queue that no worker has says so, as long as something waits there", async () => {
    const { live, tasks, store } = await withTasks({}, {});
    const page = await watch(live);
    await tasks.enqueue(store, undefined as never);
    await show(page, "tasks");
    const told = page.getByTestId("queues").locator("tr", { hasText: "archive" }).getByText("no worker");
    await told.waitFor();
    // The charts go as far back as one wants, each view by itself.
    const chart = page.getByTestId("chart-queues");
    await chart.getByText(/^waiting1$/).waitFor();
    await page.getByRole("button", { name: "5 min", exact: true }).click();
    await page.getByRole("button", { name: "5 min", exact: true, pressed: true }).waitFor();
    expect(await page.getByRole("button", { name: "15 min", pressed: true }).count()).toBe(0);
    await chart.locator("canvas").waitFor();
    await page.getByTestId("discard").click();
    await page.getByTestId("confirm").click();
    await told.waitFor({ state: "hidden" });
  });

  test("a run that failed is seen with its stack, run again, and discarded", async () => {
    const { live, tasks, fail } = await withTasks();
    const page = await watch(live);
    await tasks
      .enqueue(fail, undefined as never)
      .then((run) => run.result({ timeoutMs: 20_000 }).catch(() => {}));
    await show(page, "tasks");
    await page.getByTestId("jobs").getByText("invoice.pay").waitFor();
    await page.getByTestId("more").click();
    await page
      .getByTestId("sheet")
      .getByText(/at .*dashboard\.test/)
      .first()
      .waitFor();
    await page.getByTestId("sheet").getByText("Caused by: Error: the amount is text").waitFor();
    await page.keyboard.press("Escape");
    const retrying = new Promise((resolve) => tasks.signals.failed.connect(resolve));
    await page.getByTestId("retry").click();
    await page.getByTestId("confirm").click();
    await retrying;
    await page.getByTestId("discard").click();
    await page.getByTestId("confirm").click();
    await page.getByTestId("toast").getByText("It was discarded.").waitFor();
    await page.getByTestId("jobs-card").getByText("There are none.").waitFor();
    await page.getByTestId("workers").getByText(/ago$/).waitFor();
  });

  test("signals are seen as they happen, filtered, and held still", async () => {
    const live = await node();
    const page = await watch(live);
    await show(page, "signals");
    await page.getByText("Listening…").waitFor();
    await enter(live, "den", "ann");
    await page.getByTestId("lines").getByText("/room/den").waitFor();
    await page.getByTestId("filter").fill("hall");
    await page.getByTestId("hold").click();
    await enter(live, "hall", "bob");
    await page.getByText(/held, [1-9]/).waitFor();
    expect(await page.getByTestId("lines").getByText("/room/hall").count()).toBe(0);
    await page.getByTestId("hold").click();
    await page.getByTestId("lines").getByText("/room/hall").waitFor();
    await show(page, "overview");
    expect(live.app.signals.gap.hasReceivers).toBe(true);
  });

  test("a login that is ended elsewhere leads to the login", async () => {
    const live = await node({ sessionMs: 3_000 });
    const page = await watch(live);
    await page.getByTestId("password").waitFor();
  });

  test("whom the rule lets in needs no login, and whom it does not is told", async () => {
    const live = await node({
      password: undefined,
      allow: ({ headers }) => /HeadlessChrome/.test(headers["user-agent"] ?? ""),
    });
    const page = await look(live);
    await is(page, "live");
    expect(await page.getByTestId("logout").isVisible()).toBe(false);
    const other = await node({ password: undefined, allow: () => false });
    const refused = await look(other);
    await refused.getByText("Not for you").waitFor();
    permit(/status of 403/);
  });

  test.each([390, 760, 1280])(
    "at %i pixels no view is wider than the window, and no state or address is cut",
    async (width) => {
      const { live, tasks, fail } = await withTasks();
      const page = await watch(live, width);
      await enter(
        live,
        "a-room-with-a-name-that-is-rather-long-and-has-no-place-to-break-it",
        `user-${"x".repeat(90)}`,
      );
      await tasks
        .enqueue(fail, undefined as never)
        .then((run) => run.result({ timeoutMs: 20_000 }).catch(() => {}));
      for (const view of [
        ...VIEWS,
        "groups/room.a-room-with-a-name-that-is-rather-long-and-has-no-place-to-break-it",
      ]) {
        if (VIEWS.includes(view)) await show(page, view);
        else {
          await page.evaluate(`location.hash = "${view}"`);
          await page.getByTestId("members").getByText("user-xxx").waitFor();
        }
        await page.locator("main .view").first().waitFor();
        const wide = await page.evaluate(
          "document.documentElement.scrollWidth - document.documentElement.clientWidth",
        );
        expect([view, wide]).toEqual([view, 0]);
        const cut = await page.evaluate(
          "[...document.querySelectorAll('.badge:not([hidden])')].filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.textContent)",
        );
        expect([view, cut]).toEqual([view, []]);
        const lines = await page.evaluate(
          "[...document.querySelectorAll('td.address span')].map((one) => one.getClientRects().length)",
        );
        expect([view, lines]).toEqual([view, (lines as number[]).map(() => 1)]);
      }
    },
  );
});
