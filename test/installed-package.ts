/**
 * The package as a stranger has it: built, and in the `node_modules` of a folder of its own. For tests that
 * start programs; Jest alone knows how to run our sources.
 */
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "esbuild";

export const root = fileURLToPath(new URL("..", import.meta.url));

export interface InstalledPackage {
  /** An empty project with `"type": "module"`. */
  readonly folder: string;
  /** Where the built files are. */
  readonly dist: string;
  remove(): Promise<void>;
}

export async function installPackage(): Promise<InstalledPackage> {
  const folder = await mkdtemp(join(tmpdir(), "sluice-installed-"));
  const installed = join(folder, "node_modules", "sluice");
  const dist = join(installed, "dist");
  await mkdir(installed, { recursive: true });
  await promisify(execFile)(process.execPath, [
    join(root, "node_modules/typescript/bin/tsc"),
    ...["-p", join(root, "tsconfig.build.json"), "--outDir", dist],
  ]);
  // As the build does.
  await cp(join(root, "src/dashboard/page"), join(dist, "src/dashboard/page"), { recursive: true });
  await build({
    ...{ entryPoints: [join(root, "src/client/index.ts")], outfile: join(dist, "client.min.js") },
    ...{ bundle: true, minify: true, format: "esm", target: "es2022", logLevel: "warning" },
  });
  await symlink(join(root, "package.json"), join(installed, "package.json"));
  await symlink(join(root, "node_modules"), join(installed, "node_modules"), "junction");
  await symlink(join(root, "node_modules", "zod"), join(folder, "node_modules", "zod"), "junction");
  await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module" }));
  return { folder, dist, remove: () => rm(folder, { recursive: true, force: true }) };
}
