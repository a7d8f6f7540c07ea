import { expect, test } from "@jest/globals";
import type { WebSocketRoute } from "playwright-core";
import { deny } from "sluice";
import { describeInBrowser, eventually, LATE_POLL, startChat, UNREACHABLE } from "./chat-in-browser.ts";

describeInBrowser("What is said without a good connection, seen in a browser", () => {
  test("what is said and what is written while the server is away is not lost", async () => {
    const chat = await startChat();
    chat.permit(UNREACHABLE);
    const ada = await chat.enter("patience", "Ada");
    const bob = await chat.enter("patience", "Bob");
    await ada.composer.fill("one");
    await chat.stopServer();
    await ada.is("reconnecting");

    await ada.composer.press("Enter");
    await ada.say("two");
    await ada.composer.fill("thr");
    expect(await ada.page.locator('[data-state="pending"]').count()).toBe(2);
    await chat.startServer();
    await ada.is("live");
    await ada.composer.pressSequentially("ee");
    await eventually(async () => expect(await ada.messages()).toEqual(["Ada: one", "Ada: two"]));
    expect(await ada.page.locator('[data-state="pending"]').count()).toBe(0);
    expect(await ada.composer.inputValue()).toBe("three");

    await bob.is("live");
    await ada.composer.press("Enter");
    await bob.message("three").waitFor();
    await eventually(async () =>
      expect(await ada.messages()).toEqual(["Ada: one", "Ada: two", "Ada: three"]),
    );
  });

  test("a message that waited too long is not sent, and is tried again or edited on demand", async () => {
    const chat = await startChat();
    chat.permit(UNREACHABLE);
    const ada = await chat.enter("too-long", "Ada", { prepare: (page) => page.clock.install() });
    await chat.stopServer();
    await ada.is("reconnecting");
    await ada.say("again please");
    await ada.say("edit plaese");
    await ada.page.clock.fastForward("00:11");

    const failed = ada.page.locator('[data-testid="message"][data-state="failed"]');
    await eventually(async () => expect(await failed.count()).toBe(2));
    expect(await ada.error.textContent()).toBe(
      "Not sent. There is no connection. Try again when you are back.",
    );
    await chat.startServer();
    await ada.is("live");
    expect(await ada.error.isVisible()).toBe(false);
    expect(await ada.messages()).toEqual([]);

    await failed.filter({ hasText: "plaese" }).getByRole("button", { name: "Edit" }).click();
    expect(await ada.composer.inputValue()).toBe("edit plaese");
    expect(await failed.count()).toBe(1);
    await failed.getByRole("button", { name: "Try again" }).click();
    await ada.message("again please").and(ada.page.locator('[data-state="sent"]')).waitFor();
    await ada.say("edit please");
    await eventually(async () =>
      expect(await ada.messages()).toEqual(["Ada: again please", "Ada: edit please"]),
    );
    expect(await failed.count()).toBe(0);
  });

  test("a message that waits while the room refuses is not sent, and the way back stays in sight", async () => {
    let isOpen = true;
    const chat = await startChat({
      middleware: [(_scope, next) => (isOpen ? next() : deny(4403, "closed for today"))],
    });
    chat.permit(UNREACHABLE);
    chat.permit(LATE_POLL);
    const ada = await chat.enter("closing-time", "Ada", { prepare: (page) => page.clock.install() });
    await chat.stopServer();
    await ada.is("reconnecting");
    await ada.say("last orders");
    isOpen = false;
    await chat.startServer();
    await ada.is("refused");

    const message = ada.message("last orders");
    await message.getByText("Not sent").waitFor();
    expect(await ada.error.textContent()).toBe("You are not connected. Closed for today.");
    await message.getByRole("button", { name: "Try again" }).click();
    await message.getByText("Sending…").waitFor();
    await ada.page.clock.fastForward("00:11");
    await message.getByText("Not sent").waitFor();
    expect(await ada.error.textContent()).toBe("You are not connected. Closed for today.");

    await message.getByRole("button", { name: "Delete" }).click();
    expect(await message.count()).toBe(0);
    isOpen = true;
    await ada.page.locator("#notice").getByRole("button", { name: "Try again" }).click();
    await ada.is("live");
    expect(await ada.error.isVisible()).toBe(false);
  });

  test.each([
    ["is shown once, as it was recovered", true],
    ["is not said twice where nothing is kept: the person decides", false],
  ])("a message that may have arrived %s", async (_what, keeps) => {
    const chat = await startChat({ keeps });
    let socket: WebSocketRoute | undefined;
    let isUpgraded = false;
    let isDeaf = false;
    let unheard = 0;
    const ada = await chat.enter("twice", "Ada", {
      prepare: (page) =>
        page.routeWebSocket(/socket\.io/, (route) => {
          const server = route.connectToServer();
          route.onMessage((text) => {
            if (text === "5") [socket, isUpgraded] = [route, true]; // from here on not by polling
            server.send(text);
          });
          server.onMessage((text) => {
            if (isDeaf) unheard += 1;
            else route.send(text);
          });
        }),
    });
    const bob = await chat.enter("twice", "Bob");
    await eventually(() => expect(isUpgraded).toBe(true));
    isDeaf = true;
    await ada.say("only once");
    await bob.message("only once").waitFor();
    await eventually(() => expect(unheard).toBeGreaterThanOrEqual(2)); // its echo and its acknowledgement
    isDeaf = false;
    await socket?.close({ code: 3001 });

    await ada.is("live");
    if (keeps) {
      await eventually(async () => expect(await ada.messages()).toEqual(["Ada: only once"]));
    } else {
      await ada.message("only once").getByText("Not sent").waitFor();
      expect(await ada.error.textContent()).toContain("it may have arrived");
    }
    await ada.say("sorry");
    await bob.message("sorry").waitFor();
    expect(await bob.messages()).toEqual(["Ada: only once", "Ada: sorry"]);
  });

  test("a message that the server takes too often keeps its text and can be tried again", async () => {
    const chat = await startChat({ limits: { eventsPerSecond: 1 } });
    const ada = await chat.enter("slowly", "Ada");
    const bob = await chat.enter("slowly", "Bob");
    const failed = ada.page.locator('[data-testid="message"][data-state="failed"]');
    const said: string[] = [];
    while ((await failed.count()) === 0) {
      said.push(`Number ${said.length + 1}`);
      await ada.say(said.at(-1) ?? "");
      await eventually(async () => expect(await ada.page.getByText("Sending…").count()).toBe(0));
    }
    expect(await failed.textContent()).toContain(said.at(-1));
    expect(await ada.error.textContent()).toContain("You are sending faster than this room takes it.");

    await eventually(async () => {
      if ((await failed.count()) > 0) await failed.getByRole("button", { name: "Try again" }).click();
      expect(await ada.messages()).toHaveLength(said.length);
    });
    const all = said.map((text) => `Ada: ${text}`);
    await eventually(async () => expect(await ada.messages()).toEqual(all));
    await eventually(async () => expect(await bob.messages()).toEqual(all));
  });
});
