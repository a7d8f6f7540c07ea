/** The catalogue as `prom-client` shows it: nothing is kept here, each scrape draws anew from the readings. */
import { Counter, Gauge, Histogram, type Metric as PromMetric, type Registry } from "prom-client";
import type { Readings, SpreadReading } from "../index.ts";
import { CATALOGUE, type Metric } from "./catalogue.ts";

interface Line {
  readonly metricName?: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/**
 * Registers all of ours.
 *
 * @param read - undefined: there is nothing to tell any more
 * @returns their names
 */
export function draw(registry: Registry, read: () => Promise<Readings | undefined>): readonly string[] {
  for (const metric of CATALOGUE) registry.registerMetric(drawn(metric, read));
  return CATALOGUE.map(({ name }) => name);
}

function drawn(metric: Metric, read: () => Promise<Readings | undefined>): PromMetric {
  const { name, help, labels, type } = metric;
  const Kind = { counter: Counter, gauge: Gauge, histogram: Histogram }[type];
  const made = new Kind({ name, help, labelNames: [...labels], registers: [] });
  // What it would tell are values it was given; ours stand elsewhere, and may be none at all.
  const get = async () => {
    const readings = await read();
    const values = readings === undefined ? [] : linesOf(metric, readings);
    return { name, help, type, values, aggregator: "sum" };
  };
  return Object.assign(made, { get, getForPromString: get }) as unknown as PromMetric;
}

function linesOf(metric: Metric, readings: Readings): readonly Line[] {
  if (metric.type !== "histogram") {
    return metric.read(readings).map(([value, ...given]) => ({ labels: named(metric.labels, given), value }));
  }
  return metric
    .read(readings)
    .flatMap(([spread, ...given]) => bucketsOf(metric.name, spread, named(metric.labels, given)));
}

function bucketsOf(
  name: string,
  { bounds, counts, sumMs }: SpreadReading,
  labels: Readonly<Record<string, string>>,
): readonly Line[] {
  let count = 0;
  const buckets = counts.map((more, i) => {
    count += more;
    const bound = bounds[i];
    const le = bound === undefined ? "+Inf" : String(bound / 1_000);
    return { metricName: `${name}_bucket`, labels: { le, ...labels }, value: count };
  });
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: sumMs / 1_000 },
    { metricName: `${name}_count`, labels, value: count },
  ];
}

function named(labels: readonly string[], given: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(labels.map((label, i) => [label, given[i] ?? ""]));
}
