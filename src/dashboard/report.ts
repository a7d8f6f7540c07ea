/** What a node says of itself, and how another reads it: small, bounded, and believed in nothing but its form. */
import type { Message } from "../index.ts";

/** Of the messages by which nodes report. */
export const REPORTS = "sluice.reports";
export const REPORT = "dashboard.report";
/** The phase in the last report of a node that ends as it should. */
export const STOPPED = "stopped";
/** That of a process that serves nobody. */
export const WORKS = "works";
const VERSION = 1;

export const bounds = {
  /** Bytes of a report as JSON. */
  bytes: 16_384,
  routes: 100,
  groups: 25,
  /** Of a group with presence. */
  users: 12,
  tasks: 50,
  kinds: 20,
  text: 120,
} as const;

/** Of all that is told of causes. */
const MAX_CAUSES = 8 * bounds.kinds;

/** Numbers that only rise while a node lives. */
export const COUNTS = [
  ...([
    "accepted",
    "ended",
    "denied",
    "received",
    "refused",
    "limited",
    "failed",
    "sent",
    "delivered",
  ] as const),
  ...(["published", "heard", "lost", "dropped"] as const),
  ...(["tasksQueued", "tasksDone", "tasksFailed", "tasksRetried"] as const),
] as const;
export type CountName = (typeof COUNTS)[number];

const GAUGES = [
  ...([
    "connections",
    "unsettled",
    "transports",
    "groups",
    "waitingBytes",
    "mailboxes",
    "tasksRunning",
  ] as const),
  ...(["cpu", "cores", "rssBytes", "heapBytes", "loopMs"] as const),
] as const;
export type GaugeName = (typeof GAUGES)[number];

/** A route of a node. */
export interface ReportedRoute {
  readonly pattern: string;
  /** `socket`, `sse` or `http`. */
  readonly kind: string;
  /** The consumer's class. */
  readonly consumer: string;
  readonly open: number;
  readonly accepted: number;
}

/** One of the busiest groups of a node. */
export interface ReportedGroup {
  readonly layer: string;
  readonly group: string;
  /** Members on that node. */
  readonly members: number;
  /** Messages and events sent to it by that node since its last report. */
  readonly sent: number;
  /** Users in it, on all nodes, as that node knows; left out where nobody counts. */
  readonly present?: number;
  /** Some of them. */
  readonly users?: readonly string[];
}

/** How often runs of a task ended on a node, and how. */
export interface ReportedTask {
  readonly task: string;
  readonly done: number;
  readonly failed: number;
  readonly retried: number;
}

/** What a node says of itself, again and again. */
export interface NodeReport {
  readonly node: string;
  readonly host: string;
  readonly pid: number;
  /** Of the package. */
  readonly version: string;
  /** Of the application, if it says. */
  readonly appVersion: string;
  readonly runtime: string;
  /** Milliseconds since 1970, by that node's clock. */
  readonly startedAt: number;
  /** When the next one is due. */
  readonly everyMs: number;
  /** 1, 2, 3, ... */
  readonly number: number;
  /** Of a node that serves: `serving`, `draining`, ...; `works` of a worker. */
  readonly phase: string;
  /** It cannot reach the others over some layer. */
  readonly isDegraded: boolean;
  readonly counts: Readonly<Record<CountName, number>>;
  readonly gauges: Readonly<Record<GaugeName, number>>;
  /** Why clients were refused, messages dropped and so on: `dropped mailbox-full` and how often. */
  readonly causes: readonly (readonly [cause: string, count: number])[];
  readonly routes: readonly ReportedRoute[];
  readonly groups: readonly ReportedGroup[];
  readonly tasks: readonly ReportedTask[];
}

/** A report as it travels; of one that is too large, the lists are cut. */
export function toMessage(report: NodeReport): Message {
  let fit = report;
  for (const less of LESS) {
    if (Buffer.byteLength(JSON.stringify(fit)) <= bounds.bytes) break;
    fit = less(fit);
  }
  return { type: REPORT, v: VERSION, ...fit };
}

