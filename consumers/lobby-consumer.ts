import { Consumer } from "sluice";
import type { RoomDirectory, RoomSummary } from "./room-directory.ts";

export const LOBBY = "lobby";

export interface Lobby {
  options: { readonly rooms: RoomDirectory };
  sends: { rooms: { rooms: readonly RoomSummary[] } };
}

/** Shows which rooms there are. Chat consumers tell the group of every change. */
export class LobbyConsumer extends Consumer<Lobby> {
  static override readonly groups = [LOBBY];

  override connect() {
    this.send("rooms", { rooms: this.options.rooms.list() });
  }
}
