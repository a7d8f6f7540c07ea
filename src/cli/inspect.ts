import { createApplication } from "../application.ts";
import type { ClusterGroup, ClusterNode, ClusterRoute, ClusterState } from "../dashboard/index.ts";
import { ConfigurationError } from "../errors.ts";
import { printable, printableLines } from "../names.ts";
import { redisBackplane } from "./backplane.ts";
import type { Environment } from "./environment.ts";
import { isColourful, isWatched, ProgressLine, say, table } from "./output.ts";

export interface InspectOptions {
  /** In milliseconds. */
  readonly for?: number;
  readonly watch?: boolean;
  readonly json?: boolean;
}

/** What `--json` prints: how the cluster stands, as its nodes have reported it. */
export interface Inspection extends ClusterState {
  readonly tasks: readonly InspectedTask[];
}

/** On all nodes and workers that live, since they have begun. */
export interface InspectedTask {
  readonly task: string;
  readonly done: number;
  readonly failed: number;
  readonly retried: number;
  readonly nodes: number;
}

/** Two reports of a node that reports as often as it does by default, so that there are rates. */
const USUAL_MS = 5_000;
/** As long as a timer can be. */
const ENDLESS_MS = 2_147_483_647;

/**
 * `sluice inspect`: listens for a while to what nodes report, and prints how the cluster stands. This process is
 * no node of it, and asks none.
 *
 * @returns 0 if a node was heard
 * @throws ConfigurationError that says why there is nothing to see; LayerUnavailable
 */
export async function inspect(options: InspectOptions, environment: Environment): Promise<number> {
  const { json = false, watch = false } = options;
  const forMs = options.for ?? (watch ? ENDLESS_MS : USUAL_MS);
  const backplane = await redisBackplane(environment);
  if (backplane === undefined) {
    throw new ConfigurationError([
      "`sluice inspect` hears through Redis what nodes report, and without one a node is alone: set REDIS_URL to the one that the nodes use, or look at the dashboard of the node itself (DASHBOARD_PASSWORD)",
    ]);
  }
  const { observe } = await import("../dashboard/index.ts");
  const encryptionKeys = environment.SLUICE_ENCRYPTION_KEYS ?? [];
  const app = createApplication({ routes: [], backplane, encryptionKeys });
  const ending = new AbortController();
  const end = () => ending.abort();
  if (watch) {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, end);
    // Whoever reads it has seen enough.
    process.stdout.on("error", end);
  }
  const progress = new ProgressLine(process.stderr, isWatched(process.stderr));
  try {
    await app.start();
    const until = performance.now() + forMs;
    const show = (state: ClusterState) => {
      if (watch && state.nodes.length > 0) {
        progress.clear();
        write(state, json);
      } else progress.show(`${listening(state)}${timeLeft(until - performance.now())}`);
    };
    progress.show("listening to what nodes report");
    const state = await observe(app.layer, { forMs, signal: ending.signal, show });
    progress.clear();
    if (state.nodes.length === 0) {
      if (json) await say(toJson(state, watch));
      if (ending.signal.aborted) return 1;
      throw nothingHeard(forMs, app.readings().counters);
    }
    if (!watch) await say(json ? toJson(state, false) : text(state, forMs));
    return 0;
  } finally {
    progress.clear();
    await app.stop();
  }
}

function listening({ nodes }: ClusterState): string {
  return nodes.length === 0 ? "listening to what nodes report" : `${counted(nodes.length, "node")} heard`;
}

function timeLeft(ms: number): string {
  return ms > ENDLESS_MS / 2 ? "" : `, ${Math.max(1, Math.ceil(ms / 1_000))} s left`;
}

/** One picture of many. */
function write(state: ClusterState, json: boolean): void {
  if (json) process.stdout.write(`${toJson(state, true)}\n`);
  // From the upper left corner on, over the one before.
  else if (process.stdout.isTTY) process.stdout.write(`\u001b[H\u001b[J${text(state)}\n`);
  else process.stdout.write(`${text(state)}\n\n`);
}

function toJson(state: ClusterState, isLine: boolean): string {
  const inspection: Inspection = { ...state, tasks: tasksOf(state) };
  // What others have said must not move the cursor here either.
  return printableLines(JSON.stringify(inspection, undefined, isLine ? undefined : 2));
}

function nothingHeard(
  forMs: number,
  { unopened, dropped }: { readonly unopened: Counts; readonly dropped: Counts },
): ConfigurationError {
  const isSealed = Object.values(unopened).some((count) => count > 0) || (dropped["bad-envelope"] ?? 0) > 0;
  return new ConfigurationError([
    isSealed
      ? "what nodes report cannot be read here: set SLUICE_ENCRYPTION_KEYS to the keys that they have"
      : `no node has reported in ${forMs / 1_000} s: their applications need the part dashboard() of "sluice/dashboard", and their Redis and prefix must be those of REDIS_URL and REDIS_PREFIX here`,
  ]);
}

type Counts = Readonly<Record<string, number>>;

// ---- sums ---------------------------------------------------------------------------------------------

function tasksOf({ nodes }: ClusterState): readonly InspectedTask[] {
  const sums = new Map<string, InspectedTask>();
  for (const { task, done, failed, retried } of nodes.filter(isAlive).flatMap(({ tasks }) => tasks)) {
    const sum = sums.get(task);
    sums.set(task, {
      ...{ task, done: done + (sum?.done ?? 0), failed: failed + (sum?.failed ?? 0) },
      ...{ retried: retried + (sum?.retried ?? 0), nodes: 1 + (sum?.nodes ?? 0) },
    });
  }
  return [...sums.values()].sort((a, b) => b.done + b.failed - (a.done + a.failed));
}

