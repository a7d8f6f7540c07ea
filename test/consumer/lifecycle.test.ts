import { afterEach, describe, expect, test } from "@jest/globals";
import {
  type Application,
  ClientError,
  Consumer,
  type ConsumerContext,
  createApplication,
  type DisconnectReason,
  deny,
  MemoryBackplane,
  type Message,
  type Middleware,
  route,
} from "sluice";
import { TestClient, untilIdle } from "sluice/testing";
import { z } from "zod";

const apps: Application[] = [];
let steps: string[] = [];

/** Notes its life; each test overrides what it is about. */
class Witness extends Consumer {
  override async connect(): Promise<void> {
    await this.groupAdd("everyone");
    steps.push("connect");
  }
  override async receive(event: string): Promise<unknown> {
    steps.push(event);
    return event;
  }
  override async disconnect(reason: DisconnectReason): Promise<void> {
    const members = apps[0]?.layer.groupMembers("everyone").includes(this.channel);
    steps.push(`disconnect ${reason.kind} ${reason.code}${members ? " STILL IN GROUP" : ""}`);
  }
}

function appOf(consumer: new (context: ConsumerContext) => Consumer, options = {}): Application {
  steps = [];
  const app = createApplication({
    routes: [route("/x", consumer), route("/bystander", Bystander)],
    ...options,
  });
  apps.push(app);
  return app;
}

class Bystander extends Consumer {
  static override readonly groups = ["everyone"];
  chatMessage({ text }: Message) {
    this.send("heard", text);
  }
}

/** After everything, nothing is left of anybody, and a bystander was not disturbed. */
async function expectNothingLeft(app: Application, bystander: TestClient): Promise<void> {
  await app.layer.groupSend("everyone", { type: "chat.message", text: "still here" });
  expect(await bystander.next("heard")).toBe("still here");
  await untilIdle(app);
  expect(app.sizes).toEqual({ connections: 1, channels: 1, groups: 1, topics: 1, logs: 0, presence: 0 });
}

async function withBystander(app: Application): Promise<TestClient> {
  const bystander = new TestClient(app, "/bystander");
  await bystander.connect();
  return bystander;
}

afterEach(async () => {
  await Promise.all(apps.splice(0).map((app) => app.stop()));
});

