import { expect, test } from "@jest/globals";
import { route } from "sluice";
import { connected, Diary, Echo, heard, serve, until } from "./live-server.ts";

/** A consumer that its client can tell to close with a code. */
class Closing extends Echo {
  override receive(event: string, payload: unknown): unknown {
    if (event !== "close") return super.receive(event, payload);
    this.send("last", "words");
    this.close(payload as number, "because");
    return "closed";
  }
}

test.each([4400, 4403, 4499])("%d disconnects the namespace, and a stock client stays away", async (code) => {
  const live = await serve({ routes: [route("/room", Closing), route("/other", Echo)] });
  const client = await connected(live.client("/room", { reconnection: true }));
  const neighbour = await connected(client.io.socket("/other", {}));
  const heardOf: unknown[] = [];
  client.onAny((...event) => heardOf.push(event));
  const gone = heard(client, "disconnect");
  client.emit("close", code);
  expect((await gone)[0]).toBe("io server disconnect");
  expect(heardOf).toEqual([
    ["last", "words"],
    ["sluice.close", { code, reason: "because" }],
  ]);
  expect(client.active).toBe(false);
  expect(await neighbour.emitWithAck("say", 1)).toEqual({ event: "say", payload: 1 });
  await until(() => live.app.sizes.connections === 1, "only the neighbour is left");
  // It may come back when somebody says so.
  await connected(client.connect());
  expect(await client.emitWithAck("say", 2)).toEqual({ event: "say", payload: 2 });
});

test("4400-4499 keeps a stock client away also when nothing else is open on its connection", async () => {
  const live = await serve({ routes: [route("/room", Closing)], connectTimeoutMs: 50 });
  const client = await connected(live.client("/room", { reconnection: true }));
  const gone = heard(client, "disconnect");
  client.emit("close", 4403);
  expect((await gone)[0]).toBe("io server disconnect");
  await live.empty();
  expect(client.active).toBe(false);
});

test.each(["websocket", "polling"])(
  "4500-4599 closes a %s, and a stock client comes back by itself",
  async (transport) => {
    const live = await serve({ routes: [route("/room", Closing)] });
    const client = await connected(
      live.client("/room", { transports: [transport as "polling"], reconnection: true }),
    );
    for (const code of [4500, 4503, 4599]) {
      const closing = heard(client, "sluice.close");
      const gone = heard(client, "disconnect");
      const back = heard(client, "connect");
      client.emit("close", code);
      expect(await closing).toEqual([{ code, reason: "because" }]);
      expect((await gone)[0]).toBe("transport close");
      await back;
      expect(await client.emitWithAck("say", 1)).toEqual({ event: "say", payload: 1 });
    }
  },
);

test("4500-4599 leaves the other namespaces of the connection open", async () => {
  const live = await serve({ routes: [route("/room/:id", Closing)] });
  const client = await connected(live.client("/room/1", { reconnection: true }));
  const other = await connected(client.io.socket("/room/2", {}));
  const closing = heard(client, "sluice.close");
  const gone = heard(client, "disconnect");
  client.emit("close", 4503);
  expect(await closing).toEqual([{ code: 4503, reason: "because" }]);
  expect((await gone)[0]).toBe("io server disconnect");
  expect(await other.emitWithAck("say", 1)).toEqual({ event: "say", payload: 1 });
  // The last one takes the connection with it.
  const left = heard(other, "disconnect");
  other.emit("close", 4503);
  expect((await left)[0]).toBe("transport close");
  await connected(other);
});

test("a connection that a closed client keeps without a namespace is closed after a while", async () => {
  const live = await serve({ routes: [route("/room", Closing)], connectTimeoutMs: 100 });
  const raw = await live.raw();
  await raw.enter("/room");
  raw.send('42/room,["close",4403]');
  await raw.hears("41/room,");
  expect(raw.isOpen).toBe(true);
  await raw.closed;
  await live.empty();
});

test("a connection on which nothing is ever opened, or all is refused, is closed after a while", async () => {
  class Refusing extends Echo {
    override connect() {
      this.deny();
    }
  }
  // Longer than what is said below takes on a machine that is busy.
  const live = await serve({ routes: [route("/refusing", Refusing)], connectTimeoutMs: 2_000 });
  const silent = await live.raw();
  const refused = await live.raw();
  refused.send("40/refusing,");
  await refused.hears("44/refusing,");
  const lost = await live.raw();
  lost.send("40");
  await lost.hears("44");
  await Promise.all([silent.closed, refused.closed, lost.closed]);
  await live.empty();
});

test("a connection with a namespace stays, however short the timeout for those without", async () => {
  const live = await serve({ routes: [route("/room", Closing)], connectTimeoutMs: 50 });
  const client = await connected(live.client("/room"));
  const silent = await live.raw();
  await silent.closed;
  expect(await client.emitWithAck("say", 1)).toEqual({ event: "say", payload: 1 });
});

test("deny while an event is handled closes with that code", async () => {
  const diary = new Diary();
  class Denying extends diary.Witness {
    override receive(): unknown {
      return this.deny(4401, "who are you?");
    }
  }
  const live = await serve({ routes: [route("/denying", Denying)] });
  const client = await connected(live.client("/denying"));
  const closing = heard(client, "sluice.close");
  client.emit("say");
  expect(await closing).toEqual([{ code: 4401, reason: "who are you?" }]);
  expect(await diary.reason()).toEqual({ kind: "closed", code: 4401, message: "who are you?" });
});

test("a close code out of range is the handler's mistake", async () => {
  const diary = new Diary();
  class Odd extends diary.Witness {
    override receive(): void {
      this.close(1000, "normal");
    }
  }
  const live = await serve({ routes: [route("/odd", Odd)] });
  const client = await connected(live.client("/odd"));
  const closing = heard(client, "sluice.close");
  client.emit("say");
  expect(await closing).toEqual([{ code: 4500, reason: "internal error" }]);
  expect(await diary.reason()).toMatchObject({ kind: "failed", error: expect.any(RangeError) });
});
