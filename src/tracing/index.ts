export {
  type ClientTraces,
  type Tracing,
  type TracingOptions,
  type TracingSettings,
  tracing,
  tracingDefaults,
} from "./tracing.ts";
