import { execFile } from "node:child_process";
import { readFile, rename, writeFile } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { ThreadPool } from "sluice/threads";
import { blockOf, Project } from "../guides.ts";
import { root } from "../installed-package.ts";

jest.setTimeout(60_000);

const run = promisify(execFile);
let project: Project;

beforeAll(async () => {
  project = await Project.make();
});

afterAll(() => project.close());

test("the guide's program runs as it stands, and ends by itself", async () => {
  await project.write("reports.js", await blockOf("docs/threads.md", "js", "export function primesBelow"));
  await project.write("main.js", await blockOf("docs/threads.md", "js", "inThread"));
  const { stdout } = await run(process.execPath, ["main.js"], { cwd: project.folder, timeout: 30_000 });
  expect(stdout).toMatch(/^78498 primes\nthe last report said \d+ %\n$/);
  expect(stdout).not.toContain("said 0 %");
});

test("how late the loop is, told every so often", async () => {
  const block = await blockOf("docs/threads.md", "js", "new LoopDelay");
  const busy = `
    setInterval(() => { for (const until = performance.now() + 100; performance.now() < until; ); }, 1);
    const print = console.log;
    console.log = (told) => { if (told.maxMs > 80) { print(Object.keys(told).join()); process.exit(); } };`;
  const output = await project.run(block.replace("10_000", "500") + busy);
  expect(output).toBe("meanMs,p50Ms,p99Ms,maxMs\n");
});

test("threads that cannot even begin fail the call instead of leaving it waiting", async () => {
  const { folder, dist } = project;
  const program = `
    import { inThread } from "sluice/threads";
    const module = inThread(new URL("./reports.js", import.meta.url));
    await module.ready().catch((error) => console.log(error.name, error.cause.code));`;
  await writeFile(join(folder, "bundled.js"), program);
  // As where a bundler has left it out.
  const inner = join(dist, "src/threads/thread.js");
  await rename(inner, `${inner}.away`);
  const { stdout } = await run(process.execPath, ["bundled.js"], { cwd: folder, timeout: 30_000 });
  await rename(`${inner}.away`, inner);
  expect(stdout).toBe("ThreadCrashed ERR_MODULE_NOT_FOUND\n");
});

test("modules keep their types, for a stranger's TypeScript, too", async () => {
  const code = `
    import { inThread } from "sluice/threads";
    import type * as heavy from "./typed-module.js";
    const module = inThread<typeof heavy>(new URL("./typed-module.js", import.meta.url));
    const sum: Promise<number> = module.run.add(1, 2);
    const later: Promise<string> = module.with({ timeLimitMs: 5 }).later("x");
    // @ts-expect-error
    module.run.add("1");
    // @ts-expect-error
    module.run.LIMIT;
    // @ts-expect-error
    module.run.Klass();
    export { sum, later };`;
  const module = `
    export const LIMIT = 7;
    export class Klass {}
    export const add = (x: number, y: number): number => x + y;
    export async function later(text: string): Promise<string> { return text; }`;
  await project.write("typed-module.ts", module);
  expect(await project.complaints(new Map([["typed.ts", code]]))).toBe("");
});

test("the guide's table has every option with its default", async () => {
  const text = await readFile(join(root, "docs/threads.md"), "utf8");
  const { settings } = new ThreadPool();
  expect(settings.threads).toBe(availableParallelism());
  for (const [name, value] of Object.entries(settings)) {
    const [, shown] = new RegExp(`^\\| \`${name}\` +\\| ([0-9a-z, ]+?) +\\|`, "m").exec(text) ?? [];
    expect([name, shown]).toEqual([name, name === "threads" ? "all cores" : value.toLocaleString("en-US")]);
  }
});
