import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { COMMANDS, project, root, run, start } from "./programs.ts";

const page = () => readFile(join(root, "docs/command-line.md"), "utf8");

/** Of a command's help. */
async function optionsOf(...command: string[]): Promise<string[]> {
  const { stdout } = await run([...command, "--help"]);
  return [...stdout.matchAll(/^ {2}(?:-\w, )?(--[a-z-]+)/gm)].map(([, option]) => option as string);
}

test("the page of the command line names every command, and every option of those that it is about", async () => {
  const [text, running] = [await page(), await readFile(join(root, "docs/running.md"), "utf8")];
  const { stdout } = await run(["--help"]);
  const commands = [...stdout.matchAll(/^ {2}([a-z]+) .* {2}\S/gm)].map(([, name]) => name as string);
  const own = commands.filter((name) => name !== "sluice" && name !== "help");
  expect(own.length).toBeGreaterThanOrEqual(10);
  const missing: string[] = [];
  for (const name of own) {
    if (!new RegExp(`\`${name}[ \`]`).test(text)) missing.push(name);
    for (const option of await optionsOf(name)) {
      if (option !== "--help" && !(text + running).includes(option)) missing.push(`${name} ${option}`);
    }
  }
  expect(missing).toEqual([]);
});

test("every command says what its exit codes are, or the list of commands does, and has an example", async () => {
  for (const name of COMMANDS) {
    const { code, stdout } = await run([name, "--help"]);
    expect([name, code]).toEqual([name, 0]);
    expect(stdout).toContain(`Examples:\n  `);
  }
  expect((await run(["--help"])).stdout).toContain("Exit codes: 0 well; 1 ");
});

test("the canary of the page is let in to the application of the page", async () => {
  const [, code = ""] = /```js\n\/\/ app\.js\n(.*?)```/s.exec(await page()) ?? [];
  const cwd = await project({
    "app.js": code,
    "package.json": { type: "module", sluice: { app: "app.js" } },
  });
  const env = { CANARY_KEY: "a key that only monitors have" };
  const program = start("app.js", [], { cwd, env });
  const { code: exitCode, stdout } = await run(["canary", await program.url()], { env });
  expect(stdout).toMatch(/✓ recover/);
  expect(exitCode).toBe(0);
});
