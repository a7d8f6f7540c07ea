/** Who is connected here and is looked for. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { RunningConsumer } from "../index.ts";
import { count, fieldsOf, list, text } from "./report.ts";

/** Of one node, in one list. */
export const MAX_CONNECTIONS = 50;
/** Two names of 99 characters. */
const MAX_CHANNEL = 199;
/** Of a node with many connections, so many are looked at before others have their turn. */
const PER_TURN = 500;

export interface ShownConnection {
  readonly channel: string;
  readonly route: string;
  readonly namespace: string;
  readonly user: string;
  readonly address: string;
  readonly ageMs: number;
}

export interface FoundConnections {
  readonly total: number;
  /** The newest, which are of most interest. */
  readonly connections: readonly ShownConnection[];
}

/**
 * All searches in one pass.
 *
 * @param searches - words that connections must have in them, in lower case; those of the empty one are all
 */
export async function findConnections(
  running: Iterable<RunningConsumer>,
  searches: Iterable<string>,
): Promise<ReadonlyMap<string, FoundConnections>> {
  const found = [...new Set(searches)].map((words) => ({ words, total: 0, last: [] as RunningConsumer[] }));
  const wantsText = found.some(({ words }) => words !== "");
  let seen = 0;
  for (const connection of running) {
    seen += 1;
    if (seen % PER_TURN === 0) await nextTurn();
    const all = wantsText ? textOf(connection) : "";
    for (const search of found) {
      if (!all.includes(search.words)) continue;
      search.total += 1;
      search.last.push(connection);
      if (search.last.length > 2 * MAX_CONNECTIONS) search.last.splice(0, MAX_CONNECTIONS);
    }
  }
  return new Map(
    found.map(({ words, total, last }) => [
      words,
      { total, connections: last.slice(-MAX_CONNECTIONS).reverse().map(shownAs) },
    ]),
  );
}

/** Whatever another node says, in bounds. */
export function readConnections(connections: unknown): readonly ShownConnection[] {
  return list(connections, MAX_CONNECTIONS, (entry) => {
    const { channel, route, namespace, user, address, ageMs } = fieldsOf(entry);
    const where = {
      channel: typeof channel === "string" ? channel.slice(0, MAX_CHANNEL) : "",
      route: text(route),
      namespace: text(namespace),
    };
    return { ...where, user: text(user), address: text(address), ageMs: count(ageMs) };
  });
}

function textOf({ channel, user = "", scope: { namespace, remoteAddress } }: RunningConsumer): string {
  return `${channel} ${namespace} ${user} ${remoteAddress}`.toLowerCase();
}

/** What may be shown of it. */
export function shownAs({ channel, route, user = "", ageMs, scope }: RunningConsumer): ShownConnection {
  const { namespace, remoteAddress } = scope;
  const where = { channel, route: text(route), namespace: text(namespace) };
  return { ...where, user: text(user), address: text(remoteAddress), ageMs: Math.round(ageMs) };
}
