/** Many stock clients, each on a way of its own that is cut again and again; led over IPC. */
import { setTimeout as sleep } from "node:timers/promises";
import { io, type Socket } from "socket.io-client";
import { CuttableWay } from "../redis/cut-off.ts";
import { seeded } from "../seeded.ts";
import { PositionCarrier } from "./carrier.ts";

export interface CrowdSettings {
  readonly clients: number;
  readonly seed: number;
  /** Whether they carry positions. */
  readonly recovers: boolean;
  readonly ports: readonly number[];
  /** Each client is cut about so often, for so long; without it nobody is. */
  readonly cut?: { readonly everyMs: number; readonly forMs: number };
}

/** Of all clients together. */
export interface CrowdReport {
  readonly connected: number;
  readonly delivered: number;
  readonly twice: number;
  readonly outOfOrder: number;
  readonly lostConnections: number;
  readonly gaps: number;
}

/** What the one who leads asks for. */
export type CrowdOrder =
  | { readonly order: "begin" | "calm" | "report" }
  | { readonly order: "ports"; readonly ports: readonly number[] };

const GROUP = "chat.crowd";

class Listener {
  readonly #way: CuttableWay;
  readonly #carrier = new PositionCarrier();
  readonly #socket: Socket;
  readonly #seen = new Set<number>();
  #last = -1;
  delivered = 0;
  twice = 0;
  outOfOrder = 0;
  lostConnections = 0;
  gaps = 0;

  private constructor(way: CuttableWay, recovers: boolean) {
    this.#way = way;
    this.#socket = io(`http://127.0.0.1:${way.port}/room`, {
      transports: ["websocket"],
      forceNew: true,
      auth: (give) => give(recovers ? { sluice: this.#carrier.greeting([GROUP]) } : {}),
    });
    this.#socket.on("disconnect", () => {
      this.lostConnections += 1;
    });
    this.#socket.onAny((event: string, ...args: unknown[]) => this.#hear(event, args));
  }

  static async come(port: () => number, recovers: boolean): Promise<Listener> {
    return new Listener(await CuttableWay.to(port), recovers);
  }

  get isConnected(): boolean {
    return this.#socket.connected;
  }

  async cut(forMs: number): Promise<void> {
    this.#way.block();
    await sleep(forMs);
    this.#way.restore();
  }

  #hear(event: string, args: readonly unknown[]): void {
    const { kind } = this.#carrier.hear(event, args);
    if (kind === "gap") this.gaps += 1;
    if (kind !== "event" || event !== "said") return;
    const number = args[0] as number;
    if (this.#seen.has(number)) this.twice += 1;
    else this.delivered += 1;
    if (number < this.#last) this.outOfOrder += 1;
    this.#seen.add(number);
    this.#last = Math.max(this.#last, number);
  }
}

const settings = JSON.parse(process.argv[2] ?? "{}") as CrowdSettings;
const random = seeded(settings.seed);
let { ports } = settings;
let turn = 0;
let isCalm = false;
const nextPort = () => ports[turn++ % ports.length] ?? 0;
const listeners: Listener[] = [];
for (let i = 0; i < settings.clients; i++) listeners.push(await Listener.come(nextPort, settings.recovers));

async function cutAgainAndAgain(listener: Listener, { everyMs, forMs }: { everyMs: number; forMs: number }) {
  await sleep(random() * everyMs);
  while (!isCalm) {
    await listener.cut(forMs);
    await sleep(everyMs * (0.75 + random() / 2) - forMs);
  }
}

function report(): CrowdReport {
  const sum = (pick: (listener: Listener) => number) =>
    listeners.reduce((total, listener) => total + pick(listener), 0);
  return {
    connected: listeners.filter(({ isConnected }) => isConnected).length,
    delivered: sum(({ delivered }) => delivered),
    twice: sum(({ twice }) => twice),
    outOfOrder: sum(({ outOfOrder }) => outOfOrder),
    lostConnections: sum(({ lostConnections }) => lostConnections),
    gaps: sum(({ gaps }) => gaps),
  };
}

process.on("message", (asked: CrowdOrder) => {
  if (asked.order === "begin") {
    const { cut } = settings;
    if (cut !== undefined) for (const listener of listeners) void cutAgainAndAgain(listener, cut);
  } else if (asked.order === "calm") isCalm = true;
  else if (asked.order === "ports") ports = asked.ports;
  else process.send?.(report());
});
process.once("disconnect", () => process.exit());
process.send?.({ ready: true });
