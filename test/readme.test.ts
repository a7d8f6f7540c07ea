import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { io, type Socket } from "socket.io-client";
import { blockOf, Project } from "./guides.ts";
import { root } from "./installed-package.ts";

jest.setTimeout(60_000);

let project: Project;
const sockets: Socket[] = [];

beforeAll(async () => {
  project = await Project.make();
});

afterAll(async () => {
  for (const socket of sockets) socket.disconnect();
  await project.close();
});

async function connected(url: string): Promise<Socket> {
  const socket = io(url, { forceNew: true });
  sockets.push(socket);
  await new Promise<void>((accept, reject) => socket.on("connect", accept).on("connect_error", reject));
  return socket;
}

test("the program on the README's first screen is a chat that runs as it stands", async () => {
  const code = await blockOf("README.md", "js");
  expect(code.trim().split("\n").length).toBeLessThanOrEqual(28);
  await project.write("chat.js", code);
  const program = project.start(["chat.js"], { env: { PORT: "0" } });
  // Between the lines of its log, on a line of its own.
  const url = await program.says(/^(http:\S+)$/m);

  const page = await (await fetch(url)).text();
  expect(page).toContain("/socket.io/socket.io.js");
  expect((await fetch(`${url}/socket.io/socket.io.js`)).status).toBe(200);

  const [ann, bob, elsewhere] = [
    await connected(`${url}/chat/lobby`),
    await connected(`${url}/chat/lobby`),
    await connected(`${url}/chat/attic`),
  ];
  const strays: unknown[] = [];
  elsewhere.on("message", (text) => strays.push(text));
  const heard = new Promise((accept) => bob.once("message", accept));
  expect(await ann.emitWithAck("message", "hello")).toEqual({ sent: true });
  expect(await heard).toBe("hello");
  await elsewhere.emitWithAck("message", "alone");
  expect(strays).toEqual(["alone"]);
});

test("the built package tells a stranger's TypeScript as much as its sources would", async () => {
  const { folder } = project;
  const file = join(folder, "consumer-types.ts");
  await writeFile(file, await readFile(join(root, "test/types/consumer-types.ts"), "utf8"));
  for (const [module, moduleResolution] of [
    ["nodenext", "nodenext"],
    ["esnext", "bundler"],
  ]) {
    const options = { strict: true, noEmit: true, target: "es2022", module, moduleResolution, types: [] };
    await writeFile(
      join(folder, "tsconfig.json"),
      JSON.stringify({ compilerOptions: { ...options, noImplicitOverride: true }, files: [file] }),
    );
    const compiler = [join(root, "node_modules/typescript/bin/tsc"), "-p", folder];
    const { stdout } = await promisify(execFile)(process.execPath, compiler).catch((error) => error);
    expect(stdout).toBe("");
  }
});
