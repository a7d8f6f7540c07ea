/** The guide as a newcomer follows it: what it shows first runs as it stands, and all its code has the real types. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { watchTask } from "sluice/client";
import { io } from "socket.io-client";
import { type InstalledPackage, installPackage, root } from "../installed-package.ts";

jest.setTimeout(90_000);

let installed: InstalledPackage;
let program: ChildProcess | undefined;
let blocks: readonly { readonly language: string; readonly code: string }[] = [];

beforeAll(async () => {
  installed = await installPackage();
  const text = await readFile(join(root, "docs/tasks.md"), "utf8");
  blocks = [...text.matchAll(/```(\w*)\n(.*?)```/gs)].map(([, language = "", code = ""]) => ({
    language,
    code,
  }));
  for (const file of ["build-report.js", "app.js"]) {
    const code = blocks.find((block) => block.code.startsWith(`// ${file}\n`))?.code;
    if (code === undefined) throw new Error(`the guide has no ${file}`);
    await writeFile(join(installed.folder, file), code);
  }
});

afterAll(async () => {
  if (program?.exitCode === null) {
    program.kill();
    await once(program, "exit");
  }
  await installed.remove();
});

test("its first program runs as it stands, and is watched by a page and by curl", async () => {
  const { folder, dist } = installed;
  program = spawn(process.execPath, [join(dist, "src/cli.js"), "start", "app.js", "--port", "0"], {
    cwd: folder,
    env: { ...process.env, REDIS_URL: "", SLUICE_SECRET: "" },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(program, "exit").then(() => Promise.reject(new Error("it ended")));
  const printed = new Promise<string>((accept) => {
    let output = "";
    program?.stdout?.on("data", (chunk) => {
      output += chunk;
      const [, address] = /^Sluice: (http:\S+)$/m.exec(output) ?? [];
      if (address !== undefined) accept(address);
    });
  });
  const url = await Promise.race([printed, ended]);
  ended.catch(() => {});
  const response = await fetch(`${url}/reports/2026-11`, { method: "POST" });
  expect(response.status).toBe(202);
  const { id, ticket } = (await response.json()) as { id: string; ticket: string };

  const socket = io(`${url}/tasks`, { forceNew: true });
  const watch = watchTask(socket, ticket);
  const bars: number[] = [];
  watch.on("progress", ({ progress }) => bars.push(progress?.done ?? 0));
  const headers = { authorization: `Bearer ${ticket}` };
  const stream = await (await fetch(`${url}/tasks/${id}/events`, { headers })).text();
  expect(await watch.ended).toMatchObject({ state: "succeeded", result: { days: 30 } });
  socket.disconnect();
  expect(bars.length).toBeGreaterThan(3);
  expect(stream).toContain('"note":"2026-11-30"');
  expect(await (await fetch(`${url}/tasks/${id}`, { headers })).json()).toMatchObject({ state: "succeeded" });
});

/** What the guide's pieces take for granted. */
const surroundings = `
  import type * as sluice from "sluice";
  import type * as of from "sluice/tasks";
  import type * as zod from "zod";
  import type { StockSocket } from "sluice/client";
  interface Context { broker: of.MemoryBroker }
  type Any<Result> = of.Task<any, Result>;
  declare global {
    const Consumer: typeof sluice.Consumer;
    const WorkerConsumer: typeof of.WorkerConsumer;
    const Tasks: typeof of.Tasks;
    const task: typeof of.task;
    const schedule: typeof of.schedule;
    const crontab: typeof of.crontab;
    const every: typeof of.every;
    const channel: typeof of.channel;
    const testTasks: typeof of.testTasks;
    const tasks: of.Tasks & Context;
    const layer: sluice.ChannelLayer;
    const buildReport: of.Task<{ month: string }, { days: number }>;
    const sweep: of.Task<undefined, void>;
    const add: of.Task<{ x: number; y: number }, number>;
    const sendInvoice: of.Task<{ orderId: string }, void>;
    const [fetchPage, countWords, store, resize, merge]: Any<string>[] & { length: 5 };
    const pages: of.Step<string>[];
    const url: string;
    const ticket: string;
    const bar: { value: number; max: number };
    function shrink(url: string, options: { signal: AbortSignal }): Promise<void>;
    function show(result: unknown): void;
    function say(text: string): void;
    function expect(value: unknown): { toBe(value: unknown): void; toMatchObject(value: object): void };
  }`;

test("all its TypeScript and JavaScript has the real types", async () => {
  const { folder } = installed;
  const files = ["surroundings.ts"];
  await writeFile(join(folder, "surroundings.ts"), surroundings);
  await writeFile(
    join(folder, "page.d.ts"),
    "export const io: (path: string) => import('socket.io-client').Socket;",
  );
  await writeFile(join(folder, "heavy.ts"), "export const countPrimes = (to: number): number => to;");
  for (const [i, { language, code }] of blocks.entries()) {
    // The programs are run.
    if (
      (language !== "ts" && language !== "js") ||
      code.startsWith("// build-report.js") ||
      code.startsWith("// app.js")
    )
      continue;
    const file = `block-${i}.ts`;
    const text = code
      .replace("/sluice/client/index.js", "sluice/client")
      .replace("/socket.io/socket.io.esm.min.js", "./page.js");
    await writeFile(join(folder, file), `${text}\nexport {};`);
    files.push(file);
  }
  expect(files.length).toBeGreaterThan(7);
  const compilerOptions = {
    ...{ strict: true, noEmit: true, target: "es2022", module: "nodenext", skipLibCheck: true },
    ...{ types: ["node"], typeRoots: [join(root, "node_modules/@types")] },
  };
  await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files }));
  const compiler = [join(root, "node_modules/typescript/bin/tsc"), "-p", folder];
  const { stdout } = await promisify(execFile)(process.execPath, compiler).catch((error) => error);
  expect(stdout).toBe("");
});
