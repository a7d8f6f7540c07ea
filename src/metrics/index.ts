export { CATALOGUE, type Metric } from "./catalogue.ts";
export type { DoorOptions } from "./door.ts";
export { Metrics, type MetricsOptions, type MetricsSettings, metrics, type Siblings } from "./metrics.ts";
