/** All nodes, as far as they have reported: nobody is asked. */
import {
  COUNTS,
  type CountName,
  type NodeReport,
  type ReportedGroup,
  type ReportedRoute,
  STOPPED,
  WORKS,
} from "./report.ts";

/** Nodes that are remembered; of more, newcomers are shown in place of those that have gone, if any has. */
const MAX_NODES = 500;
/** Periods without a report after which a node is stale, and gone. */
const STALE_PERIODS = 3;
const GONE_PERIODS = 10;
/** How long one that is gone is still shown, and one that has stopped as it should. */
const REMEMBERED_MS = 300_000;
const STOPPED_MS = 60_000;
const MAX_ROUTES = 200;
const MAX_GROUPS = 50;
const MAX_USERS = 50;

/** `stale`: it should have reported by now; `gone`: long since; `stopped`: it has said that it ends. */
export type NodeState = "fresh" | "stale" | "gone" | "stopped";

/** A node as its last report has it. */
export interface ClusterNode extends Omit<NodeReport, "groups"> {
  readonly state: NodeState;
  /** Since its last report. */
  readonly ageMs: number;
  /** Per second, between its last two reports. */
  readonly rates: Readonly<Record<CountName, number>>;
}

/** One of the busiest groups, over all nodes. */
export interface ClusterGroup {
  readonly layer: string;
  readonly group: string;
  /** On all nodes that count it among their busiest. */
  readonly members: number;
  readonly sentPerSecond: number;
  readonly present?: number;
  readonly users?: readonly string[];
  /** On how many nodes. */
  readonly nodes: number;
}

/** A route, over all fresh nodes that serve; a worker has the table of routes, too, but nobody comes there. */
export interface ClusterRoute extends ReportedRoute {
  /** On how many nodes. */
  readonly nodes: number;
}

/** How all nodes stand, by what they reported. */
export interface ClusterState {
  /** Milliseconds since 1970. */
  readonly at: number;
  readonly nodes: readonly ClusterNode[];
  readonly groups: readonly ClusterGroup[];
  /** In the order in which they are tried. */
  readonly routes: readonly ClusterRoute[];
}

interface Known {
  report: NodeReport;
  /** By our own clock, which never goes back. */
  heardAt: number;
  rates: Readonly<Record<CountName, number>>;
  periodMs: number;
}

const NO_RATES = Object.fromEntries(COUNTS.map((name) => [name, 0])) as Record<CountName, number>;

export class Cluster {
  readonly #nodes = new Map<string, Known>();
  readonly #now: () => number;

