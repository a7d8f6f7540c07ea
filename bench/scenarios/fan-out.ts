/** From one node to its clients. */
import { DJANGOS, type PeerKey } from "../peers.ts";
import { type Scale, some } from "../scale.ts";
import { crowdOf, type Published, type Stage } from "../stage.ts";
import { DISTURBED, type Figure, paced, type Round, type Scenario, sole, staged } from "./scenario.ts";

const EVERYONE: readonly PeerKey[] = [
  ...(["sluice", "socket.io", "adapter", "sharded", "streams", "nest", "ws"] as const),
  ...DJANGOS,
];

const BOTH = ["sluice", "socket.io"] as const;

const FIGURES: readonly Figure[] = [
  { key: "us", name: "CPU", digits: 2 },
  { key: "redisUs", name: "Redis' CPU", digits: 2 },
  { key: "perSecond", name: "deliveries/s", digits: 0 },
  { key: "loadUs", name: "clients' CPU", digits: 2 },
];

export function deliveryRound(published: Published): Round {
  const { deliveries, nodesUs, redisUs, loadUs, tookMs, bytesPerDelivery, disturbed } = published;
  return {
    us: nodesUs.reduce((sum, us) => sum + us, 0) / deliveries,
    redisUs: redisUs / deliveries,
    perSecond: deliveries / (tookMs / 1_000),
    loadUs: loadUs / deliveries,
    bytes: bytesPerDelivery,
    [DISTURBED]: disturbed,
  };
}

export function crowdEntries(scale: Scale, peer: PeerKey) {
  return sole(peer, `crowd of ${scale.crowd}`, crowdOf(scale.crowd));
}

interface FanOut {
  readonly id: string;
  readonly title: string;
  readonly clients: (scale: Scale) => number;
  /** In a round; for slow contenders, to whom a burst is so many messages one at a time, `slowMessages`. */
  readonly messages: number;
  readonly slowMessages?: number;
  readonly perTurn: number;
  readonly peers: readonly PeerKey[];
  readonly quickPeers?: readonly PeerKey[];
  readonly quickLimitMs?: number;
}

function fanOut({
  id,
  title,
  clients,
  messages,
  slowMessages = messages,
  perTurn,
  peers,
  quickPeers,
  quickLimitMs,
}: FanOut): Scenario {
  return staged({
    id,
    title,
    unit: "us per delivery",
    figures: FIGURES,
    chart: "us",
    peers,
    quickPeers: quickPeers ?? BOTH,
    rounds: ({ name }) => (name === "quick" && quickLimitMs !== undefined ? { limitMs: quickLimitMs } : {}),
    entries: (scale, peer) => sole(peer, `crowd of ${clients(scale)}`, crowdOf(clients(scale))),
    async measure(stage: Stage, scale: Scale) {
      const usual = stage.peer.slowness > 1 ? slowMessages : messages;
      const count = Math.max(perTurn * 2, paced(stage.peer, some(scale, usual)));
      return deliveryRound(await stage.publish({ count, perTurn, everyMs: 0, rooms: 1 }));
    },
  });
}

/** Not more than there are in a tiny run. */
const upTo = (clients: number) => (scale: Scale) => Math.min(clients, scale.crowd);

/** Rooms of ten clients each, as many as there are clients, and each client in ten of them. */
function tenOf(clients: number): (client: number) => readonly number[] {
  const step = Math.max(1, Math.floor(clients / 10));
  return (client) => Array.from({ length: 10 }, (_, k) => (client + k * step) % clients);
}

async function oneByOne(stage: Stage, scale: Scale): Promise<Round> {
  const count = some(scale, 200);
  return deliveryRound(await stage.publish({ count, perTurn: 1, everyMs: 0, rooms: 1 }));
}

export const fanOuts: readonly Scenario[] = [
  staged({
    id: "groups",
    title: "1,000 groups of 10, published to in turn",
    unit: "us per delivery",
    figures: FIGURES,
    chart: "us",
    peers: EVERYONE,
    quickPeers: BOTH,
    entries: ({ crowd }, peer) => sole(peer, `groups of ten of ${crowd}`, crowdOf(crowd, tenOf(crowd))),
    async measure(stage, scale) {
      const count = paced(stage.peer, some(scale, 10_000));
      return deliveryRound(await stage.publish({ count, perTurn: 1, everyMs: 0, rooms: scale.crowd }));
    },
  }),
  fanOut({
    id: "fan-out-10",
    title: "fan-out to 10",
    clients: upTo(10),
    messages: 4_000,
    perTurn: 1,
    peers: EVERYONE,
  }),
  fanOut({
    id: "fan-out-100",
    title: "fan-out to 100",
    clients: upTo(100),
    messages: 1_500,
    perTurn: 1,
    peers: EVERYONE,
  }),
  fanOut({
    id: "fan-out-1000",
    title: "fan-out to 1,000",
    clients: ({ crowd }) => crowd,
    messages: 200,
    perTurn: 1,
    peers: EVERYONE,
    quickPeers: [...BOTH, "nest", "ws", "daphne-memory", "uvicorn-memory", "uvicorn-pubsub"],
    quickLimitMs: 25_000,
  }),
  fanOut({
    id: "burst-10",
    title: "bursts of 10 in one turn of the event loop, to 1,000",
    clients: ({ crowd }) => crowd,
    messages: 1_000,
    slowMessages: 200,
    perTurn: 10,
    peers: EVERYONE,
  }),
  fanOut({
    id: "burst-100",
    title: "bursts of 100 in one turn of the event loop, to 1,000",
    clients: ({ crowd }) => crowd,
    messages: 2_000,
    perTurn: 100,
    peers: ["sluice", "socket.io", "sharded", "nest", "ws"],
  }),
  staged({
    id: "handlers",
    title: "groupSend through a handler of each member, to 1,000",
    unit: "us per delivery",
    figures: FIGURES,
    chart: "us",
    peers: ["sluice-send", "sluice", "socket.io"],
    entries: crowdEntries,
    measure: oneByOne,
  }),
  staged({
    id: "history",
    title: "fan-out to 1,000 with history (in memory) and without",
    unit: "us per delivery",
    figures: FIGURES,
    chart: "us",
    peers: ["sluice-history", "sluice", "socket.io"],
    entries: crowdEntries,
    measure: oneByOne,
  }),
];

export const largeFanOut = fanOut({
  id: "fan-out-5000",
  title: "fan-out to 5,000",
  clients: ({ largeCrowd }) => largeCrowd,
  // Django's layer in memory looks through all channels for each delivery.
  messages: 24,
  perTurn: 1,
  peers: EVERYONE,
});
