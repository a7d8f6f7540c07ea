/** What all contenders with two nodes have in common: the loop that publishes. */
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import { serve } from "../child.ts";
import { now } from "../clock.ts";
import type { NodeVerbs, RoomOrder } from "../protocol.ts";

export interface ChatNode {
  /** Listens on a free port of 127.0.0.1, as one of the nodes that share a Redis. */
  start(redisUrl: string): Promise<{ readonly port: number }>;
  /** One message to all who are in the room, on all nodes. */
  publish(room: number): unknown;
}

/** Makes this process one node of a contender. */
export function serveNode(node: ChatNode): void {
  let room = 0;

  async function publish({ count, perTurn, everyMs, rooms }: RoomOrder): Promise<readonly number[]> {
    const sentAt: number[] = [];
    const startedAt = performance.now();
    while (sentAt.length < count) {
      for (const end = Math.min(sentAt.length + perTurn, count); sentAt.length < end; ) {
        sentAt.push(now());
        room = (room + 1) % rooms;
        await node.publish(room);
      }
      const dueMs = (sentAt.length / perTurn) * everyMs - (performance.now() - startedAt);
      await (dueMs > 0 ? sleep(dueMs) : turn());
    }
    return sentAt;
  }

  const verbs: Omit<NodeVerbs, "usage"> = { start: ({ redisUrl }) => node.start(redisUrl), publish };
  serve({ ...verbs });
}
