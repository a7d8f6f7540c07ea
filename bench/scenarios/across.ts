/** Two nodes and the Redis between them. */
import { PEERS, type PeerKey } from "../peers.ts";
import { type Scale, some } from "../scale.ts";
import { type Crowd, crowdOf, type Published } from "../stage.ts";
import { deliveryRound } from "./fan-out.ts";
import { DISTURBED, type Figure, paced, type Round, type Scenario, sole, staged } from "./scenario.ts";

const ACROSS = [
  "sluice",
  "adapter",
  "sharded",
  "streams",
  "daphne-redis",
  "daphne-pubsub",
  "uvicorn-redis",
  "uvicorn-pubsub",
] as const;
const QUICK = ["sluice", "sharded"] as const;

/** So that none is faster than another, which would find more to do at each awakening and seem cheaper. */
const ROOMS_PER_TURN = 10;
const ROOMS_EVERY_MS = 2;
const ROOMS_PER_CLIENT = 100;
const TARGETS = 10;

const FIGURES: readonly Figure[] = [
  { key: "us", name: "CPU of both nodes", digits: 2 },
  { key: "publisherUs", name: "publisher", digits: 2 },
  { key: "otherUs", name: "other", digits: 2 },
  { key: "redisUs", name: "Redis", digits: 3 },
];

function crossing(published: Published): Round {
  const [publisher = 0, other = 0] = published.nodesUs;
  const { deliveries } = published;
  return {
    ...deliveryRound(published),
    publisherUs: publisher / deliveries,
    otherUs: other / deliveries,
  };
}

function entries({ crowdPerNode }: Scale, peer: PeerKey) {
  const nodes = [crowdOf(crowdPerNode), crowdOf(crowdPerNode)].flatMap((crowd) => crowd.nodes);
  return sole(peer, `twice ${crowdPerNode}`, { nodes });
}

function crossNode(id: string, title: string, messages: number, perTurn: number): Scenario {
  return staged({
    id,
    title,
    unit: "us per delivery",
    figures: FIGURES,
    chart: "us",
    peers: ACROSS,
    quickPeers: QUICK,
    entries,
    rounds: ({ name }) => (name === "quick" ? { limitMs: 8_000 } : {}),
    async measure(stage, scale) {
      const count = Math.max(2 * perTurn, paced(stage.peer, some(scale, messages)));
      return crossing(await stage.publish({ count, perTurn, everyMs: 0, rooms: 1 }));
    },
  });
}

const latency = staged({
  id: "cross-latency",
  title: "from publishing to arrival, 40 messages per second to 500 clients on each of two nodes",
  unit: "ms",
  figures: [
    { key: "hereP50", name: "same node p50", digits: 2 },
    { key: "hereP99", name: "p99", digits: 2 },
    { key: "thereP50", name: "other node p50", digits: 2 },
    { key: "thereP99", name: "p99", digits: 2 },
  ],
  chart: "thereP50",
  peers: ACROSS,
  quickPeers: QUICK,
  entries,
  async measure(stage, scale) {
    const order = { count: some(scale, 50), perTurn: 1, everyMs: 25 * stage.peer.slowness, rooms: 1 };
    const { here, there, disturbed } = await stage.publish({ ...order, isTimed: true });
    return {
      hereP50: here?.p50 ?? Number.NaN,
      hereP99: here?.p99 ?? Number.NaN,
      thereP50: there?.p50 ?? Number.NaN,
      thereP99: there?.p99 ?? Number.NaN,
      [DISTURBED]: disturbed,
    };
  },
});

/** All rooms have one member, on the other node; the first hundred are those of the first client. */
function rooms(count: number): Crowd {
  const [there = []] = crowdOf(Math.ceil(count / ROOMS_PER_CLIENT), (client) => {
    const first = client * ROOMS_PER_CLIENT;
    return Array.from({ length: Math.min(ROOMS_PER_CLIENT, count - first) }, (_, i) => first + i);
  }).nodes;
  return { nodes: [[], there] };
}

export function roomsKey(peer: PeerKey, count: number): string {
  return `${peer}-${count}`;
}

const openRooms = staged({
  id: "rooms",
  title: "a publish to one of ten rooms with a member on the other node, while so many are open there",
  unit: "us per publish",
  figures: FIGURES,
  chart: "redisUs",
  peers: ["sluice", "adapter", "sharded", "streams"],
  quickPeers: ["sluice"],
  entries: (scale, peer) =>
    scale.rooms.map((count) => ({
      key: roomsKey(peer, count),
      name: `${PEERS[peer].name}, ${count.toLocaleString("en")} rooms`,
      peer,
      crowd: rooms(count),
      crowdKey: `${count} rooms`,
    })),
  rounds: ({ name }) => (name === "quick" ? { limitMs: 12_000, rounds: 7 } : {}),
  async measure(stage, scale) {
    const count = some(scale, scale.name === "quick" ? 15_000 : 3_000);
    const order = { count, perTurn: ROOMS_PER_TURN, everyMs: ROOMS_EVERY_MS, rooms: TARGETS };
    return crossing(await stage.publish(order));
  },
});

export const across: readonly Scenario[] = [
  crossNode("cross-node", "fan-out to 500 on each of two nodes", 150, 1),
  crossNode("cross-burst", "bursts of 10 to 500 on each of two nodes", 600, 10),
  latency,
  openRooms,
];
