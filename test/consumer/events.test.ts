import { afterEach, describe, expect, test } from "@jest/globals";
import { type Application, ClientError, Consumer, createApplication, event, route } from "sluice";
import { TestClient } from "sluice/testing";
import { z } from "zod";

const apps: Application[] = [];

function appOf(consumer: typeof Consumer | (new (...args: never[]) => Consumer), options = {}): Application {
  const app = createApplication({ routes: [route("/x", consumer as never)], ...options });
  apps.push(app);
  return app;
}

async function clientOf(consumer: new (...args: never[]) => Consumer, options = {}): Promise<TestClient> {
  const client = new TestClient(appOf(consumer, options), "/x");
  await expect(client).toBeAccepted();
  return client;
}

afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.stop()));
});

class Echo extends Consumer {
  override receive(name: string, payload: unknown): unknown {
    return { name, payload };
  }
}

describe("an event of a client", () => {
  test("runs receive, whose result is the acknowledgement", async () => {
    const client = await clientOf(Echo);
    expect(await client.emit("say", { text: "hi" })).toEqual({ name: "say", payload: { text: "hi" } });
    expect(await client.emit("ping")).toEqual({ name: "ping" });
  });

  test("runs the handler of its row in static events, with what the schema made of the payload", async () => {
    class Chat extends Consumer {
      static override readonly events = {
        say: event(z.object({ text: z.string().trim() }), (chat: Chat, say) => chat.said(say.text)),
        later: event(
          z.string().refine(async (text) => text !== "no"),
          (_chat: Chat, text) => text,
        ),
        ping: { handler: () => "pong" },
      };
      said(text: string) {
        return `said ${text}`;
      }
    }
    const client = await clientOf(Chat);
    expect(await client.emit("say", { text: " hi " })).toBe("said hi");
    expect(await client.emit("later", "yes")).toBe("yes");
    expect(await client.emit("ping")).toBe("pong");
    expect(await client.emit("say", { text: 7 })).toMatchObject({
      error: { code: "invalid_message", details: [{ path: "text" }] },
    });
    expect(await client.emit("later", "no")).toMatchObject({ error: { code: "invalid_message" } });
    expect(await client.emit("ping", "payload")).toMatchObject({ error: { code: "invalid_message" } });
    expect(await client.emit("other")).toMatchObject({ error: { code: "no_handler" } });
  });

  test("comes to receive when the table does not have it", async () => {
    class Both extends Echo {
      static override readonly events = { ping: { handler: () => "pong" } };
    }
    const client = await clientOf(Both);
    expect(await client.emit("ping")).toBe("pong");
    expect(await client.emit("other")).toMatchObject({ name: "other" });
  });

  test.each([
    "constructor",
    "__proto__",
    "toString",
    "scope",
    "close",
    "connect",
    "disconnect",
    "receive",
    "chatMessage",
  ])("named %s reaches nothing", async (name) => {
    class Guarded extends Consumer {
      static override readonly events = { ping: { handler: () => "pong" } };
      chatMessage() {
        throw new Error("reached");
      }
    }
    const client = await clientOf(Guarded);
    const { error } = (await client.emit(name)) as { error: { code: string } };
    expect(["no_handler", "invalid_name"]).toContain(error.code);
    expect(await client.emit("ping")).toBe("pong");
  });

  test("that is refused without an acknowledgement to say so is told as an event", async () => {
    const client = await clientOf(class extends Consumer {});
    client.send("unheard-of", 1);
    expect(await client.next("sluice.error")).toMatchObject({ event: "unheard-of", code: "no_handler" });
  });

  test("may be refused by errors of one's own, and the connection goes on", async () => {
    class RoomFull extends ClientError {
      readonly code = "room_full";
      override readonly details = { max: 2 };
    }
    class Room extends Consumer {
      override receive(name: string): unknown {
        if (name === "enter") throw new RoomFull("at most 2");
        return "ok";
      }
    }
    const client = await clientOf(Room);
    expect(await client.emit("enter")).toEqual({
      error: { code: "room_full", message: "at most 2", details: { max: 2 } },
    });
    expect(await client.emit("look")).toBe("ok");
  });

  test("is validated by hand in receive, by any Standard Schema", async () => {
    class Chat extends Consumer {
      override receive(_name: string, payload: unknown): unknown {
        return this.validate(z.object({ n: z.number() }), payload).n;
      }
    }
    const client = await clientOf(Chat);
    expect(await client.emit("e", { n: 1 })).toBe(1);
    expect(await client.emit("e", { n: "1" })).toMatchObject({ error: { code: "invalid_message" } });
  });

  test("beyond the allowance is answered with rate_limited, and a flood ends the connection", async () => {
    const client = await clientOf(Echo, { limits: { eventsPerSecond: 1, floodEvents: 5 } });
    const answers = await Promise.all(Array.from({ length: 6 }, () => client.emit("e")));
    expect(answers.slice(0, 2)).toEqual([{ name: "e" }, { name: "e" }]);
    expect(answers[2]).toMatchObject({ error: { code: "rate_limited" } });
    for (let i = 0; i < 5; i++) client.send("e");
    await expect(client).toBeClosedWith(4429);
  });

  test("finds the mailbox full when too many wait", async () => {
    let go = () => {};
    class Slow extends Consumer {
      override async receive(): Promise<unknown> {
        await new Promise<void>((resolve) => {
          go = resolve;
        });
        return "done";
      }
    }
    const client = await clientOf(Slow, { limits: { pendingEvents: 2 } });
    const first = client.emit("e");
    await new Promise((resolve) => setImmediate(resolve));
    const [second, third] = [client.emit("e"), client.emit("e")];
    expect(await client.emit("e")).toMatchObject({ error: { code: "channel_full" } });
    for (const answer of [first, second, third]) {
      go();
      expect(await answer).toBe("done");
      await new Promise((resolve) => setImmediate(resolve));
    }
  });

  test("runs one after the other, unless concurrency is asked for", async () => {
    const run = async (concurrency: number) => {
      const steps: string[] = [];
      class Worker extends Consumer {
        static override readonly concurrency = concurrency;
        override async receive(name: string): Promise<unknown> {
          steps.push(`${name} begins`);
          await new Promise((resolve) => setImmediate(resolve));
          steps.push(`${name} ends`);
          return name;
        }
      }
      const client = await clientOf(Worker);
      await Promise.all([client.emit("a"), client.emit("b")]);
      return steps;
    };
    expect(await run(1)).toEqual(["a begins", "a ends", "b begins", "b ends"]);
    expect(await run(2)).toEqual(["a begins", "b begins", "a ends", "b ends"]);
  });
});

