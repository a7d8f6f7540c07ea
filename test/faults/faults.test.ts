import { execFile } from "node:child_process";
import { symlink } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect } from "@jest/globals";
import { type InstalledPackage, installPackage, root } from "../installed-package.ts";
import { hasRedis, redisTest } from "../redis/redis-server.ts";

const run = promisify(execFile);
let built: InstalledPackage | undefined;
let checker = "";

beforeAll(async () => {
  if (!hasRedis) return;
  built = await installPackage();
  const out = join(built.folder, "run");
  await run(process.execPath, [
    join(root, "node_modules/typescript/bin/tsc"),
    ...["-p", join(root, "test/faults"), "--outDir", out],
  ]);
  await symlink(join(root, "node_modules"), join(out, "node_modules"), "junction");
  checker = join(out, "test/faults/main.js");
}, 60_000);

afterAll(() => built?.remove());

/** A run that ends with a broken promise fails; what it prints is the reason. */
async function check(...args: readonly string[]): Promise<string> {
  const { stdout } = await run(process.execPath, [checker, "--redis", "single", ...args], {
    timeout: 120_000,
  }).catch((error: { stdout: string }) => error);
  return stdout;
}

redisTest(
  "the checker runs its plan to the end, judges what was seen and says so in one line",
  async () => {
    const said = await check("--seed", "2", "--duration", "3s", "--clients", "8");
    expect(said).toMatch(/^FAULTS (OK|BROKEN \(\d+\)) seed=2 duration=3s redis=single$/m);
    expect(said).toMatch(/^groups with history: [1-9]\d* deliveries/m);
  },
  150_000,
);
