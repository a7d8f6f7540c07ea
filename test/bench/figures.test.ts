/** What is made of measurements. */
import { expect, test } from "@jest/globals";
import { disturbance } from "../../bench/calibration.ts";
import { chart, ticksFor } from "../../bench/chart.ts";
import { FrameReader } from "../../bench/frame-reader.ts";
import { GOALS, type Goal, goalLine, judge } from "../../bench/goals.ts";
import { mark, payload } from "../../bench/messages.ts";
import { OWNERS, type Owner, Profiles, spentBy } from "../../bench/profile.ts";
import { BEGIN, between, END, markdown, rowsOf } from "../../bench/report.ts";
import { interleave } from "../../bench/rounds.ts";
import { SCENARIOS } from "../../bench/scenarios/all.ts";
import type { Result } from "../../bench/scenarios/scenario.ts";
import { compare, quantile, spread } from "../../bench/statistics.ts";

test("a spread has the median and the middle half, in whatever order the values come", () => {
  expect(spread([5, 1, 4, 2, 3])).toEqual({ min: 1, q1: 2, median: 3, q3: 4, max: 5 });
  expect(spread([1, 2]).median).toBe(1.5);
  expect(spread([]).median).toBeNaN();
  expect(quantile([0, 10], 0.99)).toBeCloseTo(9.9);
});

test("contenders are compared round by round, so that drift of the machine cancels out", () => {
  const { medianOfRatios, ratioOfMedians } = compare([1, 20, 3], [2, 40, 3]);
  expect(medianOfRatios).toBe(0.5);
  expect(ratioOfMedians).toBe(1);
});

test("subjects are measured in turn, and warm-ups do not count", async () => {
  const order: string[] = [];
  const results = await interleave(["a", "b"], { warmUps: 1, rounds: 2 }, async (subject) => {
    order.push(subject);
    return order.length;
  });
  expect(order.join("")).toBe("abbaab");
  expect([...results]).toEqual([
    ["a", [4, 5]],
    ["b", [3, 6]],
  ]);
});

test("a disturbed measurement is made again within its round, and the least disturbed one counts", async () => {
  const seen = [3, 0.5, 2, 4, 1.5];
  const results = await interleave(
    ["a"],
    { warmUps: 0, rounds: 2 },
    async () => seen.shift() ?? Number.NaN,
    (disturbed) => disturbed,
  );
  expect(results.get("a")).toEqual([0.5, 1.5]);
});

test("after its time a scenario ends with two rounds", async () => {
  const results = await interleave(["a"], { warmUps: 0, rounds: 9, limitMs: -1 }, async () => 1);
  expect(results.get("a")).toHaveLength(2);
});

test("others that work, or a slower core, are a disturbance; the blur of the machine's clock is none", () => {
  const quiet = { othersUs: 20_000, capacityUs: 100_000, slowdown: 1 };
  expect(disturbance(quiet)).toBe(0);
  expect(disturbance({ ...quiet, othersUs: 60_000 })).toBeGreaterThan(1);
  expect(disturbance({ ...quiet, slowdown: 1.4 })).toBeGreaterThan(1);
  expect(disturbance({ ...quiet, slowdown: 1.2 })).toBeLessThan(1);
});

test("frames are found whatever the chunks they come in", () => {
  const texts = [5, 100, 125, 126, 300].map((length) => Buffer.alloc(length, `${length}`));
  const stream = Buffer.concat(
    texts.map((text) => {
      const { length } = text;
      const size = length < 126 ? [length] : [126, length >> 8, length & 0xff];
      return Buffer.concat([Buffer.of(0x81, ...size), text]);
    }),
  );
  for (const step of [1, 2, 7, 41, 64, stream.length]) {
    const found: [number, number, string][] = [];
    const reader = new FrameReader((opcode, bytes, at, length) => {
      found.push([opcode, length, bytes.toString("latin1", at, at + 3)]);
    });
    for (let at = 0; at < stream.length; at += step) {
      reader.read(stream, at, Math.min(at + step, stream.length));
    }
    expect(found).toEqual([
      [1, 5, "555"],
      [1, 100, "100"],
      [1, 125, "125"],
      [1, 126, "126"],
      [1, 300, "300"],
    ]);
  }
});

