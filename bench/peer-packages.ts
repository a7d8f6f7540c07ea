/** Packages that are only compared with: in `bench/peers`, with a lock of their own. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const FOLDER = new URL("bench/peers/", new URL(".", import.meta.resolve("sluice/package.json")));
const TIMEOUT_MS = 180_000;

export function peerFile(name: string): string {
  return new URL(name, FOLDER).href;
}

/** A CommonJS package; its types are not installed here. */
export function fromPeers<Module>(name: string): Module {
  return createRequire(peerFile("package.json"))(name) as Module;
}

/**
 * Installs them when they are missing.
 *
 * @returns why they are not there, or undefined
 */
export async function installPeers(): Promise<string | undefined> {
  if (existsSync(new URL("node_modules/.package-lock.json", FOLDER))) return undefined;
  console.log("installing the packages to compare with (bench/peers) ...");
  const options = { cwd: fileURLToPath(FOLDER), timeout: TIMEOUT_MS };
  try {
    await promisify(execFile)("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], options);
    return undefined;
  } catch (error) {
    const lines = String((error as { stderr?: string }).stderr || error).split("\n");
    const first = lines.find((line) => line.startsWith("npm error")) ?? lines[0];
    return `bench/peers could not be installed: ${first}`;
  }
}
