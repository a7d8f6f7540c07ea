/** What the server says beyond the application's own events. What is not as it must be says nothing. */
import type { GapReason, Position } from "./types.ts";

/** Beside an event: where the client is when it has got it. */
export interface Mark extends Position {
  /** It is the so-manieth event of the handler of the message at that offset, which is not complete yet. */
  readonly part?: number;
  /** It has no payload; what stands in its place is none. */
  readonly isBare?: true;
}

/** Where a client was let in, and what the server signed for that. */
export interface Receipt {
  readonly since: number;
  readonly receipt: string;
}

const MAX_TEXT = 1_000;

/** Of `{ sluice: [group, epoch, offset, id, part?], bare? }`. */
export function markOf(value: unknown): Mark | undefined {
  const { sluice, bare } = fieldsOf(value);
  if (!Array.isArray(sluice) || sluice.length < 4 || sluice.length > 5) return undefined;
  const [group, epoch, offset, id, part] = sluice as readonly unknown[];
  const position = positionOf({ group, epoch, offset, id });
  if (position === undefined || (sluice.length === 5 && !isCount(part))) return undefined;
  return { ...position, ...(isCount(part) && { part }), ...(bare === true && { isBare: bare }) };
}

export function positionOf(value: unknown): Position | undefined {
  const { group, epoch, offset, id } = fieldsOf(value);
  return isText(group) && isText(epoch) && isCount(offset) && isText(id)
    ? { group, epoch, offset, id }
    : undefined;
}

export function receiptOf(value: unknown): Receipt | undefined {
  const { since, receipt } = fieldsOf(value);
  return isCount(since) && isText(receipt) ? { since, receipt } : undefined;
}

export function reasonOf(value: unknown): GapReason {
  return textOf(fieldsOf(value).reason) as GapReason;
}

export function textOf(value: unknown): string {
  return isText(value) ? value : "unknown";
}

export function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}

export function isText(value: unknown): value is string {
  return typeof value === "string" && value.length <= MAX_TEXT;
}

export function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
