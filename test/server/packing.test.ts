import { expect, test } from "@jest/globals";
import { route } from "sluice";
import type { Socket } from "socket.io";
import { clientsOf } from "../../src/server/engine-internals.ts";
import { packConnection, packSocket } from "../../src/server/packing.ts";
import { connected, Diary, type Live, serve, until } from "./live-server.ts";

interface Emitter {
  readonly _events: object;
  on(event: string, listener: () => void): unknown;
}

interface Conn extends Emitter {
  readonly cleanupFn: readonly unknown[];
  readonly transport: Emitter & { readonly name: string; readonly socket?: Emitter };
}

/** Node's own tables have no prototype. */
function isPacked(emitter: Emitter | undefined): boolean {
  return emitter !== undefined && Object.getPrototypeOf(emitter._events) === Object.prototype;
}

function ends(live: Live): { conn: Conn; socket: Emitter } {
  const [conn] = clientsOf(live.io.engine);
  const [socket] = live.io.of("/room").sockets.values();
  if (conn === undefined || socket === undefined) throw new Error("nobody is there");
  return { conn: conn as unknown as Conn, socket: socket as unknown as Emitter };
}

test.each([
  ["a WebSocket", ["websocket"]],
  ["an upgrade", ["polling", "websocket"]],
])("listeners of a connection by %s are packed, and its end is heard", async (_by, transports) => {
  const diary = new Diary();
  const live = await serve({ routes: [route("/room", diary.Witness)] });
  const client = await connected(live.client("/room", { transports }));
  const { conn, socket } = ends(live);
  await until(() => isPacked(conn), "it is packed");
  expect(conn.transport.name).toBe("websocket");
  expect([conn.transport, conn.transport.socket, socket].map(isPacked)).toEqual([true, true, true]);
  expect(await client.emitWithAck("hear", 1)).toEqual({ event: "hear", payload: 1 });
  client.disconnect();
  await until(() => diary.reasons.length, "its consumer has ended");
  await live.empty();
});

test("with a listener that is not expected all stays as it is", async () => {
  const diary = new Diary();
  const live = await serve({ routes: [route("/room", diary.Witness)] });
  await connected(live.client("/room"));
  const { conn, socket } = ends(live);
  const heard: string[] = [];
  for (const emitter of [conn, conn.transport, socket]) emitter.on("stranger", () => heard.push("stranger"));
  const tables = [conn._events, conn.transport._events, socket._events];
  packConnection(conn as never);
  packSocket(socket as unknown as Socket);
  expect([conn._events, conn.transport._events, socket._events]).toEqual(tables);
  for (const emitter of [conn, conn.transport]) (emitter as unknown as NodeJS.EventEmitter).emit("stranger");
  expect(heard).toHaveLength(2);
});

test("who stops listening while its end is told does not keep the next from hearing it", async () => {
  const diary = new Diary();
  const live = await serve({ routes: [route("/room", diary.Witness)] });
  const client = await connected(live.client("/room"));
  const { conn } = ends(live);
  await until(() => isPacked(conn), "it is packed");
  const webSocket = conn.transport.socket as unknown as { readonly _socket: NodeJS.EventEmitter };
  const heard: number[] = [];
  for (const n of [1, 2, 3]) webSocket._socket.once("close", () => heard.push(n));
  client.disconnect();
  await until(() => heard.includes(3), "the last hears it");
  expect(heard).toEqual([1, 2, 3]);
});

test("what Node keeps on a list of listeners stays there, and a list that is gone through is left alone", () => {
  const mark = Symbol("goes through it");
  const list = (count: number) => Object.assign([() => {}, () => {}], { [mark]: count });
  const packed = (listeners: object) => {
    const events = { close: listeners };
    const transport = { name: "websocket", socket: { _socket: { _events: events } } };
    packConnection({ transport } as never);
    return events.close as ReturnType<typeof list>;
  };
  const still = list(0);
  expect(packed(still)).not.toBe(still);
  expect(packed(still)).toHaveLength(2);
  expect(packed(still)[mark]).toBe(0);
  const busy = list(1);
  expect(packed(busy)).toBe(busy);
});
