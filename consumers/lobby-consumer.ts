import { Consumer, type Message } from "sluice";
import { STATISTICS } from "../routing/groups.ts";
import type { Statistics } from "../tasks/statistics.ts";
import type { RoomDirectory, RoomSummary } from "./room-directory.ts";

export const LOBBY = "lobby";
const LOOK_AGAIN_MS = 1_000;

export interface Lobby {
  options: {
    readonly rooms: RoomDirectory;
    /** What people call the node that serves them. */
    readonly node: string;
  };
  sends: {
    node: { name: string };
    rooms: { rooms: readonly RoomSummary[] };
    statistics: Statistics;
  };
}

/**
 * Shows which rooms there are, on all nodes. Chat consumers tell the group of every change. The last day's
 * figures come by themselves: their group has a history.
 */
export class LobbyConsumer extends Consumer<Lobby> {
  static override readonly groups = [LOBBY, STATISTICS];
  #shown = "";
  #timer: NodeJS.Timeout | undefined;

  override connect() {
    this.send("node", { name: this.options.node });
    this.#show();
    // Of a room that was left nobody says anything any more.
    this.#timer = setInterval(() => this.#show(), LOOK_AGAIN_MS).unref();
  }

  roomsOpen({ rooms }: Message) {
    this.options.rooms.learn(rooms as readonly RoomSummary[]);
    this.#show();
  }

  override disconnect() {
    clearInterval(this.#timer);
  }

  #show() {
    const rooms = this.options.rooms.list();
    const shown = JSON.stringify(rooms);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.send("rooms", { rooms });
  }
}
