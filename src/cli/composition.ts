import type { Application, ApplicationPart } from "../application.ts";
import { ConfigurationError } from "../errors.ts";
import type { HistoryStore } from "../layer/history-store.ts";
import { MemoryHistory } from "../layer/memory-history.ts";
import { MemoryLimits } from "../layer/memory-limits.ts";
import { MemoryPresence } from "../layer/memory-presence.ts";
import { logSignals } from "../logger.ts";
import { nearest, printable } from "../names.ts";
import type { Siblings } from "../processes/index.ts";
import type { Server, ServerOptions } from "../server/index.ts";
import type { Backplane } from "../types.ts";
import type { AppFile } from "./app-file.ts";
import {
  NoHistory,
  NoPresence,
  redisBackplane,
  redisHistory,
  redisLimits,
  redisPresence,
} from "./backplane.ts";
import { type ComposeContext, loadCompose } from "./compose.ts";
import type { Environment } from "./environment.ts";
import { Labour, type LabourOptions } from "./labour.ts";

/** One process of an application. */
export interface Part extends LabourOptions {
  readonly app: AppFile;
  /** Where no Redis is: keeps histories instead of a store of its own. */
  readonly history?: HistoryStore;
  readonly where: { readonly host: string; readonly port: number };
  /** The other processes behind its port. */
  readonly siblings?: Siblings;
}

/** On top of what a server's `stop` may take. */
const STOP_MARGIN_MS = 3_000;

/**
 * Calls the application's `compose` with what the environment says.
 *
 * @param local - carries groups where no Redis does
 */
export async function compose(part: Part, local: Backplane): Promise<{ server: Server; tasks: Labour }> {
  const { app, environment, processes, where, logger } = part;
  const composed = await loadCompose(app);
  const backplane = (await redisBackplane(environment)) ?? local;
  const tasks = await Labour.of(part);
  const metrics = await metricsOf(part);
  const context: ComposeContext = {
    backplane,
    history:
      (await redisHistory(environment)) ??
      part.history ??
      (processes > 1 ? new NoHistory() : new MemoryHistory()),
    presence: (await redisPresence(environment)) ?? (processes > 1 ? new NoPresence() : new MemoryPresence()),
    sharedLimits: (await redisLimits(environment)) ?? new MemoryLimits(),
    secret: environment.SLUICE_SECRET ?? [],
    encryptionKeys: environment.SLUICE_ENCRYPTION_KEYS ?? [],
    canaryKey: environment.CANARY_KEY,
    tasks: tasks.options,
    metrics,
    dashboard:
      environment.DASHBOARD_PASSWORD === undefined ? {} : { password: environment.DASHBOARD_PASSWORD },
    serverOptions: { ...where, ...serverOptions(environment, processes) },
    logger,
    processes,
  };
  const server = await composed(context);
  if (context.encryptionKeys.length > 0 && !server.app.isEncrypted) {
    throw new ConfigurationError([
      `SLUICE_ENCRYPTION_KEYS is set, but ${app.name} does not use it: give createApplication({ encryptionKeys }) what its compose is given`,
    ]);
  }
  if (!metrics.every((one) => server.app.parts.includes(one))) {
    throw new ConfigurationError([
      `METRICS is set, but ${app.name} does not use it: give createApplication({ parts: [...metrics] }) what its compose is given as \`metrics\``,
    ]);
  }
  const levels = environment.LOG_LEVELS ?? new Map<string, string>();
  checkRoutes(levels, server.app);
  logSignals(server.app.signals, logger, {
    levels: Object.fromEntries(levels),
    ids: () => server.app.tracer?.ids(),
  });
  return { server, tasks };
}

async function metricsOf({ environment, siblings }: Part): Promise<readonly ApplicationPart[]> {
  const { METRICS, METRICS_TOKEN } = environment;
  if (METRICS === "off" || (METRICS === undefined && METRICS_TOKEN === undefined)) return [];
  const { metrics } = await import("../metrics/index.ts");
  const token = METRICS_TOKEN === undefined ? {} : { token: METRICS_TOKEN };
  return [metrics({ ...token, ...(siblings === undefined ? {} : { siblings }) })];
}

/** @throws ConfigurationError for levels of routes that are not there */
function checkRoutes(levels: ReadonlyMap<string, string>, { router }: Application): void {
  const known = router.routes.map(({ pattern }) => pattern);
  const faults = [...levels.keys()]
    .filter((pattern) => !known.includes(pattern))
    .map((pattern) => {
      const meant = nearest(pattern, known);
      const hint = meant === undefined ? `there are ${known.join(", ")}` : `did you mean "${meant}"?`;
      return `LOG_LEVELS: there is no route "${printable(pattern)}"; ${hint}`;
    });
  if (faults.length > 0) throw new ConfigurationError(faults);
}

/** What the environment says of the server. @throws ConfigurationError for what several processes cannot do */
function serverOptions(environment: Environment, processes: number): ServerOptions {
  const { ORIGINS, HOSTS, SOCKET_PATH, SOCKET_FD } = environment;
  if (processes > 1 && (SOCKET_PATH !== undefined || SOCKET_FD !== undefined)) {
    throw new ConfigurationError([
      "several processes share a port: SOCKET_PATH and SOCKET_FD are for one (PROCESSES=1)",
    ]);
  }
  const given = {
    socketPath: SOCKET_PATH,
    fd: SOCKET_FD,
    origins: ORIGINS,
    hosts: HOSTS,
    rootPath: environment.ROOT_PATH,
    trustedProxies: environment.TRUSTED_PROXIES,
    maxAgeMs: environment.MAX_AGE_MS,
    drainDelayMs: environment.DRAIN_DELAY_MS,
    drainMs: environment.DRAIN_MS,
    stopTimeoutMs: environment.STOP_TIMEOUT_MS,
  };
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined));
}

export function stopMsOf({ settings }: Server): number {
  return settings.drainDelayMs + settings.stopTimeoutMs + STOP_MARGIN_MS;
}
