import { Consumer, type Message } from "sluice";
import type { RoomDirectory, RoomSummary } from "./room-directory.ts";

export const LOBBY = "lobby";

export interface Lobby {
  options: {
    readonly rooms: RoomDirectory;
    /** What people call the node that serves them. */
    readonly node: string;
  };
  sends: {
    node: { name: string };
    rooms: { rooms: readonly RoomSummary[] };
  };
}

/** Shows which rooms there are, on all nodes. Chat consumers tell the group of every change. */
export class LobbyConsumer extends Consumer<Lobby> {
  static override readonly groups = [LOBBY];

  override connect() {
    this.send("node", { name: this.options.node });
    this.send("rooms", { rooms: this.options.rooms.list() });
  }

  roomsChanged({ node, rooms }: Message) {
    if (node !== this.options.node) this.options.rooms.learn(String(node), rooms as readonly RoomSummary[]);
    this.send("rooms", { rooms: this.options.rooms.list() });
  }
}
