/** What a run has shown, as Markdown and as lines for a terminal. */
import { GOALS, judge } from "./goals.ts";
import { DISTURBED, type Entrant, type Figure, type Result } from "./scenarios/scenario.ts";
import { compare, spread } from "./statistics.ts";

/** What everything is compared with, where it takes part. */
const STANDARD = "socket.io";

/** Medians of each entrant; the first figure with the middle half of its rounds, and beside it the ratio to bare Socket.IO. */
export function rowsOf({ figures, entrants, unit }: Result): readonly (readonly string[])[] {
  const [first] = figures;
  const standard = entrants.find(({ key }) => key === STANDARD);
  const hasRatio = standard !== undefined && entrants.length > 1;
  const shown = figures.filter(({ key }) => entrants.some((entrant) => median(entrant, key) !== 0));
  const head = [unit, ...shown.map(({ name }) => name), ...(hasRatio ? ["of Socket.IO"] : [])];
  const lines = entrants.map((entrant) => [
    entrant.name,
    ...shown.map((figure) => cell(entrant, figure, figure === first)),
    ...(hasRatio ? [ratioTo(standard, entrant, first?.key ?? "")] : []),
  ]);
  return [head, ...lines];
}

function values({ rounds }: Entrant, key: string): readonly number[] {
  return rounds.map((round) => round[key] ?? Number.NaN);
}

export function median(entrant: Entrant, key: string): number {
  return spread(values(entrant, key)).median;
}

function cell(entrant: Entrant, { key, digits }: Figure, hasSpread: boolean): string {
  const { median: middle, q1, q3 } = spread(values(entrant, key));
  const round = (value: number) =>
    value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return hasSpread && entrant.rounds.length > 1
    ? `${round(middle)} (${round(q1)} to ${round(q3)})`
    : round(middle);
}

/** Round by round where both have as many, else of the medians. */
export function ratio(entrant: Entrant, standard: Entrant, key: string): number {
  return compare(values(entrant, key), values(standard, key)).medianOfRatios;
}

function ratioTo(standard: Entrant, entrant: Entrant, key: string): string {
  return entrant === standard ? "1" : ratio(entrant, standard, key).toFixed(2);
}

/** How many of the measurements that count were disturbed all the same. */
export function disturbedOf({ entrants }: Result): { readonly disturbed: number; readonly all: number } {
  const all = entrants.flatMap(({ rounds }) => rounds.map((round) => round[DISTURBED] ?? 0));
  return { disturbed: all.filter((value) => value > 1).length, all: all.length };
}

export function markdownTable([head = [], ...rows]: readonly (readonly string[])[]): string {
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(3, ...all.map((row) => row[column]?.length ?? 0)));
  const line = (cells: readonly string[]) =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join(" | ")} |`;
  const rule = `| ${widths.map((width, i) => (i === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`)).join(" | ")} |`;
  return [line(head), rule, ...rows.map(line)].join("\n");
}

export interface Report {
  readonly at: string;
  readonly scale: string;
  readonly machine: Readonly<Record<string, unknown>>;
  readonly results: readonly Result[];
  readonly skipped: readonly { readonly name: string; readonly reason: string }[];
}

/** @param pictureOf - a result's chart, as a link from the page, if it has one */
export function markdown(report: Report, pictureOf: (result: Result) => string | undefined): string {
  const { at, scale, machine, results, skipped } = report;
  const parts = [
    `Measured on ${at.slice(0, 10)} (${scale} run), Node.js ${machine.node}, ${machine.cores} cores, ${machine.cpu}.`,
    markdownTable([
      ["goal", "at most or least", "measured", ""],
      ...GOALS.map((goal) => {
        const verdict = judge(goal, results);
        return [
          goal.text,
          `${goal.isAtLeast ? "at least" : "at most"} ${goal.limit}`,
          verdict === undefined ? "-" : verdict.ratio.toFixed(3),
          verdict === undefined ? "not measured" : verdict.isMet ? "met" : "**not met**",
        ];
      }),
    ]),
  ];
  for (const result of results) {
    parts.push(`### ${result.title[0]?.toUpperCase()}${result.title.slice(1)}`);
    const picture = pictureOf(result);
    if (picture !== undefined) parts.push(`![${result.title}](${picture})`);
    parts.push(markdownTable(rowsOf(result)));
    const { disturbed, all } = disturbedOf(result);
    if (disturbed > 0) parts.push(`${disturbed} of ${all} measurements were disturbed by other work.`);
  }
  if (skipped.length > 0) {
    parts.push("### Left out", ...skipped.map(({ name, reason }) => `- ${name}: ${reason}`));
  }
  return parts.join("\n\n");
}

export const BEGIN = "<!-- what `npm run bench` measured: begin -->";
export const END = "<!-- end -->";

/** @throws Error when the page has no markers */
export function between(page: string, text: string): string {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END, begin);
  if (begin < 0 || end < 0) throw new Error(`the page needs the lines ${BEGIN} and ${END}`);
  return `${page.slice(0, begin + BEGIN.length)}\n\n${text}\n\n${page.slice(end)}`;
}
