/** All TypeScript and JavaScript of the pages has the real types. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { blocksOf, complete, Project } from "../guides.ts";
import { root } from "../installed-package.ts";
import { files, surroundings, surroundingsOf } from "./surroundings.ts";

jest.setTimeout(120_000);

let project: Project;

beforeAll(async () => {
  const beside = [
    "socket.io-client",
    "@jest/globals",
    "express",
    "@types/express",
    "expect",
    "@opentelemetry",
  ];
  project = await Project.make(...beside, "react", "@types/react");
});
afterAll(() => project.close());

const isCode = ({ language }: { readonly language: string }) => ["ts", "tsx", "js"].includes(language);

test("no page with code is left out", async () => {
  const pages = ["README.md"];
  for (const file of (await readdir(join(root, "docs"))).sort()) {
    const page = `docs/${file}`;
    if (file.endsWith(".md") && (await blocksOf(page)).some(isCode)) pages.push(page);
  }
  expect(Object.keys(surroundings)).toEqual(pages);
});

test.each(Object.keys(surroundings))("the code of %s is right", async (page) => {
  for (const [file, code] of Object.entries(files[page] ?? {})) await project.write(file, code);
  for (const [language, ...more] of [["ts", "tsx"], ["js"]] as const) {
    const modules = new Map<string, string>();
    for (const [i, block] of (await blocksOf(page)).entries()) {
      const isOfThese = block.language === language || more.some((other) => other === block.language);
      if (!isOfThese && !block.file?.endsWith(".d.ts")) continue;
      const file = block.file?.replace(/\.js$/, ".ts") ?? `block-${i}.${block.language.replace("js", "ts")}`;
      modules.set(file, await complete(onServer(block.code), surroundingsOf(page)));
    }
    expect(await project.complaints(modules, { isLoose: language === "js" })).toBe("");
  }
});

/** As if it were no browser that loads it. */
function onServer(code: string): string {
  return code
    .replace('"/sluice/client/index.js"', '"sluice/client"')
    .replace('"/socket.io/socket.io.esm.min.js"', '"socket.io-client"');
}
