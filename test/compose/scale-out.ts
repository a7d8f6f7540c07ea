/**
 * The committed docker-compose.yml for real: three nodes behind the balancer, broken in every way while
 * clients talk. Prints what was lost or late and how long anybody was without a connection; exits with 1
 * when a promise is broken. Needs a Docker engine (DOCKER_HOST); all its traffic stays on this machine.
 */
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { Crowd } from "./crowd.ts";
import { Engine } from "./engine.ts";
import { type Account, LATE_MS } from "./ledger.ts";

const MESSAGES_PER_SECOND = 20;
const CLIENTS = 30;
const MOST_CLIENTS = 90;
/** The promise for every node that ends in order. */
const MOST_AWAY_MS = 2_000;
const ALL_MS = 900_000;

interface Chapter {
  readonly name: string;
  readonly account: Account;
  readonly broken: readonly string[];
}

interface Promised {
  /** How long anybody may be without a connection. */
  readonly awayMs: number;
  /** Whether a client that stays connected may lose messages. */
  readonly losses: boolean;
}

const NOBODY_NOTICES: Promised = { awayMs: 0, losses: false };
const CLIENTS_MOVE: Promised = { awayMs: MOST_AWAY_MS, losses: false };

class Story {
  readonly #engine: Engine;
  readonly #crowd: Crowd;
  readonly chapters: Chapter[] = [];

  constructor(engine: Engine, crowd: Crowd) {
    this.#engine = engine;
    this.#crowd = crowd;
  }

