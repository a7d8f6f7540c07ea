/** One message to 1,000 WebSocket clients: what a delivery costs the server, against bare Socket.IO. */
import { parseArgs } from "node:util";
import { atLeastOne } from "./arguments.ts";
import { checkFileLimit } from "./file-limit.ts";
import { type Delivery, Pair } from "./pair.ts";
import { untilQuiet } from "./quiet.ts";
import { RESULTS, saveResults } from "./results.ts";
import { interleave, type Plan } from "./rounds.ts";
import { type Comparison, compare, spread } from "./statistics.ts";
import { table } from "./table.ts";

/** Of bare Socket.IO's CPU, by messages in one turn of the event loop. */
const GOALS: ReadonlyMap<number, number> = new Map([
  [1, 0.6],
  [10, 0.18],
  [100, 0.03],
]);
/** Of the machine: when others use more than this in the middle round, the figures are not worth much. */
const MOST_DISTURBANCE = 0.15;

const CONTENDERS = [
  { name: "Sluice", module: "./contenders/sluice" },
  { name: "bare Socket.IO", module: "./contenders/socket-io" },
];

interface Options extends Plan {
  readonly clients: number;
  readonly messages: number;
  readonly perTurn: number;
  readonly profile: boolean;
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      clients: { type: "string", default: "1000" },
      messages: { type: "string" },
      "per-turn": { type: "string", default: "1" },
      rounds: { type: "string" },
      quick: { type: "boolean", default: false },
      profile: { type: "boolean", default: false },
    },
  });
  const usual = values.quick
    ? { messages: 50, rounds: 3, warmUps: 1 }
    : { messages: 200, rounds: 7, warmUps: 2 };
  return {
    clients: atLeastOne("--clients", values.clients),
    messages: atLeastOne("--messages", values.messages ?? usual.messages),
    perTurn: atLeastOne("--per-turn", values["per-turn"]),
    rounds: atLeastOne("--rounds", values.rounds ?? usual.rounds),
    warmUps: usual.warmUps,
    profile: values.profile,
  };
}

async function measure(options: Options): Promise<readonly { name: string; rounds: readonly Delivery[] }[]> {
  const { clients, messages, perTurn, profile } = options;
  const flags = profile ? ["--cpu-prof", `--cpu-prof-dir=${RESULTS}`] : [];
  const pairs: Pair[] = [];
  try {
    for (const { name, module } of CONTENDERS) pairs.push(await Pair.start(name, module, clients, flags));
    const everyone = pairs.flatMap((pair) => pair.processes);
    const results = await interleave(pairs, options, async (pair) => {
      await untilQuiet(everyone);
      return pair.publish({ count: messages, perTurn });
    });
    return [...results].map(([{ name }, rounds]) => ({ name, rounds }));
  } finally {
    await Promise.all(pairs.map((pair) => pair.stop()));
  }
}

function row(name: string, rounds: readonly Delivery[]): readonly string[] {
  const cpu = spread(rounds.map((round) => round.cpuUsPerDelivery));
  const median = (pick: (round: Delivery) => number) => spread(rounds.map(pick)).median;
  return [
    name,
    ...[cpu.median, cpu.min, cpu.q1, cpu.q3, cpu.max].map((us) => us.toFixed(2)),
    median((round) => round.deliveriesPerSecond / 1000).toFixed(0),
    median((round) => round.rssBytes / 2 ** 20).toFixed(0),
    median((round) => round.loadCpuUsPerDelivery).toFixed(2),
  ];
}

const HEAD = ["us of CPU per delivery", "median", "min", "q1", "q3", "max", "k/s", "MiB", "load generator"];

function verdict({ clients, perTurn }: Options, { medianOfRatios }: Comparison): string {
  const goal = GOALS.get(perTurn) ?? 1;
  const ratio = medianOfRatios.toFixed(3);
  const isMet = medianOfRatios <= goal;
  return `fan-out to ${clients}, ${perTurn} per turn: ${ratio} of bare Socket.IO (goal: at most ${goal.toFixed(2)}): ${isMet ? "met" : "not met"}`;
}

const options = readOptions();
checkFileLimit(options.clients);
console.log(
  `${options.messages} messages to ${options.clients} clients, ${options.rounds} rounds after ${options.warmUps} to warm up`,
);
const [ours, theirs] = await measure(options);
if (ours === undefined || theirs === undefined) throw new Error("nothing was measured");

const bytes = new Set([...ours.rounds, ...theirs.rounds].map((round) => round.bytesPerDelivery));
if (bytes.size > 1) throw new Error(`deliveries differ in size: ${[...bytes].join(", ")} bytes`);

const pick = (round: Delivery) => round.cpuUsPerDelivery;
const comparison = compare(ours.rounds.map(pick), theirs.rounds.map(pick));
const { ratios, ratioOfMedians } = comparison;
console.log(table([HEAD, row(ours.name, ours.rounds), row(theirs.name, theirs.rounds)]));
console.log(
  `ratio round by round: median ${ratios.median.toFixed(3)} (${ratios.min.toFixed(3)} to ${ratios.max.toFixed(3)}); ` +
    `of the medians: ${ratioOfMedians.toFixed(3)}`,
);
const others = spread([...ours.rounds, ...theirs.rounds].map((round) => round.othersShare));
const percent = (share: number) => `${(share * 100).toFixed(0)}%`;
console.log(
  `others used ${percent(others.median)} of the machine (at most ${percent(others.max)})` +
    (others.median > MOST_DISTURBANCE ? ": TOO BUSY, measure again when it is quiet" : ""),
);
console.log(`kept in ${saveResults("fan-out", { options, contenders: [ours, theirs], comparison })}`);
console.log(verdict(options, comparison));
