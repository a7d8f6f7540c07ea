import { expect, test } from "@jest/globals";
import { MemoryHistory, MemoryLogs } from "sluice";
import { CuttableWay } from "../redis/cut-off.ts";
import {
  type Chat,
  describeInBrowser,
  eventually,
  startChat,
  UNREACHABLE,
  type Window,
} from "./chat-in-browser.ts";

/** Somebody speaks in a room without sitting at a window: `Eve: <text>`. */
async function said(chat: Chat, room: string, text: string): Promise<void> {
  const message = { id: `message-${text}`, from: { id: "eve", name: "Eve" }, text, at: Date.now() };
  await chat.app.layer.groupEmit(`chat.${room}`, "message", message);
}

/** `Eve: 3`, `Eve: 4`, ... */
function numbers(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, i) => `Eve: ${from + i}`);
}

/** A window whose connection can be cut. */
async function enterOver(way: CuttableWay, chat: Chat, room: string, name: string): Promise<Window> {
  const window = await chat.open(`http://127.0.0.1:${way.port}/rooms/${room}`, { name });
  await window.is("live");
  return window;
}

describeInBrowser("What was missed, seen in a browser", () => {
  test("what others say while a connection is cut appears once and in order, without a mark", async () => {
    const chat = await startChat();
    chat.permit(UNREACHABLE);
    const way = await CuttableWay.to(chat.port);
    const ada = await enterOver(way, chat, "cuts", "Ada");
    const all: string[] = [];
    for (let cut = 1; cut <= 3; cut++) {
      await said(chat, "cuts", `before ${cut}`);
      await ada.message(`before ${cut}`).waitFor();
      way.block();
      await ada.is("reconnecting");
      for (const n of [1, 2, 3]) await said(chat, "cuts", `during ${cut}.${n}`);
      await ada.say(`mine ${cut}`);
      way.restore();
      await ada.is("live");
      await ada.message(`mine ${cut}`).and(ada.page.locator('[data-state="sent"]')).waitFor();
      all.push(`Eve: before ${cut}`, ...[1, 2, 3].map((n) => `Eve: during ${cut}.${n}`), `Ada: mine ${cut}`);
      await eventually(async () => expect(await ada.messages()).toEqual(all));
    }
    expect(await ada.systemLines("gap")).toEqual([]);
    expect(await ada.page.locator('[data-state="pending"]').count()).toBe(0);
    const bob = await chat.enter("cuts", "Bob");
    await eventually(async () => expect(await bob.messages()).toEqual(all));
    await ada.page.close();
    await way.close();
  });

  test("cut again and again while others speak, nothing is missing and nothing is there twice", async () => {
    const chat = await startChat();
    chat.permit(UNREACHABLE);
    const way = await CuttableWay.to(chat.port);
    const ada = await enterOver(way, chat, "storm", "Ada");
    for (let n = 1; n <= 60; n++) {
      await said(chat, "storm", String(n));
      // Who has heard nothing of a room yet that was empty has no place to go on from.
      if (n === 1) await ada.message("1").waitFor();
      if (n % 20 === 0) {
        await eventually(() => expect(ada.webSockets.size).toBe(1));
        way.reset();
        await ada.is("reconnecting");
      }
    }
    await eventually(async () => expect(await ada.messages()).toEqual(numbers(1, 60)));
    expect(await ada.systemLines("gap")).toEqual([]);
    await ada.page.close();
    await way.close();
  });

  test("a server that comes back with the history it had leaves no mark", async () => {
    const logs = new MemoryLogs();
    const chat = await startChat({ history: () => new MemoryHistory(logs) });
    chat.permit(UNREACHABLE);
    const ada = await chat.enter("kept", "Ada");
    await said(chat, "kept", "1");
    await ada.message("1").waitFor();
    await chat.stopServer();
    await ada.is("reconnecting");
    await chat.startServer();
    await said(chat, "kept", "2");
    await ada.is("live");
    await eventually(async () => expect(await ada.messages()).toEqual(numbers(1, 2)));
    expect(await ada.systemLines("gap")).toEqual([]);
  });

  test("a server that comes back with an empty history: a mark says where messages may be missing", async () => {
    const chat = await startChat();
    chat.permit(UNREACHABLE);
    const ada = await chat.enter("forgotten", "Ada");
    await said(chat, "forgotten", "1");
    await ada.message("1").waitFor();
    await chat.stopServer();
    await ada.is("reconnecting");
    await chat.startServer();
    await ada.is("live");
    await said(chat, "forgotten", "2");
    await eventually(async () => expect(await ada.messages()).toEqual(numbers(1, 2)));
    expect(await ada.systemLines("gap")).toEqual(["Some messages could not be recovered"]);
    const kinds = await ada.page
      .locator("#lines :is([data-testid=message], [data-kind=gap])")
      .evaluateAll((lines) => lines.map((line) => line.getAttribute("data-testid")));
    expect(kinds).toEqual(["message", "system-line", "message"]);
  });

  test("more was missed than is kept: a mark, then all that is kept", async () => {
    const chat = await startChat();
    chat.permit(UNREACHABLE);
    const way = await CuttableWay.to(chat.port);
    const ada = await enterOver(way, chat, "long", "Ada");
    await said(chat, "long", "1");
    await ada.message("1").waitFor();
    way.block();
    await ada.is("reconnecting");
    for (let n = 2; n <= 251; n++) await said(chat, "long", String(n));
    way.restore();
    await ada.is("live");
    await ada.message("251").waitFor();
    await eventually(async () => expect((await ada.messages()).slice(-90)).toEqual(numbers(162, 251)));
    await scrollUpTo(ada, "Eve: 52");
    expect((await ada.messages()).slice(-200)).toEqual(numbers(52, 251));
    await ada.page.close();
    await way.close();
  });

  test("who enters sees the last messages, older ones on scrolling up, each in its place", async () => {
    const chat = await startChat();
    await chat.enter("talk", "Bob");
    for (let n = 1; n <= 180; n++) await said(chat, "talk", String(n));
    const ada = await chat.enter("talk", "Ada");
    await ada.message("180").waitFor();
    await eventually(async () => expect((await ada.messages()).at(-1)).toBe("Eve: 180"));
    const shown = await ada.messages();
    expect(shown).toEqual(numbers(181 - shown.length, 180));
    expect(shown.length).toBeLessThanOrEqual(100);
    expect(await ada.page.title()).toBe("talk · Sluice chat");

    // What is in sight does not move when others are put above it.
    const box = ada.page.getByTestId("messages");
    const watched = ada.page.getByTestId("message").nth(2);
    const watchedText = await watched.textContent();
    await box.evaluate((element) => element.scrollTo(0, 0));
    await eventually(async () => expect((await ada.messages()).length).toBeGreaterThan(shown.length));
    const same = ada.page.getByTestId("message").nth((await ada.messages()).length - shown.length + 2);
    expect(await same.textContent()).toBe(watchedText);
    const place = await same.boundingBox();
    expect(place?.y).toBeGreaterThan(0);
    expect(place?.y).toBeLessThan(ada.page.viewportSize()?.height ?? 0);

    await scrollUpTo(ada, "Eve: 1");
    expect(await ada.messages()).toEqual(numbers(1, 180));
    expect(await ada.page.getByTestId("earlier").isVisible()).toBe(false);
    await said(chat, "talk", "181");
    await ada.page.getByRole("button", { name: "1 new message" }).click();
    await eventually(async () => expect((await ada.messages()).at(-1)).toBe("Eve: 181"));
  });

  test("where nothing was said before, nothing earlier is offered, whoever came and went", async () => {
    const chat = await startChat();
    const ada = await chat.enter("short", "Ada");
    await chat.enter("short", "Bob");
    await eventually(async () => expect(await ada.peopleCount()).toBe(2));
    await ada.say("first");
    await ada.say("second");
    await eventually(async () => expect(await ada.messages()).toEqual(["Ada: first", "Ada: second"]));
    const carol = await chat.enter("short", "Carol");
    await eventually(async () => expect(await carol.messages()).toEqual(["Ada: first", "Ada: second"]));
    for (const window of [ada, carol]) {
      await eventually(async () => expect(await window.page.getByTestId("earlier").isVisible()).toBe(false));
    }
  });

  test("earlier messages that cannot be loaded can be asked for again", async () => {
    const chat = await startChat();
    chat.permit(UNREACHABLE);
    const way = await CuttableWay.to(chat.port);
    for (let n = 1; n <= 150; n++) await said(chat, "again", String(n));
    const ada = await enterOver(way, chat, "again", "Ada");
    await ada.message("150").waitFor();
    way.block();
    await ada.is("reconnecting");
    const earlier = ada.page.getByTestId("earlier");
    await earlier.click();
    await earlier.getByText("Could not be loaded. Try again").waitFor();
    way.restore();
    await ada.is("live");
    await earlier.getByText("Show earlier messages").click();
    await eventually(async () => expect(await ada.messages()).toEqual(numbers(1, 150)));
    await ada.page.close();
    await way.close();
  });

  test("after a reload the last messages are there again, and what I said is still mine", async () => {
    const chat = await startChat();
    const ada = await chat.enter("reload", "Ada");
    await ada.say("me");
    await eventually(async () => expect(await ada.messages()).toEqual(["Ada: me"]));
    await said(chat, "reload", "1");
    await ada.message("1").waitFor();
    await ada.page.reload();
    await ada.is("live");
    await eventually(async () => expect(await ada.messages()).toEqual(["Ada: me", "Eve: 1"]));
    expect(await ada.page.locator(".message.own .bubble").allTextContents()).toEqual(["me"]);
  });

  test("a room whose name has dots keeps its history too", async () => {
    const chat = await startChat();
    await said(chat, "a.b.c", "1");
    const ada = await chat.enter("a.b.c", "Ada");
    await eventually(async () => expect(await ada.messages()).toEqual(numbers(1, 1)));
  });
});

/** As somebody who reads back. */
async function scrollUpTo(window: Window, first: string): Promise<void> {
  await eventually(async () => {
    await window.page.getByTestId("messages").evaluate((box) => box.scrollTo(0, 0));
    expect((await window.messages())[0]).toBe(first);
  });
}