test("every message is 100 bytes of JSON with a mark of its own", () => {
  const numbers = [0, 1, 99, 12_345, 999_999];
  for (const number of numbers) expect(JSON.stringify(payload(number))).toHaveLength(100);
  expect(new Set(numbers.map(mark)).size).toBe(numbers.length);
  expect(mark(3) + mark(5)).not.toBe(2 * mark(4));
});

const result: Result = {
  id: "burst-10",
  title: "bursts <of 10>",
  unit: "us",
  figures: [
    { key: "us", name: "CPU", digits: 2 },
    { key: "redisUs", name: "Redis", digits: 2 },
  ],
  chart: "us",
  entrants: [
    { key: "sluice", name: "Sluice", rounds: [{ us: 1 }, { us: 2 }, { us: 3 }] },
    { key: "slow", name: "Slow", rounds: [{ us: 40 }, { us: 40 }, { us: 40 }] },
    { key: "socket.io", name: "Socket.IO", rounds: [{ us: 10 }, { us: 20 }, { us: 10, redisUs: 0 }] },
  ].map((entrant) => ({ ...entrant, rounds: entrant.rounds.map((round) => ({ redisUs: 0, ...round })) })),
};

const goal: Goal = {
  text: "bursts",
  scenario: "burst-10",
  ours: { entrants: ["sluice"], figure: "us" },
  theirs: { entrants: ["slow", "socket.io"], figure: "us" },
  limit: 0.18,
};

test("a goal is judged by the best of the others", () => {
  expect(judge(goal, [result])).toMatchObject({ ratio: 0.1, isMet: true });
  expect(judge({ ...goal, limit: 0.09 }, [result])).toMatchObject({ isMet: false });
  expect(judge({ ...goal, isAtLeast: true }, [result])).toMatchObject({ isMet: false });
  const { theirs: _, ...alone } = goal;
  expect(judge({ ...alone, limit: 3 }, [result])).toMatchObject({ ratio: 3, isMet: true });
});

test("a goal that nobody measured is neither met nor missed", () => {
  expect(judge({ ...goal, scenario: "echo" }, [result])).toBeUndefined();
  expect(judge({ ...goal, theirs: { entrants: ["nobody"], figure: "us" } }, [result])).toBeUndefined();
  expect(goalLine(goal, undefined)).toBe("not measured  bursts (goal: at most 0.18)");
});

test("each goal has one line with the ratio and what was sought", () => {
  expect(goalLine(goal, judge(goal, [result]))).toBe(
    "met      bursts: 0.100 (0.100 to 0.200), goal: at most 0.18",
  );
  const missed = { ...goal, limit: 0.05 };
  expect(goalLine(missed, judge(missed, [result]))).toMatch(/^NOT met {2}bursts: 0\.100 .*at most 0\.05$/);
});

test("every goal names a scenario and figures that there are", () => {
  const ids = new Set(SCENARIOS.map(({ id }) => id));
  expect(GOALS.filter(({ scenario }) => !ids.has(scenario))).toEqual([]);
  expect(ids.size).toBe(SCENARIOS.length);
});

test("a table has medians, the middle half, ratios to Socket.IO, and no column of zeros", () => {
  expect(rowsOf(result)).toEqual([
    ["us", "CPU", "of Socket.IO"],
    ["Sluice", "2.00 (1.50 to 2.50)", "0.10"],
    ["Slow", "40.00 (40.00 to 40.00)", "4.00"],
    ["Socket.IO", "10.00 (10.00 to 15.00)", "1"],
  ]);
});

test("the page keeps what stands outside of its markers", () => {
  const page = `# Title\n\n${BEGIN}\nold\n${END}\n\nrest\n`;
  expect(between(page, "new")).toBe(`# Title\n\n${BEGIN}\n\nnew\n\n${END}\n\nrest\n`);
  expect(between(between(page, "new"), "newer")).toBe(between(page, "newer"));
  expect(() => between("# Title", "new")).toThrow("needs the lines");
});

