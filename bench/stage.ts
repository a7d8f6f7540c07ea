import { disturbance, slowdown } from "./calibration.ts";
import { Child } from "./child.ts";
import { machineCapacityUs, machineCpuUs } from "./machine.ts";
import type { Peer } from "./peers.ts";
import type { Profiles } from "./profile.ts";
import type {
  Latency,
  LoadVerbs,
  ProcessVerbs,
  PublishOrder,
  RedisVerbs,
  ServerVerbs,
  Usage,
} from "./protocol.ts";
import { untilQuiet } from "./quiet.ts";
import type { Question } from "./wires.ts";

const TIMEOUT_MS = 120_000;

/** The rooms of each client, for each node. */
export interface Crowd {
  readonly nodes: readonly (readonly (readonly number[])[])[];
}

export function crowdOf(clients: number, rooms: (client: number) => readonly number[] = () => [0]): Crowd {
  return { nodes: [Array.from({ length: clients }, (_, client) => rooms(client))] };
}

/** What some work has cost. CPU is in microseconds. */
export interface Window {
  /** Of each node, the publishing one first. */
  readonly nodesUs: readonly number[];
  readonly redisUs: number;
  /** Of the load generator: what the measuring itself costs. */
  readonly loadUs: number;
  readonly tookMs: number;
  /** See `disturbance`. */
  readonly disturbed: number;
}

export interface Published extends Window {
  readonly deliveries: number;
  readonly bytesPerDelivery: number;
  /** If it was timed: to the clients of the publishing node, and to those of the other. */
  readonly here?: Latency;
  readonly there?: Latency;
}

export interface StageOptions {
  readonly profiles?: Profiles | undefined;
  /** See `LoadVerbs.nap`; while something is measured. */
  readonly clientsNap?: boolean | undefined;
}

interface Process {
  readonly name: string;
  call(verb: "usage"): ReturnType<ProcessVerbs["usage"]>;
  stop(): Promise<void>;
}

/** A contender with its nodes, its clients and perhaps its Redis, each in a process and shared with nobody. */
export class Stage {
  readonly peer: Peer;
  readonly crowd: Crowd;
  readonly #nodes: readonly Child<ServerVerbs>[];
  readonly #redis: Child<RedisVerbs> | undefined;
  readonly #load: Child<LoadVerbs>;
  readonly #options: StageOptions;
  #ports: readonly number[] = [];

