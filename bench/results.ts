/** Where results are kept, and what has to be known to compare them later. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, loadavg, platform, release } from "node:os";
import { fileURLToPath } from "node:url";

export const ROOT = new URL(".", import.meta.resolve("sluice/package.json"));

const PACKAGES = ["socket.io", "engine.io", "ws", "@socket.io/redis-adapter", "redis", "bullmq"];

export const RESULTS = fileURLToPath(new URL("bench/results", ROOT));

/**
 * @param begun - what the file is named after: saved once more, the results take the place of those before
 * @returns the file's name
 */
export function saveResults(
  benchmark: string,
  results: object,
  folder = RESULTS,
  begun: Date = new Date(),
): string {
  mkdirSync(folder, { recursive: true });
  const at = begun.toISOString();
  const file = `${folder}/${benchmark}-${at.replaceAll(":", "-")}.json`;
  writeFileSync(file, `${JSON.stringify({ benchmark, at, machine: machine(), ...results }, undefined, 2)}\n`);
  return file;
}

function machine(): object {
  return {
    node: process.version,
    system: `${platform()} ${release()}`,
    cpu: cpus()[0]?.model,
    cores: availableParallelism(),
    loadAverage: loadavg(),
    versions: Object.fromEntries(PACKAGES.map((name) => [name, versionOf(name)])),
  };
}

function versionOf(name: string): string {
  const manifest = new URL(`node_modules/${name}/package.json`, ROOT);
  return (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version;
}
