import { Child } from "./child.ts";
import { machineCapacityUs, machineCpuUs } from "./machine.ts";
import {
  type Latency,
  type LoadVerbs,
  type NodeVerbs,
  type ProcessVerbs,
  type RedisVerbs,
  type RoomOrder,
  SOCKET_IO_CHAT,
} from "./protocol.ts";
import { untilQuiet } from "./quiet.ts";

const TIMEOUT_MS = 60_000;

export interface Contender {
  readonly name: string;
  /** See `Child`. */
  readonly module: string;
  /** How one client enters rooms; see `LoadVerbs.connect`. */
  enter(rooms: readonly number[]): readonly string[];
}

const enterSocketIo = (rooms: readonly number[]) => [`${SOCKET_IO_CHAT},${JSON.stringify({ rooms })}`];

export const CONTENDERS = {
  sluice: {
    name: "Sluice",
    module: "./contenders/sluice-node",
    enter: (rooms) => rooms.map((room) => `/chat/${room},`),
  },
  adapter: {
    name: "createAdapter",
    module: "./contenders/socket-io-adapter",
    enter: enterSocketIo,
  },
  sharded: {
    name: "createShardedAdapter",
    module: "./contenders/socket-io-sharded-adapter",
    enter: enterSocketIo,
  },
} as const satisfies Readonly<Record<string, Contender>>;

/** One publishing on the first node and all its deliveries on both. CPU is in microseconds, per message. */
export interface Crossing {
  readonly publisherUs: number;
  readonly otherUs: number;
  readonly redisUs: number;
  /** Of the load generator: what the measuring itself costs. */
  readonly loadUs: number;
  readonly messagesPerSecond: number;
  readonly bytesPerDelivery: number;
  /** If it was timed: to the clients of the publishing node, and to those of the other. */
  readonly here: Latency | undefined;
  readonly there: Latency | undefined;
  /** Of the machine's CPU time, what none of our processes used: the disturbance. */
  readonly othersShare: number;
}

/** Rooms of each client, on the publishing node and on the other. */
export interface Clients {
  readonly here: readonly (readonly number[])[];
  readonly there: readonly (readonly number[])[];
}

/** What a Redis holds. */
export interface Held {
  readonly bytes: number;
  readonly subscriptions: number;
}

/** A contender: two nodes, the Redis between them and their clients, each in a process and shared with nobody. */
export class Cluster {
  readonly name: string;
  readonly redisVersion: string;
  readonly #clients: Clients;
  readonly #publisher: Child<NodeVerbs>;
  readonly #other: Child<NodeVerbs>;
  readonly #redis: Child<RedisVerbs>;
  readonly #load: Child<LoadVerbs>;
  /** Before any client came. */
  readonly #atFirst: Held;

  private constructor(parts: {
    readonly name: string;
    readonly redisVersion: string;
    readonly clients: Clients;
    readonly children: Children;
    readonly atFirst: Held;
  }) {
    this.name = parts.name;
    this.redisVersion = parts.redisVersion;
    this.#clients = parts.clients;
    this.#publisher = parts.children.publisher;
    this.#other = parts.children.other;
    this.#redis = parts.children.redis;
    this.#load = parts.children.load;
    this.#atFirst = parts.atFirst;
  }

  /** @param flagsOf - Node's, for each of the two nodes, by its name */
  static async start(
    { name, module, enter }: Contender,
    clients: Clients,
    flagsOf: (node: string) => readonly string[],
  ): Promise<Cluster> {
    const node = (role: string) =>
      new Child<NodeVerbs>(`${name}'s ${role}`, module, flagsOf(`${name}-${role}`));
    const children = {
      publisher: node("publisher"),
      other: node("other"),
      redis: new Child<RedisVerbs>(`${name}'s Redis`, "./redis-host"),
      load: new Child<LoadVerbs>(`${name}'s load generator`, "./load-generator"),
    };
    try {
      const { url: redisUrl, version } = await children.redis.call("start");
      const [here, there] = await Promise.all([
        children.publisher.call("start", { redisUrl }),
        children.other.call("start", { redisUrl }),
      ]);
      const processes = Object.values(children);
      await untilQuiet(processes);
      const atFirst = await held(children.redis);
      await children.load.call("connect", { port: here.port, clients: clients.here.map(enter) });
      await children.load.call("connect", { port: there.port, clients: clients.there.map(enter) });
      // Who is let in is perhaps not subscribed yet.
      await untilQuiet(processes);
      return new Cluster({ name, redisVersion: version, clients, children, atFirst });
    } catch (error) {
      await stopAll(Object.values(children));
      throw error;
    }
  }

