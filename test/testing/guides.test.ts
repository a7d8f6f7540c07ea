/** The guides of the kit as a newcomer follows them: every block is a file of a project that has the package. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { type Block, blockOf, blocksOf, Project } from "../guides.ts";
import { root } from "../installed-package.ts";

jest.setTimeout(120_000);

const run = promisify(execFile);
let project: Project;

beforeAll(async () => {
  project = await Project.make("jest", "@jest", "expect", "socket.io-client", "@types");
});

afterAll(() => project?.close());

/** Writes a guide's blocks into files of their names; what these are. */
async function unpack(blocks: readonly Block[], folder: string): Promise<readonly string[]> {
  for (const { file = "", code } of blocks) await project.write(join(folder, file), code);
  return blocks.map(({ file = "" }) => file);
}

test("the guide of testing runs with Jest, block for block", async () => {
  const folder = join(project.folder, "guide");
  const files = await unpack(await blocksOf("docs/testing.md"), "guide");
  await project.write("guide/package.json", JSON.stringify({ type: "module", jest: { transform: {} } }));
  const { stderr } = await run(
    process.execPath,
    ["--experimental-vm-modules", join(root, "node_modules/jest/bin/jest.js"), "--rootDir", folder],
    { cwd: folder },
  );
  const suites = files.filter((name) => name.endsWith(".test.js")).length;
  expect(suites).toBeGreaterThanOrEqual(5);
  expect(stderr).toContain(`Test Suites: ${suites} passed, ${suites} total`);
});

test("its types for Jest are what the compiler wants", async () => {
  const code = `import { expect } from "@jest/globals";
import { matchers, TestClient } from "sluice/testing";
expect.extend(matchers);
export async function check(ann: TestClient): Promise<void> {
  await expect(ann).toHaveReceived("message", { text: "hi" });
  await expect(ann).not.toBeClosedWith(4403);
  // @ts-expect-error a code is a number
  await expect(ann).toBeRefusedWith("4401");
}
`;
  const matchers = await blockOf("docs/testing.md", "ts", "SluiceMatchers");
  const modules = new Map([
    ["matchers.d.ts", matchers],
    ["use.ts", code],
  ]);
  expect(await project.complaints(modules)).toBe("");
});

test("each exam runs from the built package as its page shows", async () => {
  const folder = join(project.folder, "exams");
  const files = await unpack(await blocksOf("docs/exams.md"), "exams");
  expect(files).toEqual(["backplane", "history", "presence", "broker"].map((name) => `${name}.test.js`));
  const { stdout } = await run(process.execPath, ["--test", ...files], { cwd: folder });
  const [, passed] = /^# pass (\d+)$/m.exec(stdout) ?? /pass (\d+)/.exec(stdout) ?? [];
  expect(Number(passed)).toBeGreaterThan(80);
  expect(stdout).toMatch(/fail 0/);
});
