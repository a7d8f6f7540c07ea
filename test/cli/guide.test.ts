import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { blockOf } from "../guides.ts";
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
  const code = await blockOf("docs/command-line.md", "js", "// app.js");
  const cwd = await project({
    "app.js": code,
    "package.json": { type: "module", sluice: { app: "app.js" } },
  });
  const env = { CANARY_KEY: "a key that only monitors have" };
  const program = start("app.js", [], { cwd, env });
  const { code: exitCode, stdout } = await run(["canary", await program.url()], { env });
  const shown = await blockOf("docs/command-line.md", "", "✓ connect");
  const steps = (text: string) => [...text.matchAll(/^✓ (\w+) /gm)].map(([, step]) => step);
  expect(steps(shown).length).toBeGreaterThan(4);
  expect(steps(stdout)).toEqual(steps(shown));
  expect(exitCode).toBe(0);
});

test("routes are printed as the page shows them", async () => {
  const cwd = await project({
    "app.js": `
      import { Consumer, createApplication, http, route, sse } from "sluice";
      import { createServer } from "sluice/server";
      class ChatConsumer extends Consumer {}
      class FeedConsumer extends Consumer {}
      const download = (_request, response) => response.end();
      const requireUser = (_scope, next) => next();
      const middleware = [requireUser];
      export function compose({ serverOptions }) {
        const routes = [
          route("/chat/:room(slug)", ChatConsumer, { middleware, name: "chat" }),
          sse("/feed/:since(int)?", FeedConsumer),
          http("/files/:path(path)", download, { methods: ["GET", "HEAD"], middleware }),
        ];
        return createServer(createApplication({ routes }), serverOptions);
      }`,
  });
  const { stdout } = await run(["routes", "app.js"], { cwd });
  expect(stdout.trimEnd()).toBe((await blockOf("docs/command-line.md", "", "PROTOCOL")).trimEnd());
});

test("what the page generates is where it says, in a project that package.json names as it says", async () => {
  const files = {
    "package.json": await blockOf("docs/command-line.md", "json", '"sluice"'),
    "app.ts": `
      import { createApplication } from "sluice";
      import { createServer } from "sluice/server";
      export const compose = ({ serverOptions }) => createServer(createApplication({ routes: [] }), serverOptions);`,
  };
  const cwd = await project(files, ["tsx"]);
  const lines = (await blockOf("docs/command-line.md", "sh", "generate consumer")).trim().split("\n");
  for (const line of lines) {
    const [, words = "", made = ""] = /^npx sluice (.*?) +# (.*)$/.exec(line) ?? [];
    expect(await run(words.split(" "), { cwd })).toMatchObject({ code: 0 });
    for (const file of made.split(", ")) expect([file, existsSync(join(cwd, file))]).toEqual([file, true]);
  }
  const [, check = ""] =
    /^npx sluice (.*)\n$/.exec(await blockOf("docs/command-line.md", "sh", "check")) ?? [];
  const { stdout } = await run([check, "--port", "0"], { cwd });
  expect(stdout).toContain("✓ app.ts is an application");
});
