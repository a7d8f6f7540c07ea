/** A long run of tasks through a web node and a worker, with watchers that come and go: what stays in memory? */
import { parseArgs } from "node:util";
import { io, type Socket } from "socket.io-client";
import { watchTask } from "../src/client/index.ts";
import { atLeastOne } from "./arguments.ts";
import { Child } from "./child.ts";
import type { Kept, RedisVerbs, SoakVerbs } from "./protocol.ts";
import { saveResults } from "./results.ts";
import { table } from "./table.ts";

const AT_ONCE = 100;
const SOCKETS = 20;
const MIB = 1_048_576;
/** From the second look to the last: what a heap may grow by chance. */
const MOST_GROWTH_BYTES = 2 * MIB;
/** Of each queue, some come and go: the sign that there is something, say. */
const MOST_NEW_KEYS = 5;
const LIMIT_MS = 590_000;

const { values } = parseArgs({
  options: { runs: { type: "string", default: "100000" }, looks: { type: "string", default: "10" } },
});
const runs = atLeastOne("--runs", values.runs);
const looks = atLeastOne("--looks", values.looks);

interface Look {
  readonly runs: number;
  readonly web: Kept;
  readonly worker: Kept;
  readonly redisBytes: number;
  readonly redisKeys: number;
  readonly subscriptions: number;
}

setTimeout(() => {
  console.error(`not done after ${LIMIT_MS / 1000} s`);
  process.exit(1);
}, LIMIT_MS).unref();

const redis = new Child<RedisVerbs>("Redis", "./redis-host");
const web = new Child<SoakVerbs>("web node", "./soak-process", ["--expose-gc"]);
const worker = new Child<SoakVerbs>("worker", "./soak-process", ["--expose-gc"]);
const ends = new Map<string, number>();
let url = "";

/** The states in which runs may end, by what stands in their results. */
function note(state: string, isRight: boolean): void {
  const what = isRight ? state : `${state}, but WRONG`;
  ends.set(what, (ends.get(what) ?? 0) + 1);
}

function connect(): Socket {
  return io(`${url}/tasks`, { transports: ["websocket"], forceNew: true });
}

/** Some watch to the end, some go away, some only read, and some are gone with their connection. */
async function watch(ticket: string, socket: Socket, i: number): Promise<void> {
  if (i % 10 === 0) return;
  if (i % 50 === 1) {
    const headers = { authorization: `Bearer ${ticket}` };
    const [id] = JSON.parse(atob(ticket.split(".")[2] ?? "")) as readonly [string];
    await (await fetch(`${url}/tasks/${id}`, { headers })).json();
    const stream = await fetch(`${url}/tasks/${id}/events`, { headers });
    return note("stream", (await stream.text()).includes("attempt"));
  }
  const task = watchTask(socket, ticket);
  if (i % 10 === 2) {
    await new Promise<void>((resolve) => {
      task.on("progress", () => resolve());
      void task.ended.then(() => resolve());
    });
    return task.stop();
  }
  const { state, progress, task: name } = await task.ended;
  note(state, name !== "stepwise" || state !== "succeeded" || progress?.done === 3);
}

async function batch(from: number, sockets: Socket[]): Promise<void> {
  const tickets = await web.call("enqueue", { from, count: AT_ONCE });
  const watching = tickets.map((ticket, i) => watch(ticket, sockets[i % SOCKETS] as Socket, from + i));
  // One is left in the midst of it: nobody waits for what its tabs would have seen.
  const place = (from / AT_ONCE) % SOCKETS;
  const [gone] = sockets.splice(place, 1, connect());
  gone?.close();
  await Promise.all(watching.filter((_, i) => i % SOCKETS !== place));
}

async function look(done: number): Promise<Look> {
  while ((await web.call("left")) > 0) await new Promise((resolve) => setTimeout(resolve, 200));
  const [ofWeb, ofWorker] = await Promise.all([web.call("kept"), worker.call("kept")]);
  const { heapBytes: redisBytes } = await redis.call("usage");
  const [redisKeys, subscriptions] = [await redis.call("keys"), await redis.call("subscriptions")];
  return { runs: done, web: ofWeb, worker: ofWorker, redisBytes, redisKeys, subscriptions };
}

function grown(all: readonly Look[], pick: (look: Look) => number): number {
  return pick(all.at(-1) as Look) - pick(all[1] ?? (all[0] as Look));
}

const seen: Look[] = [];
try {
  const { url: redisUrl } = await redis.call("start");
  await worker.call("start", { redisUrl, role: "worker" });
  url = `http://127.0.0.1:${(await web.call("start", { redisUrl, role: "web" })).port}`;
  const sockets = Array.from({ length: SOCKETS }, connect);
  const every = Math.ceil(runs / looks / AT_ONCE) * AT_ONCE;
  for (let done = 0; done < runs; done += AT_ONCE) {
    await batch(done, sockets);
    if ((done + AT_ONCE) % every === 0) seen.push(await look(done + AT_ONCE));
  }
  const mib = (bytes: number) => (bytes / MIB).toFixed(2);
  const head = ["runs", "web heap", "web RSS", "worker heap", "worker RSS", "Redis", "keys", "subscriptions"];
  const rows = seen.map((at) => [
    ...[String(at.runs), mib(at.web.heapBytes), mib(at.web.rssBytes)],
    ...[mib(at.worker.heapBytes), mib(at.worker.rssBytes), mib(at.redisBytes)],
    ...[String(at.redisKeys), String(at.subscriptions)],
  ]);
  console.log(table([head, ...rows]));
  console.log([...ends].map(([state, count]) => `${count} ${state}`).join(", "));
  const growth = {
    web: grown(seen, (at) => at.web.heapBytes),
    worker: grown(seen, (at) => at.worker.heapBytes),
    Redis: grown(seen, (at) => at.redisBytes),
  };
  const isFlat =
    Object.values(growth).every((bytes) => bytes < MOST_GROWTH_BYTES) &&
    grown(seen, (at) => at.redisKeys) < MOST_NEW_KEYS;
  const isRight = ![...ends.keys()].some((state) => state.includes("WRONG"));
  console.log(
    `flat: ${isFlat ? "yes" : `NO, ${JSON.stringify(growth)}`}; all ended right: ${isRight ? "yes" : "NO"}`,
  );
  console.log(`kept in ${saveResults("soak", { seen, ends: Object.fromEntries(ends) })}`);
  process.exitCode = isFlat && isRight ? 0 : 1;
  for (const socket of sockets) socket.close();
} finally {
  await Promise.all([web, worker, redis].map((child) => child.stop()));
}
