/** JSON Web Tokens: which are believed, for how long, and how a connection outlives one. */
import { createHmac, createPublicKey, type KeyObject } from "node:crypto";
import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, jest, test } from "@jest/globals";
import { exportJWK, exportSPKI, generateKeyPair, SignJWT } from "jose";
import { Consumer, createApplication, createLogger, http, logSignals, route, sse } from "sluice";
import { useToken } from "sluice/client";
import {
  type BearerTokenOptions,
  bearerToken,
  MemoryRevocations,
  RedisRevocations,
  requireUser,
  type TokenUser,
} from "sluice/middleware";
import { RedisBackplane } from "sluice/redis";
import { TestClient } from "sluice/testing";
import { redisKinds } from "../redis/redis-kinds.ts";
import { redisTest } from "../redis/redis-server.ts";
import { atEnd, connected, gate, heard, type Live, refusalOf, serve, until } from "../server/live-server.ts";
import { SECRET } from "./browser.ts";

const RULES = { audience: "chat", issuer: "https://login.example" };
const KEY = new TextEncoder().encode(SECRET);

class Room extends Consumer {
  override receive(event: string): unknown {
    const { user } = this.scope as unknown as { user?: TokenUser };
    return event === "who" ? [user?.id ?? null, user?.claims.role ?? null] : null;
  }
}

interface Given {
  readonly sub?: string | undefined;
  readonly endsInS?: number;
  readonly [claim: string]: unknown;
}

function builder({ sub = "ann", endsInS = 600, ...claims }: Given = {}): SignJWT {
  const now = Math.floor(Date.now() / 1_000);
  return new SignJWT({ aud: RULES.audience, iss: RULES.issuer, ...claims })
    .setSubject(sub)
    .setIssuedAt(now)
    .setExpirationTime(now + endsInS);
}

const token = (given?: Given) => builder(given).setProtectedHeader({ alg: "HS256" }).sign(KEY);

async function live(options: Partial<BearerTokenOptions<TokenUser>> = {}): Promise<Live> {
  const source = options.jwksUrl === undefined ? { secret: SECRET } : {};
  const room = await serve({
    middleware: [bearerToken({ ...RULES, ...source, ...options })],
    routes: [
      route("/room", Room, { middleware: [requireUser()] }),
      sse("/stream", Room, { middleware: [requireUser()] }),
      http("/page", (_request, response) => void response.json("in"), { middleware: [requireUser()] }),
    ],
  });
  return room;
}

const enter = (room: Live, shown: unknown) => connected(room.client("/room", { auth: { token: shown } }));
const refused = async (room: Live, shown: unknown) =>
  (await refusalOf(room.client("/room", { auth: { token: shown } }))).data;

/** By hand, as whoever forges one would. */
function forged(header: object, payload: object, sign: (text: string) => string): string {
  const text = [header, payload]
    .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
    .join(".");
  return `${text}.${sign(text)}`;
}

const claims = {
  sub: "ann",
  aud: RULES.audience,
  iss: RULES.issuer,
  exp: Math.floor(Date.now() / 1_000) + 600,
};

test("a good token makes the user, over sockets, streams and HTTP; none at all is nobody", async () => {
  const room = await live();
  const good = await token({ role: "admin" });
  expect(await (await enter(room, good)).emitWithAck("who")).toEqual(["ann", "admin"]);
  const headers = { authorization: `Bearer ${good}` };
  expect((await fetch(`${room.url}/page`, { headers })).status).toBe(200);
  const stream = await fetch(`${room.url}/stream`, { headers });
  expect(stream.status).toBe(200);
  await stream.body?.cancel();
  expect(await refused(room, undefined)).toEqual({ code: 4401, reason: "log in first" });
  expect((await fetch(`${room.url}/page`)).status).toBe(401);
  expect((await fetch(`${room.url}/stream`)).status).toBe(401);
});

