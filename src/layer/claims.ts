/** What a client that carries positions hands over when it comes back. Nothing of it is trusted. */
import { isGroupName } from "../names.ts";
import type { Position } from "./history-store.ts";

export interface Claim extends Position {
  /** The offset at which it was let in, and what the server signed for that. */
  readonly since: number;
  readonly receipt: string;
}

const MAX_CLAIMS = 100;
const MAX_TEXT = 100;
/** Groups that are remembered to have been joined, of a client that does not know all that it was in. */
const MAX_TAKEN = 1_000;

export class Claims {
  readonly #claims = new Map<string, Claim>();
  readonly #surplus = new Set<string>();
  /** Those that were joined, if the client had more positions than it could carry. */
  readonly #taken: Set<string> | undefined;

  /** Undefined for a stock client, which carries no positions. */
  static of(value: unknown): Claims | undefined {
    const { v, positions, isCut } = (isObject(value) ? value : {}) as Readonly<Record<string, unknown>>;
    return v === 1 ? new Claims(Array.isArray(positions) ? positions : [], isCut === true) : undefined;
  }

  private constructor(positions: readonly unknown[], isCut: boolean) {
    this.#taken = isCut ? new Set() : undefined;
    for (const position of positions.slice(0, 10 * MAX_CLAIMS)) {
      const group = isObject(position) ? (position as { readonly group?: unknown }).group : undefined;
      if (!isGroupName(group)) continue;
      if (this.#claims.size < MAX_CLAIMS) this.#claims.set(group, claimOf(position as Partial<Claim>));
      else this.#surplus.add(group);
    }
  }

  /** Counts once: who joins the group again later in the same connection has missed nothing that it says. */
  take(group: string): Claim | "too_many" | undefined {
    if (this.#surplus.delete(group)) return "too_many";
    const claim = this.#claims.get(group);
    this.#claims.delete(group);
    const isFirst = this.#taken !== undefined && this.#taken.size < MAX_TAKEN && !this.#taken.has(group);
    if (isFirst) this.#taken?.add(group);
    return claim ?? (isFirst ? "too_many" : undefined);
  }
}

const NONSENSE: Claim = { epoch: "", offset: 0, id: "", since: 0, receipt: "" };

/** What is not as it must be becomes what no receipt was ever given for. */
function claimOf({ epoch, offset, id, since, receipt }: Partial<Claim>): Claim {
  if (!isText(epoch) || !isText(id) || !isText(receipt) || !isCount(offset) || !isCount(since))
    return NONSENSE;
  return { epoch, offset, id, since, receipt };
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value.length <= MAX_TEXT;
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
