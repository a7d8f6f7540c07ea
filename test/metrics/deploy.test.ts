/** What is told, what the docs list, and what the dashboard shows are one. */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "@jest/globals";
import { Consumer, createApplication, route } from "sluice";
import { CATALOGUE, metrics } from "sluice/metrics";
import { MemoryBroker, Tasks, task } from "sluice/tasks";
import { testWith } from "../deploy/programs.ts";
import { root } from "../installed-package.ts";
import { atEnd } from "../server/live-server.ts";
import { samplesOf } from "./samples.ts";

class Room extends Consumer {}

/** What a node with everything tells: names of metrics, with their types. */
async function told(): Promise<{ types: ReadonlyMap<string, string>; text: string }> {
  const part = metrics();
  const tasks = new Tasks({ tasks: [task("one", {}, async () => {})], broker: new MemoryBroker(), path: "" });
  const app = createApplication({ routes: [route("/room", Room)], parts: [part, tasks] });
  atEnd(() => app.stop());
  await app.start();
  const text = await part.text();
  const types = [...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name, type] as const);
  return { types: new Map(types as [string, string][]), text };
}

test("the table in the docs lists all metrics of ours that are told, as they are told", async () => {
  const page = await readFile(join(root, "docs/metrics.md"), "utf8");
  const rows = [...page.matchAll(/^\| `(sluice_[a-z_]+)` *\| (\w+) *\| (.*?) *\| (.*?) *\|$/gm)];
  const { types, text } = await told();
  const helps = new Map([...text.matchAll(/^# HELP (\S+) (.*)$/gm)].map(([, name, help]) => [name, help]));
  const ours = [...types].filter(([name]) => name.startsWith("sluice_"));
  const listed = rows.map(([, name, type, , help]) => [name, type, help]);
  expect(listed).toEqual(ours.map(([name, type]) => [name, type, helps.get(name)]));
  const labels = CATALOGUE.map((metric) => metric.labels.map((label) => `\`${label}\``).join(", "));
  expect(rows.map(([, , , label]) => label)).toEqual(labels);
  expect(samplesOf(text).size).toBeGreaterThan(50);
});

interface Panel {
  readonly id: number;
  readonly type: string;
  readonly title: string;
  readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly { readonly expr: string }[];
}

test("the dashboard asks for metrics that there are, by labels that they have, and leaves none of ours out", async () => {
  const file = join(root, "deploy/grafana/dashboards/sluice.json");
  const { panels } = JSON.parse(await readFile(file, "utf8")) as { readonly panels: readonly Panel[] };
  const { types } = await told();
  const asked = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  const used = new Set<string>();
  for (const expr of asked) {
    const names = expr.match(/\b(sluice|nodejs|process)_\w+/g) ?? [];
    expect([expr, names.length > 0]).toEqual([expr, true]);
    for (const name of names) {
      const base = types.has(name) ? name : name.replace(/_(bucket|sum|count)$/, "");
      expect([name, types.has(base)]).toEqual([name, true]);
      // Of what only goes up its rate is of interest, and of nothing else.
      if (types.get(base) !== "gauge") expect(expr).toMatch(/rate\(/);
      if (types.get(base) === "gauge" && base.startsWith("sluice_")) expect(expr).not.toMatch(/rate\(/);
      used.add(base);
      const labels = CATALOGUE.find((metric) => metric.name === base)?.labels ?? ["kind"];
      const by = [...expr.matchAll(/by \((.*?)\)/g)].flatMap(([, list = ""]) => list.split(/, */));
      for (const label of by) expect([...labels, "instance", "le"]).toContain(label);
    }
    expect(expr.split("(").length).toBe(expr.split(")").length);
  }
  expect(CATALOGUE.map(({ name }) => name).filter((name) => !used.has(name))).toEqual([]);
});

test("its panels have names and places of their own", async () => {
  const file = join(root, "deploy/grafana/dashboards/sluice.json");
  const { panels } = JSON.parse(await readFile(file, "utf8")) as { readonly panels: readonly Panel[] };
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  expect(new Set(panels.map(({ title }) => title)).size).toBe(panels.length);
  const taken = new Set<string>();
  for (const { gridPos } of panels) {
    expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
        expect(taken.has(`${x},${y}`)).toBe(false);
        taken.add(`${x},${y}`);
      }
    }
  }
});

test("Grafana is given the data source that the dashboard asks for, and how often Prometheus asks", async () => {
  const [source, dashboards, scrapes, composition] = await Promise.all(
    [
      "deploy/grafana/provisioning/datasources/prometheus.yml",
      "deploy/grafana/provisioning/dashboards/sluice.yml",
      "deploy/prometheus/prometheus.yml",
      "docker-compose.yml",
    ].map((name) => readFile(join(root, name), "utf8")),
  );
  const file = join(root, "deploy/grafana/dashboards/sluice.json");
  const { panels, templating } = JSON.parse(await readFile(file, "utf8")) as {
    readonly panels: readonly (Panel & { readonly datasource?: unknown })[];
    readonly templating: { readonly list: readonly { readonly name: string; readonly current: object }[] };
  };
  const [, uid] = /^ {4}uid: (\S+)$/m.exec(source ?? "") ?? [];
  expect(templating.list.find(({ name }) => name === "datasource")?.current).toMatchObject({ value: uid });
  for (const { type, datasource, targets = [] } of panels.filter((panel) => panel.type !== "row")) {
    const own = { type: "prometheus", uid: expect.stringMatching(/^\$\{datasource\}$/) };
    expect([type, datasource]).toEqual([type, own]);
    for (const target of targets) expect(target).toMatchObject({ datasource: own });
  }
  const [, everyS] = /scrape_interval: (\S+)/.exec(scrapes ?? "") ?? [];
  expect(/timeInterval: (\S+)/.exec(source ?? "")?.[1]).toBe(everyS);
  const rates = panels
    .flatMap(({ targets = [] }) => targets)
    .flatMap(({ expr }) => expr.match(/\[[^\]]*\]/g) ?? []);
  expect(new Set(rates)).toEqual(new Set(["[$__rate_interval]"]));
  // What is mounted is where it is looked for.
  const [, path = "?"] = /path: (\S+)/.exec(dashboards ?? "") ?? [];
  expect(composition).toContain(`./deploy/grafana/dashboards:${path}:ro`);
  expect(composition).toContain(`GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH: ${path}/sluice.json`);
});

test("Prometheus looks for the services of docker-compose.yml, at the ports of the image", async () => {
  const text = await readFile(join(root, "deploy/prometheus/prometheus.yml"), "utf8");
  const compose = await readFile(join(root, "docker-compose.yml"), "utf8");
  const names = [...text.matchAll(/names: \[(\w+)\]/g)].map(([, name]) => name);
  expect(names).toEqual(["app", "worker"]);
  for (const name of names) expect(compose).toMatch(new RegExp(`^ {2}${name}:$`, "m"));
  const image = await readFile(join(root, "Dockerfile"), "utf8");
  expect(image).toContain("PORT=3000 HEALTH_PORT=3000");
  expect([...text.matchAll(/port: (\d+)/g)].map(([, port]) => port)).toEqual(["3000", "3000"]);
  const [, token] = /credentials_file: (\S+)/.exec(text) ?? [];
  expect(compose).toContain(`> ${token} &&`);
});

testWith("docker-compose")("the profile belongs to the composition, which goes on without it", async () => {
  const services = async (...profile: string[]) => {
    const args = ["-f", join(root, "docker-compose.yml"), ...profile, "config", "--services"];
    const { stdout } = await promisify(execFile)("docker-compose", args);
    return stdout.trim().split("\n").sort();
  };
  expect(await services("--profile", "metrics")).toEqual([
    ...["app", "grafana", "haproxy", "prometheus", "redis", "worker"],
  ]);
});
