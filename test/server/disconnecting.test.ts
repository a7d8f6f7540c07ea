import { expect, test } from "@jest/globals";
import { type ConsumerContext, route } from "sluice";
import { connected, Diary, heard, refusalOf, serve, until } from "./live-server.ts";

const boom = () => {
  throw new Error("boom");
};

test("a client that leaves: client, 4000", async () => {
  const diary = new Diary();
  const live = await serve({ routes: [route("/room", diary.Witness)] });
  (await connected(live.client("/room"))).disconnect();
  expect(await diary.reason()).toMatchObject({ kind: "client", code: 4000 });
  await live.empty();
});

test("a client that emits and leaves at once is heard, in order, before disconnect", async () => {
  const order: unknown[] = [];
  const diary = new Diary();
  class Room extends diary.Witness {
    override async receive(event: string, payload: unknown) {
      await new Promise((resolve) => setImmediate(resolve));
      order.push([event, payload]);
    }
    override disconnect() {
      order.push("disconnect");
    }
  }
  const live = await serve({ routes: [route("/room", Room)] });
  for (const transport of ["websocket", "polling"] as const) {
    const client = await connected(live.client("/room", { transports: [transport] }));
    client.emit("say", 1);
    client.emit("say", 2);
    client.disconnect();
    await live.empty();
    expect(order.splice(0)).toEqual([["say", 1], ["say", 2], "disconnect"]);
  }
});

test("a transport that dies: transport, 4001", async () => {
  const diary = new Diary();
  const live = await serve({ routes: [route("/room", diary.Witness)] });
  const raw = await live.raw();
  await raw.enter("/room");
  raw.socket.terminate();
  expect(await diary.reason()).toMatchObject({ kind: "transport", code: 4001 });
  await live.empty();
});

test("a client that answers no pings: transport, 4001", async () => {
  const diary = new Diary();
  const live = await serve(
    { routes: [route("/room", diary.Witness)] },
    { pingIntervalMs: 50, pingTimeoutMs: 50 },
  );
  const raw = await live.raw({ pongs: false });
  await raw.enter("/room");
  await raw.closed;
  expect(await diary.reason()).toMatchObject({ kind: "transport", message: "ping timeout" });
  await live.empty();
});

test("a constructor that throws: the client is refused, and there is nothing to disconnect", async () => {
  class Broken extends new Diary().Witness {
    constructor(context: ConsumerContext) {
      super(context);
      boom();
    }
  }
  const live = await serve({ routes: [route("/room", Broken)] });
  const failures = failuresIn(live.app);
  expect(await refusalOf(live.client("/room"))).toMatchObject({ data: { code: 4500 } });
  expect(failures).toEqual(["constructor: boom"]);
  await live.empty();
});

test("connect that throws: failed, 4500", async () => {
  const diary = new Diary();
  class Broken extends diary.Witness {
    override async connect() {
      await this.groupAdd("somewhere");
      boom();
    }
  }
  const live = await serve({ routes: [route("/room", Broken)] });
  const failures = failuresIn(live.app);
  expect(await refusalOf(live.client("/room"))).toMatchObject({ data: { code: 4500 } });
  expect(await diary.reason()).toMatchObject({ kind: "failed", code: 4500, error: new Error("boom") });
  expect(failures).toEqual(["connect: boom"]);
  await live.empty();
});

test("receive that throws: the acknowledgement and the close say internal error; failed, 4500", async () => {
  const diary = new Diary();
  class Broken extends diary.Witness {
    override receive() {
      boom();
    }
  }
  const live = await serve({ routes: [route("/room", Broken)] });
  const failures = failuresIn(live.app);
  const client = await connected(live.client("/room"));
  const closing = heard(client, "sluice.close");
  expect(await client.emitWithAck("say")).toEqual({
    error: { code: "internal_error", message: "internal error" },
  });
  expect(await closing).toEqual([{ code: 4500, reason: "internal error" }]);
  expect(await diary.reason()).toMatchObject({ kind: "failed", error: new Error("boom") });
  expect(failures).toEqual(["receive: boom"]);
  await live.empty();
});

