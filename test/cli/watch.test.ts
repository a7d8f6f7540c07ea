/** What `sluice dev` hears of files. */
import { mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { expect, test } from "@jest/globals";
import { Watch } from "../../src/cli/watch.ts";
import { atEnd, until } from "../server/live-server.ts";

interface Scene {
  readonly folder: string;
  readonly watch: Watch;
  /** From the folder. */
  readonly heard: Set<string>;
  write(path: string, text?: string): Promise<void>;
}

async function scene(
  files: readonly string[] = [],
  everything: (folder: string) => readonly string[] = () => [],
): Promise<Scene> {
  const folder = await mkdtemp(join(tmpdir(), "sluice-watch-"));
  atEnd(() => rm(folder, { recursive: true, force: true }));
  const write = async (path: string, text = "x") => {
    await mkdir(join(folder, path, ".."), { recursive: true });
    await writeFile(join(folder, path), text);
  };
  for (const file of files) await write(file);
  const heard = new Set<string>();
  const watch = new Watch({
    folders: [folder],
    everything: everything(folder),
    changed: (paths) => {
      for (const path of paths) heard.add(relative(folder, path));
    },
  });
  atEnd(() => watch.close());
  return { folder, watch, heard, write };
}

test("code is heard of, in old folders and new ones, and nothing else", async () => {
  const { watch, heard, write } = await scene(["a.ts", "sub/b.js", "node_modules/p/c.js", ".git/d.js"]);
  expect(watch.size).toBe(2);
  for (const path of ["notes.txt", "node_modules/p/c.js", ".git/d.js", ".hidden.js", "sub/b.js"])
    await write(path);
  await write("new/deep/e.tsx");
  await until(() => heard.has("sub/b.js") && heard.has("new/deep/e.tsx"), "both are heard of");
  await write("a.ts");
  await until(() => heard.has("a.ts"), "the last one is heard of");
  expect([...heard].sort()).toEqual(["a.ts", "new/deep/e.tsx", "sub/b.js"]);
});

test("what is in a folder that is moved here is heard of, and of one that goes the watch is given up", async () => {
  const { folder, watch, heard, write } = await scene(["a.ts"]);
  const elsewhere = await mkdtemp(join(tmpdir(), "sluice-elsewhere-"));
  atEnd(() => rm(elsewhere, { recursive: true, force: true }));
  await mkdir(join(elsewhere, "moved", "deep"), { recursive: true });
  await writeFile(join(elsewhere, "moved", "deep", "f.mjs"), "x");
  await rename(join(elsewhere, "moved"), join(folder, "moved"));
  await until(() => heard.has("moved/deep/f.mjs"), "what is in it");
  expect(watch.size).toBe(3);
  await rm(join(folder, "moved"), { recursive: true });
  await until(() => watch.size === 1, "both are given up");
  await write("moved/again.js");
  await until(() => heard.has("moved/again.js"), "one that comes again is watched again");
});

test("a file that is named counts whatever it is called, and all in a folder that is named", async () => {
  const { heard, write } = await scene(["settings.json", "other.json", "data/x.txt"], (folder) => [
    join(folder, "settings.json"),
    join(folder, "data/x.txt"),
    join(folder, "data"),
  ]);
  await write("other.json");
  await write("data/x.txt");
  await write("settings.json");
  await write("data/deep/y.txt");
  await until(() => heard.has("settings.json") && heard.has("data/deep/y.txt"), "those that are named");
  expect(heard.has("data/x.txt")).toBe(true);
  expect(heard.has("other.json")).toBe(false);
});

test("a link that leads nowhere, or in a circle, ends nothing", async () => {
  const { folder, heard, write } = await scene(["a.ts"]);
  await symlink(join(folder, "nowhere"), join(folder, "gone.ts"));
  await symlink(folder, join(folder, "circle"));
  await write("a.ts");
  await until(() => heard.has("a.ts") && heard.has("gone.ts"), "it goes on");
});

test("after close nothing is heard of any more, not even what has changed just now", async () => {
  const { watch, heard, write } = await scene(["a.ts"]);
  const other = await scene(["b.ts"]);
  await write("a.ts");
  watch.close();
  await other.write("b.ts");
  await until(() => other.heard.has("b.ts"), "another one hears");
  expect([watch.size, heard.size]).toEqual([0, 0]);
});
