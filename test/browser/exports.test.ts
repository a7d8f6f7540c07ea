import { readFile } from "node:fs/promises";
import { expect, test } from "@jest/globals";
import { LayerUnavailable } from "sluice";
import { MemoryBroker } from "sluice/tasks";
import { STATISTICS, transcriptGroup } from "../../routing/groups.ts";
import { type Chat, describeInBrowser, eventually, startChat, type Window } from "./chat-in-browser.ts";

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
});
