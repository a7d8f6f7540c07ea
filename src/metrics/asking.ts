/**
 * What metrics of a registry say, each within a time limit: one that never does, or throws, is told without
 * values, so that all others are told.
 */
import type { MetricObject, Registry } from "prom-client";
import { thrownText, within } from "../index.ts";

/** What is asked of a metric; the package's own types know some of it. */
interface Asked {
  readonly name: string;
  readonly help: string;
  readonly type: string;
  readonly aggregator?: string;
  get(): Promise<unknown>;
}

/** What its types leave out. */
interface Writing extends Registry {
  getMetricsAsString(metric: Asked): Promise<string>;
}

export interface AskingOptions {
  readonly timeoutMs: number;
  /** Those that keep to a limit of their own. */
  readonly isOurs: (name: string) => boolean;
  readonly failed: (error: Error) => void;
}

export class Asking {
  readonly #options: AskingOptions;
  /** Asked, and not answered in time: not asked again before they have. */
  readonly #late = new WeakSet<Asked>();

  constructor(options: AskingOptions) {
    this.#options = options;
  }

  /** In the format of the registry. */
  text(registry: Registry): Promise<string> {
    const none = ({ name, help, type }: Asked) =>
      `# HELP ${name} ${help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}\n# TYPE ${name} ${type}`;
    const asking = (metric: Asked) =>
      this.#ask(metric, () => (registry as Writing).getMetricsAsString(metric), none);
    const patient: Registry = Object.create(registry, { getMetricsAsString: { value: asking } });
    return patient.metrics();
  }

  json(registry: Registry): Promise<readonly MetricObject[]> {
    const none = ({ name, help, type, aggregator = "sum" }: Asked) => {
      return { name, help, type, aggregator, values: [] };
    };
    const asked = () =>
      (registry.getMetricsAsArray() as unknown as readonly Asked[]).map((metric) => ({
        get: () => this.#ask<unknown>(metric, () => metric.get(), none),
      }));
    const patient: Registry = Object.create(registry, { getMetricsAsArray: { value: asked } });
    return patient.getMetricsAsJSON();
  }

  async #ask<T>(metric: Asked, ask: () => Promise<T>, none: (metric: Asked) => T): Promise<T> {
    const { timeoutMs, isOurs, failed } = this.#options;
    if (isOurs(metric.name)) return ask();
    if (this.#late.has(metric)) return none(metric);
    const answer = ask();
    let isLate = false;
    try {
      return await within(timeoutMs, answer, () => {
        isLate = true;
        this.#late.add(metric);
        const settled = () => void this.#late.delete(metric);
        answer.then(settled, settled);
        return new Error(`has not said its value within ${timeoutMs} ms, and is told without until it has`);
      });
    } catch (error) {
      const words = `${isLate ? "" : "cannot say its value: "}${thrownText(error)}`;
      failed(new Error(`the metric ${metric.name} ${words}`, { cause: error }));
      return none(metric);
    }
  }
}
