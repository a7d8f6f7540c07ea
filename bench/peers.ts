/** The contenders: ours first, then what it stands on, then the others. */
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import type { Program } from "./child.ts";
import { installPeers, peerFile } from "./peer-packages.ts";
import type { WireName } from "./wires.ts";

export interface Peer {
  readonly name: string;
  /** @throws Error that says why it cannot be started here */
  program(): Program;
  readonly variant?: string;
  readonly wire: WireName;
  /** Whether it has a Redis: never (then it has one node only), where there are two nodes, or always. */
  readonly redis: "never" | "across" | "always";
  /** It is given so many times fewer messages in a round, as each takes it so much longer. */
  readonly slowness: number;
  readonly needsPackages: boolean;
}

const ours = (name: string, variant?: string): Peer => ({
  name,
  program: () => "./contenders/sluice",
  ...(variant === undefined ? {} : { variant }),
  wire: "socket.io",
  redis: "across",
  slowness: 1,
  needsPackages: false,
});

const adapter = (name: string, variant: string, needsPackages = false): Peer => ({
  ...ours(name, variant),
  program: () => "./contenders/socket-io",
  redis: "always",
  needsPackages,
});

const PYTHONS = ["/usr/bin/python3", "python3"];

const django = (server: "daphne" | "uvicorn", layer: "memory" | "redis" | "pubsub"): Peer => ({
  name: `Django Channels, ${server[0]?.toUpperCase()}${server.slice(1)}, ${
    { memory: "in memory", redis: "Redis", pubsub: "Redis pub/sub" }[layer]
  }`,
  program() {
    const modules = ["channels", server, ...(layer === "memory" ? [] : ["channels_redis.core"])];
    if (server === "uvicorn") modules.push("wsproto");
    const args = [fileURLToPath(peerFile("django_server.py")), server, layer];
    return { command: pythonWith(modules), args };
  },
  wire: "plain",
  redis: layer === "memory" ? "never" : "always",
  slowness: 10,
  needsPackages: false,
});

export const PEERS = {
  sluice: ours("Sluice"),
  "sluice-send": ours("Sluice, groupSend", "send"),
  "sluice-history": ours("Sluice, with history", "history"),
  "socket.io": { ...adapter("Socket.IO", "bare"), redis: "never" },
  adapter: adapter("Socket.IO, createAdapter", "classic"),
  sharded: adapter("Socket.IO, createShardedAdapter", "sharded"),
  streams: adapter("Socket.IO, streams adapter", "streams", true),
  nest: {
    ...ours("NestJS gateway"),
    program: () => "./contenders/nest",
    redis: "never",
    needsPackages: true,
  },
  ws: {
    ...ours("plain ws"),
    program: () => "./contenders/ws",
    wire: "plain",
    redis: "never",
    needsPackages: true,
  },
  "daphne-memory": django("daphne", "memory"),
  "daphne-redis": django("daphne", "redis"),
  "daphne-pubsub": django("daphne", "pubsub"),
  "uvicorn-memory": django("uvicorn", "memory"),
  "uvicorn-redis": django("uvicorn", "redis"),
  "uvicorn-pubsub": django("uvicorn", "pubsub"),
} as const satisfies Readonly<Record<string, Peer>>;

export type PeerKey = keyof typeof PEERS;

export const PEER_KEYS = Object.keys(PEERS) as readonly PeerKey[];

export const DJANGOS = PEER_KEYS.filter((key) => /^(daphne|uvicorn)-/.test(key));

export function isOurs(key: PeerKey): boolean {
  return key.startsWith("sluice");
}

export interface Skipped {
  readonly peer: PeerKey;
  readonly name: string;
  readonly reason: string;
}

/** Those that can take part here; what they need is installed first. */
export async function present(
  keys: readonly PeerKey[],
): Promise<{ readonly here: readonly PeerKey[]; readonly skipped: readonly Skipped[] }> {
  const noPackages = keys.some((key) => PEERS[key].needsPackages) ? await installPeers() : undefined;
  const skipped: Skipped[] = [];
  for (const key of keys) {
    const { name, needsPackages } = PEERS[key];
    const reason = needsPackages && noPackages !== undefined ? noPackages : whyNot(PEERS[key]);
    if (reason !== undefined) skipped.push({ peer: key, name, reason });
  }
  const gone = new Set(skipped.map(({ peer }) => peer));
  return { here: keys.filter((key) => !gone.has(key)), skipped };
}

function whyNot(peer: Peer): string | undefined {
  try {
    peer.program();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

const knownPythons = new Map<string, string>();

/** The first Python that has all of them. */
function pythonWith(modules: readonly string[]): string {
  const wanted = modules.join(", ");
  const known = knownPythons.get(wanted);
  if (known !== undefined) return known;
  let reason = "";
  for (const python of PYTHONS) {
    try {
      execFileSync(python, ["-c", `import ${wanted}`], { stdio: "pipe", timeout: 20_000 });
      knownPythons.set(wanted, python);
      return python;
    } catch (error) {
      const said = String((error as { stderr?: Buffer }).stderr ?? error).trim();
      reason ||= `${python}: ${said.split("\n").at(-1)}`;
    }
  }
  throw new Error(reason);
}
