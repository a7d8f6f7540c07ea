/** One run: everything of a plan, then the judgement. */
import { judgeLogged } from "./logged-judge.ts";
import { judgePlain } from "./plain-judge.ts";
import { planOf } from "./plan.ts";
import { judgePresence } from "./presence-judge.ts";
import type { Publish, Records, Verdict } from "./records.ts";
import { World, type WorldSettings } from "./world.ts";

export interface Outcome {
  readonly broken: readonly string[];
  readonly report: string;
  readonly records: Records;
}

/** Above the planned time; then it is ended, whatever hangs. */
export const MOST_OVERTIME_MS = 240_000;

export async function run(settings: WorldSettings): Promise<Outcome> {
  const plan = planOf(settings);
  const world = await World.create(settings);
  try {
    await world.play(plan);
    const uneasy = await world.calm();
    const left = await world.empty();
    const { records } = world;
    // Who judges something else stands here, too.
    const judged = {
      "groups with history": judgeLogged(records),
      "groups without": judgePlain(records),
      presence: judgePresence(records),
    };
    const broken = [
      ...uneasy,
      ...Object.values(judged).flatMap((verdict) => verdict.broken),
      ...world.bugs.map((bug) => `a bug ${bug}`),
      ...left,
    ];
    return { broken, report: reportOf(settings, world, judged), records };
  } finally {
    await world.close();
  }
}

function reportOf(
  { seed, durationMs, nodes, clients, topology }: WorldSettings,
  world: World,
  judged: Readonly<Record<string, Verdict>>,
): string {
  const { publishes } = world.records;
  const counts = (list: Iterable<readonly [string, number]>) =>
    [...list].map(([what, count]) => `${count} ${what}`).join(", ");
  const outcomes = new Map<Publish["outcome"], number>();
  for (const { outcome } of publishes) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  return [
    `seed ${seed}: ${durationMs / 1000} s, ${nodes} nodes, ${clients} clients, ${topology === "single" ? "one Redis" : "Redis with a replica and a sentinel"}`,
    `done: ${counts(world.done)}`,
    `published: ${publishes.length} (${counts(outcomes)})`,
    ...Object.entries(judged).map(
      ([what, { figures }]) => `${what}: ${counts(Object.entries(figures).map(([k, n]) => [words(k), n]))}`,
    ),
    `lists of who is there: ${counts(Object.entries(world.presence).map(([k, n]) => [words(k), n]))}`,
    `given again by the nodes to those who came back: ${world.recoveredMessages}`,
  ].join("\n");
}

function words(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}
