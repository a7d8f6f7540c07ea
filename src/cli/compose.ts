import { pathToFileURL } from "node:url";
import type { ApplicationPart } from "../application.ts";
import { ConfigurationError } from "../errors.ts";
import type { HistoryStore } from "../layer/history-store.ts";
import type { LimitStore } from "../layer/limit-store.ts";
import type { PresenceStore } from "../layer/presence-store.ts";
import type { Logger } from "../logger.ts";
import type { Server, ServerOptions } from "../server/index.ts";
import type { Backplane } from "../types.ts";
import type { AppFile } from "./app-file.ts";
import type { TasksContext } from "./labour.ts";
import { moduleFault } from "./module-fault.ts";
import { enableTypeScript } from "./typescript.ts";

/** What `sluice start` has read from the command line and the environment, for a composition root. */
export interface ComposeContext {
  /**
   * For `createApplication`: Redis if `REDIS_URL` says where it is, else what the processes of this machine
   * share, else memory.
   */
  readonly backplane: Backplane;
  /**
   * For `createApplication`, if some groups keep history: in Redis, or in this process' memory. Several
   * processes without Redis share none; it then refuses to be opened.
   */
  readonly history: HistoryStore;
  /** For `createApplication`, if some groups keep presence; as `history`. */
  readonly presence: PresenceStore;
  /**
   * For `new Tasks({ ...tasks, tasks: [...] })`, if there are tasks: kept in Redis, which `sluice work` works on, or in
   * this process' memory, and then done here. Several processes without Redis share none; it then refuses to
   * be opened.
   */
  readonly tasks: TasksContext;
  /**
   * For `createApplication`: counts limits for all nodes in Redis if `REDIS_URL` is set; otherwise each process counts
   * by itself.
   */
  readonly sharedLimits: LimitStore;
  /** For `createApplication({ parts: [...metrics, ...] })`: see `METRICS`; empty if it is not set. */
  readonly metrics: readonly ApplicationPart[];
  /** For `createApplication`: `SLUICE_SECRET`; empty if it is not set. */
  readonly secret: readonly string[];
  /** For `createApplication`: `SLUICE_ENCRYPTION_KEYS`; empty if it is not set. */
  readonly encryptionKeys: readonly string[];
  /** For the part `canary({ key: canaryKey })` of `sluice/canary`: `CANARY_KEY`; undefined if it is not set. */
  readonly canaryKey: string | undefined;
  /**
   * For `dashboard({ ...dashboard, tasks })`: `DASHBOARD_PASSWORD`. Without it there is no page, and nodes report
   * all the same.
   */
  readonly dashboard: { readonly password?: string };
  /** For `createServer`; `host` and `port` are where the command listens, all else only if it was set. */
  readonly serverOptions: Required<Pick<ServerOptions, "host" | "port">> &
    Pick<ServerOptions, "origins" | "trustedProxies" | "drainDelayMs" | "drainMs" | "stopTimeoutMs">;
  /** Writes to standard output; hears the application's signals already. */
  readonly logger: Logger;
  /** How many processes serve this port. What lives in one process's memory is not shared between them. */
  readonly processes: number;
}

/**
 * A composition root: puts application and server together, and leaves `listen` and `stop` to the command.
 * The module that `sluice start` names exports it as `compose`.
 *
 * @example
 * export const compose: Compose = ({ backplane, history, secret, serverOptions }) =>
 *   createServer(createApplication({ routes, groups, backplane, history, secret }), serverOptions);
 */
export type Compose = (context: ComposeContext) => Server | Promise<Server>;

/**
 * Finds the function `compose` of an application's module.
 *
 * @throws ConfigurationError when there is none; what the module itself throws
 */
export async function loadCompose(app: AppFile): Promise<(context: ComposeContext) => Promise<Server>> {
  await enableTypeScript(app);
  let module: { readonly compose?: unknown };
  try {
    module = await import(pathToFileURL(app.path).href);
  } catch (error) {
    throw moduleFault(error, app) ?? error;
  }
  const { compose } = module;
  if (typeof compose !== "function") {
    throw new ConfigurationError([
      `${app.name} exports no function "compose": write \`export function compose(context)\` that returns a server (createServer)`,
    ]);
  }
  return async (context) => {
    const server: unknown = await compose(context);
    if (isServer(server)) return server;
    throw new ConfigurationError([
      `"compose" of ${app.name} must return a server, as createServer makes one`,
    ]);
  };
}

/** By its looks: the module may have a copy of the package of its own. */
function isServer(value: unknown): value is Server {
  const { app, listen, stop } = (value ?? {}) as Partial<Record<"app" | "listen" | "stop", unknown>>;
  return typeof app === "object" && typeof listen === "function" && typeof stop === "function";
}
