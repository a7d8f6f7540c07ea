/** The guide's program as it stands, with the package as it is built: its page is there with all its files. */
import { type ChildProcess, spawn } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, jest, test } from "@jest/globals";
import { blockOf } from "../guides.ts";
import { type InstalledPackage, installPackage } from "../installed-package.ts";
import { login } from "./scene.ts";

jest.setTimeout(60_000);

let installed: InstalledPackage;
let program: ChildProcess | undefined;

beforeAll(async () => {
  installed = await installPackage();
});
afterEach(() => void program?.kill("SIGKILL"));
afterAll(() => installed.remove());

test("the guide's program serves the page, and everything that the page loads", async () => {
  const code = await blockOf("docs/dashboard.md", "js", "createApplication");
  await writeFile(join(installed.folder, "app.js"), code);
  const env = { ...process.env, PORT: "0", DASHBOARD_PASSWORD: "open, sesame!" };
  program = spawn(process.execPath, ["app.js"], {
    cwd: installed.folder,
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const place = await new Promise<string>((resolve) => {
    program?.stdout?.on("data", (chunk) => {
      const [found] = /http:\S+\/dashboard/.exec(String(chunk)) ?? [];
      if (found !== undefined) resolve(found);
    });
  });
  const url = place.replace(/\/dashboard$/, "");
  const { cookie } = await login({ url });
  const page = await (await fetch(place, { headers: { cookie } })).text();
  const seen = new Set<string>();
  const wanted = [...page.matchAll(/(?:src|href)="dashboard\/files\/([^"]+)"/g)].map(([, name]) =>
    String(name),
  );
  wanted.push("login.js", "login.css");
  for (let name = wanted.pop(); name !== undefined; name = wanted.pop()) {
    if (seen.has(name)) continue;
    seen.add(name);
    const response = await fetch(`${url}/dashboard/files/${name}`);
    expect([name, response.status]).toEqual([name, 200]);
    const body = await response.text();
    if (!name.endsWith(".js") || name.startsWith("uPlot")) continue;
    for (const [, imported] of body.matchAll(/from "\.\/([^"]+)"/g)) wanted.push(String(imported));
  }
  expect(seen.size).toBeGreaterThan(15);
});
