/** Two nodes and a Redis: Sluice against Socket.IO with each of its Redis adapters. */
import { parseArgs } from "node:util";
import { atLeastOne, eachAtLeastOne, eachOneOf } from "./arguments.ts";
import { type Clients, Cluster, CONTENDERS, type Crossing } from "./cluster.ts";
import { compareFigures, comparisonTable, type Entrant, type Figure } from "./comparison-table.ts";
import { checkFileLimit } from "./file-limit.ts";
import { RESULTS, saveResults } from "./results.ts";
import { interleave, type Plan } from "./rounds.ts";
import { spread } from "./statistics.ts";

/** Of the machine: when others use more than this in the middle round, the figures are not worth much. */
const MOST_DISTURBANCE = 0.15;
/** Something hangs when it takes longer. */
const LIMIT_MS = 600_000;
/** So that none is faster than another, which would find more to do at each awakening and seem cheaper. */
const ROOMS_PER_TURN = 10;
const ROOMS_EVERY_MS = 2;
/** As many as Sluice lets one client enter. */
const ROOMS_PER_CLIENT = 50;

const PARTS = ["fan-out", "latency", "rooms"] as const;
const NAMES = Object.keys(CONTENDERS) as (keyof typeof CONTENDERS)[];

interface Options extends Plan {
  readonly contenders: readonly (keyof typeof CONTENDERS)[];
  readonly parts: readonly (typeof PARTS)[number][];
  readonly clients: number;
  readonly messages: number;
  readonly perTurn: readonly number[];
  readonly rate: number;
  readonly timedMessages: number;
  readonly rooms: readonly number[];
  readonly roomMessages: number;
  readonly profile: boolean;
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      contenders: { type: "string", default: NAMES.join() },
      parts: { type: "string", default: PARTS.join() },
      clients: { type: "string", default: "500" },
      messages: { type: "string" },
      "per-turn": { type: "string", default: "1,10" },
      rate: { type: "string", default: "40" },
      rooms: { type: "string" },
      "room-messages": { type: "string" },
      rounds: { type: "string" },
      quick: { type: "boolean", default: false },
      profile: { type: "boolean", default: false },
    },
  });
  const usual = values.quick
    ? { messages: 20, timedMessages: 20, rooms: "10,1000", roomMessages: 2_000, rounds: 3, warmUps: 1 }
    : {
        messages: 50,
        timedMessages: 50,
        rooms: "10,1000,10000",
        roomMessages: 3_000,
        rounds: 13,
        warmUps: 2,
      };
  return {
    contenders: eachOneOf("--contenders", values.contenders, NAMES),
    parts: eachOneOf("--parts", values.parts, PARTS),
    clients: atLeastOne("--clients", values.clients),
    messages: atLeastOne("--messages", values.messages ?? usual.messages),
    perTurn: eachAtLeastOne("--per-turn", values["per-turn"]),
    rate: atLeastOne("--rate", values.rate),
    timedMessages: usual.timedMessages,
    rooms: eachAtLeastOne("--rooms", values.rooms ?? usual.rooms),
    roomMessages: atLeastOne("--room-messages", values["room-messages"] ?? usual.roomMessages),
    rounds: atLeastOne("--rounds", values.rounds ?? usual.rounds),
    warmUps: usual.warmUps,
    profile: values.profile,
  };
}

const nodesUs = ({ publisherUs, otherUs }: Crossing) => publisherUs + otherUs;

const FAN_OUT_FIGURES: readonly Figure<Crossing>[] = [
  { name: "nodes", digits: 0, pick: nodesUs },
  { name: "publisher", digits: 0, pick: ({ publisherUs }) => publisherUs },
  { name: "other", digits: 0, pick: ({ otherUs }) => otherUs },
  { name: "Redis", digits: 1, pick: ({ redisUs }) => redisUs },
];

const LATENCY_FIGURES: readonly Figure<Crossing>[] = [
  { name: "here p50", digits: 2, pick: ({ here }) => here?.p50 ?? Number.NaN },
  { name: "p99", digits: 2, pick: ({ here }) => here?.p99 ?? Number.NaN },
  { name: "there p50", digits: 2, pick: ({ there }) => there?.p50 ?? Number.NaN },
  { name: "p99", digits: 2, pick: ({ there }) => there?.p99 ?? Number.NaN },
  { name: "CPU of nodes", digits: 2, pick: (round) => nodesUs(round) / 1000 },
  { name: "Redis", digits: 3, pick: ({ redisUs }) => redisUs / 1000 },
];

const ROOM_FIGURES: readonly Figure<Crossing>[] = FAN_OUT_FIGURES.map((figure) => ({ ...figure, digits: 1 }));

/** Of one table. */
interface Part {
  readonly title: string;
  readonly unit: string;
  readonly figures: readonly Figure<Crossing>[];
  readonly entrants: readonly Entrant<Crossing>[];
}

/** Starts all contenders with the same clients, measures, and ends them. */
async function withClusters<T>(
  { contenders, profile }: Options,
  what: string,
  clients: Clients,
  measure: (clusters: readonly Cluster[]) => Promise<T>,
): Promise<T> {
  const clusters: Cluster[] = [];
  const flagsOf = (node: string) =>
    profile ? ["--cpu-prof", `--cpu-prof-dir=${RESULTS}`, `--cpu-prof-name=${what}-${node}.cpuprofile`] : [];
  try {
    for (const [i, key] of contenders.entries()) {
      const again = contenders.indexOf(key) < i ? ` (${i + 1})` : "";
      const contender = { ...CONTENDERS[key], name: CONTENDERS[key].name + again };
      clusters.push(await Cluster.start(contender, clients, flagsOf));
    }
    return await measure(clusters);
  } finally {
    await Promise.all(clusters.map((cluster) => cluster.stop()));
  }
}

