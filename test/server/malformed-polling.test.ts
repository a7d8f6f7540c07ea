import { expect, test } from "@jest/globals";
import { route } from "sluice";
import { clientsOf } from "../../src/server/engine-internals.ts";
import { connected, Diary, Echo, serve, until } from "./live-server.ts";

/** A server, somebody on it who behaves, and a polling session with `/echo` open. */
async function scene() {
  const diary = new Diary();
  const live = await serve({ routes: [route("/echo", diary.Witness), route("/calm", Echo)] });
  const calm = await connected(live.client("/calm"));
  const address = `${live.url}/socket.io/?EIO=4&transport=polling`;
  const { sid } = JSON.parse((await (await fetch(address)).text()).slice(1)) as { sid: string };
  const session = `${address}&sid=${sid}`;
  const post = (body: string, type = "text/plain") =>
    fetch(session, { method: "POST", body, headers: { "content-type": type } });
  expect((await post("40/echo,")).status).toBe(200);
  expect(await (await fetch(session)).text()).toMatch(/^40\/echo,/);
  /** Asks for what the server has to say, and waits until it knows that somebody listens. */
  const poll = async () => {
    const answer = fetch(session);
    const conn = clientsOf(live.io.engine).find((client) => (client as unknown as { id: string }).id === sid);
    await until(() => conn?.transport.writable, "the poll is open");
    return { answer };
  };
  return { live, diary, calm, session, post, poll };
}

type Scene = Awaited<ReturnType<typeof scene>>;

async function expectCalm({ live, calm }: Scene): Promise<void> {
  expect(await calm.emitWithAck("say", 1)).toEqual({ event: "say", payload: 1 });
  calm.disconnect();
  await live.empty();
}

test.each([
  ["garbage", "garbage"],
  ["nothing", ""],
  ["an empty packet between others", '42/echo,["say"]\x1e\x1e42/echo,["say"]'],
  ["broken base64 as binary", "b!!!!"],
  ["a Socket.IO packet of an unknown type", "49"],
  ["10,000 packets, the first of them broken", `x${"\x1e2".repeat(10_000)}`],
  ["a close packet, and more after it", '1\x1e42/echo,["say"]'],
])("a polling request with %s ends that session and no other", async (_what, body) => {
  const all = await scene();
  const { answer } = await all.poll();
  await all.post(body);
  expect((await answer).status).toBe(200);
  expect((await all.diary.reason()).kind).toBe("transport");
  expect((await fetch(all.session)).status).toBe(400);
  await expectCalm(all);
});

test("a polling request as octet-stream, which version 4 does not have, ends the session", async () => {
  const all = await scene();
  const { answer } = await all.poll();
  expect((await all.post('42/echo,["say"]', "application/octet-stream")).status).toBe(400);
  expect((await answer).status).toBe(200);
  expect((await all.diary.reason()).kind).toBe("transport");
  await expectCalm(all);
});

test("two polls at once end the session", async () => {
  const all = await scene();
  const { answer } = await all.poll();
  expect((await fetch(all.session)).status).toBe(400);
  expect((await answer).status).toBe(200);
  expect((await all.diary.reason()).kind).toBe("transport");
  await expectCalm(all);
});

test.each([
  ["another version of the protocol", "GET", "?EIO=3&transport=polling"],
  ["no version", "GET", "?transport=polling"],
  ["an unknown transport", "GET", "?EIO=4&transport=pigeon"],
  ["a transport named like a property", "GET", "?EIO=4&transport=__proto__"],
  ["a WebSocket without an upgrade", "GET", "?EIO=4&transport=websocket"],
  ["an unknown session", "GET", "?EIO=4&transport=polling&sid=nobody"],
  ["a session named like a property", "GET", "?EIO=4&transport=polling&sid=__proto__"],
  ["a session that is begun by a POST", "POST", "?EIO=4&transport=polling"],
])("%s is refused with 400 and leaves nothing", async (_what, method, query) => {
  const live = await serve({ routes: [route("/echo", Echo)] });
  expect((await fetch(`${live.url}/socket.io/${query}`, { method })).status).toBe(400);
  await live.empty();
});
