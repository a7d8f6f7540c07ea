/**
 * What the server relies on inside Socket.IO, Engine.IO and ws beyond their documented interfaces, all of it here
 * and each with a way out should a version not have it. A test pins it, so that an upgrade that changes
 * something fails loudly.
 */
import type { IncomingMessage } from "node:http";
import type { Socket } from "socket.io";

export type EngineSocket = Socket["conn"];

interface Internals {
  readonly readyState?: string;
  readonly writeBuffer?: readonly unknown[];
  readonly transport?: {
    readonly writable?: boolean;
    /** Options of compression, if it is on. */
    readonly perMessageDeflate?: unknown;
    readonly socket?: {
      readonly bufferedAmount?: number;
      readonly _sender?: { sendFrame?(frame: readonly Buffer[]): void };
      terminate?(): void;
    };
    /** While a polling transport waits for one more poll, to say in its answer that it closes. */
    shouldClose?: (() => void) | null;
  };
}

/**
 * What a request asks for, as Engine.IO has read it: what else reads the same text otherwise may take for one
 * of a session what Engine.IO takes for a newcomer's.
 */
export function queryOf(request: IncomingMessage): { readonly sid?: string; readonly j?: string } {
  const { _query: query, url = "/" } = request as { readonly _query?: object; readonly url?: string };
  return query ?? Object.fromEntries(new URL(url, "http://localhost").searchParams);
}

/** All open connections. */
export function clientsOf(engine: unknown): readonly EngineSocket[] {
  const { clients = {} } = (engine ?? {}) as { readonly clients?: Readonly<Record<string, EngineSocket>> };
  return Object.values(clients);
}

/** Whether a packet created now is handed to the network at once. */
export function isFlowing(conn: EngineSocket): boolean {
  const { writeBuffer, transport } = conn as unknown as Internals;
  return transport?.writable === true && (writeBuffer === undefined || writeBuffer.length === 0);
}

/**
 * Whether a complete WebSocket frame could be handed to the network past Engine.IO: nothing waits in it or
 * below it.
 */
function canSendNow(conn: EngineSocket): boolean {
  const { readyState, writeBuffer, transport } = conn as unknown as Internals;
  const socket = transport?.socket;
  return (
    readyState === "open" &&
    transport?.writable === true &&
    !transport.perMessageDeflate &&
    writeBuffer?.length === 0 &&
    socket?.bufferedAmount === 0 &&
    socket._sender?.sendFrame !== undefined
  );
}

/**
 * Hands complete WebSocket frames, in one buffer, to the network past Engine.IO, if that can be;
 * otherwise says false. It is what Engine.IO itself would do with each, without a packet, a queue and six
 * events around it, which are a third of what a delivery costs.
 */
export function sendNow(conn: EngineSocket, frames: Buffer): boolean {
  if (!canSendNow(conn)) return false;
  (conn as unknown as Internals).transport?.socket?._sender?.sendFrame?.([frames]);
  return true;
}

/** The packets that wait inside Engine.IO; a new array each time they are handed on. */
export function waitingPackets(conn: EngineSocket): unknown {
  return (conn as unknown as Internals).writeBuffer;
}

/** Bytes that were handed to the WebSocket and have not left the process; 0 for other transports. */
export function bufferedBytes(conn: EngineSocket): number {
  return (conn as unknown as Internals).transport?.socket?.bufferedAmount ?? 0;
}

interface TransportEvents {
  once(event: "close" | "ready", listener: () => void): unknown;
}

/** Hears that the WebSocket a polling client was changing to has closed before the change was made. */
export function onUpgradeFailed(conn: EngineSocket, hear: () => void): void {
  if (conn.transport.name === "websocket") return;
  (conn as unknown as NodeJS.EventEmitter).on("upgrading", (transport: TransportEvents) => {
    transport.once("close", () => {
      const isStillPolling = (conn.transport as unknown) !== transport;
      if (isStillPolling && conn.readyState === "open") hear();
    });
  });
}

/** Hears that a polling client polls, or that it has a poll open already. */
export function onNextPoll(conn: EngineSocket, hear: () => void): void {
  if (conn.transport.writable) hear();
  else (conn.transport as unknown as TransportEvents).once("ready", hear);
}

