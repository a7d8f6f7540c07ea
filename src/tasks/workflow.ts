/**
 * Workflows: tasks that wait for others. Each step is an ordinary run of its own, in its own queue, with its
 * own retries; the broker knows which of them must end first.
 */
import { InvalidMessage, type NewJob } from "../index.ts";
import type { Body } from "./body.ts";
import type { TaskHandle } from "./handle.ts";
import { type EnqueueOptions, type Step, Task } from "./task.ts";

/** What a workflow is built on: the `Tasks` of an application. */
export interface WorkflowHost {
  job(
    task: Task<never, unknown>,
    args: { readonly value: unknown } | undefined,
    options: EnqueueOptions,
    more: Partial<Body>,
    children?: readonly NewJob[],
  ): Promise<NewJob>;
  add<Result>(job: NewJob): Promise<TaskHandle<Result>>;
}

/** `fail`: the whole fails if one of them does, once all have ended. `collect`: what became of each is handed over. */
export type FailurePolicy = "fail" | "collect";

const MAX_STEPS = 1_000;

/** Ends a group that has no task of its own to end it. */
export const gather: Task<unknown, unknown> = new Task("sluice.gather", {}, (outcomes: unknown) => outcomes);

export async function chain<Result>(host: WorkflowHost, steps: readonly Step[]): Promise<TaskHandle<Result>> {
  checkCount(steps, "a chain");
  let job: NewJob | undefined;
  for (const step of steps) job = await jobOf(host, step, job === undefined ? undefined : [job], "result");
  return host.add<Result>(job as NewJob);
}

/** @param last - undefined: the list itself is the result */
export async function chord<Result>(
  host: WorkflowHost,
  steps: readonly Step[],
  last: Step | undefined,
  onFailure: FailurePolicy,
): Promise<TaskHandle<Result>> {
  checkCount(steps, "a group");
  const [first] = steps as readonly [Step, ...Step[]];
  const queue = first.options.queue ?? first.task.settings.queue;
  const children: NewJob[] = [];
  for (const step of steps) children.push(await jobOf(host, step, undefined, "result"));
  const takes = onFailure === "fail" ? "results" : "outcomes";
  return host.add<Result>(await jobOf(host, last ?? gather.step({ queue }), children, takes));
}

async function jobOf(
  host: WorkflowHost,
  { task, args, options }: Step,
  children: readonly NewJob[] | undefined,
  takes: NonNullable<Body["takes"]>,
): Promise<NewJob> {
  if (options.key !== undefined) {
    throw new InvalidMessage(
      `a step of a workflow has no key ("${task.name}"): it cannot be merged with another`,
    );
  }
  if (args === undefined && children === undefined) {
    throw new InvalidMessage(
      `nothing comes before the step "${task.name}": give it arguments, by ${task.name}.with(...)`,
    );
  }
  if (children === undefined) return host.job(task, args, options, {});
  const more: Partial<Body> = args === undefined ? { takes } : { after: true };
  return host.job(task, args, options, more, children);
}

function checkCount(steps: readonly Step[], what: string): void {
  if (steps.length >= 1 && steps.length <= MAX_STEPS) return;
  throw new InvalidMessage(`${what} has 1 to ${MAX_STEPS} steps, not ${steps.length}`);
}
