import { existsSync, readFileSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";
import { ConfigurationError } from "../errors.ts";
import { appOf, type Project, projectOf } from "./app-file.ts";
import { UsageError, unwritable } from "./complaint.ts";
import { say } from "./output.ts";
import { type Style, writeConsumer, writeTask } from "./templates.ts";
import { isTypeScript } from "./typescript.ts";

export type Kind = "consumer" | "task";

/** Of a class; then of the file, the group and the route. */
const NAME = /^[A-Za-z][A-Za-z0-9]*(?:[-_ ][A-Za-z0-9]+)*$/;
const MAX_NAME = 60;
/** Folders of sources that are built, and so not written by hand. */
const BUILT = /^(dist|build|out|lib)$/;

/**
 * `sluice generate`: a consumer or a task, and its test, in the project that the current folder belongs to.
 * Either both files are written or none, and never over another.
 *
 * @throws UsageError for a name that is none, or files that are there; ConfigurationError outside of a project
 */
export async function generate(kind: Kind, given: string): Promise<number> {
  const words = wordsOf(given, kind);
  const project = projectOf(process.cwd());
  if (project === undefined) {
    throw new ConfigurationError([
      "there is no package.json here or above; go to your project, or begin one: sluice new my-app",
    ]);
  }
  const style = styleOf(project);
  const sources = join(sourcesOf(project), kind === "consumer" ? "consumers" : "tasks");
  const tests = join(project.folder, existsSync(join(project.folder, "tests")) ? "tests" : "test");
  const made = (kind === "consumer" ? writeConsumer : writeTask)(words, style, (from) =>
    importPath(from === "test" ? tests : sourcesOf(project), sources),
  );
  const files = [
    { path: join(sources, `${made.file}.${style.ending}`), text: made.source },
    { path: join(tests, `${made.file}.test.${style.ending}`), text: made.test },
  ];
  const there = files.filter(({ path }) => existsSync(path)).map(({ path }) => relative(process.cwd(), path));
  if (there.length > 0) {
    throw new UsageError(
      `nothing is written: ${there.join(" and ")} ${there.length === 1 ? "is" : "are"} there already`,
    );
  }
  await writeAll(files);
  const names = files.map(({ path }) => `  ${relative(process.cwd(), path)}`);
  await say(["Written:", ...names, "", made.next].join("\n"));
  return 0;
}

/** Of files that cannot all be written none is left. */
async function writeAll(files: readonly { readonly path: string; readonly text: string }[]): Promise<void> {
  const written: string[] = [];
  try {
    for (const { path, text } of files) {
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, text, { flag: "wx" });
      written.push(path);
    }
  } catch (error) {
    await Promise.all(written.map((path) => rm(path, { force: true })));
    throw unwritable(error);
  }
}

/** `ChatRoom`, `chat-room` and `chat_room_consumer` are the same two words. */
function wordsOf(given: string, kind: Kind): readonly string[] {
  const words = given
    .split(/[-_ ]|(?<=[a-z0-9])(?=[A-Z])/)
    .map((word) => word.toLowerCase())
    .filter((word) => word !== "");
  if (words.length > 1 && words.at(-1) === kind) words.pop();
  if (NAME.test(given) && given.length <= MAX_NAME) return words;
  throw new UsageError(
    `the name of a ${kind} is words of letters and digits, up to ${MAX_NAME} characters, as chat-room or ChatRoom`,
  );
}

/** Where sources are: what has such folders already, or else beside the application. */
function sourcesOf(project: Project): string {
  const { folder } = project;
  const app = appOf(project);
  const ofApp = app === undefined ? folder : dirname(resolve(folder, app));
  const parts = relative(folder, ofApp).split(sep);
  const isOwn = parts[0] !== ".." && !parts.some((part) => BUILT.test(part));
  const candidates = [folder, join(folder, "src"), ...(isOwn ? [ofApp] : [])];
  const used = candidates.find((at) => existsSync(join(at, "consumers")) || existsSync(join(at, "tasks")));
  if (used !== undefined) return used;
  if (app !== undefined && isOwn) return ofApp;
  return existsSync(join(folder, "src")) ? join(folder, "src") : folder;
}

function styleOf(project: Project): Style {
  const { folder, manifest } = project;
  const config = readText(join(folder, "tsconfig.json"));
  const app = appOf(project);
  const isTyped = app === undefined ? config !== "" : isTypeScript(app) || (config !== "" && isBuilt(app));
  const packages = Object.keys({ ...objectOf(manifest.dependencies), ...objectOf(manifest.devDependencies) });
  const scripts = JSON.stringify(manifest.scripts ?? {});
  const isRunBy = (name: string) => packages.includes(name) || new RegExp(`\\b${name}\\b`).test(scripts);
  return {
    isTyped,
    ending: isTyped ? "ts" : manifest.type === "module" ? "js" : "mjs",
    importEnding: !isTyped
      ? manifest.type === "module"
        ? "js"
        : "mjs"
      : importsTs(folder, app, config)
        ? "ts"
        : "js",
    hasZod: packages.includes("zod"),
    runner: packages.includes("vitest") ? "vitest" : isRunBy("jest") ? "jest" : "node",
  };
}

/** Whether sources name other sources by the ending that they have, as Node wants it. */
function importsTs(folder: string, app: string | undefined, config: string): boolean {
  if (/"(allowImportingTsExtensions|rewriteRelativeImportExtensions)"\s*:\s*true/.test(config)) return true;
  const source = app === undefined || !isTypeScript(app) ? "" : readText(join(folder, app));
  return /from\s+["']\.{1,2}\/[^"']+\.ts["']/.test(source);
}

function isBuilt(app: string): boolean {
  return app.split(/[\\/]/).some((part) => BUILT.test(part));
}

function readText(file: string): string {
  return existsSync(file) ? readFileSync(file, "utf8") : "";
}

function objectOf(value: unknown): object {
  return typeof value === "object" && value !== null ? value : {};
}

/** From one folder to another, as `import` takes it. */
function importPath(from: string, to: string): string {
  const path = relative(from, to).split(sep).join("/");
  return path.startsWith(".") ? path : `./${path}`;
}
