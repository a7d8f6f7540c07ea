import type { Facts, GapReason } from "../facts.ts";
import type { Start } from "./entrance.ts";
import type { Member } from "./fan-out.ts";
import type { Position } from "./history-store.ts";
import type { Receipts } from "./receipts.ts";

export interface StayOptions {
  readonly receipts: Receipts;
  readonly facts: Facts;
}

/** A member of a group with history, from joining to leaving, and what its client is told of its position. */
export class Stay {
  readonly group: string;
  readonly member: Member;
  /** Where the log was when it joined, or went on elsewhere: whatever came later it is given, if it is kept. */
  joinedAt: Position;
  /** Aborts when it leaves. */
  readonly over = new AbortController();
  /** To be done when it has heard as much as the others. */
  whenHeld: (() => void) | undefined;
  readonly #options: StayOptions;
  #epoch: string;
  #since: number;

  constructor(
    group: string,
    member: Member,
    joinedAt: Position,
    { position, since }: Start,
    options: StayOptions,
  ) {
    this.group = group;
    this.member = member;
    this.joinedAt = joinedAt;
    this.#epoch = position.epoch;
    this.#since = since;
    this.#options = options;
  }

  /** The offset at which it was let in; it may read what came after. */
  get since(): number {
    return this.#since;
  }

  /** With the receipt that it shows when it comes back. */
  tellJoined(position: Position, recovered: boolean, isInTurn = false): void {
    const { group, member } = this;
    const since = this.#since;
    const receipt = this.#options.receipts.issue(group, member.user, this.#epoch, since);
    member.tellPosition("sluice.joined", { group, ...position, since, receipt, recovered }, isInTurn);
  }

  /** @param isInTurn - after what it was given before */
  tellGap(reason: GapReason, position: Position, isInTurn: boolean): void {
    const { group, member } = this;
    member.tellPosition("sluice.gap", { group, reason, ...position }, isInTurn);
    this.#options.facts.gap.announce({ group, channel: member.channel, reason });
  }

  /** A new receipt, for it was a member before: of another log, or of one that is shorter than it was. */
  restate(position: Position): void {
    this.#since = this.#epoch === position.epoch ? Math.min(this.#since, position.offset) : 0;
    this.#epoch = position.epoch;
    this.tellJoined(position, true, true);
  }
}
