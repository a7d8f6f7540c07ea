import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { root } from "../installed-package.ts";

test("what the page on operations tells to watch, and to set, is there", async () => {
  const read = (page: string) => readFile(join(root, "docs", page), "utf8");
  const page = await read("operations.md");
  const [metrics, running] = [await read("metrics.md"), await read("running.md")];
  const limits = (await read("limits.md")) + (await read("server.md"));
  const inCode = [...page.matchAll(/`([^`\n]+)`/g)].map(([, code = ""]) => code);
  const named = new Set<string>();
  const strange: string[] = [];
  for (const code of inCode) {
    for (const [name] of code.matchAll(/\bsluice_\w+/g)) {
      named.add(name);
      if (!metrics.includes(`\`${name.replace(/_bucket$/, "")}\``)) strange.push(name);
    }
    if (/^[A-Z]+(_[A-Z]+)+$/.test(code) && !running.includes(`\`${code}\``)) strange.push(code);
    if (/^\w+(PerSecond|PerUser|PerAddress|PerConnection|PerSecondPerAddress)$/.test(code)) {
      named.add(code);
      if (!limits.includes(code)) strange.push(code);
    }
  }
  expect(named.size).toBeGreaterThan(20);
  expect(strange).toEqual([]);
});
