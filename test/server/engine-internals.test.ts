import { expect, jest, test } from "@jest/globals";
import { route } from "sluice";
import type { Socket } from "socket.io";
import * as ws from "ws";
import {
  bufferedBytes,
  clientsOf,
  cut,
  type EngineSocket,
  endAcknowledgements,
  isFlowing,
  onEvents,
  sendNow,
  waitingPackets,
  webSocketFrame,
} from "../../src/server/engine-internals.ts";
import { connected, Diary, Echo, type Live, type RawClient, serve, until } from "./live-server.ts";

/** A live connection with one namespace open, seen from both ends. */
async function scene(): Promise<{
  live: Live;
  diary: Diary;
  raw: RawClient;
  conn: EngineSocket;
  socket: Socket;
}> {
  const diary = new Diary();
  const live = await serve({ routes: [route("/room", diary.Witness)] });
  const raw = await live.raw();
  await raw.enter("/room");
  const [conn] = clientsOf(live.io.engine);
  const [socket] = live.io.of("/room").sockets.values();
  if (conn === undefined || socket === undefined) throw new Error("nobody is there");
  return { live, diary, raw, conn, socket };
}

test("the internals of Engine.IO and ws that the server relies on exist", async () => {
  const { live, conn, socket } = await scene();
  const internals = conn as unknown as {
    writeBuffer: unknown;
    transport: { writable: unknown; perMessageDeflate: unknown; socket: Record<string, unknown> };
  };
  expect(Array.isArray(internals.writeBuffer)).toBe(true);
  expect(typeof internals.transport.writable).toBe("boolean");
  expect(internals.transport.perMessageDeflate).toBeFalsy();
  expect(typeof internals.transport.socket.bufferedAmount).toBe("number");
  expect(typeof internals.transport.socket.terminate).toBe("function");
  const { _sender: sender } = internals.transport.socket as { _sender: { sendFrame: unknown } };
  expect(typeof sender.sendFrame).toBe("function");
  expect((socket as unknown as { acks: unknown }).acks).toBeInstanceOf(Map);
  expect(typeof (socket as unknown as { _error: unknown })._error).toBe("function");
  expect(typeof (Object.getPrototypeOf(socket) as { onevent: unknown }).onevent).toBe("function");
  expect(conn).toBe(socket.conn);
  expect(clientsOf(live.io.engine)).toEqual([conn]);
  expect(clientsOf(undefined)).toEqual([]);
});

