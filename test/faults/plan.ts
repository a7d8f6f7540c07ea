/** What will be done and broken, and when: all of it drawn from the seed before anything begins. */
import { seeded } from "../seeded.ts";
import { GROUPS } from "./groups.ts";

export type Topology = "single" | "sentinel";

export type Step = { readonly atMs: number } & (
  | {
      readonly kind: "say";
      /** Undefined: a node says it. */
      readonly client?: number;
      readonly node?: number;
      readonly group: string;
      readonly verb: "emit" | "send";
      readonly exceptSelf: boolean;
      readonly count: number;
    }
  | { readonly kind: "join" | "leave"; readonly client: number; readonly group: string }
  | { readonly kind: "cut" | "silence" | "go away"; readonly client: number; readonly forMs: number }
  | { readonly kind: "slow"; readonly client: number; readonly delayMs: number; readonly forMs: number }
  | {
      readonly kind: "kill node" | "freeze node" | "stop node" | "cut node off" | "silence node";
      readonly node: number;
      readonly forMs: number;
    }
  | { readonly kind: "slow node"; readonly node: number; readonly delayMs: number; readonly forMs: number }
  | {
      readonly kind: "kill redis" | "freeze redis" | "empty redis" | "restart redis empty" | "fail over";
      readonly forMs: number;
    }
);

export interface PlanSettings {
  readonly seed: number;
  readonly durationMs: number;
  readonly clients: number;
  readonly nodes: number;
  readonly topology: Topology;
}

const CALM_START_MS = 1_000;
/** Between two of a kind, on average. */
const EVERY_MS = { say: 30, membership: 500, client: 250, node: 3_500, redis: 5_500 };
/** Messages at once. */
const BURSTS = [1, 1, 1, 1, 1, 1, 2, 3, 25];

const CLIENT_FAULTS = ["cut", "cut", "cut", "silence", "slow", "go away"] as const;
const NODE_FAULTS = ["kill node", "kill node", "freeze node", "stop node"] as const;
const LINK_FAULTS = ["cut node off", "silence node", "slow node"] as const;
const REDIS_FAULTS = {
  single: ["kill redis", "freeze redis", "empty redis", "restart redis empty"],
  sentinel: ["fail over", "fail over", "freeze redis", "empty redis"],
} as const;

export function planOf(settings: PlanSettings): readonly Step[] {
  const { durationMs } = settings;
  const draw = new Draw(settings.seed);
  const until = durationMs - 500;
  const steps: Step[] = [];
  const each = (everyMs: number, step: (atMs: number) => Step | undefined) => {
    for (let at = CALM_START_MS + draw.upTo(everyMs); at < until; at += draw.around(everyMs)) {
      const made = step(at);
      if (made !== undefined) steps.push(made);
    }
  };
  each(EVERY_MS.say, (atMs) => say(atMs, settings, draw));
  each(EVERY_MS.membership, (atMs) => ({
    atMs,
    kind: draw.chance(0.55) ? "join" : "leave",
    client: draw.below(settings.clients),
    group: draw.of(GROUPS),
  }));
  const busy = new Busy();
  each(EVERY_MS.client, (atMs) => clientFault(atMs, settings, draw, busy));
  each(EVERY_MS.node, (atMs) => nodeFault(atMs, settings, draw, busy));
  each(EVERY_MS.redis, (atMs) => redisFault(atMs, settings, draw, busy));
  return steps.sort((a, b) => a.atMs - b.atMs);
}

function say(atMs: number, { clients, nodes }: PlanSettings, draw: Draw): Step {
  const who = draw.chance(0.5) ? { client: draw.below(clients) } : { node: draw.below(nodes) };
  return {
    atMs,
    kind: "say",
    ...who,
    group: draw.of(GROUPS),
    verb: draw.chance(0.7) ? "emit" : "send",
    exceptSelf: draw.chance(0.1),
    count: draw.of(BURSTS),
  };
}

function clientFault(atMs: number, { clients }: PlanSettings, draw: Draw, busy: Busy): Step | undefined {
  const client = draw.below(clients);
  const kind = draw.of(CLIENT_FAULTS);
  const forMs = draw.between(50, 4_000);
  const delayMs = draw.between(5, 150);
  if (!busy.take(`client ${client}`, atMs, forMs)) return undefined;
  return kind === "slow" ? { atMs, kind, client, delayMs, forMs } : { atMs, kind, client, forMs };
}

function nodeFault(
  atMs: number,
  { nodes, topology }: PlanSettings,
  draw: Draw,
  busy: Busy,
): Step | undefined {
  const node = draw.below(nodes);
  const isLink = topology === "single" && draw.chance(0.45);
  const kind = isLink ? draw.of(LINK_FAULTS) : draw.of(NODE_FAULTS);
  const forMs = draw.between(300, 5_000);
  const delayMs = draw.between(5, 200);
  if (!busy.take(`node ${node}`, atMs, forMs)) return undefined;
  return kind === "slow node" ? { atMs, kind, node, delayMs, forMs } : { atMs, kind, node, forMs };
}

function redisFault(atMs: number, { topology }: PlanSettings, draw: Draw, busy: Busy): Step | undefined {
  const kind = draw.of(REDIS_FAULTS[topology]);
  const forMs = draw.between(100, 4_000);
  // A sentinel needs its time to bring the old master back as a replica.
  const takesMs = kind === "fail over" ? 12_000 : forMs;
  return busy.take("redis", atMs, takesMs) ? { atMs, kind, forMs } : undefined;
}

/** One fault at a time for each. */
class Busy {
  readonly #until = new Map<string, number>();

  take(who: string, atMs: number, forMs: number): boolean {
    if ((this.#until.get(who) ?? 0) > atMs) return false;
    this.#until.set(who, atMs + forMs + 200);
    return true;
  }
}

class Draw {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = seeded(seed);
  }

  upTo(most: number): number {
    return this.#next() * most;
  }

  between(least: number, most: number): number {
    return Math.round(least + this.#next() * (most - least));
  }

  /** From half of it to half as much again. */
  around(middle: number): number {
    return middle * (0.5 + this.#next());
  }

  below(count: number): number {
    return Math.floor(this.#next() * count);
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }

  chance(probability: number): boolean {
    return this.#next() < probability;
  }
}
