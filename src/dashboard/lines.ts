/** Facts as lines that somebody reads: what is in them is cut, and no payload, header or secret gets into one. */
import { printable, type Signal, thrownText } from "../index.ts";

export interface Line {
  /** Milliseconds since 1970, by the clock of its node. */
  readonly at: number;
  readonly signal: string;
  readonly tone: "good" | "bad" | "plain";
  /** What it is about: a group, route, task. */
  readonly subject: string;
  readonly detail: string;
  /** The connection, if it is about one. */
  readonly channel?: string;
  readonly user?: string;
}

const MAX_SUBJECT = 120;
const MAX_DETAIL = 300;

type Fact = Readonly<Record<string, unknown>>;
type Words = readonly [subject: unknown, detail?: unknown, tone?: Line["tone"]];

/** Those that can be watched, by what the fact says in words. */
const WORDS: ReadonlyMap<string, (fact: Fact) => Words> = new Map<string, (fact: Fact) => Words>([
  ["connected", ({ scope, tookMs }) => [namespaceOf(scope), `in ${rounded(tookMs)} ms`, "good"]],
  [
    "disconnected",
    ({ scope, reason, lastedMs }) => [
      namespaceOf(scope),
      `${ended(reason)}, after ${seconds(lastedMs)}`,
      isBadEnd(reason) ? "bad" : "plain",
    ],
  ],
  ["denied", ({ namespace, code, reason }) => [namespace, `${reason} (${code})`, "bad"]],
  ["received", ({ scope, event }) => [namespaceOf(scope), event]],
  ["handled", ({ scope, what, tookMs }) => [namespaceOf(scope), `${what} in ${rounded(tookMs)} ms`]],
  ["refused", ({ scope, event, code }) => [namespaceOf(scope), `${event}: ${code}`, "bad"]],
  ["limited", ({ namespace, limit, remoteAddress }) => [namespace ?? remoteAddress, limit, "bad"]],
  ["failed", ({ scope, hook, error }) => [namespaceOf(scope) ?? hook, `${hook}: ${errorText(error)}`, "bad"]],
  ["groupAdded", ({ group, channel }) => [group, channel]],
  ["groupDiscarded", ({ group, channel }) => [group, channel]],
  ["groupSent", ({ group, what, members }) => [group, `${what}, to ${members} here`]],
  ["dropped", ({ target, what, cause, count }) => [target, `${cause} ${what} (${count ?? 1})`, "bad"]],
  ["lost", ({ group, missed }) => [group ?? "any group", `${missed ?? "some or no"} messages`, "bad"]],
  ["unopened", ({ target, carrier, reason }) => [target, `${carrier}: ${reason}`, "bad"]],
  ["recovered", ({ group, messages }) => [group, `${messages} messages`, "good"]],
  ["gap", ({ group, reason }) => [group, reason, "bad"]],
  ["present", ({ group, type, user }) => [group, `${type} ${user}`]],
  ["layerDown", ({ layer, reason }) => [layer, reason, "bad"]],
  ["layerUp", ({ layer, downMs }) => [layer, `after ${seconds(downMs)}`, "good"]],
  ["audited", ({ action, target, by, outcome }) => [`${action} ${target}`, `${outcome}, by ${by}`]],
  ["answered", ({ method, path, status, tookMs }) => [path, `${method} ${status} in ${rounded(tookMs)} ms`]],
  ["receiverFailed", ({ signal, error }) => [signal, errorText(error), "bad"]],
  ["draining", ({ connections }) => ["this node", `${connections} connections`, "bad"]],
  ["task.queued", ({ task, id }) => [task, id]],
  ["task.started", ({ task, id, attempt }) => [task, `attempt ${attempt}, ${id}`]],
  ["task.progress", ({ task, id, done, total }) => [task, `${done} of ${total || "?"}, ${id}`]],
  [
    "task.retrying",
    ({ task, error, afterMs }) => [task, `in ${seconds(afterMs)}: ${errorText(error)}`, "bad"],
  ],
  ["task.succeeded", ({ task, id, tookMs }) => [task, `in ${rounded(tookMs)} ms, ${id}`, "good"]],
  ["task.failed", ({ task, error }) => [task, errorText(error), "bad"]],
  ["task.cancelled", ({ task, id }) => [task, id]],
  ["task.expired", ({ task, id }) => [task, id, "bad"]],
  ["task.stalled", ({ id }) => [id, "its worker died", "bad"]],
  ["task.blocking", ({ tasks, forMs }) => [String(tasks), `for ${rounded(forMs)} ms`, "bad"]],
  ["task.workerUp", ({ worker }) => [worker, "", "good"]],
  ["task.workerDown", ({ worker }) => [worker]],
  ["task.brokerDown", ({ reason }) => ["broker", reason, "bad"]],
  ["task.brokerUp", () => ["broker", "", "good"]],
  ["task.faulted", ({ error }) => ["machinery", errorText(error), "bad"]],
]);

