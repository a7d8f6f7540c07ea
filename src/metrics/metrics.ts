/** Metrics for Prometheus, as a part of an application: `/metrics`, answered before routes and middleware. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { collectDefaultMetrics, Registry } from "prom-client";
import {
  type ApplicationPart,
  type AskingClient,
  CloseCode,
  ConfigurationError,
  type Counts,
  Faults,
  type Given,
  type PartContext,
  type Readings,
  resolveOptions,
  within,
} from "../index.ts";
import { Asking } from "./asking.ts";
import { Door, type DoorOptions } from "./door.ts";
import { draw } from "./drawn.ts";
import { together, toText } from "./together.ts";

export const metricsDefaults = {
  /** Where they are read. */
  path: "/metrics",
  /** How long a broker may take to say how many runs wait; without its answer its last one is told. */
  lookTimeoutMs: 1_000,
  /**
   * How long a metric of a `registry` of yours may take to say its value. One that takes longer, or throws, is
   * told without a value, and announced as `failed`.
   */
  collectTimeoutMs: 2_000,
};

/** Settings of {@link metrics}, with nothing left out. */
export type MetricsSettings = typeof metricsDefaults;

/** The other processes behind the same port. */
export interface Siblings {
  /** Of this process. */
  readonly name: string;
  /** What this one says when another one asks. Returns what ends it. */
  answer(tell: () => Promise<string>): () => void;
  /** What the others say, by their names; undefined of those that have not within the time. */
  ask(withinMs: number): Promise<ReadonlyMap<string, string | undefined>>;
}

/** What {@link metrics} takes. */
export interface MetricsOptions extends Given<MetricsSettings>, DoorOptions {
  /**
   * Yours, with metrics of yours; ours are put into it while the application runs, and all of it is told. By
   * default one of our own.
   */
  readonly registry?: Registry;
  /**
   * Whether the process is told of as well: event loop, memory, garbage collection, CPU. By default yes, but
   * not with a registry of yours, where you may have done that.
   */
  readonly process?: boolean;
  /**
   * Who is told of as well, because a scrape meets one or the other: what `sluice start --processes` gives its
   * processes. All lines get a label `process` then.
   */
  readonly siblings?: Siblings;
}

/** On top of what the others' brokers and metrics may take. */
const ASK_MARGIN_MS = 1_000;

/** Of larger tables only what was used is told: beyond so many, whichever comes late is counted as `other`. */
const MAX_ROUTES = 100;

/** How long a reading serves all metrics of a scrape, and what was written all who ask. */
const FRESH_MS = 100;

/** Of the whole process, and for its whole life: what these listen to cannot be left again. */
let processRegistry: Registry | undefined;

function processMetrics(): Registry {
  if (processRegistry === undefined) {
    processRegistry = new Registry();
    collectDefaultMetrics({ register: processRegistry });
  }
  return processRegistry;
}

/**
 * A part of an application that tells how its node stands, in the text format of Prometheus. Programs on this
 * machine may read it; others by `token` or `allow`.
 *
 * Counting costs the node next to nothing; a scrape looks once at every connection. From the start of the
 * application on handlers are timed.
 *
 * @example
 * createApplication({ routes, parts: [metrics({ token: process.env.METRICS_TOKEN })] });
 *
 * @throws ConfigurationError that lists every fault of the options
 */
export function metrics(options: MetricsOptions = {}): Metrics {
  return new Metrics(options);
}

/** The part of an application that answers Prometheus; {@link metrics} makes it. */
export class Metrics implements ApplicationPart {
  /** Ours, or the one that was given. */
  readonly registry: Registry;
  readonly #settings: MetricsSettings;
  readonly #door: Door;
  readonly #tellsProcess: boolean;
  readonly #siblings: Siblings | undefined;
  #stopAnswering: () => void = () => {};
  #context: PartContext | undefined;
  #names: ReadonlySet<string> = new Set();
  #routes: Counts = {};
  #reading: { readonly at: number; readonly readings: Promise<Readings> } | undefined;
  /** `at`: since when it is written. */
  #text: { at: number; readonly written: Promise<string> } | undefined;
  readonly #asking: Asking;

