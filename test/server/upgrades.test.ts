import { once } from "node:events";
import { connect as connectTcp } from "node:net";
import { expect, jest, test } from "@jest/globals";
import { route } from "sluice";
import { WebSocket } from "ws";
import { clientsOf } from "../../src/server/engine-internals.ts";
import { atEnd, Diary, type Live, serve, until } from "./live-server.ts";

/** A polling client that has entered `/echo`, has probed a WebSocket, and whose poll that ended. */
async function inMidUpgrade(live: Live) {
  const url = `${live.url}/socket.io/?EIO=4&transport=polling`;
  const opening = await (await fetch(url)).text();
  const { sid } = JSON.parse(opening.slice(1)) as { sid: string };
  const session = `${url}&sid=${sid}`;
  const poll = async () => (await fetch(session)).text();
  await fetch(session, { method: "POST", body: "40/echo," });
  expect(await poll()).toContain("40/echo,");
  const pending = poll();
  const socket = new WebSocket(
    `${live.url.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket&sid=${sid}`,
  );
  atEnd(() => socket.terminate());
  await new Promise((resolve) => socket.once("open", resolve));
  const probed = new Promise((resolve) => socket.once("message", (data) => resolve(String(data))));
  socket.send("2probe");
  expect(await probed).toBe("3probe");
  expect(await pending).toBe("6");
  return { socket, poll, session };
}

async function scene() {
  const diary = new Diary();
  const live = await serve({ routes: [route("/echo", diary.Witness)] }, { pingTimeoutMs: 150 });
  return { diary, live, client: await inMidUpgrade(live) };
}

test("a client that vanishes in the middle of its upgrade is noticed soon, not at the next ping", async () => {
  const { diary, live, client } = await scene();
  client.socket.terminate();
  expect((await diary.reason()).kind).toBe("transport");
  await live.empty();
});

test("a client whose upgrade fails and that goes on polling stays", async () => {
  const { diary, live, client } = await scene();
  const closed = new Promise((resolve) => client.socket.once("close", resolve));
  client.socket.terminate();
  await closed;
  const answer = client.poll();
  // Three times as long as it may take to poll again.
  const until450 = performance.now() + 450;
  await until(() => performance.now() > until450, "the time has passed");
  await fetch(client.session, { method: "POST", body: '42/echo,7["say",1]' });
  expect(await answer).toContain('43/echo,7[{"event":"say","payload":1}]');
  expect(diary.reasons).toEqual([]);
  await live.server.stop();
});

test("a client that completes its upgrade while it is being closed leaves no timer behind", async () => {
  const { diary, live, client } = await scene();
  const [conn] = clientsOf(live.io.engine);
  const set = jest.spyOn(globalThis, "setTimeout");
  conn?.close();
  const waiting = set.mock.results.map(({ value }) => value as { readonly _destroyed?: boolean });
  set.mockRestore();
  expect(waiting).toHaveLength(1);
  const closed = once(client.socket, "close");
  client.socket.send("5");
  await closed;
  await diary.reason();
  expect(waiting[0]?._destroyed).toBe(true);
  await live.empty();
});

test("the answer to a WebSocket and its first packet are one write", async () => {
  const live = await serve({ routes: [] });
  let writes = 0;
  live.io.httpServer.on(
    "connection",
    (socket: Record<"_write" | "_writev", (...given: unknown[]) => void>) => {
      for (const name of ["_write", "_writev"] as const) {
        const write = socket[name];
        socket[name] = (...given) => {
          writes += 1;
          write.apply(socket, given);
        };
      }
    },
  );
  await live.raw();
  expect(writes).toBe(1);
});

test("a connection that was opened in advance and never used does not hold stop", async () => {
  const live = await serve({ routes: [] }, { stopTimeoutMs: 60_000 });
  const socket = connectTcp(live.port, "127.0.0.1");
  atEnd(() => socket.destroy());
  await new Promise((resolve) => socket.once("connect", resolve));
  const closed = new Promise((resolve) => socket.once("close", resolve));
  await live.server.stop();
  await closed;
});
