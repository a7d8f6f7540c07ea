import type { NewJob } from "sluice";

let numbers = 0;

/** One that can run at once, in the queue `q`, with a number of its own. */
export function job(more: Partial<NewJob> = {}): NewJob {
  numbers += 1;
  return {
    ...{ id: `q.${numbers}`, queue: "q", task: "t", body: "{}" },
    ...{ priority: 3, runAt: 0, keepMs: 60_000 },
    ...more,
  };
}
