import { Child } from "./child.ts";
import { machineCapacityUs, machineCpuUs } from "./machine.ts";
import { type ContenderVerbs, type LoadVerbs, NAMESPACE, type PublishOrder } from "./protocol.ts";
import { untilQuiet } from "./quiet.ts";

const TIMEOUT_MS = 60_000;

/** One publishing and all its deliveries. */
export interface Delivery {
  /** Of the server, per message and client. */
  readonly cpuUsPerDelivery: number;
  /** Of the load generator: what the measuring itself costs. */
  readonly loadCpuUsPerDelivery: number;
  readonly deliveriesPerSecond: number;
  readonly bytesPerDelivery: number;
  /** Of the machine's CPU time, what neither the server nor its clients used: the disturbance. */
  readonly othersShare: number;
  readonly rssBytes: number;
  readonly heapBytes: number;
}

/** A server under test and the clients it has all to itself, each in a process. */
export class Pair {
  readonly name: string;
  readonly clients: number;
  readonly #server: Child<ContenderVerbs>;
  readonly #load: Child<LoadVerbs>;

  private constructor(name: string, clients: number, server: Child<ContenderVerbs>, load: Child<LoadVerbs>) {
    this.name = name;
    this.clients = clients;
    this.#server = server;
    this.#load = load;
  }

  /** @param flags - Node's, for the server */
  static async start(
    name: string,
    module: string,
    clients: number,
    flags: readonly string[] = [],
  ): Promise<Pair> {
    const server = new Child<ContenderVerbs>(name, module, flags);
    const load = new Child<LoadVerbs>(`${name}'s load generator`, "./load-generator");
    const { port } = await server.call("start");
    await load.call("connect", { port, clients: Array.from({ length: clients }, () => [`${NAMESPACE},`]) });
    return new Pair(name, clients, server, load);
  }

  get processes(): readonly (Child<ContenderVerbs> | Child<LoadVerbs>)[] {
    return [this.#server, this.#load];
  }

  /** @throws Error unless every client gets every message exactly once */
  async publish(order: PublishOrder): Promise<Delivery> {
    await this.#load.call("count");
    const deliveries = order.count * this.clients;
    const loadBefore = await this.#load.call("usage");
    const machineBefore = machineCpuUs();
    const startedAt = performance.now();
    const before = await this.#server.call("usage");
    const received = this.#load.call("received", { events: deliveries, timeoutMs: TIMEOUT_MS });
    await Promise.all([this.#server.call("publish", order), received]);
    const after = await this.#server.call("usage");
    const tookMs = performance.now() - startedAt;
    const machineUs = machineCpuUs() - machineBefore;
    const loadAfter = await this.#load.call("usage");
    const serverUs = after.cpuUs - before.cpuUs;
    const loadUs = loadAfter.cpuUs - loadBefore.cpuUs;

    // What comes now is too much.
    await untilQuiet(this.processes);
    const { events, fewest, most, bytes } = await this.#load.call("tally");
    if (events !== deliveries || fewest !== order.count || most !== order.count) {
      throw new Error(
        `${this.name}: ${events} deliveries instead of ${deliveries}; clients got ${fewest} to ${most} each`,
      );
    }
    return {
      cpuUsPerDelivery: serverUs / deliveries,
      loadCpuUsPerDelivery: loadUs / deliveries,
      deliveriesPerSecond: deliveries / (tookMs / 1000),
      bytesPerDelivery: bytes / deliveries,
      othersShare: Math.max(0, machineUs - serverUs - loadUs) / machineCapacityUs(tookMs),
      rssBytes: after.rssBytes,
      heapBytes: after.heapBytes,
    };
  }

  async stop(): Promise<void> {
    await Promise.all([this.#load.stop(), this.#server.stop()]);
  }
}