test("a token that is no good is refused, with the right code, and what is said tells nothing of it", async () => {
  const room = await live({ clockToleranceMs: 0 });
  const now = Math.floor(Date.now() / 1_000);
  const good = await token();
  const [head, body, signature = ""] = good.split(".");
  const other = new TextEncoder().encode("another secret that is long enough too");
  const hs256 = (secret: string | KeyObject) => (text: string) =>
    createHmac("sha256", secret).update(text).digest("base64url");
  const hs512 = (text: string) => createHmac("sha512", SECRET).update(text).digest("base64url");
  const wrong: [string, unknown, number][] = [
    ["expired", await token({ endsInS: -10 }), 4510],
    ["not yet", await token({ nbf: now + 600 }), 4401],
    ["for others", await token({ aud: "shop" }), 4401],
    ["of another issuer", await token({ iss: "https://evil.example" }), 4401],
    ["by another key", await builder().setProtectedHeader({ alg: "HS256" }).sign(other), 4401],
    [
      "by another algorithm",
      await builder().setProtectedHeader({ alg: "HS512" }).sign(new Uint8Array(64)),
      4401,
    ],
    ["by the right key and another algorithm", forged({ alg: "HS512" }, claims, hs512), 4401],
    ["without algorithm", forged({ alg: "none" }, claims, () => ""), 4401],
    ["without algorithm, other letters", forged({ alg: "nOnE", typ: "JWT" }, claims, () => ""), 4401],
    ["without end", forged({ alg: "HS256" }, { ...claims, exp: undefined }, hs256(SECRET)), 4401],
    ["of nobody", forged({ alg: "HS256" }, { ...claims, sub: undefined }, hs256(SECRET)), 4401],
    ["of an empty name", forged({ alg: "HS256" }, { ...claims, sub: "" }, hs256(SECRET)), 4401],
    ["of a number", forged({ alg: "HS256" }, { ...claims, sub: 7 }, hs256(SECRET)), 4401],
    ["with critical extras", forged({ alg: "HS256", crit: ["x"], x: 1 }, claims, hs256(SECRET)), 4401],
    [
      "first character of the signature",
      `${head}.${body}.${signature[0] === "A" ? "B" : "A"}${signature.slice(1)}`,
      4401,
    ],
    ["a shorter signature", `${head}.${body}.${signature.slice(0, -4)}`, 4401],
    ["no signature", `${head}.${body}.`, 4401],
    ["no token", "rubbish", 4401],
    ["no text", { toString: "x" }, 4401],
    ["a list", [good], 4401],
    ["empty", "", 4401],
    ["too long", `${good}${"A".repeat(9_000)}`, 4413],
  ];
  for (const [name, shown, code] of wrong) {
    const data = (await refused(room, shown)) as { code: number; reason: string };
    expect([name, data.code]).toEqual([name, code]);
    expect(data.reason).not.toContain("eyJ");
  }
  expect(await (await enter(room, good)).emitWithAck("who")).toEqual(["ann", null]);
});

test("what is shown as a token but is none is refused, whatever a header says", async () => {
  const room = await live();
  const extraHeaders = { authorization: `Bearer ${await token()}` };
  expect((await connected(room.client("/room", { extraHeaders }))).connected).toBe(true);
  const refusal = await refusalOf(room.client("/room", { extraHeaders, auth: { token: 7 } }));
  expect(refusal.data).toEqual({ code: 4401, reason: "a token is text" });
});

test("of several secrets all are believed, and what one of them signed and has expired may be renewed", async () => {
  const room = await live({
    secret: [SECRET, "another secret that is long enough too"],
    clockToleranceMs: 0,
  });
  const other = new TextEncoder().encode("another secret that is long enough too");
  const sign = (given?: Given) => builder(given).setProtectedHeader({ alg: "HS256" }).sign(other);
  expect(await (await enter(room, await sign())).emitWithAck("who")).toEqual(["ann", null]);
  for (const expired of [await token({ endsInS: -10 }), await sign({ endsInS: -10 })]) {
    expect(await refused(room, expired)).toEqual({ code: 4510, reason: "the token has expired" });
  }
});

