import { createHash } from "node:crypto";
import { expect, test } from "@jest/globals";
import { ConfigurationError, createApplication, createLogger, logSignals } from "sluice";
import {
  createPublishingKey,
  type PublishingKey,
  type PublishingOptions,
  parsePublishingKeys,
  publishing,
} from "sluice/publishing";
import { GROUPS, refusal, scene } from "./scene.ts";

const { key: KEY, hash: HASH } = createPublishingKey();
const OTHER = createPublishingKey();
const path = "/groups/chat.a/events";
const event = { event: "e" };

test("a new key is 256 random bits with a prefix, and its hash is what sha256sum prints", () => {
  expect(KEY).toMatch(/^slk_[A-Za-z0-9_-]{43}$/);
  expect(HASH).toBe(createHash("sha256").update(KEY).digest("hex"));
  expect(OTHER.key).not.toBe(KEY);
});

test("a key may come as a bearer or in X-API-Key, but not twice", async () => {
  const { post, raw, key } = await scene();
  const bearer = `Bearer ${key}`;
  for (const authorization of [bearer, `bearer ${key}`, `Bearer   ${key}`]) {
    expect((await post(path, event, { key: "", headers: { authorization } })).status).toBe(202);
  }
  expect((await post(path, event, { key: "", headers: { "x-api-key": key } })).status).toBe(202);
  expect((await post(path, event, { headers: { "x-api-key": key } })).status).toBe(400);
  const client = await raw();
  const lines = ["Content-Type: application/json", "Content-Length: 13"];
  client.begin(path, [`Authorization: ${bearer}`, `Authorization: Bearer ${OTHER.key}`, ...lines]);
  client.write('{"event":"e"}');
  expect(await client.answers()).toEqual([400]);
});

test("a request without a key, or with a wrong one, is 401 and says how to come", async () => {
  const { post, key, app } = await scene();
  const denials: unknown[] = [];
  app.signals.denied.connect((fact) => denials.push(fact));
  const missing = await post(path, event, { key: "" });
  expect([missing.status, missing.body, missing.headers.get("www-authenticate")]).toEqual([
    401,
    refusal("unauthenticated", "send your key as Authorization: Bearer <key>"),
    'Bearer realm="publishing"',
  ]);
  const wrong = [
    OTHER.key,
    key.slice(0, -1),
    `${key}x`,
    key.toLowerCase(),
    createHash("sha256").update(key).digest("hex"),
    "constructor",
    "__proto__",
    "x".repeat(8_000),
  ];
  for (const text of wrong) {
    const answer = await post(path, event, { key: text });
    expect([answer.status, answer.body, answer.headers.get("www-authenticate")]).toEqual([
      401,
      { error: { code: "unauthenticated", message: "this key is not valid here" } },
      'Bearer realm="publishing", error="invalid_token"',
    ]);
  }
  for (const authorization of ["Basic YTpi", key, "Bearer", `Bearer ${key} ${key}`, `Bearer ${key},x`]) {
    expect((await post(path, event, { key: "", headers: { authorization } })).status).toBe(401);
  }
  expect((await post("/events", "{broken", { key: "" })).status).toBe(401);
  expect(denials).toHaveLength(1 + wrong.length + 5 + 1);
  expect(denials[0]).toMatchObject({ namespace: `/api${path}`, code: 4401, remoteAddress: "127.0.0.1" });
});

test("what people choose is no key, even if its hash is configured", async () => {
  const hash = createHash("sha256").update("password").digest("hex");
  const { post } = await scene({ keys: [{ name: "weak", hash, groups: ["chat.*"] }] });
  expect((await post(path, event, { key: "password" })).status).toBe(401);
});

test("a key is for the groups of its patterns alone; others are 403", async () => {
  const { post, app } = await scene();
  const denials: unknown[] = [];
  app.signals.denied.connect(({ code, reason }) => denials.push([code, reason]));
  for (const group of ["chat.a", "user.7.orders"]) {
    expect((await post(`/groups/${group}/events`, event)).status).toBe(202);
  }
  for (const group of ["chat", "chat.a.b", "user.7", "user.7.invoices", "Chat.a", "*", "chat.a%0a"]) {
    const answer = await post(`/groups/${group}/events`, event);
    if (group === "chat.a%0a") expect(answer.status).toBe(400);
    else expect([answer.status, answer.body]).toEqual([403, refusal("forbidden")]);
  }
  expect(denials[0]).toEqual([4403, 'the key "billing" may not publish to "chat"']);
});

test("several keys are valid at once, each for its own groups, until they expire", async () => {
  const old = createPublishingKey();
  const { post } = await scene({
    keys: [
      { name: "a", hash: HASH, groups: ["chat.*"] },
      { name: "b", hash: OTHER.hash, groups: ["user.*.orders"], expiresAt: new Date(Date.now() + 3_600_000) },
      { name: "a", hash: old.hash, groups: ["chat.*"], expiresAt: new Date(Date.now() - 1) },
    ],
  });
  expect((await post(path, event, { key: KEY })).status).toBe(202);
  expect((await post(path, event, { key: OTHER.key })).status).toBe(403);
  expect((await post("/groups/user.7.orders/events", event, { key: OTHER.key })).status).toBe(202);
  const expired = await post(path, event, { key: old.key });
  expect([expired.status, expired.body]).toEqual([401, refusal("unauthenticated", "this key has expired")]);
});