describe("disconnect runs once, after the groups are left, when", () => {
  test("the client leaves", async () => {
    const app = appOf(Witness);
    const bystander = await withBystander(app);
    const client = new TestClient(app, "/x");
    await client.connect();
    await client.disconnect();
    await client.drop();
    expect(steps).toEqual(["connect", "disconnect client 4000"]);
    await expectNothingLeft(app, bystander);
  });

  test("the transport dies while it is open", async () => {
    const app = appOf(Witness);
    const client = new TestClient(app, "/x");
    await client.connect();
    await client.drop();
    expect(steps).toEqual(["connect", "disconnect transport 4001"]);
  });

  test("the transport dies while connect is pending", async () => {
    let letGo = () => {};
    const app = appOf(
      class extends Witness {
        override async connect() {
          await super.connect();
          expect(this.scope.closed.aborted).toBe(false);
          await new Promise<void>((resolve) => {
            letGo = resolve;
          });
          expect(this.scope.closed.aborted).toBe(true);
          steps.push("connect ends");
        }
      },
    );
    const bystander = await withBystander(app);
    const client = new TestClient(app, "/x");
    const entry = client.connect();
    while (!steps.includes("connect")) await new Promise((resolve) => setImmediate(resolve));
    const dropped = client.drop();
    expect(await Promise.race([dropped, Promise.resolve("still waiting")])).toBe("still waiting");
    letGo();
    await dropped;
    expect(await entry).toMatchObject({ accepted: false });
    expect(steps).toEqual(["connect", "connect ends", "disconnect transport 4001"]);
    await expectNothingLeft(app, bystander);
  });

  test("connect refuses", async () => {
    const app = appOf(
      class extends Witness {
        override async connect() {
          await super.connect();
          this.deny(4403, "members only");
        }
      },
    );
    const bystander = await withBystander(app);
    const client = new TestClient(app, "/x");
    expect(await client.connect()).toEqual({ accepted: false, code: 4403, reason: "members only" });
    expect(steps).toEqual(["connect", "disconnect denied 4403"]);
    await expectNothingLeft(app, bystander);
  });

  test("connect takes too long", async () => {
    const app = appOf(
      class extends Witness {
        override async connect() {
          await super.connect();
          await new Promise<void>((resolve) => {
            this.scope.closed.addEventListener("abort", () => resolve());
          });
        }
      },
      { connectTimeoutMs: 20 },
    );
    const client = new TestClient(app, "/x");
    await expect(client).toBeRefusedWith(4508);
    expect(steps).toEqual(["connect", "disconnect denied 4508"]);
  });

  test("a middleware gives up on a connect that goes on: disconnect waits for it", async () => {
    let letGo = () => {};
    const impatient: Middleware = (_scope, next) => {
      void next();
      deny(4503, "too busy");
    };
    const app = appOf(
      class extends Witness {
        override async connect() {
          steps.push("connect begins");
          await new Promise<void>((resolve) => {
            letGo = resolve;
          });
          steps.push("connect ends");
        }
      },
      { middleware: [impatient] },
    );
    const client = new TestClient(app, "/x");
    const entry = client.connect();
    while (!steps.includes("connect begins")) await new Promise((resolve) => setImmediate(resolve));
    letGo();
    expect(await entry).toMatchObject({ accepted: false, code: 4503 });
    expect(steps).toEqual(["connect begins", "connect ends", "disconnect denied 4503"]);
  });

  test("connect refuses by an error of one's own with a close code that is none: that is a bug", async () => {
    class Odd extends ClientError {
      readonly code = "odd";
      override readonly closeCode = 1008;
    }
    const app = appOf(
      class extends Witness {
        override async connect() {
          throw new Odd("odd");
        }
      },
    );
    const client = new TestClient(app, "/x");
    await expect(client).toBeRefusedWith(4500);
    expect(steps).toEqual(["disconnect failed 4500"]);
  });

  test("connect never ends at all", async () => {
    const app = appOf(
      class extends Witness {
        override async connect() {
          await super.connect();
          await new Promise(() => {});
        }
      },
      { connectTimeoutMs: 20, closeTimeoutMs: 20 },
    );
    const bystander = await withBystander(app);
    const client = new TestClient(app, "/x");
    await expect(client).toBeRefusedWith(4508);
    expect(steps).toEqual(["connect", "disconnect denied 4508"]);
    await expectNothingLeft(app, bystander);
  });

  test("it closes itself, after what was being handled", async () => {
    const app = appOf(
      class extends Witness {
        override async receive(event: string) {
          this.close(4400, "bye");
          steps.push("closing");
          await new Promise((resolve) => setImmediate(resolve));
          steps.push(`${event} ends`);
          return "answered";
        }
      },
    );
    const client = new TestClient(app, "/x");
    await client.connect();
    await expect(client.emit("go")).rejects.toThrow('"go" was not answered');
    await expect(client).toBeClosedWith(4400, "bye");
    await untilIdle(app);
    expect(steps).toEqual(["connect", "closing", "go ends", "disconnect closed 4400"]);
  });

  test("the server stops", async () => {
    const app = appOf(Witness);
    const client = new TestClient(app, "/x");
    await client.connect();
    await app.stop();
    await expect(client).toBeClosedWith(4503, "the server is stopping");
    expect(steps).toEqual(["connect", "disconnect stopping 4503"]);
    expect(app).toBeEmpty();
    await expect(new TestClient(app, "/x")).toBeRefusedWith(4503);
  });
});

