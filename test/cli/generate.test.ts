import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, symlink } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "@jest/globals";
import { project, root, run } from "./programs.ts";

const execute = promisify(execFile);
const tsconfig = {
  compilerOptions: {
    ...{
      target: "es2023",
      module: "nodenext",
      types: ["node"],
      typeRoots: [join(root, "node_modules/@types")],
    },
    ...{
      strict: true,
      noUncheckedIndexedAccess: true,
      noImplicitOverride: true,
      skipLibCheck: true,
      noEmit: true,
    },
    allowImportingTsExtensions: true,
  },
};
const typed = (more: object = {}) => ({
  "package.json": { type: "module", sluice: { app: "app.ts" }, ...more },
  "tsconfig.json": tsconfig,
});

async function generate(cwd: string, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(["generate", ...args], { cwd });
  expect([code, stderr]).toEqual([0, ""]);
  return stdout;
}

/** Runs what was generated, as the project would. */
async function testsOf(cwd: string, files: readonly string[]): Promise<string> {
  const { stdout } = await execute(process.execPath, ["--import", "tsx", "--test", ...files], { cwd });
  return stdout;
}

async function compile(cwd: string): Promise<string> {
  const compiler = join(root, "node_modules/typescript/bin/tsc");
  const { stdout } = await execute(process.execPath, [compiler, "-p", cwd]).catch((error) => error);
  return stdout;
}

