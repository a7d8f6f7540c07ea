import { expect, test } from "@jest/globals";
import type { StandardSchemaV1 } from "@standard-schema/spec";
import { ClientError, Consumer, type Message, route, Unencodable } from "sluice";
import { connected, Diary, Echo, heard, serve } from "./live-server.ts";

/** A consumer with everything that a name from outside could try to reach. */
class Vault extends Consumer {
  static override readonly events = { open: { handler: () => "opened" } };
  readonly secret = "s3cret";
  chatMessage(message: Message) {
    return message;
  }
}

const names = [
  "constructor",
  "__proto__",
  "prototype",
  "toString",
  "hasOwnProperty",
  "close",
  "deny",
  "receive",
  "scope",
  "secret",
  "groupAdd",
  "chatMessage",
  "chat.message",
  "error",
  "connection",
  "end",
  "message",
  "\u2028",
  "x".repeat(99),
];

test.each(names)("an event named %j reaches no hook, verb or field: no_handler", async (name) => {
  const live = await serve({ routes: [route("/vault", Vault)] });
  const client = await connected(live.client("/vault"));
  expect(await client.emitWithAck(name, 4400, 2)).toEqual({
    error: { code: "invalid_message", message: expect.stringContaining("one payload") },
  });
  expect(await client.emitWithAck(name, { code: 4400 })).toEqual({
    error: { code: "no_handler", message: expect.any(String) },
  });
  expect(await client.emitWithAck("open")).toBe("opened");
});

test.each(names)("an event named %j is given to receive like any other", async (name) => {
  const live = await serve({ routes: [route("/echo", Echo)] });
  const client = await connected(live.client("/echo"));
  expect(await client.emitWithAck(name, 1)).toEqual({ event: name, payload: 1 });
});

test.each([
  ["a number", "7"],
  ["a number that is no index", "-1.5"],
  ["empty", '""'],
  ["of 100 characters", JSON.stringify("x".repeat(100))],
  ["of 90,000 characters", JSON.stringify("x".repeat(90_000))],
  ["a control character", '"\\u0000"'],
  ["the framework's", '"sluice.close"'],
])("an event whose name is %s is invalid_name, with and without acknowledgement", async (_what, name) => {
  const live = await serve({ routes: [route("/echo", Echo)] });
  const raw = await live.raw();
  await raw.enter("/echo");
  raw.send(`42/echo,1[${name},{}]`);
  expect(await raw.hears("43/echo,1")).toContain('"code":"invalid_name"');
  raw.send(`42/echo,[${name},{}]`);
  const told = await raw.hears('42/echo,["sluice.error"');
  expect(told).toContain('"code":"invalid_name"');
  expect(told.length).toBeLessThan(500);
  raw.send('42/echo,2["say"]');
  await raw.hears("43/echo,2");
});

test("an event may come without payload, and with one; several are invalid_message", async () => {
  const live = await serve({ routes: [route("/echo", Echo)] });
  const client = await connected(live.client("/echo"));
  expect(await client.emitWithAck("say")).toEqual({ event: "say" });
  expect(await client.emitWithAck("say", null)).toEqual({ event: "say", payload: null });
  expect(await client.emitWithAck("say", [1, 2])).toEqual({ event: "say", payload: [1, 2] });
  const error = { code: "invalid_message", message: expect.stringContaining("not 2") };
  expect(await client.emitWithAck("say", 1, 2)).toEqual({ error });
  const told = heard(client, "sluice.error");
  client.emit("say", 1, 2);
  expect(await told).toEqual([{ event: "say", ...error }]);
});

test("binary reaches the handler as bytes, and its answer the client", async () => {
  const live = await serve({ routes: [route("/echo", Echo)] });
  const client = await connected(live.client("/echo"));
  const payload = { a: Buffer.from("one"), b: [Buffer.from("two")], empty: Buffer.alloc(0) };
  expect(await client.emitWithAck("say", payload)).toEqual({ event: "say", payload });
});

