/** What travels with a job, as JSON: the broker does not look into it. */

import { isSealed, type TraceCarrier } from "../index.ts";

/** A version that a worker does not know is handed back, so that old and new workers run side by side. */
export const BODY_VERSION = 1;

export interface Body {
  readonly v: number;
  /** Left out: none, or those of the steps before it. */
  readonly args?: unknown;
  /**
   * The arguments are the result of the step before it, or the list of those of all; `outcomes`: also of
   * those that failed. Unless it takes outcomes it fails if one of the steps before it did.
   */
  readonly takes?: "result" | "results" | "outcomes";
  /** It has arguments of its own and yet waits for the steps before it. */
  readonly after?: true;
  /** Milliseconds since 1970. */
  readonly expiresAt?: number;
  readonly notify?: string;
  /** It has its start under the task's rate. */
  readonly reserved?: true;
  /** The trace in which it was enqueued, if somebody follows it. */
  readonly trace?: TraceCarrier;
  /** Since when no worker knew its task; milliseconds since 1970. */
  readonly strangeSince?: number;
}

/** What became of a step, for those after it. */
export type StepOutcome<Value = unknown> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly error: { readonly code: string; readonly message: string } };

/** Characters. One that is larger is not even looked at: nobody here makes such. */
const MAX_BODY = 67_108_864;

/** `unreadable`: it is no body at all; `strange`: of a version that is not known here. */
export function readBody(json: string): Body | "unreadable" | "strange" {
  if (json.length > MAX_BODY) return "unreadable";
  // Somebody with the keys may read it.
  if (isSealed(json)) return "strange";
  let body: unknown;
  try {
    body = JSON.parse(json);
  } catch {
    return "unreadable";
  }
  const { v } = (body ?? {}) as Partial<Body>;
  if (typeof v !== "number") return "unreadable";
  return v === BODY_VERSION ? (body as Body) : "strange";
}
