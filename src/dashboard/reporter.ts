/** Says every so often how this node stands. */
import { availableParallelism, hostname } from "node:os";
import { type IntervalHistogram, monitorEventLoopDelay } from "node:perf_hooks";
import type { PartContext } from "../index.ts";
import {
  bounds,
  type NodeReport,
  REPORTS,
  type ReportedGroup,
  STOPPED,
  text,
  toMessage,
  WORKS,
} from "./report.ts";
import type { SentCounts } from "./sent-counts.ts";

/** In milliseconds: what a loop is measured by that is never late. */
const RESOLUTION_MS = 20;

export interface ReporterOptions {
  readonly everyMs: number;
  /** Of the application. */
  readonly version: string;
}

type Counts = Readonly<Record<string, number>>;

export class Reporter {
  readonly #context: PartContext;
  readonly #options: ReporterOptions;
  readonly #loop: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  readonly #sent: SentCounts;
  readonly #timer: NodeJS.Timeout;
  #number = 0;
  #cpu = process.cpuUsage();
  #at = performance.now();

  /** @param sent - counted anew for each report */
  constructor(context: PartContext, sent: SentCounts, options: ReporterOptions) {
    this.#context = context;
    this.#sent = sent;
    this.#options = options;
    this.#loop.enable();
    this.#timer = setInterval(() => this.say(), options.everyMs);
    this.#timer.unref();
  }

  /** Says that it ends, so that nobody wonders. */
  stop(): void {
    this.say(STOPPED);
    clearInterval(this.#timer);
    this.#loop.disable();
  }

  /** Now, beside the usual times. Never throws: a report that cannot be sent is one that is missing. */
  say(phase?: string): void {
    try {
      const report = this.#report();
      this.#context.layer.tellListeners(
        REPORTS,
        toMessage(phase === undefined ? report : { ...report, phase }),
      );
    } catch (error) {
      this.#context.signals.failed.announce({ hook: "layer", error });
    }
  }

  #report(): NodeReport {
    const { app, node } = this.#context;
    const { counters, gauges, layers, server, tasks, version, startedAt } = app.readings();
    this.#number += 1;
    // Those that a worker could run are told from the start on, of which nothing is to be seen yet.
    const ended = Object.entries(tasks?.ended ?? {}).filter(([, outcomes]) => total(outcomes) > 0);
    const tasksOf = (outcome: string) => sum(ended.map(([, outcomes]) => outcomes[outcome] ?? 0));
    const memory = process.memoryUsage();
    return {
      ...{ node, host: text(hostname()), pid: process.pid, version: text(version) },
      ...{ appVersion: text(this.#options.version), runtime: `Node.js ${process.versions.node}`, startedAt },
      ...{ everyMs: this.#options.everyMs, number: this.#number },
      phase: server?.phase === undefined || server.phase === "starting" ? WORKS : server.phase,
      isDegraded: Object.values(layers).some((layer) => layer.isDegraded),
      counts: {
        accepted: total(counters.accepted),
        ended: total(counters.ended),
        denied: total(counters.denied),
        received: counters.received,
        refused: total(counters.refused),
        limited: total(counters.limited),
        failed: total(counters.failed),
        sent: counters.sentToGroups,
        delivered: counters.deliveredToClients + counters.deliveredToConsumers,
        published: counters.published,
        heard: counters.heard,
        lost: counters.lost,
        dropped: total(counters.dropped),
        tasksQueued: total(tasks?.queued ?? {}),
        tasksDone: tasksOf("done"),
        tasksFailed: tasksOf("failed"),
        tasksRetried: tasksOf("retried"),
      },
      gauges: {
        connections: total(gauges.open),
        unsettled: gauges.unsettled,
        transports: server?.transports ?? 0,
        groups: gauges.groups,
        waitingBytes: gauges.waitingBytes,
        mailboxes: gauges.mailboxes,
        tasksRunning: tasks?.running ?? 0,
        ...this.#load(),
        cores: availableParallelism(),
        rssBytes: memory.rss,
        heapBytes: memory.heapUsed,
      },
      causes: [
        ...causes("denied", counters.denied),
        ...causes("refused", counters.refused),
        ...causes("limited", counters.limited),
        ...causes("failed", counters.failed),
        ...causes("dropped", counters.dropped),
        ...causes("unopened", counters.unopened),
        ...causes("gap", counters.gaps),
        ...(counters.lost > 0 ? [["lost", counters.lost] as const] : []),
      ].sort((a, b) => b[1] - a[1]),
      routes: app.router.routes.slice(0, bounds.routes).map((route) => ({
        pattern: text(route.pattern),
        kind: route.kind,
        consumer: route.kind === "http" ? "" : text(route.consumer.name),
        open: gauges.open[route.pattern] ?? 0,
        accepted: counters.accepted[route.pattern] ?? 0,
      })),
      groups: this.#groups(),
      tasks: ended.slice(0, bounds.tasks).map(([task, outcomes]) => ({
        task: text(task),
        done: outcomes.done ?? 0,
        failed: outcomes.failed ?? 0,
        retried: outcomes.retried ?? 0,
      })),
    };
  }

  /** Cores in use, and by how much the event loop was late at most, but for one time in a hundred. */
  #load(): { readonly cpu: number; readonly loopMs: number } {
    const used = process.cpuUsage(this.#cpu);
    const tookMs = Math.max(performance.now() - this.#at, 1);
    this.#cpu = process.cpuUsage();
    this.#at = performance.now();
    const late = this.#loop.count === 0 ? 0 : this.#loop.percentile(99) / 1e6 - RESOLUTION_MS;
    this.#loop.reset();
    return { cpu: (used.user + used.system) / 1_000 / tookMs, loopMs: Math.max(late, 0) };
  }

  #groups(): readonly ReportedGroup[] {
    const { app } = this.#context;
    const found = new Map<
      string,
      { readonly layer: string; readonly group: string; readonly members: number }
    >();
    for (const busy of app.busiestGroups(bounds.groups)) {
      found.set(`${busy.layer} ${busy.group}`, busy);
    }
    // A group may be busy with few members here, or none.
    const sent = this.#sent.turn();
    const loud = [...sent].sort((a, b) => b.count - a.count).slice(0, bounds.groups);
    for (const { layer, group } of loud) {
      const name = `${layer} ${group}`;
      if (found.has(name)) continue;
      const members = app.groupHere(layer, group, 0)?.members ?? 0;
      found.set(name, { layer, group, members });
    }
    const groups = [...found.values()].map(({ layer, group, members }): ReportedGroup => {
      const known = app.layers.get(layer)?.presentHere(group, bounds.users);
      return {
        ...{ layer, group, members, sent: sent.of(layer, group) ?? 0 },
        ...(known && { present: known.count, users: known.users.map(text) }),
      };
    });
    const weight = ({ members, sent }: ReportedGroup) => members + sent;
    return groups.sort((a, b) => weight(b) - weight(a)).slice(0, bounds.groups);
  }
}

function total(counts: Counts): number {
  return sum(Object.values(counts));
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((all, number) => all + number, 0);
}

function causes(what: string, counts: Counts): readonly (readonly [string, number])[] {
  return Object.entries(counts)
    .sort((a, b) => b[1] - a[1])
    .slice(0, bounds.kinds)
    .map(([kind, number]) => [text(`${what} ${kind}`), number]);
}
