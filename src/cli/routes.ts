import { MemoryBackplane } from "../layer/memory-backplane.ts";
import { createLogger } from "../logger.ts";
import { printable } from "../names.ts";
import type { DeclaredParameter } from "../pattern.ts";
import type { Resolved } from "../router.ts";
import type { AppFile } from "./app-file.ts";
import { compose } from "./composition.ts";
import type { Environment } from "./environment.ts";
import { say, table } from "./output.ts";

/** One line of the table, for programs. */
export interface RouteLine {
  readonly protocol: "socket" | "sse" | "http";
  readonly pattern: string;
  readonly params: readonly DeclaredParameter[];
  readonly name: string | null;
  /** Of an `http` route; empty: all. */
  readonly methods: readonly string[];
  /** Name of the consumer's class, or of the handler's function. */
  readonly serves: string;
  readonly middleware: readonly string[];
}

/**
 * `sluice routes`: the table as it resolves, in the order in which it is tried. The application is put
 * together and not started.
 *
 * @throws ConfigurationError; what the application itself throws
 */
export async function routes(
  app: AppFile,
  { json = false }: { readonly json?: boolean },
  environment: Environment,
): Promise<number> {
  const where = { host: "127.0.0.1", port: 0 };
  // Standard output is for the table.
  const logger = createLogger("warn", process.stderr);
  const { server } = await compose({ app, environment, processes: 1, where, logger }, new MemoryBackplane());
  const lines = server.app.router.routes.map(lineOf);
  if (json) await say(JSON.stringify(lines, undefined, 2));
  else if (lines.length === 0) await say(`${app.name} has no routes.`);
  else
    await say(table(["protocol", "pattern", "serves", "middleware", "params", "name"], lines.map(cellsOf)));
  return 0;
}

function lineOf(route: Resolved): RouteLine {
  const isHttp = route.kind === "http";
  return {
    protocol: route.kind,
    pattern: route.pattern,
    params: route.matcher.parameters,
    name: route.name ?? null,
    methods: isHttp ? route.methods : [],
    serves: named(isHttp ? route.handler : route.consumer),
    middleware: route.middleware.map(named),
  };
}

function cellsOf({ protocol, methods, pattern, serves, middleware, params, name }: RouteLine): string[] {
  const kind = methods.length === 0 ? protocol : `${protocol} ${methods.join(",")}`;
  const types = params.map((param) => `${param.name}: ${param.converter}${param.optional ? "?" : ""}`);
  return [kind, pattern, serves, middleware.join(" > "), types.join(", "), name ?? ""];
}

function named({ name }: { readonly name: string }): string {
  return name === "" ? "(anonymous)" : printable(name);
}