function isAlive({ state }: ClusterNode): boolean {
  return state === "fresh" || state === "stale";
}

// ---- for people ---------------------------------------------------------------------------------------

function text(state: ClusterState, heardMs?: number): string {
  const parts = [
    headline(state),
    table(NODE_HEAD, state.nodes.map((node) => nodeCells(node, state.at)).map(fit)),
    ...section(ROUTE_HEAD, [...state.routes].sort((a, b) => b.open - a.open).map(routeCells)),
    ...section(GROUP_HEAD, state.groups.map(groupCells)),
    ...section(TASK_HEAD, tasksOf(state).map(taskCells)),
    ...(heardMs === undefined ? [] : tooRare(state, heardMs)),
  ];
  return parts.join("\n\n");
}

function headline({ nodes }: ClusterState): string {
  const fresh = nodes.filter(({ state }) => state === "fresh");
  const sum = (read: (node: ClusterNode) => number) => fresh.reduce((all, node) => all + read(node), 0);
  const connections = sum(({ gauges }) => gauges.connections);
  const [received, delivered] = [sum(({ rates }) => rates.received), sum(({ rates }) => rates.delivered)];
  const ill = nodes.filter(({ state, isDegraded }) => state === "stale" || state === "gone" || isDegraded);
  const lame = ill.length === 0 ? "" : paint(`; ${counted(ill.length, "node")} not well`);
  return `${counted(nodes.length, "node")}, ${counted(connections, "connection")}, ${rate(received)} events/s in, ${rate(delivered)} deliveries/s out${lame}`;
}

function paint(words: string): string {
  return isColourful(process.stdout) ? `\u001b[33m${words}\u001b[0m` : words;
}

const NODE_HEAD = [
  ...["node", "state", "where", "version", "up", "connections", "in/s", "out/s", "tasks"],
  ...["cpu", "memory", "loop"],
];
const ROUTE_HEAD = ["route", "protocol", "serves", "open", "accepted", "nodes"];
const GROUP_HEAD = ["group", "layer", "members", "nodes", "sent/s", "present", "users"];
const TASK_HEAD = ["task", "done", "failed", "retried", "nodes"];

function nodeCells(node: ClusterNode, at: number): string[] {
  const { gauges, rates, version, appVersion } = node;
  const isFresh = node.state === "fresh";
  const stands = isFresh ? node.phase : `${node.state} ${span(node.ageMs)}`;
  return [
    node.node,
    isFresh && node.isDegraded ? `${stands}, degraded` : stands,
    `${node.host}:${node.pid}`,
    appVersion === "" ? version : `${version} (${appVersion})`,
    span(Math.max(at - node.startedAt, 0)),
    ...[String(gauges.connections), rate(rates.received), rate(rates.delivered)],
    gauges.tasksRunning === 0 ? "" : String(gauges.tasksRunning),
    `${Math.round(gauges.cpu * 100)}%`,
    `${Math.round(gauges.rssBytes / 1_048_576)} MiB`,
    `${gauges.loopMs.toFixed(0)} ms`,
  ];
}

function routeCells({ pattern, kind, consumer, open, accepted, nodes }: ClusterRoute): string[] {
  return [pattern, kind, consumer, ...[open, accepted, nodes].map(String)];
}

function groupCells({ group, layer, members, nodes, sentPerSecond, present, users }: ClusterGroup): string[] {
  const others = (present ?? 0) - (users?.length ?? 0);
  const named = (users ?? []).map((user) => printable(user, 24)).join(", ");
  return [
    ...[group, layer === "default" ? "" : layer, String(members), String(nodes), rate(sentPerSecond)],
    present === undefined ? "" : String(present),
    others > 0 && named !== "" ? `${named} and ${others} more` : named,
  ];
}

function taskCells({ task, done, failed, retried, nodes }: InspectedTask): string[] {
  return [task, ...[done, failed, retried, nodes].map(String)];
}

function section(head: readonly string[], rows: readonly (readonly string[])[]): string[] {
  return rows.length === 0 ? [] : [table(head, rows.map(fit))];
}

/** What others have said must not move the cursor. */
function fit(cells: readonly string[]): string[] {
  return cells.map((cell) => printable(cell, 200));
}

/** Of a node that was heard once there are no rates. */
function tooRare({ nodes }: ClusterState, heardMs: number): string[] {
  const slowest = Math.max(...nodes.map(({ everyMs }) => everyMs));
  if (2 * slowest <= heardMs) return [];
  return [
    `Nodes report every ${slowest / 1_000} s: for their rates listen longer, --for ${Math.ceil((2.5 * slowest) / 1_000)}s`,
  ];
}

function counted(count: number, what: string): string {
  return `${count} ${count === 1 ? what : `${what}s`}`;
}

function rate(perSecond: number): string {
  return perSecond === 0 || perSecond >= 10 ? perSecond.toFixed(0) : perSecond.toFixed(1);
}

function span(ms: number): string {
  const [unit, name] = ms < 120_000 ? [1_000, "s"] : ms < 7_200_000 ? [60_000, "min"] : [3_600_000, "h"];
  return ms < 172_800_000
    ? `${Math.round(ms / (unit as number))} ${name}`
    : `${Math.round(ms / 86_400_000)} d`;
}
