/** What several processes tell, as one text: each line says of which process it is. */
import { AggregatorRegistry, type MetricObject } from "prom-client";

/** A metric as `Registry.getMetricsAsJSON` gives it. */
interface Told {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly values: readonly Value[];
}

interface Value {
  readonly metricName?: string;
  readonly labels: Readonly<Record<string, string | number>>;
  readonly value: number | string;
}

/** For another process, or for {@link together}. */
export function toText(told: readonly (readonly MetricObject[])[]): string {
  // JSON knows no numbers such as NaN.
  return JSON.stringify(told.flat(), (_name, value: unknown) =>
    typeof value === "number" && !Number.isFinite(value) ? String(value) : value,
  );
}

/**
 * All of them in Prometheus' text format, whatever that of their registries is. Nothing is summed: a sum without the one that hangs would fall, and rise again
 * by all that it ever counted when it is back.
 *
 * @param texts - by process; undefined of one that has not answered
 */
export function together(texts: ReadonlyMap<string, string | undefined>): Promise<string> {
  const up: Told = {
    name: "sluice_process_up",
    help: "1 for each process behind this port that is told of here, 0 for one that did not answer",
    type: "gauge",
    values: [...texts].map(([process, text]) => ({
      ...{ labels: { process }, value: text === undefined ? 0 : 1 },
    })),
  };
  const all = [...texts].map(([process, text]) => {
    const told = text === undefined ? [] : (JSON.parse(text) as readonly Told[]);
    return told.map((metric) => ({ ...metric, values: metric.values.map((value) => of(process, value)) }));
  });
  // Of one process each line is another one, so that there is nothing to sum.
  const lists = [[up], ...all].map((metrics) => metrics.map((metric) => ({ ...metric, aggregator: "sum" })));
  return AggregatorRegistry.aggregate(lists).metrics();
}

/** A label of yours that is called so gets the name that Prometheus itself would give it. */
function of(process: string, { labels, value, ...rest }: Value): Value {
  const { process: yours, ...others } = labels;
  const exported = yours === undefined ? {} : { exported_process: yours };
  return { ...rest, labels: { process, ...exported, ...others }, value: Number(value) };
}
