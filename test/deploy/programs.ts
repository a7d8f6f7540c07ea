/** Programs of this machine, started for one test on free ports and ended by their process. */
import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import type { test } from "@jest/globals";
import { testNeeding } from "../needing.ts";
import { atEnd, until } from "../server/live-server.ts";

/** `test` if the program is installed; otherwise a test that is skipped and says so. */
export function testWith(program: string): typeof test {
  return testNeeding(hasProgram(program), `install ${program}`);
}

export function hasProgram(program: string): boolean {
  // Servers stand in /usr/sbin, which not everybody searches.
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/usr/local/sbin"];
  return folders.some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** A port of 127.0.0.1 that nobody listens on just now. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A folder for one test. */
export function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "sluice-deploy-"));
  atEnd(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/**
 * A committed configuration with its addresses replaced, in a folder of its own.
 *
 * @param replacements - each must be found, or the file has changed and the test with it
 */
export function configured(file: string, replacements: readonly (readonly [RegExp, string])[]): string {
  const committed = readFileSync(join(import.meta.dirname, "../../deploy", file), "utf8");
  const text = replacements.reduce((before, [from, to]) => {
    const after = before.replace(from, to);
    if (after === before) throw new Error(`deploy/${file} has nothing like ${from}`);
    return after;
  }, committed);
  const path = join(folder(), "configuration");
  writeFileSync(path, text);
  return path;
}

/** Runs until the end of the test; resolves when it takes connections on the port. */
export async function started(command: string, args: readonly string[], port: number): Promise<void> {
  const child = spawn(command, args, {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, PATH: `${process.env.PATH}:/usr/sbin:/usr/local/sbin` },
  });
  let said = "";
  child.stdout.on("data", (data) => (said += String(data)));
  child.stderr.on("data", (data) => (said += String(data)));
  child.on("error", (error) => (said += String(error)));
  atEnd(() => ended(child));
  let isOpen = false;
  const attempt = () => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      isOpen = true;
      socket.destroy();
    });
    socket.once("error", () => {
      setTimeout(() => isRunning(child) && attempt(), 20);
    });
  };
  attempt();
  await until(() => isOpen || !isRunning(child), `${command} listens on ${port}`);
  if (!isOpen) throw new Error(`${command} ended at once:\n${said}`);
}

function isRunning(child: ChildProcess): boolean {
  return child.pid !== undefined && child.exitCode === null && child.signalCode === null;
}

async function ended(child: ChildProcess): Promise<void> {
  child.kill("SIGTERM");
  const killer = setTimeout(() => child.kill("SIGKILL"), 2_000);
  await until(() => !isRunning(child), "the program has ended");
  clearTimeout(killer);
}
