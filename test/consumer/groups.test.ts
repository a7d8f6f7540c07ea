import { afterEach, describe, expect, test } from "@jest/globals";
import { type Application, Consumer, createApplication, type Message, route } from "sluice";
import { TestClient, untilIdle } from "sluice/testing";

const apps: Application[] = [];

function appOf(consumer: new (...args: never[]) => Consumer, options = {}): Application {
  const app = createApplication({ routes: [route("/x/:id", consumer as never)], ...options });
  apps.push(app);
  return app;
}

async function enter(app: Application, id = "1"): Promise<TestClient> {
  const client = new TestClient(app, `/x/${id}`);
  await expect(client).toBeAccepted();
  return client;
}

afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.stop()));
});

describe("a message to a group", () => {
  test("runs the method its type names, on every member, the sender included", async () => {
    class Room extends Consumer {
      static override readonly groups = ["room"];
      override async receive(_event: string, text: unknown) {
        await this.groupSend("room", { type: "chat.message", text });
      }
      chatMessage(message: Message) {
        this.send("heard", message.text);
      }
    }
    const app = appOf(Room);
    const [ann, bob] = [await enter(app, "ann"), await enter(app, "bob")];
    await ann.emit("say", "hi");
    expect(await ann.next("heard")).toBe("hi");
    expect(await bob.next("heard")).toBe("hi");
  });

  test("that still waits when the consumer leaves the group is not handled", async () => {
    class Leaver extends Consumer {
      static override readonly groups = ["g"];
      readonly heard: unknown[] = [];
      async chatMessage({ n }: Message) {
        this.heard.push(n);
        if (n === 1) await this.groupDiscard("g");
      }
      override receive() {
        return this.heard;
      }
    }
    const app = appOf(Leaver);
    const client = await enter(app);
    for (const n of [1, 2, 3]) await app.layer.groupSend("g", { type: "chat.message", n });
    await app.layer.send(client.channel, { type: "chat.message", n: 4 });
    expect(await client.emit("heard")).toEqual([1, 4]);
  });

  test("never runs a hook, a verb, a getter, a field or a one-word method", async () => {
    const reached: string[] = [];
    class Guarded extends Consumer {
      static override readonly groups = ["g"];
      get chatGetter(): () => void {
        reached.push("getter read");
        return () => reached.push("getter");
      }
      chatField = () => reached.push("field");
      say() {
        reached.push("say");
      }
      override async groupSend() {
        reached.push("verb");
      }
    }
    const app = appOf(Guarded);
    const dropped: string[] = [];
    app.signals.dropped.connect(({ cause, what }) => dropped.push(`${cause} ${what}`));
    const client = await enter(app);
    const types = ["chat.getter", "chat.field", "group.send", "to.string", "has.own.property", "un.heard.of"];
    for (const type of types) await app.layer.groupSend("g", { type });
    await untilIdle(app);
    expect(reached).toEqual([]);
    expect(dropped).toEqual(types.map((type) => `no-handler ${type}`));
    await client.disconnect();
  });

  test("runs a handler that a class inherits, or the one that overrides it", async () => {
    class Parent extends Consumer {
      static override readonly groups: readonly string[] = ["g"];
      chatMessage() {
        this.send("heard", "parent");
      }
      chatOther() {
        this.send("heard", "inherited");
      }
    }
    class Child extends Parent {
      override chatMessage() {
        this.send("heard", "child");
      }
    }
    const app = appOf(Child);
    const client = await enter(app);
    await app.layer.groupSend("g", { type: "chat.message" });
    await app.layer.groupSend("g", { type: "chat.other" });
    expect([await client.next("heard"), await client.next("heard")]).toEqual(["child", "inherited"]);
  });

  test("is dropped and told when the mailbox is full", async () => {
    class Slow extends Consumer {
      static override readonly groups = ["g"];
      async chatMessage() {
        await new Promise((resolve) => setImmediate(resolve));
      }
    }
    const app = appOf(Slow, { limits: { mailbox: 3 } });
    await enter(app);
    let dropped = 0;
    app.signals.dropped.connect(({ cause }) => {
      if (cause === "mailbox-full") dropped += 1;
    });
    for (let i = 0; i < 10; i++) void app.layer.groupSend("g", { type: "chat.message" });
    await untilIdle(app);
    expect(dropped).toBe(7);
  });

  test("sent to one channel reaches that consumer alone", async () => {
    class Inbox extends Consumer {
      chatWhisper({ text }: Message) {
        this.send("whisper", text);
      }
    }
    const app = appOf(Inbox);
    const [ann, bob] = [await enter(app, "ann"), await enter(app, "bob")];
    await app.layer.send(bob.channel, { type: "chat.whisper", text: "psst" });
    expect(await bob.next("whisper")).toBe("psst");
    await ann.expectSilence();
  });
});

describe("groups of a consumer", () => {
  test("may depend on its scope", async () => {
    class Room extends Consumer {
      static override readonly groups = (scope: { params: { id: string } }) => [`room.${scope.params.id}`];
    }
    const app = appOf(Room as never);
    const client = await enter(app, "7");
    expect(app.layer.groupMembers("room.7")).toEqual([client.channel]);
  });

  test("whose name a parameter makes illegal refuse the connection, with the reason", async () => {
    class Room extends Consumer {
      override async connect() {
        await this.groupAdd(`room.${this.scope.params.id}`);
      }
    }
    const client = new TestClient(appOf(Room), `/x/${encodeURIComponent("no spaces")}`);
    expect(await client.connect()).toMatchObject({
      accepted: false,
      code: 4400,
      reason: expect.stringContaining('not "room.no spaces"'),
    });
  });

  test("are counted as the layer has them, whoever put it in or took it out", async () => {
    class Greedy extends Consumer {
      override async receive(_event: string, group: unknown) {
        await this.groupAdd(String(group));
        return "in";
      }
    }
    const app = appOf(Greedy, { limits: { groupsPerConnection: 1 } });
    const client = await enter(app);
    for (const group of ["a", "b", "c"]) {
      expect(await client.emit("join", group)).toBe("in");
      await app.layer.groupDiscard(group, client.channel);
    }
    await app.layer.groupAdd("d", client.channel);
    expect(await client.emit("join", "e")).toMatchObject({ error: { code: "rate_limited" } });
  });

  test("are limited per connection, and new ones per second", async () => {
    class Greedy extends Consumer {
      override async receive(_event: string, group: unknown) {
        await this.groupAdd(String(group));
        return "in";
      }
    }
    const app = appOf(Greedy, { limits: { groupsPerConnection: 2, newGroupsPerSecond: 3 } });
    const client = await enter(app);
    const answers = [];
    for (const group of ["a", "b", "c", "a"]) answers.push(await client.emit("join", group));
    expect(answers).toEqual(["in", "in", { error: expect.objectContaining({ code: "rate_limited" }) }, "in"]);
  });
});
