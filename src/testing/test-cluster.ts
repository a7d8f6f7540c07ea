import { randomBytes } from "node:crypto";
import {
  type Application,
  type ApplicationOptions,
  createApplication,
  type Delay,
  ManualClock,
  MemoryHub,
  MemoryLogs,
  MemoryPresenceHub,
} from "../index.ts";
import { Cables, type Switchboard } from "./cables.ts";
import { checkNothingLeft } from "./nothing-left.ts";
import { TestClient, type TestClientOptions } from "./test-client.ts";

/** How a {@link TestCluster} begins. */
export interface TestClusterOptions {
  /** How many to begin with. Default 2. */
  readonly nodes?: number;
  /** What time it is: milliseconds since 1970, or a Date. Default now. */
  readonly now?: number | Date;
  /** How long what goes between nodes and stores takes, each way, by the cluster's clock. Default 0. */
  readonly delayMs?: Delay;
  /** How long a node may be cut off or dead until its users have left. Default 3,000. */
  readonly leaseMs?: number;
}

/** What one channel layer of a node shares with those of the others. */
export type LayerBacking = Required<Pick<ApplicationOptions, "backplane" | "history" | "presence">>;

/** What a node shares with the others; goes into `createApplication`. */
export type ClusterBacking = LayerBacking & {
  readonly clock: ManualClock;
  /** For options that have none of their own. */
  readonly secret: string;
};

/**
 * How each node is made: options, or a function that gets what nodes share, the number of the node, and what
 * goes into further `layers` by their names. Layers in options are given theirs.
 */
export type NodeRecipe =
  | Omit<ApplicationOptions, Exclude<keyof ClusterBacking, "secret">>
  | ((backing: ClusterBacking, number: number, layer: (name: string) => LayerBacking) => Application);

/** One node of a {@link TestCluster}. */
export interface TestNode {
  /** From 1 on. */
  readonly number: number;
  readonly app: Application;
  /** Cannot reach the others. */
  readonly isCutOff: boolean;
  readonly isKilled: boolean;
}

class Node implements TestNode {
  readonly number: number;
  readonly app: Application;
  /** One for each of its layers. */
  readonly cables: readonly Cables[];
  isKilled = false;

  constructor(number: number, app: Application, cables: readonly Cables[]) {
    this.number = number;
    this.app = app;
    this.cables = cables;
  }

  get isCutOff(): boolean {
    return this.cables.some(({ isCut }) => isCut);
  }

  pull(): void {
    for (const cable of this.cables) cable.pull();
  }
}

type Board = Switchboard & { readonly clock: ManualClock };

/** How long hooks and handlers may work, in real time, before the clock goes on without them. */
const PATIENCE_MS = 20;
const QUIET_TURNS = 5;
/** At the end time passes so far, for what waits for it. */
const LAST_MS = 600_000;

/**
 * Several nodes in one process, which share groups, histories and presence; the test kills them, cuts them
 * off, lets time pass between them. Time stands still until `advance`: delays, leases of dead nodes, expiry of
 * histories and grace of those who left go by its clock, and so do tasks that are given it. What belongs to one
 * connection (limits per second, time limits of hooks, a client's own patience) goes by the machine's.
 *
 * @example
 * const cluster = await TestCluster.start({ routes, groups }, { nodes: 2 });
 * const [one, two] = cluster.nodes;
 * const ann = cluster.client(one, "/chat/den");
 * await ann.connect();
 * await cluster.kill(one);
 * expect(await ann.connect(two.app)).toEqual({ accepted: true });
 * await cluster.stop();
 */
export class TestCluster {
  readonly clock: ManualClock;
  readonly #recipe: NodeRecipe;
  /** By the name of the layer. */
  readonly #boards = new Map<string, Board>();
  readonly #leaseMs: number;
  #delayMs: Delay;
  #hasStopped = false;
  readonly #nodes: Node[] = [];
  readonly #secret = randomBytes(32).toString("base64url");

