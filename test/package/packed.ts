/** The package as `npm pack` makes it of a clone, and as a project of a stranger has it. */
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { promisify } from "node:util";
import { root } from "../installed-package.ts";

const run = promisify(execFile);
/** What a clone does not have, or what belongs to who works on it. */
const NOT_CLONED = /(^|\/)(node_modules|dist|\.git|results)$/;

export interface Manifest {
  readonly exports: Readonly<Record<string, string | Readonly<Record<string, string>>>>;
  readonly dependencies: Readonly<Record<string, string>>;
  readonly peerDependencies: Readonly<Record<string, string>>;
  readonly peerDependenciesMeta: Readonly<Record<string, { readonly optional?: boolean }>>;
}

export interface PackedFile {
  readonly path: string;
  readonly size: number;
  readonly mode: number;
}

export interface Ended {
  readonly code: number;
  /** Both streams. */
  readonly output: string;
}

/** The tarball, and a project that has it and what it depends on, and nothing else. */
export class Packed {
  readonly tarball: string;
  readonly files: readonly PackedFile[];
  readonly manifest: Manifest;
  /** An empty project. */
  readonly project: string;
  /** Where the package lies there. */
  readonly folder: string;
  readonly #all: string;

  private constructor(all: string, files: readonly PackedFile[], tarball: string, manifest: Manifest) {
    this.#all = all;
    this.files = files;
    this.tarball = tarball;
    this.manifest = manifest;
    this.project = join(all, "project");
    this.folder = join(this.project, "node_modules", "sluice");
  }

  static async make(): Promise<Packed> {
    const all = await mkdtemp(join(tmpdir(), "sluice-packed-"));
    const clone = join(all, "clone");
    await cp(root, clone, { recursive: true, filter: (file) => !NOT_CLONED.test(relative(root, file)) });
    await symlink(join(root, "node_modules"), join(clone, "node_modules"), "junction");
    // The build that belongs to it runs, as when it is published.
    const { stdout } = await run("npm", ["pack", "--json", "--pack-destination", all], {
      ...{ cwd: clone, maxBuffer: 16_000_000 },
    });
    const [{ filename, files }] = JSON.parse(stdout.slice(stdout.indexOf("[\n"))) as [
      { readonly filename: string; readonly files: readonly PackedFile[] },
    ];
    const manifest = JSON.parse(await readFile(join(clone, "package.json"), "utf8")) as Manifest;
    const packed = new Packed(all, files, join(all, filename), manifest);
    await packed.#install();
    return packed;
  }

  /** The names by which it is imported. */
  get entries(): readonly string[] {
    return Object.keys(this.manifest.exports).map((entry) => entry.replace(/^\./, "sluice"));
  }

  /** Puts a package of ours beside it. */
  async add(name: string): Promise<void> {
    const place = join(this.project, "node_modules", name);
    await mkdir(dirname(place), { recursive: true });
    await symlink(join(root, "node_modules", name), place, "junction");
  }

  async write(file: string, text: string): Promise<void> {
    await writeFile(join(this.project, file), text);
  }

  /** Runs Node.js in the project, to its end. */
  async node(...args: readonly string[]): Promise<Ended> {
    try {
      const { stdout, stderr } = await run(process.execPath, args, {
        cwd: this.project,
        maxBuffer: 16_000_000,
      });
      return { code: 0, output: stdout + stderr };
    } catch (error) {
      const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
      return { code, output: stdout + stderr };
    }
  }

  remove(): Promise<void> {
    return rm(this.#all, { recursive: true, force: true });
  }

  async #install(): Promise<void> {
    await mkdir(this.folder, { recursive: true });
    await run("tar", ["-xzf", this.tarball, "--strip-components=1", "-C", this.folder]);
    await this.write("package.json", JSON.stringify({ type: "module", private: true }));
    for (const name of Object.keys(this.manifest.dependencies)) await this.add(name);
  }
}