export const SIGNALS: readonly string[] = [...WORDS.keys()];

/** The signals to watch, by name. @param tasks - `tasks.signals`, where there are tasks */
export function watchable(
  signals: object,
  tasks: object | undefined,
): ReadonlyMap<string, Pick<Signal<Fact>, "connect">> {
  const found = new Map<string, Pick<Signal<Fact>, "connect">>();
  for (const name of SIGNALS) {
    const own = name.startsWith("task.") ? name.slice("task.".length) : name;
    const signal = (own === name ? signals : (tasks ?? {}))[own as never] as Signal<Fact> | undefined;
    if (signal !== undefined) found.set(name, signal);
  }
  return found;
}

export function lineOf(signal: string, fact: Fact, userId: (user: unknown) => string | undefined): Line {
  const [subject, detail = "", tone = "plain"] = (WORDS.get(signal) as (fact: Fact) => Words)(fact);
  const { scope, channel } = fact as {
    readonly scope?: { readonly user?: unknown };
    readonly channel?: unknown;
  };
  const user = scope?.user === undefined ? undefined : userId(scope.user);
  return {
    ...{ at: Date.now(), signal, tone },
    subject: printable(String(subject ?? ""), MAX_SUBJECT),
    detail: printable(String(detail ?? ""), MAX_DETAIL),
    ...(typeof channel === "string" ? { channel: printable(channel, 200) } : {}),
    ...(user === undefined ? {} : { user: printable(user, MAX_SUBJECT) }),
  };
}

/** Whether a line has the words that are looked for, in whichever case. */
export function hasWords(line: Line, words: string): boolean {
  if (words === "") return true;
  const all = [line.signal, line.subject, line.detail, line.channel, line.user].join(" ").toLowerCase();
  return all.includes(words);
}

function namespaceOf(scope: unknown): unknown {
  return (scope as { readonly namespace?: unknown } | undefined)?.namespace;
}

function errorText(error: unknown): string {
  const words = thrownText(error);
  return error instanceof Error
    ? `${typeof error.name === "string" ? error.name : "Error"}: ${words}`
    : `thrown: ${words}`;
}

/** As Socket.IO says why a connection was lost. */
const LOSSES: ReadonlyMap<unknown, string> = new Map([
  ["transport close", "its connection closed"],
  ["transport error", "its connection broke"],
  ["ping timeout", "it answered no more"],
  ["parse error", "it sent what cannot be read"],
]);

/** In words; the code, and what the machinery calls it, beside. */
function ended(reason: unknown): string {
  const { kind, code, message } = (reason ?? {}) as Fact;
  const loss = kind === "transport" ? LOSSES.get(message) : undefined;
  if (loss !== undefined) return `${loss} (${code}, ${message})`;
  const isSaid = kind === "client" || kind === "stopping" || kind === "transport";
  return `${isSaid ? "" : `${kind}: `}${message} (${code})`;
}

function isBadEnd(reason: unknown): boolean {
  const { kind } = (reason ?? {}) as Fact;
  return kind === "failed" || kind === "limit";
}

function rounded(ms: unknown): string {
  return typeof ms === "number" ? String(Math.round(ms * 10) / 10) : "?";
}

function seconds(ms: unknown): string {
  return typeof ms === "number" ? `${Math.round(ms / 100) / 10} s` : "?";
}
