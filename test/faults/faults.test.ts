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

/** What it prints, and how it ended. */
async function check(...args: readonly string[]): Promise<{ stdout: string; code: number }> {
  const all = ["--seed", "2", "--duration", "6s", "--clients", "12", "--redis", "single", ...args];
  return run(process.execPath, [checker, ...all], { timeout: 170_000 }).then(
    ({ stdout }) => ({ stdout, code: 0 }),
    (error: { stdout: string; code: number }) => error,
  );
}

redisTest(
  "every promise is kept while nodes, connections and Redis are broken by a plan",
  async () => {
    const { stdout, code } = await check();
    // All that it has said, so that a broken promise is told with its story.
    expect(stdout).toMatch(/^FAULTS OK seed=2 duration=6s redis=single$/m);
    expect(stdout).toMatch(/^groups with history: [1-9]\d* deliveries/m);
    expect(code).toBe(0);
  },
  180_000,
);

redisTest(
  "clients that come back without their positions are found to have holes without a gap",
  async () => {
    const { stdout, code } = await check("--without-recovery");
    expect(stdout).toMatch(/^BROKEN: client \d+: was at \S+ of \S+ and goes on at \S+, without a gap$/m);
    expect(stdout).toMatch(/^FAULTS BROKEN \(\d+\) seed=2 duration=6s redis=single$/m);
    expect(code).toBe(1);
  },
  180_000,
);
