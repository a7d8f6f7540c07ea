import { request as ask, createServer } from "node:http";
import { connect } from "node:net";
import { expect, test } from "@jest/globals";
import { Counter, Gauge, Registry } from "prom-client";
import {
  type ApplicationPart,
  CloseCode,
  ConfigurationError,
  Consumer,
  createApplication,
  http,
  MemoryBackplane,
  route,
} from "sluice";
import { CATALOGUE, type MetricsOptions, metrics } from "sluice/metrics";
import { createServer as createSluice, type ServerOptions } from "sluice/server";
import { MemoryBroker, Tasks, task } from "sluice/tasks";
import { TestClient, untilIdle } from "sluice/testing";
import { atEnd, connected, Echo, gate, serve, until } from "../server/live-server.ts";
import { samplesOf } from "./samples.ts";

class Room extends Consumer {
  override async connect() {
    await this.groupAdd("room.secret-name");
    if (this.scope.auth.denied) this.deny(4403, "no");
  }
  override async receive(event: string, payload: unknown) {
    if (event === "fail") throw new Error("a bug");
    await this.groupEmit("room.secret-name", "said", payload);
    this.send("heard", payload);
    return "ok";
  }
}

const routes = [route("/room/:room", Room), route("/echo", Echo)];

function node(options: MetricsOptions = {}, server: ServerOptions = {}) {
  return serve({ routes, parts: [metrics(options)] }, server);
}

/** By Node's own client, as `fetch` lets nobody choose the Host header. */
function get(
  url: string,
  headers: Record<string, string> = {},
  method = "GET",
): Promise<{ status: number | undefined; text: string; headers: Record<string, unknown> }> {
  return new Promise((resolve, reject) => {
    const asked = ask(url, { headers, method, agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (more) => {
        text += more;
      });
      response.on("end", () => resolve({ status: response.statusCode, text, headers: response.headers }));
    });
    asked.on("error", reject);
    asked.end();
  });
}

