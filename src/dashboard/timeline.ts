/** What the charts show, of now and of the last while. */
import type { ClusterNode, ClusterState } from "./cluster.ts";
import { rounded } from "./report.ts";

/** More than a chart has room for. */
const MAX_POINTS = 1_800;

/** Runs in the queues, over all of them. */
export interface Backlog {
  readonly waiting: number;
  readonly delayed: number;
  readonly running: number;
}

/** What a chart shows of one moment, of all nodes that are fresh. */
export interface ClusterPoint {
  readonly at: number;
  readonly nodes: number;
  readonly connections: number;
  readonly received: number;
  readonly sent: number;
  readonly delivered: number;
  readonly denied: number;
  readonly trouble: number;
  readonly loopMs: number;
  readonly tasksDone: number;
  readonly tasksFailed: number;
  /** Left out where it is not known. */
  readonly backlog?: Backlog;
}

export function pointOf({ at, nodes }: ClusterState, backlog?: Backlog): ClusterPoint {
  const fresh = nodes.filter(({ state }) => state === "fresh");
  const sum = (read: (node: ClusterNode) => number) => fresh.reduce((all, node) => all + read(node), 0);
  return rounded({
    at,
    nodes: fresh.length,
    connections: sum(({ gauges }) => gauges.connections),
    received: sum(({ rates }) => rates.received),
    sent: sum(({ rates }) => rates.sent),
    delivered: sum(({ rates }) => rates.delivered),
    denied: sum(({ rates }) => rates.denied + rates.refused + rates.limited),
    trouble: sum(({ rates }) => rates.failed + rates.dropped + rates.lost),
    loopMs: Math.max(0, ...fresh.map(({ gauges }) => gauges.loopMs)),
    tasksDone: sum(({ rates }) => rates.tasksDone),
    tasksFailed: sum(({ rates }) => rates.tasksFailed),
    ...(backlog && { backlog }),
  });
}

/** Points of the last while: one for each period, or for each few where that would be too many. */
export class Timeline {
  readonly #points: ClusterPoint[] = [];
  readonly #most: number;
  /** Of so many points the first is kept. */
  readonly #step: number;
  #turn = 0;

  constructor(historyMs: number, everyMs: number) {
    const periods = Math.ceil(historyMs / everyMs);
    this.#step = Math.ceil(periods / MAX_POINTS);
    this.#most = Math.ceil(periods / this.#step);
  }

  add(point: ClusterPoint): void {
    this.#turn += 1;
    if ((this.#turn - 1) % this.#step !== 0) return;
    this.#points.push(point);
    if (this.#points.length > this.#most) this.#points.shift();
  }

  get points(): readonly ClusterPoint[] {
    return this.#points;
  }
}
