/** All metrics of our own: what each is called, what it means, and where in the readings it stands. */
import {
  CloseCode,
  type Counts,
  type DropCause,
  type GapReason,
  type LimitName,
  type Readings,
  type SpreadReading,
  type UnopenedFact,
} from "../index.ts";

/** One line: its labels in the order of the metric's, and its value. */
export type Row<Value> = readonly [value: Value, ...labels: string[]];

interface Described {
  readonly name: string;
  readonly help: string;
  readonly labels: readonly string[];
}

export interface NumberMetric extends Described {
  readonly type: "counter" | "gauge";
  read(readings: Readings): readonly Row<number>[];
}

/** In milliseconds here, in seconds where it is shown. */
export interface SpreadMetric extends Described {
  readonly type: "histogram";
  read(readings: Readings): readonly Row<SpreadReading>[];
}

/** One metric: its name, what it means, its labels, and how it is read from `app.readings()`. */
export type Metric = NumberMetric | SpreadMetric;

/** Each is there from the start on, so that the first of its kind is seen as an increase. */
const LIMITS: Readonly<Record<LimitName, 0>> = {
  eventsPerSecond: 0,
  eventsPerSecondPerUser: 0,
  eventsPerSecondPerAddress: 0,
  pendingEvents: 0,
  groupsPerConnection: 0,
  newGroupsPerSecond: 0,
  replayedPerSecond: 0,
  connectionsPerUser: 0,
  connectionsPerAddress: 0,
  handshakesPerSecond: 0,
  handshakesPerSecondPerAddress: 0,
  namespacesPerConnection: 0,
  floodEvents: 0,
  maxWaitingBytes: 0,
  maxPayloadBytes: 0,
};
const DENIALS: Counts = Object.fromEntries(Object.values(CloseCode).map((code) => [code, 0]));
const CAUSES: Readonly<Record<DropCause, 0>> = {
  "mailbox-full": 0,
  "no-handler": 0,
  "no-channel": 0,
  ended: 0,
  "bad-envelope": 0,
  backplane: 0,
};
const CARRIERS: Readonly<Record<UnopenedFact["carrier"], 0>> = {
  ...{ backplane: 0, history: 0, presence: 0, tasks: 0 },
};
const GAPS: Readonly<Record<GapReason, 0>> = {
  ...{ trimmed: 0, epoch: 0, id: 0, ahead: 0, receipt: 0, too_many: 0, too_old: 0 },
};
const ENDS: Counts = { client: 0, transport: 0, denied: 0, closed: 0, failed: 0, limit: 0, stopping: 0 };
const CHANGES: Counts = { join: 0, leave: 0, update: 0 };
const HOOKS: Counts = {
  ...{ middleware: 0, constructor: 0, connect: 0, receive: 0, message: 0, disconnect: 0 },
  ...{ http: 0, layer: 0 },
};

const one = (value: number): readonly Row<number>[] => [[value]];
const flag = (value: boolean): readonly Row<number>[] => [[Number(value)]];
const rows = (counts: Counts, known: Counts = {}): readonly Row<number>[] =>
  Object.entries({ ...known, ...counts }).map(([kind, count]) => [count, kind] as const);
const spreads = (all: Readonly<Record<string, SpreadReading>> = {}): readonly Row<SpreadReading>[] =>
  Object.entries(all).map(([kind, spread]) => [spread, kind] as const);

function counter(
  name: string,
  help: string,
  labels: readonly string[],
  read: NumberMetric["read"],
): NumberMetric {
  return { type: "counter", name: `sluice_${name}_total`, help, labels, read };
}

function gauge(
  name: string,
  help: string,
  labels: readonly string[],
  read: NumberMetric["read"],
): NumberMetric {
  return { type: "gauge", name: `sluice_${name}`, help, labels, read };
}

function histogram(
  name: string,
  help: string,
  labels: readonly string[],
  read: SpreadMetric["read"],
): SpreadMetric {
  return { type: "histogram", name: `sluice_${name}_seconds`, help, labels, read };
}

const NODE: readonly Metric[] = [
  gauge("info", "Always 1: the node's name and the version of the package", ["node", "version"], (r) => [
    [1, r.node, r.version],
  ]),
  gauge("serving", "1 while the server takes clients, 0 before and while it drains", [], ({ server }) =>
    server === undefined ? [] : flag(server.phase === "serving"),
  ),
];

