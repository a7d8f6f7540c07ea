/** Something for `sluice canary` to talk to: what applications import from `sluice/canary`. */
export { type CanaryOptions, canary } from "./canary.ts";
