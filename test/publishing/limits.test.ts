import { gzipSync } from "node:zlib";
import { expect, test } from "@jest/globals";
import { createPublishingKey } from "sluice/publishing";
import { gate, until } from "../server/live-server.ts";
import { FakeLayer, type RawHttp, refusal, type Scene, scene } from "./scene.ts";

const path = "/groups/chat.a/events";
const event = { event: "e" };
const CHUNKED = ["Content-Type: application/json", "Transfer-Encoding: chunked"];

/** Timers that this process waits for, of whatever kind. */
function timers(): number {
  return process.getActiveResourcesInfo().filter((kind) => kind === "Timeout").length;
}

async function begun({ raw, key }: Scene, lines: readonly string[], withKey = key): Promise<RawHttp> {
  const client = await raw();
  client.begin(path, [`Authorization: Bearer ${withKey}`, ...lines]);
  return client;
}

test.each([
  ["text/plain"],
  ["application/x-www-form-urlencoded"],
  ["multipart/form-data; boundary=x"],
  ["application/jsonp"],
  ["application/json; charset=latin1"],
  ["application/json, text/plain"],
])("%s is 415", async (type) => {
  const layer = new FakeLayer();
  const { post } = await scene({ layer });
  const answer = await post(path, event, { headers: { "content-type": type } });
  expect([answer.status, answer.body]).toEqual([415, refusal("unsupported_media_type")]);
  expect(layer.emitted).toEqual([]);
});

test("JSON may say that it is UTF-8", async () => {
  const { post } = await scene();
  for (const type of ["application/json; charset=utf-8", 'Application/JSON;charset="UTF-8"']) {
    expect((await post(path, event, { headers: { "content-type": type } })).status).toBe(202);
  }
});

test("no type, two types and a compressed body are 415", async () => {
  const { post, ...rest } = await scene();
  const body = gzipSync(JSON.stringify({ event: "e", payload: " ".repeat(1_000_000) }));
  const zipped = await post(path, body, { headers: { "content-encoding": "gzip" } });
  expect([zipped.status, zipped.headers.get("accept-encoding")]).toEqual([415, "identity"]);
  const type = "Content-Type: application/json";
  for (const lines of [[], [type, "Content-Type: text/plain"], [type, type]]) {
    const client = await begun({ post, ...rest }, ["Content-Length: 13", ...lines]);
    client.write('{"event":"e"}');
    expect(await client.answers()).toEqual([415]);
  }
});

test("a body that announces too much is 413 before it is sent; one of just the size is taken", async () => {
  const there = await scene({ limits: { bodyBytes: 1_000 } });
  const client = await begun(there, ["Content-Type: application/json", "Content-Length: 1001"]);
  expect(await client.answers()).toEqual([413]);
  const fitting = `{"event":"e","payload":"${"x".repeat(1_000 - 26)}"}`;
  expect(fitting).toHaveLength(1_000);
  expect((await there.post(path, fitting)).status).toBe(202);
  const large = await there.post(path, { event: "e", payload: "x".repeat(3_000_000) });
  expect([large.status, large.body]).toEqual([413, refusal("message_too_large")]);
});

test("a body in chunks that grows too large is 413, and the connection goes on after its end", async () => {
  const there = await scene({ limits: { bodyBytes: 1_000 } });
  const client = await begun(there, CHUNKED);
  const chunk = `3e8\r\n${"x".repeat(1_000)}\r\n`;
  client.write(chunk);
  client.write(chunk);
  expect(await client.answers()).toEqual([413]);
  client.write(`${chunk}0\r\n\r\n`);
  client.begin(path, [`Authorization: Bearer ${there.key}`, ...CHUNKED]);
  client.write('d\r\n{"event":"e"}\r\n0\r\n\r\n');
  expect(await client.answers(2)).toEqual([413, 202]);
});

