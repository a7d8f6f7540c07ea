import type { Application } from "../application.ts";
import { ConfigurationError } from "../errors.ts";
import type { TaskBroker } from "../layer/task-broker.ts";
import type { Logger } from "../logger.ts";
import type { Tasks, TasksOptions } from "../tasks/index.ts";
import { redisOptions } from "./backplane.ts";
import type { Environment } from "./environment.ts";

/** For `new Tasks(...)`, beside the application's own list of tasks. */
export type TasksContext = Pick<
  TasksOptions,
  "broker" | "queues" | "logger" | "maxRuns" | "maxMemoryMb" | "onTired"
>;

/** Of one process. */
export interface LabourOptions {
  readonly environment: Environment;
  readonly processes: number;
  readonly logger: Logger;
  /** What a worker works on; undefined: it serves. */
  readonly queues?: Readonly<Record<string, number>>;
  readonly maxRuns?: number;
  readonly maxMemoryMb?: number;
}

/** What a process has to do with tasks. Nothing of it is opened before the application has tasks. */
export class Labour {
  readonly options: TasksContext;
  readonly #tired: { call(): void };

  private constructor(options: TasksContext, tired: { call(): void }) {
    this.options = options;
    this.#tired = tired;
  }

  /** @throws ConfigurationError that lists what is wrong with where the tasks' Redis is */
  static async of({
    environment,
    processes,
    logger,
    queues,
    maxRuns,
    maxMemoryMb,
  }: LabourOptions): Promise<Labour> {
    const tired = { call: () => {} };
    const options = {
      broker: await brokerOf(environment, processes),
      logger,
      ...(queues === undefined ? {} : { queues }),
      ...(maxRuns === undefined ? {} : { maxRuns }),
      ...(maxMemoryMb === undefined ? {} : { maxMemoryMb }),
      onTired: () => tired.call(),
    };
    return new Labour(options, tired);
  }

  /** Called when the process has done as many runs, or holds as much memory, as it was given. */
  whenTired(call: () => void): void {
    this.#tired.call = call;
  }
}

/** The tasks of an application, if it has some; by their looks, as its module may have a copy of the package. */
export function tasksOf({ parts }: Application): Pick<Tasks, "broker" | "queues"> | undefined {
  return parts.find((part): part is Tasks => "broker" in part && "queues" in part);
}

/** Says what is not kept, if there are tasks and they are kept in memory. */
export function warnOfMemory(app: Application, logger: Logger): void {
  if (tasksOf(app)?.broker.isShared !== false) return;
  logger.warn(
    "tasks wait, and their results are kept, in this process' memory: they end with it. With REDIS_URL they outlive it, and workers share them",
  );
}

async function brokerOf(environment: Environment, processes: number): Promise<TaskBroker> {
  const { TASKS_REDIS_URL } = environment;
  const usual = redisOptions(environment);
  if (usual !== undefined || TASKS_REDIS_URL !== undefined) {
    const { RedisBroker } = await import("../tasks/redis-broker.ts");
    const { prefix } = usual ?? {};
    if (TASKS_REDIS_URL === undefined) return new RedisBroker(usual);
    return new RedisBroker({ url: TASKS_REDIS_URL, ...(prefix === undefined ? {} : { prefix }) });
  }
  const { MemoryBroker } = await import("../tasks/index.ts");
  if (processes === 1) return new MemoryBroker();
  /** For several processes that share nothing: what one was asked for the others would not know. */
  return new (class NoBroker extends MemoryBroker {
    override async open(): Promise<void> {
      throw new ConfigurationError([
        "there are tasks, which several processes can share in Redis only: set REDIS_URL, or start one process",
      ]);
    }
  })();
}
