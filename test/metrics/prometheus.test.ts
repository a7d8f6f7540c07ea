/** A real Prometheus with the committed configuration: what it scrapes, and what the dashboard asks it. */
import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, jest } from "@jest/globals";
import { demo, Program, start } from "../cli/programs.ts";
import { configured, folder, freePort, hasProgram, started } from "../deploy/programs.ts";
import { root } from "../installed-package.ts";
import { testNeeding } from "../needing.ts";
import { hasRedis, RedisServer } from "../redis/redis-server.ts";
import { atEnd, connected, stock, until } from "../server/live-server.ts";

jest.setTimeout(120_000);

const lacks = [...(hasProgram("prometheus") ? [] : ["prometheus"]), ...(hasRedis ? [] : ["redis-server"])];
const prometheusTest = testNeeding(lacks.length === 0, `install ${lacks.join(", ")}`);

/** Between two questions to Prometheus. */
const PAUSE_MS = 500;
const token = "a-token-of-enough-letters";

interface Panel {
  readonly title: string;
  readonly targets?: readonly { readonly expr: string; readonly legendFormat?: string }[];
}

interface Variable {
  readonly name: string;
  readonly definition?: string;
  readonly query?: unknown;
}

interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly values: readonly (readonly [at: number, value: string])[];
}

interface Target {
  readonly health: string;
  readonly lastError: string;
  readonly scrapePool: string;
}

class Prometheus {
  readonly #url: string;

  private constructor(port: number) {
    this.#url = `http://127.0.0.1:${port}/api/v1`;
  }

  /** The committed one, but for where processes are found and how often they are asked. */
  static async of(nodes: readonly string[], workers: readonly string[]): Promise<Prometheus> {
    const port = await freePort();
    const key = join(folder(), "token");
    await writeFile(key, token);
    const pool = (addresses: readonly string[]) =>
      `static_configs:\n      - targets: [${addresses.join()}]\n`;
    const file = configured("prometheus/prometheus.yml", [
      [/scrape_interval: 15s/, "scrape_interval: 1s"],
      [/scrape_timeout: 10s/, "scrape_timeout: 1s"],
      [/\/tmp\/metrics-token/g, key],
      [/dns_sd_configs:\n {6}- names: \[app\][^-]*?refresh_interval: 5s\n/, pool(nodes)],
      [/dns_sd_configs:\n {6}- names: \[worker\][^-]*?refresh_interval: 5s\n/, pool(workers)],
    ]);
    const args = [`--config.file=${file}`, `--storage.tsdb.path=${folder()}`];
    await started("prometheus", [...args, `--web.listen-address=127.0.0.1:${port}`], port);
    // It takes connections before it answers questions.
    const isReady = async () => (await fetch(`http://127.0.0.1:${port}/-/ready`)).ok;
    await eventually(isReady, Boolean, () => "Prometheus is ready");
    return new Prometheus(port);
  }

  async targets(): Promise<readonly Target[]> {
    const response = await fetch(`${this.#url}/targets`);
    return ((await response.json()) as { data: { activeTargets: Target[] } }).data.activeTargets;
  }

  /** As Grafana asks for the values of a variable: `label_values(metric, label)`. */
  async values(definition: string): Promise<readonly string[]> {
    const [, metric = "", label = ""] = /^label_values\((\w+), (\w+)\)$/.exec(definition) ?? [];
    const asked = new URLSearchParams({ "match[]": metric });
    const response = await fetch(`${this.#url}/label/${label}/values?${asked}`);
    return ((await response.json()) as { data: string[] }).data;
  }

  /** As a panel asks, of the last minute. @param instance - what Grafana puts where the variable stands */
  async ask(expr: string, instance = ".*"): Promise<readonly Series[]> {
    const query = expr.replaceAll("$instance", instance).replaceAll("$__rate_interval", "5s");
    const now = Date.now() / 1_000;
    const asked = { query, start: String(now - 60), end: String(now), step: "0.5" };
    const response = await fetch(`${this.#url}/query_range?${new URLSearchParams(asked)}`);
    const answer = (await response.json()) as { status: string; data: { result: Series[] } };
    if (answer.status !== "success") throw new Error(`${query}: ${JSON.stringify(answer)}`);
    return answer.data.result;
  }
}

