/** Whose code a server's time went to while it was measured, as V8's profiler samples it. */
import { writeFileSync } from "node:fs";
import { Session } from "node:inspector/promises";
import { join } from "node:path";

/** As the Chrome DevTools Protocol names it (Profiler.Profile); times in microseconds. */
export interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string };
  }[];
  readonly samples?: readonly number[] | undefined;
  readonly timeDeltas?: readonly number[] | undefined;
}

export const OWNERS = [
  "kernel and native code",
  "garbage collection",
  "Node's JavaScript",
  "ws, Engine.IO, Socket.IO",
  "Sluice",
  "the rest",
] as const;

export type Owner = (typeof OWNERS)[number];

/** Microseconds. */
export type Spent = Readonly<Record<Owner, number>>;

const SOCKET_PACKAGES = /node_modules\/(ws|engine\.io|engine\.io-parser|socket\.io|socket\.io-[a-z]+)\//;

function ownerOf(functionName: string, url: string): Owner | undefined {
  if (functionName === "(idle)") return undefined;
  if (functionName === "(garbage collector)") return "garbage collection";
  // Calls into native code, and what runs when no JavaScript does.
  if (url === "") return "kernel and native code";
  if (url.startsWith("node:")) return "Node's JavaScript";
  if (SOCKET_PACKAGES.test(url)) return "ws, Engine.IO, Socket.IO";
  return url.includes("/dist/src/") && !url.includes("/node_modules/") ? "Sluice" : "the rest";
}

/** The time in which something ran. */
export function spentBy({ nodes, samples = [], timeDeltas = [] }: CpuProfile): Spent {
  const owners = new Map(
    nodes.map(({ id, callFrame }) => [id, ownerOf(callFrame.functionName, callFrame.url)]),
  );
  const spent = new Map<Owner, number>();
  for (const [i, sample] of samples.entries()) {
    const owner = owners.get(sample);
    if (owner !== undefined) spent.set(owner, (spent.get(owner) ?? 0) + Math.max(0, timeDeltas[i] ?? 0));
  }
  return Object.fromEntries(OWNERS.map((owner) => [owner, spent.get(owner) ?? 0])) as Record<Owner, number>;
}

let session: Session | undefined;

/** Begins to sample this process. */
export async function beginProfile(): Promise<void> {
  if (session === undefined) {
    session = new Session();
    session.connect();
    await session.post("Profiler.enable");
  }
  await session.post("Profiler.start");
}

/** @param file - where the profile goes, for those who want to look at it */
export async function endProfile(file: string): Promise<Spent> {
  if (session === undefined) throw new Error("no profile was begun");
  const { profile } = await session.post("Profiler.stop");
  writeFileSync(file, JSON.stringify(profile));
  return spentBy(profile);
}

/** What is known of all servers. */
export class Profiles {
  readonly #folder: string;
  readonly #spent = new Map<string, Spent[]>();

  /** @param folder - where the last profile of each server goes */
  constructor(folder: string) {
    this.#folder = folder;
  }

  fileOf(server: string): string {
    return join(this.#folder, `${server.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-")}.cpuprofile`);
  }

  add(server: string, spent: Spent): void {
    this.#spent.set(server, [...(this.#spent.get(server) ?? []), spent]);
  }

  /** A row for each server below a head, in hundredths of what it spent in all; and all is forgotten. */
  take(): readonly (readonly string[])[] {
    const rows = [...this.#spent].map(([server, windows]) => {
      const sums = OWNERS.map((owner) => windows.reduce((sum, spent) => sum + spent[owner], 0));
      const all = sums.reduce((sum, us) => sum + us, 0);
      return [server, ...sums.map((us) => `${((100 * us) / all).toFixed(0)} %`)];
    });
    this.#spent.clear();
    return [["whose code the time went to", ...OWNERS], ...rows];
  }
}
