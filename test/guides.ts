/**
 * The pages of docs/ as a newcomer follows them: their blocks of code, and a project of the newcomer's own that
 * has the package, where blocks are files, programs and modules that the compiler looks at.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { transform } from "esbuild";
import { type InstalledPackage, installPackage, root } from "./installed-package.ts";

const PATIENCE_MS = 30_000;
/** Where names come from that a block takes for granted, the first that has one. */
const ENTRIES = [
  ...["", "/server", "/middleware", "/tasks", "/redis", "/history", "/presence", "/limits", "/publishing"],
  ...["/testing", "/client", "/threads", "/bridges", "/tracing"],
].map((entry) => `sluice${entry}`);

export interface Block {
  /** `js`, `ts`, `sh`, ...; empty for none. */
  readonly language: string;
  readonly code: string;
  /** What its first line, `// name.js`, calls it. */
  readonly file: string | undefined;
}

/** @param page - e.g. `docs/tasks.md` */
export async function blocksOf(page: string): Promise<readonly Block[]> {
  const text = await readFile(join(root, page), "utf8");
  return [...text.matchAll(/^```(\w*)\n(.*?)^```/gms)].map(([, language = "", code = ""]) => {
    const [, file] = /^\/\/ ([\w./-]+\.\w+)\n/.exec(code) ?? [];
    return { language, code, file };
  });
}

/** The first block of that language with that word in it, exactly as it stands there. */
export async function blockOf(page: string, language: string, word = ""): Promise<string> {
  const found = (await blocksOf(page)).find(
    (block) => block.language === language && block.code.includes(word),
  );
  if (found === undefined) throw new Error(`${page} has no ${language} with "${word}"`);
  return found.code;
}

/** What blocks of a page take for granted: by name, the TypeScript that makes it. */
export type Surroundings = Readonly<Record<string, string>>;

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
}

/** A program of the project that has been started. */
export class Program {
  /** All that it wrote, on both streams. */
  output = "";
  readonly #child: ChildProcess;
  readonly #ended: Promise<number | null>;