/** One after the other, until it fits. */
const LESS: readonly ((report: NodeReport) => NodeReport)[] = [
  (report) => ({ ...report, groups: report.groups.map(({ users: _, ...group }) => group) }),
  (report) => ({ ...report, groups: report.groups.slice(0, 10), tasks: report.tasks.slice(0, 20) }),
  (report) => ({ ...report, routes: report.routes.slice(0, 30), causes: report.causes.slice(0, 10) }),
  (report) => ({ ...report, groups: [], tasks: [], routes: [], causes: [] }),
];

/** Undefined for what is none: of another version, forged, or broken. Takes nothing over that it does not know. */
export function readReport(message: Message): NodeReport | undefined {
  const from = fieldsOf(message);
  if (from.v !== VERSION) return undefined;
  const [node, startedAt, everyMs] = [text(from.node), count(from.startedAt), count(from.everyMs)];
  if (!/^[A-Za-z0-9._-]{1,99}$/.test(node) || everyMs < 50 || everyMs > 60_000) return undefined;
  const [counts, gauges] = [fieldsOf(from.counts), fieldsOf(from.gauges)];
  return {
    node,
    host: text(from.host),
    pid: count(from.pid),
    version: text(from.version),
    appVersion: text(from.appVersion),
    runtime: text(from.runtime),
    startedAt,
    everyMs,
    number: count(from.number),
    phase: text(from.phase),
    isDegraded: from.isDegraded === true,
    counts: numbers(COUNTS, counts),
    gauges: numbers(GAUGES, gauges),
    causes: list(from.causes, MAX_CAUSES, (entry) =>
      Array.isArray(entry) ? ([text(entry[0]), count(entry[1])] as const) : undefined,
    ),
    routes: list(from.routes, bounds.routes, (entry) => {
      const { pattern, kind, consumer, open, accepted } = fieldsOf(entry);
      return {
        ...{ pattern: text(pattern), kind: text(kind), consumer: text(consumer) },
        ...{ open: count(open), accepted: count(accepted) },
      };
    }),
    groups: list(from.groups, bounds.groups, (entry) => {
      const { layer, group, members, sent, present, users } = fieldsOf(entry);
      return {
        ...{ layer: text(layer), group: text(group), members: count(members), sent: count(sent) },
        ...(present === undefined ? {} : { present: count(present) }),
        ...(users === undefined ? {} : { users: list(users, bounds.users, text) }),
      };
    }),
    tasks: list(from.tasks, bounds.tasks, (entry) => {
      const { task, done, failed, retried } = fieldsOf(entry);
      return { task: text(task), done: count(done), failed: count(failed), retried: count(retried) };
    }),
  };
}

export function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

export function text(value: unknown): string {
  return typeof value === "string" ? value.slice(0, bounds.text) : "";
}

/** From 0. */
export function count(value: unknown): number {
  return typeof value === "number" && value >= 0 && value <= Number.MAX_SAFE_INTEGER ? value : 0;
}

/** Nobody reads more digits, and they are most of what travels. */
export function rounded<Numbers extends object>(numbers: Numbers): Numbers {
  return Object.fromEntries(
    Object.entries(numbers).map(([name, value]) => [
      name,
      typeof value === "number" ? Math.round(value * 1_000) / 1_000 : value,
    ]),
  ) as Numbers;
}

/** The first of them, as many as `maxBytes` of JSON hold. */
export function fitting<T>(entries: readonly T[], maxBytes: number): readonly T[] {
  let left = maxBytes;
  const end = entries.findIndex((entry) => {
    left -= Buffer.byteLength(JSON.stringify(entry)) + 1;
    return left < 0;
  });
  return end < 0 ? entries : entries.slice(0, end);
}

function numbers<Name extends string>(
  names: readonly Name[],
  from: Readonly<Record<string, unknown>>,
): Readonly<Record<Name, number>> {
  return Object.fromEntries(names.map((name) => [name, count(from[name])])) as Record<Name, number>;
}

/** What can be read of the first of them. */
export function list<T>(value: unknown, most: number, read: (entry: unknown) => T | undefined): readonly T[] {
  if (!Array.isArray(value)) return [];
  return value.slice(0, most).flatMap((entry) => {
    const found = read(entry);
    return found === undefined ? [] : [found];
  });
}
