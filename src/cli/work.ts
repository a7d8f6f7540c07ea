import { ConfigurationError } from "../errors.ts";
import { MemoryBackplane } from "../layer/memory-backplane.ts";
import { createLogger } from "../logger.ts";
import type { AppFile } from "./app-file.ts";
import { compose, stopMsOf } from "./composition.ts";
import { endOnBugs, endOnSignals } from "./ending.ts";
import { type Environment, readQueues } from "./environment.ts";
import { HealthDoor } from "./health-door.ts";
import { tasksOf } from "./labour.ts";

/** What the command line says; it wins over the environment. */
export interface WorkOptions {
  readonly queues?: Readonly<Record<string, number>>;
  readonly maxRuns?: number;
  readonly maxMemoryMb?: number;
  /** Where it answers whether it lives; left out: nowhere. */
  readonly healthPort?: number;
}

/**
 * Works on queues of an application's tasks, without serving clients, until it is told to end. Resolves when
 * it works.
 *
 * @throws ConfigurationError
 */
export async function work(
  module: AppFile,
  { healthPort, ...options }: WorkOptions,
  environment: Environment,
): Promise<void> {
  const { REDIS_URL, TASKS_REDIS_URL, QUEUES, LOG_LEVEL, HOST, HEALTH_PORT } = environment;
  if (REDIS_URL === undefined) {
    throw new ConfigurationError([
      `a worker meets the application in Redis: set REDIS_URL to the one that its nodes use${TASKS_REDIS_URL === undefined ? "" : " (TASKS_REDIS_URL is for the tasks alone)"}`,
    ]);
  }
  const queues = options.queues ?? QUEUES ?? readQueues("default");
  const logger = createLogger(LOG_LEVEL);
  endOnBugs(logger);
  // It never listens: that is for the nodes.
  const where = { host: "127.0.0.1", port: 0 };
  const part = { app: module, environment, processes: 1, where, logger, ...options, queues };
  const { server, tasks } = await compose(part, new MemoryBackplane());
  const { app, settings } = server;
  const health = new HealthDoor(app);
  const end = endOnSignals({
    stop() {
      health.phase = "draining";
      return app.stop({ withinMs: settings.stopTimeoutMs });
    },
    deadlineMs: () => stopMsOf(server),
    left() {
      const running = app.readings().tasks?.running ?? 0;
      return running === 1 ? "1 run" : `${running} runs`;
    },
    logger,
  });
  tasks.whenTired(end);
  const found = tasksOf(app);
  if (found === undefined || Object.keys(found.queues).length === 0) {
    throw new ConfigurationError([
      `${module.name} has no tasks to work on: give createApplication({ parts: [new Tasks({ ...tasks, tasks: [...] })] }) what its compose is given as \`tasks\``,
    ]);
  }
  const port = healthPort ?? HEALTH_PORT;
  const door = port === undefined ? undefined : await health.open(HOST ?? where.host, port);
  await app.start();
  health.phase = "serving";
  const queueList = Object.entries(found.queues).map(([name, n]) => `${name}:${n}`);
  const place = door === undefined ? "" : `; its health is at ${door.url}/livez`;
  process.stdout.write(`Sluice: works on ${queueList.join(", ")}${place}\n`);
}
