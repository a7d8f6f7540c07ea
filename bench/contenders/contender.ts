/** What all contenders have in common: the loop that publishes. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { serve } from "../child.ts";
import type { ContenderVerbs, PublishOrder } from "../protocol.ts";

export interface Contender {
  /** Listens on a free port of 127.0.0.1 and puts everyone who comes to `NAMESPACE` into one group. */
  start(): Promise<{ readonly port: number }>;
  /** One message to the group. */
  publish(): unknown;
}

/** Makes this process a contender of the benchmark. */
export function contend(contender: Contender): void {
  const verbs: Omit<ContenderVerbs, "usage"> = {
    start: () => contender.start(),
    publish: (order) => publish(contender, order),
  };
  serve({ ...verbs });
}

async function publish(contender: Contender, { count, perTurn }: PublishOrder): Promise<void> {
  for (let sent = 1; sent <= count; sent += 1) {
    await contender.publish();
    if (sent % perTurn === 0) await nextTurn();
  }
}