test("a body in very many chunks of one byte arrives as it is", async () => {
  const there = await scene();
  const ann = await there.listener("chat.a");
  const payload = "0123456789".repeat(2_000);
  const client = await begun(there, CHUNKED);
  const bytes = [...JSON.stringify({ event: "slow", payload })];
  client.write(`${bytes.map((byte) => `1\r\n${byte}\r\n`).join("")}0\r\n\r\n`);
  expect(await client.answers()).toEqual([202]);
  expect(await ann.until("slow")).toEqual([["slow", payload]]);
});

test("a body that stalls is 408, and the connection is cut", async () => {
  const there = await scene({ bodyTimeoutMs: 100 });
  const clients = [
    await begun(there, [...CHUNKED]),
    await begun(there, ["Content-Type: application/json", "Content-Length: 13"]),
  ];
  clients[0]?.write('5\r\n{"eve\r\n');
  clients[1]?.write('{"event"');
  for (const client of clients) {
    expect(await client.answers()).toEqual([408]);
    expect(client.received).toContain("body_timeout");
    await client.closed();
  }
  expect((await there.post(path, event)).status).toBe(202);
});

test("who was refused and goes on sending without end is cut as well", async () => {
  const there = await scene({ bodyTimeoutMs: 100, limits: { bodyBytes: 1_000 } });
  const clients = [
    await begun(there, CHUNKED, createPublishingKey().key),
    await begun(there, ["Content-Type: application/json", "Content-Length: 100000000"]),
    await begun(there, ["Content-Type: text/plain", "Transfer-Encoding: chunked"]),
  ];
  const chunk = `3e8\r\n${"x".repeat(1_000)}\r\n`;
  const senders = clients.map((client) => setInterval(() => client.write(chunk), 5));
  try {
    for (const client of clients) await client.closed();
  } finally {
    for (const sender of senders) clearInterval(sender);
  }
  expect(clients.map(({ statuses }) => statuses)).toEqual([[401], [413], [415]]);
});

test("a client that vanishes within its body leaves nothing, and may come again at once", async () => {
  const there = await scene({ limits: { concurrentRequests: 1 } });
  const before = timers();
  const client = await begun(there, CHUNKED);
  client.write('5\r\n{"eve\r\n');
  let answer = await there.post(path, event);
  await until(() => timers() > before, "a body is awaited");
  client.socket.destroy();
  while (answer.status === 429) answer = await there.post(path, event);
  expect(answer.status).toBe(202);
});

test("no timer outlives its request", async () => {
  const there = await scene({ bodyTimeoutMs: 1_000_000 });
  const client = await there.raw();
  const before = timers();
  const body = 'd\r\n{"event":"e"}\r\n0\r\n\r\n';
  for (let i = 0; i < 30; i++) {
    const key = i % 2 === 0 ? there.key : createPublishingKey().key;
    client.begin(path, [`Authorization: Bearer ${key}`, ...CHUNKED]);
    client.write(body);
    await client.answers(i + 1);
  }
  expect(new Set(client.statuses)).toEqual(new Set([202, 401]));
  // Node's own for the connection.
  expect(timers()).toBeLessThanOrEqual(before + 2);
});

test("nor does one outlive a refused request whose client goes within its body", async () => {
  const there = await scene({ bodyTimeoutMs: 1_000_000 });
  const before = timers();
  for (const key of [there.key, createPublishingKey().key]) {
    const client = await begun(there, ["Content-Type: text/plain", "Content-Length: 13"], key);
    client.write("half");
    await client.answers();
    client.socket.destroy();
  }
  await until(() => timers() <= before, "the timers are gone");
});

test("requests over the limit are 429 with Retry-After, for each client apart", async () => {
  const other = createPublishingKey();
  const one = createPublishingKey();
  const groups = ["chat.*"];
  const { post } = await scene({
    limits: { requestsPerSecond: 1 },
    keys: [
      { name: "one", hash: one.hash, groups },
      { name: "other", hash: other.hash, groups },
    ],
  });
  const answers = await Promise.all(Array.from({ length: 20 }, () => post(path, event, { key: one.key })));
  const refused = answers.filter(({ status }) => status === 429);
  expect(refused.length).toBeGreaterThan(0);
  expect(answers.length - refused.length).toBeGreaterThanOrEqual(2);
  for (const { body, headers } of refused) {
    expect(body).toEqual(refusal("rate_limited"));
    expect(headers.get("retry-after")).toBe("1");
  }
  expect((await post(path, event, { key: other.key })).status).toBe(202);
});

