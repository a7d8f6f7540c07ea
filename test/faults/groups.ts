/** The groups of a run, and what they keep; nodes and judges go by the same table. */
import type { GroupPolicies } from "sluice";
import type { GroupKind } from "./records.ts";

const MINUTES = 60_000;
const NEWCOMERS = 5;
/** So that some who are cut are back before anybody is told. */
const GRACE_MS = 800;

export const POLICIES = {
  "chat.*": { history: { size: 5_000, ttlMs: 10 * MINUTES }, presence: true },
  // A newcomer is given the last few.
  "news.*": {
    history: { size: 5_000, ttlMs: 10 * MINUTES, newcomers: NEWCOMERS },
    presence: { graceMs: GRACE_MS },
  },
  // So short that who is away for a moment has a gap.
  "short.*": { history: { size: 10, ttlMs: 10 * MINUTES }, presence: true },
  "brief.*": { history: { size: 100, ttlMs: 500 } },
  "state.*": { history: { size: 1, ttlMs: 10 * MINUTES, conflate: true } },
  "open.a": { presence: true },
  "open.b": { presence: { graceMs: GRACE_MS } },
} satisfies GroupPolicies;

/** More often named, more often used. */
export const GROUPS: readonly string[] = [
  ...["chat.a", "chat.a", "chat.b", "chat.b", "news.a", "short.a", "brief.a", "state.a"],
  ...["open.a", "open.a", "open.b"],
];

export function kindOf(group: string): GroupKind {
  const is = (...kinds: readonly string[]) => kinds.includes(group.split(".", 1)[0] ?? "");
  return {
    history: !is("open"),
    conflate: is("state"),
    newcomers: is("news") ? NEWCOMERS : 0,
    isBrief: is("brief"),
    presence: !is("brief", "state"),
  };
}
