import { route } from "sluice";
import { ChatConsumer } from "../consumers/chat-consumer.ts";
import { LobbyConsumer } from "../consumers/lobby-consumer.ts";
import { RoomDirectory } from "../consumers/room-directory.ts";

/** The table of the demo; each call has rooms of its own. */
export function chatRoutes() {
  const rooms = new RoomDirectory();
  return [
    route("/lobby", LobbyConsumer, { name: "lobby", options: { rooms } }),
    route("/chat/:room", ChatConsumer, { name: "chat", options: { rooms } }),
  ];
}
