import { expect, test } from "@jest/globals";
import { describeInBrowser, eventually, startChat, type Window } from "./chat-in-browser.ts";

const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 };

/** Chromium without a screen never hides a tab, so the page is told that it did. */
function setHidden(window: Window, hidden: boolean): Promise<unknown> {
  return window.page.evaluate(`
    Object.defineProperty(document, "hidden", { configurable: true, value: ${hidden} });
    document.dispatchEvent(new Event("visibilitychange"));
  `);
}

/** Presses Tab until the element has the focus. */
async function tabTo(window: Window, testId: string): Promise<void> {
  for (let presses = 0; presses < 15; presses++) {
    const focused = await window.page.evaluate("document.activeElement.dataset.testid");
    if (focused === testId) return;
    await window.page.keyboard.press("Tab");
  }
  throw new Error(`no Tab leads to ${testId}`);
}

describeInBrowser("The chat by keyboard and on screens, seen in a browser", () => {
  test("the title counts what came while the tab was hidden, until it is seen", async () => {
    const chat = await startChat();
    const ada = await chat.enter("unread", "Ada");
    const bob = await chat.enter("unread", "Bob");
    expect(await ada.page.title()).toBe("unread · Sluice chat");
    await bob.say("seen");
    await ada.message("seen").waitFor();
    expect(await ada.page.title()).toBe("unread · Sluice chat");

    await setHidden(ada, true);
    await bob.say("first");
    await ada.message("first").waitFor();
    expect(await ada.page.title()).toBe("(1) unread · Sluice chat");
    await bob.say("second");
    await ada.message("second").waitFor();
    expect(await ada.page.title()).toBe("(2) unread · Sluice chat");

    await setHidden(ada, false);
    expect(await ada.page.title()).toBe("unread · Sluice chat");
  });

  test("Enter sends, Shift+Enter makes a line, and blank text is not sent", async () => {
    const chat = await startChat();
    const ada = await chat.enter("enter", "Ada");
    const bob = await chat.enter("enter", "Bob");
    await ada.composer.pressSequentially("first line");
    await ada.composer.press("Shift+Enter");
    await ada.composer.pressSequentially("second line");
    expect(await ada.composer.inputValue()).toBe("first line\nsecond line");
    await ada.composer.press("Enter");
    await eventually(async () => expect(await bob.messages()).toEqual(["Ada: first line\nsecond line"]));
    expect(await ada.composer.inputValue()).toBe("");
    const { height } = (await bob.message("first line").locator(".bubble").boundingBox()) ?? { height: 0 };
    expect(height).toBeGreaterThan(50); // two lines, not one

    expect(await ada.page.getByTestId("send").isDisabled()).toBe(true);
    await ada.composer.pressSequentially("  ");
    await ada.composer.press("Enter");
    await ada.composer.pressSequentially("after");
    await ada.composer.press("Enter");
    await bob.message("after").waitFor();
    expect((await bob.messages()).slice(1)).toEqual(["Ada: after"]);
    expect(await ada.page.getByTestId("message").count()).toBe(2);
  });

  test("a text that is too long can't be sent, and the page says by how much", async () => {
    const chat = await startChat();
    const ada = await chat.enter("long", "Ada");
    await ada.composer.fill("x".repeat(4003));
    await ada.page.getByText("Too long by 3").waitFor();
    await ada.composer.press("Enter");
    await ada.composer.fill("y".repeat(4000));
    await ada.composer.press("Enter");
    await eventually(async () => expect(await ada.messages()).toEqual([`Ada: ${"y".repeat(4000)}`]));
    expect(await ada.page.getByTestId("message").count()).toBe(1);
  });

  test("the keyboard alone leads from the lobby to a sent message", async () => {
    const chat = await startChat();
    const bob = await chat.enter("keys-only", "Bob");
    const ada = await chat.open("/");
    await ada.is("live");
    await tabTo(ada, "name-input");
    await ada.page.keyboard.type("Ada");
    await tabTo(ada, "room-input");
    await ada.page.keyboard.type("keys only!");
    await ada.page.keyboard.press("Enter");

    await ada.page.waitForURL("**/rooms/keys-only");
    await ada.is("live");
    expect(await ada.page.evaluate("document.activeElement.dataset.testid")).toBe("composer");
    await ada.page.keyboard.type("no mouse");
    await ada.page.keyboard.press("Enter");
    await eventually(async () => expect(await bob.messages()).toEqual(["Ada: no mouse"]));
    await ada.page.keyboard.type("still here");
    await tabTo(ada, "send");
    await ada.page.keyboard.press("Space");
    await bob.message("still here").waitFor();
  });

  test("who is faster than the lobby's script comes into the room all the same", async () => {
    const chat = await startChat();
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    const ada = await chat.open("/", {
      prepare: (page) => page.route("**/js/lobby.js", (script) => released.then(() => script.continue())),
    });
    await ada.page.getByTestId("name-input").fill("Ada & Co");
    await ada.page.getByTestId("room-input").fill("quick");
    const sentOff = ada.page.waitForRequest((request) => request.isNavigationRequest());
    await ada.page.getByTestId("room-open").dispatchEvent("click");
    await sentOff;
    release();
    await ada.page.waitForURL("**/rooms/quick");
    await ada.is("live");
    await eventually(async () => expect(await ada.people()).toEqual(["Ada & Co"]));
  });

  test("a new name that was typed before the lobby's script came is not overwritten by the old one", async () => {
    const chat = await startChat();
    let release = () => {};
    const released = new Promise<void>((resolve) => {
      release = resolve;
    });
    const ada = await chat.open("/", {
      name: "Ada",
      prepare: (page) => page.route("**/js/lobby.js", (script) => released.then(() => script.continue())),
    });
    await ada.page.getByTestId("name-input").fill("Countess");
    release();
    await ada.is("live");
    expect(await ada.page.getByTestId("name-input").inputValue()).toBe("Countess");
  });

  test("the lobby says what is wrong with a room's name, and where", async () => {
    const chat = await startChat();
    const lobby = await chat.open("/");
    await lobby.is("live");
    const field = lobby.page.getByRole("textbox", { name: "Room", exact: true });
    await lobby.page.getByRole("button", { name: "Open room" }).click();
    await lobby.error.getByText("Type a name for the room first").waitFor();
    await field.fill("!!!");
    await field.press("Enter");
    await lobby.error.getByText("at least one letter or digit").waitFor();
    expect(await field.getAttribute("aria-invalid")).toBe("true");
    await field.fill("Café talk!");
    expect(await lobby.error.isVisible()).toBe(false);
    await field.press("Enter");
    await lobby.page.waitForURL("**/rooms/Cafe-talk");
  });

  test("log, composer and the other parts have roles and names for assistive technology", async () => {
    const chat = await startChat();
    const { page } = await chat.enter("roles", "Ada");
    for (const part of [
      page.getByRole("heading", { level: 1, name: "roles" }),
      page.getByRole("log", { name: "Messages" }),
      page.getByRole("textbox", { name: "Message", exact: true }),
      page.getByRole("button", { name: "Send" }),
      page.getByRole("button", { name: "people in this room" }),
      page.getByRole("button", { name: "Change your name" }),
      page.getByRole("list", { name: "People" }),
      page.getByRole("link", { name: "back to the lobby" }),
    ]) {
      expect(await part.count()).toBe(1);
      expect(await part.isVisible()).toBe(true);
    }
    expect(await page.getByRole("status").getByText("Live").count()).toBe(1);
    const lobby = await chat.open("/");
    for (const name of ["Your name", "Room"]) {
      expect(await lobby.page.getByRole("textbox", { name, exact: true }).count()).toBe(1);
    }
  });

  test("who reads further up is not pulled down, and one button leads to the new messages", async () => {
    const chat = await startChat();
    const ada = await chat.enter("scroll", "Ada", { profile: { viewport: { width: 900, height: 500 } } });
    const bob = await chat.enter("scroll", "Bob");
    for (let line = 1; line <= 12; line++) await bob.say(`line ${line}.`);
    const log = ada.page.getByTestId("messages");
    await ada.message("line 12.").waitFor();
    await eventually(async () => expect(await isInView(ada, "line 12.")).toBe(true));

    await log.hover();
    await ada.page.mouse.wheel(0, -2_000);
    await eventually(async () => expect(await isInView(ada, "line 1.")).toBe(true));
    await bob.say("line 13.");
    const news = ada.page.getByRole("button", { name: "1 new message" });
    await news.waitFor();
    expect(await isInView(ada, "line 1.")).toBe(true);
    expect(await isInView(ada, "line 13.")).toBe(false);

    await news.click();
    await eventually(async () => expect(await isInView(ada, "line 13.")).toBe(true));
    expect(await news.isVisible()).toBe(false);
  });

  test("on a phone composer and button stay in sight, and the people are one tap away", async () => {
    const chat = await startChat();
    const ada = await chat.enter("phone", "Ada", { profile: PHONE });
    const bob = await chat.enter("phone", "Bob");
    for (let line = 1; line <= 15; line++) await bob.say(`line ${line} ${"word ".repeat(12)}end`);
    await ada.message("line 15").waitFor();
    await ada.composer.tap();
    await ada.composer.fill("from the train");

    const { width, height } = PHONE.viewport;
    for (const part of [ada.composer, ada.page.getByTestId("send"), ada.page.locator("#people-toggle")]) {
      const box = await part.boundingBox();
      if (box === null) throw new Error("it is not shown at all");
      expect(box.x).toBeGreaterThanOrEqual(0);
      expect(box.y).toBeGreaterThanOrEqual(0);
      expect(box.x + box.width).toBeLessThanOrEqual(width);
      expect(box.y + box.height).toBeLessThanOrEqual(height);
      expect(Math.min(box.width, box.height)).toBeGreaterThanOrEqual(44); // a finger's width
    }
    expect(await ada.page.evaluate("document.documentElement.scrollWidth")).toBe(width);
    await ada.page.getByTestId("send").tap();
    await bob.message("from the train").waitFor();

    const people = ada.page.getByTestId("people");
    expect(await people.isVisible()).toBe(false);
    await ada.page.getByRole("button", { name: "people in this room" }).tap();
    await people.getByText("Bob").waitFor();
    await ada.page.getByRole("button", { name: "Close" }).tap();
    await people.waitFor({ state: "hidden" });
  });
});

/** Whether the reader sees the end of that message in the log. */
async function isInView(window: Window, text: string): Promise<boolean> {
  const message = await window.message(text).last().boundingBox();
  const log = await window.page.getByTestId("messages").boundingBox();
  if (message === null || log === null) return false;
  const end = message.y + message.height;
  return end > log.y && end <= log.y + log.height + 1;
}
