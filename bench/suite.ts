/** The whole benchmark: `npm run bench`. */
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { atLeastOne, eachOneOf } from "./arguments.ts";
import { chart } from "./chart.ts";
import { checkFileLimit } from "./file-limit.ts";
import { GOALS, goalLine, judge } from "./goals.ts";
import { isOurs, PEER_KEYS, type PeerKey, present, type Skipped } from "./peers.ts";
import { Profiles } from "./profile.ts";
import { between, disturbedOf, markdown, median, type Report, rowsOf } from "./report.ts";
import { RESULTS, ROOT, saveResults } from "./results.ts";
import { SCALES, type Scale } from "./scale.ts";
import { SCENARIOS } from "./scenarios/all.ts";
import { type Result, type Run, type Scenario, Stages } from "./scenarios/scenario.ts";
import { spread } from "./statistics.ts";
import { table } from "./table.ts";

const PAGE = fileURLToPath(new URL("docs/performance.md", ROOT));
const PICTURES = fileURLToPath(new URL("docs/performance/", ROOT));

interface Options {
  readonly scale: Scale;
  readonly only: readonly string[] | undefined;
  /** All, if nobody is asked for. */
  readonly peers: readonly PeerKey[] | undefined;
  readonly profiles: Profiles | undefined;
  readonly clientsNap: boolean;
  readonly writesPage: boolean;
  /** Where results are kept. */
  readonly keep: string;
  /** Draw the page from files that were kept, and measure nothing. */
  readonly from: readonly string[] | undefined;
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      quick: { type: "boolean", default: false },
      tiny: { type: "boolean", default: false },
      only: { type: "string" },
      peers: { type: "string" },
      rounds: { type: "string" },
      profile: { type: "boolean", default: false },
      naps: { type: "boolean", default: false },
      page: { type: "boolean", default: false },
      from: { type: "string" },
      keep: { type: "string", default: RESULTS },
    },
  });
  const ids = SCENARIOS.map(({ id }) => id);
  const scale = SCALES[values.tiny ? "tiny" : values.quick ? "quick" : "full"];
  if (values.naps && values.page) throw new Error("--page is for clients that are woken, without --naps");
  const rounds = values.rounds === undefined ? scale.rounds : atLeastOne("--rounds", values.rounds);
  return {
    scale: { ...scale, rounds },
    only: values.only === undefined ? undefined : eachOneOf("--only", values.only, ids),
    peers: values.peers === undefined ? undefined : eachOneOf("--peers", values.peers, PEER_KEYS),
    clientsNap: values.naps,
    profiles: values.profile ? new Profiles(values.keep) : undefined,
    writesPage: values.page,
    from: values.from?.split(","),
    keep: values.keep,
  };
}

interface Measured extends Pick<Report, "results" | "skipped"> {
  /** Scenarios without a result, because something was delivered wrongly or not at all. */
  readonly failures: readonly string[];
}

/** @param keep - called after each scenario, so that a run that is ended was not in vain */
async function measure(
  { scale, only, peers, profiles, clientsNap }: Options,
  keep: (measured: Measured) => void,
): Promise<Measured> {
  const { here, skipped } = await present(peers ?? PEER_KEYS);
  const gone: Skipped[] = [...skipped];
  const stages = new Stages({ profiles, clientsNap });
  const run: Run = {
    scale,
    peers: here,
    arePicked: peers !== undefined,
    stages,
    skip: (peer, reason) => {
      gone.push({ peer, name: peer, reason });
      console.log(`skipped ${peer}: ${reason}`);
    },
  };
  for (const { name, reason } of skipped) console.log(`skipped ${name}: ${reason}`);
  const chosen = SCENARIOS.filter(({ id, isRare = false }) =>
    only === undefined ? !isRare || scale.name === "full" : only.includes(id),
  );
  const hasGoal = ({ id }: Scenario) => GOALS.some((goal) => goal.scenario === id);
  const { goalsOnlyAfterMs } = scale;
  const inOrder =
    goalsOnlyAfterMs === undefined
      ? chosen
      : [...chosen.filter(hasGoal), ...chosen.filter((scenario) => !hasGoal(scenario))];
  const begunAt = performance.now();
  const results: Result[] = [];
  const failures: string[] = [];
  for (const scenario of inOrder) {
    const startedAt = performance.now();
    if (!hasGoal(scenario) && startedAt - begunAt > (goalsOnlyAfterMs ?? Number.POSITIVE_INFINITY)) {
      console.log(`\n${scenario.id}: left out, time is up`);
      continue;
    }
    try {
      const entries = scenario.entries(run);
      await stages.keep(entries);
      const result = await scenario.run(run, entries);
      results.push(result);
      keep({ results, skipped: gone, failures });
      tell(result, performance.now() - startedAt);
      const shares = profiles?.take() ?? [];
      if (shares.length > 1) console.log(`\n${table(shares)}`);
    } catch (error) {
      failures.push(`FAILED ${scenario.id}: ${error instanceof Error ? error.message : String(error)}`);
      console.log(`\n${failures.at(-1)}`);
      await stages.keep([]);
    }
  }
  await stages.keep([]);
  return { results, skipped: gone, failures };
}

