/** What commands that take long say of themselves: on a terminal, and nowhere else. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { withProgress } from "../../src/cli/progress.ts";
import { hasProgram } from "../deploy/programs.ts";
import { testNeeding } from "../needing.ts";
import { atEnd, gate, stock, until } from "../server/live-server.ts";
import { application, folder, project, run } from "./programs.ts";

const onTerminal = testNeeding(hasProgram("script"), "install script (util-linux)");
const CLEAR = "\r\u001b[K";

/** The command line as somebody has it at a terminal: `script` is one. */
class Terminal {
  readonly child: ChildProcess;
  said = "";
  readonly ended: Promise<number | null>;

  constructor(command: string, env: Readonly<Record<string, string>>, cwd = folder()) {
    const cli = join(folder(), "node_modules", "sluice", "dist", "src", "cli.js");
    const { PATH = "", HOME = "" } = process.env;
    const line = `exec '${process.execPath}' '${cli}' ${command}`;
    this.child = spawn("script", ["-qec", line, "/dev/null"], {
      cwd,
      env: { PATH, HOME, TERM: "xterm", ...env },
      stdio: ["pipe", "pipe", "pipe"],
    });
    this.child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.said += text;
    });
    this.ended = once(this.child, "close").then(([code]) => code as number | null);
    atEnd(() => this.child.kill("SIGKILL"));
  }

  types(keys: string): void {
    this.child.stdin?.write(keys);
  }
}

/** Takes connections and says nothing, as a Redis that hangs. */
async function silent(): Promise<number> {
  const server = createServer((socket) => socket.on("error", () => {}).resume());
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  atEnd(() => server.close());
  return (server.address() as { port: number }).port;
}

onTerminal(
  "check says on a terminal that it still asks Redis, and takes it away before it reports",
  async () => {
    const cwd = await project({});
    const REDIS_URL = `redis://127.0.0.1:${await silent()}`;
    const terminal = new Terminal("check --port 0", { REDIS_URL }, cwd);
    await until(() => terminal.said.includes("asking Redis ("), "it says what it is at");
    expect(await terminal.ended).toBe(1);
    const cleared = terminal.said.lastIndexOf(CLEAR);
    expect(cleared).toBeGreaterThan(terminal.said.lastIndexOf("asking Redis"));
    expect(terminal.said.slice(cleared)).toContain("does not answer");
  },
);

onTerminal.each([
  ["a machine's terminal", "check --port 0", { CI: "true" }],
  ["one that cannot write over a line", "check --port 0", { TERM: "dumb" }],
  ["a program that reads", "check --port 0 --json", {}],
])("check says nothing of the kind to %s", async (_who, command, env) => {
  const cwd = await project({});
  const terminal = new Terminal(command, { REDIS_URL: `redis://127.0.0.1:${await silent()}`, ...env }, cwd);
  expect(await terminal.ended).toBe(1);
  expect(terminal.said).toContain("does not answer");
  expect(terminal.said).not.toContain("asking Redis");
  expect(terminal.said).not.toContain("\u001b[K");
});

test("nor into a pipe", async () => {
  const cwd = await project({});
  const env = { REDIS_URL: `redis://127.0.0.1:${await silent()}` };
  const { stdout, stderr } = await run(["check", "--port", "0"], { cwd, env });
  expect(stdout).toContain("does not answer");
  expect(stderr).toBe("");
});

onTerminal("canary says which step it waits for", async () => {
  const url = `http://127.0.0.1:${await silent()}`;
  const terminal = new Terminal(`canary ${url} --timeout 4000`, { CANARY_KEY: "a-key-for-the-canary" });
  await until(() => terminal.said.includes("connect ("), "it says which step");
  expect(await terminal.ended).toBe(1);
  expect(terminal.said.lastIndexOf(CLEAR)).toBeGreaterThan(terminal.said.lastIndexOf("connect ("));
});

onTerminal("start says who is left, how long that may take, and how to end at once", async () => {
  const app = await application(
    `import { Consumer, createApplication, route } from "sluice";
     import { createServer } from "sluice/server";
     import { setTimeout as sleep } from "node:timers/promises";
     class Slow extends Consumer { async disconnect() { await sleep(600_000); } }
     export const compose = ({ serverOptions }) =>
       createServer(createApplication({ routes: [route("/slow", Slow)] }), serverOptions);`,
    "slow.js",
  );
  const terminal = new Terminal(`start ${app} --port 0`, { LOG_LEVEL: "silent", DRAIN_DELAY_MS: "0" });
  const url = await until(() => /Sluice: (\S+)/.exec(terminal.said)?.[1], "it serves");
  const client = stock(`${url}/slow`, { reconnection: false });
  await new Promise((resolve) => client.once("connect", resolve as () => void));
  terminal.types("\u0003");
  await until(
    () =>
      /Sluice: stopping: 1 connection left, \d+ s at most; Ctrl\+C again ends it at once/.test(terminal.said),
    "it says so",
  );
  terminal.types("\u0003");
  expect(await terminal.ended).toBe(1);
});

test("what is done within a second says nothing, and what fails takes its line away", async () => {
  const written: string[] = [];
  const write = (text: string) => written.push(text) > 0;
  const stream = { isTTY: true, columns: 80, write } as never;
  const { CI, TERM } = process.env;
  delete process.env.CI;
  process.env.TERM = "xterm";
  try {
    expect(await withProgress("a step", async () => "done", false, stream)).toBe("done");
    expect(written).toEqual([]);
    const { passed, open } = gate();
    const fail = async () => {
      await passed;
      throw new Error("no");
    };
    const failing = withProgress("a step", fail, false, stream);
    await until(() => written.length > 0, "it says what it is at");
    open();
    await expect(failing).rejects.toThrow("no");
    expect(written[0]).toMatch(/a step \(\d+ s\)$/);
    expect(written.at(-1)).toBe(CLEAR);
  } finally {
    if (CI !== undefined) process.env.CI = CI;
    if (TERM !== undefined) process.env.TERM = TERM;
  }
});
