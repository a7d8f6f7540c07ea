/** What users install is what they need, and can be used as it says. */
import { readFile } from "node:fs/promises";
import { builtinModules } from "node:module";
import { join } from "node:path";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { build } from "esbuild";
import { publint } from "publint";
import { formatMessage } from "publint/utils";
import { root } from "../installed-package.ts";
import { Packed } from "./packed.ts";

jest.setTimeout(180_000);

let packed: Packed;

beforeAll(async () => {
  packed = await Packed.make();
});
afterAll(() => packed.remove());

/** What belongs into the package, and why. */
const RULE = {
  "what says what it is": /^(package\.json|README\.md|LICENSE|CHANGELOG\.md)$/,
  "what runs, its types, and the way from both to the sources": /^dist\/src\/[\w/.-]+\.(js|d\.ts|js\.map)$/,
  "what browsers load without a bundler": /^dist\/client\.min\.js$/,
  "pages that the framework serves": /^dist\/src\/dashboard\/page\/[\w-]+\.(html|css|js|svg)$/,
  "the sources that debuggers show": /^src\/[\w/.-]+\.(ts|js)$/,
  "what the sources of these pages are": /^src\/dashboard\/page\/[\w-]+\.(html|css|svg)$/,
  "what `sluice new` copies": /^templates\/project\/[\w/.-]+$/,
  "the pages that README.md leads to": /^docs\/[\w/-]+\.(md|svg|png)$/,
} satisfies Readonly<Record<string, RegExp>>;

test("the tarball has what the rule allows, and something of all that it must have", () => {
  const paths = packed.files.map(({ path }) => path);
  const rules = Object.values(RULE);
  expect(paths.filter((path) => !rules.some((rule) => rule.test(path)))).toEqual([]);
  for (const path of [
    "README.md",
    "LICENSE",
    "CHANGELOG.md",
    "templates/project/gitignore",
    "docs/react.md",
  ]) {
    expect(paths).toContain(path);
  }
});

test("every map has its sources beside it, every built file its own, and each file that one runs is there", async () => {
  const paths = new Set(packed.files.map(({ path }) => path));
  const lost: string[] = [];
  for (const path of paths) {
    if (path.endsWith(".js.map")) {
      const { sources } = JSON.parse(await readFile(join(packed.folder, path), "utf8")) as {
        sources: string[];
      };
      for (const source of sources) {
        const place = join(path, "..", source);
        if (!paths.has(place)) lost.push(`${path}: ${place}`);
      }
    }
    const [, name] = /^dist\/(src\/.*)\.js$/.exec(path) ?? [];
    if (name !== undefined && !paths.has(`${name}.ts`) && !paths.has(`${name}.js`))
      lost.push(`${path}: no source`);
  }
  expect(lost).toEqual([]);
  const { bin } = JSON.parse(await readFile(join(packed.folder, "package.json"), "utf8")) as { bin: object };
  expect(Object.values(bin).filter((file) => !paths.has(file))).toEqual([]);
});

test("every source is there as it is built, and none of them is a test", () => {
  const paths = new Set(packed.files.map(({ path }) => path));
  const sources = [...paths].filter((path) => path.startsWith("src/"));
  const built = sources.flatMap((path) => {
    if (path.startsWith("src/dashboard/page/")) return [`dist/${path}`];
    const name = `dist/${path.replace(/\.[jt]s$/, "")}`;
    return [`${name}.js`, `${name}.d.ts`, `${name}.js.map`];
  });
  expect(sources.length).toBeGreaterThan(300);
  expect(built.filter((path) => !paths.has(path))).toEqual([]);
  expect(sources.filter((path) => /\.test\./.test(path))).toEqual([]);
});

