/** TypeScript as the project has it: by Node itself, or by the project's own `tsx`. */
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { ConfigurationError } from "../errors.ts";
import type { AppFile } from "./app-file.ts";

const NODE_CAN = "use Node 22.18 or newer";
const TSX_CAN = "install tsx (npm install --save-dev tsx)";
const BY_TSX = "let tsx run all of it (npm install --save-dev tsx; NODE_OPTIONS='--import tsx')";

export function isTypeScript(path: string): boolean {
  return /\.[mc]?tsx?$/.test(path);
}

/**
 * Makes `import` of the application work, if it is TypeScript.
 *
 * @throws ConfigurationError that says what would run it
 */
export async function enableTypeScript({ path, name }: AppFile): Promise<void> {
  if (!isTypeScript(path) || runsTypeScript(path) || isLoaded()) return;
  const tsx = tsxOf(path);
  // As `node --import tsx` does.
  if (tsx !== undefined) return void (await import(pathToFileURL(tsx).href));
  throw new ConfigurationError([
    `Node ${process.versions.node} runs no TypeScript (${name}): ${TSX_CAN}, ${NODE_CAN}, or name the JavaScript file that it builds to`,
  ]);
}

/** What Node means by its errors about TypeScript; undefined for others. */
export function typeScriptFault(error: unknown): ConfigurationError | undefined {
  const { code, message = "", url = "" } = error as { code?: string; message?: string; url?: string };
  switch (code) {
    case "ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX":
      return new ConfigurationError([
        `Node cannot run this TypeScript by itself: ${message.trim()}; write what can be erased only (enums, namespaces and parameter properties cannot), or ${BY_TSX}`,
      ]);
    case "ERR_MODULE_NOT_FOUND":
      if (!url.endsWith(".js") || !/\.[mc]?tsx?'?$/.test(importerOf(message))) return undefined;
      return new ConfigurationError([
        `${message}; Node wants the ending as the file has it (".ts"; "allowImportingTsExtensions" in tsconfig.json), or ${BY_TSX}`,
      ]);
    default:
      return undefined;
  }
}

function importerOf(message: string): string {
  return / imported from (.+)$/s.exec(message)?.[1]?.trim() ?? "";
}

/** Node leaves out types since 22.18, but knows no JSX. */
function runsTypeScript(path: string): boolean {
  const { typescript } = process.features as { readonly typescript?: unknown };
  return Boolean(typescript) && !path.endsWith("x");
}

/** The user has seen to it: `node --import tsx`. */
function isLoaded(): boolean {
  return /\btsx\b/.test([process.env.NODE_OPTIONS ?? "", ...process.execArgv].join(" "));
}

function tsxOf(path: string): string | undefined {
  try {
    return createRequire(path).resolve("tsx");
  } catch {
    return undefined;
  }
}
