/** What travels with a job, as JSON: the broker does not look into it. */

import { isSealed, Unopened } from "../index.ts";

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
  /** Since when no worker knew its task; milliseconds since 1970. */
  readonly strangeSince?: number;
}

/** What became of a step, for those after it. */
export type StepOutcome<Value = unknown> =
  | { readonly ok: true; readonly value: Value }
  | { readonly ok: false; readonly error: { readonly code: string; readonly message: string } };

/** Undefined: not of a version that is known here. @throws if it is no body at all */
export function readBody(json: string): Body | undefined {
  if (isSealed(json)) throw new Unopened("no-keys");
  const body: unknown = JSON.parse(json);
  if (typeof body !== "object" || body === null) throw new Error("the body of a job must be an object");
  return (body as Body).v === BODY_VERSION ? (body as Body) : undefined;
}