  /** @param now - milliseconds that never go back; for tests */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Says whether the node may have missed what was said before: it is new here, or was silent. */
  hear(report: NodeReport): boolean {
    const heardAt = this.#now();
    const known = this.#nodes.get(report.node);
    if (known === undefined) {
      this.#forgetGone();
      if (this.#nodes.size >= MAX_NODES) this.#makeRoom();
      if (this.#nodes.size >= MAX_NODES) return false;
      this.#nodes.set(report.node, { report, heardAt, rates: NO_RATES, periodMs: report.everyMs });
      return true;
    }
    // What comes late, or twice, says nothing new.
    if (report.number <= known.report.number) return false;
    const wasSilent = stateOf(known.report, heardAt - known.heardAt) !== "fresh";
    const periodMs = Math.max(heardAt - known.heardAt, report.everyMs / 2);
    const before = known.report.counts;
    known.rates = Object.fromEntries(
      COUNTS.map((name) => [name, (Math.max(report.counts[name] - before[name], 0) / periodMs) * 1_000]),
    ) as Record<CountName, number>;
    known.report = report;
    known.heardAt = heardAt;
    known.periodMs = periodMs;
    return wasSilent;
  }

  get state(): ClusterState {
    this.#forgetGone();
    const groups = new Map<string, GroupSum>();
    const routes = new Map<string, ClusterRoute>();
    const nodes = [...this.#nodes.values()].map((known): ClusterNode => {
      const { groups: own, ...report } = known.report;
      const ageMs = this.#now() - known.heardAt;
      const state = stateOf(known.report, ageMs);
      if (state === "fresh" || state === "stale")
        for (const group of own) addGroup(groups, group, known.periodMs);
      return { ...report, state, ageMs, rates: state === "fresh" ? known.rates : NO_RATES };
    });
    nodes.sort((a, b) => a.startedAt - b.startedAt || (a.node < b.node ? -1 : 1));
    for (const { state, phase, routes: own } of nodes) {
      if (state === "fresh" && phase !== WORKS) for (const route of own) addRoute(routes, route);
    }
    const busiest = [...groups.values()]
      .sort((a, b) => b.sentPerSecond + b.members - (a.sentPerSecond + a.members))
      .slice(0, MAX_GROUPS)
      .map(({ users, present, ...group }) => ({
        ...group,
        ...(present === undefined ? {} : { present }),
        ...(users === undefined ? {} : { users: [...users].slice(0, MAX_USERS) }),
      }));
    return { at: Date.now(), nodes, groups: busiest, routes: [...routes.values()] };
  }

  /** For a newcomer, of those that have gone or stopped the one that is silent longest is forgotten. */
  #makeRoom(): void {
    let longest: Known | undefined;
    for (const known of this.#nodes.values()) {
      const state = stateOf(known.report, this.#now() - known.heardAt);
      if (state !== "gone" && state !== "stopped") continue;
      if (longest === undefined || known.heardAt < longest.heardAt) longest = known;
    }
    if (longest !== undefined) this.#nodes.delete(longest.report.node);
  }

  #forgetGone(): void {
    const now = this.#now();
    for (const [node, { report, heardAt }] of this.#nodes) {
      const isStopped = report.phase === STOPPED;
      const keptMs = isStopped ? STOPPED_MS : GONE_PERIODS * report.everyMs + REMEMBERED_MS;
      if (now - heardAt > keptMs) this.#nodes.delete(node);
    }
  }
}

interface GroupSum {
  readonly layer: string;
  readonly group: string;
  members: number;
  sentPerSecond: number;
  nodes: number;
  present: number | undefined;
  users: Set<string> | undefined;
}

function stateOf({ everyMs, phase }: NodeReport, ageMs: number): NodeState {
  if (phase === STOPPED) return "stopped";
  if (ageMs > GONE_PERIODS * everyMs) return "gone";
  return ageMs > STALE_PERIODS * everyMs ? "stale" : "fresh";
}

function addGroup(
  groups: Map<string, GroupSum>,
  { layer, group, members, sent, present, users }: ReportedGroup,
  periodMs: number,
): void {
  const name = `${layer} ${group}`;
  const none = { members: 0, sentPerSecond: 0, nodes: 0, present: undefined, users: undefined };
  const sum: GroupSum = groups.get(name) ?? { layer, group, ...none };
  groups.set(name, sum);
  sum.members += members;
  sum.sentPerSecond += (sent / periodMs) * 1_000;
  if (members > 0) sum.nodes += 1;
  // Each node with members knows all of them.
  if (present !== undefined) sum.present = Math.max(sum.present ?? 0, present);
  for (const user of users ?? []) {
    sum.users ??= new Set();
    sum.users.add(user);
  }
}

function addRoute(routes: Map<string, ClusterRoute>, route: ReportedRoute): void {
  const key = `${route.kind} ${route.pattern}`;
  const sum = routes.get(key);
  if (sum === undefined && routes.size >= MAX_ROUTES) return;
  const { open = 0, accepted = 0, nodes = 0 } = sum ?? {};
  routes.set(key, {
    ...(sum ?? route),
    ...{ open: open + route.open, accepted: accepted + route.accepted, nodes: nodes + 1 },
  });
}
