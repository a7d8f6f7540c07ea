import { createServer } from "node:net";
import type { Application, ApplicationPart } from "../application.ts";
import { ConfigurationError } from "../errors.ts";
import { historyRights } from "../history/redis-history.ts";
import { MemoryBackplane } from "../layer/memory-backplane.ts";
import { limitsRights, RedisLimits } from "../limits/redis-limits.ts";
import { createLogger } from "../logger.ts";
import { serverDefaults } from "../options.ts";
import { presenceRights } from "../presence/redis-presence.ts";
import { checkRedis, type RedisRights, type RedisUse } from "../redis/index.ts";
import { backplaneRights } from "../redis/redis-backplane.ts";
import { COMMON_COMMANDS } from "../redis/redis-commands.ts";
import { bind } from "../server/listening.ts";
import { tasksRights } from "../tasks/redis-broker-options.ts";
import type { PartFinding } from "../types.ts";
import { within } from "../within.ts";
import { type AppFile, findApp } from "./app-file.ts";
import { NoHistory, NoPresence, redisOptions } from "./backplane.ts";
import { isUnplaced, stackOf, UsageError } from "./complaint.ts";
import { compose } from "./composition.ts";
import { type Environment, readEnvironment } from "./environment.ts";
import { tasksOf } from "./labour.ts";
import { isColourful, say } from "./output.ts";
import { type Progress, withProgress } from "./progress.ts";

export interface CheckOptions {
  readonly host?: string;
  readonly port?: number;
  readonly processes?: number;
  readonly json?: boolean;
}

/** `fine`, or `hint`: it works, but; or `fault`: what is wrong and how to mend it. */
export interface Finding extends PartFinding {
  readonly about: "environment" | "application" | "redis" | "port";
}

const USUAL_PREFIX = "sluice";
const ASK_MS = 2_000;
/** Longer than a Redis may take that does not answer. */
const PART_MS = 20_000;

/**
 * `sluice check`: all that can be found wrong without starting. The application is put together, Redis is asked
 * for what is needed of it, and the port is tried; nothing is served, and nothing is left in Redis.
 *
 * @param given - the application's file, if it was named
 * @returns 0 if there is no fault, else 1
 */
export async function check(given: string | undefined, options: CheckOptions): Promise<number> {
  const findings: Finding[] = [];
  const environment = checkEnvironment(findings);
  const look = async ({ now }: Progress) => {
    const app = await checkApplication(given, options, environment, findings);
    if (environment === undefined) return;
    now("asking Redis");
    await checkEachRedis(environment, app, findings);
    now("asking the parts of the application");
    await checkParts(app?.parts ?? [], findings);
    now("trying the port");
    await checkPort(options, environment, findings);
  };
  await withProgress("putting the application together", look, options.json);
  const faults = findings.filter(({ level }) => level === "fault").length;
  if (options.json) await say(JSON.stringify({ ok: faults === 0, findings }, undefined, 2));
  else await say(report(findings, faults));
  return faults === 0 ? 0 : 1;
}

function checkEnvironment(findings: Finding[]): Environment | undefined {
  try {
    return readEnvironment(process.env);
  } catch (error) {
    findings.push(...faultsOf("environment", error));
    return undefined;
  }
}

async function checkApplication(
  given: string | undefined,
  { processes = 1 }: CheckOptions,
  environment: Environment = {},
  findings: Finding[],
): Promise<Application | undefined> {
  const where = { host: serverDefaults.host, port: 0 };
  const logger = createLogger("silent");
  let file: AppFile | undefined;
  try {
    file = findApp(given);
    const count = processes > 1 ? processes : (environment.PROCESSES ?? 1);
    const part = { app: file, environment, processes: count, where, logger };
    const { server } = await compose(part, new MemoryBackplane());
    const { app } = server;
    const { length } = app.router.routes;
    const what = `${file.name} is an application of ${length} ${length === 1 ? "route" : "routes"}`;
    findings.push({ about: "application", level: "fine", what });
    if (count > 1 && environment.REDIS_URL === undefined) findings.push(...(await unshared(app)));
    return app;
  } catch (error) {
    findings.push(...faultsOf("application", error));
    return undefined;
  }
}

/** What several processes cannot have without Redis, as the start would say it. */
async function unshared({ needs }: Application): Promise<Finding[]> {
  const stores = [...(needs.history ? [new NoHistory()] : []), ...(needs.presence ? [new NoPresence()] : [])];
  const found: Finding[] = [];
  for (const store of stores) {
    await store.open().catch((error) => found.push(...faultsOf("application", error)));
  }
  return found;
}