  get processes(): readonly Process[] {
    return [this.#publisher, this.#other, this.#redis, this.#load];
  }

  /**
   * @param order - timed, all clients must be in one room
   * @param deliveries - of each message
   * @throws Error unless every client gets every message of its rooms exactly once
   */
  async publish(order: RoomOrder & { readonly isTimed: boolean }, deliveries: number): Promise<Crossing> {
    const { here, there } = this.#clients;
    await this.#load.call("count", { messages: order.isTimed ? order.count : 0 });
    const expected = order.count * deliveries;
    const machineBefore = machineCpuUs();
    const startedAt = performance.now();
    const before = await this.#usage();
    const received = this.#load.call("received", { events: expected, timeoutMs: TIMEOUT_MS });
    const [sentAt] = await Promise.all([this.#publisher.call("publish", order), received]);
    const after = await this.#usage();
    const tookMs = performance.now() - startedAt;
    const machineUs = machineCpuUs() - machineBefore;

    // What comes now is too much.
    await untilQuiet(this.processes);
    const { events, fewest, most, bytes } = await this.#load.call("tally");
    const share = expected / (here.length + there.length);
    if (events !== expected || fewest !== share || most !== share) {
      const each = `clients got ${fewest} to ${most} each instead of ${share}`;
      throw new Error(`${this.name}: ${events} deliveries instead of ${expected}; ${each}`);
    }
    const [publisherUs = 0, otherUs = 0, redisUs = 0, loadUs = 0] = after.map(
      (us, i) => (us - (before[i] ?? 0)) / order.count,
    );
    const oursUs = (publisherUs + otherUs + redisUs + loadUs) * order.count;
    const latency = (from: number, to: number) =>
      order.isTimed && to > from ? this.#load.call("latency", { sentAt, from, to }) : undefined;
    return {
      publisherUs,
      otherUs,
      redisUs,
      loadUs,
      messagesPerSecond: order.count / (tookMs / 1000),
      bytesPerDelivery: bytes / events,
      here: await latency(0, here.length),
      there: await latency(here.length, here.length + there.length),
      othersShare: Math.max(0, machineUs - oursUs) / machineCapacityUs(tookMs),
    };
  }

  /** What Redis holds more than before any client came. */
  async held(): Promise<Held> {
    const { bytes, subscriptions } = await held(this.#redis);
    return { bytes: bytes - this.#atFirst.bytes, subscriptions: subscriptions - this.#atFirst.subscriptions };
  }

  async stop(): Promise<void> {
    await stopAll(this.processes);
  }

  #usage(): Promise<readonly number[]> {
    return Promise.all(this.processes.map(async (child) => (await child.call("usage")).cpuUs));
  }
}

/** Whatever else it does, it tells what it has cost. */
interface Process {
  readonly name: string;
  call(verb: "usage"): ReturnType<ProcessVerbs["usage"]>;
  stop(): Promise<void>;
}

interface Children {
  readonly publisher: Child<NodeVerbs>;
  readonly other: Child<NodeVerbs>;
  readonly redis: Child<RedisVerbs>;
  readonly load: Child<LoadVerbs>;
}

async function held(redis: Child<RedisVerbs>): Promise<Held> {
  const { heapBytes } = await redis.call("usage");
  return { bytes: heapBytes, subscriptions: await redis.call("subscriptions") };
}

async function stopAll(processes: readonly Process[]): Promise<void> {
  await Promise.all(processes.map((child) => child.stop()));
}
