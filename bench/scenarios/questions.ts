/** What clients ask, and how it is answered. */
import { some } from "../scale.ts";
import { crowdEntries } from "./fan-out.ts";
import { DISTURBED, paced, type Scenario, staged } from "./scenario.ts";

/** Each of so many clients at once; less often than any limit of ours refuses. */
const ASKERS = 500;

export const echo: Scenario = staged({
  id: "echo",
  title: "echo with acknowledgement, 500 clients at once",
  unit: "us per round trip",
  figures: [
    { key: "us", name: "CPU", digits: 1 },
    { key: "checkedUs", name: "with a schema", digits: 1 },
    { key: "perSecond", name: "echoes/s", digits: 0 },
    { key: "loadUs", name: "clients' CPU", digits: 1 },
  ],
  chart: "us",
  peers: ["sluice", "socket.io", "nest", "ws", "daphne-memory", "uvicorn-memory"],
  quickPeers: ["sluice", "socket.io", "ws"],
  entries: crowdEntries,
  rounds: ({ name }) => (name === "quick" ? { limitMs: 12_000 } : {}),
  async measure(stage, scale) {
    const clients = Math.min(ASKERS, scale.crowd);
    const times = Math.max(scale.name === "quick" ? 8 : 2, paced(stage.peer, some(scale, 30)));
    const echoed = await stage.ask("echo", clients, times);
    const checked = await stage.ask("checked", clients, times);
    const trips = clients * times;
    return {
      us: (echoed.nodesUs[0] ?? 0) / trips,
      checkedUs: (checked.nodesUs[0] ?? 0) / trips,
      perSecond: trips / (echoed.tookMs / 1_000),
      loadUs: echoed.loadUs / trips,
      [DISTURBED]: Math.max(echoed.disturbed, checked.disturbed),
    };
  },
});

/** As Hashrocket's websocket-shootout has it: four clients that wait for their answers, among all others. */
const SHOOTERS = 4;

export const shootout: Scenario = staged({
  id: "shootout",
  title: "websocket-shootout: echoes and broadcasts to 1,000, four clients asking",
  unit: "us per delivery, ms",
  figures: [
    { key: "us", name: "CPU", digits: 2 },
    { key: "echoP50", name: "echo p50", digits: 2 },
    { key: "echoP99", name: "echo p99", digits: 2 },
    { key: "broadcastP50", name: "broadcast p50", digits: 1 },
    { key: "broadcastP99", name: "broadcast p99", digits: 1 },
    { key: "perSecond", name: "deliveries/s", digits: 0 },
  ],
  chart: "us",
  peers: ["sluice", "socket.io", "nest", "ws", "daphne-memory", "uvicorn-memory", "uvicorn-pubsub"],
  quickPeers: ["sluice", "socket.io"],
  entries: crowdEntries,
  async measure(stage, scale) {
    const echoed = await stage.ask("echo", SHOOTERS, paced(stage.peer, some(scale, 200)));
    const times = paced(stage.peer, some(scale, 40));
    const broadcast = await stage.ask("broadcast", SHOOTERS, times);
    const deliveries = SHOOTERS * times * scale.crowd;
    return {
      echoP50: echoed.latency.p50,
      echoP99: echoed.latency.p99,
      broadcastP50: broadcast.latency.p50,
      broadcastP99: broadcast.latency.p99,
      perSecond: deliveries / (broadcast.tookMs / 1_000),
      us: (broadcast.nodesUs[0] ?? 0) / deliveries,
      [DISTURBED]: Math.max(echoed.disturbed, broadcast.disturbed),
    };
  },
});
