/** Ten heavy computations on the event loop and in threads: how late the loop was, and how long all took. */
import { availableParallelism } from "node:os";
import { inThread, LoopDelay, type LoopDelayReading } from "sluice/threads";
import { primesBelow } from "./heavy.js";
import { table } from "./table.js";

const COMPUTATIONS = 10;
const LIMIT = Number(process.argv[2] ?? 1_500_000);

const heavy = inThread<typeof import("./heavy.js")>(new URL("./heavy.js", import.meta.url));
await heavy.ready();

interface Measured extends LoopDelayReading {
  readonly tookMs: number;
  readonly answers: readonly number[];
}

async function measured(computeAll: () => Promise<readonly number[]>): Promise<Measured> {
  const delay = new LoopDelay(1);
  await turn(100);
  delay.take();
  const startedAt = performance.now();
  const answers = await computeAll();
  const tookMs = performance.now() - startedAt;
  // The last block is seen in the turn after it.
  await turn(5);
  const reading = delay.read();
  delay.stop();
  return { ...reading, tookMs, answers };
}

function turn(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const computations = Array.from({ length: COMPUTATIONS }, () => LIMIT);
const onLoop = await measured(async () => {
  const answers: number[] = [];
  for (const limit of computations) {
    // A turn of the loop between any two, as between requests.
    await turn(1);
    answers.push(primesBelow(limit));
  }
  return answers;
});
const inThreads = await measured(() =>
  Promise.all(computations.map((limit) => heavy.run.primesBelow(limit))),
);
await heavy.close();

if (String(onLoop.answers) !== String(inThreads.answers)) throw new Error("the answers differ");
const ms = (value: number) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
const row = (name: string, { p50Ms, maxMs, tookMs }: Measured) => [name, ms(p50Ms), ms(maxMs), ms(tookMs)];
console.log(`${COMPUTATIONS} computations, ${availableParallelism()} cores`);
console.log(
  table([
    ["", "loop delay p50", "max", "all done after"],
    row("on the event loop", onLoop),
    row("in threads", inThreads),
  ]),
);
