import { expect, test } from "@jest/globals";
import express from "express";
import { createApplication, LayerUnavailable, RateLimited } from "sluice";
import { createPublishingKey, publishing } from "sluice/publishing";
import { createServer } from "sluice/server";
import { atEnd, until } from "../server/live-server.ts";
import { FakeLayer, nodesOf, post, refusal, scene } from "./scene.ts";
import { key, keys } from "./some-keys.ts";

test("an event posted to a group reaches its members' clients, and nobody else's", async () => {
  const { post, listener } = await scene();
  const [ann, bob, elsewhere] = [
    await listener("chat.lobby"),
    await listener("chat.lobby"),
    await listener("chat.attic"),
  ];
  const answer = await post("/groups/chat.lobby/events", { event: "paid", payload: { order: 42 } });
  expect([answer.status, answer.body]).toEqual([202, { accepted: true }]);
  expect(answer.headers.get("content-type")).toMatch(/^application\/json/);
  expect(answer.headers.get("cache-control")).toBe("no-store");
  expect((await post("/groups/chat.attic/events", { event: "last" })).status).toBe(202);
  expect(await elsewhere.until("last")).toEqual([["last"]]);
  expect((await post("/groups/chat.lobby/events", { event: "last" })).status).toBe(202);
  for (const client of [ann, bob]) {
    expect(await client.until("last")).toEqual([["paid", { order: 42 }], ["last"]]);
  }
});

test.each<[string, unknown]>([
  ["null", null],
  ["text", "ünïcödé \u{1f600} \u2028"],
  ["a number", 0.1],
  ["false", false],
  ["a list", [1, [2, [3]]]],
  ["what looks like binary", { _placeholder: true, num: 0 }],
  ["names of the prototype", JSON.parse('{"__proto__":{"a":1},"constructor":1,"toJSON":"x"}')],
])("%s arrives as it was sent", async (_what, payload) => {
  const { post, listener } = await scene();
  const ann = await listener("chat.lobby");
  const body = `{"event":"said","payload":${JSON.stringify(payload)}}`;
  expect((await post("/groups/chat.lobby/events", body)).status).toBe(202);
  const [[, arrived] = []] = await ann.until("said");
  expect(JSON.stringify(arrived)).toBe(JSON.stringify(payload));
});

test("the clients of excepted channels do not get it", async () => {
  const { post, listener } = await scene();
  const [ann, bob] = [await listener("chat.lobby"), await listener("chat.lobby")];
  const path = "/groups/chat.lobby/events";
  expect((await post(path, { event: "one", except: ann.channel })).status).toBe(202);
  expect((await post(path, { event: "two", except: [ann.channel, bob.channel] })).status).toBe(202);
  expect((await post(path, { event: "last" })).status).toBe(202);
  expect(await ann.until("last")).toEqual([["last"]]);
  expect(await bob.until("last")).toEqual([["one"], ["last"]]);
});

test("members on another node get it, too", async () => {
  const [here, there, cluster] = await nodesOf();
  const ann = await there.listener("chat.lobby");
  cluster.delay(1);
  await here.post("/groups/chat.lobby/events", { event: "far", payload: 1 });
  expect(await cluster.letPass(ann.until("far"))).toEqual([["far", 1]]);
});

const LONG = "x".repeat(100);

