/** How what became of events is told over HTTP. */
import type { Response } from "express";
import { told } from "./refused.ts";

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Whether a retry with the same `Idempotency-Key` gets it. */
  readonly isKept: boolean;
}

/** What became of one event. */
export type Outcome =
  | { readonly id?: string; readonly accepted: true; readonly duplicate?: true }
  | { readonly id?: string; readonly accepted: false; readonly error: unknown };

const DEGRADED = { degraded: true };

/**
 * @param isDegraded - whether other nodes cannot be reached at present
 * @returns 202, or what the refusal says
 */
export function eventAnswer(outcome: Outcome, isDegraded: boolean): Answer {
  if (!outcome.accepted) return refusalAnswer(outcome.error);
  const body = JSON.stringify({ ...outcome, ...(isDegraded ? DEGRADED : {}) });
  return { status: 202, headers: {}, body, isKept: true };
}

/** 202 if all were accepted, what all say if all were refused for one reason, otherwise 207. */
export function batchAnswer(outcomes: readonly Outcome[], isDegraded: boolean): Answer {
  const refusals = outcomes.flatMap((outcome) => (outcome.accepted ? [] : [told(outcome.error)]));
  const accepted = outcomes.length - refusals.length;
  const results = outcomes.map((outcome) => {
    if (outcome.accepted) return outcome;
    const { error, ...rest } = outcome;
    const { status, error: report } = told(error);
    return { ...rest, status, error: report };
  });
  const counts = { accepted, refused: refusals.length, ...(isDegraded ? DEGRADED : {}), results };
  const [first] = refusals;
  const isOneReason =
    first !== undefined && accepted === 0 && refusals.every(({ error }) => error.code === first.error.code);
  if (isOneReason) {
    const { status, headers, error } = first;
    return { status, headers, body: JSON.stringify({ error, ...counts }), isKept: false };
  }
  const status = first === undefined ? 202 : 207;
  return { status, headers: {}, body: JSON.stringify(counts), isKept: accepted > 0 };
}

export function refusalAnswer(error: unknown): Answer {
  const { status, headers, error: report } = told(error);
  return { status, headers, body: JSON.stringify({ error: report }), isKept: false };
}

export function send(response: Response, { status, headers, body }: Answer): void {
  if (response.headersSent || response.destroyed) return;
  response
    .status(status)
    .set({ "Content-Type": "application/json", "Cache-Control": "no-store", ...headers })
    .end(body);
}
