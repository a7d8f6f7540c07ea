/** The benchmark as `npm run bench` has it: compiled, beside the built package. */
import { execFile } from "node:child_process";
import { symlink } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { installPackage, root } from "../installed-package.ts";

const run = promisify(execFile);

export interface BuiltBench {
  /** The folder of its programs. */
  readonly folder: string;
  remove(): Promise<void>;
}

export async function buildBench(): Promise<BuiltBench> {
  const installed = await installPackage();
  const out = join(installed.folder, "run");
  // Types are checked by `npm run check`; here they would want the package built in its own place.
  await run(process.execPath, [
    join(root, "node_modules/typescript/bin/tsc"),
    ...["-p", join(root, "bench"), "--outDir", out, "--noCheck"],
  ]);
  await symlink(join(root, "node_modules"), join(out, "node_modules"), "junction");
  return { folder: join(out, "bench"), remove: installed.remove };
}