describe("a hook that throws ends its connection and nobody else's: the client hears", () => {
  const boom = () => {
    throw new Error("secret detail");
  };

  async function failing(consumer: new (context: ConsumerContext) => Consumer, options = {}) {
    const app = appOf(consumer, options);
    const failures: string[] = [];
    app.signals.failed.connect(({ hook, error }) => failures.push(`${hook}: ${(error as Error).message}`));
    const bystander = await withBystander(app);
    return { app, failures, bystander, client: new TestClient(app, "/x") };
  }

  test("a refusal, from the constructor", async () => {
    const { app, failures, bystander, client } = await failing(
      class extends Witness {
        readonly field = boom();
      },
    );
    await expect(client).toBeRefusedWith(4500, "internal error");
    expect(failures).toEqual(["constructor: secret detail"]);
    expect(steps).toEqual([]);
    await expectNothingLeft(app, bystander);
  });

  test("a refusal, from connect", async () => {
    const { app, failures, bystander, client } = await failing(
      class extends Witness {
        override async connect() {
          await super.connect();
          boom();
        }
      },
    );
    await expect(client).toBeRefusedWith(4500, "internal error");
    expect(failures).toEqual(["connect: secret detail"]);
    expect(steps).toEqual(["connect", "disconnect failed 4500"]);
    await expectNothingLeft(app, bystander);
  });

  test("a refusal, from middleware", async () => {
    const { failures, client } = await failing(Witness);
    const guarded = createApplication({ routes: [route("/x", Witness)], middleware: [boom as Middleware] });
    apps.push(guarded);
    guarded.signals.failed.connect(({ hook }) => failures.push(hook));
    expect(await new TestClient(guarded, "/x").connect()).toMatchObject({ code: 4500 });
    expect(failures).toEqual(["middleware"]);
    await client.connect();
  });

  test("an error in the acknowledgement and the close, from receive", async () => {
    const { app, failures, bystander, client } = await failing(
      class extends Witness {
        override async receive() {
          return boom();
        }
      },
    );
    await client.connect();
    expect(await client.emit("go")).toEqual({ error: { code: "internal_error", message: "internal error" } });
    await expect(client).toBeClosedWith(4500, "internal error");
    await untilIdle(app);
    expect(failures).toEqual(["receive: secret detail"]);
    expect(steps).toEqual(["connect", "disconnect failed 4500"]);
    await expectNothingLeft(app, bystander);
  });

  test("the close, from the handler of a message", async () => {
    const { app, failures, bystander, client } = await failing(
      class extends Witness {
        chatMessage() {
          boom();
        }
      },
    );
    await client.connect();
    await app.layer.groupSend("everyone", { type: "chat.message", text: "x" });
    await expect(client).toBeClosedWith(4500);
    expect(await bystander.next("heard")).toBe("x");
    await untilIdle(app);
    expect(failures).toEqual(["message: secret detail"]);
    await expectNothingLeft(app, bystander);
  });

  test("the close, also when a message's handler throws what an event's handler may", async () => {
    const { app, failures, client } = await failing(
      class extends Witness {
        chatMessage() {
          return this.groupAdd("no group's name");
        }
      },
    );
    await client.connect();
    await app.layer.groupSend("everyone", { type: "chat.message", text: "x" });
    await expect(client).toBeClosedWith(4500);
    expect(failures).toEqual([expect.stringMatching(/^message: a group name is/)]);
  });

  test("nothing more, from disconnect", async () => {
    const { app, failures, bystander, client } = await failing(
      class extends Witness {
        override async disconnect() {
          boom();
        }
      },
    );
    await client.connect();
    await client.disconnect();
    expect(failures).toEqual(["disconnect: secret detail"]);
    await expectNothingLeft(app, bystander);
  });
});

describe("before a client is accepted", () => {
  test("what is sent to it waits, and reaches it in order", async () => {
    const app = appOf(
      class extends Witness {
        override async connect() {
          await super.connect();
          this.send("first", 1);
          await this.groupEmit("everyone", "second", 2);
          this.send("third", 3);
        }
      },
    );
    const client = new TestClient(app, "/x");
    await client.connect();
    expect(client.pending.map(({ event }) => event)).toEqual(["first", "second", "third"]);
  });

  test("what is sent to it is thrown away when it is refused", async () => {
    const app = appOf(
      class extends Witness {
        override async connect() {
          this.send("secret", 1);
          this.deny();
        }
      },
    );
    const client = new TestClient(app, "/x");
    await client.connect();
    await client.expectSilence();
  });

  test("messages between consumers wait for connect", async () => {
    const app = appOf(
      class extends Witness {
        override async connect() {
          await super.connect();
          await this.groupSend("everyone", { type: "chat.message" });
          await new Promise((resolve) => setImmediate(resolve));
          steps.push("connect ends");
        }
        chatMessage() {
          steps.push("message");
        }
      },
    );
    await new TestClient(app, "/x").connect();
    await untilIdle(app);
    expect(steps).toEqual(["connect", "connect ends", "message"]);
  });

  test("more than may wait for it refuses it", async () => {
    const app = appOf(
      class extends Witness {
        override async connect() {
          for (let i = 0; i < 20; i++) this.send("much", "x".repeat(1_000));
        }
      },
      { limits: { maxWaitingBytes: 10_000 } },
    );
    await expect(new TestClient(app, "/x")).toBeRefusedWith(4513);
  });
});