test("a handler may deny: the client is answered, then closed", async () => {
  class Guarded extends Consumer {
    override receive() {
      this.deny(4403, "not you");
    }
  }
  const client = await clientOf(Guarded);
  expect(await client.emit("enter")).toEqual({ error: { code: "connection_denied", message: "not you" } });
  await expect(client).toBeClosedWith(4403, "not you");
});

describe("an answer", () => {
  test("of the client comes back to ask", async () => {
    class Quiz extends Consumer {
      override async receive(): Promise<unknown> {
        return { heard: await this.ask("question", { text: "why?" }) };
      }
    }
    const client = await clientOf(Quiz);
    client.answer("question", (payload) => ({ because: payload }));
    expect(await client.emit("go")).toEqual({ heard: { because: { text: "why?" } } });
  });

  test("cannot be asked for in connect, where the client is not there yet", async () => {
    class Early extends Consumer {
      override async connect() {
        await this.ask("question", 1);
      }
    }
    const client = new TestClient(appOf(Early), "/x");
    await expect(client).toBeRefusedWith(4500, "internal error");
  });

  test("that JSON cannot carry is a bug of the handler", async () => {
    class Bad extends Consumer {
      override receive() {
        return { big: 1n };
      }
    }
    const client = await clientOf(Bad);
    expect(await client.emit("e")).toMatchObject({
      error: { code: "internal_error", message: "internal error" },
    });
  });
});
