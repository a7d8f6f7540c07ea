/** The guide as a newcomer follows it: its first program runs as it stands, and all its code has the real types. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { type InstalledPackage, installPackage, root } from "../installed-package.ts";
import { connected, heard, refusalOf, stock } from "../server/live-server.ts";
import { SECRET } from "./browser.ts";

jest.setTimeout(90_000);

let installed: InstalledPackage;
let program: ChildProcess | undefined;
let blocks: readonly { readonly language: string; readonly code: string }[] = [];

beforeAll(async () => {
  installed = await installPackage();
  await symlink(
    join(root, "node_modules/express"),
    join(installed.folder, "node_modules/express"),
    "junction",
  );
  const text = await readFile(join(root, "docs/authentication.md"), "utf8");
  blocks = [...text.matchAll(/```(\w*)\n(.*?)```/gs)].map(([, language = "", code = ""]) => ({
    language,
    code,
  }));
});

afterAll(async () => {
  if (program?.exitCode === null) {
    program.kill();
    await once(program, "exit");
  }
  await installed.remove();
});

test("its first program logs a browser in and out, and knows it in the chat", async () => {
  const [first] = blocks;
  expect(first?.code).toMatch(/^\/\/ app.js\n/);
  await writeFile(join(installed.folder, "app.js"), first?.code ?? "");
  program = spawn(process.execPath, ["app.js"], {
    cwd: installed.folder,
    env: { ...process.env, PORT: "0", SLUICE_SECRET: SECRET },
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(program, "exit").then(() => Promise.reject(new Error("it ended")));
  ended.catch(() => {});
  const printed = new Promise<string>((accept) => {
    let output = "";
    program?.stdout?.on("data", (chunk) => {
      output += chunk;
      const [, address] = /^Listening: (http:\S+)$/m.exec(output) ?? [];
      if (address !== undefined) accept(address);
    });
  });
  const url = await Promise.race([printed, ended]);
  const post = (path: string, body: object, headers: Record<string, string> = { origin: url }) =>
    fetch(url + path, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
    });
  const right = { name: "Ann", password: "correct horse" };
  expect((await post("/login", { ...right, password: "wrong" })).status).toBe(401);
  expect((await post("/login", right, { origin: "https://evil.example" })).status).toBe(403);
  expect((await refusalOf(stock(`${url}/chat`))).data).toMatchObject({ code: 4401 });

  const response = await post("/login", right);
  const [line = ""] = response.headers.getSetCookie();
  expect(line).toMatch(/; HttpOnly; SameSite=Lax$/);
  const cookie = line.split(";")[0] as string;
  const socket = await connected(stock(`${url}/chat`, { extraHeaders: { cookie } }));
  const said = heard(socket, "said");
  expect(await socket.emitWithAck("say", "hello")).toEqual({ sent: true });
  expect(await said).toEqual([{ from: "Ann", text: "hello" }]);
  const close = heard(socket, "sluice.close");
  expect((await post("/logout", {}, { origin: url, cookie })).status).toBe(204);
  expect(await close).toEqual([{ code: 4510, reason: "the session has ended" }]);
});

/** What the guide's pieces take for granted. */
const surroundings = `
  import type * as sluice from "sluice";
  import type * as of from "sluice/middleware";
  import type { Server } from "sluice/server";
  import type { StockSocket } from "sluice/client";
  interface Known { readonly id: string }
  declare global {
    type User = Known;
    type Session<Values extends object = Record<string, unknown>> = of.Session<Values>;
    const Consumer: typeof sluice.Consumer;
    const createApplication: typeof sluice.createApplication;
    const route: typeof sluice.route;
    const mark: typeof sluice.mark;
    const authenticate: typeof of.authenticate;
    const requireUser: typeof of.requireUser;
    const bearerToken: typeof of.bearerToken;
    const session: typeof of.session;
    const login: typeof of.login;
    const RedisSessions: typeof of.RedisSessions;
    const RedisRevocations: typeof of.RedisRevocations;
    const sessions: of.Sessions<{ cart: string[] }>;
    const server: Server;
    const routes: sluice.RouteEntry[];
    const secret: string;
    const issuer: string;
    const audience: string;
    const name: string;
    const password: string;
    const socket: StockSocket & {
      emitWithAck(event: string, payload: unknown): Promise<string>;
      emit(event: string, payload: unknown): void;
      on(event: string, listener: () => unknown): void;
    };
    class Chat extends sluice.Consumer {}
    function findByKey(key: unknown): User | undefined;
    function tenantOf(user: User): Promise<string>;
    function isMember(user: User, group: string): boolean;
    function checkPassword(payload: unknown): Promise<User | undefined>;
    function freshToken(): Promise<string>;
    function show(text: string): void;
  }`;

test("all its TypeScript and JavaScript has the real types", async () => {
  const { folder } = installed;
  const files = ["surroundings.d.ts"];
  await writeFile(join(folder, "surroundings.d.ts"), surroundings);
  await writeFile(
    join(folder, "page.d.ts"),
    "export const io: (path: string) => import('socket.io-client').Socket;",
  );
  for (const [i, { language, code }] of blocks.entries()) {
    // The program is run.
    if ((language !== "ts" && language !== "js") || i === 0) continue;
    const file = `block-${i}.ts`;
    await writeFile(join(folder, file), `${code.replace('"socket.io-client"', '"./page.js"')}\nexport {};`);
    files.push(file);
  }
  expect(files.length).toBeGreaterThan(9);
  const compilerOptions = {
    ...{ strict: true, noEmit: true, target: "es2022", module: "nodenext", skipLibCheck: true },
    ...{ types: ["node"], typeRoots: [join(root, "node_modules/@types")] },
  };
  await writeFile(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions, files }));
  const compiler = [join(root, "node_modules/typescript/bin/tsc"), "-p", folder];
  const { stdout } = await promisify(execFile)(process.execPath, compiler).catch((error) => error);
  expect(stdout).toBe("");
});
