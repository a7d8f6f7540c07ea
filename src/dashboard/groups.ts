/** Groups of this node that are looked for by words, and how another node reads what was found. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { type Application, isGroupName } from "../index.ts";
import { bounds, count, fieldsOf, fitting, list, rounded, text } from "./report.ts";
import type { SentCounts } from "./sent-counts.ts";

const MAX_GROUPS = 50;
/** Of a node with many groups, so many are looked at before others have their turn. */
const PER_TURN = 500;
/** Of a search. */
const MAX_WORDS = 8;

export interface FoundGroup {
  readonly layer: string;
  readonly group: string;
  /** On that node. */
  readonly members: number;
  /** By that node; left out where it counts too many others. */
  readonly sentPerSecond?: number;
  /** Users in it, on all nodes, as that node knows; left out where nobody counts. */
  readonly present?: number;
  /** Some of them. */
  readonly users?: readonly string[];
}

export interface FoundGroups {
  readonly total: number;
  /**
   * The first in an order that all nodes have: whatever group stands among the first of all stands among the
   * first of each node that has it, and can be added up.
   */
  readonly groups: readonly FoundGroup[];
}

interface Place {
  readonly layer: string;
  readonly group: string;
  /** What it is sorted by: names that begin with the words come first. */
  readonly key: string;
}

type Host = Pick<Application, "layers" | "groupHere">;

/**
 * All searches in one pass.
 *
 * @param searches - words that names of groups must have in them, each of them, in lower case
 */
export async function findGroups(
  app: Host,
  sent: Pick<SentCounts, "last" | "perSecond">,
  searches: Iterable<string>,
): Promise<ReadonlyMap<string, FoundGroups>> {
  const found = [...new Set(searches)].map((words) => new Search(words));
  if (found.length === 0) return new Map();
  let seen = 0;
  for (const [layer, group] of placesIn(app, sent)) {
    seen += 1;
    if (seen % PER_TURN === 0) await nextTurn();
    const name = group.toLowerCase();
    for (const search of found) search.look(layer, group, name);
  }
  return new Map(
    found.map((search) => {
      const groups = search.first.map((place) => shown(app, sent, place));
      return [search.words, { total: search.isCut ? search.total : groups.length, groups }];
    }),
  );
}

/** Groups with members here, and those without to which this node sends. */
function* placesIn(
  { layers }: Pick<Host, "layers">,
  sent: Pick<SentCounts, "last">,
): Generator<readonly [layer: string, group: string]> {
  for (const [name, layer] of layers) for (const [group] of layer.groupSizes()) yield [name, group];
  for (const { layer, group } of sent.last) {
    if (layers.get(layer)?.groupHere(group, 0).members === 0) yield [layer, group];
  }
}

class Search {
  readonly words: string;
  total = 0;
  readonly #each: readonly string[];
  /** Twice as many as are told, at most, so that they need not be sorted each time. */
  #places: Place[] = [];
  #last: string | undefined;

  constructor(words: string) {
    this.words = words;
    this.#each = words.split(/\s+/).slice(0, MAX_WORDS);
  }

  /** @param name - in lower case */
  look(layer: string, group: string, name: string): void {
    if (!this.#each.every((word) => name.includes(word))) return;
    this.total += 1;
    const key = `${name.startsWith(this.#each[0] ?? "") ? 0 : 1} ${group} ${layer}`;
    if (this.#last !== undefined && key >= this.#last) return;
    this.#places.push({ layer, group, key });
    if (this.#places.length < 2 * MAX_GROUPS) return;
    this.#places = this.first;
    if (this.#places.length === MAX_GROUPS) this.#last = this.#places.at(-1)?.key;
  }

  /** Whether there are more than the first. */
  get isCut(): boolean {
    return this.#last !== undefined || this.#places.length > MAX_GROUPS;
  }

  get first(): Place[] {
    this.#places.sort((a, b) => (a.key < b.key ? -1 : 1));
    // One that was left by all and joined again meanwhile was seen twice.
    return this.#places.filter(({ key }, at) => key !== this.#places[at - 1]?.key).slice(0, MAX_GROUPS);
  }
}

/** How much is sent to it and who is present, as this node knows without asking anybody. */
export function knownOf(
  { layers }: Pick<Host, "layers">,
  sent: Pick<SentCounts, "perSecond">,
  { layer, group }: Pick<FoundGroup, "layer" | "group">,
  users: number,
): Pick<FoundGroup, "sentPerSecond" | "present" | "users"> {
  const perSecond = sent.perSecond(layer, group);
  const known = layers.get(layer)?.presentHere(group, users);
  return {
    ...(perSecond === undefined ? {} : rounded({ sentPerSecond: perSecond })),
    ...(known && { present: known.count, users: known.users.map(text) }),
  };
}

/** The same, as another node has said it. */
export function readKnown(from: Readonly<Record<string, unknown>>, most: number): ReturnType<typeof knownOf> {
  const { sentPerSecond, present, users } = from;
  return {
    ...(sentPerSecond === undefined ? {} : { sentPerSecond: count(sentPerSecond) }),
    ...(present === undefined ? {} : { present: count(present) }),
    ...(users === undefined ? {} : { users: list(users, most, text) }),
  };
}

/** Whatever another node says, in bounds; what is no group is left out. */
export function readGroups(from: Readonly<Record<string, unknown>>): FoundGroups {
  const groups = list(from.groups, MAX_GROUPS, (entry) => {
    const fields = fieldsOf(entry);
    const { layer, group, members } = fields;
    if (!isGroupName(group)) return undefined;
    return { layer: text(layer), group, members: count(members), ...readKnown(fields, bounds.users) };
  });
  return { total: count(from.total), groups };
}

/** In so many bytes of JSON: of too many first the users are left out, and then the last groups. */
export function fittingGroups(groups: readonly FoundGroup[], maxBytes: number): readonly FoundGroup[] {
  if (fitting(groups, maxBytes).length === groups.length) return groups;
  return fitting(
    groups.map(({ users: _, ...group }) => group),
    maxBytes,
  );
}

function shown(app: Host, sent: Pick<SentCounts, "perSecond">, { layer, group }: Place): FoundGroup {
  const members = app.groupHere(layer, group, 0)?.members ?? 0;
  return { layer, group, members, ...knownOf(app, sent, { layer, group }, bounds.users) };
}