describe("after a connection has ended", () => {
  test("what the client said last is still heard, but groups cannot be joined", async () => {
    const app = appOf(
      class extends Witness {
        override async receive(event: string) {
          await new Promise((resolve) => setImmediate(resolve));
          steps.push(event);
          if (event === "last") await this.groupAdd("late").catch((error) => steps.push(error.code));
          return event;
        }
      },
    );
    const client = new TestClient(app, "/x");
    await client.connect();
    client.send("first");
    client.send("last");
    await client.disconnect();
    expect(steps).toEqual(["connect", "first", "last", "connection_closed", "disconnect client 4000"]);
  });

  test("a verb that fails because the client went is no failure of the handler", async () => {
    const app = appOf(
      class extends Witness {
        override async receive() {
          await new Promise((resolve) => setImmediate(resolve));
          await this.groupAdd("late");
          return "never";
        }
      },
    );
    const failures: unknown[] = [];
    app.signals.failed.connect((fact) => failures.push(fact));
    const client = new TestClient(app, "/x");
    await client.connect();
    client.send("go");
    await client.disconnect();
    expect(failures).toEqual([]);
  });

  test("what waited is dropped and told, if the server ended it", async () => {
    const app = appOf(
      class extends Witness {
        override async receive(event: string) {
          if (event === "close") this.close(4400, "bye");
          await new Promise((resolve) => setImmediate(resolve));
          return event;
        }
        chatMessage() {
          steps.push("message");
        }
      },
    );
    const dropped: string[] = [];
    app.signals.dropped.connect(({ cause, what }) => dropped.push(`${cause} ${what}`));
    const client = new TestClient(app, "/x");
    await client.connect();
    const closing = client.emit("close");
    const waiting = client.emit("waiting");
    await app.layer.send(client.channel, { type: "chat.message" });
    expect(await waiting).toMatchObject({ error: { code: "connection_closed" } });
    await expect(closing).rejects.toThrow("the server closed with 4400");
    expect(dropped).toEqual(["ended chat.message"]);
    expect(steps).not.toContain("message");
  });

  test("a handler that hangs does not keep disconnect from running, which stays the last", async () => {
    let letGo = () => {};
    const app = appOf(
      class extends Witness {
        override async receive(event: string) {
          steps.push(event);
          await new Promise<void>((resolve) => {
            letGo = resolve;
          });
          return event;
        }
      },
      { closeTimeoutMs: 20 },
    );
    const failures: string[] = [];
    app.signals.failed.connect(({ error }) => failures.push((error as Error).message));
    const client = new TestClient(app, "/x");
    await client.connect();
    client.send("hangs");
    client.send("never");
    await client.disconnect();
    letGo();
    await new Promise((resolve) => setImmediate(resolve));
    expect(steps).toEqual(["connect", "hangs", "disconnect client 4000"]);
    expect(failures).toEqual(["a handler still ran and was given up"]);
  });

  test("a disconnect that hangs is given up, and told", async () => {
    const app = appOf(
      class extends Witness {
        override disconnect() {
          return new Promise<void>(() => {});
        }
      },
      { closeTimeoutMs: 20 },
    );
    const failures: string[] = [];
    app.signals.failed.connect(({ hook }) => failures.push(hook));
    const client = new TestClient(app, "/x");
    await client.connect();
    await client.disconnect();
    expect(failures).toEqual(["disconnect"]);
    expect(app.sizes.connections).toBe(0);
  });
});

describe("an application that stops", () => {
  test("gives up what hangs after the time it is given", async () => {
    const app = appOf(
      class extends Witness {
        override disconnect() {
          return new Promise<void>(() => {});
        }
      },
    );
    await new TestClient(app, "/x").connect();
    await app.stop({ withinMs: 20 });
    expect(app.sizes.connections).toBe(0);
  });

  test("does so quietly when its start had failed", async () => {
    const backplane = new MemoryBackplane();
    backplane.open = () => Promise.reject(new Error("no backplane"));
    const app = appOf(Witness, { backplane });
    await expect(app.start()).rejects.toThrow("no backplane");
    await app.stop();
  });
});

describe("facts", () => {
  test("can be heard for one class of consumers alone", async () => {
    const app = appOf(Witness);
    const heard: string[] = [];
    app.signals.connected.connect(({ route }) => heard.push(route), { sender: Witness });
    await new TestClient(app, "/bystander").connect();
    await new TestClient(app, "/x").connect();
    expect(heard).toEqual(["/x"]);
  });

  test("tell of events that were handled well, and of no others", async () => {
    const app = appOf(
      class extends Witness {
        override async receive(event: string) {
          if (event === "bad") this.validate(z.number(), "no number");
          return event;
        }
      },
    );
    const heard: string[] = [];
    app.signals.handled.connect(({ what }) => heard.push(`handled ${what}`));
    app.signals.refused.connect(({ event, code }) => heard.push(`${code} ${event}`));
    const client = new TestClient(app, "/x");
    await client.connect();
    await client.emit("good");
    await client.emit("bad");
    await app.layer.send(client.channel, { type: "un.heard.of" });
    await untilIdle(app);
    expect(heard).toEqual(["handled good", "invalid_message bad"]);
  });
});
