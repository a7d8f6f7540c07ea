import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { testNeeding } from "../needing.ts";
import { RedisServer, redisTest } from "../redis/redis-server.ts";
import { atEnd, until } from "../server/live-server.ts";
import { Program, project, run } from "./programs.ts";

/** An application that says on its page who it is. */
const app = (name: string) => `
  import { createApplication } from "sluice";
  import { createServer } from "sluice/server";
  import { name } from "./name.js";
  export const compose = ({ serverOptions }) => {
    const server = createServer(createApplication({ routes: [] }), serverOptions);
    server.express.get("/", (_request, response) => response.send(name + " ${name}"));
    return server;
  };`;
const typedApp = app("typed")
  .replace("({ serverOptions })", "({ serverOptions }: ComposeContext): Server")
  .replace("{ createServer }", "{ createServer, type Server }")
  .replace("import { name }", 'import type { ComposeContext } from "sluice/cli";\nimport { name }')
  .replace("./name.js", "./name.ts");
const typedFiles = { "app.ts": typedApp, "name.ts": "export const name: string = 'I am';" };
const named = (file: string) => ({ type: "module", sluice: { app: file } });

const runsTypeScript = Boolean((process.features as { readonly typescript?: unknown }).typescript);
const without = testNeeding(!runsTypeScript, "this Node runs TypeScript by itself");
const natively = testNeeding(runsTypeScript, "wants a Node that runs TypeScript by itself");

async function pageOf(cwd: string, args: readonly string[] = []): Promise<string> {
  const program = new Program(["start", ...args, "--port", "0"], { cwd });
  return (await fetch(await program.url())).text();
}

test("the application is the one that package.json names, in this folder or one above", async () => {
  const files = { "app/main.js": app("named"), "app/name.js": "export const name = 'I am';" };
  const cwd = await project({ ...files, "package.json": named("app/main.js"), "app/deep/x.txt": "" });
  expect(await pageOf(cwd)).toBe("I am named");
  expect(await pageOf(join(cwd, "app", "deep"))).toBe("I am named");
});

test("a file that is given wins over package.json", async () => {
  const files = { "a.js": app("a"), "b.js": app("b"), "name.js": "export const name = 'I am';" };
  const cwd = await project({ ...files, "package.json": named("a.js") });
  expect(await pageOf(cwd, ["b.js"])).toBe("I am b");
});

test("a package.json that names none is passed over, as in a package of a workspace", async () => {
  const files = { "app.js": app("outer"), "name.js": "export const name = 'I am';" };
  const cwd = await project({
    ...files,
    "package.json": named("app.js"),
    "inner/package.json": { name: "inner" },
  });
  expect(await pageOf(join(cwd, "inner"))).toBe("I am outer");
});

test("the application may be in another folder than its package.json, as in a repository of several", async () => {
  const files = { "shared/app.js": app("shared"), "shared/name.js": "export const name = 'I am';" };
  const cwd = await project({ ...files, "web/package.json": named("../shared/app.js") });
  expect(await pageOf(join(cwd, "web"))).toBe("I am shared");
  await writeFile(join(cwd, "web/package.json"), JSON.stringify(named(join(cwd, "shared/app.js"))));
  expect(await pageOf(join(cwd, "web"))).toBe("I am shared");
});

test.each([
  [
    "no file there",
    named("nowhere.js"),
    1,
    /^sluice: there is no module nowhere\.js \("sluice\.app" of .*package\.json\)/,
  ],
  ["a folder", named("."), 1, /is a folder/],
  ["another key", { sluice: { ap: "app.js" } }, 1, /names no application \(it has "ap"\): write "sluice"/],
  ["no path", { sluice: { app: 7 } }, 1, /names no application: write "sluice"/],
  ["no object", { sluice: "app.js" }, 1, /names no application: write "sluice"/],
  ["no JSON", "{,}", 1, /package\.json is not JSON: /],
  [
    "nothing of us",
    {},
    2,
    /^sluice: which application\? write "sluice": \{ "app": "app\.js" \} into package\.json/,
  ],
])("package.json with %s is said in one line, with what to write", async (_what, manifest, code, line) => {
  const cwd = await project({ "package.json": manifest });
  const { stderr, ...ended } = await run(["start"], { cwd });
  expect(ended).toEqual({ code, stdout: "" });
  expect(stderr).toMatch(line);
  expect(stderr).toMatch(/^[^\n]+\n$/);
});