/**
 * Hears a client's events as they come, each with the number by which it wants an answer. Socket.IO itself
 * would make an acknowledging function of that, call the listeners and then look a turn later for others.
 *
 * @param fall - hears them in its stead, the documented way, should that not be possible
 */
export function onEvents(
  socket: Socket,
  hear: (this: Socket, packet: EventPacket) => void,
  fall: (this: Socket, ...args: unknown[]) => void,
): void {
  const internals = socket as unknown as { onevent?: typeof hear };
  if (typeof internals.onevent !== "function") return void socket.onAny(fall);
  internals.onevent = hear;
}

export interface EventPacket {
  readonly data?: readonly unknown[] | null;
  readonly id?: number | null;
}

/**
 * Lets go of the request that a connection began with: nobody reads it any more, and with its texts it
 * takes most of a kilobyte. (Socket.IO's guide to memory does the same.)
 */
export function letGoOfRequest(conn: EngineSocket): void {
  (conn as unknown as { request: unknown }).request = undefined;
}

/** The same for what Socket.IO has made of it for each namespace. */
export function letGoOfHandshake(socket: Socket): void {
  (socket as unknown as { handshake: unknown }).handshake = GONE;
}

const GONE = Object.freeze({ headers: {}, query: {}, auth: {} });

/** Sees to it that a socket whose connecting is refused is forgotten without a word to its client. */
export function refuseSilently(socket: Socket): void {
  (socket as unknown as { _error: () => void })._error = () => {};
}

/** Ends a connection at once, without waiting for a client that does not read. */
export function cut(conn: EngineSocket): void {
  const { socket, shouldClose } = (conn as unknown as Internals).transport ?? {};
  if (typeof socket?.terminate === "function") socket.terminate();
  else if (typeof shouldClose === "function") shouldClose();
  else conn.close(true);
}

/**
 * To be called when a connection has ended. One that polls, and was being closed when it ended otherwise, would
 * wait for its last poll for half a minute more, and keep the process alive.
 */
export function endClosing(conn: EngineSocket): void {
  endClosingOf((conn as unknown as Internals).transport);
}

/** The same for one that goes over to a WebSocket while it is being closed: nobody will poll any more. */
export function endClosingAtUpgrade(conn: EngineSocket): void {
  const { transport } = conn as unknown as Internals;
  if (conn.transport.name !== "websocket") conn.once("upgrade", () => endClosingOf(transport));
}

function endClosingOf(transport: Internals["transport"]): void {
  const end = transport?.shouldClose;
  if (transport === undefined || typeof end !== "function") return;
  transport.shouldClose = null;
  end();
}

/** Ends the timers of acknowledgements that will not come any more. */
export function endAcknowledgements(socket: Socket): void {
  const { acks } = socket as unknown as { acks?: Map<number, () => void> };
  for (const end of acks?.values() ?? []) end();
  acks?.clear();
}

/** Whether a connection was closed because its client sent more at once than it may, as `ws` says it. */
export function isPayloadTooLarge(description: unknown): boolean {
  return description instanceof Error && description.message.includes("Max payload size exceeded");
}

/**
 * A complete WebSocket frame (RFC 6455, section 5.2: final, text, unmasked) around an Engine.IO message
 * (`4` and the text), in one buffer. Engine.IO writes it as it is to every client with a WebSocket
 * without compression.
 */
export function webSocketFrame(text: string): Buffer {
  const length = Buffer.byteLength(text) + 1;
  const header = headerOf(TEXT, length);
  const frame = Buffer.allocUnsafe(header.length + length);
  header.copy(frame);
  frame[header.length] = 0x34;
  frame.write(text, header.length + 1);
  return frame;
}

/** What stands before the bytes of an attachment, which Engine.IO sends as a binary frame as they are. */
export function binaryHeader(attachment: Uint8Array): Buffer {
  return headerOf(BINARY, attachment.byteLength);
}

const TEXT = 0x81;
const BINARY = 0x82;

function headerOf(kind: number, length: number): Buffer {
  const header = Buffer.allocUnsafe(length < 126 ? 2 : length < 65_536 ? 4 : 10);
  header[0] = kind;
  if (header.length === 2) header[1] = length;
  else if (header.length === 4) {
    header[1] = 126;
    header.writeUInt16BE(length, 2);
  } else {
    header[1] = 127;
    header.writeBigUInt64BE(BigInt(length), 2);
  }
  return header;
}
