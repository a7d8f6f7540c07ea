import { expect, test } from "@jest/globals";
import { LayerUnavailable } from "sluice";
import { createPublishingKey } from "sluice/publishing";
import { gate, until } from "../server/live-server.ts";
import { FakeLayer, refusal, scene } from "./scene.ts";

const path = "/groups/chat.a/events";
const named = (name: string) => ({ headers: { "idempotency-key": name } });

test("the same request with the same Idempotency-Key is published once and answered alike", async () => {
  const { post, listener } = await scene();
  const ann = await listener("chat.a");
  const first = await post(path, { event: "paid", payload: 1 }, named("k1"));
  expect([first.status, first.headers.get("idempotent-replayed")]).toEqual([202, null]);
  for (const name of ["k1", '"k1"']) {
    const again = await post(path, { event: "paid", payload: 1 }, named(name));
    expect([again.status, again.body, again.headers.get("idempotent-replayed")]).toEqual([
      202,
      first.body,
      "true",
    ]);
  }
  await post(path, { event: "paid", payload: 1 }, named("k2"));
  await post(path, { event: "last" });
  expect(await ann.until("last")).toEqual([["paid", 1], ["paid", 1], ["last"]]);
});

test("the same Idempotency-Key with another body, or for another group, is 422", async () => {
  const { post } = await scene();
  await post(path, { event: "paid" }, named("k1"));
  const others = [
    await post(path, { event: "paid", payload: 1 }, named("k1")),
    await post("/groups/chat.b/events", { event: "paid" }, named("k1")),
    await post("/events", { event: "paid" }, named("k1")),
  ];
  for (const { status, body } of others) {
    expect([status, body]).toEqual([422, refusal("idempotency_key_reused")]);
  }
});

test("while the first request runs the second is 409, and afterwards gets the first's answer", async () => {
  const layer = new FakeLayer();
  const { passed, open } = gate();
  layer.answer = () => passed;
  const { post } = await scene({ layer });
  const first = post(path, { event: "e" }, named("k1"));
  await until(() => layer.emitted.length === 1, "the first runs");
  const second = await post(path, { event: "e" }, named("k1"));
  expect([second.status, second.body, second.headers.get("retry-after")]).toEqual([
    409,
    refusal("still_running"),
    "1",
  ]);
  expect((await post(path, { event: "other" }, named("k1"))).status).toBe(422);
  open();
  expect((await first).status).toBe(202);
  expect((await post(path, { event: "e" }, named("k1"))).headers.get("idempotent-replayed")).toBe("true");
  expect(layer.emitted).toHaveLength(1);
});

test("a client that went before its answer finds it by its Idempotency-Key", async () => {
  const layer = new FakeLayer();
  const { passed, open } = gate();
  layer.answer = () => passed;
  const { raw, post, key } = await scene({ layer });
  const client = await raw();
  client.begin(path, [
    `Authorization: Bearer ${key}`,
    "Content-Type: application/json",
    "Content-Length: 13",
    "Idempotency-Key: k1",
  ]);
  client.write('{"event":"e"}');
  await until(() => layer.emitted.length === 1, "it runs");
  client.socket.destroy();
  open();
  await until(() => client.isClosed, "it has gone");
  const again = await post(path, { event: "e" }, named("k1"));
  expect([again.status, again.headers.get("idempotent-replayed")]).toEqual([202, "true"]);
  expect(layer.emitted).toHaveLength(1);
});

test("a request of which nothing was published is not remembered", async () => {
  const layer = new FakeLayer();
  const { post } = await scene({ layer });
  layer.answer = () => Promise.reject(new LayerUnavailable("Redis is away"));
  const batch = { events: [{ group: "chat.a", event: "e" }] };
  const mixed = { events: [{ group: "no", event: "e" }, {}] };
  for (let i = 0; i < 2; i++) {
    const refused = await post("/events", mixed, named("k4"));
    expect([refused.status, refused.headers.get("idempotent-replayed")]).toEqual([207, null]);
  }
  expect((await post(path, { event: "e" }, named("k1"))).status).toBe(503);
  expect((await post("/events", batch, named("k2"))).status).toBe(503);
  expect((await post(path, "{", named("k3"))).status).toBe(400);
  layer.answer = () => undefined;
  expect((await post(path, { event: "e" }, named("k1"))).headers.get("idempotent-replayed")).toBeNull();
  expect((await post("/events", batch, named("k2"))).status).toBe(202);
  expect((await post(path, { event: "e" }, named("k3"))).status).toBe(202);
});

test("a batch of which a part was published is remembered as it was answered", async () => {
  const layer = new FakeLayer();
  const { post } = await scene({ layer });
  const batch = {
    events: [
      { group: "chat.a", event: "e" },
      { group: "no", event: "e" },
    ],
  };
  const first = await post("/events", batch, named("k1"));
  const again = await post("/events", batch, named("k1"));
  expect([first.status, again.status, again.headers.get("idempotent-replayed")]).toEqual([207, 207, "true"]);
  expect(again.body).toEqual(first.body);
  expect(layer.emitted).toHaveLength(1);
});

