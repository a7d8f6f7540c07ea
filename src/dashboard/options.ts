import {
  type AuditFact,
  ConfigurationError,
  Faults,
  type Given,
  nearest,
  printable,
  resolveOptions,
  type Scope,
  type Signal,
  type TaskBroker,
} from "../index.ts";

export const dashboardDefaults = {
  /** Of the page, and the namespace that it talks to. */
  path: "/dashboard",
  /** Where Socket.IO answers, if the server's `path` is another. */
  socketPath: "/socket.io",
  /** How often each node reports; the same on all nodes. */
  reportMs: 2_000,
  /** How long charts go back. */
  historyMs: 1_800_000,
  /** How long a login lasts. */
  sessionMs: 43_200_000,
  /** Passwords that one address may try per minute at each node, once it has tried five. */
  triesPerMinute: 6,
  /** How long the tasks' broker may take to answer before the page says that it does not. */
  brokerTimeoutMs: 3_000,
  /** Of the application, for those who look at its nodes. */
  version: "",
};

export type DashboardSettings = typeof dashboardDefaults;

/**
 * Whether somebody may see and use the dashboard; text says who it is, for the audit. Asked for each page,
 * connection and action.
 */
export type AllowDashboard = (scope: Scope) => boolean | string | Promise<boolean | string>;

/** A schedule as `sluice/tasks` makes one, as far as it is shown. */
export interface ShownSchedule {
  readonly id: string;
  readonly timing: { readonly text: string; after(at: number, tz: string): number };
  readonly tz: string;
  readonly task: { readonly name: string };
}

/** What is shown of tasks: `new Tasks(...)` is one. */
export interface ShownTasks {
  readonly broker: Pick<
    TaskBroker,
    "queues" | "counts" | "list" | "find" | "workers" | "ticks" | "cancel" | "runAgain" | "remove"
  > &
    Pick<TaskBroker, "pause" | "resume" | "isShared">;
  readonly schedules: readonly ShownSchedule[];
  /** What happens to tasks in this process, for the tail of signals. */
  readonly signals?: object;
}

/** What {@link dashboard} takes; without a password or `allow` there is no page. */
export interface DashboardOptions extends Given<DashboardSettings> {
  /** Who knows it may come in; at least 12 characters. */
  readonly password?: string | undefined;
  /** Who may come in; beside a password, who may try it. */
  readonly allow?: AllowDashboard;
  /** Shows and steers them. */
  readonly tasks?: ShownTasks;
  /**
   * What is shown of arguments and results of tasks, which are hidden by default: their fields are named and
   * their values are not shown.
   */
  readonly redact?: (
    value: unknown,
    what: { readonly task: string; readonly of: "args" | "result" },
  ) => unknown;
}

const MIN_PASSWORD = 12;
const MAX_PASSWORD = 1_000;
const PATH = /^(?:\/[A-Za-z0-9._~-]+)+$/;

export type CheckedOptions = DashboardSettings & Omit<DashboardOptions, keyof DashboardSettings>;

/** @throws ConfigurationError that lists every fault, and shows no password */
export function checkedOptions(options: DashboardOptions): CheckedOptions {
  const { password, allow, tasks, redact, ...given } = options;
  const faults = new Faults();
  const settings: Record<string, unknown> = {};
  const known = ["password", "allow", "tasks", "redact", ...Object.keys(dashboardDefaults)];
  for (const [name, value] of Object.entries(given)) {
    if (Object.hasOwn(dashboardDefaults, name)) settings[name] = value;
    else faults.list.push(`dashboard.${printable(name)} is no option; ${hintOf(name, known)}`);
  }
  const resolved = faults.collect(() => resolveOptions(dashboardDefaults, settings, "dashboard"));
  if (password !== undefined && password !== "") {
    const isFit =
      typeof password === "string" && password.length >= MIN_PASSWORD && password.length <= MAX_PASSWORD;
    if (!isFit) {
      faults.list.push(
        `dashboard.password must be text of ${MIN_PASSWORD} to ${MAX_PASSWORD} characters; make one by: openssl rand -base64 18`,
      );
    }
  }
  for (const [name, value] of Object.entries({ allow, redact })) {
    if (value !== undefined && typeof value !== "function") {
      faults.list.push(`dashboard.${name} must be a function`);
    }
  }
  if (tasks !== undefined && (typeof tasks?.broker !== "object" || !Array.isArray(tasks.schedules))) {
    faults.list.push("dashboard.tasks must be the application's tasks: new Tasks(...)");
  }
  if (resolved !== undefined) {
    for (const name of ["path", "socketPath"] as const) {
      if (!PATH.test(resolved[name]))
        faults.list.push(`dashboard.${name} must be a path such as "${dashboardDefaults[name]}"`);
    }
    for (const name of ["reportMs", "historyMs", "sessionMs", "triesPerMinute", "brokerTimeoutMs"] as const) {
      if (!(resolved[name] >= LEAST[name] && resolved[name] <= MOST[name])) {
        faults.list.push(`dashboard.${name} must be from ${LEAST[name]} to ${MOST[name]}`);
      }
    }
  }
  if (resolved === undefined || faults.list.length > 0) throw new ConfigurationError(faults.list);
  return {
    ...resolved,
    ...(password ? { password } : {}),
    ...(allow ? { allow } : {}),
    ...(tasks ? { tasks } : {}),
    ...(redact ? { redact } : {}),
  };
}

function hintOf(name: string, known: readonly string[]): string {
  const meant = nearest(name, known);
  return meant === undefined ? `there are ${known.join(", ")}` : `did you mean "${meant}"?`;
}

const LEAST = { reportMs: 50, historyMs: 60_000, sessionMs: 1_000, triesPerMinute: 1, brokerTimeoutMs: 100 };
const MOST = {
  reportMs: 60_000,
  historyMs: 21_600_000,
  sessionMs: 2_592_000_000,
  triesPerMinute: 600,
  brokerTimeoutMs: 30_000,
};

export type Audit = Pick<Signal<AuditFact>, "announce">;
