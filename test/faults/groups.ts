/** The groups of a run, and what they keep; nodes and judges go by the same table. */
import type { GroupPolicies } from "sluice";
import type { GroupKind } from "./records.ts";

const MINUTES = 60_000;

export const POLICIES = {
  "chat.*": { history: { size: 5_000, ttlMs: 10 * MINUTES } },
  // A newcomer is given the last few.
  "news.*": { history: { size: 5_000, ttlMs: 10 * MINUTES, newcomers: 5 } },
  // So short that who is away for a moment has a gap.
  "short.*": { history: { size: 10, ttlMs: 10 * MINUTES } },
  "brief.*": { history: { size: 100, ttlMs: 500 } },
  "state.*": { history: { size: 1, ttlMs: 10 * MINUTES, conflate: true } },
} satisfies GroupPolicies;

/** More often named, more often used. */
export const GROUPS: readonly string[] = [
  ...["chat.a", "chat.a", "chat.b", "chat.b", "news.a", "short.a", "brief.a", "state.a"],
  ...["open.a", "open.a", "open.b"],
];

export function kindOf(group: string): GroupKind {
  const history = !group.startsWith("open.");
  return { history, conflate: group.startsWith("state."), isBrief: group.startsWith("brief.") };
}
