/** One group as a node knows it, with those of its members who are connected there. */
import { type Application, isGroupName } from "../index.ts";
import { MAX_CONNECTIONS, readConnections, type ShownConnection, shownAs } from "./connections.ts";
import { type FoundGroup, knownOf, readKnown } from "./groups.ts";
import { count, fieldsOf, fitting, text } from "./report.ts";
import type { SentCounts } from "./sent-counts.ts";

const MAX_USERS = 50;

export type GroupPlace = Pick<FoundGroup, "layer" | "group">;

/** Where a node is in the history of a group, and how much of it is kept. */
export interface KnownHistory {
  /** Empty: there is none yet. */
  readonly epoch: string;
  readonly offset: number;
  readonly size: number;
  readonly ttlMs: number;
}

export interface ToldGroup extends FoundGroup {
  /** Those who joined last. */
  readonly connections: readonly ShownConnection[];
  readonly history?: KnownHistory;
}

/** Undefined where there is no such layer. @param maxBytes - of its lists, as JSON */
export function tellGroup(
  app: Pick<Application, "layers" | "groupHere">,
  sent: Pick<SentCounts, "perSecond">,
  { layer, group }: GroupPlace,
  maxBytes: number,
): ToldGroup | undefined {
  const here = app.groupHere(layer, group, MAX_CONNECTIONS);
  if (here === undefined) return undefined;
  const { members, running, log } = here;
  const { users, ...known } = knownOf(app, sent, { layer, group }, MAX_USERS);
  const connections = [...running].reverse().map(shownAs);
  return {
    ...{ layer, group, members, ...known },
    ...(users && { users: fitting(users, maxBytes / 4) }),
    connections: fitting(connections, (maxBytes * 3) / 4),
    ...(log && { history: { epoch: log.epoch, offset: log.offset, size: log.size, ttlMs: log.ttlMs } }),
  };
}

/** Undefined: no group is meant. */
export function readPlace(value: unknown): GroupPlace | undefined {
  const { layer, group } = fieldsOf(value);
  return isGroupName(group) && text(layer) !== "" ? { layer: text(layer), group } : undefined;
}

export function isSamePlace(a: GroupPlace | undefined, b: GroupPlace | undefined): boolean {
  return a?.layer === b?.layer && a?.group === b?.group;
}

/** Whatever another node says, in bounds. */
export function readToldGroup(from: Readonly<Record<string, unknown>>): ToldGroup | undefined {
  const place = readPlace(from);
  if (place === undefined) return undefined;
  const { epoch, offset, size, ttlMs } = fieldsOf(from.history);
  return {
    ...{ ...place, members: count(from.members), ...readKnown(from, MAX_USERS) },
    connections: readConnections(from.connections),
    ...(from.history === undefined
      ? {}
      : { history: { epoch: text(epoch), offset: count(offset), size: count(size), ttlMs: count(ttlMs) } }),
  };
}
