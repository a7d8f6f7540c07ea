import { readFile } from "node:fs/promises";
import { expect, test } from "@jest/globals";
import { LayerUnavailable, MemoryHistory, MemoryLogs } from "sluice";
import { MemoryBroker } from "sluice/tasks";
import { STATISTICS, TRANSCRIPT_MS } from "../../routing/groups.ts";
import { CuttableWay } from "../redis/cut-off.ts";
import {
  type Chat,
  describeInBrowser,
  eventually,
  startChat,
  UNREACHABLE,
  type Window,
} from "./chat-in-browser.ts";

/** Somebody has said things in a room: `Eve: 1`, `Eve: 2`, ... */
async function fill(chat: Chat, room: string, count: number): Promise<void> {
  for (let n = 1; n <= count; n++) {
    const message = { id: `m-${n}`, from: { id: "eve", name: "Eve" }, text: String(n), at: Date.now() };
    await chat.app.layer.groupEmit(`chat.${room}`, "message", message);
  }
}

/** Where the bar stands, each time that it changes. */
async function watchBar(window: Window): Promise<() => Promise<number[]>> {
  await window.page.evaluate(`
    window.bars = [];
    new MutationObserver(() => {
      const bar = document.querySelector("#export-bar");
      if (!bar.hidden && bar.position > 0) bars.push(bar.position);
    }).observe(document.querySelector("#export"), { subtree: true, attributes: true });
  `);
  return () => window.page.evaluate("window.bars") as Promise<number[]>;
}

async function downloaded(window: Window): Promise<{ name: string; text: string }> {
  const [file] = await Promise.all([
    window.page.waitForEvent("download"),
    window.page.getByTestId("export-link").click(),
  ]);
  return { name: file.suggestedFilename(), text: await readFile(await file.path(), "utf8") };
}

const click = (window: Window) => window.page.getByTestId("export").click();

async function ends(window: Window, words: string): Promise<void> {
  await eventually(async () => expect(await window.export()).toBe(words));
}

