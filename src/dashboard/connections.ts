/** Who is connected here and is looked for. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { RunningConsumer } from "../index.ts";
import { text } from "./report.ts";

const MAX_CONNECTIONS = 50;
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
      { total, connections: last.slice(-MAX_CONNECTIONS).reverse().map(shown) },
    ]),
  );
}

function textOf({ channel, user = "", scope: { namespace, remoteAddress } }: RunningConsumer): string {
  return `${channel} ${namespace} ${user} ${remoteAddress}`.toLowerCase();
}

function shown({ channel, route, user = "", ageMs, scope }: RunningConsumer): ShownConnection {
  const { namespace, remoteAddress } = scope;
  const where = { channel, route: text(route), namespace: text(namespace) };
  return { ...where, user: text(user), address: text(remoteAddress), ageMs: Math.round(ageMs) };
}
