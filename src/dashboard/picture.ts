/** What an open page is told: what it draws and no more, in messages of which none is too large. */
import type { ClusterGroup, ClusterNode, ClusterRoute, ClusterState } from "./cluster.ts";
import { rounded } from "./report.ts";

const MAX_CAUSES = 12;
const MAX_USERS = 12;

/** The cluster as a page draws it. */
export interface Picture {
  readonly nodes: readonly ShownNode[];
  readonly groups: readonly ClusterGroup[];
  readonly routes: readonly ClusterRoute[];
  /** The most frequent, over all nodes. */
  readonly causes: readonly (readonly [cause: string, count: number])[];
}

export type ShownNode = Omit<ClusterNode, "counts" | "causes" | "routes" | "tasks">;

/** Some entries of each list; those of the next one follow, from part 0 to the last. */
export type Piece<Lists> = Lists & { readonly part: number; readonly isLast: boolean };

export function pictureOf({ nodes, groups, routes }: ClusterState): Picture {
  return {
    nodes: nodes.map(({ counts: _, causes: __, routes: ___, tasks: ____, ...node }) => ({
      ...node,
      rates: rounded(node.rates),
      gauges: rounded(node.gauges),
    })),
    groups: groups.map(({ users, ...group }) => ({
      ...rounded(group),
      ...(users && { users: users.slice(0, MAX_USERS) }),
    })),
    routes,
    causes: causesOf(nodes),
  };
}

/**
 * Lists in as many messages as it takes. An entry that is too large for any is left out.
 *
 * @param maxBytes - of the entries of one, as JSON
 */
export function piecesOf<Lists extends { readonly [Name in keyof Lists]: readonly unknown[] }>(
  lists: Lists,
  maxBytes: number,
): readonly Piece<Lists>[] {
  const begin = () => new Map(Object.keys(lists).map((name) => [name, [] as unknown[]] as const));
  const pieces = [begin()];
  let left = maxBytes;
  for (const [name, entries] of Object.entries<readonly unknown[]>(lists)) {
    for (const entry of entries) {
      const bytes = Buffer.byteLength(JSON.stringify(entry)) + 1;
      if (bytes > maxBytes) continue;
      if (bytes > left) {
        pieces.push(begin());
        left = maxBytes;
      }
      pieces.at(-1)?.get(name)?.push(entry);
      left -= bytes;
    }
  }
  return pieces.map((piece, part) => {
    return { ...(Object.fromEntries(piece) as unknown as Lists), part, isLast: part === pieces.length - 1 };
  });
}

function causesOf(nodes: readonly ClusterNode[]): Picture["causes"] {
  const sums = new Map<string, number>();
  for (const [cause, count] of nodes.flatMap(({ causes }) => causes)) {
    sums.set(cause, (sums.get(cause) ?? 0) + count);
  }
  return [...sums].sort((a, b) => b[1] - a[1]).slice(0, MAX_CAUSES);
}
