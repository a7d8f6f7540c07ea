import { setTimeout as sleep } from "node:timers/promises";
import type { Usage } from "./protocol.ts";

const WINDOW_MS = 100;
/** Of one core, within the window. */
const MOST_BUSY = 0.03;
const PATIENCE_MS = 30_000;

interface Measurable {
  readonly name: string;
  call(verb: "usage"): Promise<Usage>;
}

/** Waits until none of the processes does anything worth mentioning. */
export async function untilQuiet(processes: readonly Measurable[]): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  for (;;) {
    const startedAt = performance.now();
    const before = await usages(processes);
    await sleep(WINDOW_MS);
    const after = await usages(processes);
    const mostUs = (performance.now() - startedAt) * 1000 * MOST_BUSY;
    const busy = processes.filter((_, i) => (after[i] ?? 0) - (before[i] ?? 0) > mostUs);
    if (busy.length === 0) return;
    if (performance.now() > deadline) {
      throw new Error(`still busy with nothing to do: ${busy.map(({ name }) => name).join(", ")}`);
    }
  }
}

function usages(processes: readonly Measurable[]): Promise<number[]> {
  return Promise.all(processes.map(async (child) => (await child.call("usage")).cpuUs));
}
