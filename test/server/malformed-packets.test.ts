import { expect, test } from "@jest/globals";
import { route } from "sluice";
import { connected, Diary, Echo, gate, serve, until } from "./live-server.ts";

/** A server, somebody on it who behaves, and somebody who is about to not. */
async function scene() {
  const diary = new Diary();
  const live = await serve({ routes: [route("/echo", diary.Witness), route("/calm", Echo)] });
  const calm = await connected(live.client("/calm"));
  const raw = await live.raw();
  return { live, diary, calm, raw };
}

async function expectCalm({ live, calm }: Pick<Awaited<ReturnType<typeof scene>>, "live" | "calm">) {
  expect(await calm.emitWithAck("say", 1)).toEqual({ event: "say", payload: 1 });
  calm.disconnect();
  await live.empty();
}

const fatal: readonly [what: string, packets: readonly (string | Buffer)[]][] = [
  ["a Socket.IO packet of an unknown type", ["49/echo,"]],
  ["a Socket.IO packet without a type", ["4"]],
  ["an event with broken JSON", ['42/echo,["say",{']],
  ["an event whose JSON is no array", ['42/echo,{"say":1}']],
  ["an event without a name", ["42/echo,[]"]],
  ["an event whose name is an object", ['42/echo,[{"toString":1}]']],
  ["an event with a name that Socket.IO keeps for itself", ['42/echo,["disconnect"]']],
  ["an event named like an emitter's own", ['42/echo,["newListener"]']],
  ["an event to a namespace that was not opened", ['42/nowhere,["say"]']],
  ["a CONNECT_ERROR, which only servers send", ['44/echo,{"message":"no"}']],
  ["a DISCONNECT with a payload", ["41/echo,{}"]],
  ["binary without a header", [Buffer.from([1, 2, 3])]],
  ["a binary event of too many attachments", ['451000000-/echo,["say"]']],
  ["a binary event of half an attachment", ['450.5-/echo,["say"]']],
  [
    "a binary event that points to an attachment it does not have",
    ['451-/echo,["say",{"_placeholder":true,"num":7}]', Buffer.from("x")],
  ],
  [
    "a binary event that points to no number",
    ['451-/echo,["say",{"_placeholder":true,"num":"length"}]', Buffer.from("x")],
  ],
  ["text where an attachment is due", ['451-/echo,["say",{"_placeholder":true,"num":0}]', '42/echo,["say"]']],
  ["a second CONNECT of an open namespace", ["40/echo,"]],
  ["auth that is no object", ["40/calm,[1]"]],
  ["an Engine.IO packet of an unknown type", ["x"]],
  ["an empty Engine.IO packet", [""]],
  ["an Engine.IO ping, which only servers send", ["2"]],
];

test.each(fatal)("%s ends that connection and no other", async (_what, packets) => {
  const { live, diary, calm, raw } = await scene();
  await raw.enter("/echo");
  for (const packet of packets) raw.send(packet);
  await raw.closed;
  expect((await diary.reason()).kind).toBe("transport");
  await expectCalm({ live, calm });
});

const harmless: readonly [what: string, packets: readonly (string | Buffer)[]][] = [
  ["an acknowledgement nobody asked for", ["43/echo,123[1]", "43/echo,0", '43/echo,["x"]']],
  ["an Engine.IO noop", ["6"]],
  ["an Engine.IO pong nobody asked for", ["3", "3probe"]],
  ["an Engine.IO upgrade on a WebSocket", ["5"]],
  ["an Engine.IO open from the client", ['0{"sid":"x"}']],
];

test.each(harmless)("%s is ignored", async (_what, packets) => {
  const { live, diary, calm, raw } = await scene();
  await raw.enter("/echo");
  for (const packet of packets) raw.send(packet);
  raw.send('42/echo,7["say","still here"]');
  expect(await raw.hears("43/echo,7")).toBe('43/echo,7[{"event":"say","payload":"still here"}]');
  raw.socket.close();
  expect((await diary.reason()).kind).toBe("transport");
  await expectCalm({ live, calm });
});

test("an Engine.IO close is the client's end", async () => {
  const { live, diary, calm, raw } = await scene();
  await raw.enter("/echo");
  raw.send("1");
  raw.socket.close();
  expect((await diary.reason()).kind).toBe("transport");
  await expectCalm({ live, calm });
});

test("attachments that never come cost nothing but the event", async () => {
  const { live, diary, calm, raw } = await scene();
  await raw.enter("/echo");
  raw.send('453-/echo,1["say",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]');
  raw.send(Buffer.from("one of three"));
  await expect(calm.emitWithAck("say", 1)).resolves.toBeDefined();
  raw.socket.terminate();
  expect((await diary.reason()).kind).toBe("transport");
  expect(raw.received.filter((packet) => String(packet).startsWith("43"))).toEqual([]);
  await expectCalm({ live, calm });
});

test("an event packet without any data is refused with a typed error", async () => {
  const { live, calm, raw } = await scene();
  await raw.enter("/echo");
  raw.send("42/echo,");
  raw.send("42/echo,5");
  raw.send("451-/echo,");
  raw.send(Buffer.from("x"));
  const errors = () => raw.received.filter((packet) => String(packet).startsWith('42/echo,["sluice.error"'));
  await raw.hears('42/echo,["sluice.error"');
  raw.send('42/echo,6["say"]');
  expect(await raw.hears("43/echo,6")).toBe('43/echo,6[{"event":"say"}]');
  expect(errors()).toHaveLength(2);
  for (const error of [...errors(), await raw.hears("43/echo,5")])
    expect(error).toContain('"code":"invalid_name"');
  raw.socket.close();
  await expectCalm({ live, calm });
});

test("a second CONNECT while the first is pending takes its place, as it does for a stock client", async () => {
  const { live, raw, diary, accept } = await pendingScene();
  raw.send("40/slow,");
  await until(() => diary.made === 2, "the second is pending");
  accept();
  await raw.hears("40/slow,");
  raw.send('42/slow,1["say",1]');
  await raw.hears("43/slow,1");
  expect(raw.received.filter((packet) => /^4[04]/.test(String(packet)))).toHaveLength(1);
  expect(diary.reasons).toMatchObject([{ kind: "client" }]);
  raw.socket.close();
  await live.empty();
  expect(diary.reasons.map(({ kind }) => kind)).toEqual(["client", "transport"]);
});

test("a DISCONNECT while connect is pending ends the connection and runs disconnect once", async () => {
  const { live, raw, diary, accept } = await pendingScene();
  raw.send("41/slow,");
  await raw.closed;
  accept();
  expect((await diary.reason()).kind).toBe("transport");
  await live.empty();
});

test("an event while connect is pending ends the connection, as it comes before its time", async () => {
  const { live, raw, diary, accept } = await pendingScene();
  raw.send('42/slow,["say"]');
  await raw.closed;
  accept();
  expect((await diary.reason()).kind).toBe("transport");
  await live.empty();
});

/** A raw client whose `connect` hook waits. */
async function pendingScene() {
  const diary = new Diary();
  const accepted = gate();
  class Slow extends diary.Witness {
    override connect() {
      return accepted.passed;
    }
  }
  const live = await serve({ routes: [route("/slow", Slow)] });
  const raw = await live.raw();
  raw.send("40/slow,");
  await until(() => diary.made === 1, "connect is pending");
  return { live, raw, diary, accept: () => accepted.open() };
}
