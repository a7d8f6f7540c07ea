/**
 * What is relied upon in socket.io-client 4 beyond its documented interface. Its listeners (`on`, `onAny`) can
 * neither drop nor change an event, and `auth` belongs to the application; these three methods see all that
 * comes and goes, also what waited for the connection, in every version since 4.0.
 */
import type { StockSocket } from "./types.ts";

interface Inside {
  readonly nsp: string;
  readonly io: Manager;
  /** Documented: what the server finds as `auth`, or a function that gives it for each connection. */
  auth: Readonly<Record<string, unknown>> | ((give: (auth: object) => void) => void) | undefined;
  /** Hands an event to the listeners: name, arguments, and the acknowledgement if one is asked for. */
  emitEvent(args: readonly unknown[]): void;
  /** Hands one of Socket.IO's own events to the listeners. */
  emitReserved(event: string, ...args: readonly unknown[]): unknown;
  /** Sends; type 0 opens the namespace and carries `auth`. */
  packet(packet: { readonly type: number; readonly data?: unknown }): void;
  disconnect(): unknown;
  close(): unknown;
  on(event: string, listener: (payload: unknown) => void): unknown;
  off(event: string, listener: (payload: unknown) => void): unknown;
  timeout(timeoutMs: number): {
    emit(event: string, payload: unknown, answer: (error: Error | null, answer: unknown) => void): unknown;
  };
}

/** The documented settings of reconnection; and the address, which is not. */
interface Manager {
  readonly uri?: string;
  reconnection(): boolean | undefined;
  reconnectionAttempts(): number | undefined;
  reconnectionDelay(): number | undefined;
  reconnectionDelayMax(): number | undefined;
  randomizationFactor(): number | undefined;
}

export interface Hooks {
  /** What the listeners get instead; undefined: nothing. */
  incoming?(args: readonly unknown[]): readonly unknown[] | undefined;
  /** What the server finds in `auth` under `sluice`. */
  greeting?(): object;
  connected(): void;
  disconnected(reason: unknown): void;
  refused(error: unknown): void;
  /** The application disconnects. */
  left(): void;
}

const OPENING = 0;

export function inside(socket: StockSocket): Inside {
  return socket as unknown as Inside;
}

/**
 * Puts the hooks before the socket's own methods; they run before the application's listeners.
 *
 * @param verb - what the application has called
 * @returns takes them off again
 * @throws TypeError if this is no socket of socket.io-client 4
 */
export function hookInto(socket: StockSocket, hooks: Hooks, verb: string): () => void {
  const own = inside(socket);
  const names = ["emitEvent", "emitReserved", "packet", "disconnect", "close"] as const;
  for (const name of names) {
    if (typeof own?.[name] === "function") continue;
    throw new TypeError(`${verb}() takes a socket of socket.io-client 4; this one has no ${name}()`);
  }
  const before = names.map((name) => Object.getOwnPropertyDescriptor(own, name));
  let isOff = false;
  const { emitEvent, emitReserved, packet, disconnect } = own;
  const leave = () => {
    if (!isOff) hooks.left();
    return disconnect.call(own);
  };
  const ours = {
    emitEvent(args) {
      const passed = isOff || hooks.incoming === undefined ? args : hooks.incoming(args);
      if (passed !== undefined) emitEvent.call(own, passed);
    },
    emitReserved(event, ...args) {
      if (isOff) return emitReserved.call(own, event, ...args);
      if (event === "connect") hooks.connected();
      else if (event === "disconnect") hooks.disconnected(args[0]);
      else if (event === "connect_error") hooks.refused(args[0]);
      return emitReserved.call(own, event, ...args);
    },
    packet(sent) {
      if (isOff || sent.type !== OPENING || hooks.greeting === undefined) return packet.call(own, sent);
      const auth = typeof sent.data === "object" ? sent.data : {};
      packet.call(own, { ...sent, data: { ...auth, sluice: hooks.greeting() } });
    },
    disconnect: leave,
    close: leave,
  } satisfies Partial<Inside>;
  Object.assign(own, ours);
  return () => {
    isOff = true;
    for (const [i, name] of names.entries()) {
      // Somebody has put theirs before ours meanwhile: ours pass on.
      if (own[name] !== ours[name]) continue;
      const descriptor = before[i];
      if (descriptor !== undefined) Object.defineProperty(own, name, descriptor);
      else Reflect.deleteProperty(own, name);
    }
  };
}
