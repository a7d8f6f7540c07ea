/** Background jobs: the Redis broker against plain BullMQ, on one Redis each. */
import { parseArgs } from "node:util";
import { atLeastOne, eachOneOf } from "./arguments.ts";
import { Child } from "./child.ts";
import { compareFigures, comparisonTable, type Entrant, type Figure } from "./comparison-table.ts";
import { machineCapacityUs, machineCpuUs } from "./machine.ts";
import type { RedisVerbs, TaskLatency, TaskVerbs } from "./protocol.ts";
import { untilQuiet } from "./quiet.ts";
import { saveResults } from "./results.ts";
import { interleave, type Plan } from "./rounds.ts";
import { spread } from "./statistics.ts";

const JUDGED = new Set(["both", "from add to run", "progress kept", "progress heard"]);
/** At most so much more than plain BullMQ. */
const GOAL = 1.15;
const MOST_DISTURBANCE = 0.15;
const LIMIT_MS = 590_000;

const CONTENDERS = {
  room: { name: "Sluice's tasks", module: "./contenders/sluice-room" },
  sluice: { name: "Sluice's broker", module: "./contenders/sluice-tasks" },
  bullmq: { name: "BullMQ, priorities", module: "./contenders/bullmq-priorities" },
  plain: { name: "BullMQ, none", module: "./contenders/bullmq-plain" },
} as const;
const NAMES = Object.keys(CONTENDERS) as (keyof typeof CONTENDERS)[];

interface Options extends Plan {
  readonly contenders: readonly (keyof typeof CONTENDERS)[];
  readonly jobs: number;
  readonly concurrency: number;
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      contenders: { type: "string", default: NAMES.join() },
      jobs: { type: "string" },
      concurrency: { type: "string", default: "20" },
      rounds: { type: "string" },
      quick: { type: "boolean", default: false },
    },
  });
  const usual = values.quick ? { jobs: 500, rounds: 3, warmUps: 1 } : { jobs: 2_000, rounds: 9, warmUps: 2 };
  return {
    contenders: eachOneOf("--contenders", values.contenders, NAMES),
    jobs: atLeastOne("--jobs", values.jobs ?? usual.jobs),
    concurrency: atLeastOne("--concurrency", values.concurrency),
    rounds: atLeastOne("--rounds", values.rounds ?? usual.rounds),
    warmUps: usual.warmUps,
  };
}

/** Of one step: per job. */
interface Cost {
  readonly processUs: number;
  readonly redisUs: number;
  readonly perSecond: number;
}

interface Round extends TaskLatency {
  readonly add: Cost;
  readonly addMany: Cost;
  readonly run: Cost;
  /** Of the machine's CPU time, what none of our processes used. */
  readonly othersShare: number;
}

class Contender {
  readonly name: string;
  readonly #worker: Child<TaskVerbs>;
  readonly #redis: Child<RedisVerbs>;

  private constructor(name: string, worker: Child<TaskVerbs>, redis: Child<RedisVerbs>) {
    this.name = name;
    this.#worker = worker;
    this.#redis = redis;
  }

  static async start({
    name,
    module,
  }: {
    readonly name: string;
    readonly module: string;
  }): Promise<Contender> {
    const redis = new Child<RedisVerbs>(`${name}'s Redis`, "./redis-host");
    const { url: redisUrl } = await redis.call("start");
    const worker = new Child<TaskVerbs>(name, module);
    await worker.call("start", { redisUrl });
    return new Contender(name, worker, redis);
  }

