/**
 * Every block on the pages is run by a test. A test says so by taking it with its page, its language and words
 * of it written out, `blockOf("docs/tasks.md", "ts", "new RedisBroker(")`, or all of a page by
 * `blocksOf("docs/tutorial.md")`.
 */
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { type Block, blocksOf } from "../guides.ts";
import { root } from "../installed-package.ts";

/** What is read and not run: by page, words of the block and why. */
const READ: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  "README.md": {
    "npm ci && npm start": "of this repository: test/app starts the demo",
    "npm ci && npm test": "this is it",
  },
  "docs/command-line.md": {
    "npx sluice new": "test/cli/new.test.ts does it, with the packed package",
    "npx sluice dev": "test/cli/dev.test.ts",
    "lacks for history": "test/cli/look.test.ts",
    "npx sluice inspect": "test/cli/inspect.test.ts",
    "3 nodes, 214 connections": "test/cli/inspect.test.ts",
    "npx sluice canary https:": "test/cli/guide.test.ts, at an address that is there",
  },
  "docs/deploy.md": {
    "docker compose up": "wants Docker: npm run test:compose does it",
    "npm ci --omit=dev": "wants Docker",
    "deploy/compose-rollout": "wants Docker: npm run test:compose does it",
  },
  "docs/faults.md": {
    "npm run faults": "takes a minute; test/faults/faults.test.ts runs it for less",
    "FAULTS OK": "what it writes: test/faults/faults.test.ts",
  },
  "docs/from-django-channels.md": { AsyncJsonWebsocketConsumer: "theirs, to compare with" },
  "docs/metrics.md": {
    "docker-compose --profile": "wants Docker; test/metrics/deploy.test.ts reads the files",
  },
  "docs/protocol.md": { '"sluice": {': "positions of a running server: test/history/visitor.ts sends them" },
  "docs/react.md": { "npm install": "a download" },
  "docs/running.md": { "--processes auto": "test/processes/serving.test.ts" },
  "docs/tracing.md": {
    "npm install": "a download; test/tracing/guide.test.ts runs the program",
    "  groupSend ": "a tree to read: test/tracing/nodes.test.ts",
  },
};

const CLAIM = /"((?:docs\/[\w-]+|README)\.md)",\s*"(\w*)"(?:,\s*("(?:[^"\\]|\\.)*"|'[^']*'))?,?\s*[,)]/g;

/** What tests say that they run: each `page language number`, or `page` for all of it. */
async function claims(): Promise<ReadonlySet<string>> {
  const found = new Set<string>();
  const tests = (await readdir(join(root, "test"), { recursive: true })).filter((name) =>
    name.endsWith(".test.ts"),
  );
  for (const name of tests) {
    const text = await readFile(join(root, "test", name), "utf8");
    for (const [, page = ""] of text.matchAll(/\bblocksOf\("([^"]+)"\)/g)) found.add(page);
    for (const [, page = "", language = "", quoted = '""'] of text.matchAll(CLAIM)) {
      const word = quoted.startsWith('"') ? String(JSON.parse(quoted)) : quoted.slice(1, -1);
      const at = (await blocksOf(page)).findIndex((block) => holds(block, language, word));
      found.add(`${page} ${at}`);
    }
  }
  return found;
}

const holds = (block: Block, language: string, word: string) =>
  block.language === language && block.code.includes(word);

test("a test runs each block of the pages, or they are listed here with the reason", async () => {
  const claimed = await claims();
  const pages = (await readdir(join(root, "docs"))).filter((name) => name.endsWith(".md")).sort();
  const left: string[] = [];
  const needless: string[] = [];
  for (const page of ["README.md", ...pages.map((name) => `docs/${name}`)]) {
    const reasons = new Map(Object.entries(READ[page] ?? {}));
    for (const [i, block] of (await blocksOf(page)).entries()) {
      const [word] = [...reasons.keys()].filter((text) => block.code.includes(text));
      const isRun = claimed.has(page) || claimed.has(`${page} ${i}`);
      if (word !== undefined) reasons.delete(word);
      if (isRun === (word !== undefined)) {
        (isRun ? needless : left).push(
          `${page} ${block.language}: ${block.code.split("\n").slice(0, 2).join(" ")}`,
        );
      }
    }
    for (const word of reasons.keys()) needless.push(`${page}: ${word}`);
  }
  expect(left).toEqual([]);
  expect(needless).toEqual([]);
});
