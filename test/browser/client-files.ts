import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { transform } from "@swc/core";

const source = fileURLToPath(new URL("../../src/client/", import.meta.url));

/** `sluice/client` as the build makes it, in a folder of its own: tests run from the source. */
export async function clientFiles(): Promise<{ folder: string; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), "sluice-client-"));
  for (const file of await readdir(source)) {
    const { code } = await transform(await readFile(join(source, file), "utf8"), {
      jsc: { parser: { syntax: "typescript" }, target: "es2022", externalHelpers: false },
      module: { type: "es6" },
    });
    const runs = code.replace(/(from "\.\/[\w-]+)\.ts"/g, '$1.js"');
    await writeFile(join(folder, file.replace(/\.ts$/, ".js")), runs);
  }
  return { folder, remove: () => rm(folder, { recursive: true, force: true }) };
}