  async measure({ jobs: count, concurrency }: Options): Promise<Round> {
    await untilQuiet([this.#worker, this.#redis]);
    const startedAt = performance.now();
    const machineBefore = machineCpuUs();
    const before = await this.#usage();
    const add = await this.#cost(count, () => this.#worker.call("add", { count, atOnce: 50 }));
    const run = await this.#cost(count, () => this.#worker.call("run", { count, atOnce: concurrency }));
    const addMany = await this.#cost(count, () => this.#worker.call("addMany", { count, atOnce: 100 }));
    await this.#worker.call("clear");
    const latency = await this.#worker.call("latency", { count: 100 });
    await this.#worker.call("clear");
    const after = await this.#usage();
    const oursUs = after.processUs + after.redisUs - before.processUs - before.redisUs;
    const machineUs = machineCpuUs() - machineBefore;
    const othersShare = Math.max(0, machineUs - oursUs) / machineCapacityUs(performance.now() - startedAt);
    return { add, addMany, run, ...latency, othersShare };
  }

  async #cost(count: number, work: () => Promise<void>): Promise<Cost> {
    const before = await this.#usage();
    const startedAt = performance.now();
    await work();
    const tookMs = performance.now() - startedAt;
    const after = await this.#usage();
    return {
      processUs: (after.processUs - before.processUs) / count,
      redisUs: (after.redisUs - before.redisUs) / count,
      perSecond: count / (tookMs / 1000),
    };
  }

  async #usage(): Promise<{ readonly processUs: number; readonly redisUs: number }> {
    const [worker, redis] = await Promise.all([this.#worker.call("usage"), this.#redis.call("usage")]);
    return { processUs: worker.cpuUs, redisUs: redis.cpuUs };
  }

  async stop(): Promise<void> {
    await this.#worker.stop();
    await this.#redis.stop();
  }
}

function costFigures(pick: (round: Round) => Cost): readonly Figure<Round>[] {
  return [
    { name: "both", digits: 0, pick: (round) => pick(round).processUs + pick(round).redisUs },
    { name: "process", digits: 0, pick: (round) => pick(round).processUs },
    { name: "Redis", digits: 0, pick: (round) => pick(round).redisUs },
    { name: "ms per 1,000", digits: 0, pick: (round) => 1e6 / pick(round).perSecond },
  ];
}

const PARTS: readonly (readonly [title: string, unit: string, figures: readonly Figure<Round>[]])[] = [
  ["adding jobs one by one, 50 under way", "us of CPU per job", costFigures(({ add }) => add)],
  ["adding 100 jobs in one call", "us of CPU per job", costFigures(({ addMany }) => addMany)],
  ["running jobs that wait", "us of CPU per job", costFigures(({ run }) => run)],
  [
    "one job after the other",
    "ms, median",
    [
      { name: "from add to run", digits: 2, pick: ({ startMs }) => startMs },
      { name: "progress kept", digits: 2, pick: ({ progressMs }) => progressMs },
      { name: "progress heard", digits: 2, pick: ({ heardMs }) => heardMs },
    ],
  ],
];

setTimeout(() => {
  console.error(`not done after ${LIMIT_MS / 1000} s`);
  process.exit(1);
}, LIMIT_MS).unref();

const options = readOptions();
console.log(
  `${options.rounds} rounds of ${options.jobs} jobs after ${options.warmUps} to warm up; ${options.concurrency} run at once; each contender has a Redis of its own`,
);
const contenders: Contender[] = [];
let isMissed = false;
try {
  for (const key of options.contenders) contenders.push(await Contender.start(CONTENDERS[key]));
  const results = await interleave(contenders, options, (contender) => contender.measure(options));
  const entrants: Entrant<Round>[] = [...results].map(([{ name }, rounds]) => ({ name, rounds }));
  for (const [title, unit, figures] of PARTS) {
    const comparisons = compareFigures(figures, entrants);
    console.log(`\n${title}`);
    console.log(comparisonTable(unit, figures, entrants, comparisons));
    const judged = comparisons.filter(
      ({ of, figure }) => of === CONTENDERS.bullmq.name && JUDGED.has(figure),
    );
    for (const { figure, medianOfRatios } of judged) {
      const isReached = medianOfRatios <= GOAL;
      isMissed ||= !isReached;
      console.log(`goal (${figure} at most ${GOAL}): ${isReached ? "reached" : "MISSED"}`);
    }
  }
  const others = spread(entrants.flatMap(({ rounds }) => rounds.map(({ othersShare }) => othersShare)));
  const percent = (share: number) => `${(share * 100).toFixed(0)}%`;
  console.log(
    `\nothers used ${percent(others.median)} of the machine (at most ${percent(others.max)})` +
      (others.median > MOST_DISTURBANCE ? ": TOO BUSY, measure again when it is quiet" : ""),
  );
  console.log(`kept in ${saveResults("tasks", { options, entrants })}`);
} finally {
  await Promise.all(contenders.map((contender) => contender.stop()));
}
process.exitCode = isMissed ? 1 : 0;
