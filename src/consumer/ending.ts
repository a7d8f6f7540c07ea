/** How a connection ends: what still runs is waited for, and `disconnect` runs, whatever stands around it. */
import type { Soon } from "../soon.ts";
import type { DisconnectReason } from "../types.ts";
import type { Consumer } from "./consumer.ts";
import { isThenable } from "./handlers.ts";
import type { Staying } from "./staying.ts";

/** Waits for work at most so long each time, and no longer once it is given up. */
export class Patience {
  #isGivenUp = false;
  #giveUp: (() => void) | undefined;

  /** Whether the work ended in time. It must not reject. */
  async with(work: Promise<unknown>, timeoutMs: number): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const isGivenUp = new Promise<boolean>((resolve) => {
      this.#giveUp = () => resolve(false);
      timer = setTimeout(this.#giveUp, timeoutMs);
    });
    if (this.#isGivenUp) this.#giveUp?.();
    const isDone = await Promise.race([work.then(() => true), isGivenUp]);
    clearTimeout(timer);
    return isDone;
  }

  giveUp(): void {
    this.#isGivenUp = true;
    this.#giveUp?.();
  }
}

/**
 * Runs `disconnect` within the middleware that stays, and also where that does not let it.
 *
 * @param failed - hears what is thrown; this function itself never throws or rejects
 */
export function disconnect(
  consumer: Consumer,
  reason: DisconnectReason,
  staying: Staying | undefined,
  failed: (error: unknown) => void,
): Soon<void> {
  if (staying?.isAround) return disconnectWithin(consumer, reason, staying, failed);
  try {
    const work = consumer.disconnect(reason);
    if (!isThenable(work)) return undefined;
    return Promise.resolve(work).then(nothing, failed);
  } catch (error) {
    return failed(error);
  }
}

async function disconnectWithin(
  consumer: Consumer,
  reason: DisconnectReason,
  staying: Staying,
  failed: (error: unknown) => void,
): Promise<void> {
  let hasRun = false;
  const run = () => {
    hasRun = true;
    return consumer.disconnect(reason);
  };
  await attempt(() => staying.around("disconnect", run), failed);
  if (!hasRun) await attempt(run, failed);
}

async function attempt(work: () => unknown, failed: (error: unknown) => void): Promise<void> {
  try {
    await work();
  } catch (error) {
    failed(error);
  }
}

function nothing(): void {}
