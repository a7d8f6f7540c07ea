/**
 * The fault checker: real nodes, a real Redis and real clients, all of which are broken again and again by a
 * plan that a seed decides; afterwards every promise is held against what was seen. See docs/faults.md.
 */
import { writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";
import { planOf, type Topology } from "./plan.ts";
import type { Records } from "./records.ts";
import { MOST_OVERTIME_MS, run } from "./run.ts";
import { play, SCENARIOS } from "./scenarios.ts";

const MOST_SHOWN = 30;

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function whole(name: string, given: string, least: number): number {
  const value = Number(given);
  if (Number.isInteger(value) && value >= least) return value;
  throw new Error(`--${name} must be a whole number of at least ${least}, not "${given}"`);
}

function duration(given: string): number {
  const [, digits, unit] = /^(\d+)(ms|s|m|h)$/.exec(given) ?? [];
  const factor = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 }[unit ?? ""];
  if (digits === undefined || factor === undefined) {
    throw new Error(`--duration must be like 500ms, 60s, 10m or 1h, not "${given}"`);
  }
  return Number(digits) * factor;
}

/** Of each client what it saw, then what was published, and all else; one JSON a line. */
function linesOf({ clients, policies: _policies, ...rest }: Records): string {
  const seen = clients.flatMap(({ name, entries }) => entries.map((entry) => ({ client: name, ...entry })));
  const others = Object.entries(rest).map(([what, noted]) => ({ [what]: noted }));
  return `${[...seen, ...others].map((line) => JSON.stringify(line)).join("\n")}\n`;
}

function topologyOf(given: string | undefined, seed: number): Topology {
  if (given === "single" || given === "sentinel") return given;
  if (given !== undefined) throw new Error(`--redis must be single or sentinel, not "${given}"`);
  return seed % 3 === 0 ? "sentinel" : "single";
}

// Whatever was started ends with this process.
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));

const { values } = parseArgs({
  options: {
    seed: { type: "string", default: String(Date.now() % 1_000_000) },
    duration: { type: "string", default: "60s" },
    clients: { type: "string" },
    scenario: { type: "string" },
    nodes: { type: "string", default: "3" },
    redis: { type: "string" },
    plan: { type: "boolean", default: false },
    records: { type: "string" },
    "without-recovery": { type: "boolean", default: false },
  },
});
const seed = whole("seed", values.seed, 0);
const settings = {
  seed,
  durationMs: duration(values.duration),
  clients: whole("clients", values.clients ?? (values.scenario === undefined ? "24" : "1000"), 1),
  nodes: whole("nodes", values.nodes, 1),
  topology: topologyOf(values.redis, seed),
  recovers: !values["without-recovery"],
};
if (values.scenario !== undefined) {
  if (!SCENARIOS.includes(values.scenario)) {
    throw new Error(`--scenario must be ${SCENARIOS.join(" or ")}, not "${values.scenario}"`);
  }
  const broken = await play(values.scenario, settings, say);
  for (const what of broken) say(`BROKEN: ${what}`);
  say(
    `FAULTS ${broken.length === 0 ? "OK" : "BROKEN"} scenario=${values.scenario} clients=${settings.clients}`,
  );
  process.exit(broken.length === 0 ? 0 : 1);
} else if (values.plan) {
  for (const { atMs, kind, ...rest } of planOf(settings)) {
    say(`${atMs.toFixed(0).padStart(7)} ms  ${kind} ${JSON.stringify(rest)}`);
  }
} else {
  const watchdog = setTimeout(() => {
    say(`FAULTS BROKEN seed=${seed}: it hangs, and was ended`);
    process.exit(2);
  }, settings.durationMs + MOST_OVERTIME_MS);
  const { broken, report, records } = await run(settings);
  clearTimeout(watchdog);
  if (values.records !== undefined) await writeFile(values.records, linesOf(records));
  say(report);
  for (const what of broken.slice(0, MOST_SHOWN)) say(`BROKEN: ${what}`);
  const how = broken.length === 0 ? "OK" : `BROKEN (${broken.length})`;
  say(`FAULTS ${how} seed=${seed} duration=${values.duration} redis=${settings.topology}`);
  // Whatever a broken run has left behind ends here.
  process.exit(broken.length === 0 ? 0 : 1);
}