const CONNECTIONS: readonly Metric[] = [
  gauge("transport_connections", "WebSockets, polling sessions and event streams", [], ({ server }) =>
    server === undefined ? [] : one(server.transports),
  ),
  gauge("connections", "Open connections; one transport may carry several routes", ["route"], (r) =>
    rows(r.gauges.open),
  ),
  gauge("connections_unsettled", "Connections that are being let in, or end", [], (r) =>
    one(r.gauges.unsettled),
  ),
  counter("connections_accepted", "Clients that were let in", ["route"], (r) => rows(r.counters.accepted)),
  counter("connections_ended", "Open connections that ended, by why", ["reason"], (r) =>
    rows(r.counters.ended, ENDS),
  ),
  counter("connections_denied", "Clients that were refused, by close code", ["code"], (r) =>
    rows(r.counters.denied, DENIALS),
  ),
  counter("limited", "How often clients came to a limit, by the option that sets it", ["limit"], (r) =>
    rows(r.counters.limited, LIMITS),
  ),
  counter("slow_clients_cut", "Clients that did not read and were cut", [], (r) =>
    one(r.counters.limited.maxWaitingBytes ?? 0),
  ),
  counter("failures", "What hooks and handlers threw that was not meant for a client", ["hook"], (r) =>
    rows(r.counters.failed, HOOKS),
  ),
];

const MESSAGES: readonly Metric[] = [
  counter("events_received", "Events of clients that were let through to handlers", [], (r) =>
    one(r.counters.received),
  ),
  counter("events_refused", "Events of clients that were refused, by the error's code", ["code"], (r) =>
    rows(r.counters.refused),
  ),
  counter("group_messages", "Messages and events sent to groups from this node", [], (r) =>
    one(r.counters.sentToGroups),
  ),
  counter("channel_messages", "Messages sent to single channels from this node", [], (r) =>
    one(r.counters.sentToChannels),
  ),
  counter("events_sent", "Events and questions of consumers to their own clients", [], (r) =>
    one(r.counters.sentToClients),
  ),
  counter("deliveries", "What groups were sent, once for each member here that it went to", ["to"], (r) => [
    [r.counters.deliveredToClients, "client"],
    [r.counters.deliveredToConsumers, "consumer"],
  ]),
  counter("dropped", "Messages and events that did not arrive, by cause", ["cause"], (r) =>
    rows(r.counters.dropped, CAUSES),
  ),
  counter("lost", "Messages of other nodes that did not arrive, or may not have", [], (r) =>
    one(r.counters.lost),
  ),
  counter("unopened", "What could not be decrypted, by carrier", ["carrier"], (r) =>
    rows(r.counters.unopened, CARRIERS),
  ),
  counter("writes", "Batches written to Socket.IO clients", [], (r) => one(r.counters.writes)),
  counter("written_bytes", "Bytes of those batches", [], (r) => one(r.counters.writtenBytes)),
  gauge("client_waiting_bytes", "Bytes that clients have not read yet", [], (r) =>
    one(r.gauges.waitingBytes),
  ),
  gauge("mailbox_items", "Events and messages that wait in mailboxes", [], (r) => one(r.gauges.mailboxes)),
  histogram("mailbox_wait", "How long they wait there; a sample", ["route"], (r) =>
    spreads(r.timings?.waited),
  ),
  histogram("handler", "How long handlers of events and messages take", ["route"], (r) =>
    spreads(r.timings?.handled),
  ),
];

