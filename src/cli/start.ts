import cluster from "node:cluster";
import { fileURLToPath } from "node:url";
import type { Application } from "../application.ts";
import { MemoryBackplane } from "../layer/memory-backplane.ts";
import { createLogger, flushed, type Logger } from "../logger.ts";
import { serverDefaults } from "../options.ts";
import {
  Crew,
  CrewFailed,
  FrontDoor,
  Membership,
  ProcessBackplane,
  ProcessHub,
  Siblings,
} from "../processes/index.ts";
import type { AppFile } from "./app-file.ts";
import { complain } from "./complaint.ts";
import { compose, type Part, stopMsOf } from "./composition.ts";
import { endOnBugs, endOnSignals } from "./ending.ts";
import type { Environment } from "./environment.ts";
import { warnOfMemory } from "./labour.ts";

/** What the command line says; it wins over the environment. */
export interface StartOptions {
  readonly host?: string;
  readonly port?: number;
  readonly processes?: number;
}

/** In the environment of a process that a crew's primary has started. */
const CREW = "SLUICE_CREW";

/**
 * Runs a composition root until it is told to end. Resolves when it serves.
 *
 * @throws ConfigurationError, CrewFailed
 */
export async function start(app: AppFile, options: StartOptions, environment: Environment): Promise<void> {
  const { HOST, PORT, PROCESSES, LOG_LEVEL } = environment;
  const processes = options.processes ?? PROCESSES ?? 1;
  const where = {
    host: options.host ?? HOST ?? serverDefaults.host,
    port: options.port ?? PORT ?? serverDefaults.port,
  };
  const logger = createLogger(LOG_LEVEL);
  if (process.env[CREW] !== undefined && cluster.worker !== undefined) {
    const number = cluster.worker.id;
    const part = { app, environment, processes, where, logger: logger.child({ process: number }) };
    return serveInCrew(number, { ...part, siblings: new Siblings(number) });
  }
  if (processes === 1) return serveAlone({ app, environment, processes, where, logger });
  return leadCrew(where, processes, environment, logger);
}

async function serveAlone(part: Part): Promise<void> {
  endOnBugs(part.logger);
  const { server, tasks } = await compose(part, new MemoryBackplane());
  const end = endOnSignals({
    stop: () => server.stop(),
    deadlineMs: () => stopMsOf(server),
    left: () => connectionsOf(server.app),
    logger: part.logger,
  });
  tasks.whenTired(end);
  const { url } = await server.listen();
  announce(url);
  warnOfMemory(server.app, part.logger);
}

/** With those whose `disconnect` still runs. */
function connectionsOf(app: Application): string {
  const { open, unsettled } = app.readings().gauges;
  const count = Object.values(open).reduce((all, number) => all + number, unsettled);
  return count === 1 ? "1 connection" : `${count} connections`;
}

/** A process of a crew: it ends when its primary, or anybody else, says SIGTERM. */
async function serveInCrew(number: number, part: Part): Promise<void> {
  endOnBugs(part.logger);
  // A terminal sends it to the whole group; the primary tells us what it means.
  process.on("SIGINT", () => {});
  const { server } = await compose(part, new ProcessBackplane());
  const membership = new Membership(server);
  let isEnding = false;
  process.on("SIGTERM", () => {
    // A process manager may tell each process, and the primary does so again.
    if (isEnding) return;
    isEnding = true;
    membership.leave();
    setTimeout(() => process.exit(1), stopMsOf(server)).unref();
    void server
      .stop()
      .then(() => flushed(part.logger))
      .then(() => process.exit(0));
  });
  await membership.begin(number, stopMsOf(server));
}

async function leadCrew(
  where: Part["where"],
  size: number,
  environment: Environment,
  logger: Logger,
): Promise<void> {
  endOnBugs(logger);
  const hub = environment.REDIS_URL === undefined ? new ProcessHub() : undefined;
  const gaveUp = (failure: CrewFailed) => {
    complain(failure);
    void crew.stop().then(() => process.exit(1));
    setTimeout(() => {
      crew.kill();
      process.exit(1);
    }, crew.stopMs).unref();
  };
  const exec = fileURLToPath(new URL("../cli.js", import.meta.url));
  const crew = new Crew(
    { size, exec, args: process.argv.slice(2), env: { [CREW]: "1" }, hub, logger },
    gaveUp,
  );
  const door = new FrontDoor(where, (process) => crew.hostFor(process));
  // First of all, so that nobody begins in vain where the port is taken.
  const { url } = await door.listen();
  endOnSignals({
    stop: () => crew.stop(),
    atOnce: () => crew.kill(),
    deadlineMs: () => crew.stopMs,
    logger,
  });
  try {
    await crew.start();
  } catch (error) {
    door.close();
    // With 1 it has said what is wrong.
    if (error instanceof CrewFailed && error.exitCode === 1) process.exit(1);
    throw error;
  }
  announce(url);
}

function announce(url: string): void {
  process.stdout.write(`Sluice: ${url}\n`);
}
