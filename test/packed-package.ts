/** The package as npm packs it, for tests that install it as strangers do. */
import { execFile } from "node:child_process";
import { cp, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { root } from "./installed-package.ts";

export interface Packed {
  /** The tarball that `npm publish` would send. */
  readonly tarball: string;
  /** The paths in it. */
  readonly files: readonly string[];
}

/**
 * @param dist - the built files
 * @param shelf - the folder that the tarball goes to
 */
export async function packPackage(dist: string, shelf: string): Promise<Packed> {
  const { files } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { files: string[] };
  const stage = join(shelf, "stage");
  await mkdir(stage);
  for (const name of [
    ...files.filter((file) => !file.startsWith("dist")),
    ...["package.json", "README.md", "LICENSE"],
  ]) {
    await cp(join(root, name), join(stage, name), { recursive: true });
  }
  await cp(dist, join(stage, "dist"), { recursive: true });
  // Built already, and not here.
  const args = ["pack", "--ignore-scripts", "--json", "--pack-destination", shelf];
  const { stdout } = await promisify(execFile)("npm", args, { cwd: stage });
  const [{ filename, files: inside }] = JSON.parse(stdout) as [
    { filename: string; files: { path: string }[] },
  ];
  return { tarball: join(shelf, filename), files: inside.map(({ path }) => path) };
}