test("a report has the goals, each result with its picture, and who was left out", () => {
  const report = {
    at: "2030-01-02T03:04:05Z",
    scale: "quick",
    machine: { node: "v20", cores: 2, cpu: "a CPU" },
    results: [result],
    skipped: [{ name: "NestJS gateway", reason: "no network" }],
  };
  const text = markdown(report, ({ id }) => `performance/${id}.svg`);
  expect(text).toContain("Measured on 2030-01-02 (quick run), Node.js v20, 2 cores, a CPU.");
  expect(text).toMatch(/bursts of 10, CPU, of Socket.IO +\| +at most 0.18 \| +0.100 \| +met \|/);
  expect(text).toContain("![bursts <of 10>](performance/burst-10.svg)");
  expect(text).toContain("- NestJS gateway: no network");
});

test("a chart is drawn for light and dark pages, with names as they are and no dot without a value", () => {
  const dot = { q1: 0.9, median: 1, q3: 1.2, isOurs: false };
  const svg = chart(
    "a < b",
    "us",
    [
      { ...dot, name: "Sluice & more", isOurs: true },
      { ...dot, name: "slow", median: 18, q1: 17, q3: 19 },
      { ...dot, name: "nothing", median: Number.NaN },
    ],
    2,
  );
  expect(svg).toContain("@media (prefers-color-scheme: dark)");
  expect(svg).toContain("a &lt; b");
  expect(svg).toContain("Sluice &amp; more");
  expect(svg).not.toContain("nothing");
  expect(svg).not.toContain("NaN");
  const [ours, theirs] = [...svg.matchAll(/<circle class="dot[^"]*" cx="([\d.]+)"/g)].map(([, x]) =>
    Number(x),
  );
  expect(Number(ours)).toBeLessThan(Number(theirs));
});

test("ticks lie around all values", () => {
  expect(ticksFor([0.9, 18])).toEqual([0.5, 1, 2, 5, 10, 20]);
  expect(ticksFor([3])).toEqual([2, 5]);
  expect(ticksFor([0.01, 5_000])).toEqual([0.01, 0.1, 1, 10, 100, 1_000, 5_000]);
  expect(ticksFor([])).toEqual([1, 10]);
});

test("a profile tells whose code the time went to, without the time in which nothing ran", () => {
  const frames = [
    ["(idle)", ""],
    ["(garbage collector)", ""],
    ["writeBuffer", ""],
    ["write", "node:internal/streams/writable"],
    ["sendFrame", "file:///app/node_modules/ws/lib/sender.js"],
    ["emit", "file:///app/node_modules/ws-like/index.js"],
    ["flush", "file:///app/dist/src/server/connection.js"],
    ["listener", "file:///app/node_modules/other/dist/src/index.js"],
  ] as const;
  const nodes = frames.map(([functionName, url], id) => ({ id, callFrame: { functionName, url } }));
  const samples = [0, 1, 2, 3, 4, 5, 6, 7, 2];
  const timeDeltas = [1_000, 1, 2, 4, 8, 16, 32, 64, 128];
  expect(spentBy({ nodes, samples, timeDeltas })).toEqual({
    "kernel and native code": 130,
    "garbage collection": 1,
    "Node's JavaScript": 4,
    "ws, Engine.IO, Socket.IO": 8,
    Sluice: 32,
    "the rest": 80,
  });
});

test("profiles of one server are told as one, in hundredths", () => {
  const profiles = new Profiles("/tmp");
  const none = Object.fromEntries(OWNERS.map((owner) => [owner, 0])) as Record<Owner, number>;
  profiles.add("Sluice, node 1", { ...none, Sluice: 10, "garbage collection": 20 });
  profiles.add("Sluice, node 1", { ...none, Sluice: 10 });
  expect(profiles.take().slice(1)).toEqual([["Sluice, node 1", "0 %", "50 %", "0 %", "0 %", "50 %", "0 %"]]);
  expect(profiles.take()).toHaveLength(1);
  expect(profiles.fileOf("Sluice, node 1")).toBe("/tmp/sluice-node-1.cpuprofile");
});
