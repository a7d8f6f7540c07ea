import cluster from "node:cluster";
import { randomBytes } from "node:crypto";
import { dirname, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { build as pretty } from "pino-pretty";
import { MemoryBackplane } from "../layer/memory-backplane.ts";
import { MemoryHistory } from "../layer/memory-history.ts";
import { createLogger, type Logger } from "../logger.ts";
import { serverDefaults } from "../options.ts";
import { FrontDoor, Membership } from "../processes/index.ts";
import { type AppFile, findApp, projectOf } from "./app-file.ts";
import { compose, stopMsOf } from "./composition.ts";
import { endOnBugs, endOnSignals } from "./ending.ts";
import type { Environment } from "./environment.ts";
import { isColourful } from "./output.ts";
import type { StartOptions } from "./start.ts";
import { type HeirOrder, type HeirReport, Succession } from "./succession.ts";
import { Watch } from "./watch.ts";

export interface DevOptions extends Pick<StartOptions, "host" | "port"> {
  /** Files and folders whose changes count, too. */
  readonly watch?: readonly string[];
}

/** In the environment of the processes that serve. */
const HEIR = "SLUICE_DEV";
/** Nobody waits for a developer's clients, and a hook that hangs must not keep the next one waiting for long. */
const STOP_TIMEOUT_MS = 2_000;
const GRACE_MS = STOP_TIMEOUT_MS + 3_000;
/** Of changed files, how many are named. */
const MAX_NAMED = 3;

/**
 * `sluice dev`: serves, and starts the application anew when its code changes. This process holds the port and
 * runs none of the application's code; that runs in another one, which the next takes over from. Resolves when
 * it watches.
 *
 * @throws UsageError, ConfigurationError
 */
export async function dev(
  given: string | undefined,
  options: DevOptions,
  environment: Environment,
): Promise<void> {
  const app = findApp(given);
  if (process.env[HEIR] !== undefined && cluster.worker !== undefined) return serve(app, environment);
  endOnBugs(createLogger("fatal"));
  const where = {
    host: options.host ?? environment.HOST ?? serverDefaults.host,
    port: options.port ?? environment.PORT ?? serverDefaults.port,
  };
  const door = new FrontDoor(where, (process) => succession.hostFor(process));
  let cause = "";
  let isFirst = true;
  const succession = new Succession({
    exec: fileURLToPath(new URL("../cli.js", import.meta.url)),
    args: process.argv.slice(2),
    env: {
      [HEIR]: "1",
      // What clients show when they come back must mean the same to the next one.
      SLUICE_SECRET: process.env.SLUICE_SECRET || randomBytes(48).toString("base64url"),
    },
    graceMs: GRACE_MS,
    serves(tookMs) {
      tell(isFirst ? `Sluice: ${url}` : `Sluice: restarted in ${Math.round(tookMs)} ms${cause}`);
      isFirst = false;
    },
    failed(how, then) {
      tell(`Sluice: it ended ${how}; ${NEXT[then]}`);
    },
  });
  const { url } = await door.listen();
  const watch = new Watch({
    folders: [projectOf(dirname(app.path))?.folder ?? dirname(app.path)],
    everything: (options.watch ?? []).map((path) => resolve(path)),
    changed(paths) {
      cause = ` (${named(paths)})`;
      succession.next();
    },
  });
  endOnSignals({
    async stop() {
      watch.close();
      door.close();
      await succession.stop();
    },
    atOnce: () => succession.kill(),
    deadlineMs: () => GRACE_MS + 1_000,
  });
  succession.next();
}

const NEXT = {
  "the one before": "the one before goes on",
  "the next": "the next one comes",
  nobody: "waiting for a change",
};

/** The process that runs the application. */
async function serve(app: AppFile, environment: Environment): Promise<void> {
  const number = cluster.worker?.id ?? 0;
  const logger = readableLogger(environment.LOG_LEVEL);
  endOnBugs(logger);
  // A terminal sends it to the whole group; the one that holds the port tells us what it means.
  process.on("SIGINT", () => {});
  const history = new MemoryHistory();
  const where = { host: serverDefaults.host, port: 0 };
  const calm = { ...environment, DRAIN_DELAY_MS: 0, DRAIN_MS: 0, STOP_TIMEOUT_MS };
  const { server } = await compose(
    { app, environment: calm, processes: 1, where, logger, history },
    new MemoryBackplane(),
  );
  const membership = new Membership(server);
  let isEnding = false;
  const end = async () => {
    if (isEnding) return;
    isEnding = true;
    // What was handed over in this turn is heard first.
    await new Promise((resolve) => setImmediate(resolve));
    membership.leave();
    await server.stop({ atOnce: true });
    report({ sluice: "left", legacy: history.logs.snapshot() }, () => process.exit(0));
  };
  process.on("SIGTERM", () => void end());
  process.on("message", (order: Partial<HeirOrder> | null) => {
    if (order?.sluice === "end") void end();
    if (order?.sluice !== "begin") return;
    if (order.legacy !== undefined) history.logs.restore(order.legacy);
    membership.begin(number, stopMsOf(server)).catch(fail);
  });
  report({ sluice: "composed" }, () => {});
}

/** What `run` would do, had it waited. */
async function fail(error: unknown): Promise<void> {
  const { complain, exitCodeOf } = await import("./complaint.ts");
  complain(error);
  process.exit(exitCodeOf(error));
}

function report(message: HeirReport, sent: () => void): void {
  process.send?.(message, undefined, undefined, sent);
}

/** On a terminal or not. */
function readableLogger(level: string | undefined): Logger {
  const colorize = isColourful(process.stdout);
  // Within the call, so that what it says last is seen.
  return createLogger(level, pretty({ ignore: "pid,hostname", singleLine: true, colorize, sync: true }));
}

function named(paths: readonly string[]): string {
  const names = paths.slice(0, MAX_NAMED).map((path) => relative(process.cwd(), path));
  const more = paths.length - names.length;
  return more === 0 ? names.join(", ") : `${names.join(", ")} and ${more} more`;
}

function tell(line: string): void {
  process.stdout.write(`${line}\n`);
}