test.each<[string, string, unknown, string]>([
  ["a reserved event", "chat.a", { event: "sluice.close" }, "invalid_name"],
  ["an event of Socket.IO", "chat.a", { event: "disconnect" }, "invalid_name"],
  ["an empty event", "chat.a", { event: "" }, "invalid_name"],
  ["an event with a line break", "chat.a", { event: "a\nb" }, "invalid_name"],
  ["a group with a space", "chat.a%20b", { event: "e" }, "invalid_name"],
  ["a group with a slash", "chat.a%2Fb", { event: "e" }, "invalid_name"],
  ["a channel that is none", "chat.a", { event: "e", except: ["nobody"] }, "invalid_name"],
  ["no event", "chat.a", { payload: 1 }, "invalid_message"],
  ["a number for an event", "chat.a", { event: 7 }, "invalid_message"],
  ["a field that is none", "chat.a", { event: "e", exclude: [] }, "invalid_message"],
  ["a group in the body as well", "chat.a", { event: "e", group: "chat.b" }, "invalid_message"],
  ["a field named __proto__", "chat.a", '{"event":"e","__proto__":{"except":["x"]}}', "invalid_message"],
  ["numbers for channels", "chat.a", { event: "e", except: [1] }, "invalid_message"],
  ["too many channels", "chat.a", { event: "e", except: Array(101).fill("a!b") }, "invalid_message"],
  ["an empty id", "chat.a", { event: "e", id: "" }, "invalid_message"],
  ["an id with a space", "chat.a", { event: "e", id: "a b" }, "invalid_message"],
  ["a list", "chat.a", [], "invalid_message"],
  ["null", "chat.a", "null", "invalid_message"],
  ["text", "chat.a", '"text"', "invalid_message"],
  ["broken JSON", "chat.a", "{broken", "invalid_message"],
  ["nothing", "chat.a", "", "invalid_message"],
  ["bytes that are no UTF-8", "chat.a", Buffer.from('{"event":"\xff"}', "latin1"), "invalid_message"],
  [
    "lists in lists",
    "chat.a",
    `{"event":"e","payload":${"[".repeat(250)}${"]".repeat(250)}}`,
    "invalid_message",
  ],
  [
    "very many lists in lists",
    "chat.a",
    `{"event":"e","id":"i","payload":${"[".repeat(200_000)}${"]".repeat(200_000)}}`,
    "invalid_message",
  ],
])("%s is refused with 400", async (_what, group, body, code) => {
  const { post, app } = await scene();
  const failures: unknown[] = [];
  app.signals.failed.connect((fact) => failures.push(fact));
  const answer = await post(`/groups/${group}/events`, body);
  expect([answer.status, answer.body]).toEqual([400, refusal(code)]);
  expect((await post("/groups/chat.a/events", { event: "fine" })).status).toBe(202);
  expect(failures).toEqual([]);
});

test("a reserved group is refused, whatever the key's patterns say", async () => {
  const made = createPublishingKey();
  const { post } = await scene({ keys: [{ name: "all", hash: made.hash, groups: ["*.*"] }] });
  const answer = await post("/groups/sluice.a/events", { event: "e" }, { key: made.key });
  expect([answer.status, answer.body]).toEqual([400, refusal("invalid_name")]);
});

test("what is wrong with an event is listed", async () => {
  const { post } = await scene();
  const { body } = await post("/groups/chat.a/events", { evnt: "e", id: 7, except: {} });
  expect(body).toEqual({
    error: {
      code: "invalid_message",
      message: "an event is { event, payload?, except?, id? }; see the details",
      details: [
        { path: "evnt", message: 'is no field; did you mean "event"?' },
        { path: "event", message: "must be text" },
        { path: "except", message: "must be a channel or a list of channels" },
        { path: "id", message: expect.any(String) },
      ],
    },
  });
});

test("a group that cannot be decoded is 400, another method 405, another path goes on", async () => {
  const { post, url, key } = await scene();
  const undecodable = await post("/groups/%zz/events", { event: "e" });
  expect([undecodable.status, undecodable.body]).toEqual([400, refusal("invalid_message")]);
  for (const method of ["GET", "PUT", "DELETE", "OPTIONS"]) {
    for (const path of ["/groups/chat.a/events", "/events"]) {
      const answer = await post(path, undefined, { method });
      expect([answer.status, answer.headers.get("allow"), answer.body]).toEqual([
        405,
        "POST",
        refusal("method_not_allowed"),
      ]);
    }
  }
  expect(await (await fetch(`${url}/other`)).text()).toBe("other");
  for (const path of [
    "/api/groups/chat.a",
    "/api/groups/chat.a/events/",
    "/api/Events",
    "/api/constructor",
  ]) {
    const answer = await fetch(url + path, { method: "POST", headers: { authorization: `Bearer ${key}` } });
    expect(answer.status).toBe(404);
  }
});