  async tell(): Promise<void> {
    const engine = this.#engine;
    await this.#gather();
    await this.#chapter("a message from each node reaches all", NOBODY_NOTICES, async () => {
      this.#crowd.sayFromEachNode();
    });
    this.#crowd.talk(MESSAGES_PER_SECOND);
    await this.#chapter("five quiet seconds", NOBODY_NOTICES, () => sleep(5_000));
    await this.#chapter("one node killed (SIGKILL)", { awayMs: 10_000, losses: false }, async () => {
      await engine.docker("kill", "--signal", "KILL", await this.#busiest());
    });
    await this.#chapter("it is started again", NOBODY_NOTICES, () => this.#scaleTo(3));
    await this.#chapter("one node stopped (SIGTERM)", CLIENTS_MOVE, async () => {
      await engine.docker("stop", await this.#busiest());
    });
    await this.#chapter("it is started again", NOBODY_NOTICES, () => this.#scaleTo(3));
    await this.#chapter("Redis restarted", { awayMs: 0, losses: true }, async () => {
      await engine.compose("restart", "-t", "5", "redis");
    });
    await this.#chapter("five quiet seconds", NOBODY_NOTICES, () => sleep(5_000));
    await this.#chapter("scaled to 5, and more clients", NOBODY_NOTICES, async () => {
      await this.#scaleTo(5);
      await this.#fill();
    });
    await this.#chapter("scaled back to 3", CLIENTS_MOVE, () => this.#scaleTo(3));
    await this.#chapter("a deploy: every node replaced", CLIENTS_MOVE, async () => {
      await engine.script("deploy/compose-rollout");
    });
    await this.#chapter("five quiet seconds", NOBODY_NOTICES, () => sleep(5_000));
  }

  async #gather(): Promise<void> {
    const nodes = await this.#engine.nodes();
    if (nodes.length !== 3) throw new Error(`three nodes were to run, there are ${nodes.length}`);
    this.#crowd.grow(CLIENTS);
    await this.#fill();
    say(`${this.#crowd.size} clients: ${this.#spread()}`);
  }

  /** Clients come in until each node serves some. */
  async #fill(): Promise<void> {
    const nodes = await this.#engine.nodes();
    const isSpread = () => nodes.every((node) => (this.#crowd.byNode.get(node) ?? 0) >= 3);
    for (;;) {
      await until(() => this.#crowd.isComplete, 60_000, "all clients are let in");
      if (isSpread()) return;
      if (this.#crowd.size >= MOST_CLIENTS) throw new Error(`not all nodes get clients: ${this.#spread()}`);
      this.#crowd.grow(6);
    }
  }

  async #chapter(name: string, promised: Promised, happens: () => Promise<unknown>): Promise<void> {
    const crowd = this.#crowd;
    crowd.begin();
    await happens();
    await until(() => crowd.isComplete, 90_000, "all clients are back").catch(() => {});
    // Messages flow on, then the last ones get their time to arrive.
    await sleep(1_000);
    crowd.hush();
    await until(() => crowd.isSettled, 12_000, "all messages have arrived").catch(() => {});
    const account = crowd.account();
    if (this.chapters.length > 0) crowd.talk(MESSAGES_PER_SECOND);
    const broken = brokenPromises(account, promised, crowd.isComplete);
    this.chapters.push({ name, account, broken });
    say(`${name}: ${broken.length === 0 ? "as promised" : broken.join("; ")} (${this.#spread()})`);
    if (broken.length === 0) return;
    for (const failure of crowd.failures) say(`  ${failure}`);
    say(await this.#engine.compose("logs", "--tail", "20", "haproxy"));
  }

  async #scaleTo(count: number): Promise<void> {
    await this.#engine.compose("up", "-d", "--no-recreate", "--scale", `app=${count}`);
    const nodes = await this.#engine.nodes();
    if (nodes.length !== count) throw new Error(`${count} nodes were to run, there are ${nodes.length}`);
  }

  /** The running node with most clients. */
  async #busiest(): Promise<string> {
    const running = await this.#engine.nodes();
    const [first] = [...this.#crowd.byNode]
      .filter(([node]) => running.includes(node))
      .sort((a, b) => b[1] - a[1]);
    if (first === undefined) throw new Error("no running node serves anybody");
    return first[0];
  }

  #spread(): string {
    return [...this.#crowd.byNode].map(([node, count]) => `${count} on ${node}`).join(", ");
  }
}

function brokenPromises(account: Account, promised: Promised, isComplete: boolean): readonly string[] {
  const broken: string[] = [];
  if (!isComplete) broken.push("some clients did not come back");
  if (account.longestGapMs > promised.awayMs) {
    broken.push(
      `somebody was away for ${seconds(account.longestGapMs)}, ${seconds(promised.awayMs)} is promised`,
    );
  }
  if (account.moved > 0 && promised.awayMs === 0) broken.push(`${account.moved} lost their connection`);
  if (account.lost > 0 && !promised.losses) broken.push(`${account.lost} lost though connected`);
  if (account.twice > 0) broken.push(`${account.twice} heard twice`);
  if (account.delivered === 0) broken.push("nothing was delivered");
  return broken;
}

function table(chapters: readonly Chapter[]): string {
  const head = [
    "what happened",
    "sent",
    "unacknowledged",
    "delivered",
    "lost",
    "in flight",
    "while away",
    "twice",
    `late (>${LATE_MS} ms)`,
    "latest",
    "moved",
    "longest away",
  ];
  const rows = chapters.map(({ name, account: a }) => [
    name,
    ...[
      a.sent,
      a.unacknowledged,
      a.delivered,
      a.lost,
      a.lostInFlight,
      a.missedWhileAway,
      a.twice,
      a.late,
    ].map(String),
    seconds(a.latestMs),
    String(a.moved),
    seconds(a.longestGapMs),
  ]);
  const widths = head.map((_, n) => Math.max(...[head, ...rows].map((row) => row[n]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, n) => (n === 0 ? cell.padEnd(widths[n] ?? 0) : cell.padStart(widths[n] ?? 0))).join(" | ")} |`;
  const rule = `| ${widths.map((width, n) => (n === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`)).join(" | ")} |`;
  return [line(head), rule, ...rows.map(line)].join("\n");
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(2)} s`;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

async function until(fact: () => boolean, withinMs: number, what: string): Promise<void> {
  const givenUpAt = performance.now() + withinMs;
  while (!fact()) {
    if (performance.now() > givenUpAt) throw new Error(`waited in vain: ${what}`);
    await sleep(20);
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}

const port = await freePort();
const engine = await Engine.find(`sluice-test-${process.pid}`, { PORT: String(port) });
const crowd = new Crowd(`http://127.0.0.1:${port}`);
const story = new Story(engine, crowd);

async function end(code: number): Promise<never> {
  crowd.leave();
  await engine.compose("down", "-v", "--remove-orphans", "--rmi", "local", "-t", "2").catch(() => {});
  process.exit(code);
}

for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => void end(1));
setTimeout(() => {
  say(`not done within ${seconds(ALL_MS)}`);
  void end(1);
}, ALL_MS).unref();

try {
  say(`building, and starting three nodes on port ${port} with ${engine.name}`);
  await engine.build();
  await engine.compose("up", "-d", "--scale", "app=3");
  await story.tell();
} catch (error) {
  say(String(error instanceof Error ? error.stack : error));
  say(await engine.compose("logs", "--tail", "30").catch(() => ""));
  process.exitCode = 1;
}
say(`\n${table(story.chapters)}`);
const isBroken = story.chapters.some(({ broken }) => broken.length > 0);
await end(isBroken || process.exitCode === 1 ? 1 : 0);
