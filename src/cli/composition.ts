import { MemoryHistory } from "../layer/memory-history.ts";
import { MemoryPresence } from "../layer/memory-presence.ts";
import { logSignals } from "../logger.ts";
import type { Server } from "../server/index.ts";
import type { Backplane } from "../types.ts";
import { NoHistory, NoPresence, redisBackplane, redisHistory, redisPresence } from "./backplane.ts";
import { type ComposeContext, loadCompose } from "./compose.ts";
import { Labour, type LabourOptions } from "./labour.ts";

/** One process of an application. */
export interface Part extends LabourOptions {
  readonly module: string;
  readonly where: { readonly host: string; readonly port: number };
}

/** On top of what a server's `stop` may take. */
const STOP_MARGIN_MS = 3_000;

/**
 * Calls the application's `compose` with what the environment says.
 *
 * @param local - carries groups where no Redis does
 */
export async function compose(part: Part, local: Backplane): Promise<{ server: Server; tasks: Labour }> {
  const { module, environment, processes, where, logger } = part;
  const { ORIGINS, TRUSTED_PROXIES, DRAIN_DELAY_MS, DRAIN_MS, STOP_TIMEOUT_MS } = environment;
  const composed = await loadCompose(module);
  const backplane = (await redisBackplane(environment)) ?? local;
  const tasks = await Labour.of(part);
  const context: ComposeContext = {
    backplane,
    history: (await redisHistory(environment)) ?? (processes > 1 ? new NoHistory() : new MemoryHistory()),
    presence: (await redisPresence(environment)) ?? (processes > 1 ? new NoPresence() : new MemoryPresence()),
    secret: environment.SLUICE_SECRET ?? [],
    tasks: tasks.options,
    serverOptions: {
      ...where,
      ...(ORIGINS === undefined ? {} : { origins: ORIGINS }),
      ...(TRUSTED_PROXIES === undefined ? {} : { trustedProxies: TRUSTED_PROXIES }),
      ...(DRAIN_DELAY_MS === undefined ? {} : { drainDelayMs: DRAIN_DELAY_MS }),
      ...(DRAIN_MS === undefined ? {} : { drainMs: DRAIN_MS }),
      ...(STOP_TIMEOUT_MS === undefined ? {} : { stopTimeoutMs: STOP_TIMEOUT_MS }),
    },
    logger,
    processes,
  };
  const server = await composed(context);
  logSignals(server.app.signals, logger);
  return { server, tasks };
}

export function stopMsOf({ settings }: Server): number {
  return settings.drainDelayMs + settings.stopTimeoutMs + STOP_MARGIN_MS;
}