  /** Use {@link TestCluster.start}. @internal */
  constructor(recipe: NodeRecipe, { now = Date.now(), delayMs = 0, leaseMs = 3_000 }: TestClusterOptions) {
    this.#recipe = recipe;
    this.clock = new ManualClock(Number(now));
    this.#delayMs = delayMs;
    this.#leaseMs = leaseMs;
  }

  /** Makes the nodes and starts them. */
  static async start(recipe: NodeRecipe, options: TestClusterOptions = {}): Promise<TestCluster> {
    const cluster = new TestCluster(recipe, options);
    for (let i = 0; i < (options.nodes ?? 2); i += 1) await cluster.add();
    return cluster;
  }

  /** All that were ever made, the killed too. */
  get nodes(): readonly TestNode[] {
    return this.#nodes;
  }

  /** @throws RangeError without such a node */
  node(number: number): TestNode {
    const node = this.#nodes[number - 1];
    if (node === undefined) throw new RangeError(`there are nodes 1 to ${this.#nodes.length}, not ${number}`);
    return node;
  }

  /** Another node joins. */
  async add(): Promise<TestNode> {
    const cables = new Map<string, Cables>();
    const layer = (name: string): LayerBacking => {
      const cable = cables.get(name) ?? new Cables(this.#boardOf(name));
      cables.set(name, cable);
      const { backplane, history, presence } = cable;
      return { backplane, history, presence };
    };
    const backing: ClusterBacking = { ...layer("default"), clock: this.clock, secret: this.#secret };
    const number = this.#nodes.length + 1;
    const recipe = this.#recipe;
    const app =
      typeof recipe === "function"
        ? recipe(backing, number, layer)
        : createApplication({ ...backing, ...recipe, layers: connected(recipe.layers, layer) });
    const node = new Node(number, app, [...cables.values()]);
    this.#nodes.push(node);
    await this.letPass(app.start());
    return node;
  }

  /** A client of that node; `connect(other.app)` brings it to another. */
  client(node: TestNode, namespace: string, options?: TestClientOptions): TestClient {
    return new TestClient(node.app, namespace, options);
  }

  /** How long what goes between nodes and stores takes from now on, each way. */
  delay(delayMs: Delay): void {
    this.#delayMs = delayMs;
    for (const { hub, logs, presences } of this.#boards.values()) {
      hub.delayMs = delayMs;
      logs.delayMs = delayMs;
      presences.delayMs = delayMs;
    }
  }

  /**
   * Ends a node as `kill -9` does: no hook runs there any more, its clients lose their connections, nobody is
   * told. Its users leave when the lease is over. Handlers that run go on to their end, as nothing can stop
   * them within a process, but what they do reaches nobody.
   */
  async kill(node: TestNode): Promise<void> {
    const own = this.#own(node);
    if (own.isKilled) return;
    own.isKilled = true;
    own.pull();
    await own.app.vanish();
  }

  /**
   * Cuts these nodes off from all others and from what they share, as a node that lost its Redis: their own
   * clients stay, what they publish waits (1,000 texts, 10 seconds), what others publish passes them by,
   * groups with history refuse. Their users leave when the lease is over.
   */
  partition(...nodes: readonly TestNode[]): void {
    for (const node of nodes) this.#own(node).pull();
  }

  /** Brings these nodes back, or all that were cut off. Resolves when their users are stated again. */
  async heal(...nodes: readonly TestNode[]): Promise<void> {
    const back = (nodes.length === 0 ? this.#nodes : nodes.map((node) => this.#own(node))).filter(
      ({ isCutOff, isKilled }) => isCutOff && !isKilled,
    );
    const cables = back.flatMap((node) => node.cables);
    for (const cable of cables) cable.plug();
    await this.letPass(Promise.all(cables.map((cable) => cable.speak())));
  }

  /**
   * What these nodes publish from now on is lost on its way, as may happen with pub/sub: they do not know, and
   * what all share they still have. The others are told (the signal `lost`) with the next that arrives.
   */
  mute(...nodes: readonly TestNode[]): void {
    for (const node of nodes) for (const cable of this.#own(node).cables) cable.mute(true);
  }

  /** What these nodes publish, or all, arrives again. */
  unmute(...nodes: readonly TestNode[]): void {
    const heard = nodes.length === 0 ? this.#nodes : nodes.map((node) => this.#own(node));
    for (const { cables } of heard) for (const cable of cables) cable.mute(false);
  }

  /**
   * Lets time pass, from one moment at which something is due to the next. What the nodes do at a moment is
   * waited for, for 20 ms of real time at most where a later moment is waiting.
   */
  async advance(ms: number): Promise<void> {
    if (!(ms >= 0 && Number.isFinite(ms))) throw new RangeError(`time goes on, not back: ${ms} ms`);
    const until = this.clock.now() + ms;
    do await this.#settled(until);
    while (this.clock.step(until));
  }

  /** Waits until no node has anything to do before time passes. */
  settle(): Promise<void> {
    return this.advance(0);
  }

  /**
   * Lets time pass, as much as it takes, until that is done: what needs time between nodes, with a delay say.
   *
   * @example
   * cluster.delay(100);
   * await cluster.letPass(ann.connect());
   */
  async letPass<T>(work: Promise<T>): Promise<T> {
    let isDone = false;
    const done = work.finally(() => {
      isDone = true;
    });
    done.catch(() => {});
    const until = this.clock.now() + LAST_MS;
    while (!this.#hasStopped) {
      for (let turns = 0; turns < QUIET_TURNS && !isDone; turns += 1) await turn();
      if (isDone) break;
      if (this.clock.isDue(until)) this.clock.step(until);
      else await new Promise((resolve) => setTimeout(resolve, 1));
    }
    return done;
  }

  /**
   * Ends all nodes in order, and proves that nothing is left of them.
   *
   * @throws Error that says what is left
   */
  async stop(): Promise<void> {
    await this.heal();
    this.delay(0);
    await this.letPass(Promise.all(this.#nodes.map(({ app }) => app.stop())));
    for (const { app, isKilled } of this.#nodes) if (!isKilled) checkNothingLeft(app);
    this.#hasStopped = true;
    for (const { hub, presences } of this.#boards.values()) {
      if (hub.size > 0) throw new Error(`${hub.size} topics are still open in the cluster`);
      if (presences.size > 0) throw new Error(`${presences.size} groups still have users in the cluster`);
    }
  }

  #boardOf(layer: string): Board {
    const { clock } = this;
    const delayMs = this.#delayMs;
    const board = this.#boards.get(layer) ?? {
      clock,
      hub: new MemoryHub(delayMs, clock),
      logs: new MemoryLogs({ clock }, delayMs),
      presences: new MemoryPresenceHub(delayMs, clock),
      leaseMs: this.#leaseMs,
    };
    this.#boards.set(layer, board);
    return board;
  }

  #own(node: TestNode): Node {
    const own = this.#nodes[node.number - 1];
    if (own !== node) throw new Error(`node ${node.number} is of another cluster`);
    return own;
  }

  async #settled(until: number): Promise<void> {
    const beganAt = performance.now();
    for (let quietTurns = 0; quietTurns < QUIET_TURNS; ) {
      await turn();
      quietTurns = this.#nodes.every(({ app, isKilled }) => isKilled || app.isIdle) ? quietTurns + 1 : 0;
      const isLate = performance.now() - beganAt > PATIENCE_MS;
      if (isLate && (quietTurns === 0 || this.clock.isDue(until))) return;
    }
  }
}

/** Further layers, each with what it shares with those of its name. */
function connected(
  layers: ApplicationOptions["layers"] = {},
  backingOf: (name: string) => LayerBacking,
): NonNullable<ApplicationOptions["layers"]> {
  return Object.fromEntries(
    Object.entries(layers).map(([name, options]) => [name, { ...backingOf(name), ...options }]),
  );
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
