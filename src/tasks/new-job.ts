import { InvalidMessage, isGroupName, MessageTooLarge, type NewJob, validate } from "../index.ts";
import { BODY_VERSION, type Body } from "./body.ts";
import { newJobId } from "./job-id.ts";
import { plainJson } from "./plain-json.ts";
import {
  type EnqueueOptions,
  isQueueName,
  priorities,
  priorityFault,
  queueFault,
  strangeOption,
  type Task,
} from "./task.ts";

const OPTIONS: readonly (keyof EnqueueOptions)[] = [
  ...(["delayMs", "at", "expiresAt", "queue", "priority", "key", "notify"] as const),
];
const MAX_KEY = 200;
const MAX_AHEAD_MS = 10 * 366 * 24 * 3_600_000;

export interface NewJobContext {
  readonly now: number;
  readonly maxArgsBytes: number;
  /** What its body says beside arguments and options. */
  readonly more: Partial<Body>;
  readonly children?: readonly NewJob[] | undefined;
}

/**
 * A run as the broker takes it.
 *
 * @param args - undefined: those of the steps before it
 * @throws InvalidMessage, Unencodable, MessageTooLarge
 */
export async function newJob(
  task: Task<never, unknown>,
  args: { readonly value: unknown } | undefined,
  options: EnqueueOptions,
  { now, maxArgsBytes, more, children }: NewJobContext,
): Promise<NewJob> {
  if (typeof options !== "object" || options === null) {
    throw new InvalidMessage("the options of a run must be an object, such as { delayMs: 60_000 }");
  }
  const { queue = task.settings.queue, priority = task.priority, key, notify } = options;
  const strange = strangeOption(options, OPTIONS, `a run of the task "${task.name}"`);
  if (strange !== undefined) throw new InvalidMessage(strange);
  const runAt = startOf(options, now);
  const expiresAt = options.expiresAt === undefined ? undefined : Number(options.expiresAt);
  if (!isQueueName(queue)) throw new InvalidMessage(queueFault(queue));
  if (!Object.hasOwn(priorities, priority)) throw new InvalidMessage(priorityFault(priority));
  if (key !== undefined && (typeof key !== "string" || key.length === 0 || key.length > MAX_KEY)) {
    throw new InvalidMessage(`a key is text of 1 to ${MAX_KEY} characters`);
  }
  if (notify !== undefined && !isGroupName(notify)) {
    throw new InvalidMessage("notify must be the name of a group");
  }
  if (expiresAt !== undefined && !(expiresAt > Math.max(runAt, now))) {
    throw new InvalidMessage(
      "expiresAt must be a time after the run's start: a Date, or milliseconds since 1970",
    );
  }
  const value =
    args === undefined || task.schema === undefined ? args?.value : await validate(task.schema, args.value);
  const json = plainJson(value, "args");
  const bytes = json === undefined ? 0 : Buffer.byteLength(json);
  if (bytes > maxArgsBytes) {
    throw new MessageTooLarge(
      `the arguments of a run may have ${maxArgsBytes} bytes as JSON (tasks.maxArgsBytes), these have ${bytes}; send a link to large things`,
    );
  }
  const body: Body = {
    v: BODY_VERSION,
    ...(expiresAt === undefined ? {} : { expiresAt }),
    ...(notify === undefined ? {} : { notify }),
    ...more,
  };
  return {
    id: newJobId(queue),
    queue,
    task: task.name,
    body: json === undefined ? JSON.stringify(body) : withArgs(body, json),
    priority: priorities[priority],
    runAt,
    keepMs: task.settings.keepMs,
    ...(key === undefined ? {} : { key: `${task.name} ${key}` }),
    ...(children === undefined ? {} : { children, onChildFailure: "run" as const }),
  };
}

/** Arguments may be large: they become JSON once. */
function withArgs(body: Body, json: string): string {
  return `{"args":${json},${JSON.stringify(body).slice(1)}`;
}

function startOf({ delayMs, at }: EnqueueOptions, now: number): number {
  if (delayMs === undefined && at === undefined) return 0;
  if (delayMs !== undefined && at !== undefined) throw new InvalidMessage("give delayMs or at, not both");
  const runAt = at === undefined ? now + (delayMs as number) : Number(at);
  if (delayMs !== undefined && !(delayMs >= 0)) {
    throw new InvalidMessage(`delayMs must be milliseconds from 0, not ${String(delayMs)}`);
  }
  if (!(runAt >= 0 && runAt - now <= MAX_AHEAD_MS)) {
    throw new InvalidMessage("a run starts within ten years: at is a Date, or milliseconds since 1970");
  }
  return Math.ceil(runAt);
}
