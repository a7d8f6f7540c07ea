import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { expect, test } from "@jest/globals";
import { minify, transform } from "@swc/core";

const folder = fileURLToPath(new URL("../../src/client/", import.meta.url));

test("what a page loads is under 6 kB, compressed, and imports nothing from elsewhere", async () => {
  let minified = "";
  for (const file of await readdir(folder)) {
    const source = await readFile(folder + file, "utf8");
    for (const [, from] of source.matchAll(/from "([^"]+)"/g)) expect(from).toMatch(/^\.\/[\w-]+\.ts$/);
    const { code } = await transform(source, { jsc: { parser: { syntax: "typescript" }, target: "es2022" } });
    minified += (await minify(code, { module: true, compress: true, mangle: true })).code;
  }
  expect(gzipSync(minified).length).toBeLessThan(6_000);
});
