// What nodes say of groups, added up.

/** Nodes that are listened to; of more none is believed. */
const MAX_NODES = 500;
const MAX_GROUPS = 100;
const MAX_CONNECTIONS = 100;

/** What each node has said last. */
export class Told {
  #byNode = new Map();

  get size() {
    return this.#byNode.size;
  }

  get all() {
    return [...this.#byNode.values()];
  }

  set(node, told) {
    if (this.#byNode.has(node) || this.#byNode.size < MAX_NODES) this.#byNode.set(node, { ...told, node });
  }

  clear() {
    this.#byNode.clear();
  }

  /** @param here - the nodes that are there */
  keep(here) {
    for (const node of this.#byNode.keys()) if (!here.has(node)) this.#byNode.delete(node);
  }
}

/**
 * Groups that were found, over all nodes. Each node tells the first in an order that all have; up to where the
 * one ends that has not told all of its own, the sums are right, and no further is shown.
 *
 * @param lists - `{ total, groups }` of each node
 * @returns the groups, whether there are more, and how many there are at least
 */
export function sumOfLists(lists, words) {
  const [first = ""] = words.toLowerCase().split(/\s+/);
  // As nodes sort them: names that begin with the words come first.
  const keyOf = ({ layer, group }) => `${group.toLowerCase().startsWith(first) ? 0 : 1} ${group} ${layer}`;
  const ends = lists
    .filter(({ total, groups }) => groups.length < total)
    .map(({ groups }) => (groups.length > 0 ? keyOf(groups.at(-1)) : ""))
    .sort(compare);
  const sums = new Map();
  for (const said of lists.flatMap(({ groups }) => groups)) {
    const key = keyOf(said);
    if (ends.length > 0 && key > ends[0]) continue;
    sums.set(key, [...(sums.get(key) ?? []), said]);
  }
  const sorted = [...sums].sort(([a], [b]) => compare(a, b));
  const groups = sorted.slice(0, MAX_GROUPS).map(([, said]) => sumOf(said));
  const least = Math.max(sums.size, ...lists.map(({ total }) => total));
  return { groups, isCut: ends.length > 0 || sums.size > groups.length, least };
}

/** One group, as each node has told it. */
export function sumOf(told) {
  const [{ layer, group }] = told;
  const rates = told.map(({ sentPerSecond }) => sentPerSecond);
  const known = told.filter(({ present }) => present !== undefined);
  const sum = (numbers) => numbers.reduce((all, number) => all + number, 0);
  return {
    ...{ layer, group, key: `${layer} ${group}` },
    members: sum(told.map(({ members }) => members)),
    nodes: told.filter(({ members }) => members > 0).length,
    sentPerSecond: rates.includes(undefined) ? undefined : sum(rates),
    // Each node with members knows all of them.
    ...(known.length > 0 && {
      present: Math.max(...known.map(({ present }) => present)),
      users: [...new Set(known.flatMap(({ users = [] }) => users))].sort(compare),
    }),
  };
}

/** The same with its members, the newest first, and where its history is. */
export function sumInFull(told) {
  const connections = told
    .flatMap(({ node, connections }) =>
      connections.map((connection) => ({ ...connection, node, key: connection.channel })),
    )
    .sort((a, b) => a.ageMs - b.ageMs)
    .slice(0, MAX_CONNECTIONS);
  const [history] = told.flatMap(({ history }) => history ?? []).sort((a, b) => b.offset - a.offset);
  return { ...sumOf(told), connections, history };
}

function compare(a, b) {
  return a < b ? -1 : a > b ? 1 : 0;
}
