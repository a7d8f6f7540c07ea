import { readFileSync, statSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { ConfigurationError } from "../errors.ts";
import { nearest } from "../names.ts";
import { UsageError } from "./complaint.ts";

/** The module that exports `compose`. */
export interface AppFile {
  readonly path: string;
  /** As people know it: from the folder they are in. */
  readonly name: string;
}

/** A folder with a package.json. */
export interface Project {
  readonly folder: string;
  readonly manifest: Readonly<Record<string, unknown>>;
}

const WHAT_TO_WRITE =
  'write "sluice": { "app": "app.js" } into package.json, or name the file, as in: sluice start app.js';

/**
 * The application that a command is about: the file it was given, or else the one that `sluice.app` names in
 * the package.json of this folder or of one above it.
 *
 * @throws UsageError when neither says it; ConfigurationError when what is said leads nowhere
 */
export function findApp(given: string | undefined, from = process.cwd()): AppFile {
  if (given !== undefined) return checked({ path: resolve(from, given), name: given }, "");
  for (const project of projectsAbove(from)) {
    const app = appOf(project);
    if (app === undefined) continue;
    const path = resolve(project.folder, app);
    return checked({ path, name: relative(from, path) || app }, ` ("sluice.app" of ${fileOf(project)})`);
  }
  throw new UsageError(`which application? ${WHAT_TO_WRITE}; to begin one: sluice new my-app`);
}

/** The project that a folder belongs to. @throws ConfigurationError if its package.json cannot be read */
export function projectOf(folder: string): Project | undefined {
  for (const project of projectsAbove(folder)) return project;
  return undefined;
}

/** What `sluice.app` says. @throws ConfigurationError if it is no path */
export function appOf(project: Project): string | undefined {
  const { sluice } = project.manifest;
  if (sluice === undefined) return undefined;
  const { app, ...others } = (typeof sluice === "object" ? sluice : {}) as Readonly<Record<string, unknown>>;
  if (typeof app === "string" && app !== "") return app;
  const [other] = Object.keys(others).filter((name) => nearest(name, ["app"], 2) !== undefined);
  const meant = other === undefined ? "" : ` (it has "${other}")`;
  throw new ConfigurationError([
    `"sluice" in ${fileOf(project)} names no application${meant}: write "sluice": { "app": "app.js" }`,
  ]);
}

function* projectsAbove(folder: string): Iterable<Project> {
  for (let at = resolve(folder); ; at = dirname(at)) {
    const manifest = readManifest(join(at, "package.json"));
    if (manifest !== undefined) yield { folder: at, manifest };
    if (at === dirname(at)) return;
  }
}

function readManifest(file: string): Project["manifest"] | undefined {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
  try {
    const manifest: unknown = JSON.parse(text);
    return typeof manifest === "object" && manifest !== null ? (manifest as Project["manifest"]) : {};
  } catch (error) {
    throw new ConfigurationError([`${file} is not JSON: ${(error as Error).message}`]);
  }
}

function checked(app: AppFile, by: string): AppFile {
  const found = statSync(app.path, { throwIfNoEntry: false });
  if (found === undefined) {
    throw new ConfigurationError([
      `there is no module ${app.name}${by}; name the file, from the folder you are in`,
    ]);
  }
  if (found.isDirectory())
    throw new ConfigurationError([`${app.name} is a folder${by}; name the file in it`]);
  return app;
}

function fileOf({ folder }: Project): string {
  return join(folder, "package.json");
}
