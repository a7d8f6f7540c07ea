/** Hours of use in some minutes: what stays in memory? */
import { PEERS } from "../peers.ts";
import { some } from "../scale.ts";
import { crowdOf } from "../stage.ts";
import type { Figure, Round, Scenario } from "./scenario.ts";

const MIB = 1_048_576;
const ASKERS = 50;

const FIGURES: readonly Figure[] = [
  { key: "grownMib", name: "heap grown since the second look, MiB", digits: 2 },
  { key: "heapMib", name: "heap, MiB", digits: 1 },
  { key: "rssMib", name: "resident, MiB", digits: 0 },
  { key: "cycles", name: "cycles", digits: 0 },
];

/** Messages, bursts, echoes, and everybody's connection lost, over and over. */
export const soak: Scenario = {
  id: "soak",
  title: "fan-out, bursts, echoes and reconnections of all clients on two nodes",
  isRare: true,
  entries({ scale, peers }) {
    if (!peers.includes("sluice")) return [];
    const { crowdPerNode } = scale;
    const nodes = [crowdOf(crowdPerNode), crowdOf(crowdPerNode)].flatMap((crowd) => crowd.nodes);
    const { name } = PEERS.sluice;
    return [{ key: "sluice", name, peer: "sluice", crowd: { nodes }, crowdKey: `twice ${crowdPerNode}` }];
  },
  async run(run, entries) {
    const { scale, stages } = run;
    const rounds: Round[] = [];
    for (const entry of await stages.openAll(run, entries)) {
      const stage = stages.get(entry);
      const startedAt = performance.now();
      const everyMs = scale.soakMs / scale.soakLooks;
      let cycles = 0;
      while (rounds.length < scale.soakLooks) {
        await stage.publish({ count: some(scale, 200), perTurn: 1, everyMs: 0, rooms: 1 });
        await stage.publish({ count: some(scale, 500), perTurn: 10, everyMs: 0, rooms: 1 });
        await stage.ask("checked", Math.min(ASKERS, scale.crowdPerNode), 10);
        await stage.storm();
        cycles += 1;
        if (performance.now() - startedAt < everyMs * (rounds.length + 1)) continue;
        const { heapBytes, rssBytes } = await stage.held();
        const heapMib = heapBytes / MIB;
        const second = rounds[1]?.heapMib ?? heapMib;
        rounds.push({ grownMib: heapMib - second, heapMib, rssMib: rssBytes / MIB, cycles });
      }
    }
    const [entry] = entries;
    const entrants = entry === undefined ? [] : [{ key: entry.key, name: entry.name, rounds }];
    return { id: this.id, title: this.title, unit: "at each look", figures: FIGURES, entrants };
  },
};
