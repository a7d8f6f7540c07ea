import { type FSWatcher, lstatSync, readdirSync, statSync, watch } from "node:fs";
import { basename, dirname, extname, join } from "node:path";
import { ConfigurationError } from "../errors.ts";

export interface WatchOptions {
  /** In these folders changes of code count. */
  readonly folders: readonly string[];
  /** In these folders, or of these files, every change counts. */
  readonly everything: readonly string[];
  /** Called with what has changed, when nothing has for a moment. */
  changed(paths: readonly string[]): void;
}

const CODE = new Set([".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx"]);
const NEVER = new Set(["node_modules", "coverage"]);
/** Editors write in steps, and tools several files. */
const QUIET_MS = 80;
const MAX_FOLDERS = 5_000;

/**
 * Hears of changed files. Each folder has a watcher of its own, so that `node_modules` costs nothing and files
 * that editors replace are still seen; folders that come later are found.
 */
export class Watch {
  readonly #options: WatchOptions;
  readonly #watchers = new Map<string, FSWatcher>();
  /** Folders where every change counts, whoever else watches them. */
  readonly #whole = new Set<string>();
  /** Files that were named one by one. */
  readonly #named = new Set<string>();
  readonly #changed = new Set<string>();
  #timer: NodeJS.Timeout | undefined;

  /** @throws ConfigurationError for what is not there, or is too much */
  constructor(options: WatchOptions) {
    this.#options = options;
    try {
      for (const folder of options.folders) this.#add(folder, false);
      for (const path of options.everything) this.#addNamed(path);
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** How many folders are watched. */
  get size(): number {
    return this.#watchers.size;
  }

  close(): void {
    clearTimeout(this.#timer);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  #addNamed(path: string): void {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found === undefined) throw new ConfigurationError([`there is no ${path} to watch`]);
    if (found.isDirectory()) return this.#add(path, true);
    this.#named.add(path);
    this.#watch(dirname(path), false);
  }

  #add(folder: string, isAll: boolean): void {
    this.#watch(folder, isAll);
    for (const entry of entriesOf(folder)) {
      if (entry.isDirectory() && isOurs(entry.name)) this.#add(join(folder, entry.name), isAll);
    }
  }

  #watch(folder: string, isAll: boolean): void {
    if (isAll) this.#whole.add(folder);
    if (this.#watchers.has(folder)) return;
    if (this.#watchers.size >= MAX_FOLDERS) {
      throw new ConfigurationError([
        `there are more than ${MAX_FOLDERS} folders to watch; put the application into a folder of its own`,
      ]);
    }
    try {
      const watcher = watch(folder, (_event, name) => this.#hear(folder, name));
      watcher.on("error", () => this.#forget(folder));
      this.#watchers.set(folder, watcher);
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code === "ENOENT") return;
      const remedy =
        code === "ENOSPC" ? "; allow more watches: sysctl fs.inotify.max_user_watches=524288" : "";
      throw new ConfigurationError([`${folder} cannot be watched: ${message}${remedy}`]);
    }
  }

  #hear(folder: string, name: string | null): void {
    if (name === null || !isOurs(name)) return;
    const path = join(folder, name);
    const isAll = this.#whole.has(folder);
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found?.isDirectory()) return this.#found(path, isAll);
    if (found === undefined) this.#forget(path);
    if (isAll || CODE.has(extname(name)) || this.#named.has(path)) this.#note(path);
  }

  /** A folder that was made, moved here or only touched; what is in it may be older than our watching it. */
  #found(folder: string, isAll: boolean): void {
    if (this.#watchers.has(folder)) return;
    try {
      this.#watch(folder, isAll);
    } catch {
      // What cannot be watched was said of the first ones, if it was so then.
      return;
    }
    for (const entry of entriesOf(folder)) this.#hear(folder, entry.name);
  }

  #note(path: string): void {
    this.#changed.add(path);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const paths = [...this.#changed];
      this.#changed.clear();
      this.#options.changed(paths);
    }, QUIET_MS);
  }

  #forget(folder: string): void {
    this.#watchers.get(folder)?.close();
    this.#watchers.delete(folder);
    this.#whole.delete(folder);
  }
}

function entriesOf(folder: string) {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    // It has gone meanwhile.
    return [];
  }
}

/** Not tools' own, nor packages. */
function isOurs(name: string): boolean {
  return !NEVER.has(name) && !basename(name).startsWith(".");
}