test("a key never gets into a log, a signal or an answer", async () => {
  const { post, app, key } = await scene();
  const told: string[] = [];
  const logger = createLogger("trace");
  for (const level of ["info", "warn", "error", "debug"] as const) {
    logger[level] = ((...line: unknown[]) => void told.push(JSON.stringify(line))) as never;
  }
  logSignals(app.signals, logger);
  app.signals.denied.connect((fact) => told.push(JSON.stringify(fact)));
  const answers = [
    await post(path, event, { key: OTHER.key }),
    await post("/groups/no/events", event),
    await post(path, event, { headers: { "x-api-key": OTHER.key } }),
    await post(path, "{"),
  ];
  expect(answers.map(({ status }) => status)).toEqual([401, 403, 400, 400]);
  expect(told.length).toBeGreaterThanOrEqual(4);
  const text = told.join() + JSON.stringify(answers.map(({ body }) => body));
  for (const secret of [key, OTHER.key]) expect(text).not.toContain(secret.slice(4));
});

test("keys are read from one text", () => {
  const text = ` billing:${HASH}:chat.*, user.*.orders ;\n reports:${OTHER.hash}:*:2099-01-31T12:30:00+02:00;`;
  expect(parsePublishingKeys(text)).toEqual([
    { name: "billing", hash: HASH, groups: GROUPS },
    { name: "reports", hash: OTHER.hash, groups: ["*"], expiresAt: new Date("2099-01-31T10:30:00Z") },
  ]);
  expect(parsePublishingKeys(`a:${HASH}:a:2099-01-31`)[0]?.expiresAt).toEqual(
    new Date("2099-01-31T00:00:00Z"),
  );
});

function faultsOf(make: () => unknown): readonly string[] {
  try {
    make();
  } catch (error) {
    if (error instanceof ConfigurationError) return error.faults;
    throw error;
  }
  return [];
}

test("every fault of a text of keys is listed, and neither keys nor hashes are shown", () => {
  const text = [
    `billing:${KEY}:chat.*`,
    `${KEY}:${HASH}:chat.*`,
    "lonely",
    `reports:${OTHER.hash}:`,
    `late:${HASH}:a:2099-13-01`,
    `later:${HASH}:a:${OTHER.key}`,
    `wide:${HASH}:chat.**,sluice.x`,
    `again:${HASH}:a`,
    `upper:${HASH.toUpperCase()}:a`,
  ].join(";");
  const faults = faultsOf(() => parsePublishingKeys(text));
  expect(faults).toEqual([
    expect.stringMatching(/^key 1 \(billing\) has the key itself where its hash belongs/),
    expect.stringMatching(/^key 2 needs a name/),
    expect.stringMatching(/^key 3 \(lonely\) must be name:hash:pattern/),
    expect.stringMatching(/^key 4 \(reports\) has the pattern ""; a pattern of groups is/),
    expect.stringMatching(/^key 5 \(late\) expires at a date such as .* not "2099-13-01"$/),
    expect.stringMatching(/^key 6 \(later\) expires at .* not "slk_…"$/),
    expect.stringMatching(/^key 7 \(wide\) has the pattern "chat\.\*\*"/),
    expect.stringMatching(/^key 7 \(wide\) has the pattern "sluice\.x"; groups that begin with "sluice\."/),
    expect.stringMatching(/^key 9 \(upper\) needs the key's SHA-256/),
    expect.stringMatching(/^key \d \(wide\) has the hash of key 2; /),
    expect.stringMatching(/^key \d \(again\) has the hash of key 2; /),
  ]);
  for (const secret of [KEY, OTHER.key, HASH, OTHER.hash]) {
    expect(faults.join()).not.toContain(secret.slice(4, 30));
  }
  for (const nothing of ["", " ; \n"]) {
    expect(faultsOf(() => parsePublishingKeys(nothing))).toEqual([
      expect.stringContaining("at least one key"),
    ]);
  }
});

test("every fault of the options is listed at once", () => {
  const { layer } = createApplication({ routes: [] });
  const good: PublishingKey = { name: "a", hash: HASH, groups: ["chat.*"] };
  const given = (options: unknown) => () => publishing(options as PublishingOptions);
  expect(faultsOf(given({ layer, keys: [good] }))).toEqual([]);
  expect(
    faultsOf(
      given({
        limits: { bodyBytes: 0, eventPerBatch: 1 },
        bodyTimeout: 5,
        keys: [
          { name: "", hash: 7, groups: [], expiresAt: "soon", scope: 1 },
          { ...good, patterns: [] },
          null,
          good,
        ],
      }),
    ),
  ).toEqual([
    "publishing.layer must be a channel layer: app.layer",
    "publishing.limits.bodyBytes must be a whole number of at least 1 (below 2^31), not 0",
    'publishing.limits.eventPerBatch is no option; did you mean "eventsPerBatch"?',
    'publishing.bodyTimeout is no option; did you mean "bodyTimeoutMs"?',
    expect.stringContaining('key 1 has a field "scope"'),
    expect.stringContaining("key 1 needs a name"),
    expect.stringContaining("key 1 needs the key's SHA-256"),
    expect.stringContaining("key 1 needs a list of patterns"),
    expect.stringContaining("key 1 has an expiresAt"),
    expect.stringContaining('key 2 (a) has a field "patterns"'),
    expect.stringContaining("key 3 must be { name, hash, groups"),
    expect.stringContaining("key 4 (a) has the hash of key 2 (a)"),
  ]);
  for (const keys of [[], undefined, "text"]) {
    expect(faultsOf(given({ layer, keys }))).toEqual([expect.stringContaining("at least one key")]);
  }
});
