/** `sluice new`: a stranger's first minutes, with the package as npm packs it. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { io } from "socket.io-client";
import { testNeeding } from "../needing.ts";
import { packPackage } from "../packed-package.ts";
import { atEnd, connected, heard, until } from "../server/live-server.ts";
import { folder, project, root, run } from "./programs.ts";

const execute = promisify(execFile);
const PACK_MS = 240_000;

let shelf: string;
beforeAll(async () => {
  shelf = await mkdtemp(join(tmpdir(), "sluice-packed-"));
});
afterAll(() => rm(shelf, { recursive: true, force: true }));

/** The tarball that `npm publish` would send. */
async function packed(): Promise<string> {
  const { tarball, files } = await packPackage(join(folder(), "node_modules/sluice/dist"), shelf);
  expect(files).toContain("templates/project/gitignore");
  return tarball;
}

async function npm(cwd: string, ...args: string[]): Promise<string> {
  const { stdout } = await execute("npm", args, { cwd, maxBuffer: 20_000_000 });
  return stdout;
}

async function packageOf(cwd: string) {
  return JSON.parse(await readFile(join(cwd, "package.json"), "utf8"));
}

test("new writes a project of a few files, and says how to go on", async () => {
  const cwd = await project({});
  const { code, stdout, stderr } = await run(["new", "my-chat"], { cwd });
  expect([code, stderr]).toEqual([0, ""]);
  expect(stdout).toContain("cd my-chat\n  npm install\n  npm run dev");
  const made = join(cwd, "my-chat");
  const files = (await readdir(made, { recursive: true, withFileTypes: true })).filter((entry) =>
    entry.isFile(),
  );
  expect(files.map(({ name }) => name).sort()).toEqual([
    ...[
      ".gitignore",
      "README.md",
      "app.ts",
      "index.html",
      "package.json",
      "room-consumer.ts",
      "room.test.ts",
    ],
    ...["routes.ts", "tsconfig.json"],
  ]);
  const ours = await packageOf(root);
  expect(await packageOf(made)).toMatchObject({
    name: "my-chat",
    sluice: { app: "app.ts" },
    dependencies: { sluice: `^${ours.version}`, zod: ours.devDependencies.zod },
  });
  for (const file of ["README.md", "public/index.html"]) {
    expect(await readFile(join(made, file), "utf8")).not.toContain("project-name");
  }
});

test.each([
  ["capitals", "MyChat"],
  ["a path", "../chat"],
  ["a dot", "."],
  ["a hidden folder", ".chat"],
  ["nothing", ""],
  ["too much", "a".repeat(101)],
  ["a name of npm's", "node_modules"],
  ["our own name", "sluice"],
  ["a device of Windows", "con"],
  ["such a device with an ending", "lpt1.old"],
  ["a name that Windows cuts", "chat."],
])("a name that is %s is refused, and nothing is written", async (_what, name) => {
  const cwd = await project({});
  const { code, stderr } = await run(["new", name], { cwd });
  expect(code).toBe(2);
  expect(stderr).toMatch(/^sluice: (the name of a project is|a project cannot be called)[^\n]+\n$/);
  expect(await readdir(cwd)).toEqual(["package.json"]);
});

test("it writes into no folder that has something in it, and over no file; an empty folder will do", async () => {
  const cwd = await project({ "full/mine.txt": "mine", file: "mine" });
  for (const [name, words] of [
    ["full", "the folder full has something in it"],
    ["file", "file is a file"],
  ] as const) {
    const { code, stderr } = await run(["new", name], { cwd });
    expect([code, stderr]).toEqual([2, `sluice: ${words}; choose another name\n`]);
  }
  expect(await readdir(join(cwd, "full"))).toEqual(["mine.txt"]);
  await mkdir(join(cwd, "empty"));
  expect((await run(["new", "empty"], { cwd })).code).toBe(0);
  await mkdir(join(cwd, "elsewhere"));
  await symlink("elsewhere", join(cwd, "link"), "junction");
  expect((await run(["new", "link"], { cwd })).code).toBe(0);
  expect(await readdir(join(cwd, "elsewhere"))).toContain("app.ts");
  await symlink("nowhere", join(cwd, "dangling"), "junction");
  const { code, stderr } = await run(["new", "dangling"], { cwd });
  expect([code, stderr]).toEqual([1, expect.stringMatching(/^sluice: nothing is written: [^\n]+\n$/)]);
});

testNeeding(existsSync("/proc/self"), "wants /proc")("where nothing can be written it says so", async () => {
  const { code, stderr } = await run(["new", "my-chat"], { cwd: "/proc/self" });
  expect([code, stderr]).toEqual([1, expect.stringMatching(/^sluice: nothing is written: [^\n]+\n$/)]);
});

test(
  "npm install, npm start and npm test: the project works with the packed package, and so does what is generated",
  async () => {
    // As one begins: the file is installed somewhere, and makes a project that has it from there.
    const first = join(shelf, "first");
    await mkdir(first);
    const install = ["install", "--prefer-offline", "--no-audit", "--no-fund"];
    await npm(first, ...install, await packed());
    await npm(first, "exec", "--", "sluice", "new", "my-chat");
    const cwd = join(first, "my-chat");
    await npm(cwd, ...install);

    const sluice = async (...args: string[]) => npm(cwd, "exec", "--", "sluice", ...args);
    expect(await sluice("generate", "consumer", "PriceBoard")).toContain("consumers/price-board-consumer.ts");
    expect(await sluice("generate", "task", "send-mail")).toContain("tasks/send-mail.ts");
    expect(await npm(cwd, "test")).toMatch(/(# |ℹ )pass 5\n(# |ℹ )fail 0/);
    await npm(cwd, "run", "check");
    expect(await sluice("check", "--port", "0")).toContain("No fault was found.");

    const program: ChildProcess = spawn("npm", ["start"], {
      cwd,
      env: { ...process.env, PORT: "0" },
      detached: true,
    });
    const ended = once(program, "close");
    atEnd(async () => {
      // npm passes no signal on to what it has started in every version; the group is ours alone.
      if (program.exitCode === null) process.kill(-(program.pid as number), "SIGTERM");
      await ended;
    });
    let said = "";
    program.stdout?.on("data", (text) => {
      said += text;
    });
    const url = await until(() => /^Sluice: (http:\S+)$/m.exec(said)?.[1], "it serves");
    const page = await (await fetch(url)).text();
    expect(page).toContain("<h1>my-chat</h1>");
    expect((await fetch(`${url}/socket.io/socket.io.js`)).status).toBe(200);
    const [ann, bob] = [1, 2].map(() => io(`${url}/rooms/lobby`, { forceNew: true, reconnection: false }));
    atEnd(() => {
      ann?.disconnect();
      bob?.disconnect();
    });
    if (ann === undefined || bob === undefined) throw new Error("never");
    await Promise.all([connected(ann), connected(bob)]);
    const hearing = heard(bob, "said");
    expect(await ann.emitWithAck("say", { from: "Ann", text: "hi" })).toEqual({ sent: true });
    expect(await hearing).toEqual([{ from: "Ann", text: "hi" }]);
  },
  PACK_MS,
);