async function rounds(
  clusters: readonly Cluster[],
  plan: Plan,
  order: Parameters<Cluster["publish"]>[0],
  deliveries: number,
): Promise<readonly Entrant<Crossing>[]> {
  const results = await interleave(clusters, plan, (cluster) => cluster.publish(order, deliveries));
  return [...results].map(([{ name }, crossings]) => ({ name, rounds: crossings }));
}

/** All clients of both nodes in one room. */
function fanOut(options: Options): Promise<readonly Part[]> {
  const { clients, messages, perTurn, rate, timedMessages, parts } = options;
  const all = Array.from({ length: clients }, () => [0]);
  const deliveries = 2 * clients;
  const to = `to ${clients} clients on each of 2 nodes`;
  return withClusters(options, "fan-out", { here: all, there: all }, async (clusters) => {
    const done: Part[] = [];
    for (const perOne of parts.includes("fan-out") ? perTurn : []) {
      const order = { count: messages, perTurn: perOne, everyMs: 0, rooms: 1, isTimed: false };
      const entrants = await rounds(clusters, options, order, deliveries);
      checkSizes(entrants);
      const title = `fan-out ${to}, ${perOne} ${perOne === 1 ? "message" : "messages"} per turn`;
      const figures = [perDelivery(deliveries), ...FAN_OUT_FIGURES];
      done.push(told({ title, unit: "us of CPU per message", figures, entrants }));
    }
    if (parts.includes("latency")) {
      const order = { count: timedMessages, perTurn: 1, everyMs: 1000 / rate, rooms: 1, isTimed: true };
      const plan = { warmUps: 1, rounds: Math.ceil(options.rounds * (2 / 3)) };
      const entrants = await rounds(clusters, plan, order, deliveries);
      const title = `latency ${to}, ${rate} messages per second`;
      done.push(told({ title, unit: "ms", figures: LATENCY_FIGURES, entrants }));
    }
    return done;
  });
}

function perDelivery(deliveries: number): Figure<Crossing> {
  return { name: "nodes per delivery", digits: 2, pick: (round) => nodesUs(round) / deliveries };
}

/** Each room has one member, on the other node. */
function chatRooms(options: Options, count: number): Promise<Part> {
  const clients = roomsOfClients(count);
  const messages = Math.ceil(options.roomMessages / clients.length) * clients.length;
  const perTurn = ROOMS_PER_TURN;
  const order = { count: messages, perTurn, everyMs: ROOMS_EVERY_MS, rooms: count, isTimed: false };
  return withClusters(options, `rooms-${count}`, { here: [], there: clients }, async (clusters) => {
    const entrants = await rounds(clusters, options, order, 1);
    const held = await Promise.all(clusters.map((cluster) => cluster.held()));
    return told({
      title: `publishing to ${count} rooms in turn, ${ROOMS_PER_TURN} each ${ROOMS_EVERY_MS} ms; each has a member on the other node`,
      unit: "us of CPU per message",
      figures: ROOM_FIGURES,
      entrants: entrants.map((entrant, i) => {
        const { bytes, subscriptions } = held[i] ?? { bytes: Number.NaN, subscriptions: Number.NaN };
        return { ...entrant, also: { subscriptions, "bytes per room": bytes / count } };
      }),
    });
  });
}

/** Dealt out, to as few clients as will do, such that messages to the rooms in turn are to the clients in turn. */
function roomsOfClients(count: number): readonly (readonly number[])[] {
  let clients = Math.ceil(count / ROOMS_PER_CLIENT);
  while (count % clients > 0) clients += 1;
  const each = count / clients;
  return Array.from({ length: clients }, (_, client) =>
    Array.from({ length: each }, (_, i) => client + i * clients),
  );
}

function checkSizes(entrants: readonly Entrant<Crossing>[]): void {
  const bytes = new Set(entrants.flatMap((entrant) => entrant.rounds.map((round) => round.bytesPerDelivery)));
  if (bytes.size > 1) throw new Error(`deliveries differ in size: ${[...bytes].join(", ")} bytes`);
}

function told(part: Part): Part {
  const { title, unit, figures, entrants } = part;
  console.log(`\n${title}`);
  console.log(comparisonTable(unit, figures, entrants, compareFigures(figures, entrants)));
  const others = spread(entrants.flatMap((entrant) => entrant.rounds.map((round) => round.othersShare)));
  const percent = (share: number) => `${(share * 100).toFixed(0)}%`;
  console.log(
    `others used ${percent(others.median)} of the machine (at most ${percent(others.max)})` +
      (others.median > MOST_DISTURBANCE ? ": TOO BUSY, measure again when it is quiet" : ""),
  );
  return part;
}

setTimeout(() => {
  console.error(`not done after ${LIMIT_MS / 1000} s`);
  process.exit(1);
}, LIMIT_MS).unref();

const options = readOptions();
checkFileLimit(2 * options.clients);
console.log(
  `${options.rounds} rounds after ${options.warmUps} to warm up; each contender has a Redis of its own`,
);
const parts: Part[] = [];
if (options.parts.some((part) => part !== "rooms")) parts.push(...(await fanOut(options)));
for (const count of options.parts.includes("rooms") ? options.rooms : []) {
  parts.push(await chatRooms(options, count));
}
const results = parts.map((part) => ({ ...part, comparisons: compareFigures(part.figures, part.entrants) }));
console.log(`\nkept in ${saveResults("nodes", { options, parts: results })}`);