async function checkEachRedis(
  environment: Environment,
  app: Application | undefined,
  findings: Finding[],
): Promise<void> {
  const { REDIS_PREFIX: prefix = USUAL_PREFIX, TASKS_REDIS_URL: tasksUrl } = environment;
  const uses: RedisUse[] = [{ name: "groups", rights: backplaneRights({ prefix }), keeps: false }];
  if (app?.needs.history) uses.push(needOf("history", historyRights(prefix)));
  if (app?.needs.presence) uses.push(needOf("presence", presenceRights(prefix)));
  if (app?.sharedLimits instanceof RedisLimits) uses.push(needOf("limits", limitsRights(prefix), false));
  const tasks = app !== undefined && tasksOf(app) ? [needOf("tasks", tasksRights(prefix))] : [];
  if (tasksUrl === undefined) uses.push(...tasks);
  try {
    const options = redisOptions(environment);
    const found = [
      ...(options === undefined ? [] : await checkRedis(withoutPrefix(options), uses)),
      ...(tasksUrl === undefined ? [] : await checkRedis({ url: tasksUrl }, tasks)),
    ];
    findings.push(...found.map((finding) => ({ about: "redis" as const, ...finding })));
  } catch (error) {
    // What the application is given says it, too.
    const told = new Set(findings.map(({ what }) => what));
    findings.push(...faultsOf("redis", error).filter(({ what }) => !told.has(what)));
  }
  if (environment.REDIS_URL !== undefined) return;
  const what = "REDIS_URL is not set: this machine is alone, and nothing outlives its processes";
  findings.push({ about: "redis", level: "fine", what });
}

/** What the application has brought itself: a store of sessions, say, wherever it keeps them. */
async function checkParts(parts: readonly ApplicationPart[], findings: Finding[]): Promise<void> {
  for (const part of parts) {
    try {
      const told = new Set(findings.map(({ what }) => what));
      const late = () =>
        new ConfigurationError([`a part of the application did not say within ${PART_MS} ms how it stands`]);
      const found = (await within(PART_MS, Promise.resolve(part.check?.()), late)) ?? [];
      const news = found.filter(({ what }) => !told.has(what));
      findings.push(...news.map((finding) => ({ about: "application" as const, ...finding })));
    } catch (error) {
      findings.push(...faultsOf("application", error));
    }
  }
}

function withoutPrefix({ prefix: _, ...options }: { readonly prefix?: string; readonly url: string }) {
  return options;
}

function needOf(name: string, { names, commands }: RedisRights, keeps = true): RedisUse {
  return { name, rights: { names, commands: [...COMMON_COMMANDS, ...commands] }, keeps };
}

async function checkPort(
  options: CheckOptions,
  environment: Environment,
  findings: Finding[],
): Promise<void> {
  const host = options.host ?? environment.HOST ?? serverDefaults.host;
  const port = options.port ?? environment.PORT ?? serverDefaults.port;
  // A descriptor is there or not when the server is started with it.
  if (environment.SOCKET_FD !== undefined || environment.SOCKET_PATH !== undefined) return;
  const server = createServer();
  try {
    await bind(server, { host, port });
    const isLocal = host === "localhost" || host === "::1" || host.startsWith("127.");
    const reach = isLocal
      ? "only this machine reaches it; HOST=0.0.0.0 is for others, too"
      : "others reach it";
    findings.push({ about: "port", level: "fine", what: `${host}:${port} can be listened on (${reach})` });
  } catch (error) {
    const node = await nodeAt(host, port);
    if (node === undefined) findings.push(...faultsOf("port", error));
    else {
      const what = `${host}:${port} is taken by a server of Sluice that runs already (node ${node}); a second one needs another port`;
      findings.push({ about: "port", level: "hint", what });
    }
  } finally {
    server.close();
  }
}

/** The node that answers there; undefined if nobody does, or somebody else. */
async function nodeAt(host: string, port: number): Promise<string | undefined> {
  const name =
    host === "0.0.0.0" ? "127.0.0.1" : host === "::" ? "[::1]" : host.includes(":") ? `[${host}]` : host;
  try {
    const url = `http://${name}:${port}${serverDefaults.livePath}`;
    // Its own time limit would not keep this process alive until then.
    const answer = fetch(url).then((response) => response.json());
    const { node } = (await within(ASK_MS, answer, () => new Error("no answer"))) as {
      readonly node?: unknown;
    };
    return typeof node === "string" && /^n-[\w-]{1,40}$/.test(node) ? node : undefined;
  } catch {
    return undefined;
  }
}

function faultsOf(about: Finding["about"], error: unknown): Finding[] {
  const fault = error as Partial<ConfigurationError> & Error;
  if (
    error instanceof ConfigurationError ||
    (fault.code === "configuration" && Array.isArray(fault.faults))
  ) {
    return (fault.faults ?? []).map((what) => ({ about, level: "fault", what }));
  }
  const where = isUnplaced(error) ? "; `sluice start` shows where" : "";
  const what =
    error instanceof UsageError ? error.message : error instanceof Error ? stackOf(error) : String(error);
  return [{ about, level: "fault", what: what + where }];
}

const SIGNS = { fine: "✓", hint: "!", fault: "✗" };
const COLOURS = { fine: 32, hint: 33, fault: 31 };

function report(findings: readonly Finding[], faults: number): string {
  const paint = isColourful(process.stdout);
  const lines = findings.map(({ level, what }) => {
    const sign = paint ? `\u001b[${COLOURS[level]}m${SIGNS[level]}\u001b[0m` : SIGNS[level];
    return `${sign} ${what.replaceAll("\n", "\n  ")}`;
  });
  const sum = faults === 0 ? "No fault was found." : faults === 1 ? "1 fault." : `${faults} faults.`;
  return [...lines, "", sum].join("\n");
}