const LAYER: readonly Metric[] = [
  gauge("groups", "Groups with members on this node", [], (r) => one(r.gauges.groups)),
  gauge("backplane_up", "1 while other nodes can be reached", ["layer"], (r) =>
    Object.entries(r.layers).map(([layer, { isDegraded }]) => [Number(!isDegraded), layer]),
  ),
  gauge("backplane_topics", "What this node hears of other nodes: groups mostly", ["layer"], (r) =>
    Object.entries(r.layers).map(([layer, { topics }]) => [topics, layer]),
  ),
  counter("backplane_sent", "Messages handed to the backplane", [], (r) => one(r.counters.published)),
  counter("backplane_received", "Messages heard from it", [], (r) => one(r.counters.heard)),
  gauge("backplane_waiting_messages", "Messages that have not left this node yet", ["layer"], (r) =>
    Object.entries(r.layers).flatMap(([layer, { backplane }]) =>
      backplane === undefined ? [] : [[backplane.waitingMessages, layer] as const],
    ),
  ),
  gauge("backplane_waiting_bytes", "Bytes of those", ["layer"], (r) =>
    Object.entries(r.layers).flatMap(([layer, { backplane }]) =>
      backplane === undefined ? [] : [[backplane.waitingBytes, layer] as const],
    ),
  ),
  histogram("backplane_round_trip", "From here through Redis and back, by heartbeats", ["layer"], (r) =>
    Object.entries(r.layers).flatMap(([layer, { backplane }]) =>
      backplane?.roundTrip === undefined ? [] : [[backplane.roundTrip, layer] as const],
    ),
  ),
];

const HISTORY: readonly Metric[] = [
  gauge("history_logs", "Groups with history in use on this node", [], (r) => one(r.gauges.logs)),
  counter("history_appended", "Messages this node appended", [], (r) => one(r.counters.appended)),
  counter("history_healed", "Messages this node had not heard of, and read", [], (r) =>
    one(r.counters.healed),
  ),
  counter("history_gaps", "Clients that were told that something is missing, by why", ["reason"], (r) =>
    rows(r.counters.gaps, GAPS),
  ),
  counter("history_recovered", "Clients that came back and were given all they missed", [], (r) =>
    one(r.counters.recovered),
  ),
  counter("history_replayed", "Messages those were given", [], (r) => one(r.counters.replayed)),
];

const PRESENCE: readonly Metric[] = [
  gauge("presence_groups", "Groups with presence known on this node", [], (r) => one(r.gauges.presence)),
  gauge("presence_stale_groups", "Of those, the ones that may be out of date", [], (r) =>
    one(r.gauges.stalePresence),
  ),
  counter("presence_changes", "Who came, left or has other info, as members here were told", ["type"], (r) =>
    rows(r.counters.presence, CHANGES),
  ),
];

const TASKS: readonly Metric[] = [
  counter("tasks_queued", "Runs enqueued in this process", ["task"], ({ tasks }) =>
    rows(tasks?.queued ?? {}),
  ),
  counter("tasks_ended", "Attempts that ended in this process, by how", ["task", "outcome"], ({ tasks }) =>
    Object.entries(tasks?.ended ?? {}).flatMap(([task, ended]) =>
      Object.entries(ended).map(([outcome, count]) => [count, task, outcome] as const),
    ),
  ),
  gauge("tasks_running", "Runs in this process", [], ({ tasks }) => (tasks ? one(tasks.running) : [])),
  histogram("task", "How long runs took that were done", ["task"], ({ tasks }) => spreads(tasks?.took)),
  histogram("task_wait", "How long runs waited before they began here", ["queue"], ({ tasks }) =>
    spreads(tasks?.waited),
  ),
  counter("tasks_stalled", "Runs that lost their worker, as this process noticed", [], ({ tasks }) =>
    tasks ? one(tasks.stalled) : [],
  ),
  counter("tasks_blocked", "How often a run held this process' event loop", [], ({ tasks }) =>
    tasks ? one(tasks.blocked) : [],
  ),
  gauge("tasks_broker_up", "1 while tasks can be reached", [], ({ tasks }) =>
    tasks ? flag(tasks.isBrokerUp) : [],
  ),
  gauge("tasks_workers", "Workers of the whole cluster; every process says the same", [], ({ tasks }) =>
    tasks?.lookedAt ? one(tasks.workers) : [],
  ),
  gauge(
    "tasks_jobs",
    "Runs of the whole cluster; every process says the same",
    ["queue", "state"],
    ({ tasks }) =>
      Object.entries(tasks?.queues ?? {}).flatMap(([queue, counts]) =>
        Object.entries(counts).map(([state, count]) => [count, queue, state] as const),
      ),
  ),
];

/** All metrics, in the order in which they are told. */
export const CATALOGUE: readonly Metric[] = [
  ...NODE,
  ...CONNECTIONS,
  ...MESSAGES,
  ...LAYER,
  ...HISTORY,
  ...PRESENCE,
  ...TASKS,
];
