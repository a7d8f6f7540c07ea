import { type GroupPolicies, route } from "sluice";
import { RoomConsumer } from "./consumers/room-consumer.ts";

/** Which consumer serves which namespace: io("/rooms/lobby") in the browser. */
export const routes = [route("/rooms/:room(slug)", RoomConsumer)];

/** What groups keep: who comes to a room, or comes back, is given its last messages. */
export const groups: GroupPolicies = {
  "rooms.*": { history: { size: 100, ttlMs: 24 * 3_600_000, newcomers: 50 } },
};