test("clocks may be a little apart", async () => {
  const room = await live({ clockToleranceMs: 60_000 });
  expect((await enter(room, await token({ endsInS: -10 }))).connected).toBe(true);
});

test("options that would believe anybody are refused at the start, all at once", async () => {
  const { publicKey } = await generateKeyPair("RS256", { extractable: true });
  const pem = await exportSPKI(publicKey);
  const wrong: Partial<BearerTokenOptions<TokenUser>>[] = [
    {},
    { secret: "short" },
    { secret: pem },
    { secret: SECRET, jwksUrl: "https://login.example/jwks" },
    { jwksUrl: "ftp://login.example/jwks" },
    { secret: SECRET, algorithms: ["none"] },
    { secret: SECRET, algorithms: ["RS256"] },
    { jwksUrl: "https://login.example/jwks", algorithms: ["HS256", "RS256"] },
    { secret: SECRET, algorithms: [] },
    { secret: SECRET, audience: "" },
    { secret: SECRET, clockToleranceMs: -1 },
    { secret: SECRET, recheckMs: 0 },
  ];
  for (const options of wrong) expect(() => bearerToken({ ...RULES, ...options })).toThrow(/bearerToken/);
});

/** Whoever issues tokens: serves its keys as it is told to. */
async function issuer() {
  const pair = await generateKeyPair("RS256", { extractable: true });
  const keys = [{ ...(await exportJWK(pair.publicKey)), kid: "one", alg: "RS256", use: "sig" }];
  const state = {
    asked: 0,
    answer: (response: ServerResponse): void => void response.end(JSON.stringify({ keys })),
  };
  const server: Server = createServer((_request, response) => {
    state.asked += 1;
    state.answer(response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  atEnd(() => {
    server.closeAllConnections();
    server.close();
  });
  const jwksUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`;
  const sign = (kid = "one", given?: Given, key = pair.privateKey) =>
    builder(given).setProtectedHeader({ alg: "RS256", kid }).sign(key);
  return { state, jwksUrl, sign, keys, pair };
}

test("keys are fetched once; a token that was signed with the public key as a secret is refused", async () => {
  const { state, jwksUrl, sign, keys, pair } = await issuer();
  const room = await live({ jwksUrl });
  for (let i = 0; i < 3; i++) await enter(room, await sign());
  expect(state.asked).toBe(1);
  const pem = createPublicKey({ key: keys[0] as never, format: "jwk" }).export({
    type: "spki",
    format: "pem",
  });
  const secrets = [
    String(pem),
    String(pem).trim(),
    await exportSPKI(pair.publicKey),
    JSON.stringify(keys[0]),
  ];
  for (const secret of secrets) {
    const hs = (text: string) => createHmac("sha256", secret).update(text).digest("base64url");
    expect(await refused(room, forged({ alg: "HS256", kid: "one" }, claims, hs))).toMatchObject({
      code: 4401,
    });
  }
  expect(
    await refused(
      room,
      forged({ alg: "none", kid: "one" }, claims, () => ""),
    ),
  ).toMatchObject({ code: 4401 });
  // What the token brings along is no key.
  const own = await generateKeyPair("RS256", { extractable: true });
  const jwk = await exportJWK(own.publicKey);
  const bringing = builder().setProtectedHeader({
    alg: "RS256",
    kid: "one",
    jwk,
    jku: "http://evil.example",
  });
  expect(await refused(room, await bringing.sign(own.privateKey))).toMatchObject({ code: 4401 });
});

test("a new key of the issuer is found; any number of unknown ones cost one fetch", async () => {
  const { state, jwksUrl, sign, keys } = await issuer();
  const room = await live({ jwksUrl, jwks: { cooldownMs: 600_000 } });
  await enter(room, await sign());
  const flood = Array.from({ length: 20 }, async (_, i) => refused(room, await sign(`unknown-${i}`)));
  for (const data of await Promise.all(flood)) expect(data).toMatchObject({ code: 4401 });
  expect(state.asked).toBe(1);

  const patient = await live({ jwksUrl, jwks: { cooldownMs: 1 } });
  await enter(patient, await sign());
  const next = await generateKeyPair("RS256", { extractable: true });
  keys.push({ ...(await exportJWK(next.publicKey)), kid: "two", alg: "RS256", use: "sig" });
  expect((await enter(patient, await sign("two", {}, next.privateKey))).connected).toBe(true);
});

/** Time stands still for what measures it; returns what lets it pass. */
function stoppedClock(): (ms: number) => void {
  const doNotFake = ["Date", "nextTick", "queueMicrotask", "setImmediate", "clearImmediate"] as const;
  const timers = ["setTimeout", "clearTimeout", "setInterval", "clearInterval"] as const;
  jest.useFakeTimers({ doNotFake: [...doNotFake, ...timers] });
  atEnd(() => jest.useRealTimers());
  return (ms) => jest.advanceTimersByTime(ms);
}

test("an issuer that has no keys is asked once a second, however many knock", async () => {
  const { state, jwksUrl, sign } = await issuer();
  state.answer = (response) => void response.writeHead(500).end();
  const room = await live({ jwksUrl });
  const pass = stoppedClock();
  for (let i = 0; i < 5; i++) expect(await refused(room, await sign())).toMatchObject({ code: 4503 });
  expect(state.asked).toBe(1);
  pass(1_000);
  for (let i = 0; i < 5; i++) expect(await refused(room, await sign())).toMatchObject({ code: 4503 });
  expect(state.asked).toBe(2);
});

test("a key that the issuer has withdrawn is believed no longer than keys are kept", async () => {
  const { jwksUrl, sign, keys } = await issuer();
  const room = await live({ jwksUrl });
  const pass = stoppedClock();
  await enter(room, await sign());
  const next = await generateKeyPair("RS256", { extractable: true });
  keys.splice(0, 1, { ...(await exportJWK(next.publicKey)), kid: "two", alg: "RS256", use: "sig" });
  pass(599_999);
  await enter(room, await sign());
  pass(1);
  expect(await refused(room, await sign())).toMatchObject({ code: 4401 });
});

test("an issuer that hangs, breaks or talks nonsense lets nobody in and nobody wait; keys that are known go on", async () => {
  const { state, jwksUrl, sign, keys } = await issuer();
  const good = state.answer;
  const answers: ((response: ServerResponse) => void)[] = [
    () => {},
    (response) => void response.destroy(),
    (response) => void response.writeHead(500).end(),
    (response) => {
      if (response.req.url !== "/jwks") return good(response);
      response.writeHead(302, { location: "/elsewhere" }).end();
    },
    (response) => void response.end("{"),
    (response) => void response.end(JSON.stringify({ keys: "none" })),
    (response) => void response.end(JSON.stringify({ filler: "x".repeat(2_000_000), keys })),
  ];
  for (const answer of answers) {
    const room = await live({ jwksUrl, jwks: { timeoutMs: 100 } });
    state.answer = answer;
    expect(await refused(room, await sign())).toMatchObject({ code: 4503 });
  }
  state.answer = good;
  const room = await live({ jwksUrl, jwks: { timeoutMs: 100, cacheMs: 1, cooldownMs: 1 } });
  await enter(room, await sign());
  state.answer = () => {};
  expect((await enter(room, await sign())).connected).toBe(true);
});

test("a connection ends with its token, and is told before", async () => {
  const room = await live({ clockToleranceMs: 0 });
  const socket = room.client("/room", { auth: { token: await token({ endsInS: 2 }) } });
  const [expiring, close] = [
    heard<[{ inMs: number }]>(socket, "sluice.expiring"),
    heard(socket, "sluice.close"),
  ];
  expect((await expiring)[0].inMs).toBeGreaterThan(0);
  expect(await close).toEqual([{ code: 4510, reason: "the token has expired" }]);
});

test("a stream ends with its token, too", async () => {
  const room = await live({ clockToleranceMs: 0 });
  const headers = { authorization: `Bearer ${await token({ endsInS: 2 })}` };
  const text = await (await fetch(`${room.url}/stream`, { headers })).text();
  expect(text).toContain('event: sluice.close\ndata: {"code":4510,"reason":"the token has expired"}');
});

test("a new token goes on in the same connection, with what it says; nobody else's does", async () => {
  const room = await live();
  const socket = await enter(room, await token({ role: "guest" }));
  const { id } = socket;
  const answer = await socket.emitWithAck("sluice.auth", {
    token: await token({ role: "admin", endsInS: 900 }),
  });
  expect(answer.expiresInMs).toBeGreaterThan(600_000);
  expect(await socket.emitWithAck("who")).toEqual(["ann", "admin"]);
  for (const bad of [undefined, null, "text", [], { token: 7 }, { token: "rubbish" }, {}]) {
    expect(await socket.emitWithAck("sluice.auth", bad)).toMatchObject({
      error: { code: expect.any(String) },
    });
  }
  expect([socket.connected, socket.id]).toEqual([true, id]);
  const close = heard(socket, "sluice.close");
  const foreign = await token({ sub: "bob" });
  expect(await socket.emitWithAck("sluice.auth", { token: foreign })).toMatchObject({
    error: { code: "connection_denied" },
  });
  expect(await close).toEqual([{ code: 4403, reason: "this token is somebody else's" }]);
});

test("a user of another issuer is somebody else, though by the same name", async () => {
  const room = await live({ issuer: [RULES.issuer, "https://other.example"] });
  const socket = await enter(room, await token());
  const close = heard(socket, "sluice.close");
  const other = await token({ iss: "https://other.example" });
  expect(await socket.emitWithAck("sluice.auth", { token: other })).toMatchObject({
    error: { code: "connection_denied" },
  });
  expect(await close).toEqual([{ code: 4403, reason: "this token is somebody else's" }]);
});

test("what is asked again is about the token shown last, for as long as the longest counts", async () => {
  const asked: unknown[] = [];
  const isRevoked = ({ jti }: { readonly jti?: string }) => {
    asked.push(jti);
    return false;
  };
  const room = await live({ recheckMs: 10, isRevoked });
  const socket = await enter(room, await token({ jti: "first" }));
  const shorter = { token: await token({ jti: "second", endsInS: 60 }) };
  const { expiresInMs } = await socket.emitWithAck("sluice.auth", shorter);
  expect(expiresInMs).toBeGreaterThan(500_000);
  const before = asked.length;
  await until(() => asked.length > before + 2, "it is asked again");
  expect(asked.slice(-2)).toEqual(["second", "second"]);
});

test("a token for longer than a timer can count lasts as long as it says", async () => {
  const app = createApplication({
    middleware: [bearerToken({ ...RULES, secret: SECRET, clockToleranceMs: 0 })],
    routes: [route("/room", Room)],
  });
  const shown = await token({ endsInS: 4_000_000 });
  jest.useFakeTimers({ doNotFake: ["nextTick", "queueMicrotask", "setImmediate"] });
  atEnd(() => jest.useRealTimers());
  const client = new TestClient(app, "/room", { auth: { token: shown } });
  expect(await client.connect()).toEqual({ accepted: true });
  // One that ends sooner takes nothing away.
  await client.emit("sluice.auth", { token: await token({ endsInS: 60 }) });
  await jest.advanceTimersByTimeAsync(2 ** 31);
  expect(await client.emit("who")).toEqual(["ann", null]);
  expect(client.received).toEqual([]);
  await jest.advanceTimersByTimeAsync(4_000_000_000 - 2 ** 31);
  expect(await client.closed()).toEqual({ code: 4510, reason: "the token has expired" });
  jest.useRealTimers();
  await app.stop();
});

test("where nobody takes new credentials they are refused", async () => {
  const room = await serve({ routes: [route("/room", Room)] });
  const socket = await connected(room.client("/room"));
  expect(await socket.emitWithAck("sluice.auth", { token: "x" })).toMatchObject({
    error: { code: "no_handler" },
  });
});

test("the client refreshes by itself, again and again, and the connection outlives its tokens", async () => {
  const room = await live({ clockToleranceMs: 0 });
  const socket = room.client("/room", { autoConnect: false, auth: { theme: "dark" } });
  let given = 0;
  const keeper = useToken(socket, async () => {
    given += 1;
    if (given === 2) throw new Error("the page is offline");
    return token({ endsInS: given < 4 ? 4 : 600, role: `${given}` });
  });
  const told: unknown[] = [];
  keeper.on("failed", () => told.push("failed"));
  keeper.on("refreshed", () => told.push("refreshed"));
  socket.on("sluice.close", (payload) => told.push(payload));
  await connected(socket.connect());
  expect(await socket.emitWithAck("who")).toEqual(["ann", "1"]);
  await until(() => told.length === 3, "it has refreshed twice");
  expect(told).toEqual(["failed", "refreshed", "refreshed"]);
  expect(await socket.emitWithAck("who")).toEqual(["ann", "4"]);
  await keeper.refresh();
  expect(await socket.emitWithAck("who")).toEqual(["ann", "5"]);
  keeper.stop();
  expect(socket.auth).toEqual({ theme: "dark" });
});

test("a client whose token has expired while it was away comes back with another by itself", async () => {
  const room = await live({ clockToleranceMs: 0 });
  const socket = room.client("/room", { autoConnect: false, reconnection: true });
  let given = 0;
  const keeper = useToken(socket, () => token({ endsInS: ++given === 1 ? -10 : 600 }));
  await new Promise((resolve) => socket.on("connect", () => resolve(undefined)).connect());
  expect(given).toBe(2);
  keeper.stop();
});

test("a user who is revoked is out, however good the token is", async () => {
  const revocations = new MemoryRevocations();
  const room = await live({ isRevoked: revocations.isRevoked });
  const [ann, bob] = [await token(), await token({ sub: "bob" })];
  const socket = await enter(room, ann);
  const other = await enter(room, bob);
  const close = heard(socket, "sluice.close");
  await revocations.revokeUser(room.app, "ann");
  expect(await close).toEqual([{ code: 4401, reason: "log in again" }]);
  expect(await refused(room, ann)).toEqual({ code: 4401, reason: "the token has been revoked" });
  expect(await other.emitWithAck("who")).toEqual(["bob", null]);
  expect(await other.emitWithAck("sluice.auth", { token: ann })).toMatchObject({
    error: { code: "invalid_token" },
  });
});

test("who is revoked while being let in is out as well", async () => {
  const revocations = new MemoryRevocations();
  const { passed, open } = gate();
  const arrived = gate();
  class Slow extends Room {
    override async connect(): Promise<void> {
      arrived.open();
      await passed;
    }
  }
  let asked = 0;
  const isRevoked = (claimed: Parameters<typeof revocations.isRevoked>[0]) => {
    asked += 1;
    return asked > 1 ? revocations.isRevoked(claimed) : false;
  };
  const middleware = [bearerToken({ ...RULES, secret: SECRET, isRevoked })] as const;
  const room = await serve({ middleware, routes: [route("/slow", Slow)] });
  const socket = room.client("/slow", { auth: { token: await token() } });
  await arrived.passed;
  await revocations.revokeUser({ closeUser: async () => {} }, "ann");
  const refusal = refusalOf(socket);
  open();
  expect((await refusal).data).toEqual({ code: 4401, reason: "the token has been revoked" });
});

test("who cannot be asked about once more, while being let in, stays out", async () => {
  let asked = 0;
  const room = await live({
    isRevoked: () => {
      asked += 1;
      if (asked > 1) throw new Error("the database is down");
      return false;
    },
  });
  expect(await refused(room, await token())).toEqual({ code: 4500, reason: "internal error" });
});

test("a good token of a user who is nobody any more, or somebody else, ends the connection", async () => {
  let known: TokenUser | undefined;
  const rechecked = await live({
    recheckMs: 20,
    user: (claimed) => known ?? { id: claimed.sub, claims: claimed },
  });
  const plain = await live({ user: (claimed) => known ?? { id: claimed.sub, claims: claimed } });
  const good = await token();
  const [first, second] = [await enter(rechecked, good), await enter(plain, good)];
  const closes = [first, second].map((socket) => heard(socket, "sluice.close"));
  known = { id: "bob", claims: {} as never };
  expect(await closes[0]).toEqual([{ code: 4403, reason: "these credentials are somebody else's" }]);
  expect(await second.emitWithAck("sluice.auth", { token: good })).toMatchObject({
    error: { code: "connection_denied" },
  });
  expect(await closes[1]).toEqual([{ code: 4403, reason: "these credentials are somebody else's" }]);

  let isGone = false;
  const emptied = await live({
    recheckMs: 20,
    user: (claimed) => (isGone ? undefined : { id: claimed.sub, claims: claimed }),
  });
  const third = await enter(emptied, good);
  const close = heard(third, "sluice.close");
  isGone = true;
  expect(await close).toEqual([{ code: 4401, reason: "log in again" }]);
});

test("a token that does not say when it was issued was issued before", async () => {
  const revocations = new MemoryRevocations();
  await revocations.revokeUser({ closeUser: async () => {} }, "ann");
  const { iat: _, ...timeless } = { ...claims, iat: 0 };
  expect(await revocations.isRevoked(timeless)).toBe(true);
  expect(await revocations.isRevoked({ ...timeless, iat: Math.floor(Date.now() / 1_000) + 1 })).toBe(false);
});

describe.each(redisKinds)("revoked %s", (_kind, start) => {
  redisTest("on one node, out on all, and refused on all", async () => {
    const redis = await start();
    atEnd(() => redis.close());
    const node = async () => {
      const revocations = new RedisRevocations(redis.options);
      const room = await serve({
        middleware: [bearerToken({ ...RULES, secret: SECRET, isRevoked: revocations.isRevoked })],
        parts: [revocations],
        backplane: new RedisBackplane(redis.options),
        routes: [route("/room", Room)],
      });
      return { room, revocations };
    };
    const [one, two] = [await node(), await node()];
    const ann = await token();
    const sockets = [await enter(one.room, ann), await enter(two.room, ann)];
    const closes = sockets.map((socket) => heard(socket, "sluice.close"));
    await one.revocations.revokeUser(one.room.app, "ann");
    for (const close of closes) expect(await close).toEqual([{ code: 4401, reason: "log in again" }]);
    expect(await refused(two.room, ann)).toMatchObject({ code: 4401 });
  });
});

test("whether a user still counts is asked again at an interval; a failure of that is no answer", async () => {
  let state: "good" | "broken" | "gone" = "good";
  const room = await live({
    recheckMs: 20,
    isRevoked: () => {
      if (state === "broken") throw new Error("the database is down");
      return state === "gone";
    },
  });
  const failures: unknown[] = [];
  room.app.signals.failed.connect(({ error }) => failures.push(error));
  const socket = await enter(room, await token());
  state = "broken";
  await until(() => failures.length > 1, "it failed, and was asked again");
  expect(await socket.emitWithAck("who")).toEqual(["ann", null]);
  const close = heard(socket, "sluice.close");
  state = "gone";
  expect(await close).toEqual([{ code: 4401, reason: "the token has been revoked" }]);
});

test("no token gets into the log, whether it was good or not", async () => {
  const room = await live();
  const lines: string[] = [];
  atEnd(logSignals(room.app.signals, createLogger("trace", { write: (line) => void lines.push(line) })));
  const [good, bad] = [await token(), await token({ aud: "shop" })];
  const socket = await enter(room, good);
  await refused(room, bad);
  await socket.emitWithAck("sluice.auth", { token: bad });
  await socket.emitWithAck("sluice.auth", { token: good });
  socket.disconnect();
  await until(() => lines.some((line) => line.includes('"disconnected"')), "the end is logged");
  const log = lines.join("");
  expect(log).toContain("denied");
  for (const secret of [good, bad, good.slice(0, 20), good.split(".")[2] as string, SECRET]) {
    expect(log).not.toContain(secret);
  }
});