test("events over the limit are 429 as a whole batch; Retry-After says when there is room for it", async () => {
  const layer = new FakeLayer();
  const { post } = await scene({ layer, limits: { eventsPerSecond: 1, eventsPerBatch: 20 } });
  const batch = (count: number) =>
    post("/events", { events: Array(count).fill({ group: "chat.a", event: "e" }) });
  expect((await batch(20)).status).toBe(202);
  const refused = await batch(20);
  expect([refused.status, refused.body]).toEqual([429, refusal("rate_limited")]);
  expect(Number(refused.headers.get("retry-after"))).toBeGreaterThanOrEqual(2);
  expect(layer.emitted).toHaveLength(20);
});

test("a replay costs no events", async () => {
  const layer = new FakeLayer();
  const { post } = await scene({ layer, limits: { eventsPerSecond: 1, eventsPerBatch: 1 } });
  const headers = { "idempotency-key": "k1" };
  for (let i = 0; i < 5; i++) expect((await post(path, event, { headers })).status).toBe(202);
  expect(layer.emitted).toHaveLength(1);
});

test("more requests at once than may be are 429, until one has ended", async () => {
  const layer = new FakeLayer();
  const { passed, open } = gate();
  layer.answer = () => passed;
  const { post } = await scene({ layer, limits: { concurrentRequests: 2 } });
  const running = [post(path, event), post(path, event)];
  await until(() => layer.emitted.length === 2, "two run");
  const third = await post(path, event);
  expect([third.status, third.body]).toEqual([429, refusal("rate_limited", "too many requests at once")]);
  open();
  expect((await Promise.all(running)).map(({ status }) => status)).toEqual([202, 202]);
  expect((await post(path, event)).status).toBe(202);
});

test("too many wrong keys from one address are 429; a valid key from there still goes", async () => {
  const { post, app } = await scene({ limits: { wrongKeysPerMinute: 3 } });
  const denials: unknown[] = [];
  app.signals.denied.connect((fact) => denials.push(fact));
  const { key } = createPublishingKey();
  const statuses: number[] = [];
  for (let i = 0; i < 5; i++) statuses.push((await post(path, event, { key })).status);
  expect(statuses).toEqual([401, 401, 401, 429, 429]);
  const last = await post(path, event, { key });
  expect(Number(last.headers.get("retry-after"))).toBeGreaterThanOrEqual(2);
  expect(denials).toHaveLength(3);
  expect((await post(path, event)).status).toBe(202);
});

test("behind a trusted proxy wrong keys are counted by the address it reports", async () => {
  const { post } = await scene({ limits: { wrongKeysPerMinute: 1 }, server: { trustedProxies: 1 } });
  const { key } = createPublishingKey();
  const from = async (address: string) =>
    (await post(path, event, { key, headers: { "x-forwarded-for": address } })).status;
  expect(await from("10.0.0.1")).toBe(401);
  expect(await from("10.0.0.2, 10.0.0.1")).toBe(429);
  expect(await from("10.0.0.2")).toBe(401);
  expect(await from("2001:db8::1")).toBe(401);
  expect(await from("2001:db8::2")).toBe(429);
  expect(await from("not an address")).toBe(401);
  expect(await from("nor this")).toBe(429);
  expect(await from("10.0.0.3:4711")).toBe(401);
  expect(await from("10.0.0.3:4712")).toBe(429);
});

test("without a trusted proxy nobody chooses the address that counts", async () => {
  const { post } = await scene({ limits: { wrongKeysPerMinute: 1 } });
  const { key } = createPublishingKey();
  const from = async (address: string) =>
    (await post(path, event, { key, headers: { "x-forwarded-for": address } })).status;
  expect([await from("10.0.0.1"), await from("10.0.0.2")]).toEqual([401, 429]);
});