function tell(result: Result, tookMs: number): void {
  if (result.entrants.length === 0) return;
  console.log(`\n${result.id}: ${result.title} (${(tookMs / 1_000).toFixed(0)} s)`);
  console.log(table(rowsOf(result)));
  const { disturbed, all } = disturbedOf(result);
  if (disturbed > 0) console.log(`${disturbed} of ${all} measurements were disturbed: the machine is busy`);
}

/** Of several runs as of one: of a scenario that several have, the last one's. */
function together(files: readonly string[]): Report {
  const reports = files.map((file) => JSON.parse(readFileSync(file, "utf8")) as Report);
  const last = new Map(reports.flatMap(({ results }) => results.map((result) => [result.id, result])));
  const results = SCENARIOS.flatMap(({ id }) => last.get(id) ?? []);
  return { ...(reports[0] as Report), results };
}

/** Writes the page and its pictures. */
function writePage(report: Report): void {
  if (existsSync(PICTURES)) for (const file of readdirSync(PICTURES)) rmSync(`${PICTURES}${file}`);
  mkdirSync(PICTURES, { recursive: true });
  const pictureOf = (result: Result) => {
    const figure = result.figures.find(({ key }) => key === result.chart);
    if (figure === undefined || result.entrants.length < 2) return undefined;
    const drawn = result.entrants.toSorted((a, b) => median(a, figure.key) - median(b, figure.key));
    const dots = drawn.map(({ key, name, rounds }) => {
      const figures = spread(rounds.map((round) => round[figure.key] ?? Number.NaN));
      return { ...figures, name, isOurs: isOurs(key as PeerKey) };
    });
    const file = `${result.id}.svg`;
    writeFileSync(
      `${PICTURES}${file}`,
      chart(result.title, `${figure.name}, ${result.unit}`, dots, figure.digits),
    );
    return `performance/${file}`;
  };
  writeFileSync(PAGE, between(readFileSync(PAGE, "utf8"), markdown(report, pictureOf)));
  console.log(`written: ${PAGE}`);
}

const options = readOptions();
if (options.from !== undefined) {
  writePage(together(options.from));
} else {
  const begun = new Date();
  const startedAt = performance.now();
  const { scale, writesPage, keep } = options;
  checkFileLimit(scale.largeCrowd);
  const save = (measured: Measured) => saveResults("suite", { scale: scale.name, ...measured }, keep, begun);
  const measured = await measure(options, save);
  const { results, failures } = measured;
  const file = save(measured);
  const tookS = (performance.now() - startedAt) / 1_000;
  console.log(`\n${Math.floor(tookS / 60)} min ${(tookS % 60).toFixed(0)} s; kept in ${file}`);
  if (writesPage && failures.length === 0) {
    copyFileSync(file, `${keep}/performance.json`);
    writePage(together([file]));
  }
  const ids = new Set(results.map(({ id }) => id));
  console.log("");
  for (const goal of GOALS) if (ids.has(goal.scenario)) console.log(goalLine(goal, judge(goal, results)));
  const counts = results.map(disturbedOf);
  const sum = (of: readonly number[]) => of.reduce((total, value) => total + value, 0);
  const disturbed = sum(counts.map((count) => count.disturbed));
  if (disturbed > 0) {
    const all = sum(counts.map((count) => count.all));
    console.log(`${disturbed} of ${all} measurements were disturbed: believe it when the machine is quiet`);
  }
  for (const failure of failures) console.log(failure);
  process.exitCode = failures.length === 0 ? 0 : 1;
}
