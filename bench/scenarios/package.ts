/** Before the first client comes: installing and starting. */
import { execFile } from "node:child_process";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { disturbance, slowdown } from "../calibration.ts";
import { moduleFile } from "../child.ts";
import { PEERS, type PeerKey } from "../peers.ts";
import { interleave } from "../rounds.ts";
import { DISTURBED, type Entrant, type Figure, type Round, type Scenario } from "./scenario.ts";

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL(".", import.meta.resolve("sluice/package.json")));
const TIMEOUT_MS = 60_000;

/** A program that begins to listen. */
interface Starter {
  readonly key: string;
  readonly name: string;
  /** Whose it is: it takes part if that one does. */
  readonly peer: PeerKey;
  readonly module: string;
}

const own = (peer: PeerKey, module: string): Starter => ({ key: peer, name: PEERS[peer].name, peer, module });

const STARTERS: readonly Starter[] = [
  own("sluice", "./contenders/start-sluice"),
  own("socket.io", "./contenders/start-socket-io"),
  { ...own("socket.io", "./contenders/start-express"), key: "express", name: "Socket.IO with Express" },
  own("nest", "./contenders/start-nest"),
];

async function start({ module }: Starter): Promise<Round> {
  const slower = slowdown();
  const startedAt = performance.now();
  const { stdout } = await run(process.execPath, [...process.execArgv, moduleFile(module)], {
    timeout: TIMEOUT_MS,
  });
  const ms = performance.now() - startedAt;
  const { cpuMs, rssBytes } = JSON.parse(stdout) as { cpuMs: number; rssBytes: number };
  const disturbed = disturbance({ othersUs: 0, capacityUs: 1, slowdown: Math.max(slower, slowdown()) });
  return { cpuMs, ms, mb: rssBytes / 1e6, [DISTURBED]: disturbed };
}

const START_FIGURES: readonly Figure[] = [
  { key: "cpuMs", name: "CPU", digits: 0 },
  { key: "ms", name: "until it has listened and ended", digits: 0 },
  { key: "mb", name: "MB resident", digits: 0 },
];

export const startUp: Scenario = {
  id: "start",
  title: "starting a process that listens",
  entries: () => [],
  async run(run) {
    const plan = run.scale.name === "full" ? { rounds: 15, warmUps: 2 } : run.scale;
    const starters = STARTERS.filter(({ peer }) => run.peers.includes(peer));
    const measured = await interleave(starters, plan, start, (round) => round[DISTURBED] ?? 0);
    const entrants = [...measured].map(([{ key, name }, rounds]) => ({ key, name, rounds }));
    return { id: this.id, title: this.title, unit: "ms", figures: START_FIGURES, chart: "cpuMs", entrants };
  },
};

interface Manifest {
  readonly dependencies?: Readonly<Record<string, string>>;
}

function manifest(folder: string): Manifest {
  return JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
}

/** The folders that Node finds for what a package needs, with what those need, and so on. */
function closure(names: readonly string[], from: string, found = new Set<string>()): Set<string> {
  for (const name of names) {
    let folder = from;
    while (!existsSync(join(folder, "node_modules", name, "package.json"))) {
      const above = join(folder, "..");
      if (above === folder) throw new Error(`${name} is not installed`);
      folder = above;
    }
    const place = join(folder, "node_modules", name);
    if (found.has(place)) continue;
    found.add(place);
    closure(Object.keys(manifest(place).dependencies ?? {}), place, found);
  }
  return found;
}

/** Of all files, without the packages that lie within. */
function bytesOf(folder: string): number {
  let bytes = 0;
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    if (entry.name === "node_modules") continue;
    const path = join(folder, entry.name);
    if (entry.isDirectory()) bytes += bytesOf(path);
    else if (entry.isFile()) bytes += statSync(path).size;
  }
  return bytes;
}

async function size(peer: PeerKey): Promise<Round> {
  if (peer === "sluice") {
    const { stdout } = await run("npm", ["pack", "--dry-run", "--json", "--ignore-scripts"], {
      cwd: ROOT,
      timeout: TIMEOUT_MS,
      maxBuffer: 2 ** 26,
    });
    const [packed] = JSON.parse(stdout) as { readonly size: number; readonly unpackedSize: number }[];
    const own = packed?.unpackedSize ?? Number.NaN;
    return sizes(own, closure(Object.keys(manifest(ROOT).dependencies ?? {}), ROOT));
  }
  const all = closure([peer], ROOT);
  const [own = ""] = all;
  all.delete(own);
  return sizes(bytesOf(own), all);
}

function sizes(own: number, others: ReadonlySet<string>): Round {
  let bytes = own;
  for (const folder of others) bytes += bytesOf(folder);
  return { mb: bytes / 1e6, ownMb: own / 1e6, packages: others.size + 1 };
}

const SIZE_FIGURES: readonly Figure[] = [
  { key: "mb", name: "installed", digits: 1 },
  { key: "ownMb", name: "of it the package itself", digits: 2 },
  { key: "packages", name: "packages", digits: 0 },
];

const SIZED = ["sluice", "socket.io"] as const;

export const installedSize: Scenario = {
  id: "size",
  title: "what is installed",
  entries: () => [],
  async run({ peers }) {
    const entrants: Entrant[] = [];
    for (const key of SIZED.filter((peer) => peers.includes(peer)))
      entrants.push({ key, name: PEERS[key].name, rounds: [await size(key)] });
    return { id: this.id, title: this.title, unit: "MB", figures: SIZE_FIGURES, chart: "mb", entrants };
  },
};
