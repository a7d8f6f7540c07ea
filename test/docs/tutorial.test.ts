/** The tutorial as a newcomer follows it: each command and each file of the page, in an empty folder. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { chromium } from "playwright-core";
import { io, type Socket } from "socket.io-client";
import { type Block, blocksOf } from "../guides.ts";
import { type InstalledPackage, installPackage, root } from "../installed-package.ts";
import { packPackage } from "../packed-package.ts";
import { freePort, redisTest } from "../redis/redis-server.ts";
import { atEnd, connected, heard, until } from "../server/live-server.ts";

jest.setTimeout(240_000);

/** Until a program says something: npx and several nodes begin at once. */
const PATIENCE_MS = 60_000;

const chromiumPath = process.env.CHROMIUM_PATH || "/usr/bin/chromium";

let shelf: string;
let installed: InstalledPackage;
beforeAll(async () => {
  shelf = await mkdtemp(join(tmpdir(), "sluice-tutorial-"));
  installed = await installPackage();
});
afterAll(async () => {
  await installed.remove();
  await rm(shelf, { recursive: true, force: true });
});

interface File {
  readonly name: string;
  readonly text: string;
}

/** What a block is called by its first line, and all below that. */
function fileOf({ code }: Block): File {
  const [first = "", name = ""] = /^(?:\/\/|<!--) ([\w./-]+\.\w+)(?: -->)?\n/.exec(code) ?? [];
  return { name, text: code.slice(first.length) };
}

const linesOf = (text: string) => text.trimEnd().split("\n");
const isShell = ({ language }: Block) => language === "sh";

/** A row of the page's table, as numbers. */
async function rowOf(name: string): Promise<readonly number[]> {
  const text = await readFile(join(root, "docs/tutorial.md"), "utf8");
  const row = text.split("\n").find((line) => line.startsWith(`| ${name} `)) ?? "";
  return [...row.matchAll(/\d+/g)].map(Number);
}

test("the page counts its commands, files and lines, and they are fewer than in Django Channels' tutorial", async () => {
  const blocks = await blocksOf("docs/tutorial.md");
  const commands = blocks.filter(isShell).flatMap(({ code }) => linesOf(code));
  const files = blocks.filter((block) => !isShell(block)).map(fileOf);
  expect(files.map(({ name }) => name)).toEqual(["app.mjs", "page.html", "chat.test.mjs"]);
  const lines = files.flatMap(({ text }) => linesOf(text));
  const counted = [commands.length, files.length, lines.length];
  expect(await rowOf("this page")).toEqual(counted);
  const theirs = await rowOf("Django Channels' tutorial");
  expect(theirs).toEqual([13, 9, 149]);
  for (const [i, count] of counted.entries()) expect(count).toBeLessThan(theirs[i] as number);
});

/** A block of the page in a shell; what it starts is a group of its own, and ends with the test. */
class Shell {
  output = "";
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;

