import { expect, test } from "@jest/globals";
import { LayerUnavailable } from "sluice";
import { FakeLayer, refusal, scene } from "./scene.ts";

test("a batch reaches all its groups, in order", async () => {
  const { post, listener } = await scene();
  const [ann, bob] = [await listener("chat.a"), await listener("user.7.orders")];
  const events = Array.from({ length: 100 }, (_, i) => ({
    group: i % 3 === 0 ? "user.7.orders" : "chat.a",
    event: i < 98 ? "n" : "last",
    payload: i,
  }));
  const answer = await post("/events", { events });
  expect([answer.status, answer.body]).toEqual([
    202,
    { accepted: 100, refused: 0, results: events.map(() => ({ accepted: true })) },
  ]);
  const inOrder = (group: string) =>
    events.filter((event) => event.group === group).map(({ event, payload }) => [event, payload]);
  expect(await ann.until("last")).toEqual(inOrder("chat.a"));
  await post("/events", { events: [{ group: "user.7.orders", event: "end" }] });
  expect(await bob.until("end")).toEqual([...inOrder("user.7.orders"), ["end"]]);
});

test("each event of a batch has its own answer, and a wrong one does not stop the others", async () => {
  const { post, listener } = await scene({ application: { limits: { maxMessageBytes: 1_000 } } });
  const ann = await listener("chat.a");
  const answer = await post("/events", {
    events: [
      { group: "chat.a", event: "one" },
      { group: "secret", event: "e", id: "s1" },
      { group: "chat.a", event: "disconnect" },
      { group: "chat.a" },
      null,
      { group: "chat.a", event: "large", payload: "x".repeat(1_000) },
      { event: "e" },
      { group: ["chat.a"], event: "e" },
      { group: "chat.a", event: "two", id: "t1" },
    ],
  });
  const refused = (status: number, code: string) => ({ accepted: false, status, ...refusal(code) });
  expect([answer.status, answer.body]).toEqual([
    207,
    {
      accepted: 2,
      refused: 7,
      results: [
        { accepted: true },
        { id: "s1", ...refused(403, "forbidden") },
        refused(400, "invalid_name"),
        refused(400, "invalid_message"),
        refused(400, "invalid_message"),
        refused(413, "message_too_large"),
        refused(400, "invalid_message"),
        refused(400, "invalid_message"),
        { id: "t1", accepted: true },
      ],
    },
  ]);
  expect(await ann.until("two")).toEqual([["one"], ["two"]]);
});

test("when all of a batch is refused for one reason, the answer is that refusal", async () => {
  const layer = new FakeLayer();
  const { post } = await scene({ layer });
  const forbidden = await post("/events", { events: [1, 2].map(() => ({ group: "no", event: "e" })) });
  expect([forbidden.status, forbidden.body]).toEqual([
    403,
    {
      ...refusal("forbidden"),
      accepted: 0,
      refused: 2,
      results: [1, 2].map(() => ({ accepted: false, status: 403, ...refusal("forbidden") })),
    },
  ]);
  layer.answer = () => Promise.reject(new LayerUnavailable("Redis is away"));
  const away = await post("/events", { events: [1, 2].map(() => ({ group: "chat.a", event: "e" })) });
  expect([away.status, away.headers.get("retry-after")]).toEqual([503, "2"]);
  const mixed = await post("/events", { events: [{ group: "no", event: "e" }, {}] });
  expect([mixed.status, mixed.body]).toMatchObject([207, { accepted: 0, refused: 2 }]);
});

test("a bug below in one event is that event's internal error, and announced", async () => {
  const layer = new FakeLayer();
  const { app, post } = await scene({ layer });
  const errors: unknown[] = [];
  app.signals.failed.connect(({ error }) => errors.push((error as Error).message));
  layer.answer = () => {
    if (layer.emitted.length === 2) throw new Error("a secret");
  };
  const { status, body } = await post("/events", {
    events: [1, 2, 3].map((payload) => ({ group: "chat.a", event: "e", payload })),
  });
  const internal = { code: "internal_error", message: "internal error" };
  expect([status, body]).toEqual([
    207,
    {
      accepted: 2,
      refused: 1,
      results: [{ accepted: true }, { accepted: false, status: 500, error: internal }, { accepted: true }],
    },
  ]);
  expect(errors).toEqual(["a secret"]);
});

test.each<[string, unknown]>([
  ["an empty batch", { events: [] }],
  ["a list", [{ group: "chat.a", event: "e" }]],
  ["no events", {}],
  ["an object of events", { events: { length: 1, 0: { group: "chat.a", event: "e" } } }],
  ["another field", { events: [{ group: "chat.a", event: "e" }], atomic: true }],
  ["null", "null"],
])("%s is 400 as a whole", async (_what, body) => {
  const layer = new FakeLayer();
  const { post } = await scene({ layer });
  const answer = await post("/events", body);
  expect([answer.status, answer.body]).toEqual([400, refusal("invalid_message")]);
  expect(layer.emitted).toEqual([]);
});

test("a batch of too many events is 413 as a whole", async () => {
  const layer = new FakeLayer();
  const { post } = await scene({ layer });
  const bomb = `{"events":[${Array(300_000).fill("{}").join()}]}`;
  for (const body of [{ events: Array(101).fill({ group: "chat.a", event: "e" }) }, bomb]) {
    const answer = await post("/events", body);
    expect([answer.status, answer.body]).toEqual([413, refusal("too_many_events")]);
  }
  expect(layer.emitted).toEqual([]);
});

test("a large batch leaves the event loop its turns", async () => {
  const layer = new FakeLayer();
  let turns = 0;
  let isDone = false;
  const turn = () => {
    turns += 1;
    if (!isDone) setImmediate(turn);
  };
  const seen = new Set<number>();
  layer.answer = () => void seen.add(turns);
  const { post } = await scene({ layer });
  turn();
  expect((await post("/events", { events: Array(100).fill({ group: "chat.a", event: "e" }) })).status).toBe(
    202,
  );
  isDone = true;
  expect(seen.size).toBeGreaterThanOrEqual(4);
});
