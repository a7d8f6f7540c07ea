export { CATALOGUE, type Metric } from "./catalogue.ts";
export type { DoorOptions } from "./door.ts";
export { Metrics, type MetricsOptions, type MetricsSettings, metrics } from "./metrics.ts";