test("a connection flows until its client stops to read; then packets and bytes wait", async () => {
  const { raw, conn } = await scene();
  await until(() => isFlowing(conn), "all has been sent");
  const created: unknown[] = [];
  conn.on("packetCreate", (packet: unknown) => created.push(packet));
  raw.socket.pause();
  const text = "x".repeat(65_536);
  for (let i = 0; i < 1_000 && isFlowing(conn); i++) {
    conn.write(text);
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(isFlowing(conn)).toBe(false);
  expect(bufferedBytes(conn)).toBeGreaterThan(0);
  const buffer = waitingPackets(conn) as unknown[];
  const before = buffer.length;
  conn.write(text);
  expect(waitingPackets(conn)).toBe(buffer);
  expect(buffer).toHaveLength(before + 1);
  expect(buffer.at(-1)).toBe(created.at(-1));
  expect(created.at(-1)).toMatchObject({ data: text });
  raw.socket.resume();
  await until(() => isFlowing(conn), "all has been sent");
  expect(waitingPackets(conn)).not.toBe(buffer);
  expect(bufferedBytes(conn)).toBe(0);
});

test("a frame goes past Engine.IO where nothing waits, and nowhere else", async () => {
  const { raw, conn } = await scene();
  await until(() => isFlowing(conn), "all has been sent");
  const created: unknown[] = [];
  conn.on("packetCreate", (packet: unknown) => created.push(packet));
  expect(sendNow(conn, webSocketFrame("2/room,[1]"))).toBe(true);
  expect(await raw.hears("42/room,[1]")).toBe("42/room,[1]");
  expect(created).toEqual([]);

  // Engine.IO has handed something on and has not heard yet that it went.
  conn.write("2/room,[2]");
  expect(sendNow(conn, webSocketFrame("2/room,[3]"))).toBe(false);
  await until(() => isFlowing(conn), "all has been sent");

  // The network takes no more.
  raw.socket.pause();
  const large = webSocketFrame("x".repeat(1_000_000));
  let sent = 0;
  while (sendNow(conn, large) && sent < 100) sent += 1;
  expect(sent).toBeLessThan(100);
  expect(bufferedBytes(conn)).toBeGreaterThan(0);
  conn.close();
  expect(sendNow(conn, large)).toBe(false);
});

test("a frame does not go past Engine.IO to a client that polls", async () => {
  const live = await serve({ routes: [route("/room", Echo)] });
  await fetch(`${live.url}/socket.io/?EIO=4&transport=polling`);
  const [conn] = clientsOf(live.io.engine);
  expect(sendNow(conn as EngineSocket, webSocketFrame("x"))).toBe(false);
});

test("cut ends a WebSocket whose client does not read", async () => {
  const { live, diary, raw, conn } = await scene();
  raw.socket.pause();
  cut(conn);
  expect((await diary.reason()).kind).toBe("transport");
  await live.empty();
});

test("cut ends a polling connection, also one that waits for a last poll", async () => {
  const live = await serve({ routes: [route("/room", Echo)] });
  for (const isClosing of [false, true]) {
    await fetch(`${live.url}/socket.io/?EIO=4&transport=polling`);
    const [conn] = clientsOf(live.io.engine);
    if (conn === undefined) throw new Error("nobody is there");
    if (isClosing) conn.close();
    cut(conn);
    expect(conn.readyState).toBe("closed");
    await live.empty();
  }
});

test("a client that polls and says goodbye while it is being closed leaves no timer behind", async () => {
  const live = await serve({ routes: [route("/room", Echo)] });
  const set = jest.spyOn(globalThis, "setTimeout");
  const polling = `${live.url}/socket.io/?EIO=4&transport=polling`;
  const opening = await (await fetch(polling)).text();
  const { sid } = JSON.parse(opening.slice(1)) as { sid: string };
  const [conn] = clientsOf(live.io.engine);
  const before = set.mock.results.length;
  // No poll is open that it could be told by.
  conn?.close();
  const waiting = set.mock.results.slice(before).map(({ value }) => value as NodeJS.Timeout);
  set.mockRestore();
  expect(waiting).toHaveLength(1);
  await (await fetch(`${polling}&sid=${sid}`, { method: "POST", body: "1" })).text();
  expect(conn?.readyState).toBe("closed");
  expect(waiting.map((timer) => (timer as { _destroyed?: boolean })._destroyed)).toEqual([true]);
});

test("endAcknowledgements ends what waits for an answer", async () => {
  const { socket } = await scene();
  const answers: unknown[] = [];
  socket.timeout(1_000_000).emit("ask", (...answer: unknown[]) => answers.push(answer));
  endAcknowledgements(socket);
  expect(answers).toEqual([[null]]);
});

test.each([0, 1, 124, 125, 126, 65_534, 65_535, 65_536])(
  "the frame around a text of %d bytes is the one that ws makes, byte for byte",
  (length) => {
    // What Engine.IO itself does for broadcasts; ws has no types for it.
    const { frame } = (ws as unknown as { Sender: { frame(data: Buffer, options: object): Buffer[] } })
      .Sender;
    for (const text of ["x".repeat(length), "ä€😀".repeat(Math.ceil(length / 9)).slice(0, length)]) {
      const options = { fin: true, rsv1: false, opcode: 1, mask: false, readOnly: false };
      expect(webSocketFrame(text).equals(Buffer.concat(frame(Buffer.from(`4${text}`), options)))).toBe(true);
    }
  },
);

test.each([0, 124, 125, 65_532, 65_533, 100_000])(
  "a stock client reads an event of %d bytes",
  async (length) => {
    class Giving extends Echo {
      override receive(): void {
        this.send("text", "x".repeat(length));
      }
    }
    const live = await serve({ routes: [route("/giving", Giving)] });
    const client = await connected(live.client("/giving"));
    const text = new Promise((resolve) => client.once("text", resolve));
    client.emit("go");
    expect(await text).toBe("x".repeat(length));
  },
);

test("events are heard with the number of their answer, by Socket.IO's own way where there is no other", async () => {
  const { raw, socket } = await scene();
  const heard: unknown[] = [];
  const fell: unknown[] = [];
  const own = socket as unknown as { onevent: unknown };
  onEvents(
    socket,
    ({ data, id }) => void heard.push([data, id]),
    (...event) => void fell.push(event),
  );
  raw.send('42/room,0["a",{"b":1}]');
  raw.send('42/room,["c"]');
  await until(() => heard.length === 2, "both are heard");
  expect(heard).toEqual([
    [["a", { b: 1 }], 0],
    [["c"], undefined],
  ]);
  own.onevent = undefined;
  onEvents(
    socket,
    ({ data, id }) => void heard.push([data, id]),
    (...event) => void fell.push(event),
  );
  own.onevent = Object.getPrototypeOf(socket).onevent;
  raw.send('42/room,3["d",1]');
  await until(() => fell.length === 1, "it is heard the other way");
  expect(fell).toEqual([["d", 1, expect.any(Function)]]);
  expect(heard).toHaveLength(2);
});
