import { expect, test } from "@jest/globals";
import type { Page } from "playwright-core";
import { deny } from "sluice";
import { describeInBrowser, eventually, LATE_POLL, startChat, UNREACHABLE } from "./chat-in-browser.ts";

describeInBrowser("The chat's connection, seen in a browser", () => {
  test("the page says that the server is gone, that it is back, and where messages may be missing in a room without history", async () => {
    const chat = await startChat({ keeps: false });
    chat.permit(UNREACHABLE);
    const ada = await chat.enter("restart", "Ada");
    const bob = await chat.enter("restart", "Bob");
    await ada.say("before");
    await bob.message("before").waitFor();

    await chat.stopServer();
    for (const window of [ada, bob]) {
      await window.is("reconnecting");
      await window.page.getByRole("status").getByText("Reconnecting…").waitFor();
    }
    await chat.startServer();
    for (const window of [ada, bob]) await window.is("live");

    await ada.say("after");
    await eventually(async () => expect(await bob.messages()).toEqual(["Ada: before", "Ada: after"]));
    for (const window of [ada, bob]) {
      await eventually(async () => expect(await window.messages()).toHaveLength(2));
      expect(await window.systemLines("gap")).toEqual([
        expect.stringMatching(/^The connection was lost for \d+ s; messages may be missing$/),
      ]);
      const kinds = await window.page
        .locator("#lines :is([data-testid=message], [data-kind=gap])")
        .evaluateAll((lines) => lines.map((line) => line.getAttribute("data-testid")));
      expect(kinds).toEqual(["message", "system-line", "message"]);
      // Nobody counts who is here, and the page pretends nothing.
      expect(
        await window.page.locator("#people-toggle, #people-panel").filter({ visible: true }).count(),
      ).toBe(0);
    }
    const lobby = await chat.open("/");
    await eventually(async () => expect(await lobby.rooms()).toEqual({ restart: "open" }));
    await ada.page.getByRole("button", { name: "Change your name" }).click();
    await ada.page.getByTestId("name-input").fill("Countess");
    await ada.page.keyboard.press("Enter");
    await eventually(async () => expect(await ada.systemLines("renamed")).toEqual(["You are now Countess"]));
    await ada.is("live");
    await ada.say("renamed");
    await bob.message("renamed").waitFor();
    expect((await bob.messages()).at(-1)).toBe("Countess: renamed");
  });

  test("who came and went while the server was away is right in the list afterwards", async () => {
    const chat = await startChat();
    chat.permit(UNREACHABLE);
    const ada = await chat.enter("restart", "Ada");
    const bob = await chat.enter("restart", "Bob");
    await eventually(async () => expect(await ada.people()).toEqual(["Ada", "Bob"]));
    await bob.close();
    await chat.stopServer();
    await ada.is("reconnecting");
    expect(await ada.page.getByTestId("people").getAttribute("aria-busy")).toBe("true");
    await chat.startServer();
    await ada.is("live");
    await eventually(async () => expect(await ada.people()).toEqual(["Ada"]));
    expect(await ada.page.getByTestId("people").getAttribute("aria-busy")).toBe("false");
    await chat.enter("restart", "Carol");
    await eventually(async () => expect(await ada.people()).toEqual(["Ada", "Carol"]));
    expect(await ada.systemLines("joined")).toEqual(["Bob joined", "Carol joined"]);
  });

  test("a new name that the server refuses is not taken", async () => {
    const chat = await startChat();
    const ada = await chat.enter("names", "Ada");
    await ada.page.getByRole("button", { name: "Change your name" }).click();
    await ada.page.getByTestId("name-input").fill("Ada \u{e000}");
    await ada.page.keyboard.press("Enter");
    await ada.error.getByText("Your name was not changed.").waitFor();
    await ada.say("as ever");
    await eventually(async () => expect(await ada.messages()).toEqual(["Ada: as ever"]));
    await ada.page.reload();
    await ada.is("live");
    expect(await ada.people()).toEqual(["Ada"]);
  });

  test("lobby and room say which node serves them, nobody's name while none does, and then the new one's", async () => {
    const chat = await startChat();
    chat.permit(UNREACHABLE);
    const ada = await chat.enter("here", "Ada");
    const lobby = await chat.open("/");
    for (const window of [ada, lobby]) {
      await window.is("live");
      expect(await window.node()).toBe("on test-node");
    }

    await chat.stopServer();
    for (const window of [ada, lobby]) {
      await window.is("reconnecting");
      expect(await window.node()).toBe("");
    }
    await chat.startServer("4711@web-2");
    for (const window of [ada, lobby]) {
      await window.is("live");
      expect(await window.node()).toBe("on 4711@web-2");
    }
  });

  test("the lobby comes back with the rooms of the new server", async () => {
    const chat = await startChat();
    chat.permit(UNREACHABLE);
    const ada = await chat.enter("old-room", "Ada");
    const lobby = await chat.open("/");
    await eventually(async () => expect(await lobby.rooms()).toEqual({ "old-room": "1 person" }));

    await ada.close();
    await chat.stopServer();
    await lobby.is("reconnecting");
    await chat.startServer();
    await chat.enter("new-room", "Bob");
    await lobby.is("live");
    await eventually(async () => expect(await lobby.rooms()).toEqual({ "new-room": "1 person" }));
  });

  test("a room that the server refuses says why, stays away, and takes another try", async () => {
    let isOpen = false;
    let attempts = 0;
    const chat = await startChat({
      middleware: [
        (_scope, next) => {
          attempts += 1;
          return isOpen ? next() : deny(4403, "Members only.");
        },
      ],
    });
    chat.permit(LATE_POLL);
    const ada = await chat.open("/rooms/club", { name: "Ada" });

    await ada.is("refused");
    await ada.page.getByRole("status").getByText("Refused. Members only.").waitFor();
    expect(await ada.error.textContent()).toBe("You are not connected. Members only.");
    await ada.composer.fill("let me in");
    expect(await ada.page.getByTestId("send").isDisabled()).toBe(true);
    expect(attempts).toBe(1);

    isOpen = true;
    await ada.page.getByRole("button", { name: "Try again" }).click();
    await ada.is("live");
    await ada.composer.press("Enter");
    await eventually(async () => expect(await ada.messages()).toEqual(["Ada: let me in"]));
    expect(await ada.error.isVisible()).toBe(false);
  });

  test("a room that is refused for now is tried again without anybody's doing", async () => {
    let attempts = 0;
    const chat = await startChat({
      middleware: [(_scope, next) => (++attempts === 1 ? deny(4503, "Back in a moment.") : next())],
    });
    chat.permit(LATE_POLL);
    const ada = await chat.open("/rooms/club", { name: "Ada" });

    await ada.page.getByRole("status").getByText("Reconnecting… Back in a moment.").waitFor();
    await ada.is("live");
    expect(attempts).toBe(2);
  });

  test("a name that the server refuses can be changed on the spot", async () => {
    const chat = await startChat();
    // A character for private use: nobody else could read it.
    chat.permit(LATE_POLL);
    const ada = await chat.open("/rooms/names", { name: "Ada \u{e000}" });
    await ada.is("refused");
    expect(await ada.error.textContent()).toContain("Choose a name");

    await ada.page.getByRole("button", { name: "Change name" }).click();
    await ada.page.getByTestId("name-input").fill("Ada");
    await ada.page.getByRole("button", { name: "Save name" }).click();
    await ada.is("live");
    await eventually(async () => expect(await ada.people()).toEqual(["Ada"]));
  });

  test("an address that can be no room says so and connects to nothing", async () => {
    const chat = await startChat();
    const ada = await chat.open("/rooms/no%20room", { name: "Ada" });
    await ada.is("refused");
    expect(await ada.error.textContent()).toContain("This address is no room");
    expect(await ada.page.getByTestId("send").isDisabled()).toBe(true);
    await ada.page.getByRole("link", { name: "Back to the lobby", exact: true }).click();
    await ada.is("live");
    expect(await ada.rooms()).toEqual({});
  });

  test.each<[string, (page: Page) => Promise<unknown>]>([
    ["closes every WebSocket", (page) => page.routeWebSocket(/./, (socket) => socket.close())],
    ["has no WebSocket", (page) => page.addInitScript("delete window.WebSocket")],
  ])("the chat works by polling where the way %s", async (_what, prepare) => {
    const chat = await startChat();
    const ada = await chat.enter("polling", "Ada", { prepare });
    const bob = await chat.enter("polling", "Bob");
    await ada.say("over http");
    await bob.say("over a socket");
    const conversation = ["Ada: over http", "Bob: over a socket"];
    for (const window of [ada, bob]) {
      await eventually(async () => expect((await window.messages()).toSorted()).toEqual(conversation));
    }
    await bob.composer.pressSequentially("Hm");
    await ada.typing.getByText("Bob is typing…").waitFor();
    await eventually(() => expect(bob.webSockets.size).toBe(1));
    expect(ada.webSockets.size).toBe(0);
    await ada.is("live");
  });
});