test("an event with an id is published once to a group, whatever request brings it", async () => {
  const layer = new FakeLayer();
  const { post } = await scene({ layer });
  const event = { event: "paid", payload: { order: 42 }, id: "o42" };
  expect((await post(path, event)).body).toEqual({ id: "o42", accepted: true });
  expect((await post(path, event)).body).toEqual({ id: "o42", accepted: true, duplicate: true });
  const batch = await post("/events", {
    events: [
      { ...event, group: "chat.a" },
      { ...event, group: "chat.b" },
      { ...event, group: "chat.b" },
      { ...event, group: "chat.a", payload: { order: 43 } },
      { group: "chat.a", event: "paid", payload: { order: 44 }, id: "o44" },
    ],
  });
  expect([batch.status, batch.body]).toMatchObject([
    207,
    {
      results: [
        { id: "o42", accepted: true, duplicate: true },
        { id: "o42", accepted: true },
        { accepted: false, status: 400, ...refusal("invalid_message") },
        { accepted: false, status: 400, ...refusal("invalid_message") },
        { id: "o44", accepted: true },
      ],
    },
  ]);
  const other = await post(path, { ...event, payload: 1 });
  expect([other.status, other.body]).toEqual([422, refusal("idempotency_key_reused")]);
  expect(layer.emitted.map(([group, , payload]) => [group, payload])).toEqual([
    ["chat.a", { order: 42 }],
    ["chat.b", { order: 42 }],
    ["chat.a", { order: 44 }],
  ]);
});

test("after an outage in the middle, the whole batch sent again with its ids publishes the rest", async () => {
  const layer = new FakeLayer();
  const { post } = await scene({ layer });
  layer.answer = () => {
    if (layer.emitted.length > 2) throw new LayerUnavailable("Redis is away");
  };
  const events = ["a", "b", "c", "d"].map((id) => ({ group: "chat.a", event: "e", payload: id, id }));
  const first = await post("/events", { events }, named("k1"));
  expect([first.status, first.body]).toMatchObject([207, { accepted: 2, refused: 2 }]);
  layer.emitted.length = 0;
  layer.answer = () => undefined;
  const again = await post("/events", { events }, named("k2"));
  expect([again.status, again.body]).toEqual([
    202,
    {
      accepted: 4,
      refused: 0,
      results: [
        { id: "a", accepted: true, duplicate: true },
        { id: "b", accepted: true, duplicate: true },
        { id: "c", accepted: true },
        { id: "d", accepted: true },
      ],
    },
  ]);
  expect(layer.emitted.map(([, , payload]) => payload)).toEqual(["c", "d"]);
});

test("each client has its own names; two keys of one name are one client", async () => {
  const [one, two, next] = [createPublishingKey(), createPublishingKey(), createPublishingKey()];
  const groups = ["chat.*"];
  const layer = new FakeLayer();
  const { post } = await scene({
    layer,
    keys: [
      { name: "one", hash: one.hash, groups },
      { name: "two", hash: two.hash, groups },
      { name: "one", hash: next.hash, groups },
    ],
  });
  const statuses: (string | null)[] = [];
  for (const { key } of [one, two, next]) {
    const answer = await post(path, { event: "e" }, { key, ...named("k1") });
    statuses.push(answer.headers.get("idempotent-replayed"));
  }
  expect(statuses).toEqual([null, null, "true"]);
  expect((await post(path, { event: "other" }, { key: two.key, ...named("k2") })).status).toBe(202);
});

test("a key of the same client that is not for the group gets no earlier answer of it", async () => {
  const [wide, narrow] = [createPublishingKey(), createPublishingKey()];
  const { post } = await scene({
    keys: [
      { name: "one", hash: wide.hash, groups: ["chat.*"] },
      { name: "one", hash: narrow.hash, groups: ["chat.b"] },
    ],
  });
  expect((await post(path, { event: "e" }, { key: wide.key, ...named("k1") })).status).toBe(202);
  expect((await post(path, { event: "e" }, { key: narrow.key, ...named("k1") })).status).toBe(403);
});

test.each<[string, readonly string[]]>([
  ["an empty one", ["Idempotency-Key: "]],
  ["two", ["Idempotency-Key: a", "Idempotency-Key: b"]],
  ["one with a space", ["Idempotency-Key: a b"]],
  ["one with half a quote", ['Idempotency-Key: "a']],
  ["one that is too long", [`Idempotency-Key: ${"x".repeat(129)}`]],
  ["one that is not ASCII", ["Idempotency-Key: \u00e4"]],
])("%s for an Idempotency-Key is 400", async (_what, lines) => {
  const layer = new FakeLayer();
  const { raw, key } = await scene({ layer });
  const client = await raw();
  client.begin(path, [
    `Authorization: Bearer ${key}`,
    "Content-Type: application/json",
    "Content-Length: 13",
    ...lines,
  ]);
  client.write('{"event":"e"}');
  expect(await client.answers()).toEqual([400]);
  expect(layer.emitted).toEqual([]);
});
