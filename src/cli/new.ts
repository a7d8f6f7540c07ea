import { cp, mkdir, readdir, readFile, realpath, rename, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join, relative, resolve, sep } from "node:path";
import { projectOf } from "./app-file.ts";
import { UsageError, unwritable } from "./complaint.ts";
import { say } from "./output.ts";

/** As npm has it, and as a folder can be called everywhere. */
const NAME = /^[a-z0-9](?:[a-z0-9._-]{0,98}[a-z0-9_-])?$/;
const TAKEN = /^(node_modules|favicon\.ico|sluice|(con|prn|aux|nul|(com|lpt)[0-9])(\..*)?)$/;
/** What stands in the template where the project's name belongs. */
const PLACEHOLDER = "project-name";

/**
 * `sluice new`: a project in a folder of that name.
 *
 * @throws UsageError for a name that npm would refuse, or a folder that has something in it
 */
export async function newProject(name: string): Promise<number> {
  if (!NAME.test(name) || TAKEN.test(name)) {
    throw new UsageError(
      TAKEN.test(name)
        ? `a project cannot be called "${name}"; choose another name`
        : "the name of a project is 1 to 100 lower-case letters, digits, -, _ or ., begins with a letter or digit and does not end with a .",
    );
  }
  const given = resolve(name);
  await checkEmpty(given, name);
  const require = createRequire(import.meta.url);
  const packageFile = require.resolve("sluice/package.json");
  const ours = require(packageFile) as OurPackage;
  // Where nothing can be made, as in /proc, Node's `recursive` never ends.
  await mkdir(given).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw unwritable(error);
  });
  // Node copies into no link.
  const folder = await realpath(given).catch((error) => {
    throw unwritable(error);
  });
  await cp(join(dirname(packageFile), "templates", "project"), folder, { recursive: true });
  // npm packs no file of the name that git wants.
  await rename(join(folder, "gitignore"), join(folder, ".gitignore"));
  await writeFile(
    join(folder, "package.json"),
    json(manifest(name, ours, await sourceOf(packageFile, folder))),
  );
  await writeFile(join(folder, "tsconfig.json"), json(TSCONFIG));
  for (const file of ["README.md", "public/index.html"]) {
    const path = join(folder, file);
    await writeFile(path, (await readFile(path, "utf8")).replaceAll(PLACEHOLDER, name));
  }
  await say(`${name} is made. Go on with:

  cd ${name}
  npm install
  npm run dev   # http://127.0.0.1:3000; saving a file restarts it, browsers stay
  npm test`);
  return 0;
}

interface OurPackage {
  readonly version: string;
  readonly devDependencies: Readonly<Record<string, string>>;
}

/**
 * Where a project that has this package has it from, if that is no registry: a new one is to have the same.
 * Undefined otherwise, and where no project says it.
 */
async function sourceOf(packageFile: string, newFolder: string): Promise<string | undefined> {
  const shelf = dirname(dirname(packageFile));
  if (basename(shelf) !== "node_modules") return undefined;
  const folder = dirname(shelf);
  const project = projectOf(folder);
  if (project?.folder !== folder) return undefined;
  const { dependencies, devDependencies } = project.manifest as Partial<
    Record<"dependencies" | "devDependencies", Partial<Record<string, string>>>
  >;
  const source = dependencies?.sluice ?? devDependencies?.sluice;
  if (source === undefined || !/^(file|git[+\w]*|github|https?):/.test(source)) return undefined;
  const [, path] = /^file:(.*)$/.exec(source) ?? [];
  if (path === undefined) return source;
  return `file:${relative(newFolder, resolve(folder, path)).split(sep).join("/")}`;
}

function manifest(name: string, { version, devDependencies }: OurPackage, source = `^${version}`): object {
  const versionOf = (...names: string[]) =>
    Object.fromEntries(names.map((other) => [other, devDependencies[other] ?? "*"]));
  return {
    name,
    version: "0.1.0",
    private: true,
    type: "module",
    // The first whose modules know the folder they are in.
    engines: { node: ">=20.11" },
    sluice: { app: "app.ts" },
    scripts: {
      dev: "sluice dev",
      start: "sluice start",
      test: "node --import tsx --test test/*.test.ts",
      check: "tsc",
    },
    dependencies: { sluice: source, ...versionOf("tsx", "zod") },
    devDependencies: versionOf("@types/node", "typescript"),
  };
}

/** Types that can be erased only, so that Node itself can run it. */
const TSCONFIG = {
  compilerOptions: {
    target: "es2023",
    module: "nodenext",
    types: ["node"],
    strict: true,
    noUncheckedIndexedAccess: true,
    noImplicitOverride: true,
    erasableSyntaxOnly: true,
    verbatimModuleSyntax: true,
    allowImportingTsExtensions: true,
    skipLibCheck: true,
    noEmit: true,
  },
};

async function checkEmpty(folder: string, name: string): Promise<void> {
  let found: readonly string[];
  try {
    found = await readdir(folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return;
    if (code === "ENOTDIR") throw new UsageError(`${name} is a file; choose another name`);
    throw error;
  }
  if (found.length > 0) throw new UsageError(`the folder ${name} has something in it; choose another name`);
}

function json(value: object): string {
  return `${JSON.stringify(value, undefined, 2)}\n`;
}