test("a payload larger than the layer takes is 413", async () => {
  const { post } = await scene({ application: { limits: { maxMessageBytes: 100 } } });
  const answer = await post("/groups/chat.a/events", { event: "e", payload: LONG });
  expect([answer.status, answer.body]).toEqual([413, refusal("message_too_large")]);
});

test("a layer that cannot take it now is 503 with Retry-After; one that is busy 429", async () => {
  const layer = new FakeLayer();
  const { post } = await scene({ layer });
  layer.answer = () => Promise.reject(new LayerUnavailable("Redis is away"));
  const away = await post("/groups/chat.a/events", { event: "e" });
  expect([away.status, away.body]).toEqual([503, refusal("layer_unavailable", "Redis is away")]);
  expect(Number(away.headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
  layer.answer = () => Promise.reject(new RateLimited("slower"));
  const busy = await post("/groups/chat.a/events", { event: "e" });
  expect([busy.status, busy.headers.get("retry-after")]).toEqual([429, expect.any(String)]);
});

test("while other nodes cannot be reached the answer says so", async () => {
  const layer = new FakeLayer();
  const { post } = await scene({ layer });
  layer.isDegraded = true;
  const one = await post("/groups/chat.a/events", { event: "e" });
  expect([one.status, one.body]).toEqual([202, { accepted: true, degraded: true }]);
  const batch = await post("/events", { events: [{ group: "chat.a", event: "e" }] });
  expect([batch.status, batch.body]).toMatchObject([202, { accepted: 1, degraded: true }]);
});

test("a bug below is 500 without saying why, and announced", async () => {
  const layer = new FakeLayer();
  const { app, post } = await scene({ layer });
  const errors: unknown[] = [];
  app.signals.failed.connect(({ hook, error }) => errors.push([hook, (error as Error).message]));
  layer.answer = () => Promise.reject(new Error("a secret"));
  const answer = await post("/groups/chat.a/events", { event: "e" });
  expect([answer.status, answer.body]).toEqual([
    500,
    { error: { code: "internal_error", message: "internal error" } },
  ]);
  expect(errors).toEqual([["http", "a secret"]]);
});

test("an application that is not started is 503", async () => {
  const app = createApplication({ routes: [] });
  const yours = express().use(publishing({ layer: app.layer, keys }));
  const http = yours.listen(0);
  atEnd(() => http.close());
  const { port } = http.address() as { port: number };
  const url = `http://127.0.0.1:${port}/groups/chat.a/events`;
  expect((await post(url, { event: "e" }, { key })).status).toBe(503);
  await app.start();
  atEnd(() => app.stop());
  expect((await post(url, { event: "e" }, { key })).status).toBe(202);
});

test("a body that something else has read is a failure that says what to do", async () => {
  const app = createApplication({ routes: [] });
  const server = createServer(app, { port: 0 });
  atEnd(() => server.stop());
  server.express.use(express.json(), publishing({ layer: app.layer, keys }));
  const errors: unknown[] = [];
  app.signals.failed.connect(({ error }) => errors.push((error as Error).message));
  const { url } = await server.listen();
  expect((await post(`${url}/groups/chat.a/events`, { event: "e" }, { key })).status).toBe(500);
  expect(errors).toEqual([expect.stringContaining("before express.json()")]);
});

test("what is posted while the server stops is answered: 503, worth another try", async () => {
  const { raw, server, key, app } = await scene();
  const client = await raw();
  const body = '{"event":"e"}';
  client.begin("/groups/chat.a/events", [
    `Authorization: Bearer ${key}`,
    "Content-Type: application/json",
    `Content-Length: ${body.length}`,
    "Expect: 100-continue",
  ]);
  await client.answers(1);
  const stopped = new Promise((resolve) => app.signals.stopped.connect(resolve));
  const stopping = server.stop();
  await stopped;
  client.write(body);
  expect(await client.answers(2)).toEqual([100, 503]);
  expect(client.received).toMatch(/retry-after: \d/i);
  await stopping;
  await until(() => client.isClosed, "the connection is closed");
});