  private constructor(peer: Peer, crowd: Crowd, options: StageOptions) {
    this.#options = options;
    this.peer = peer;
    this.crowd = crowd;
    const program = peer.program();
    this.#nodes = crowd.nodes.map((_, i) => {
      const name = crowd.nodes.length > 1 ? `${peer.name}, node ${i + 1}` : peer.name;
      return new Child<ServerVerbs>(name, program, ["--expose-gc"]);
    });
    const isAcross = crowd.nodes.length > 1;
    const hasRedis = peer.redis === "always" || (peer.redis === "across" && isAcross);
    this.#redis = hasRedis ? new Child<RedisVerbs>(`${peer.name}'s Redis`, "./redis-host") : undefined;
    this.#load = new Child<LoadVerbs>(`${peer.name}'s clients`, "./load-generator");
  }

  /** Everybody is in when it resolves. */
  static async start(peer: Peer, crowd: Crowd, options: StageOptions = {}): Promise<Stage> {
    const stage = new Stage(peer, crowd, options);
    try {
      await stage.#start();
      return stage;
    } catch (error) {
      await stage.stop();
      throw error;
    }
  }

  async #start(): Promise<void> {
    const redisUrl = (await this.#redis?.call("start"))?.url;
    const settings = { redisUrl, variant: this.peer.variant };
    this.#ports = await Promise.all(
      this.#nodes.map(async (node) => (await node.call("start", settings)).port),
    );
    for (const [i, clients] of this.crowd.nodes.entries()) {
      const port = this.#ports[i] ?? 0;
      await this.#load.call("connect", { port, wire: this.peer.wire, clients });
    }
    // Who is let in is perhaps not subscribed yet.
    await untilQuiet(this.processes);
  }

  get processes(): readonly Process[] {
    return [...this.#nodes, ...(this.#redis === undefined ? [] : [this.#redis]), this.#load];
  }

  /** What the work costs, which begins when nobody has anything to do. */
  async measure(work: () => Promise<void>): Promise<Window> {
    await untilQuiet(this.processes);
    const endProfiles = await this.#profile();
    if (this.#options.clientsNap) await this.#load.call("nap", true);
    const slower = slowdown();
    const machineBefore = machineCpuUs();
    const startedAt = performance.now();
    const before = await this.#usage();
    await work();
    const after = await this.#usage();
    const tookMs = performance.now() - startedAt;
    const machineUs = machineCpuUs() - machineBefore;
    if (this.#options.clientsNap) await this.#load.call("nap", false);
    await endProfiles();
    const spent = after.map((us, i) => us - (before[i] ?? 0));
    const nodesUs = spent.slice(0, this.#nodes.length);
    const othersUs = machineUs - spent.reduce((sum, us) => sum + us, 0);
    const capacityUs = machineCapacityUs(tookMs);
    return {
      nodesUs,
      redisUs: this.#redis === undefined ? 0 : (spent.at(-2) ?? 0),
      loadUs: spent.at(-1) ?? 0,
      tookMs,
      disturbed: disturbance({ othersUs, capacityUs, slowdown: Math.max(slower, slowdown()) }),
    };
  }

  /** @throws Error unless each client gets each message of its rooms exactly once */
  async publish(order: PublishOrder & { readonly isTimed?: boolean }): Promise<Published> {
    const { count, rooms, isTimed = false } = order;
    await this.#load.call("count", { messages: count, rooms, isTimed });
    let sentAt: readonly number[] = [];
    const window = await this.measure(async () => {
      const received = this.#load.call("received", { timeoutMs: TIMEOUT_MS });
      [sentAt] = await Promise.all([this.#first.call("publish", order), received]);
    });
    const { events, bytes } = await this.#tally();
    const [here = 0, there = 0] = this.crowd.nodes.map(({ length }) => length);
    const latency = async (from: number, to: number) =>
      isTimed && to > from ? await this.#load.call("latency", { sentAt, from, to }) : undefined;
    const ofHere = await latency(0, here);
    const ofThere = await latency(here, here + there);
    return {
      ...window,
      deliveries: events,
      bytesPerDelivery: bytes / events,
      ...(ofHere === undefined ? {} : { here: ofHere }),
      ...(ofThere === undefined ? {} : { there: ofThere }),
    };
  }

  /** Each of the first clients asks that often; a broadcast goes to room 0, and its deliveries are counted. */
  async ask(
    question: Question,
    clients: number,
    times: number,
  ): Promise<Window & { readonly latency: Latency }> {
    const messages = question === "broadcast" ? clients * times : 0;
    await this.#load.call("count", { messages, rooms: 1 });
    let latency: Latency = { p50: 0, p99: 0, max: 0 };
    const window = await this.measure(async () => {
      const received = this.#load.call("received", { timeoutMs: TIMEOUT_MS });
      [latency] = await Promise.all([this.#load.call("ask", { question, clients, times }), received]);
    });
    await this.#tally();
    return { ...window, latency };
  }

  /** Lets so many more in, and has everybody go afterwards. */
  async accept(clients: number): Promise<Window> {
    const [port = 0] = this.#ports;
    const all = Array.from({ length: clients }, () => [0]);
    const window = await this.measure(async () => {
      await this.#load.call("connect", { port, wire: this.peer.wire, clients: all });
    });
    await this.#prove(1);
    await this.#load.call("leave");
    return window;
  }

  /** All connections break and come back at the same time. */
  async storm(): Promise<Window> {
    const window = await this.measure(async () => {
      await this.#load.call("again");
    });
    await this.#prove(1);
    return window;
  }

  /** What the publishing node holds when nobody has anything to do, after a collection. */
  async held(): Promise<Usage> {
    await untilQuiet(this.processes);
    return this.#first.call("collect");
  }

  /**
   * What so many more clients take of the publishing node. Those who are in already have had it compile its code
   * and fill its pools: that is paid once and not for each.
   */
  async taken(clients: number): Promise<Pick<Usage, "rssBytes" | "heapBytes">> {
    const before = await this.held();
    const [port = 0] = this.#ports;
    const all = Array.from({ length: clients }, () => [0]);
    await this.#load.call("connect", { port, wire: this.peer.wire, clients: all });
    const after = await this.held();
    return {
      rssBytes: after.rssBytes - before.rssBytes,
      heapBytes: after.heapBytes - before.heapBytes,
    };
  }

  async stop(): Promise<void> {
    await Promise.all(this.processes.map((child) => child.stop()));
  }

  /** Samples the nodes, if that is wanted; those that can. */
  async #profile(): Promise<() => Promise<void>> {
    const { profiles } = this.#options;
    if (profiles === undefined) return async () => {};
    const begun = await Promise.allSettled(this.#nodes.map((node) => node.call("beginProfile")));
    const sampled = this.#nodes.filter((_, i) => begun[i]?.status === "fulfilled");
    return async () => {
      for (const node of sampled) {
        profiles.add(node.name, await node.call("endProfile", profiles.fileOf(node.name)));
      }
    };
  }

  get #first(): Child<ServerVerbs> {
    const [first] = this.#nodes;
    if (first === undefined) throw new Error("there are no nodes");
    return first;
  }

  /** That everyone who is in gets what is said. */
  async #prove(messages: number): Promise<void> {
    await untilQuiet(this.processes);
    await this.#load.call("count", { messages, rooms: 1 });
    await this.#first.call("publish", { count: messages, perTurn: 1, everyMs: 0, rooms: 1 });
    await this.#load.call("received", { timeoutMs: TIMEOUT_MS });
    await this.#tally();
  }

  async #tally() {
    // What comes now is too much.
    await untilQuiet(this.processes);
    return this.#load.call("tally");
  }

  #usage(): Promise<readonly number[]> {
    return Promise.all(this.processes.map(async (child) => (await child.call("usage")).cpuUs));
  }
}
