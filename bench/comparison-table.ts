/** How contenders did in the same rounds, as text and for the file. */
import { type Comparison, compare, spread } from "./statistics.ts";
import { table } from "./table.ts";

/** Something that is measured in each round. */
export interface Figure<Round> {
  readonly name: string;
  readonly digits: number;
  pick(round: Round): number;
}

export interface Entrant<Round> {
  readonly name: string;
  readonly rounds: readonly Round[];
  /** What is known of it besides, by name. */
  readonly also?: Readonly<Record<string, number>>;
}

export interface FigureComparison extends Comparison {
  readonly figure: string;
  readonly of: string;
}

/** Of the first entrant to each of the others. */
export function compareFigures<Round>(
  figures: readonly Figure<Round>[],
  [first, ...others]: readonly Entrant<Round>[],
): readonly FigureComparison[] {
  if (first === undefined) return [];
  return others.flatMap(({ name, rounds }) =>
    figures.map(({ name: figure, pick }) => ({
      figure,
      of: name,
      ...compare(first.rounds.map(pick), rounds.map(pick)),
    })),
  );
}

/** Medians of each entrant, then the ratios: their median and, in brackets, the middle half of the rounds. */
export function comparisonTable<Round>(
  unit: string,
  figures: readonly Figure<Round>[],
  entrants: readonly Entrant<Round>[],
  comparisons: readonly FigureComparison[],
): string {
  const also = Object.keys(entrants[0]?.also ?? {});
  const head = [unit, ...figures.map(({ name }) => name), ...also];
  const medians = entrants.map(({ name, rounds, also: known = {} }) => [
    name,
    ...figures.map(({ digits, pick }) => spread(rounds.map(pick)).median.toFixed(digits)),
    ...also.map((key) => (known[key] ?? Number.NaN).toFixed(0)),
  ]);
  const ratios = entrants
    .slice(1)
    .map(({ name }) => [
      `${entrants[0]?.name} / ${name}`,
      ...comparisons.filter(({ of }) => of === name).map(({ ratios }) => inBrief(ratios)),
      ...also.map(() => ""),
    ]);
  return table([head, ...medians, ...ratios]);
}

function inBrief({ median, q1, q3 }: Comparison["ratios"]): string {
  return `${median.toFixed(2)} (${q1.toFixed(2)}-${q3.toFixed(2)})`;
}