/** Asks until there is an answer that fits. */
async function eventually<T>(
  ask: () => Promise<T>,
  isFit: (found: T) => boolean,
  what: () => string,
): Promise<T> {
  const givenUpAt = performance.now() + 60_000;
  for (;;) {
    const found = await ask();
    if (isFit(found)) return found;
    if (performance.now() > givenUpAt) throw new Error(`waited in vain: ${what()} ${JSON.stringify(found)}`);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}

/** Two nodes of the demo and a worker, as the composition has them, and people who talk in two rooms. */
async function house(): Promise<Prometheus> {
  const redis = await RedisServer.start();
  atEnd(() => redis.close());
  const env = {
    ...{ REDIS_URL: redis.url, SLUICE_SECRET: randomBytes(32).toString("hex") },
    ...{ METRICS_TOKEN: token, METRICS: "on", HEALTH_PORT: "0", HOST: "127.0.0.1" },
  };
  const urls = await Promise.all([1, 2].map(() => start(demo(), [], { env }).url()));
  const worker = new Program(["work", demo()], { env });
  const health = await until(
    () => /its health is at (http:\S+)\/livez$/m.exec(worker.stdout)?.[1],
    "it works",
  );
  const prometheus = await Prometheus.of(
    urls.map((url) => new URL(url).host),
    [new URL(health).host],
  );
  const guest = (n: number) => ({ name: `guest ${n}`, secret: `the secret of guest number ${n}` });
  for (const [n, url] of urls.entries()) {
    const lobby = await connected(stock(`${url}/lobby`));
    const guests = [0, 1].map((of) => stock(`${url}/chat/room-${of}`, { auth: guest(2 * n + of) }));
    for (const one of guests) await connected(one);
    const [talker] = guests;
    const timer = setInterval(() => {
      talker?.emit("say", { text: "a word" });
      talker?.emit("say", { text: 7 });
      talker?.emit("export", {});
      lobby.emit("nonsense", {});
      // Without a name nobody is let in.
      if (!refused.connected && !refused.active) refused.connect();
    }, 100);
    atEnd(() => clearInterval(timer));
    const refused = stock(`${url}/chat/room-0`, { reconnection: false });
  }
  return prometheus;
}

/** What nobody in a house without trouble comes to see. */
const QUIET = ["Limits met, by option"];

prometheusTest("every target is up, and every panel of the dashboard shows what it asks for", async () => {
  const prometheus = await house();
  const targets = await eventually(
    () => prometheus.targets(),
    (found) => found.length === 3 && found.every(({ health }) => health === "up"),
    () => "all are up",
  );
  expect(targets.map(({ health, lastError, scrapePool }) => [scrapePool, health, lastError]).sort()).toEqual([
    ["sluice", "up", ""],
    ["sluice", "up", ""],
    ["sluice-worker", "up", ""],
  ]);
  const file = join(root, "deploy/grafana/dashboards/sluice.json");
  const { panels, templating } = JSON.parse(await readFile(file, "utf8")) as {
    readonly panels: readonly Panel[];
    readonly templating: { readonly list: readonly Variable[] };
  };
  const variable = templating.list.find(({ name }) => name === "instance");
  expect(variable?.query).toMatchObject({ query: variable?.definition });
  const instances = await eventually(
    () => prometheus.values(variable?.definition ?? ""),
    ({ length }) => length === 3,
    () => "the variable has all nodes and workers",
  );
  // Of several that are chosen Grafana makes this, with what means something in a pattern escaped twice.
  const chosen = instances.slice(0, 2).map((name) => name.replaceAll(".", String.raw`\\.`));
  const some = await prometheus.ask('sluice_info{instance=~"$instance"}', `(${chosen.join("|")})`);
  expect(some.map(({ metric }) => metric.instance).sort()).toEqual(instances.slice(0, 2).sort());
  const targetsOf = panels.flatMap(({ title, targets: asked = [] }) =>
    asked.map((one) => ({ title, ...one })),
  );
  expect(targetsOf.length).toBeGreaterThan(50);
  for (const { title, expr, legendFormat = "" } of targetsOf) {
    // A quantile of nothing is NaN.
    const hasData = (series: readonly Series[]) =>
      series.some(({ values }) => values.some(([, value]) => !Number.isNaN(Number(value))));
    const series = await eventually(
      () => prometheus.ask(expr),
      (found) => hasData(found) || QUIET.includes(title),
      () => `${title}: ${expr}`,
    );
    const shown = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label = ""]) => label);
    const sums = /\bby \((.*?)\)/.exec(expr)?.[1]?.split(", ");
    for (const { metric } of series) {
      // A process has a number where several share a port.
      const labels = sums ?? [...Object.keys(metric), "process"];
      expect([title, ...labels]).toEqual(expect.arrayContaining(shown));
    }
  }
});

prometheusTest(
  "every alarm of the operations guide is an expression that Prometheus understands",
  async () => {
    const prometheus = await Prometheus.of([], []);
    const page = await readFile(join(root, "docs/operations.md"), "utf8");
    const [, alarms = ""] = /^## Alarms\n([\s\S]*?)^## /m.exec(page) ?? [];
    const rules = [...alarms.matchAll(/^\| [^|`]+\| `([^`]+)`/gm)].map(([, rule = ""]) => rule);
    expect(rules.length).toBeGreaterThan(10);
    for (const rule of rules) expect(await prometheus.ask(rule)).toEqual([]);
  },
);