  constructor(cwd: string, script: string) {
    // `wait`: a shell that ends would leave behind what stands before an `&`.
    const env = { ...process.env, npm_config_prefer_offline: "true" };
    this.#child = spawn("sh", ["-c", `${script}\nlast=$?\nwait\nexit $last`], { cwd, env, detached: true });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on("data", (text) => {
        this.output += text;
      });
    }
    this.#ended = once(this.#child, "close").then(([code]) => code as number | null);
    atEnd(() => this.end());
  }

  /** All that it says when it ends by itself. */
  async done(): Promise<string> {
    if ((await this.#ended) !== 0) throw new Error(this.output);
    return this.output;
  }

  async says(pattern: RegExp): Promise<RegExpExecArray> {
    const givenUpAt = performance.now() + PATIENCE_MS;
    for (;;) {
      const found = pattern.exec(this.output);
      if (found !== null) return found;
      if (this.#child.exitCode !== null) throw new Error(`it ended: ${this.output}`);
      if (performance.now() > givenUpAt) throw new Error(`waited in vain: ${pattern} in ${this.output}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  async end(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      process.kill(-(this.#child.pid as number), "SIGTERM");
    }
    await this.#ended;
  }
}

function visitor(url: string): Socket {
  const socket = io(`${url}/chat/lobby`, { forceNew: true, reconnection: false });
  atEnd(() => socket.disconnect());
  return socket;
}

/** One says it, and the other hears it. */
async function talk(one: Socket, other: Socket, text: string): Promise<void> {
  const hearing = heard(other, "said");
  expect(await one.emitWithAck("say", text)).toEqual({ sent: true });
  expect(await hearing).toEqual([text]);
}

redisTest("each command and file of the page, in an empty folder: a chat on three nodes", async () => {
  const folder = join(shelf, "empty");
  await mkdir(folder);
  const { tarball } = await packPackage(installed.dist, shelf);
  const ports = new Map<string, number>();
  for (const port of ["3000", "3001", "3002", "3003", "6379"]) ports.set(port, await freePort());
  // Of the page's commands this alone is changed: where the package comes from, and ports, which must be free.
  const script = (code: string) =>
    code
      .replace("npm install sluice", `npm install --no-audit --no-fund ${tarball}`)
      .replace("sluice dev app.mjs", "sluice dev app.mjs --port 3000")
      .replace(/\b(300[0-3]|6379)\b/g, (port) => String(ports.get(port)));
  const url = (port: string) => `http://127.0.0.1:${ports.get(port)}`;

  for (const block of await blocksOf("docs/tutorial.md")) {
    if (!isShell(block)) {
      const { name, text } = fileOf(block);
      await writeFile(join(folder, name), text);
      continue;
    }
    const shell = new Shell(folder, script(block.code));
    if (block.code.startsWith("npm install")) await shell.done();
    else if (block.code.startsWith("node --test")) {
      expect(await shell.done()).toMatch(/(# |ℹ )pass 1\n(# |ℹ )fail 0/);
    } else if (block.code.startsWith("redis-server")) await shell.says(/Ready to accept connections/);
    else if (block.code.includes("sluice dev")) {
      await shell.says(new RegExp(url("3000")));
      const [ann, bob] = [visitor(url("3000")), visitor(url("3000"))];
      await Promise.all([connected(ann), connected(bob)]);
      await talk(ann, bob, "hello");
      await shell.end();
    } else {
      for (const port of ["3001", "3002", "3003"]) await shell.says(new RegExp(`Sluice: ${url(port)}`));
      await onThreeNodes(url("3001"), url("3002"), url("3003"));
      await shell.end();
      expect(shell.output).not.toMatch(/"level":"?(error|fatal|50|60)/);
    }
  }
});

async function onThreeNodes(first: string, second: string, third: string): Promise<void> {
  const [ann, bob] = [visitor(first), visitor(third)];
  await Promise.all([connected(ann), connected(bob)]);
  await talk(ann, bob, "from the first node");
  await talk(bob, ann, "from the third");

  const late = visitor(second);
  const said: unknown[] = [];
  late.on("said", (text) => said.push(text));
  await connected(late);
  await until(() => said.length === 2, "who comes later is given what was said");
  expect(said).toEqual(["from the first node", "from the third"]);

  if (!existsSync(chromiumPath)) return;
  const browser = await chromium.launch({ executablePath: chromiumPath, args: ["--no-sandbox"] });
  atEnd(() => browser.close());
  const window = await browser.newPage();
  await window.goto(second);
  await window.getByText("from the third").waitFor();
  const hearing = heard(bob, "said");
  await window.getByRole("textbox").fill("from a <b>window</b>");
  await window.keyboard.press("Enter");
  expect(await hearing).toEqual(["from a <b>window</b>"]);
  await window.getByText("from a <b>window</b>").waitFor();
}
