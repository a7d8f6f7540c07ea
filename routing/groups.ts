import type { GroupPolicies, GroupPolicy } from "sluice";

const DAY_MS = 24 * 3_600_000;

const room: GroupPolicy = {
  history: { size: 200, ttlMs: DAY_MS, newcomers: 200, clientsMayRead: true },
  presence: { graceMs: 5_000 }, // so that nobody sees a reload
};

/** What groups of the demo keep. The names of rooms may have dots, and `*` is what stands between two. */
export const groups: GroupPolicies = { "chat.*": room, "chat.*.*": room, "chat.*.*.*": room };
