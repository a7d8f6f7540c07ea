import { type Acknowledge, Answers } from "./answers.ts";
import { type Mark, positionOf, type Receipt, receiptOf } from "./marks.ts";
import type { Position } from "./types.ts";

/** What is handed over in a handshake; more do not count. */
const MAX_HANDED_OVER = 100;
/** The least recently used are forgotten. */
const MAX_KEPT = 1_000;
/** Messages of one group whose handlers have begun to send and have not ended. */
const MAX_UNFINISHED = 100;

export type Claim = Position & Receipt;

interface Unfinished {
  part: number;
  readonly answers: Answers;
}

interface Place extends Receipt {
  position: Position;
  /** By offset. */
  readonly unfinished: Map<number, Unfinished>;
}

/** Where this client is in each group that keeps history; the last used stand last. */
export class Positions {
  readonly #places = new Map<string, Place>();
  /** Of these groups, those of which the server was told in this connection. */
  #handedOver = new Set<string>();

  /** @param claims - what was kept, from whoever kept it */
  constructor(claims: unknown = []) {
    if (!Array.isArray(claims)) return;
    for (const claim of claims.slice(-MAX_HANDED_OVER) as readonly unknown[]) {
      const position = positionOf(claim);
      const receipt = receiptOf(claim);
      if (position !== undefined && receipt !== undefined) this.#enter(position, receipt);
    }
  }

  get all(): readonly Position[] {
    return [...this.#places.values()].map(({ position }) => position);
  }

  of(group: string): Position | undefined {
    return this.#places.get(group)?.position;
  }

  /** The last used. */
  get claims(): readonly Claim[] {
    const last = [...this.#places.values()].slice(-MAX_HANDED_OVER);
    return last.map(({ position, since, receipt }) => ({ ...position, since, receipt }));
  }

  /** For a handshake. */
  handOver(): readonly Claim[] {
    const claims = this.claims;
    this.#handedOver = new Set(claims.map(({ group }) => group));
    return claims;
  }

  /** True if the server could not know that the client was elsewhere: this position was one too many. */
  join(position: Position, receipt: Receipt, isRecovered: boolean): boolean {
    const { group } = position;
    const before = this.#places.get(group);
    const isSurplus = before !== undefined && !isRecovered && !this.#handedOver.has(group);
    this.#handedOver.add(group);
    const goesOn = isRecovered && before?.position.epoch === position.epoch;
    this.#enter(position, receipt, goesOn ? before.unfinished : undefined);
    return isSurplus && !isSame(before.position, position);
  }

  /** An event came: what its listeners get for an acknowledgement, or false if they had it before. */
  hear(mark: Mark, acknowledge: Acknowledge | undefined): { acknowledge: Acknowledge | undefined } | false {
    const { group, part } = mark;
    const place = this.#places.get(group);
    if (place === undefined) return { acknowledge };
    const isNewer = mark.epoch !== place.position.epoch || mark.offset > place.position.offset;
    if (part !== undefined && isNewer) return hearPart(place, mark.offset, part, acknowledge);
    if (isNewer) this.advance(mark);
    return isNewer && { acknowledge };
  }

  /** The client is there now. */
  advance({ group, epoch, offset, id }: Position): void {
    const place = this.#places.get(group);
    if (place === undefined) return;
    const { position, unfinished } = place;
    if (epoch === position.epoch && offset <= position.offset) return;
    for (const begun of unfinished.keys()) {
      if (begun <= offset || epoch !== position.epoch) unfinished.delete(begun);
    }
    place.position = { group, epoch, offset, id };
    this.#touch(group, place);
  }

  /** What came before cannot be had: on from there, wherever that is. */
  jump(position: Position): void {
    const place = this.#places.get(position.group);
    if (place !== undefined) this.#enter(position, place);
  }

  /** One group, or all. */
  forget(group?: string): void {
    if (group === undefined) {
      this.#places.clear();
      this.#handedOver.clear();
    } else {
      this.#places.delete(group);
      this.#handedOver.delete(group);
    }
  }

  #enter(position: Position, { since, receipt }: Receipt, unfinished = new Map<number, Unfinished>()): void {
    this.#touch(position.group, { position, since, receipt, unfinished });
    if (this.#places.size <= MAX_KEPT) return;
    for (const oldest of this.#places.keys()) return void this.forget(oldest);
  }

  #touch(group: string, place: Place): void {
    this.#places.delete(group);
    this.#places.set(group, place);
  }
}

function hearPart(
  { unfinished }: Place,
  offset: number,
  part: number,
  acknowledge: Acknowledge | undefined,
): { acknowledge: Acknowledge | undefined } | false {
  const begun = unfinished.get(offset) ?? { part: 0, answers: new Answers() };
  if (part <= begun.part) {
    if (acknowledge !== undefined) begun.answers.again(part, acknowledge);
    return false;
  }
  begun.part = part;
  if (unfinished.size < MAX_UNFINISHED) unfinished.set(offset, begun);
  return { acknowledge: acknowledge && begun.answers.first(part, acknowledge) };
}

function isSame(a: Position, b: Position): boolean {
  return a.epoch === b.epoch && a.offset === b.offset && a.id === b.id;
}
