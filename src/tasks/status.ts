import type { JobRecord } from "../index.ts";
import { readFault } from "./errors.ts";

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
}

/** After everything else of its attempt. */
export const LAST_STEP = Number.MAX_SAFE_INTEGER;

export function isOver({ state }: TaskStatus): boolean {
  return state === "succeeded" || state === "failed" || state === "cancelled" || state === "expired";
}

/** Whether the first was told of before the second. */
export function isOlder(a: TaskStatus, b: TaskStatus): boolean {
  return a.attempt === b.attempt ? a.step < b.step : a.attempt < b.attempt;
}

export function statusOf(record: JobRecord): TaskStatus {
  const { id, task, attempt } = record;
  const kept = readProgress(record.progress);
  const base = { id, task, attempt };
  const progress = kept === undefined ? {} : { progress: progressOf(kept) };
  const fault = record.error === undefined ? undefined : readFault(record.error);
  const error = fault && { code: fault.code, message: fault.message };
  if (record.state === "done") {
    const result: unknown = record.result === undefined ? undefined : JSON.parse(record.result);
    const at = record.endedAt ?? record.addedAt;
    return { ...base, state: "succeeded", step: LAST_STEP, ...progress, result, at };
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
    const at = record.startedAt ?? record.addedAt;
    return {
      ...base,
      state: "running",
      step: isOwn ? kept.step : 0,
      ...(isOwn ? progress : {}),
      at,
    };
  }
  if (attempt > 0) {
    return { ...base, state: "retrying", step: LAST_STEP - 1, ...(error && { error }), at: record.runAt };
  }
  return { ...base, state: "queued", step: 0, at: record.addedAt };
}

function readProgress(json: string | undefined): KeptProgress | undefined {
  if (json === undefined) return undefined;
  try {
    const kept = JSON.parse(json) as KeptProgress | null;
    return typeof kept?.done === "number" && typeof kept.step === "number" ? kept : undefined;
  } catch {
    return undefined;
  }
}

/** Without what is only kept of it. */
export function progressOf({ done, total, note }: TaskProgress): TaskProgress {
  return { done, total, ...(note === undefined ? {} : { note }) };
}
