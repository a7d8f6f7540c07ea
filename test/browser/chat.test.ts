import { expect, test } from "@jest/globals";
import { describeInBrowser, eventually, startChat } from "./chat-in-browser.ts";

describeInBrowser("The chat, seen in a browser", () => {
  test("two windows in one room see each other's messages with names, a third room sees none of them", async () => {
    const chat = await startChat();
    const ada = await chat.enter("talk", "Ada");
    const grace = await chat.enter("talk", "Grace");
    const carol = await chat.enter("elsewhere", "Carol");

    await ada.say("Hello, who is here?");
    await grace.message("Hello").waitFor();
    await grace.say("I am!");
    const conversation = ["Ada: Hello, who is here?", "Grace: I am!"];
    await eventually(async () => expect(await ada.messages()).toEqual(conversation));
    await eventually(async () => expect(await grace.messages()).toEqual(conversation));

    // Whatever was on its way to the other room would be there before its own message, sent last.
    await carol.say("Nobody here");
    await eventually(async () => expect(await carol.messages()).toContain("Carol: Nobody here"));
    expect(await carol.messages()).toEqual(["Carol: Nobody here"]);
  });

  test("a script or an image sent as a message is text in both windows, and nothing of it runs", async () => {
    const chat = await startChat();
    const mallory = await chat.enter("markup", "<b>Mallory</b>");
    const bob = await chat.enter("markup", "Bob");
    const attacks = [
      "<script>window.pwned=1</script>",
      '<img src=x onerror="window.pwned=1">',
      "</p><h1>big",
    ];

    for (const attack of attacks) await mallory.say(attack);

    const asText = attacks.map((attack) => `<b>Mallory</b>: ${attack}`);
    for (const window of [mallory, bob]) {
      await eventually(async () => expect(await window.messages()).toEqual(asText));
      expect(await window.page.locator("#lines :is(script, img, h1, b)").count()).toBe(0);
      expect(await window.page.evaluate("window.pwned")).toBeUndefined();
    }
    expect(await bob.people()).toEqual(["Bob", "<b>Mallory</b>"]);
  });

  test("web addresses become links that open apart, a javascript: address stays text", async () => {
    const chat = await startChat();
    const ada = await chat.enter("links", "Ada");
    const bob = await chat.enter("links", "Bob");

    await ada.say("see (https://example.org/a_(b)?c=d&e), or javascript:window.pwned=1 or http://x.test.");

    for (const window of [ada, bob]) {
      await window.message("see").waitFor();
      const links = window.page.locator(".bubble a");
      expect(await links.allTextContents()).toEqual(["https://example.org/a_(b)?c=d&e", "http://x.test"]);
      expect(await links.first().getAttribute("href")).toBe("https://example.org/a_(b)?c=d&e");
      for (const link of await links.all()) {
        expect((await link.getAttribute("rel"))?.split(" ")).toContain("noopener");
        expect(await link.getAttribute("target")).toBe("_blank");
      }
    }
  });

  test("what an operator tells everybody stays until it is dismissed, whatever one says, and is no error", async () => {
    const chat = await startChat();
    const ada = await chat.enter("told", "Ada");
    await chat.app.tellAll({ id: "1", text: "Back at <b>noon</b>.", at: Date.now() });
    await ada.error.getByText("Back at <b>noon</b>.").waitFor();
    const box = ada.page.locator("#notice");
    expect(await box.getAttribute("data-kind")).toBe("news");
    await ada.say("Fine");
    await ada.message("Fine").waitFor();
    expect(await box.isVisible()).toBe(true);
    await box.getByText("Dismiss").click();
    expect(await box.isVisible()).toBe(false);
  });

  test("the lobby lists a room while someone is in it, with the number of people", async () => {
    const chat = await startChat();
    const lobby = await chat.open("/");
    await lobby.is("live");
    await lobby.page.getByText("Nobody is talking yet").waitFor();

    const ada = await chat.enter("live-list", "Ada");
    await eventually(async () => expect(await lobby.rooms()).toEqual({ "live-list": "1 person" }));
    const bob = await chat.enter("live-list", "Bob");
    const carol = await chat.enter("another", "Carol");
    await eventually(async () =>
      expect(await lobby.rooms()).toEqual({ another: "1 person", "live-list": "2 people" }),
    );

    await ada.close();
    await carol.close();
    await eventually(async () => expect(await lobby.rooms()).toEqual({ "live-list": "1 person" }));
    await bob.close();
    await eventually(async () => expect(await lobby.rooms()).toEqual({}));
    await lobby.page.getByText("Nobody is talking yet").waitFor();
  });

  test("a room of the lobby's list is entered by a click", async () => {
    const chat = await startChat();
    await chat.enter("open-door", "Ada");
    const bob = await chat.open("/", { name: "Bob" });
    await bob.page.getByRole("link", { name: "open-door" }).click();
    await bob.is("live");
    await eventually(async () => expect(await bob.people()).toEqual(["Bob", "Ada"]));
  });

  test("who comes without a name is asked for one, and everyone sees it", async () => {
    const chat = await startChat();
    const ada = await chat.enter("asked", "Ada");
    const newcomer = await chat.open("/rooms/asked");
    const dialog = newcomer.page.getByTestId("name-dialog");
    await dialog.waitFor();
    await newcomer.page.keyboard.press("Escape");
    await newcomer.page.keyboard.press("Escape");
    await dialog.getByRole("button", { name: "Save name" }).click();
    await dialog.getByRole("alert").waitFor();

    await dialog.getByTestId("name-input").fill("Zoë 🐙");
    await dialog.getByRole("button", { name: "Save name" }).click();

    await newcomer.is("live");
    await newcomer.say("hi");
    await eventually(async () => expect(await ada.messages()).toEqual(["Zoë 🐙: hi"]));
    expect(await ada.systemLines("joined")).toEqual(["Zoë 🐙 joined"]);
  });

  test("a new name is told to everyone, and what was said before stays one's own", async () => {
    const chat = await startChat();
    const ada = await chat.enter("rename", "Ada");
    const bob = await chat.enter("rename", "Bob");
    await bob.say("as Bob");
    await bob.message("as Bob").waitFor();

    await bob.page.getByRole("button", { name: "Change your name" }).click();
    await bob.page.getByTestId("name-input").fill("Robert");
    await bob.page.keyboard.press("Enter");

    await eventually(async () => expect(await bob.systemLines("renamed")).toEqual(["You are now Robert"]));
    await bob.say("as Robert");
    await eventually(async () => expect(await ada.messages()).toEqual(["Bob: as Bob", "Robert: as Robert"]));
    expect(await ada.systemLines()).toEqual(["Bob joined", "Bob is now Robert"]);
    await eventually(async () => expect(await ada.people()).toEqual(["Ada", "Robert"]));
    expect(await bob.page.locator(".message.own").count()).toBe(2);
  });

  test("the others see who is typing, until they stop, send or leave", async () => {
    const chat = await startChat();
    const ada = await chat.enter("typing", "Ada");
    const bob = await chat.enter("typing", "Bob");

    await ada.composer.pressSequentially("Hm");
    await bob.typing.getByText("Ada is typing…").waitFor();
    expect(await ada.typing.textContent()).toBe("");
    await ada.composer.clear();
    await eventually(async () => expect(await bob.typing.textContent()).toBe(""));

    await ada.composer.pressSequentially("Well");
    await bob.typing.getByText("Ada is typing…").waitFor();
    await ada.composer.press("Enter");
    await bob.message("Well").waitFor();
    expect(await bob.typing.textContent()).toBe("");

    await ada.composer.pressSequentially("But");
    await bob.typing.getByText("Ada is typing…").waitFor();
    await ada.close();
    await eventually(async () => expect(await bob.typing.textContent()).toBe(""));
  });

  test("two tabs of a browser are one person, who leaves with the last of them", async () => {
    const chat = await startChat();
    const ada = await chat.enter("people", "Ada");
    expect(await ada.systemLines()).toEqual([]);
    const bob = await chat.enter("people", "Bob");
    const secondTab = await chat.openTab(bob, "/rooms/people");
    await secondTab.is("live");
    const carol = await chat.enter("people", "Carol");

    for (const [window, people] of [
      [ada, ["Ada", "Bob", "Carol"]],
      [bob, ["Bob", "Ada", "Carol"]],
      [secondTab, ["Bob", "Ada", "Carol"]],
    ] as const) {
      await eventually(async () => expect(await window.people()).toEqual(people));
      expect(await window.peopleCount()).toBe(3);
    }
    expect(await ada.systemLines()).toEqual(["Bob and Carol joined"]);
    expect(await secondTab.systemLines()).toEqual(["Carol joined"]);

    await secondTab.close();
    await carol.close();
    await eventually(async () => expect(await ada.people()).toEqual(["Ada", "Bob"]));
    await bob.close();
    await eventually(async () => expect(await ada.people()).toEqual(["Ada"]));
    expect(await ada.peopleCount()).toBe(1);
    expect(await ada.systemLines("left")).toEqual(["Carol and Bob left"]);
  });

  test("of many who come in a row one line tells, until something else happens", async () => {
    const chat = await startChat();
    const ada = await chat.enter("crowd", "Ada");
    for (const name of ["Bob", "Carol", "Dan", "Eve", "Fay"]) await chat.enter("crowd", name);
    await eventually(async () => expect(await ada.systemLines()).toEqual(["Bob, Carol and 3 others joined"]));
    await ada.say("welcome");
    await ada.message("welcome").waitFor();
    await chat.enter("crowd", "Gus");
    await eventually(async () =>
      expect(await ada.systemLines()).toEqual(["Bob, Carol and 3 others joined", "Gus joined"]),
    );
    expect(await ada.peopleCount()).toBe(7);
  });

  test("nobody sees a reload, nor a move to another page and back", async () => {
    const chat = await startChat();
    const ada = await chat.enter("reload", "Ada");
    const bob = await chat.enter("reload", "Bob");
    // Before that the server would notice nothing anyway until the next ping.
    const isNoticed = () => eventually(() => expect(bob.webSockets.size).toBeGreaterThan(0));
    await isNoticed();
    bob.webSockets.clear();
    await bob.page.reload();
    await bob.is("live");
    await isNoticed();
    await bob.page.getByRole("link", { name: "back to the lobby" }).click();
    await bob.page.getByRole("link", { name: "reload" }).click();
    await bob.is("live");
    // Who leaves later is told later.
    const carol = await chat.enter("reload", "Carol");
    await carol.close();
    await eventually(async () => expect(await ada.systemLines("left")).toEqual(["Carol left"]));
    expect(await ada.systemLines("joined")).toEqual(["Bob and Carol joined"]);
    await eventually(async () => expect(await bob.people()).toEqual(["Bob", "Ada"]));
    expect(await bob.systemLines("joined")).toEqual(["Carol joined"]);
  });

  test("a new name holds in all tabs, wherever it was chosen", async () => {
    const chat = await startChat();
    const ada = await chat.enter("names", "Ada");
    const bob = await chat.enter("names", "Bob");
    const secondTab = await chat.openTab(bob, "/rooms/names");
    await secondTab.is("live");
    await bob.page.getByRole("button", { name: "Change your name" }).click();
    await bob.page.getByTestId("name-input").fill("Robert");
    await bob.page.keyboard.press("Enter");
    for (const window of [bob, secondTab]) {
      await eventually(async () =>
        expect(await window.systemLines("renamed")).toEqual(["You are now Robert"]),
      );
      await eventually(async () => expect(await window.people()).toEqual(["Robert", "Ada"]));
    }
    await secondTab.say("from the second tab");
    await ada.message("from the second tab").waitFor();

    const lobby = await chat.openTab(bob, "/");
    await lobby.page.getByTestId("name-input").fill("Bobby");
    await lobby.page.getByTestId("room-input").fill("names");
    await lobby.page.keyboard.press("Enter");
    for (const window of [lobby, bob, secondTab]) {
      await eventually(async () => expect(await window.people()).toEqual(["Bobby", "Ada"]));
    }
    await bob.say("from the first");
    await eventually(async () =>
      expect(await ada.messages()).toEqual(["Robert: from the second tab", "Bobby: from the first"]),
    );
    await eventually(async () =>
      expect(await ada.systemLines("renamed")).toEqual(["Bob is now Robert", "Robert is now Bobby"]),
    );
    expect(await lobby.page.locator(".message.own").count()).toBe(2);
  });
});
