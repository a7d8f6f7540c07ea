/**
 * Node keeps the listeners of an emitter in a hash table with room for more, and a list that has grown has room
 * for sixteen more: with those of Engine.IO, Socket.IO and ws, a kilobyte and a half for each connection. Once
 * all have come they are put into objects of just their size, if they are those that are expected; if not, all
 * stays as it is. Node itself begins its streams with such objects.
 */
import type { Socket } from "socket.io";
import type { EngineSocket } from "./engine-internals.ts";

type Listeners = Readonly<Record<string, unknown>>;

interface Emitter {
  _events?: Record<string, unknown>;
  readonly _eventsCount?: number;
}

interface Conn extends Emitter {
  cleanupFn?: unknown;
  readonly transport: Emitter & {
    readonly name: string;
    readonly socket?: Emitter & { readonly _socket?: Emitter };
  };
  once(event: "upgrade", listener: () => void): unknown;
}

/** Those of a connection and of its WebSocket; while it still polls, once it has one. */
export function packConnection(conn: EngineSocket): void {
  const held = conn as unknown as Conn;
  if (held.transport.name === "websocket") packAll(held);
  else held.once("upgrade", () => packAll(held));
}

/** Those of one namespace on it, which hears its events by `onEvents`: no client can name a listener. */
export function packSocket(socket: Socket): void {
  pack(socket as Emitter, SOCKET);
  const { decoder } = socket.client as unknown as { readonly decoder?: { _callbacks?: object } };
  packLists(decoder?._callbacks, "$decoded");
}

function packAll(conn: Conn): void {
  const { socket } = conn.transport;
  pack(conn, CONN, POLLED_CONN);
  pack(conn.transport, TRANSPORT, LATER_TRANSPORT);
  if (socket !== undefined) pack(socket, WEB_SOCKET);
  packLists(conn, "cleanupFn");
  packLists(socket?._socket?._events, "close", "error");
}

function pack(emitter: Emitter, ...shapes: readonly Shape[]): void {
  const { _events: listeners, _eventsCount: count } = emitter;
  if (listeners === undefined) return;
  for (const { names, fill } of shapes) {
    if (names.length !== count || !names.every((name) => listeners[name] !== undefined)) continue;
    emitter._events = fill(listeners);
    return;
  }
}

interface Shape {
  readonly names: readonly string[];
  readonly fill: (listeners: Listeners) => Record<string, unknown>;
}

/** @param fill - a literal, which is what gets an object of just its size, and fast */
function shape(fill: Shape["fill"]): Shape {
  return { names: Object.keys(fill({})), fill };
}

const SOCKET = shape((of) => ({ error: exact(of.error), disconnect: exact(of.disconnect) }));

const CONN = shape((of) => ({
  data: exact(of.data),
  error: exact(of.error),
  close: exact(of.close),
  packetCreate: exact(of.packetCreate),
}));

const POLLED_CONN = shape((of) => ({
  data: exact(of.data),
  error: exact(of.error),
  close: exact(of.close),
  packetCreate: exact(of.packetCreate),
  upgrading: exact(of.upgrading),
}));

const TRANSPORT = shape((of) => ({
  error: exact(of.error),
  ready: exact(of.ready),
  packet: exact(of.packet),
  drain: exact(of.drain),
  close: exact(of.close),
  headers: exact(of.headers),
}));

/** To which its connection was upgraded: its headers had been sent. */
const LATER_TRANSPORT = shape((of) => ({
  error: exact(of.error),
  ready: exact(of.ready),
  packet: exact(of.packet),
  drain: exact(of.drain),
  close: exact(of.close),
}));

const WEB_SOCKET = shape((of) => ({
  message: exact(of.message),
  close: exact(of.close),
  error: exact(of.error),
}));

function packLists(of: object | undefined, ...names: readonly string[]): void {
  if (of === undefined) return;
  const lists = of as Record<string, unknown>;
  for (const name of names) lists[name] = exact(lists[name]);
}

function exact(listeners: unknown): unknown {
  if (!Array.isArray(listeners)) return listeners;
  // Newer Node counts, by a symbol on the list, who is going through it: without, who leaves meanwhile hides the next.
  const list = listeners as unknown as Record<symbol, unknown>;
  const marks = Object.getOwnPropertySymbols(list);
  if (marks.some((mark) => list[mark] !== 0)) return listeners;
  const copy = listeners.slice() as unknown as Record<symbol, unknown>;
  for (const mark of marks) copy[mark] = 0;
  return copy;
}
