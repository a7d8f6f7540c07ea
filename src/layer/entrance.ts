/** Where in a group's log a member comes in: as a newcomer, or where it was when its connection ended. */

import type { GapReason } from "../facts.ts";
import type { Claim } from "./claims.ts";
import type { Member } from "./fan-out.ts";
import { type GroupLog, isOther } from "./group-log.ts";
import type { Position } from "./history-store.ts";
import type { Receipts } from "./receipts.ts";

/** What a client says when it comes back. */
export type Return = Claim | "too_many" | undefined;

export interface Start {
  readonly position: Position;
  /** The offset at which it was let in. */
  readonly since: number;
  /** Whether it goes on where it was. */
  readonly isRecovered: boolean;
  /** Why it cannot, if it asked to; or why only in part. */
  readonly gap: GapReason | undefined;
}

/** Messages that one replay gives at most. */
const MAX_REPLAY = 1_000;

/** @param first - the first message for a newcomer, where that is not simply so many before the end */
export function startOf(
  log: GroupLog,
  member: Member,
  claim: Return,
  receipts: Receipts,
  first = log.position.offset - log.policy.newcomers + 1,
): Start {
  const { epoch, offset } = log.position;
  const oldest = Math.min(Math.max(first - 1, 0), offset);
  const newcomer = {
    position: oldest === offset ? log.position : { epoch, offset: oldest, id: "" },
    since: oldest,
    isRecovered: false,
  };
  if (claim === undefined) return { ...newcomer, gap: undefined };
  if (claim === "too_many") return { ...newcomer, gap: claim };
  const gap = refusalOf(claim, log, member, receipts);
  if (gap !== undefined) return { ...newcomer, gap };
  const { since, offset: from, id } = claim;
  if (offset - from <= MAX_REPLAY) {
    return { position: { epoch, offset: from, id }, since, isRecovered: true, gap: undefined };
  }
  const position = { epoch, offset: offset - MAX_REPLAY, id: "" };
  return { position, since, isRecovered: true, gap: "too_old" };
}

/** Whether it has heard more than the log of this node, from another node perhaps. */
export function isAhead(
  claim: Return,
  { group, position }: GroupLog,
  member: Member,
  receipts: Receipts,
): boolean {
  if (claim === undefined || claim === "too_many") return false;
  const { epoch, offset } = claim;
  return epoch === position.epoch && offset > position.offset && isHonest(claim, group, member, receipts);
}

/** Why a client cannot go on where it was. */
function refusalOf(claim: Claim, log: GroupLog, member: Member, receipts: Receipts): GapReason | undefined {
  const { epoch, offset } = claim;
  const { position } = log;
  if (!isHonest(claim, log.group, member, receipts)) return "receipt";
  // Let in before anything was ever said here: then it has missed the log from its beginning.
  const isFromBefore = epoch === "" && offset === 0;
  if (epoch !== position.epoch && !isFromBefore) return "epoch";
  if (offset > position.offset) return "ahead";
  return offset === position.offset && isOther(claim, position) ? "id" : undefined;
}

/** Whether the server let that user in there. */
function isHonest(
  { epoch, offset, since, receipt }: Claim,
  group: string,
  { user }: Member,
  receipts: Receipts,
): boolean {
  return offset >= since && receipts.isGenuine(receipt, group, user, epoch, since);
}