  constructor(folder: string, args: readonly string[], { env = {} }: RunOptions) {
    const stdio = ["ignore", "pipe", "pipe"] as const;
    this.#child = spawn(process.execPath, args, {
      ...{ cwd: folder, env: { ...process.env, ...env }, stdio: [...stdio] },
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on("data", (chunk) => {
        this.output += chunk;
      });
    }
    this.#ended = once(this.#child, "close").then(([code]) => code as number | null);
  }

  /**
   * Waits until it has written that.
   *
   * @returns what the pattern's first group found, or all that it did
   * @throws Error with what it wrote instead, when it ends or takes too long
   */
  async says(pattern: RegExp): Promise<string> {
    let hasEnded = false;
    void this.#ended.then(() => {
      hasEnded = true;
    });
    const givenUpAt = performance.now() + PATIENCE_MS;
    for (;;) {
      const found = pattern.exec(this.output);
      if (found !== null) return found[1] ?? found[0];
      if (hasEnded || performance.now() > givenUpAt) {
        throw new Error(`the program ${hasEnded ? "ended" : "goes on"} without ${pattern}:\n${this.output}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  /** Its exit code, when it ends by itself. */
  ended(): Promise<number | null> {
    return this.#ended;
  }

  /** Asks it to end, and returns its exit code. */
  end(signal: NodeJS.Signals = "SIGTERM"): Promise<number | null> {
    if (this.#child.exitCode === null) this.#child.kill(signal);
    return this.#ended;
  }
}

/** An empty project of a newcomer, with the built package in its `node_modules`. */
export class Project {
  readonly folder: string;
  /** Where the built package is. */
  readonly dist: string;
  readonly #installed: InstalledPackage;
  readonly #programs: Program[] = [];
  #modules = 0;

  private constructor(installed: InstalledPackage) {
    this.#installed = installed;
    this.folder = installed.folder;
    this.dist = installed.dist;
  }

  /** @param packages - of ours that it has as well, beside `zod` */
  static async make(...packages: readonly string[]): Promise<Project> {
    const project = new Project(await installPackage());
    for (const name of packages) {
      const link = join(project.folder, "node_modules", name);
      await mkdir(dirname(link), { recursive: true });
      await symlink(join(root, "node_modules", name), link, "junction");
    }
    return project;
  }

  /** Ends its programs, and removes it. */
  async close(): Promise<void> {
    await Promise.all(this.#programs.map((program) => program.end("SIGKILL")));
    await this.#installed.remove();
  }

  async write(file: string, text: string): Promise<void> {
    await mkdir(dirname(join(this.folder, file)), { recursive: true });
    await writeFile(join(this.folder, file), text);
  }

  /** Starts Node.js with these arguments. */
  start(args: readonly string[], options: RunOptions = {}): Program {
    const program = new Program(this.folder, args, options);
    this.#programs.push(program);
    return program;
  }

  /**
   * Runs TypeScript to its end.
   *
   * @returns what it wrote
   * @throws Error with that, if it does not end well
   */
  async run(code: string, options: RunOptions = {}): Promise<string> {
    this.#modules += 1;
    const file = `run-${this.#modules}.js`;
    await this.write(file, (await transform(code, { loader: "ts", target: "es2022" })).code);
    const program = this.start([file], options);
    const exitCode = await program.ended();
    if (exitCode !== 0) throw new Error(`the program ended with ${exitCode}:\n${program.output}`);
    return program.output;
  }

  /**
   * What the compiler has to say about modules; empty if nothing.
   *
   * @param modules - by their file names, which end in `.ts` or `.tsx`
   * @param options - `isLoose`: as JavaScript, which need not say what is what
   */
  async complaints(
    modules: ReadonlyMap<string, string>,
    { isLoose = false }: { readonly isLoose?: boolean } = {},
  ): Promise<string> {
    if (modules.size === 0) return "";
    for (const [file, code] of modules) await this.write(file, `${code}\nexport {};`);
    const compilerOptions = {
      ...{ strict: !isLoose, noEmit: true, target: "es2022", module: "nodenext", skipLibCheck: true },
      ...{ types: ["node"], typeRoots: [join(root, "node_modules/@types")], lib: ["es2023", "dom"] },
      ...{ jsx: "react-jsx", allowImportingTsExtensions: true },
    };
    await this.write("tsconfig.json", JSON.stringify({ compilerOptions, files: [...modules.keys()] }));
    const compiler = [join(root, "node_modules/typescript/bin/tsc"), "-p", "."];
    const { stdout } = await promisify(execFile)(process.execPath, compiler, { cwd: this.folder }).catch(
      (error) => error,
    );
    const lines: string[] = stdout.split("\n");
    return lines
      .filter(
        (line) =>
          !isLoose || !/error TS(2571|18046):|does not exist on type '(unknown|object|undefined)'/.test(line),
      )
      .join("\n");
  }
}

let exported: Promise<ReadonlyMap<string, string>> | undefined;

/** Which entry has a name. */
async function exportedNames(): Promise<ReadonlyMap<string, string>> {
  const names = new Map<string, string>();
  for (const entry of ENTRIES) {
    const face = (await import(entry)) as object;
    for (const name of Object.keys(face)) if (!names.has(name)) names.set(name, entry);
  }
  return names;
}

/** A block with all before it that it takes for granted: imports from the package, and what surrounds it. */
export async function complete(code: string, surroundings: Surroundings = {}): Promise<string> {
  exported ??= exportedNames();
  const names = await exported;
  const before: string[] = [];
  const there = declaredIn(code);
  const look = (text: string): void => {
    for (const [name] of text.matchAll(/(?<![\w$.])[A-Za-z_$][\w$]*/g)) {
      if (there.has(name)) continue;
      const given = Object.hasOwn(surroundings, name) ? surroundings[name] : undefined;
      const entry = names.get(name);
      if (given === undefined && entry === undefined) continue;
      there.add(name);
      if (given === undefined) before.unshift(`import { ${name} } from "${entry}";`);
      else {
        for (const declared of declaredIn(given)) there.add(declared);
        look(given);
        before.push(given);
      }
    }
  };
  look(withoutText(code));
  return `${before.join("\n")}\n${code}`;
}

/** Comments and the text in quotes name nothing. */
function withoutText(code: string): string {
  return code.replace(/\/\/.*$/gm, "").replace(/"(?:[^"\\\n]|\\.)*"/g, '""');
}

/** Names that code declares at its top, roughly. */
function declaredIn(code: string): Set<string> {
  const names = new Set<string>();
  for (const [, list = ""] of code.matchAll(/^import (?:type )?(?:\w+, )?\{([^}]*)\}/gm)) {
    for (const name of list.split(",")) names.add(name.replace(/^.*\bas |\btype /, "").trim());
  }
  for (const [, name = ""] of code.matchAll(/^import (?:\* as )?(\w+) from/gm)) names.add(name);
  const declaration =
    /^(?:export |declare |async )*(?:const|let|class|function|interface|type|abstract class) (\w+)/gm;
  for (const [, name = ""] of code.matchAll(declaration)) names.add(name);
  for (const [, list = ""] of code.matchAll(
    /^(?:export |declare )?(?:const|let) [{[]([^}\]]*)[}\]] ?[=:]/gm,
  )) {
    for (const name of list.split(",")) names.add(name.replace(/^.*:/, "").trim());
  }
  return names;
}
