/** An application's module that cannot be loaded, in a sentence that says what to do. */
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import { ConfigurationError } from "../errors.ts";
import type { AppFile } from "./app-file.ts";
import { typeScriptFault } from "./typescript.ts";

/** Undefined for what the module has thrown itself, and for mistakes of syntax, which Node shows best. */
export function moduleFault(error: unknown, app: AppFile): ConfigurationError | undefined {
  const { code, message = "", name } = error as { code?: string; message?: string; name?: string };
  if (name === "TransformError") return new ConfigurationError(mistakesOf(message, app));
  const ofTypeScript = typeScriptFault(error);
  if (ofTypeScript !== undefined) return ofTypeScript;
  switch (code) {
    case "ERR_MODULE_NOT_FOUND":
      return new ConfigurationError([`${message}; ${mendingOf(message)}`]);
    case "ERR_UNKNOWN_FILE_EXTENSION":
    case "ERR_IMPORT_ASSERTION_TYPE_MISSING":
    case "ERR_IMPORT_ATTRIBUTE_MISSING":
      return new ConfigurationError([
        `${app.name} cannot be loaded: ${message}; an application is a file of JavaScript or TypeScript`,
      ]);
    default:
      return undefined;
  }
}

function mendingOf(message: string): string {
  const [, wanted] = /^Cannot find package '([^']+)'/.exec(message) ?? [];
  if (wanted === undefined || /^[./]|^\w:[\\/]/.test(wanted)) return "look at the path, and at its ending";
  return `"npm install" installs what package.json names, "npm install ${wanted}" adds it`;
}

/** Mistakes of syntax as esbuild, in tsx, finds them, which comes here as text: its stack is about itself. */
function mistakesOf(message: string, app: AppFile): readonly string[] {
  const told = [...message.matchAll(/^(.+):(\d+):(\d+): ERROR: (.+)$/gm)];
  if (told.length === 0) return [`${app.name} cannot be loaded: ${message}`];
  return told.map(
    ([, file = "", line, column, what]) => `${placeOf(file)}:${line}:${Number(column) + 1}: ${what}`,
  );
}

function placeOf(file: string): string {
  const path = file.startsWith("file:") ? fileURLToPath(file) : file;
  return relative(process.cwd(), path) || path;
}
