/** Clients that come, stay, and come back. */
import { some } from "../scale.ts";
import { crowdOf } from "../stage.ts";
import { DISTURBED, paced, type Scenario, sole, staged } from "./scenario.ts";

const SERVERS = [
  "sluice",
  "socket.io",
  "nest",
  "ws",
  "daphne-memory",
  "daphne-redis",
  "uvicorn-memory",
  "uvicorn-redis",
] as const;
const BOTH = ["sluice", "socket.io"] as const;

export const accept: Scenario = staged({
  id: "accept",
  title: "accepting connections, 50 at a time",
  unit: "us per connection",
  figures: [
    { key: "us", name: "CPU", digits: 0 },
    { key: "perSecond", name: "connections/s", digits: 0 },
    { key: "loadUs", name: "clients' CPU", digits: 0 },
  ],
  chart: "us",
  peers: SERVERS,
  quickPeers: BOTH,
  entries: (_scale, peer) => sole(peer, "nobody", crowdOf(0)),
  rounds: ({ name }) => (name === "quick" ? { limitMs: 12_000, warmUps: 2 } : {}),
  async measure(stage, scale) {
    const clients = paced(stage.peer, some(scale, scale.name === "quick" ? 5_000 : 2_000));
    const { nodesUs, loadUs, tookMs, disturbed } = await stage.accept(clients);
    return {
      us: (nodesUs[0] ?? 0) / clients,
      perSecond: clients / (tookMs / 1_000),
      loadUs: loadUs / clients,
      [DISTURBED]: disturbed,
    };
  },
});

export const memory: Scenario = staged({
  id: "memory",
  title: "memory per idle connection, 5,000 after a first 1,000",
  unit: "kB per connection",
  figures: [
    { key: "rss", name: "resident", digits: 2 },
    { key: "heap", name: "heap and buffers", digits: 2 },
  ],
  chart: "rss",
  peers: SERVERS,
  quickPeers: BOTH,
  isFresh: true,
  rounds: ({ name, rounds }) =>
    name === "full"
      ? { rounds: Math.min(rounds, 5), warmUps: 0 }
      : { rounds: Math.min(rounds, 3), warmUps: 0, limitMs: 15_000 },
  entries: ({ crowd }, peer) => sole(peer, `crowd of ${crowd}`, crowdOf(crowd)),
  async measure(stage, { largeCrowd }) {
    const { rssBytes, heapBytes } = await stage.taken(largeCrowd);
    return { rss: rssBytes / 1_000 / largeCrowd, heap: heapBytes / 1_000 / largeCrowd };
  },
});

export const storm: Scenario = staged({
  id: "storm",
  title: "5,000 clients lose their connections and come back at once",
  unit: "us per connection",
  figures: [
    { key: "us", name: "CPU", digits: 0 },
    { key: "ms", name: "ms until all are back", digits: 0 },
  ],
  chart: "us",
  // Django's servers go on sending to connections that are gone: what comes afterwards is not what should.
  peers: ["sluice", "socket.io", "nest", "ws"],
  quickPeers: BOTH,
  rounds: ({ name, rounds }) =>
    name === "full" ? { rounds: Math.min(rounds, 5), warmUps: 1 } : { rounds: 2, warmUps: 0 },
  entries: ({ largeCrowd }, peer) => sole(peer, `crowd of ${largeCrowd}`, crowdOf(largeCrowd)),
  async measure(stage, { largeCrowd }) {
    const { nodesUs, tookMs, disturbed } = await stage.storm();
    return { us: (nodesUs[0] ?? 0) / largeCrowd, ms: tookMs, [DISTURBED]: disturbed };
  },
});
