/** What groups keep, by patterns of their names. */
import { inspect } from "node:util";
import { ConfigurationError } from "../errors.ts";
import { isReservedName, nearest } from "../names.ts";
import type { Scope } from "../types.ts";

/** How much of its messages a group keeps, and who is given them. */
export interface HistoryPolicy {
  /** How many messages are kept; with presence as many joins and leaves beside them. */
  readonly size: number;
  /** How long after the last message they are kept. */
  readonly ttlMs: number;
  /** How many of the last messages a newcomer is given. Default 0. */
  readonly newcomers?: number;
  /** Whether members' clients may ask for older messages, back to where they were let in. Default false. */
  readonly clientsMayRead?: boolean;
  /** Only the latest message counts, as for a state or a price: who missed some is given the last. Default false. */
  readonly conflate?: boolean;
}

/**
 * In a group that keeps history (and does not conflate) joins, leaves and updates are told in the order of
 * its messages, by its log.
 */
export interface PresencePolicy {
  /** How long a user may be without a connection before the others are told. Default 0. */
  readonly graceMs?: number;
}

/** What a group keeps, and who may join it. */
export interface GroupPolicy {
  readonly history?: HistoryPolicy;
  readonly presence?: boolean | PresencePolicy;
  /**
   * Who may join: asked whenever a connection is to become a member, by whatever code, and again when
   * its user changes. False refuses with `JoinRefused`, an error of your own with that. By default everybody.
   */
  readonly mayJoin?: MayJoin;
}

/** Whether this connection may become a member of that group. */
export type MayJoin = (scope: Scope, group: string) => boolean | Promise<boolean>;

/**
 * Patterns and what groups of such names keep; `*` matches one segment (what stands between dots). The
 * first that matches counts. Every process that sends must have the same table.
 *
 * @example
 * const groups: GroupPolicies = {
 *   "chat.*": { history: { size: 200, ttlMs: 24 * 3_600_000, newcomers: 50 }, presence: true },
 *   "price.*.*": { history: { size: 1, ttlMs: 60_000, conflate: true } },
 * };
 */
export type GroupPolicies = Readonly<Record<string, GroupPolicy>>;

/** A policy with every default in its place. */
export interface ResolvedPolicy {
  readonly history: Required<HistoryPolicy> | undefined;
  readonly presence: ResolvedPresence | undefined;
  readonly mayJoin: MayJoin | undefined;
}

export interface ResolvedPresence extends Required<PresencePolicy> {
  /** Whether who comes and goes is told in the order of the group's messages, by its log. */
  readonly isLogged: boolean;
}

const NOTHING: ResolvedPolicy = { history: undefined, presence: undefined, mayJoin: undefined };
/** Names whose policy is remembered; the oldest go first. */
const MAX_REMEMBERED = 10_000;

export class PolicyTable {
  readonly #rows: readonly { readonly pattern: RegExp; readonly policy: ResolvedPolicy }[];
  readonly #remembered = new Map<string, ResolvedPolicy>();

  /** @throws ConfigurationError that lists every fault */
  constructor(policies: GroupPolicies = {}) {
    const faults: string[] = [];
    this.#rows = Object.entries(policies).map(([pattern, policy]) => ({
      pattern: patternOf(pattern, faults),
      policy: resolved(pattern, policy, faults),
    }));
    if (faults.length > 0) throw new ConfigurationError(faults);
  }

  /** Whether any group has one. */
  get needs(): { readonly history: boolean; readonly presence: boolean; readonly loggedPresence: boolean } {
    return {
      history: this.#rows.some(({ policy }) => policy.history !== undefined),
      presence: this.#rows.some(({ policy }) => policy.presence !== undefined),
      loggedPresence: this.#rows.some(({ policy }) => policy.presence?.isLogged === true),
    };
  }

  of(group: string): ResolvedPolicy {
    if (isReservedName(group)) return NOTHING;
    const known = this.#remembered.get(group);
    if (known !== undefined) return known;
    const policy = this.#rows.find(({ pattern }) => pattern.test(group))?.policy ?? NOTHING;
    if (this.#remembered.size >= MAX_REMEMBERED) {
      for (const oldest of this.#remembered.keys()) {
        this.#remembered.delete(oldest);
        break;
      }
    }
    this.#remembered.set(group, policy);
    return policy;
  }
}

