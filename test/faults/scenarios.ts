/** Two scenarios with fixed numbers, beside bare Socket.IO and Socket.IO with connection state recovery. */
import { type ChildProcess, fork } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { RedisServer } from "../redis/redis-server.ts";
import type { ContenderSettings } from "./contender-program.ts";
import type { CrowdOrder, CrowdReport, CrowdSettings } from "./crowd-program.ts";

export interface ScenarioSettings {
  readonly seed: number;
  readonly clients: number;
  readonly durationMs: number;
}

interface Course {
  readonly name: string;
  readonly nodes: number;
  readonly cut?: { readonly everyMs: number; readonly forMs: number };
  readonly kills: boolean;
}

interface Result extends CrowdReport {
  readonly expected: number;
  readonly unacknowledged: number;
}

const CUT_EVERY_MS = 15_000;
const COURSES: Readonly<Record<string, readonly Course[]>> = {
  cuts: [2_000, 1_000].map((forMs) => ({
    name: `every client's TCP connection cut about every ${CUT_EVERY_MS / 1_000} s for ${forMs / 1_000} s; one node, no Redis (Socket.IO: in-memory adapter)`,
    nodes: 1,
    cut: { everyMs: CUT_EVERY_MS, forMs },
    kills: false,
  })),
  "node-killed": [
    {
      name: "one node of two killed (SIGKILL) mid-stream; both on one Redis (Socket.IO: sharded Redis adapter, which has no recovery of its own)",
      nodes: 2,
      kills: true,
    },
  ],
};
export const SCENARIOS: readonly string[] = Object.keys(COURSES);

const CONTENDERS: readonly ContenderSettings["kind"][] = ["sluice", "socket.io", "socket.io with recovery"];
const EVERY_MS = 500;
const MOST_IN_ONE_CROWD = 250;
const GATHERING_MS = 60_000;
const QUIET_MS = 4_000;
const MOST_SETTLING_MS = 30_000;

/** @returns what is broken; only what Sluice promises counts */
export async function play(
  scenario: string,
  settings: ScenarioSettings,
  say: (line: string) => void,
): Promise<readonly string[]> {
  const broken: string[] = [];
  for (const course of COURSES[scenario] ?? []) {
    say(`${course.name}; ${settings.clients} clients, 2 messages a second, ${settings.durationMs / 1_000} s`);
    for (const kind of CONTENDERS) {
      const result = await perform(kind, course, settings);
      const line = `  ${kind.padEnd(24)} ${shown(result)}`;
      say(line);
      const { expected, delivered, twice, outOfOrder } = result;
      if (kind === "sluice" && (delivered < expected || twice > 0 || outOfOrder > 0))
        broken.push(line.trim());
    }
  }
  return broken;
}

function shown({
  expected,
  delivered,
  twice,
  outOfOrder,
  lostConnections,
  gaps,
  unacknowledged,
}: Result): string {
  const percent = ((100 * delivered) / expected).toFixed(3);
  return `${percent} % delivered (${delivered} of ${expected}), ${twice} twice, ${outOfOrder} out of order, ${gaps} gaps told; ${lostConnections} connections lost, ${unacknowledged} messages not acknowledged`;
}

async function perform(
  kind: ContenderSettings["kind"],
  { nodes: count, cut, kills }: Course,
  { clients, durationMs, seed }: ScenarioSettings,
): Promise<Result> {
  const redis = count > 1 ? await RedisServer.start() : undefined;
  const stage = new Stage();
  try {
    const secret = randomBytes(36).toString("base64");
    const contender: ContenderSettings = { kind, secret, ...(redis && { redisPort: redis.port }) };
    const nodes: Node[] = [];
    for (let n = 0; n < count; n++) nodes.push(await stage.node(contender));
    await stage.gather({
      clients,
      seed,
      recovers: kind === "sluice",
      ports: portsOf(nodes),
      ...(cut && { cut }),
    });
    stage.order({ order: "begin" });
    const said = new Set<number>();
    let refused = 0;
    const killAt = kills ? Math.floor(durationMs / EVERY_MS / 3) : -1;
    const begun = performance.now();
    for (let number = 0; number < durationMs / EVERY_MS; number++) {
      await sleep(Math.max(0, begun + number * EVERY_MS - performance.now()));
      const node = nodes[number % nodes.length] as Node;
      // Not waited for: it is killed while it says it.
      void node.say(number).then((isSaid) => {
        if (isSaid) said.add(number);
        else refused += 1;
      });
      if (number !== killAt) continue;
      nodes.splice(nodes.indexOf(node), 1);
      stage.order({ order: "ports", ports: portsOf(nodes) });
      await node.kill();
    }
    stage.order({ order: "calm" });
    const total = () => said.size * clients;
    const report = await stage.settle(total, clients);
    // What was not acknowledged may have been heard all the same.
    const delivered = Math.min(report.delivered, total());
    return { ...report, delivered, expected: total(), unacknowledged: refused };
  } finally {
    stage.close();
    await redis?.close();
  }
}

