import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { root } from "../installed-package.ts";

test("each row of the page for people from Django Channels names a test that is there", async () => {
  const page = await readFile(join(root, "docs/from-django-channels.md"), "utf8");
  const rows = page
    .split("\n")
    .filter((line) => line.startsWith("| ") && !/^\| (-+|Django|Daphne|there|asgiref)/.test(line));
  const cells = rows.map((row) =>
    row
      .split(/(?<!\\)\|/)
      .slice(1, -1)
      .map((cell) => cell.trim()),
  );
  expect(cells.length).toBeGreaterThan(50);
  const strange: string[] = [];
  for (const row of cells) {
    const [, file, title = ""] = /^([a-z/-]+) "(.*)"$/.exec(row.at(-1) ?? "") ?? [];
    const path = join(root, "test", `${file}.test.ts`);
    const text = existsSync(path) ? await readFile(path, "utf8") : "";
    if (file === undefined || text === "" || !text.includes(`"${title}"`))
      strange.push(`${row[0]}: ${row.at(-1)}`);
  }
  expect(strange).toEqual([]);
});
