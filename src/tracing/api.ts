import { peerNow } from "../index.ts";

export type Api = typeof import("@opentelemetry/api");

/** Loaded when somebody wants to trace, and not before. */
export function loadApi(): Api {
  return peerNow<Api>("@opentelemetry/api");
}
