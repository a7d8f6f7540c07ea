import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { type InstalledPackage, installPackage, root } from "../installed-package.ts";
import { until } from "./live-server.ts";

jest.setTimeout(60_000);

let installed: InstalledPackage;
let program: ChildProcess;
let url = "";
let output = "";

/** The services that the program asks. */
let answer: (path: string, response: ServerResponse, request: IncomingMessage) => void;
const services = createHttpServer((request, response) => answer(String(request.url), response, request));

beforeAll(async () => {
  installed = await installPackage();
  services.listen(0, "127.0.0.1");
  await once(services, "listening");
  const text = await readFile(join(root, "docs/http.md"), "utf8");
  const [, code] = /```js\n(.*?)```/s.exec(text) ?? [];
  await writeFile(join(installed.folder, "dashboard.js"), code ?? "");
  const SERVICES = `http://127.0.0.1:${(services.address() as AddressInfo).port}`;
  const env = { ...process.env, PORT: "0", SERVICES };
  program = spawn(process.execPath, ["dashboard.js"], { cwd: installed.folder, env });
  for (const stream of [program.stdout, program.stderr]) stream?.on("data", (chunk) => (output += chunk));
  url = await until(() => /^(http:\S+)$/m.exec(output)?.[1], "the program prints its address");
});

afterAll(async () => {
  if (program?.exitCode === null) {
    program.kill();
    await once(program, "exit");
  }
  services.closeAllConnections();
  services.close();
  await installed.remove();
});

const json = (response: ServerResponse, value: unknown) => {
  response.setHeader("Content-Type", "application/json").end(JSON.stringify(value));
};

test("the guide's page shows what came in time, and says what did not", async () => {
  const asked: string[] = [];
  answer = (path, response) => {
    asked.push(path);
    if (path.startsWith("/weather")) json(response, { degrees: 21 });
    else if (path.startsWith("/orders")) response.writeHead(500).end();
    // The news never come.
  };
  const page = await fetch(`${url}/dashboard/new%20york?token=secret`);
  expect(page.status).toBe(200);
  const text = await readFile(join(root, "docs/http.md"), "utf8");
  const [, shown] = /```json\n(.*?)```/s.exec(text) ?? [];
  expect(await page.json()).toEqual(JSON.parse(String(shown)));
  expect(asked.sort()).toEqual(["/news", "/orders/ann", "/weather/new%20york"]);
});

test("without any part it is an error of what stands behind, and without a token nothing is asked", async () => {
  let asked = 0;
  answer = (_path, response) => {
    asked += 1;
    response.destroy();
  };
  expect((await fetch(`${url}/dashboard/rome?token=secret`)).status).toBe(502);
  expect(asked).toBe(3);
  expect((await fetch(`${url}/dashboard/rome`)).status).toBe(401);
  expect(asked).toBe(3);
});

test("when the client leaves, the services are no longer asked, and nothing is logged as a bug", async () => {
  const left: string[] = [];
  const asked: string[] = [];
  answer = (path, _response, request) => {
    asked.push(path);
    request.socket.once("close", () => left.push(path));
  };
  const client = new AbortController();
  const page = fetch(`${url}/dashboard/rome?token=secret`, { signal: client.signal });
  await until(() => asked.length === 3, "all are asked");
  const before = output;
  client.abort();
  await expect(page).rejects.toThrow();
  await until(() => left.length === 3, "all connections are given up");
  expect(output).toBe(before);
});

test("an async route that throws is 500 without a stack, with one in the log", async () => {
  const page = await fetch(`${url}/broken`, { headers: { "X-Request-Id": "r-1" } });
  expect([page.status, page.headers.get("x-request-id")]).toEqual([500, "r-1"]);
  expect(await page.text()).not.toContain("secret");
  await until(() => output.includes("a secret"), "the log has it");
});
