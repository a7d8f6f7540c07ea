/** Who hovers over a name of the package in an editor, or looks it up in the reference, is told what it is. */
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { expect, test } from "@jest/globals";
import { root } from "../installed-package.ts";

interface Name {
  /** Where it is declared, from the root. */
  readonly file: string;
  readonly isDocumented: boolean;
}

const read = new Map<string, Promise<string>>();

function sourceOf(file: string): Promise<string> {
  const text = read.get(file) ?? readFile(file, "utf8");
  read.set(file, text);
  return text;
}

const DECLARATION =
  /^export (?:declare )?(?:abstract )?(?:async )?(?:class|interface|type|function\*?|const|let) (\w+)/;

/** What a module exports, as what it is declared; the code is formatted, so lines say all. */
async function namesOf(file: string): Promise<ReadonlyMap<string, Name>> {
  const text = await sourceOf(file);
  const names = new Map<string, Name>();
  const lines = text.split("\n");
  for (const [i, line] of lines.entries()) {
    const [, name] = DECLARATION.exec(line) ?? [];
    if (name === undefined || names.has(name)) continue; // the first of overloads
    names.set(name, { file: relative(root, file), isDocumented: /\*\/$/.test(lines[i - 1] ?? "") });
  }
  for (const [, list = "", from = ""] of text.matchAll(/^export (?:type )?\{([^}]*)\} from "([^"]+)";/gm)) {
    const there = from.startsWith(".") ? await namesOf(join(dirname(file), from)) : undefined;
    for (const part of list.replace(/\/\*.*?\*\//gs, "").split(",")) {
      const [name, alias = name] = part
        .trim()
        .replace(/^type /, "")
        .split(" as ");
      if (name === undefined || name === "" || alias === undefined) continue;
      // What is of another package is told there.
      const found = there === undefined ? { file: from, isDocumented: true } : there.get(name);
      if (found === undefined) throw new Error(`${file} exports ${name}, which ${from} does not declare`);
      names.set(alias, found);
    }
  }
  for (const [, list = ""] of text.matchAll(/^export (?:type )?\{([^}]*)\};/gm)) {
    for (const name of list.split(",")) names.set(name.trim(), { file, isDocumented: true });
  }
  for (const [, from = ""] of text.matchAll(/^export (?:type )?\* from "(\.[^"]+)";/gm)) {
    for (const [name, found] of await namesOf(join(dirname(file), from))) names.set(name, found);
  }
  return names;
}

test("whatever an entry of the package exports says in a comment what it is", async () => {
  const { exports } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as {
    exports: Record<string, { "sluice-source"?: string }>;
  };
  const entries = Object.entries(exports)
    .map(([entry, { "sluice-source": source = "" }]) => [entry, source] as const)
    .filter(([, source]) => source.endsWith(".ts"));
  expect(entries.length).toBeGreaterThan(15);
  const silent = new Set<string>();
  let count = 0;
  for (const [entry, source] of entries) {
    const names = await namesOf(join(root, source));
    if (names.size === 0) silent.add(`${entry} exports nothing`);
    count += names.size;
    for (const [name, { file, isDocumented }] of names) if (!isDocumented) silent.add(`${file}: ${name}`);
  }
  expect(count).toBeGreaterThan(400);
  expect([...silent].sort()).toEqual([]);
});

test("the reference is made by tools of its own, whose lock names no host", async () => {
  const folder = join(root, "docs/reference");
  const lock = JSON.parse(await readFile(join(folder, "package-lock.json"), "utf8")) as {
    packages: Record<string, { version?: string; resolved?: string }>;
  };
  const [major] = lock.packages["node_modules/typescript"]?.version?.split(".") ?? [];
  expect(major).toBe("6");
  expect(Object.values(lock.packages).filter(({ resolved }) => resolved !== undefined)).toEqual([]);
  const ours = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as {
    scripts: Record<string, string>;
  };
  expect(ours.scripts.reference).toContain("docs/reference");
  expect(existsSync(join(folder, "typedoc.config.js"))).toBe(true);
});
