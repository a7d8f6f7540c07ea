/** What was set out to be reached, as ratios within one run. */
import { DJANGOS } from "./peers.ts";
import type { Result } from "./scenarios/scenario.ts";
import { compare, spread } from "./statistics.ts";

interface Of {
  /** Entrants; where there are several, the best of them. */
  readonly entrants: readonly string[];
  readonly figure: string;
}

export interface Goal {
  readonly text: string;
  readonly scenario: string;
  readonly ours: Of;
  /** What ours is divided by; nothing: ours as it is, in its last round. */
  readonly theirs?: Of;
  readonly limit: number;
  readonly isAtLeast?: boolean;
}

const us = (...entrants: readonly string[]): Of => ({ entrants, figure: "us" });
const BARE = us("socket.io");
const DJANGO = us(...DJANGOS);
const perSecond = (entrant: string): Of => ({ entrants: [entrant], figure: "perSecond" });

function open(figure: string): Pick<Goal, "scenario" | "ours" | "theirs"> {
  const of = (rooms: number): Of => ({ entrants: [`sluice-${rooms}`], figure });
  return { scenario: "rooms", ours: of(10_000), theirs: of(10) };
}

export const GOALS: readonly Goal[] = [
  {
    text: "fan-out to 1,000, CPU, of Socket.IO",
    scenario: "fan-out-1000",
    ours: us("sluice"),
    theirs: BARE,
    limit: 0.6,
  },
  {
    text: "fan-out to 1,000, CPU, of the best Django Channels",
    scenario: "fan-out-1000",
    ours: us("sluice"),
    theirs: DJANGO,
    limit: 0.15,
  },
  {
    text: "bursts of 10, CPU, of Socket.IO",
    scenario: "burst-10",
    ours: us("sluice"),
    theirs: BARE,
    limit: 0.18,
  },
  {
    text: "bursts of 100, CPU, of Socket.IO",
    scenario: "burst-100",
    ours: us("sluice"),
    theirs: BARE,
    limit: 0.03,
  },
  {
    text: "cross-node fan-out, CPU of both nodes, of the sharded adapter",
    scenario: "cross-node",
    ours: us("sluice"),
    theirs: us("sharded"),
    limit: 0.65,
  },
  {
    text: "cross-node bursts of 10, CPU of both nodes, of the sharded adapter",
    scenario: "cross-burst",
    ours: us("sluice"),
    theirs: us("sharded"),
    limit: 0.2,
  },
  {
    text: "echo with acknowledgement, CPU, of Socket.IO",
    scenario: "echo",
    ours: us("sluice"),
    theirs: BARE,
    limit: 1.05,
  },
  {
    text: "echo with a schema, CPU, of Socket.IO's without",
    scenario: "echo",
    ours: { entrants: ["sluice"], figure: "checkedUs" },
    theirs: BARE,
    limit: 1.25,
  },
  {
    text: "accepting a connection, CPU, of Socket.IO",
    scenario: "accept",
    ours: us("sluice"),
    theirs: BARE,
    limit: 1.15,
  },
  {
    text: "memory per idle connection, of Socket.IO",
    scenario: "memory",
    ours: { entrants: ["sluice"], figure: "rss" },
    theirs: { entrants: ["socket.io"], figure: "rss" },
    limit: 1,
  },
  { text: "publish with 10,000 rooms open, CPU of both nodes, of that with 10", ...open("us"), limit: 1.05 },
  { text: "publish with 10,000 rooms open, CPU of Redis, of that with 10", ...open("redisUs"), limit: 1.05 },
  {
    text: "groupSend through handlers, CPU, of Socket.IO's emit",
    scenario: "handlers",
    ours: us("sluice-send"),
    theirs: BARE,
    limit: 1.3,
  },
  {
    text: "deliveries per second, one process, of Socket.IO",
    scenario: "fan-out-1000",
    ours: perSecond("sluice"),
    theirs: perSecond("socket.io"),
    limit: 1.6,
    isAtLeast: true,
  },
  {
    text: "deliveries per second in bursts of 10, of Socket.IO",
    scenario: "burst-10",
    ours: perSecond("sluice"),
    theirs: perSecond("socket.io"),
    limit: 5,
    isAtLeast: true,
  },
  {
    text: "soak: MiB by which the heap grew",
    scenario: "soak",
    ours: { entrants: ["sluice"], figure: "grownMib" },
    limit: 2,
  },
];

export interface Verdict {
  readonly goal: Goal;
  /** The median of the ratios round by round, and the middle half of them. */
  readonly ratio: number;
  readonly q1: number;
  readonly q3: number;
  readonly isMet: boolean;
}

/** @returns undefined when it was not measured */
export function judge(goal: Goal, results: readonly Result[]): Verdict | undefined {
  const result = results.find(({ id }) => id === goal.scenario);
  const [ours] = roundsOf(result, goal.ours);
  if (ours === undefined || ours.length === 0) return undefined;
  const { theirs } = goal;
  if (theirs === undefined) {
    const value = ours.at(-1) ?? Number.NaN;
    return { goal, ratio: value, q1: value, q3: value, isMet: isWithin(goal, value) };
  }
  const [best] = roundsOf(result, theirs)
    .filter((rounds) => rounds.length > 0)
    .toSorted((a, b) => spread(a).median - spread(b).median);
  if (best === undefined) return undefined;
  const { median, q1, q3 } = compare(ours, best).ratios;
  return { goal, ratio: median, q1, q3, isMet: isWithin(goal, median) };
}

function roundsOf(result: Result | undefined, { entrants, figure }: Of): readonly (readonly number[])[] {
  return (result?.entrants ?? [])
    .filter(({ key }) => entrants.includes(key))
    .map(({ rounds }) => rounds.map((round) => round[figure] ?? Number.NaN));
}

function isWithin({ limit, isAtLeast = false }: Goal, value: number): boolean {
  return isAtLeast ? value >= limit : value <= limit;
}

/** One line for each goal. */
export function goalLine(goal: Goal, verdict: Verdict | undefined): string {
  const sought = `goal: at ${goal.isAtLeast ? "least" : "most"} ${goal.limit.toFixed(2)}`;
  if (verdict === undefined) return `not measured  ${goal.text} (${sought})`;
  const { ratio, q1, q3, isMet } = verdict;
  const seen = `${ratio.toFixed(3)} (${q1.toFixed(3)} to ${q3.toFixed(3)})`;
  return `${isMet ? "met    " : "NOT met"}  ${goal.text}: ${seen}, ${sought}`;
}
