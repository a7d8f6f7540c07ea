import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { root } from "../installed-package.ts";

test("each guarantee names a test that is there", async () => {
  const page = await readFile(join(root, "docs/guarantees.md"), "utf8");
  const rows = page
    .split("\n")
    .filter((line) => line.startsWith("| ") && !/^\| (-+|promise) /.test(line))
    .map((row) => row.split("|").slice(1, -1))
    .map((cells) => cells.map((cell) => cell.trim()));
  expect(rows.length).toBeGreaterThan(40);
  const strange: string[] = [];
  for (const row of rows) {
    const [, file = "", title = ""] = /^([a-z/-]+) "(.+)"$/.exec(row[2] ?? "") ?? [];
    const path = join(root, "test", `${file}.test.ts`);
    const text = existsSync(path) ? await readFile(path, "utf8") : "";
    if (!text.includes(`"${title}"`) || title === "") strange.push(`${row[0]}: ${row[2]}`);
  }
  expect(strange).toEqual([]);
});