test("a message handler that throws: failed, 4500", async () => {
  const diary = new Diary();
  class Broken extends diary.Witness {
    static override readonly groups = ["all"];
    chatMessage() {
      boom();
    }
  }
  const live = await serve({ routes: [route("/room", Broken)] });
  const failures = failuresIn(live.app);
  const closing = heard(await connected(live.client("/room")), "sluice.close");
  await live.app.layer.groupSend("all", { type: "chat.message" });
  expect(await closing).toEqual([{ code: 4500, reason: "internal error" }]);
  expect(await diary.reason()).toMatchObject({ kind: "failed", error: new Error("boom") });
  expect(failures).toEqual(["message: boom"]);
  await live.empty();
});

test("disconnect that throws is reported, and nothing is left", async () => {
  const diary = new Diary();
  class Broken extends diary.Witness {
    static override readonly groups = ["all"];
    override async disconnect(reason: Parameters<InstanceType<Diary["Witness"]>["disconnect"]>[0]) {
      super.disconnect(reason);
      boom();
    }
  }
  const live = await serve({ routes: [route("/room", Broken)] });
  const failures = failuresIn(live.app);
  (await connected(live.client("/room"))).disconnect();
  await live.empty();
  expect(failures).toEqual(["disconnect: boom"]);
  expect((await diary.reason()).kind).toBe("client");
});

test("a consumer closed from elsewhere: closed, with that code", async () => {
  const diary = new Diary();
  class Room extends diary.Witness {
    static override readonly groups = ["all"];
    roomShut() {
      this.close(4410, "the room is shut");
    }
  }
  const live = await serve({ routes: [route("/room", Room)] });
  const client = await connected(live.client("/room"));
  const gone = heard(client, "disconnect");
  await live.app.layer.groupSend("all", { type: "room.shut" });
  expect((await gone)[0]).toBe("io server disconnect");
  expect(await diary.reason()).toEqual({ kind: "closed", code: 4410, message: "the room is shut" });
  await live.empty();
});

test("a server that stops: stopping, 4503", async () => {
  const diary = new Diary();
  const live = await serve({ routes: [route("/room", diary.Witness)] });
  const client = await connected(live.client("/room"));
  const closing = heard(client, "sluice.close");
  await live.server.stop();
  expect(await closing).toMatchObject([{ code: 4503 }]);
  expect(await diary.reason()).toMatchObject({ kind: "stopping", code: 4503 });
});

test("disconnect runs once when everything ends at the same time", async () => {
  const diary = new Diary();
  class Room extends diary.Witness {
    static override readonly groups = ["all"];
    override receive(): never {
      this.close(4400, "now");
      throw new Error("boom");
    }
    roomShut() {
      this.close(4410, "the room is shut");
    }
  }
  const live = await serve({ routes: [route("/room", Room)] });
  const clients = await Promise.all(
    Array.from({ length: 20 }, async () => {
      const raw = await live.raw();
      await raw.enter("/room");
      return raw;
    }),
  );
  for (const raw of clients) {
    raw.send('42/room,["say"]');
    raw.send("41/room,");
    raw.socket.close();
  }
  await live.app.layer.groupSend("all", { type: "room.shut" });
  await live.server.stop();
  await until(() => diary.reasons.length >= 20, "all have ended");
  expect(diary.reasons).toHaveLength(20);
});

test("a handler that hangs does not keep disconnect from running", async () => {
  const diary = new Diary();
  class Hanging extends diary.Witness {
    override receive() {
      return new Promise(() => {});
    }
  }
  const live = await serve({ routes: [route("/room", Hanging)], closeTimeoutMs: 50 });
  const raw = await live.raw();
  await raw.enter("/room");
  raw.send('42/room,["say"]');
  await until(() => !live.app.isIdle, "the handler hangs");
  raw.socket.terminate();
  expect((await diary.reason()).kind).toBe("transport");
  await live.empty();
});

/** What `failed` announces from now on. */
function failuresIn(app: {
  signals: { failed: { connect(hear: (fact: { hook: string; error: unknown }) => void): unknown } };
}) {
  const failures: string[] = [];
  app.signals.failed.connect(({ hook, error }) => {
    failures.push(`${hook}: ${(error as Error).message}`);
  });
  return failures;
}
