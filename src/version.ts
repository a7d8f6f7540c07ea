import { createRequire } from "node:module";

let version: string | undefined;

/** Of this package. */
export function packageVersion(): string {
  version ??= (createRequire(import.meta.url)("sluice/package.json") as { version: string }).version;
  return version;
}
