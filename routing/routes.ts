import { hostname } from "node:os";
import { route } from "sluice";
import { ChatConsumer } from "../consumers/chat-consumer.ts";
import type { Diary } from "../consumers/diary.ts";
import { LobbyConsumer } from "../consumers/lobby-consumer.ts";
import { RoomDirectory } from "../consumers/room-directory.ts";
import { guest } from "./guests.ts";

/**
 * The table of the demo; each call has rooms of its own.
 *
 * @param options - `node`: what the pages call this node; by default process and host (in a container
 * its id), the process first, as a phone may have no room for all of it; `diary`: counts what is said, where
 * there are tasks
 */
export function chatRoutes({
  node = `${process.pid}@${hostname()}`,
  diary,
}: {
  readonly node?: string;
  readonly diary?: Diary;
} = {}) {
  const options = { rooms: new RoomDirectory(), node, diary };
  return [
    route("/lobby", LobbyConsumer, { name: "lobby", options }),
    route("/chat/:room", ChatConsumer, { name: "chat", options, middleware: [guest] }),
  ];
}