function patternOf(pattern: string, faults: string[]): RegExp {
  const isLegal = /^[A-Za-z0-9._*-]{1,99}$/.test(pattern) && !pattern.startsWith("sluice.");
  if (!isLegal || pattern.split(".").some((part) => part.includes("*") && part !== "*")) {
    faults.push(
      `groups["${pattern}"] is no pattern: names of groups are ASCII letters, digits, "-", "_" and ".", and "*" stands for one whole segment, as in "chat.*"`,
    );
  }
  const segments = pattern
    .split(".")
    .map((part) => (part === "*" ? "[^.]+" : part.replace(/[^\w]/g, "\\$&")));
  return new RegExp(`^${segments.join("\\.")}$`);
}

type Kind = "count" | "positive" | "boolean";
const HISTORY: Readonly<Record<keyof HistoryPolicy, Kind>> = {
  size: "positive",
  ttlMs: "positive",
  newcomers: "count",
  clientsMayRead: "boolean",
  conflate: "boolean",
};

function resolved(pattern: string, policy: GroupPolicy, faults: string[]): ResolvedPolicy {
  const where = `groups["${pattern}"]`;
  if (!isObject(policy)) {
    faults.push(`${where} must be an object with any of history, presence, mayJoin`);
    return NOTHING;
  }
  unknownNames(policy, ["history", "presence", "mayJoin"], where, faults);
  const { mayJoin } = policy;
  if (mayJoin !== undefined && typeof mayJoin !== "function") {
    faults.push(`${where}.mayJoin must be a function (scope, group) => boolean`);
  }
  const history =
    policy.history === undefined ? undefined : resolvedHistory(policy.history, `${where}.history`, faults);
  const presence = resolvedPresence(policy.presence, `${where}.presence`, faults);
  // Where only the latest message counts, those who missed some would never hear of who came and left.
  const isLogged = history?.conflate === false;
  return { history, presence: presence && { ...presence, isLogged }, mayJoin };
}

function resolvedHistory(
  given: HistoryPolicy,
  where: string,
  faults: string[],
): Required<HistoryPolicy> | undefined {
  if (!isObject(given)) {
    faults.push(`${where} must be an object with size and ttlMs`);
    return undefined;
  }
  unknownNames(given, Object.keys(HISTORY), where, faults);
  const policy = { newcomers: 0, clientsMayRead: false, conflate: false, ...given };
  for (const [name, kind] of Object.entries(HISTORY) as [keyof HistoryPolicy, Kind][]) {
    const fault = faultOf(kind, policy[name]);
    if (fault !== undefined) faults.push(`${where}.${name} must be ${fault}, not ${inspect(policy[name])}`);
  }
  if (policy.newcomers > policy.size) faults.push(`${where}.newcomers cannot be more than its size`);
  return policy;
}

function resolvedPresence(
  given: boolean | PresencePolicy | undefined,
  where: string,
  faults: string[],
): Required<PresencePolicy> | undefined {
  if (given === undefined || given === false) return undefined;
  if (given === true) return { graceMs: 0 };
  if (!isObject(given)) {
    faults.push(`${where} must be true, false or an object with graceMs`);
    return undefined;
  }
  unknownNames(given, ["graceMs"], where, faults);
  const { graceMs = 0 } = given;
  const fault = faultOf("count", graceMs);
  if (fault !== undefined) faults.push(`${where}.graceMs must be ${fault}, not ${inspect(graceMs)}`);
  return { graceMs };
}

function faultOf(kind: Kind, value: unknown): string | undefined {
  if (kind === "boolean") return typeof value === "boolean" ? undefined : "true or false";
  const least = kind === "positive" ? 1 : 0;
  const isFine = typeof value === "number" && Number.isInteger(value) && value >= least && value < 2 ** 31;
  return isFine ? undefined : `a whole number of at least ${least} (below 2^31)`;
}

function unknownNames(given: object, known: readonly string[], where: string, faults: string[]): void {
  for (const name of Object.keys(given)) {
    if (known.includes(name)) continue;
    const meant = nearest(name, known);
    faults.push(
      `${where}.${name} is no option; ${meant === undefined ? `there are ${known.join(", ")}` : `did you mean "${meant}"?`}`,
    );
  }
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