/** Resolves when a scrape shows it. */
async function scraped(url: string, shows: (samples: ReadonlyMap<string, number>) => boolean): Promise<void> {
  const givenUpAt = performance.now() + 10_000;
  while (!shows(samplesOf((await get(`${url}/metrics`)).text))) {
    if (performance.now() > givenUpAt) throw new Error("no scrape shows it");
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

test("a scrape tells what clients did, in Prometheus' text, with routes by their pattern and nobody's name", async () => {
  const live = await node();
  const client = await connected(live.client("/room/hidden-room", { auth: { user: "hidden-user" } }));
  await client.emitWithAck("say", "hidden-text");
  const { status, text, headers } = await get(`${live.url}/metrics`);
  expect(status).toBe(200);
  expect(headers["content-type"]).toBe("text/plain; version=0.0.4; charset=utf-8");
  expect(headers["cache-control"]).toBe("no-store");
  const samples = samplesOf(text);
  expect(samples.get('sluice_connections{route="/room/:room"}')).toBe(1);
  expect(samples.get('sluice_connections_accepted_total{route="/room/:room"}')).toBe(1);
  expect(samples.get("sluice_events_received_total")).toBe(1);
  expect(samples.get("sluice_group_messages_total")).toBe(1);
  expect(samples.get("sluice_events_sent_total")).toBe(1);
  expect(samples.get('sluice_deliveries_total{to="client"}')).toBe(1);
  expect(samples.get('sluice_limited_total{limit="eventsPerSecond"}')).toBe(0);
  expect(samples.get('sluice_backplane_up{layer="default"}')).toBe(1);
  expect(samples.get("sluice_serving")).toBe(1);
  expect(samples.get("sluice_transport_connections")).toBe(1);
  expect(samples.get('sluice_handler_seconds_count{route="/room/:room"}')).toBe(1);
  expect(samples.get('sluice_handler_seconds_bucket{le="+Inf",route="/room/:room"}')).toBe(1);
  expect(samples.get('sluice_mailbox_wait_seconds_count{route="/room/:room"}')).toBe(1);
  expect(samples.has("nodejs_eventloop_lag_p99_seconds")).toBe(true);
  expect(samples.has("process_resident_memory_bytes")).toBe(true);
  expect(text).not.toMatch(/hidden|secret-name/);
  // There are no tasks, so nothing is said of them.
  expect([...samples.keys()].filter((name) => name.startsWith("sluice_tasks"))).toEqual([]);
});

test("routes and close codes are told from the start on, so that a rate misses nobody who comes first", async () => {
  const live = await node();
  const samples = samplesOf((await get(`${live.url}/metrics`)).text);
  for (const name of ["sluice_connections", "sluice_connections_accepted_total"]) {
    const told = [...samples].filter(([line]) => line.startsWith(`${name}{`));
    expect(told).toEqual(["/room/:room", "/echo"].map((pattern) => [`${name}{route="${pattern}"}`, 0]));
  }
  for (const code of Object.values(CloseCode)) {
    expect(samples.get(`sluice_connections_denied_total{code="${code}"}`)).toBe(0);
  }
});

test("the buckets of a histogram add up, in seconds", async () => {
  const live = await node();
  const client = await connected(live.client("/echo"));
  for (let i = 0; i < 5; i += 1) await client.emitWithAck("say", i);
  const samples = samplesOf((await get(`${live.url}/metrics`)).text);
  const buckets = [...samples].filter(([name]) => name.startsWith("sluice_handler_seconds_bucket"));
  const counts = buckets.map(([, count]) => count);
  expect(counts).toEqual([...counts].sort((a, b) => a - b));
  expect(counts.at(-1)).toBe(5);
  expect(buckets[0]?.[0]).toContain('le="0.001"');
  expect(samples.get('sluice_handler_seconds_sum{route="/echo"}')).toBeLessThan(5);
});

test("refusals, limits and drops are told by reason", async () => {
  const app = createApplication({ routes, limits: { eventsPerSecond: 1 }, parts: [metrics()] });
  atEnd(() => app.stop());
  const part = app.parts[0] as ReturnType<typeof metrics>;
  const client = new TestClient(app, "/room/a");
  await client.connect();
  await new TestClient(app, "/room/a", { auth: { denied: true } }).connect();
  await new TestClient(app, "/nowhere").connect();
  await Promise.all([1, 2, 3].map(() => client.emit("say").catch(() => {})));
  await app.layer.groupSend("room.secret-name", { type: "no.handler" });
  await app.layer.send(`${app.node}!gone`, { type: "chat.ask" });
  await untilIdle(app);
  const samples = samplesOf(await part.text());
  expect(samples.get('sluice_connections_denied_total{code="4403"}')).toBe(1);
  expect(samples.get('sluice_connections_denied_total{code="4404"}')).toBe(1);
  expect(samples.get('sluice_limited_total{limit="eventsPerSecond"}')).toBe(1);
  expect(samples.get('sluice_events_refused_total{code="rate_limited"}')).toBe(1);
  expect(samples.get('sluice_dropped_total{cause="no-handler"}')).toBe(1);
  expect(samples.get('sluice_dropped_total{cause="no-channel"}')).toBe(1);
  expect(samples.get("sluice_channel_messages_total")).toBe(1);
});

test("a slow client that was cut, and a backplane that is down, show", async () => {
  const backplane = new MemoryBackplane();
  let listener: Parameters<MemoryBackplane["open"]>[0] | undefined;
  const open = backplane.open.bind(backplane);
  backplane.open = (given) => {
    listener = given;
    return open(given);
  };
  const live = await serve({
    routes,
    backplane,
    parts: [metrics()],
    limits: { maxWaitingBytes: 100_000 },
  });
  const raw = await live.raw();
  await raw.enter("/room/a");
  raw.socket.pause();
  const text = "x".repeat(60_000);
  await until(() => {
    void live.app.layer.groupEmit("room.secret-name", "said", text);
    return live.app.readings().counters.limited.maxWaitingBytes === 1;
  }, "it was cut");
  await until(() => live.app.sizes.connections === 0, "it has gone");
  const seen = samplesOf((await get(`${live.url}/metrics`)).text);
  expect(seen.get("sluice_slow_clients_cut_total")).toBe(1);
  expect(seen.get('sluice_limited_total{limit="maxWaitingBytes"}')).toBe(1);
  expect(seen.get('sluice_connections_ended_total{reason="limit"}')).toBe(1);
  listener?.down("gone");
  await scraped(live.url, (samples) => samples.get('sluice_backplane_up{layer="default"}') === 0);
  raw.socket.terminate();
});

test("what must never happen is told from the start on, so that the first time is seen as an increase", async () => {
  const part = metrics();
  const tasks = new Tasks({
    tasks: [task("nightly", {}, async () => {})],
    broker: new MemoryBroker(),
    path: "",
  });
  const app = createApplication({ routes, parts: [tasks, part] });
  atEnd(() => app.stop());
  await app.start();
  const samples = samplesOf(await part.text());
  for (const line of [
    'sluice_history_gaps_total{reason="trimmed"}',
    'sluice_unopened_total{carrier="history"}',
    'sluice_dropped_total{cause="mailbox-full"}',
    'sluice_tasks_ended_total{task="nightly",outcome="failed"}',
  ]) {
    expect([line, samples.get(line)]).toEqual([line, 0]);
  }
});

test("tasks are told by name and outcome, how long they took, and what waits in which queue", async () => {
  let attempts = 0;
  const fine = task("fine", {}, async () => "done");
  const shaky = task("shaky", { retry: { attempts: 2, minMs: 1 } }, async () => {
    attempts += 1;
    if (attempts === 1) throw new Error("once");
  });
  const later = task("later", {}, async () => {});
  const tasks = new Tasks({ tasks: [fine, shaky, later], broker: new MemoryBroker(), path: "" });
  const part = metrics();
  const app = createApplication({ routes, parts: [tasks, part] });
  atEnd(() => app.stop());
  await app.start();
  await (await fine.enqueue(undefined)).result({ timeoutMs: 10_000 });
  await (await shaky.enqueue(undefined)).result({ timeoutMs: 10_000 });
  await later.enqueue(undefined, { delayMs: 60_000 });
  const samples = samplesOf(await part.text());
  expect(samples.get('sluice_tasks_queued_total{task="fine"}')).toBe(1);
  expect(samples.get('sluice_tasks_ended_total{task="fine",outcome="done"}')).toBe(1);
  expect(samples.get('sluice_tasks_ended_total{task="shaky",outcome="retried"}')).toBe(1);
  expect(samples.get('sluice_tasks_ended_total{task="shaky",outcome="done"}')).toBe(1);
  expect(samples.get('sluice_task_seconds_count{task="fine"}')).toBe(1);
  expect(samples.get('sluice_task_wait_seconds_count{queue="default"}')).toBe(3);
  expect(samples.get("sluice_tasks_broker_up")).toBe(1);
  expect(samples.get("sluice_tasks_running")).toBe(0);
  expect(samples.get("sluice_tasks_workers")).toBe(1);
  expect(samples.get('sluice_tasks_jobs{queue="default",state="delayed"}')).toBe(1);
  expect(samples.get('sluice_tasks_jobs{queue="default",state="waiting"}')).toBe(0);
});

test("who is not on this machine needs the token", async () => {
  const token = "t0ken-of-enough-letters";
  const live = await node({ token: ["another-token-of-enough", token], loopback: false });
  const url = `${live.url}/metrics`;
  const denied: unknown[] = [];
  live.app.signals.denied.connect((fact) => void denied.push(fact));
  const refused = await get(url);
  expect([refused.status, refused.headers["www-authenticate"]]).toEqual([401, 'Bearer realm="metrics"']);
  expect(refused.text).not.toContain("sluice_");
  for (const authorization of [
    `Bearer ${token}x`,
    `Bearer ${token.slice(0, -1)}`,
    "Bearer ",
    `Basic ${token}`,
    token,
    "Bearer a b",
  ]) {
    expect((await get(url, { authorization })).status).toBe(401);
  }
  expect((await get(url, { authorization: `Bearer ${token}` })).status).toBe(200);
  expect((await get(url, { authorization: `bearer ${token}` })).status).toBe(200);
  expect(denied).toHaveLength(7);
  expect(denied[0]).toMatchObject({ namespace: "/metrics", code: 4401 });
  expect(JSON.stringify(denied)).not.toContain(token);
});

test("or the function that allows says who may; one that throws allows nobody, and that is announced", async () => {
  const seen: unknown[] = [];
  const live = await node({
    loopback: false,
    allow: async ({ headers }, { remoteAddress }) => {
      seen.push(remoteAddress);
      if (headers["x-who"] === "broken") throw new Error("broken rule");
      if (headers["x-who"] === "almost") return "almost" as never;
      return headers["x-who"] === "prometheus";
    },
  });
  const failures: unknown[] = [];
  live.app.signals.failed.connect(({ hook, error }) => void failures.push([hook, (error as Error).message]));
  const url = `${live.url}/metrics`;
  expect((await get(url, { "x-who": "prometheus" })).status).toBe(200);
  expect((await get(url, { "x-who": "anybody" })).status).toBe(403);
  expect((await get(url, { "x-who": "almost" })).status).toBe(403);
  expect((await get(url, { "x-who": "broken" })).status).toBe(403);
  expect(failures).toEqual([["http", "broken rule"]]);
  expect(seen[0]).toBe("127.0.0.1");
});

test.each([
  ["a program on this machine", 0, {}, 200],
  ["the same by the name localhost", 0, { host: "localhost:1" }, 200],
  ["the same by its address in IPv6", 0, { host: "[::1]:3000" }, 200],
  ["a page whose name was made to point here", 0, { host: "evil.example" }, 403],
  ["one whose name begins like that of here", 0, { host: "localhost.evil.example" }, 403],
  ["one whose name begins like an address of here", 0, { host: "127.0.0.1.evil.example" }, 403],
  ["a proxy on this machine that is not trusted", 0, { "x-forwarded-for": "203.0.113.9" }, 403],
  ["one that is not trusted, for somebody here", 0, { "x-forwarded-for": "127.0.0.1" }, 403],
  ["one that says so in another way", 0, { forwarded: "for=203.0.113.9" }, 403],
  ["a trusted proxy, for somebody elsewhere", 1, { "x-forwarded-for": "203.0.113.9" }, 403],
  ["a trusted proxy, for a liar elsewhere", 1, { "x-forwarded-for": "127.0.0.1, 203.0.113.9" }, 403],
  ["a trusted proxy, for one here that is none", 1, { "x-forwarded-for": "203.0.113.9, 127.0.0.1" }, 403],
  ["a trusted proxy, for somebody here", 1, { "x-forwarded-for": "127.0.0.1" }, 200],
  ["a trusted proxy that says so in another way", 1, { "x-real-ip": "203.0.113.9" }, 403],
  ["one that names a port, too", 1, { "x-forwarded-for": "203.0.113.9:4711" }, 403],
  ["one that does not know for whom", 1, { "x-forwarded-for": "unknown" }, 403],
  ["one that says no more than how it was asked", 0, { "x-forwarded-proto": "https" }, 403],
  ["a tunnel that has words of its own", 0, { "cf-connecting-ip": "203.0.113.9" }, 403],
  ["another one", 0, { "true-client-ip": "203.0.113.9" }, 403],
  ["two trusted proxies, for a liar", 2, { "x-forwarded-for": "127.0.0.1, 203.0.113.9, 127.0.0.1" }, 403],
])("from loopback asks %s", async (_who, trustedProxies, headers, status) => {
  const live = await node({}, { trustedProxies });
  expect((await get(`${live.url}/metrics`, headers as unknown as Record<string, string>)).status).toBe(
    status,
  );
});

test("a proxy on this machine that was told nothing but where to ask is known by the version it asks in", async () => {
  const live = await node();
  const answer = await new Promise<string>((resolve, reject) => {
    const { port, host } = new URL(live.url);
    const socket = connect(Number(port), "127.0.0.1");
    let text = "";
    socket.setEncoding("utf8").on("data", (more) => {
      text += more;
    });
    socket.on("end", () => resolve(text));
    socket.on("error", reject);
    socket.write(`GET /metrics HTTP/1.0\r\nHost: ${host}\r\nConnection: close\r\n\r\n`);
  });
  expect(answer).toMatch(/^HTTP\/1\.1 403 /);
});

test("it answers before routes and middleware, at its path alone, and to GET and HEAD alone", async () => {
  const live = await serve(
    { routes, parts: [metrics({ path: "/internal/metrics" })], middleware: [() => Promise.reject()] },
    { rootPath: "/app" },
  );
  expect((await get(`${live.url}/internal/metrics?a=b`)).status).toBe(200);
  expect((await get(`${live.url}/app/internal/metrics`)).status).toBe(200);
  expect((await get(`${live.url}/metrics`)).status).toBe(404);
  expect((await get(`${live.url}/internal/metrics/`)).status).toBe(404);
  const head = await get(`${live.url}/internal/metrics`, {}, "HEAD");
  expect([head.status, head.text]).toEqual([200, ""]);
  expect(Number(head.headers["content-length"])).toBeGreaterThan(1_000);
  const post = await get(`${live.url}/internal/metrics`, {}, "POST");
  expect([post.status, post.headers.allow]).toEqual([405, "GET, HEAD"]);
});

test("many who ask at once are given one reading, and see what is of then", async () => {
  const live = await node();
  const texts = await Promise.all(Array.from({ length: 20 }, () => get(`${live.url}/metrics`)));
  expect(new Set(texts.map(({ status }) => status))).toEqual(new Set([200]));
  await connected(live.client("/echo"));
  await scraped(live.url, (samples) => samples.get('sluice_connections{route="/echo"}') === 1);
});

test("a storm of scrapes costs what a few of them do", async () => {
  const registry = new Registry();
  let asked = 0;
  new Gauge({
    ...{ name: "orders_open", help: "Orders", registers: [registry] },
    collect() {
      asked += 1;
    },
  });
  const live = await node({ registry });
  const scrapes = await Promise.all(Array.from({ length: 300 }, () => get(`${live.url}/metrics`)));
  expect(new Set(scrapes.map(({ status }) => status))).toEqual(new Set([200]));
  // As many as the time it takes has tenths of a second, on however slow a machine.
  expect(asked).toBeLessThan(100);
});

test("of many who ask while a scrape is being written each is given that one, and all metrics of it are of one look", async () => {
  const [asked, looks] = [gate(), [] as string[]];
  const counting: ApplicationPart = {
    open: async () => {},
    close: async () => {},
    readings() {
      looks.push("node");
      return {};
    },
  };
  const registry = new Registry();
  new Gauge({
    ...{ name: "orders_open", help: "Orders", registers: [registry] },
    async collect() {
      looks.push("orders");
      await asked.passed;
    },
  });
  const part = metrics({ registry });
  await serve({ routes, parts: [counting, part] });
  looks.length = 0;
  const texts = Array.from({ length: 20 }, () => part.text());
  await until(() => looks.includes("orders"), "the gauge is asked");
  asked.open();
  expect(new Set(await Promise.all(texts)).size).toBe(1);
  expect(looks.sort()).toEqual(["node", "orders"]);
});

test("routes are told from the start on unless there are more than 100, and none over HTTP", async () => {
  const many = (count: number) => Array.from({ length: count }, (_, n) => route(`/r${n}`, Echo));
  const page = http("/page", (_request, response) => void response.end());
  const told = async (count: number) => {
    const live = await serve({ routes: [...many(count), page], parts: [metrics()] });
    const names = [...samplesOf((await get(`${live.url}/metrics`)).text).keys()];
    return names.filter((name) => /^sluice_connections\{route="\/(r\d+|page)"\}$/.test(name)).length;
  };
  expect([await told(100), await told(101)]).toEqual([100, 0]);
});

test("a process that serves nobody tells of no routes", async () => {
  const part = metrics();
  const app = createApplication({ routes, parts: [part] });
  atEnd(() => app.stop());
  await app.start();
  const text = await part.text();
  expect(text).toContain("sluice_events_received_total 0");
  expect(text).not.toContain('route="');
  await app.stop();
  expect(await part.text()).not.toContain("sluice_");
});

test("before the start and after the end there is nothing to tell", async () => {
  const own = createServer();
  await new Promise<void>((resolve) => own.listen(0, "127.0.0.1", resolve));
  const { port } = own.address() as { port: number };
  atEnd(() => own.close());
  const app = createApplication({ routes, parts: [metrics()] });
  const server = createSluice(app, { server: own });
  const url = `http://127.0.0.1:${port}/metrics`;
  const opened = gate();
  const begun = app.start;
  app.start = async () => {
    await opened.passed;
    return begun.call(app);
  };
  const listening = server.listen();
  expect((await get(url)).status).toBe(503);
  opened.open();
  await listening;
  expect((await get(url)).status).toBe(200);
  await server.stop();
  const { status, text } = await get(url);
  expect([status, JSON.parse(text).error.code]).toEqual([503, "unavailable"]);
});

test("what several processes tell is in Prometheus' own format, whatever that of a registry of yours", async () => {
  const registry = new Registry();
  registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE as never);
  const siblings = { name: "1", answer: () => () => {}, ask: async () => new Map([["2", undefined]]) };
  const live = await node({ registry, siblings });
  const { headers, text } = await get(`${live.url}/metrics`);
  expect(headers["content-type"]).toBe(Registry.PROMETHEUS_CONTENT_TYPE);
  expect(text).not.toContain("# EOF");
  expect(samplesOf(text).get('sluice_process_up{process="2"}')).toBe(0);
});

test("a token has 16 characters or more", () => {
  expect(() => metrics({ token: "x".repeat(15) })).toThrow("metrics.token must be text of at least 16");
  expect(() => metrics({ token: ["x".repeat(16)] })).not.toThrow();
});

test("a registry of yours tells yours and ours, and is yours again afterwards", async () => {
  const registry = new Registry();
  new Counter({ name: "orders_total", help: "Orders", registers: [registry] }).inc(3);
  const part = metrics({ registry });
  const app = createApplication({ routes, parts: [part] });
  await app.start();
  const samples = samplesOf(await registry.metrics());
  expect(samples.get("orders_total")).toBe(3);
  expect(samples.get("sluice_events_received_total")).toBe(0);
  expect(samples.has("process_resident_memory_bytes")).toBe(false);
  const second = createApplication({ routes, parts: [metrics({ registry })] });
  await expect(second.start()).rejects.toThrow(ConfigurationError);
  await app.stop();
  expect([...samplesOf(await registry.metrics()).keys()]).toEqual(["orders_total"]);
  // Also for the next application.
  const third = createApplication({ routes, parts: [metrics({ registry })] });
  await third.start();
  await third.stop();
});

test("a metric of yours that never says its value, or throws, is told without, and all others are told", async () => {
  const registry = new Registry();
  const answer = gate();
  let asked = 0;
  new Gauge({
    ...{ name: "orders_open", help: "Orders\nthat are open", registers: [registry] },
    collect() {
      asked += 1;
      return answer.passed.then(() => this.set(7));
    },
  });
  new Gauge({
    ...{ name: "orders_late", help: "Late orders", registers: [registry] },
    collect: () => Promise.reject(new Error("the table is locked")),
  });
  new Counter({ name: "orders_total", help: "Orders", registers: [registry] }).inc(3);
  const live = await node({ registry, collectTimeoutMs: 50 });
  const failures: string[] = [];
  live.app.signals.failed.connect(({ error }) => void failures.push((error as Error).message));
  const { status, text } = await get(`${live.url}/metrics`);
  expect(status).toBe(200);
  expect(samplesOf(text).get("orders_total")).toBe(3);
  expect(samplesOf(text).get("sluice_events_received_total")).toBe(0);
  expect(text).toContain("# HELP orders_open Orders\\nthat are open\n# TYPE orders_open gauge\n");
  expect(text).not.toMatch(/^orders_(open|late)/m);
  expect(failures.sort()).toEqual([
    "the metric orders_late cannot say its value: the table is locked",
    "the metric orders_open has not said its value within 50 ms, and is told without until it has",
  ]);
  // It is not asked, waited for or complained of again before it has answered.
  await get(`${live.url}/metrics`);
  expect([asked, failures.filter((words) => words.includes("orders_open")).length]).toEqual([1, 1]);
  answer.open();
  await scraped(live.url, (samples) => samples.get("orders_open") === 7);
});

test("ours have a limit of their own: a slow broker keeps none of them from being told", async () => {
  const asked = gate();
  class Silent extends MemoryBroker {
    override queues = () => asked.passed.then(() => []);
  }
  const tasks = new Tasks({ tasks: [], broker: new Silent(), path: "" });
  const limits = { collectTimeoutMs: 20, lookTimeoutMs: 200 };
  const live = await serve({ routes, parts: [tasks, metrics({ registry: new Registry(), ...limits })] });
  const failures: unknown[] = [];
  live.app.signals.failed.connect(({ error }) => void failures.push(error));
  const { text } = await get(`${live.url}/metrics`);
  expect([samplesOf(text).get("sluice_events_received_total"), failures]).toEqual([0, []]);
  asked.open();
});

test("what processes tell each other waits for no metric either", async () => {
  const registry = new Registry();
  new Gauge({
    ...{ name: "orders_open", help: "Orders", registers: [registry] },
    collect: () => new Promise<void>(() => {}),
  });
  new Counter({ name: "orders_total", help: "Orders", registers: [registry] }).inc(3);
  let tell = async () => "";
  const siblings = {
    name: "1",
    answer(told: () => Promise<string>) {
      tell = told;
      return () => {};
    },
    ask: async () => new Map([["2", await tell()]]),
  };
  const live = await node({ registry, siblings, collectTimeoutMs: 50 });
  const samples = samplesOf((await get(`${live.url}/metrics`)).text);
  expect([samples.get('orders_total{process="1"}'), samples.get('orders_total{process="2"}')]).toEqual([
    3, 3,
  ]);
});

test("faults of the options are listed, all at once", () => {
  const faulty = { path: "metrics", token: "short", allow: true, loopback: 1, registry: {}, prefix: "x" };
  let error: unknown;
  try {
    metrics(faulty as unknown as MetricsOptions);
  } catch (thrown) {
    error = thrown;
  }
  expect(error).toBeInstanceOf(ConfigurationError);
  for (const name of ["path", "token", "allow", "loopback", "registry", "prefix"]) {
    expect((error as Error).message).toContain(`metrics.${name}`);
  }
});

test("every name is Prometheus' own kind of name, and says what it is counted in", () => {
  const names = CATALOGUE.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
  for (const { name, type, help, labels } of CATALOGUE) {
    expect(name).toMatch(/^sluice_[a-z_]+$/);
    expect(name.endsWith("_total")).toBe(type === "counter");
    if (type === "histogram") expect(name).toMatch(/_seconds$/);
    expect(help.length).toBeGreaterThan(10);
    for (const label of labels) expect(label).toMatch(/^[a-z]+$/);
  }
});
