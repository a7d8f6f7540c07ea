import type { GroupPolicies, GroupPolicy } from "sluice";

const DAY_MS = 24 * 3_600_000;

/** What is said in a room, and who is in it. */
export const roomGroup = (room: string) => `chat.${room}`;
/** All tabs of one person, in whichever rooms. */
export const userGroup = (user: string) => `users.${user}`;
/** The transcript that a run of `exportRoom` has made: the history is the shelf it lies on. */
export const transcriptGroup = (run: string) => `transcripts.${run}`;
/** What all nodes have written down of a day (`2026-11-21`). */
export const diaryGroup = (day: string) => `diary.${day}`;
/** The figures of the last day that was counted. */
export const STATISTICS = "statistics";

/** How long an export can be fetched, and is shown to who comes back. */
export const TRANSCRIPT_MS = 15 * 60_000;
/** So many messages a room keeps. */
export const ROOM_SIZE = 200;

const room: GroupPolicy = {
  history: { size: ROOM_SIZE, ttlMs: DAY_MS, newcomers: ROOM_SIZE, clientsMayRead: true },
  presence: { graceMs: 5_000 }, // so that nobody sees a reload
};

/** What groups of the demo keep. The names of rooms may have dots, and `*` is what stands between two. */
export const groups: GroupPolicies = {
  "chat.*": room,
  "chat.*.*": room,
  "chat.*.*.*": room,
  // A tab that is opened, or loaded anew, is told of the last one.
  "users.*": { history: { size: 1, ttlMs: TRANSCRIPT_MS, newcomers: 1, conflate: true } },
  "transcripts.*.*": { history: { size: 1, ttlMs: TRANSCRIPT_MS, conflate: true } },
  "diary.*": { history: { size: 2_000, ttlMs: 2 * DAY_MS } },
  [STATISTICS]: { history: { size: 1, ttlMs: 7 * DAY_MS, newcomers: 1, conflate: true } },
};
