/** What the cases of the exam of task brokers have in common. */
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import type {
  Consumption,
  JobHandler,
  JobOutcome,
  JobRecord,
  JobState,
  NewJob,
  TaskBroker,
} from "../index.ts";

export const KEEP_MS = 60_000;
export const done = (result = "null"): JobOutcome => ({ kind: "done", result });
export const failed = (error = '{"code":"x"}'): JobOutcome => ({ kind: "failed", error });

/** One case's broker, and what cases do with it again and again. */
export class Scene {
  readonly broker: TaskBroker;
  readonly stalled: string[] = [];
  readonly faults: unknown[] = [];

  constructor(broker: TaskBroker) {
    this.broker = broker;
  }

  open(): Promise<void> {
    return this.broker.open({
      down() {},
      up() {},
      failed: (error) => this.faults.push(error),
      stalled: (id) => this.stalled.push(id),
    });
  }

  add(more: Partial<NewJob> = {}): Promise<string> {
    return this.broker.add(job(more)).then(({ id }) => id);
  }

  consume(handler: JobHandler, queue = "q", concurrency = 1): Promise<Consumption> {
    return this.broker.consume(queue, { concurrency }, handler);
  }

  /** When it has ended. */
  async end(id: string): Promise<JobRecord> {
    await until(async () => {
      const found = await this.broker.find(id);
      return found?.state === "done" || found?.state === "failed";
    });
    return (await this.broker.find(id)) as JobRecord;
  }

  async state(id: string): Promise<JobState | undefined> {
    return (await this.broker.find(id))?.state;
  }

  /** Of all that wait, by what they say, when a single worker takes them in turn. */
  async order(count: number, queue = "q"): Promise<string[]> {
    const bodies: string[] = [];
    const consumption = await this.consume(async ({ body }) => {
      bodies.push(body);
      return done();
    }, queue);
    await until(() => bodies.length === count);
    await consumption.stop();
    return bodies;
  }
}

export function job(more: Partial<NewJob> = {}): NewJob {
  const queue = more.queue ?? "q";
  return {
    id: `${queue}.${randomBytes(12).toString("base64url").replace(/^-/, "_")}`,
    ...{ queue, task: "t", body: "{}", priority: 3, runAt: 0, keepMs: KEEP_MS },
    ...more,
  };
}

/** Notes a case of the exam. */
export type Prove = (name: string, run: (scene: Scene, join: () => Promise<Scene>) => Promise<void>) => void;

/** A job that somebody has taken and ended, so that whoever was to take something has had the time. */
export async function proof(scene: Scene): Promise<string> {
  const queue = `proof-${randomBytes(4).toString("hex")}`;
  await scene.consume(async () => done(), queue);
  await scene.end(await scene.add({ queue }));
  return scene.add({ queue, runAt: Date.now() + 60 });
}

/** Closed until it is opened. */
export class Gate {
  open = () => {};
  readonly opened = new Promise<void>((resolve) => {
    this.open = resolve;
  });
}

export function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve()));
}

export async function until(holds: () => boolean | Promise<boolean>, timeoutMs = 15_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await holds())) {
    assert.ok(performance.now() < deadline, `within ${timeoutMs} ms it never came true: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
