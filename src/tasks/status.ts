import type { JobRecord } from "../index.ts";
import { readFault } from "./errors.ts";

/** Where a run is on its way. */
export type TaskState =
  /** It waits for a worker, for its time, or for the steps before it. */
  | "queued"
  | "running"
  /** It failed and waits for its next attempt. */
  | "retrying"
  | "succeeded"
  | "failed"
  | "cancelled"
  /** Its time was over before it began. */
  | "expired";

/** How far a run is. */
export interface TaskProgress {
  readonly done: number;
  /** 0: not known. */
  readonly total: number;
  readonly note?: string;
}

/** A run as it is seen from outside; plain JSON. */
export interface TaskStatus {
  readonly id: string;
  readonly task: string;
  readonly state: TaskState;
  /** 0 before the first. */
  readonly attempt: number;
  /** Of what is told about one attempt: a later one is newer. An attempt begins anew. */
  readonly step: number;
  readonly progress?: TaskProgress;
  /** Of one that succeeded. */
  readonly result?: unknown;
  /** Of one that ended otherwise, or waits for another attempt. */
  readonly error?: { readonly code: string; readonly message: string };
  /** Milliseconds since 1970. */
  readonly at: number;
}

/** What `setProgress` keeps. */
export interface KeptProgress extends TaskProgress {
  readonly attempt: number;
  readonly step: number;
  /** When it was told: milliseconds since 1970. */
  readonly at: number;
}

/** Characters. */
export const MAX_NOTE = 200;

/** After everything else of its attempt. */
export const LAST_STEP = Number.MAX_SAFE_INTEGER;

/** Whether the run has ended, in whatever way: nothing more happens to it. */
export function isOver({ state }: TaskStatus): boolean {
  return state === "succeeded" || state === "failed" || state === "cancelled" || state === "expired";
}

export function statusOf(record: JobRecord): TaskStatus {
  const { id, task, attempt } = record;
  const kept = readProgress(record.progress);
  const base = { id, task, attempt };
  const progress = kept === undefined ? {} : { progress: progressOf(kept) };
  const fault = record.error === undefined ? undefined : readFault(record.error);
  const error = fault && { code: fault.code, message: fault.message };
  if (record.state === "done") {
    const end = { ...base, step: LAST_STEP, ...progress, at: record.endedAt ?? record.addedAt };
    try {
      return { ...end, state: "succeeded", result: JSON.parse(record.result ?? "null") as unknown };
    } catch {
      const error = { code: "unreadable", message: "what the run returned cannot be read" };
      return { ...end, state: "failed", error };
    }
  }
  if (record.state === "failed") {
    const state =
      error?.code === "cancelled" ? "cancelled" : error?.code === "expired" ? "expired" : "failed";
    const at = record.endedAt ?? record.addedAt;
    return { ...base, state, step: LAST_STEP, ...progress, ...(error && { error }), at };
  }
  if (record.state === "active") {
    // What an attempt before it told is over.
    const isOwn = kept?.attempt === attempt;
    if (isOwn) return { ...base, state: "running", step: kept.step, ...progress, at: kept.at };
    return { ...base, state: "running", step: 0, at: record.startedAt ?? record.addedAt };
  }
  if (attempt > 0) {
    return { ...base, state: "retrying", step: LAST_STEP - 1, ...(error && { error }), at: record.runAt };
  }
  return { ...base, state: "queued", step: 0, at: record.addedAt };
}

/** What `setProgress` kept since a run was seen; the same if that cannot be read. */
export function withProgress(seen: TaskStatus, json: string): TaskStatus {
  const kept = readProgress(json);
  if (kept === undefined) return seen;
  const { id, task } = seen;
  const { attempt, step, at } = kept;
  return { id, task, state: "running", attempt, step, progress: progressOf(kept), at };
}

/** What another process kept, whatever it is. */
export function readProgress(json: string | undefined): KeptProgress | undefined {
  if (json === undefined) return undefined;
  try {
    const { done, total, note, attempt, step, at } = JSON.parse(json) as Record<string, unknown>;
    const numbers = [done, total, attempt, step, at];
    if (!numbers.every((value) => typeof value === "number") || !isNote(note)) return undefined;
    return { done, total, attempt, step, at, ...(note === undefined ? {} : { note }) } as KeptProgress;
  } catch {
    return undefined;
  }
}

function isNote(note: unknown): note is string | undefined {
  return note === undefined || (typeof note === "string" && note.length <= MAX_NOTE);
}

/** Without what is only kept of it. */
export function progressOf({ done, total, note }: TaskProgress): TaskProgress {
  return { done, total, ...(note === undefined ? {} : { note }) };
}
