/**
 * Mutated input for every layer of a real server, from a seed: `FUZZ_SEED` runs one again. Whatever comes,
 * nothing crashes, nothing stays behind, no handler sees what its schema forbids, and a client that behaves
 * is answered all the while.
 */
import { randomInt } from "node:crypto";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { type InstalledPackage, installPackage } from "../installed-package.ts";
import { connected, stock, until } from "../server/live-server.ts";
import { attackConsumers } from "./consumers.ts";
import { attackFrames } from "./frames.ts";
import { FuzzedServer, type State } from "./fuzzed-server.ts";
import { Dice } from "./mutations.ts";
import { attackPackets } from "./packets.ts";
import { attackPolling } from "./polling.ts";
import { attackRequests } from "./requests.ts";

jest.setTimeout(300_000);

/** The same in every run of the suite: what a change breaks is then that change's. `FUZZ_SEED=0` draws one. */
const seed = Number(process.env.FUZZ_SEED ?? 7) || randomInt(2 ** 31);
const times = Number(process.env.FUZZ_TIMES ?? 1);
/** What code, caches and shapes of objects may cost more after all cases than after the first fifth. */
const MAX_GROWTH = 3_000_000;
/** Engine.IO and ws give a client that left half a minute to say goodbye; then nothing waits but heartbeats. */
const MAX_TIMERS = 10;

type Attack = (server: FuzzedServer, dice: Dice, cases: number) => Promise<number>;

/** How many cases each layer is given, at least, and over how many connections at once. */
const attacks: readonly (readonly [name: string, attack: Attack, cases: number, lanes: number])[] = [
  ["HTTP requests", attackRequests, 12_000, 8],
  ["Engine.IO bodies", attackPolling, 8_000, 4],
  ["WebSocket frames", attackFrames, 10_000, 4],
  ["Socket.IO packets", attackPackets, 40_000, 4],
];
const CONSUMER_CASES = 32_000;

let installed: InstalledPackage;
let server: FuzzedServer;

beforeAll(async () => {
  process.stdout.write(`FUZZ_SEED=${seed}\n`);
  installed = await installPackage();
});

afterAll(async () => {
  server?.kill();
  await installed?.remove();
});

/** When all attackers have gone: nothing is left but the one who behaves. */
async function rested(maxTimers: number): Promise<State> {
  let state = await server.state();
  const isRested = () =>
    state.connections === 1 &&
    state.sizes.connections === 1 &&
    state.sizes.channels === 1 &&
    (state.resources.Timeout ?? 0) <= maxTimers;
  const givenUpAt = performance.now() + 60_000;
  while (!isRested()) {
    if (performance.now() > givenUpAt) throw new Error(`what is left: ${JSON.stringify(state)}`);
    await new Promise((resolve) => setTimeout(resolve, 250));
    state = await server.state();
  }
  return state;
}

test("a server that is fed mutated input goes on as if nothing had been", async () => {
  server = await FuzzedServer.start(installed);
  const good = await connected(stock(`${server.url}/free/good`));
  let answers = 0;
  let isOver = false;
  const behaving = (async () => {
    while (!isOver) {
      const question = { n: answers, text: "é", list: [1, null, true] };
      expect(await good.timeout(10_000).emitWithAck("echo", question)).toEqual(question);
      answers += 1;
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
  })();
  behaving.catch(() => {});

  let cases = 0;
  const attackAll = async (share: number, salt: number) => {
    for (const [index, [, attack, wanted, lanes]] of attacks.entries()) {
      const each = Math.ceil((wanted * share * times) / lanes);
      const running = Array.from({ length: lanes }, (_, lane) =>
        attack(server, new Dice(seed + salt * 1_000 + index * 100 + lane), each),
      );
      for (const sent of await Promise.all(running)) cases += sent;
    }
  };
  await attackAll(0.2, 1);
  const before = await rested(Number.POSITIVE_INFINITY);
  await attackAll(0.8, 2);
  const after = await rested(MAX_TIMERS);
  isOver = true;
  await behaving;

  const growth = after.heapUsed + after.external - before.heapUsed - before.external;
  process.stdout.write(
    `${cases} cases over the network, ${answers} good answers, ${growth} bytes of growth\n`,
  );
  expect(server.violations).toEqual([]);
  expect(cases).toBeGreaterThanOrEqual(70_000 * times);
  expect(answers).toBeGreaterThan(100);
  expect(growth).toBeLessThan(MAX_GROWTH);
  expect(after.resources.TCPSocketWrap).toBe(before.resources.TCPSocketWrap);
  good.disconnect();
  await until(() => good.disconnected, "the good client has left");
  const { sizes } = await server.stop();
  expect(Object.values(sizes).filter((size) => size > 0)).toEqual([]);
  expect(server.violations).toEqual([]);
});

test("consumers that are fed mutated events and messages see none that their schemas forbid", async () => {
  const violations: string[] = [];
  const cases = await attackConsumers(new Dice(seed), CONSUMER_CASES * times, (said) =>
    violations.push(said),
  );
  expect(violations.slice(0, 10)).toEqual([]);
  expect(cases).toBeGreaterThanOrEqual(CONSUMER_CASES);
});