test("the pages name every entry, and no other", async () => {
  const named = new Set<string>();
  for (const { path } of packed.files) {
    if (!/^(README|docs\/.*)\.md$/.test(path)) continue;
    const text = await readFile(join(packed.folder, path), "utf8");
    for (const [, name = ""] of text.matchAll(/["'`](sluice(?:\/[\w./-]+)?)["'`]/g)) named.add(name);
  }
  expect([...named].sort()).toEqual([...modules()].sort());
});

test("the types of every entry are those of the module that runs", () => {
  const twins = Object.values(packed.manifest.exports).flatMap((targets) =>
    typeof targets === "string" ? [] : [[targets.types ?? "", targets.default ?? ""] as const],
  );
  expect(twins.length).toBe(modules().length);
  const strange = twins.filter(([types, runs]) => types.replace(/\.d\.ts$/, ".js") !== runs);
  expect(strange).toEqual([["./dist/src/client/index.d.ts", "./dist/client.min.js"]]);
});

test("the command line is a program, and says which Node.js it wants", async () => {
  const { bin, engines, version } = JSON.parse(
    await readFile(join(packed.folder, "package.json"), "utf8"),
  ) as {
    readonly bin: { readonly sluice: string };
    readonly engines?: { readonly node?: string };
    readonly version: string;
  };
  const file = join(packed.folder, bin.sluice);
  expect(await readFile(file, "utf8")).toMatch(/^#!\/usr\/bin\/env node\n/);
  expect(await packed.node(file, "--version")).toEqual({ code: 0, output: `${version}\n` });
  expect(engines?.node).toBe(">=20");
});

test("README.md and the pages lead to nothing that is not in the package", async () => {
  const paths = new Set(packed.files.map(({ path }) => path));
  const lost: string[] = [];
  for (const path of paths) {
    if (!/^(README|docs\/.*)\.md$/.test(path)) continue;
    const text = (await readFile(join(packed.folder, path), "utf8")).replace(/^```.*?^```/gms, "");
    for (const [, to = ""] of text.matchAll(/\]\(([^)#\s]+)[^)]*\)/g)) {
      if (/^\w+:/.test(to)) continue;
      const place = join(path, "..", to);
      if (!paths.has(place) && !OUTSIDE.test(place)) lost.push(`${path}: ${to}`);
    }
  }
  expect(lost).toEqual([]);
});
/** For those who have a clone, and said so there. */
const OUTSIDE = /^(CONTRIBUTING\.md|deploy|bench|test|consumers|routing|tasks|public|src)(\/|$)/;

test("publint has nothing to say", async () => {
  const tarball = await readFile(packed.tarball);
  const { messages, pkg } = await publint({
    pack: {
      tarball: tarball.buffer.slice(
        tarball.byteOffset,
        tarball.byteOffset + tarball.byteLength,
      ) as ArrayBuffer,
    },
    strict: true,
  });
  expect(messages.map((message) => formatMessage(message, pkg, { color: false }))).toEqual([]);
});

test("are-the-types-wrong has nothing to say", async () => {
  const attw = join(root, "node_modules/@arethetypeswrong/cli/dist/index.js");
  const { code, output } = await packed.node(attw, packed.tarball, "--profile", "esm-only", "--no-color");
  expect(code === 0 || output).toBe(true);
});

test("every import is of Node.js, of a dependency, of an optional peer, or of itself", async () => {
  const allowed = new Set([
    ...builtinModules.flatMap((name) => [name, `node:${name}`]),
    ...Object.keys(packed.manifest.dependencies),
    ...Object.keys(packed.manifest.peerDependencies),
  ]);
  const imports: [from: string, name: string][] = [];
  // The dashboard's page is loaded by browsers, beside what the server puts there.
  const isPage = (path: string) => path.startsWith("dist/src/dashboard/page/");
  const built = packed.files
    .map(({ path }) => path)
    .filter((path) => path.startsWith("dist/") && !isPage(path));
  const { metafile } = await build({
    absWorkingDir: packed.folder,
    entryPoints: built.filter((path) => path.endsWith(".js") && !path.includes("/page/")),
    ...{ bundle: true, packages: "external", platform: "node", format: "esm", metafile: true },
    ...{ write: false, outdir: "out", logLevel: "error" },
  });
  for (const [path, input] of Object.entries(metafile.inputs)) {
    for (const { path: name, external } of input.imports) if (external) imports.push([path, name]);
  }
  for (const path of built.filter((path) => path.endsWith(".d.ts"))) {
    const text = (await readFile(join(packed.folder, path), "utf8")).replace(/\/\*.*?\*\//gs, "");
    for (const [, name = ""] of text.matchAll(/\b(?:from |import\()"([^".][^"]*)"/g))
      imports.push([path, name]);
  }
  expect(imports.length).toBeGreaterThan(100);
  const others = imports.filter(([, name]) => {
    const [first = "", second = ""] = name.split("/");
    return !allowed.has(first.startsWith("@") ? `${first}/${second}` : first.replace(/^node:.*/, name));
  });
  expect(others).toEqual([]);
  const optional = Object.entries(packed.manifest.peerDependenciesMeta).filter(
    ([, { optional }]) => optional,
  );
  expect(optional.map(([name]) => name)).toEqual(Object.keys(packed.manifest.peerDependencies));
});

const modules = () => packed.entries.filter((entry) => !entry.endsWith(".json"));

test("each entry is imported where no optional peer is, but the one for React", async () => {
  const program = `
    const failed = {};
    for (const entry of ${JSON.stringify(modules())}) {
      await import(entry).catch((error) => (failed[entry] = error.message));
    }
    console.log(JSON.stringify(failed));`;
  const { output } = await packed.node("--input-type=module", "-e", program);
  expect(JSON.parse(output)).toEqual({ "sluice/react": expect.stringContaining("'react'") });
});

test("a condition by which a project means its own sources does not lead to ours", async () => {
  const program = `console.log(JSON.stringify(${JSON.stringify(modules())}.map((entry) => import.meta.resolve(entry))))`;
  const conditions = ["source", "src", "development", "import", "browser"].map(
    (name) => `--conditions=${name}`,
  );
  const { output } = await packed.node(...conditions, "--input-type=module", "-e", program);
  expect(
    (JSON.parse(output) as string[]).filter((url) => !url.includes("/node_modules/sluice/dist/")),
  ).toEqual([]);
});

test.each(["nodenext", "bundler"])(
  "the types of every entry are found by %s, and are right",
  async (resolution) => {
    for (const name of ["@types/node", "@types/react", "react"]) await packed.add(name).catch(() => {});
    const names = modules().map((entry, i) => `import * as entry${i} from "${entry}";`);
    const uses = modules().map((_entry, i) => `typeof entry${i}`);
    const code = `${names.join("\n")}
import { Consumer, createApplication, route } from "sluice";
import { createServer } from "sluice/server";
export class Chat extends Consumer {
  override receive(event: string): string {
    // @ts-expect-error: the types are there, not any
    this.groupAdd(7);
    return event;
  }
}
createServer(createApplication({ routes: [route("/chat", Chat)] }));
export type All = [${uses.join(", ")}];
`;
    await packed.write("all.ts", code);
    const compilerOptions = {
      ...{ strict: true, noEmit: true, target: "es2022", skipLibCheck: true, types: ["node"] },
      ...{ module: resolution === "nodenext" ? "nodenext" : "esnext", moduleResolution: resolution },
    };
    await packed.write("tsconfig.json", JSON.stringify({ compilerOptions, files: ["all.ts"] }));
    const ended = await packed.node(join(root, "node_modules/typescript/bin/tsc"), "-p", ".");
    expect(ended).toEqual({ code: 0, output: "" });
  },
);
