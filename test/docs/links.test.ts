/** Who reads the pages finds all of them, and no link leads nowhere. */
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { expect, test } from "@jest/globals";
import { root } from "../installed-package.ts";

const SKIPPED = ["node_modules", "dist", ".git", "html"];

/** All pages of the repository, by their paths in it. */
async function pagesBelow(folder = root): Promise<readonly string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const found = entries
    .filter(({ name }) => !SKIPPED.includes(name))
    .map((entry) => {
      const path = join(folder, entry.name);
      if (entry.isDirectory()) return pagesBelow(path);
      return Promise.resolve(entry.isFile() && entry.name.endsWith(".md") ? [relative(root, path)] : []);
    });
  return (await Promise.all(found)).flat().sort();
}

const prose = (text: string) => text.replace(/^```.*?^```$/gms, "");

interface Link {
  readonly page: string;
  readonly target: string;
}

/** Links of a page that do not leave the repository. */
function linksOf(page: string, text: string): readonly Link[] {
  const withoutCode = prose(text).replace(/`[^`\n]*`/g, "");
  return [...withoutCode.matchAll(/\]\(([^)\s]+)\)/g)]
    .map(([, target = ""]) => ({ page, target }))
    .filter(({ target }) => !/^[a-z]+:/.test(target));
}

/** What headings of a page are called in links, as GitHub makes it. */
function anchorsOf(text: string): ReadonlySet<string> {
  const anchors = new Set<string>();
  for (const [, heading = ""] of prose(text).matchAll(/^#{1,6} (.*)$/gm)) {
    const words = heading.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").toLowerCase();
    const slug = words.replace(/[^\p{L}\p{N}\s_-]/gu, "").replace(/\s/g, "-");
    let anchor = slug;
    for (let i = 1; anchors.has(anchor); i += 1) anchor = `${slug}-${i}`;
    anchors.add(anchor);
  }
  return anchors;
}

test("the index leads to every page of docs, once, and to nothing else", async () => {
  const index = "docs/README.md";
  const links = linksOf(index, await readFile(join(root, index), "utf8")).map(({ target }) => target);
  const pages = (await pagesBelow())
    .filter((page) => page.startsWith("docs/") && page !== index)
    .map((page) => page.slice("docs/".length));
  expect(pages.length).toBeGreaterThan(25);
  expect([...links].sort()).toEqual(pages);
});

test("no link of any page leads nowhere, nor does its anchor", async () => {
  const texts = new Map<string, string>();
  for (const page of await pagesBelow()) texts.set(page, await readFile(join(root, page), "utf8"));
  const dead: string[] = [];
  let seen = 0;
  for (const { page, target } of [...texts].flatMap(([page, text]) => linksOf(page, text))) {
    seen += 1;
    const [path = "", anchor] = target.split("#");
    const file = path === "" ? page : join(dirname(page), decodeURI(path));
    const text = texts.get(file);
    const leadsOn = anchor === undefined || (text !== undefined && anchorsOf(text).has(anchor));
    if (!existsSync(join(root, file)) || !leadsOn) dead.push(`${page}: ${target}`);
  }
  expect(seen).toBeGreaterThan(200);
  expect(dead).toEqual([]);
});
