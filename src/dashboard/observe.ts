import { setTimeout as pause } from "node:timers/promises";
import type { ChannelLayer } from "../index.ts";
import { Cluster, type ClusterState } from "./cluster.ts";
import { REPORT, REPORTS, readReport } from "./report.ts";

/** How long {@link observe} listens. */
export interface ObserveOptions {
  /** How long to listen; at least two periods, so that there are rates. Default 4,500. */
  readonly forMs?: number;
  /** Ends it before. */
  readonly signal?: AbortSignal;
  /** Called every second meanwhile, with how the cluster stands by then. */
  readonly show?: (state: ClusterState) => void;
}

const SHOW_MS = 1_000;

/**
 * Listens for a while to what nodes with {@link dashboard} report, from a process that need not be one of them
 * (its application must be open), and says how the cluster stands. Nodes are not asked: one that hangs is
 * missing, or stale.
 *
 * @throws LayerUnavailable if the others cannot be heard
 */
export async function observe(
  layer: Pick<ChannelLayer, "listen">,
  { forMs = 4_500, signal, show }: ObserveOptions = {},
): Promise<ClusterState> {
  const cluster = new Cluster();
  const stop = await layer.listen(REPORTS, (message) => {
    const report = message.type === REPORT ? readReport(message) : undefined;
    if (report !== undefined) cluster.hear(report);
  });
  const showing = show && setInterval(() => show(cluster.state), SHOW_MS);
  try {
    await pause(forMs, undefined, signal === undefined ? {} : { signal }).catch(() => {});
    return cluster.state;
  } finally {
    clearInterval(showing);
    stop();
  }
}
