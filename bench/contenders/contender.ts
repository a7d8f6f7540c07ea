/** What all contenders have in common: the loop that publishes. */
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import { serve, usage } from "../child.ts";
import { now } from "../clock.ts";
import { type Payload, payload, roomOf } from "../messages.ts";
import { beginProfile, endProfile } from "../profile.ts";
import type { PublishOrder, ServerSettings, ServerVerbs } from "../protocol.ts";

export interface Contender {
  /** Listens on a free port of 127.0.0.1. */
  start(settings: ServerSettings): Promise<{ readonly port: number }>;
  /** One message to all who are in the room, on all nodes. */
  publish(room: number, message: Payload): unknown;
}

/** Makes this process a contender of the benchmark, or one of its nodes. */
export function contend(contender: Contender): void {
  async function publish({ count, perTurn, everyMs, rooms }: PublishOrder): Promise<readonly number[]> {
    const sentAt: number[] = [];
    const startedAt = performance.now();
    while (sentAt.length < count) {
      const underWay: unknown[] = [];
      for (const end = Math.min(sentAt.length + perTurn, count); sentAt.length < end; ) {
        const number = sentAt.length;
        sentAt.push(now());
        underWay.push(contender.publish(roomOf(number, rooms), payload(number)));
      }
      await Promise.all(underWay);
      const dueMs = (sentAt.length / perTurn) * everyMs - (performance.now() - startedAt);
      await (dueMs > 0 ? sleep(dueMs) : turn());
    }
    return sentAt;
  }

  const verbs: Omit<ServerVerbs, "usage"> = {
    start: (settings) => contender.start(settings),
    publish,
    beginProfile,
    endProfile,
    async collect() {
      for (let i = 0; i < 3; i += 1) {
        globalThis.gc?.();
        await turn();
      }
      return usage();
    },
  };
  serve({ ...verbs });
}
