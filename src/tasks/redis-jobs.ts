/** What scripts answer, as jobs. */
import type { ChildOutcome, JobPriority, JobRecord, JobState } from "../index.ts";
import { brokerErrors } from "./job-trees.ts";

/** Of a job's hash. */
export type Fields = ReadonlyMap<string, string>;

/** What a worker was given, and if nothing: when to look again, if not before. */
export interface Taken {
  readonly id: string;
  readonly fields: Fields;
  readonly dueInMs: number | undefined;
}

export function takenOf(answer: unknown): Taken {
  const [id, fields, dueInMs] = listOf(answer);
  if (typeof id !== "string" || typeof dueInMs !== "number") throw strange();
  return { id, fields: fieldsOf(fields), dueInMs: dueInMs < 0 ? undefined : dueInMs };
}

export function recordOf(queue: string, id: string, state: JobState, fields: Fields): JobRecord {
  const text = (name: string) => fields.get(name) ?? "";
  const number = (name: string) => Number(fields.get(name) ?? 0);
  const [progress, result, error, children] = ["progress", "returnvalue", "failedReason", "kids"].map(
    (name) => fields.get(name),
  );
  const isEnded = state === "done" || state === "failed";
  return {
    ...{ id, queue, task: text("name"), body: text("data"), state, attempt: number("ats") },
    ...{ isCancelled: fields.has("cx"), priority: number("priority") as JobPriority },
    ...{ addedAt: number("timestamp"), runAt: number("at") },
    ...(progress === undefined ? {} : { progress }),
    ...(state === "done" && result !== undefined ? { result } : {}),
    ...(state !== "done" && error !== undefined ? { error } : {}),
    ...(fields.has("processedOn") ? { startedAt: number("processedOn") } : {}),
    ...(isEnded ? { endedAt: number("finishedOn") } : {}),
    ...(children === undefined ? {} : { children: childrenOf(children) }),
  };
}

/** @param answer - of the script OUTCOMES */
export function outcomesOf(children: readonly string[], answer: unknown): readonly ChildOutcome[] {
  const [results, errors] = listOf(answer).map((fields) => {
    const byId = [...fieldsOf(fields)].map(
      ([key, value]) => [key.slice(key.lastIndexOf(":") + 1), value] as const,
    );
    return new Map(byId);
  });
  return children.map((id) => {
    const result = results?.get(id);
    return result === undefined ? { id, error: errors?.get(id) ?? brokerErrors.removed } : { id, result };
  });
}

export function isState(value: unknown): value is JobState {
  return typeof value === "string" && STATES.has(value);
}

const STATES = new Set<string>([
  "waiting",
  "delayed",
  "blocked",
  "active",
  "done",
  "failed",
] satisfies JobState[]);

export function fieldsOf(value: unknown): Fields {
  const list = textsOf(value);
  const fields = new Map<string, string>();
  for (let i = 0; i + 1 < list.length; i += 2) fields.set(list[i] ?? "", list[i + 1] ?? "");
  return fields;
}

export function textsOf(value: unknown): readonly string[] {
  const list = listOf(value);
  if (!list.every((part) => typeof part === "string")) throw strange();
  return list as string[];
}

export function listOf(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw strange();
  return value;
}

export function strange(): Error {
  return new Error("Redis holds something else than jobs; does another program write below this prefix?");
}

function childrenOf(json: string): readonly string[] {
  return textsOf(JSON.parse(json));
}
