/** The guides of the kit as a newcomer follows them: every block is a file of a project that has the package. */
import { execFile } from "node:child_process";
import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { type InstalledPackage, installPackage, root } from "../installed-package.ts";

jest.setTimeout(120_000);

const run = promisify(execFile);
let installed: InstalledPackage;

beforeAll(async () => {
  installed = await installPackage();
  const modules = join(installed.folder, "node_modules");
  for (const name of ["jest", "@jest", "expect", "socket.io-client", "@types"]) {
    await symlink(join(root, "node_modules", name), join(modules, name), "junction");
  }
});

afterAll(() => installed?.remove());

/** Writes the guide's blocks into files of their names; what these are. */
async function unpack(guide: string, folder: string): Promise<readonly string[]> {
  const text = await readFile(join(root, "docs", guide), "utf8");
  const blocks = [...text.matchAll(/```(?:js|ts)\n\/\/ (\S+)\n(.*?)```/gs)];
  expect(blocks).toHaveLength(text.match(/```(js|ts)\n/g)?.length ?? 0);
  await mkdir(folder, { recursive: true });
  for (const [, name = "", code = ""] of blocks) await writeFile(join(folder, name), code);
  return blocks.map(([, name = ""]) => name);
}

test("the guide of testing runs with Jest, block for block", async () => {
  const folder = join(installed.folder, "guide");
  const files = await unpack("testing.md", folder);
  await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module", jest: { transform: {} } }));
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
  const folder = join(installed.folder, "types");
  await unpack("testing.md", folder);
  await writeFile(
    join(folder, "use.ts"),
    `import { expect } from "@jest/globals";
import { matchers, TestClient } from "sluice/testing";
import "./matchers.d.ts";
expect.extend(matchers);
export async function check(ann: TestClient): Promise<void> {
  await expect(ann).toHaveReceived("message", { text: "hi" });
  await expect(ann).not.toBeClosedWith(4403);
  // @ts-expect-error a code is a number
  await expect(ann).toBeRefusedWith("4401");
}
`,
  );
  const options = { strict: true, noEmit: true, target: "es2022", module: "nodenext", types: ["node"] };
  const compilerOptions = { ...options, skipLibCheck: true, allowImportingTsExtensions: true };
  await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["use.ts"] }));
  const compiler = [join(root, "node_modules/typescript/bin/tsc"), "-p", folder];
  const { stdout } = await run(process.execPath, compiler).catch((error) => error);
  expect(stdout).toBe("");
});

test("each exam runs from the built package as its page shows", async () => {
  const folder = join(installed.folder, "exams");
  const files = await unpack("exams.md", folder);
  expect(files).toEqual(["backplane", "history", "presence", "broker"].map((name) => `${name}.test.js`));
  const { stdout } = await run(process.execPath, ["--test", ...files], { cwd: folder });
  const [, passed] = /^# pass (\d+)$/m.exec(stdout) ?? /pass (\d+)/.exec(stdout) ?? [];
  expect(Number(passed)).toBeGreaterThan(80);
  expect(stdout).toMatch(/fail 0/);
});