test("TypeScript runs with tsx in the project, or by Node itself", async () => {
  const cwd = await project({ ...typedFiles, "package.json": named("app.ts") }, ["tsx"]);
  expect(await pageOf(cwd)).toBe("I am typed");
});

test("TypeScript runs in each of several processes", async () => {
  const cwd = await project({ ...typedFiles, "package.json": named("app.ts") }, ["tsx"]);
  expect(await pageOf(cwd, ["--processes", "2"])).toBe("I am typed");
});

without("a mistake of syntax in TypeScript is said with its place, in one line", async () => {
  const files = { ...typedFiles, "name.ts": "export const name: string =;\n" };
  const cwd = await project({ ...files, "package.json": named("app.ts") }, ["tsx"]);
  const { code, stderr } = await run(["start"], { cwd });
  expect([code, stderr]).toEqual([1, 'sluice: name.ts:1:28: Unexpected ";"\n']);
});

without("TypeScript without tsx on an older Node: one sentence says what would run it", async () => {
  const cwd = await project({ ...typedFiles, "package.json": named("app.ts") });
  const { code, stderr } = await run(["start"], { cwd });
  expect(code).toBe(1);
  expect(stderr).toBe(
    `sluice: Node ${process.versions.node} runs no TypeScript (app.ts): install tsx (npm install --save-dev tsx), use Node 22.18 or newer, or name the JavaScript file that it builds to\n`,
  );
});

natively("Node itself runs what can be erased, and says so of what cannot", async () => {
  const cwd = await project({ ...typedFiles, "package.json": named("app.ts") });
  expect(await pageOf(cwd)).toBe("I am typed");
  const other = await project({
    ...typedFiles,
    "name.ts": "export enum name { a }",
    "package.json": named("app.ts"),
  });
  const { code, stderr } = await run(["start"], { cwd: other });
  expect(code).toBe(1);
  expect(stderr).toMatch(/^sluice: Node cannot run this TypeScript by itself: [\s\S]*let tsx run all of it/);
});

natively("an import by the ending that the file does not have is explained", async () => {
  const files = { ...typedFiles, "app.ts": typedApp.replace("./name.ts", "./name.js") };
  const cwd = await project({ ...files, "package.json": named("app.ts") });
  const { code, stderr } = await run(["start"], { cwd });
  expect(code).toBe(1);
  expect(stderr).toMatch(/^sluice: Cannot find module .*name\.js.*Node wants the ending as the file has it/);
});

redisTest("work finds the application as start does", async () => {
  const redis = await RedisServer.start();
  atEnd(() => redis.close());
  const cwd = await project({
    "package.json": named("app.js"),
    "app.js": `
      import { createApplication } from "sluice";
      import { createServer } from "sluice/server";
      import { Tasks, task } from "sluice/tasks";
      const nothing = task("nothing", async () => {});
      export const compose = ({ backplane, secret, tasks, serverOptions }) => {
        const parts = [new Tasks({ ...tasks, tasks: [nothing] })];
        return createServer(createApplication({ routes: [], parts, backplane, secret }), serverOptions);
      };`,
  });
  await mkdir(join(cwd, "deep"));
  const env = {
    REDIS_URL: redis.url,
    SLUICE_SECRET: "a secret that all processes share and that is long enough",
  };
  const program = new Program(["work"], { cwd: join(cwd, "deep"), env });
  await until(() => program.stdout.includes("Sluice: works on default:10"), "it works");
});
