/** Real programs for tests: the built command line, and applications that it runs. All end with the test. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, jest } from "@jest/globals";
import { type InstalledPackage, installPackage, root } from "../installed-package.ts";
import { atEnd, until } from "../server/live-server.ts";

jest.setTimeout(60_000);

let installed: InstalledPackage;
beforeAll(async () => {
  installed = await installPackage();
});
afterAll(() => installed.remove());

/** The folder that programs run in. */
export function folder(): string {
  return installed.folder;
}

/** The demo's composition root, built. */
export function demo(): string {
  return join(installed.dist, "routing", "app.js");
}

/** Writes an application into the folder; returns its path from there. */
export async function application(source: string, name = "app.js"): Promise<string> {
  await writeFile(join(installed.folder, name), source);
  return name;
}

/** A project of its own in a folder below, which has our package and what else is named from ours. */
export async function project(
  files: Readonly<Record<string, string | object>>,
  packages: readonly string[] = [],
): Promise<string> {
  const at = await mkdtemp(join(installed.folder, "project-"));
  for (const [name, content] of Object.entries({ "package.json": { type: "module" }, ...files })) {
    await mkdir(dirname(join(at, name)), { recursive: true });
    await writeFile(join(at, name), typeof content === "string" ? content : JSON.stringify(content));
  }
  for (const name of packages) {
    await mkdir(dirname(join(at, "node_modules", name)), { recursive: true });
    await symlink(join(root, "node_modules", name), join(at, "node_modules", name), "junction");
  }
  return at;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  /** Descriptors that it has from 3 on. */
  readonly inherit?: readonly number[];
  /** The folder that it runs in; by default {@link folder}. */
  readonly cwd?: string;
}

export interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The command line in a process of its own, and what it has said so far. */
export class Program {
  readonly child: ChildProcess;
  stdout = "";
  stderr = "";
  readonly ended: Promise<Ended>;

  constructor(
    args: readonly string[],
    { env = {}, input = "", inherit = [], cwd = installed.folder }: RunOptions = {},
  ) {
    const cli = join(installed.dist, "src", "cli.js");
    // Nothing of ours that the tests' own environment may have.
    const { PATH = "", HOME = "" } = process.env;
    this.child = spawn(process.execPath, [cli, ...args], {
      cwd,
      env: { PATH, HOME, ...env },
      stdio: ["pipe", "pipe", "pipe", ...inherit],
    });
    this.child.stdin?.on("error", () => {}).end(input);
    this.child.stdout?.setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text;
    });
    this.child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
    });
    this.ended = once(this.child, "close").then(([code]) => ({
      code: code as number | null,
      stdout: this.stdout,
      stderr: this.stderr,
    }));
    atEnd(async () => {
      for (const pid of this.#pids) kill(pid, "SIGCONT");
      this.child.kill("SIGTERM");
      this.child.kill("SIGINT");
      await this.ended;
    });
  }

  /** The lines of its log. */
  get log(): readonly Readonly<Record<string, unknown>>[] {
    const lines = this.stdout.split("\n").filter((line) => line.startsWith("{") && line.endsWith("}"));
    return lines.map((line) => JSON.parse(line));
  }

  /** The processes that serve, or have served, by their log. */
  get #pids(): readonly number[] {
    return this.log.filter(({ msg }) => msg === "process serves").map(({ pid }) => pid as number);
  }

  /** How often this stands in a line of its own on standard output. */
  count(line: string): number {
    return this.stdout.split("\n").filter((found) => found === line).length;
  }

  /** Waits for the address that it prints. */
  async url(): Promise<string> {
    const found = () => {
      if (this.child.exitCode !== null) throw new Error(`it ended: ${this.stderr}${this.stdout}`);
      return /^Sluice: (http:\S+)$/m.exec(this.stdout)?.[1];
    };
    return until(found, "the address");
  }
}

/** All that `sluice` can be told to do. */
export const COMMANDS = [
  ...["new", "generate", "dev", "start", "work", "check", "routes", "inspect", "canary", "send", "emit"],
];

/** Runs a command to its end. */
export function run(args: readonly string[], options?: RunOptions): Promise<Ended> {
  return new Program(args, options).ended;
}

/** Starts `sluice start` on a free port. */
export function start(module: string, args: readonly string[] = [], options?: RunOptions): Program {
  return new Program(["start", module, "--port", "0", ...args], options);
}

export function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended already.
  }
}

export { root };