describeInBrowser("Exports, seen in a browser", () => {
  test("the bar moves in two tabs of one person, in whichever rooms, and then both have the link", async () => {
    const chat = await startChat();
    const ada = await chat.enter("talk", "Ada");
    const tab = await chat.openTab(ada, "/rooms/elsewhere");
    await tab.is("live");
    const bob = await chat.enter("talk", "Bob");
    await fill(chat, "talk", 150);
    const bars = [await watchBar(ada), await watchBar(tab)];
    await click(ada);
    for (const window of [ada, tab])
      await ends(window, "done: The transcript of talk is ready: 150 messages");
    for (const seen of bars) {
      const positions = await seen();
      expect(positions.length).toBeGreaterThan(1);
      expect(positions).toEqual([...positions].sort((a, b) => a - b));
    }
    expect(await bob.export()).toBe("none: ");
    const { name, text } = await downloaded(tab);
    expect(name).toMatch(/^chat-talk-\d{4}-\d\d-\d\d\.txt$/);
    const lines = text.trimEnd().split("\n");
    expect(lines.slice(2).map((line) => line.slice(26))).toEqual(
      Array.from({ length: 150 }, (_, n) => `Eve: ${n + 1}`),
    );
    expect(await downloaded(ada)).toEqual({ name, text });
    expect(ada.page.url()).toContain("/rooms/talk");
  });

  test("after a reload in the middle the bar goes on, and one that is over still has its link", async () => {
    const chat = await startChat();
    const ada = await chat.enter("again", "Ada");
    await fill(chat, "again", 200);
    await click(ada);
    await eventually(async () => expect(await ada.export()).toBe("running: Exporting again"));
    await ada.page.reload();
    await ends(ada, "done: The transcript of again is ready: 200 messages");
    await ada.page.reload();
    await ends(ada, "done: The transcript of again is ready: 200 messages");
    expect((await downloaded(ada)).text).toContain("Eve: 200\n");
  });

  test("a connection that is cut in the middle: the bar goes on where the run is by then", async () => {
    const chat = await startChat();
    chat.permit(UNREACHABLE);
    const way = await CuttableWay.to(chat.port);
    const ada = await chat.open(`http://127.0.0.1:${way.port}/rooms/cut`, { name: "Ada" });
    await ada.is("live");
    await fill(chat, "cut", 200);
    await click(ada);
    await eventually(async () => expect(await ada.export()).toBe("running: Exporting cut"));
    way.block();
    await ada.is("reconnecting");
    way.restore();
    await ends(ada, "done: The transcript of cut is ready: 200 messages");
    expect(await ada.systemLines("gap")).toEqual([]);
    await ada.page.close();
    await way.close();
  });

  test("while what carries tasks is away the page says so, and asks again when told to; so by keyboard", async () => {
    let isAway = true;
    class Broker extends MemoryBroker {
      override async add(...args: Parameters<MemoryBroker["add"]>) {
        if (isAway) throw new LayerUnavailable("Redis is away");
        return super.add(...args);
      }
    }
    const chat = await startChat({ broker: () => new Broker() });
    const ada = await chat.enter("away", "Ada");
    const { keyboard } = ada.page;
    const focused = () => ada.page.evaluate("document.activeElement.dataset.testid");
    await ada.page.getByRole("button", { name: "Export this room" }).focus();
    await keyboard.press("Enter");
    await ada.error.getByText("Exports are not possible at the moment.").waitFor();
    isAway = false;
    await ada.page.getByRole("button", { name: "Try again" }).focus();
    await keyboard.press("Enter");
    await ends(ada, "done: The transcript of away is ready: 0 messages");
    expect(await ada.error.isVisible()).toBe(false);
    expect(await focused()).toBe("export");
    await ada.page.getByRole("button", { name: "Close" }).focus();
    await keyboard.press("Space");
    await ends(ada, "none: ");
    expect(await focused()).toBe("export");
  });

  test("the bar has a name, and what is said of it is read out; one that fails may be tried again", async () => {
    let fails = true;
    class History extends MemoryHistory {
      override async append(...args: Parameters<MemoryHistory["append"]>) {
        if (fails && args[0].startsWith("transcripts.")) throw new Error("the disk is full");
        return super.append(...args);
      }
    }
    const broker = new MemoryBroker();
    const chat = await startChat({ broker: () => broker, history: () => new History() });
    const ada = await chat.enter("broken", "Ada");
    const tab = await chat.openTab(ada, "/rooms/elsewhere");
    await tab.is("live");
    await broker.pause("default");
    await click(ada);
    await ada.page.getByRole("progressbar", { name: "Export of broken: waiting for its turn" }).waitFor();
    const status = ada.page.getByRole("status").filter({ hasText: "waiting for its turn" });
    expect(await status.count()).toBe(1);
    await broker.resume("default");
    for (const window of [ada, tab]) await ends(window, "failed: The export of broken failed");
    expect(await tab.page.getByRole("button", { name: "Try again" }).count()).toBe(0);
    expect(await ada.page.getByRole("progressbar").count()).toBe(0);
    fails = false;
    await ada.page.getByRole("button", { name: "Try again" }).click();
    await ends(ada, "done: The transcript of broken is ready: 0 messages");
  });

  test("a link that is too old leads to a page that says so", async () => {
    let now = Date.now();
    const logs = new MemoryLogs({ clock: () => now });
    const chat = await startChat({ history: () => new MemoryHistory(logs) });
    chat.permit(/410 \(Gone\)|favicon\.ico/);
    const ada = await chat.enter("old", "Ada");
    await click(ada);
    await ends(ada, "done: The transcript of old is ready: 0 messages");
    now += TRANSCRIPT_MS;
    await ada.page.getByTestId("export-link").click();
    await ada.page.getByText("This transcript is not kept any longer").waitFor();
  });

  test("where rooms remember nothing there is no button", async () => {
    const chat = await startChat({ keeps: false });
    const ada = await chat.enter("bare", "Ada");
    expect(await ada.page.getByTestId("export").isVisible()).toBe(false);
  });

  test("the lobby shows what the night has counted, at once and live", async () => {
    const chat = await startChat();
    const lobby = await chat.open("/");
    await lobby.is("live");
    const line = lobby.page.getByTestId("statistics");
    expect(await line.isVisible()).toBe(false);
    const counted = async (day: string, [rooms, messages, people]: readonly number[], words: string) => {
      await chat.app.layer.groupEmit(STATISTICS, "statistics", { day, rooms, messages, people });
      for (const window of [lobby, await chat.open("/")]) {
        await window.page.getByTestId("statistics").getByText(words, { exact: true }).waitFor();
      }
    };
    const yesterday = new Date(Date.now() - 86_400_000).toISOString().slice(0, 10);
    await counted("2026-01-02", [1, 1, 1], "On 2 January: 1 message from 1 person in 1 room");
    await counted(yesterday, [12, 3400, 25], "Yesterday: 3,400 messages from 25 people in 12 rooms");
    await counted(yesterday, [0, 0, 0], "Yesterday: nothing was said");
  });
});