const PASSED = /(# |ℹ )pass 3\n(# |ℹ )fail 0/;

test.each([
  ["with zod", { dependencies: { zod: "*" } }],
  ["without", {}],
])("TypeScript, schemas %s: consumer and task compile, and their tests pass", async (_what, more) => {
  const cwd = await project(typed(more), ["tsx", "zod"]);
  expect(await generate(cwd, "consumer", "chat-room")).toBe(
    [
      ...["Written:", "  consumers/chat-room-consumer.ts", "  test/chat-room-consumer.test.ts", ""],
      ...["Add it to your routes:", ""],
      ...['  import { ChatRoomConsumer } from "./consumers/chat-room-consumer.ts";', ""],
      ...['  route("/chat-room/:name", ChatRoomConsumer),', ""],
    ].join("\n"),
  );
  expect(await generate(cwd, "task", "sendMail")).toContain("new Tasks({ ...tasks, tasks: [sendMail] })");
  expect(await compile(cwd)).toBe("");
  const files = ["test/chat-room-consumer.test.ts", "test/send-mail.test.ts"];
  expect(await testsOf(cwd, files)).toMatch(PASSED);
  const source = await readFile(join(cwd, "consumers/chat-room-consumer.ts"), "utf8");
  expect(source.includes("zod")).toBe("dependencies" in more);
});

test.each([
  ["modules", { type: "module" }, "js"],
  ["CommonJS", {}, "mjs"],
])("JavaScript in a project of %s: no types, and the tests pass", async (_what, manifest, ending) => {
  const cwd = await project({ "package.json": manifest }, ["tsx"]);
  await generate(cwd, "consumer", "ChatRoom");
  await generate(cwd, "task", "send_mail");
  const files = [`test/chat-room-consumer.test.${ending}`, `test/send-mail.test.${ending}`];
  const { stdout } = await execute(process.execPath, ["--test", ...files], { cwd });
  expect(stdout).toMatch(PASSED);
});

test("sources stay where they are, imports end as the project has them, and its test runner is used", async () => {
  const built = { compilerOptions: { ...tsconfig.compilerOptions, allowImportingTsExtensions: false } };
  const cwd = await project({
    "package.json": { type: "module", sluice: { app: "dist/app.js" }, devDependencies: { vitest: "*" } },
    "tsconfig.json": built,
    "src/consumers/first.ts": "",
    "tests/first.test.ts": "",
  });
  const said = await generate(join(cwd, "src"), "consumer", "chat");
  expect(said).toContain("  consumers/chat-consumer.ts\n  ../tests/chat-consumer.test.ts");
  const text = await readFile(join(cwd, "tests/chat-consumer.test.ts"), "utf8");
  expect(text).toContain('import { expect, test } from "vitest";');
  expect(text).toContain('from "../src/consumers/chat-consumer.js";');
  expect(text).toContain('expect(await bob.next("said")).toEqual({ text: "hello" });');
});

test("a project that runs jest gets its tests for it", async () => {
  const cwd = await project({ "package.json": { type: "module", scripts: { test: "jest" } } });
  await generate(cwd, "task", "send-mail");
  expect(await readFile(join(cwd, "test/send-mail.test.js"), "utf8")).toContain('"@jest/globals"');
});

test("nothing is ever overwritten, and half of it is not written either", async () => {
  const cwd = await project({ "test/chat-consumer.test.js": "mine" });
  const { code, stderr } = await run(["generate", "consumer", "chat"], { cwd });
  expect([code, stderr]).toEqual([
    2,
    "sluice: nothing is written: test/chat-consumer.test.js is there already\n",
  ]);
  expect((await readdir(cwd)).sort()).toEqual(["package.json", "test"]);
  expect(await readFile(join(cwd, "test/chat-consumer.test.js"), "utf8")).toBe("mine");
});

test("a link that leads nowhere is not followed out of the project", async () => {
  const cwd = await project({ "tasks/other.js": "" });
  await mkdir(join(cwd, "test"));
  const outside = join(cwd, "..", "outside.js");
  await symlink(outside, join(cwd, "test", "send-mail.test.js"));
  const { code, stderr } = await run(["generate", "task", "send-mail"], { cwd });
  expect([code, stderr]).toEqual([1, expect.stringMatching(/^sluice: nothing is written: [^\n]+\n$/)]);
  expect([existsSync(outside), await readdir(join(cwd, "tasks"))]).toEqual([false, ["other.js"]]);
});

test("a task of a name that JavaScript, or its own files, have taken is called so with the kind behind it", async () => {
  const cwd = await project({ "package.json": { type: "module" } }, ["tsx"]);
  const names = ["delete", "task", "run", "test", "background"];
  for (const name of names) await generate(cwd, "task", name);
  const files = names.map((name) => `test/${name}.test.js`);
  const { stdout } = await execute(process.execPath, ["--test", ...files], { cwd });
  expect(stdout).toMatch(/pass 5\n(# |ℹ )fail 0/);
  expect(await readFile(join(cwd, "tasks/delete.js"), "utf8")).toContain(
    'const deleteTask = task(\n  "delete"',
  );
});

test("where only one of the files can be written none is left, and a sentence says why", async () => {
  const cwd = await project({ test: "a file where the tests' folder belongs" });
  const { code, stderr } = await run(["generate", "task", "mail"], { cwd });
  expect(code).toBe(1);
  expect(stderr).toMatch(/^sluice: [^\n]*\n?[^\n]*nothing is written: EEXIST[^\n]+\n$/);
  expect(await readdir(join(cwd, "tasks"))).toEqual([]);
});

test.each(["", "1st", "../evil", "a/b", "chat;", "über", "-x-", "a".repeat(61)])(
  'the name "%s" is refused in one line',
  async (name) => {
    const cwd = await project({});
    const { code, stderr } = await run(["generate", "consumer", "--", name], { cwd });
    expect(code).toBe(2);
    expect(stderr).toMatch(/^sluice: the name of a consumer is words of letters and digits[^\n]+\n$/);
    expect(await readdir(cwd)).toEqual(["package.json"]);
  },
);

test("the kind may end the name, and is not said twice", async () => {
  const cwd = await project({});
  expect(await generate(cwd, "consumer", "ChatConsumer")).toContain("consumers/chat-consumer.js");
  expect(await generate(cwd, "task", "mail-task")).toContain("tasks/mail.js");
});
