import { EventEmitter } from "node:events";
import type { ServerOptions } from "socket.io";

/**
 * Stands where Socket.IO would note its rooms, of which each socket has one to itself: two sets and two
 * entries for each, that nobody reads. Groups are the channel layer's. The interface is that of
 * `socket.io-adapter`, as far as a server without rooms calls it.
 */
class RoomlessAdapter extends EventEmitter {
  init(): void {}
  close(): void {}
  addAll(): void {}
  del(): void {}
  delAll(): void {}

  socketRooms(): ReadonlySet<string> {
    return NONE;
  }
}

const NONE: ReadonlySet<string> = new Set();

export const roomlessAdapter = RoomlessAdapter as unknown as NonNullable<ServerOptions["adapter"]>;