test("a payload with __proto__ in it changes no prototype", async () => {
  const live = await serve({ routes: [route("/echo", Echo)] });
  const raw = await live.raw();
  await raw.enter("/echo");
  raw.send('42/echo,1["say",{"__proto__":{"polluted":1},"constructor":{"prototype":{"polluted":1}}}]');
  await raw.hears("43/echo,1");
  expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
});

test("a payload too deep to be sent back ends its own connection alone", async () => {
  const diary = new Diary();
  const live = await serve({ routes: [route("/echo", diary.Witness), route("/calm", Echo)] });
  const calm = await connected(live.client("/calm"));
  const raw = await live.raw();
  await raw.enter("/echo");
  raw.send(`42/echo,1["say",${"[".repeat(40_000)}${"]".repeat(40_000)}]`);
  expect(await raw.hears("43/echo,1")).toContain('"code":"internal_error"');
  expect((await diary.reason()).kind).toBe("failed");
  expect(await calm.emitWithAck("say", 1)).toEqual({ event: "say", payload: 1 });
});

/** A schema that finds fault with whatever it gets, and quotes it at length, as zod does with unknown keys. */
const Quoting: StandardSchemaV1<unknown, never> = {
  "~standard": {
    version: 1,
    vendor: "test",
    validate: (value) => {
      const [key = ""] = Object.keys(value as object);
      return { issues: Array.from({ length: 20 }, () => ({ message: `what is ${key}?`, path: [key] })) };
    },
  },
};

test("a refusal larger than a message may be is told in short, and the connection goes on", async () => {
  class Picky extends Echo {
    static override readonly events = { pick: { schema: Quoting, handler: () => "never" } };
  }
  const live = await serve({ routes: [route("/picky", Picky)] });
  const client = await connected(live.client("/picky"));
  const told = heard<[{ code: string; message: string }]>(client, "sluice.error");
  client.emit("pick", { ["k".repeat(90_000)]: 1 });
  const [error] = await told;
  expect(error).toMatchObject({ event: "pick", code: "invalid_message" });
  expect(JSON.stringify(error).length).toBeLessThan(262_144);
  expect(await client.emitWithAck("say", 1)).toEqual({ event: "say", payload: 1 });
});

test("a refusal whose details cannot be encoded is told without them", async () => {
  class RoomFull extends ClientError {
    readonly code = "room_full";
    override readonly details = { seats: 1n };
  }
  class Full extends Echo {
    override receive(event: string): unknown {
      if (event === "join") throw new RoomFull("no seat is left");
      return "fine";
    }
  }
  const live = await serve({ routes: [route("/full", Full)] });
  const client = await connected(live.client("/full"));
  const error = { code: "room_full", message: "no seat is left" };
  expect(await client.emitWithAck("join")).toEqual({ error });
  const told = heard(client, "sluice.error");
  client.emit("join");
  expect(await told).toEqual([{ event: "join", ...error }]);
  expect(await client.emitWithAck("say")).toBe("fine");
});

test("however short messages must be, a refusal is told", async () => {
  const live = await serve({ routes: [route("/echo", Echo)], limits: { maxMessageBytes: 10 } });
  const client = await connected(live.client("/echo"));
  const told = heard(client, "sluice.error");
  client.emit("say", 1, 2);
  expect(await told).toEqual([expect.objectContaining({ event: "say", code: "invalid_message" })]);
});

test("an answer that cannot be encoded is the handler's failure: internal_error, and 4500", async () => {
  const diary = new Diary();
  class Odd extends diary.Witness {
    override receive() {
      return { big: 1n };
    }
  }
  const live = await serve({ routes: [route("/odd", Odd)] });
  const client = await connected(live.client("/odd"));
  const closing = heard(client, "sluice.close");
  expect(await client.emitWithAck("say")).toEqual({
    error: { code: "internal_error", message: "internal error" },
  });
  expect(await closing).toEqual([{ code: 4500, reason: "internal error" }]);
  const { kind, code, ...failed } = await diary.reason();
  expect({ kind, code }).toEqual({ kind: "failed", code: 4500 });
  expect(failed).toMatchObject({ error: expect.any(Unencodable) });
});