  constructor({ registry, process, siblings, allow, token, loopback, ...options }: MetricsOptions) {
    const faults = new Faults();
    const settings = faults.collect(() => resolveOptions(metricsDefaults, options, "metrics"));
    const door = faults.collect(
      () =>
        new Door({
          ...(allow === undefined ? {} : { allow }),
          ...(token === undefined ? {} : { token }),
          ...(loopback === undefined ? {} : { loopback }),
        }),
    );
    if (!/^\/[^?#\s]+$/.test(String(options.path ?? metricsDefaults.path))) {
      faults.list.push('metrics.path must be a path such as "/metrics"');
    }
    if (registry !== undefined && typeof registry?.registerMetric !== "function") {
      faults.list.push("metrics.registry must be a Registry of prom-client");
    }
    if (siblings !== undefined && typeof siblings?.ask !== "function") {
      faults.list.push("metrics.siblings must be what the command line gives its processes");
    }
    if (settings === undefined || door === undefined || faults.list.length > 0) {
      throw new ConfigurationError(faults.list);
    }
    this.#settings = settings;
    this.#door = door;
    this.registry = registry ?? new Registry();
    this.#tellsProcess = process ?? registry === undefined;
    this.#siblings = siblings;
    this.#asking = new Asking({
      timeoutMs: settings.collectTimeoutMs,
      isOurs: (name) => this.#names.has(name),
      failed: (error) => this.#context?.signals.failed.announce({ hook: "http", error }),
    });
  }

  /** @internal */
  async open(context: PartContext): Promise<void> {
    context.beginTiming();
    this.#routes = routesOf(context);
    try {
      this.#names = new Set(draw(this.registry, () => this.#read()));
    } catch (error) {
      throw new ConfigurationError([
        `metrics.registry has a metric of ours already (${(error as Error).message}); give each application a registry of its own`,
      ]);
    }
    this.#context = context;
    if (this.#tellsProcess) processMetrics();
    this.#stopAnswering = this.#siblings?.answer(() => this.#tell()) ?? this.#stopAnswering;
  }

  /** @internal */
  async close(): Promise<void> {
    this.#context = undefined;
    this.#text = undefined;
    this.#stopAnswering();
    for (const name of this.#names) this.registry.removeSingleMetric(name);
    this.#names = new Set();
  }

  /** All of it, as Prometheus reads it. */
  async text(): Promise<string> {
    // Whoever asks meanwhile, or soon after, is given the same: a storm of scrapes keeps nobody waiting.
    const known = this.#text;
    if (known !== undefined && performance.now() - known.at <= FRESH_MS) return known.written;
    const text = { at: Infinity, written: this.#write() };
    this.#text = text;
    const settled = () => {
      text.at = performance.now();
    };
    text.written.then(settled, settled);
    return text.written;
  }

  /** @internal */
  answer(request: IncomingMessage, response: ServerResponse, client: AskingClient): boolean {
    const [path] = (request.url ?? "").split("?", 1);
    if (path !== this.#settings.path) return false;
    void this.#answer(request, response, client).catch((error) => {
      this.#context?.signals.failed.announce({ hook: "http", error });
      refuse(response, 500, "internal_error", "internal error");
    });
    return true;
  }

  async #answer(request: IncomingMessage, response: ServerResponse, client: AskingClient): Promise<void> {
    // It cannot be asked any more once the connection has gone.
    const { remoteAddress, trustedProxies } = client;
    const context = this.#context;
    if (context === undefined) return refuse(response, 503, "unavailable", "not begun yet, or ended");
    if (!(await this.#admits(request, { remoteAddress, trustedProxies }, context))) {
      const code = this.#door.takesTokens ? CloseCode.unauthenticated : CloseCode.forbidden;
      const reason = "these metrics are not for you";
      context.signals.denied.announce({ namespace: this.#settings.path, remoteAddress, code, reason });
      if (this.#door.takesTokens) response.setHeader("WWW-Authenticate", 'Bearer realm="metrics"');
      return refuse(response, this.#door.takesTokens ? 401 : 403, "forbidden", reason);
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      response.setHeader("Allow", "GET, HEAD");
      return refuse(response, 405, "method_not_allowed", "ask with GET or HEAD");
    }
    const text = await this.text();
    response.writeHead(200, {
      "Content-Type":
        this.#siblings === undefined ? this.registry.contentType : Registry.PROMETHEUS_CONTENT_TYPE,
      "Content-Length": Buffer.byteLength(text),
      "Cache-Control": "no-store",
    });
    response.end(request.method === "HEAD" ? undefined : text);
  }

  async #admits(request: IncomingMessage, client: AskingClient, { signals }: PartContext): Promise<boolean> {
    try {
      return await this.#door.admits(request, client);
    } catch (error) {
      signals.failed.announce({ hook: "http", error });
      return false;
    }
  }

  async #write(): Promise<string> {
    if (this.#siblings === undefined) {
      const texts = this.#registries.map((registry) => this.#asking.text(registry));
      return (await Promise.all(texts)).join("\n");
    }
    const { name } = this.#siblings;
    const { lookTimeoutMs, collectTimeoutMs } = this.#settings;
    const [own, others] = await Promise.all([
      this.#tell(),
      this.#siblings.ask(Math.max(lookTimeoutMs, collectTimeoutMs) + ASK_MARGIN_MS),
    ]);
    return together(new Map([[name, own], ...others]));
  }

  /** For other processes, and this one among them. */
  async #tell(): Promise<string> {
    return toText(await Promise.all(this.#registries.map((registry) => this.#asking.json(registry))));
  }

  get #registries(): readonly Registry[] {
    return this.#tellsProcess ? [this.registry, processMetrics()] : [this.registry];
  }

  /** One for all metrics of a scrape. */
  async #read(): Promise<Readings | undefined> {
    const context = this.#context;
    if (context === undefined) return undefined;
    const now = performance.now();
    if (this.#reading === undefined || now - this.#reading.at > FRESH_MS) {
      this.#reading = { at: now, readings: this.#look(context) };
    }
    return this.#reading.readings;
  }

  async #look(context: PartContext): Promise<Readings> {
    const { lookTimeoutMs } = this.#settings;
    await within(lookTimeoutMs, context.look(), () => new Error("late")).catch(() => {});
    return this.#withRoutes(context.readings());
  }

  /** All routes from the start on, so that `rate` sees who comes first. */
  #withRoutes(readings: Readings): Readings {
    if (readings.server === undefined) return readings;
    const { counters, gauges } = readings;
    const accepted = { ...this.#routes, ...counters.accepted };
    const open = { ...this.#routes, ...gauges.open };
    return { ...readings, counters: { ...counters, accepted }, gauges: { ...gauges, open } };
  }
}

/** What clients connect to, each with 0. */
function routesOf({ app }: PartContext): Counts {
  const served = app.router.routes.filter(({ kind }) => kind !== "http").map(({ pattern }) => pattern);
  return served.length > MAX_ROUTES ? {} : Object.fromEntries(served.map((pattern) => [pattern, 0]));
}

function refuse(response: ServerResponse, status: number, code: string, message: string): void {
  if (response.headersSent) return void response.destroy();
  const body = JSON.stringify({ error: { code, message } });
  response.writeHead(status, {
    "Content-Type": "application/json; charset=utf-8",
    "Content-Length": Buffer.byteLength(body),
    "Cache-Control": "no-store",
  });
  response.end(body);
}