function portsOf(nodes: readonly Node[]): readonly number[] {
  return nodes.map(({ port }) => port);
}

class Node {
  readonly port: number;
  readonly #child: ChildProcess;
  readonly #asked = new Map<number, (isSaid: boolean) => void>();

  constructor(child: ChildProcess, port: number) {
    this.#child = child;
    this.port = port;
    child.on("message", ({ said, refused }: { said?: number; refused?: number }) =>
      this.#asked.get(said ?? refused ?? -1)?.(said !== undefined),
    );
    child.once("exit", () => {
      for (const answer of this.#asked.values()) answer(false);
    });
  }

  say(number: number): Promise<boolean> {
    return new Promise((resolve) => {
      this.#asked.set(number, resolve);
      this.#child.send({ say: number }, () => {});
    });
  }

  async kill(): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }
}

/** The processes of one performance. */
class Stage {
  readonly #children: ChildProcess[] = [];
  readonly #crowds: ChildProcess[] = [];
  readonly #end = () => this.close();

  constructor() {
    process.once("exit", this.#end);
  }

  async node(settings: ContenderSettings): Promise<Node> {
    const child = this.#fork("./contender-program.js", settings);
    const [{ port }] = (await once(child, "message")) as [{ port: number }];
    return new Node(child, port);
  }

  async gather(settings: CrowdSettings): Promise<void> {
    for (let left = settings.clients; left > 0; left -= MOST_IN_ONE_CROWD) {
      const clients = Math.min(left, MOST_IN_ONE_CROWD);
      const crowd = this.#fork("./crowd-program.js", { ...settings, clients, seed: settings.seed + left });
      await once(crowd, "message");
      this.#crowds.push(crowd);
    }
    const deadline = performance.now() + GATHERING_MS;
    while ((await this.report()).connected < settings.clients) {
      if (performance.now() > deadline) throw new Error("not all clients came in");
      await sleep(200);
    }
    // The rooms of Socket.IO are joined after it has said yes.
    await sleep(1_000);
  }

  order(order: CrowdOrder): void {
    for (const crowd of this.#crowds) crowd.send(order);
  }

  async report(): Promise<CrowdReport> {
    const reports = await Promise.all(
      this.#crowds.map(async (crowd) => {
        crowd.send({ order: "report" });
        const [report] = (await once(crowd, "message")) as [CrowdReport];
        return report;
      }),
    );
    const sum = (pick: (report: CrowdReport) => number) =>
      reports.reduce((total, report) => total + pick(report), 0);
    return {
      connected: sum(({ connected }) => connected),
      delivered: sum(({ delivered }) => delivered),
      twice: sum(({ twice }) => twice),
      outOfOrder: sum(({ outOfOrder }) => outOfOrder),
      lostConnections: sum(({ lostConnections }) => lostConnections),
      gaps: sum(({ gaps }) => gaps),
    };
  }

  /** Waits until everything has arrived, or nothing more does. */
  async settle(total: () => number, clients: number): Promise<CrowdReport> {
    const deadline = performance.now() + MOST_SETTLING_MS;
    let last = await this.report();
    let changedAt = performance.now();
    while (performance.now() < deadline) {
      await sleep(250);
      const next = await this.report();
      if (next.delivered !== last.delivered || next.connected < clients) changedAt = performance.now();
      last = next;
      // A little longer than needed, for what comes twice.
      const isComplete = last.connected === clients && last.delivered >= total();
      if (performance.now() - changedAt > (isComplete ? QUIET_MS / 2 : QUIET_MS)) break;
    }
    return last;
  }

  close(): void {
    process.off("exit", this.#end);
    for (const child of this.#children.splice(0)) child.kill("SIGKILL");
  }

  #fork(program: string, settings: object): ChildProcess {
    const path = fileURLToPath(new URL(program, import.meta.url));
    const child = fork(path, [JSON.stringify(settings)], { execArgv: [] });
    this.#children.push(child);
    return child;
  }
}
