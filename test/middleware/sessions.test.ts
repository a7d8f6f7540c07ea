/** Sessions that Express and connections share, in memory and in Redis, on one node and on two. */
import { createHmac } from "node:crypto";
import { afterAll, beforeAll, describe, expect, jest, test } from "@jest/globals";
import { RedisStore } from "connect-redis";
import { createClient } from "redis";
import {
  type ApplicationOptions,
  type ApplicationPart,
  Consumer,
  createLogger,
  http,
  logSignals,
  route,
  type Scope,
  sse,
} from "sluice";
import {
  type AuthenticateOptions,
  authenticate,
  type ExpressSessionStore,
  login,
  logout,
  MemorySessions,
  RedisSessions,
  requireUser,
  type Session,
  type SessionOptions,
  session,
  sessionUser,
} from "sluice/middleware";
import { RedisBackplane } from "sluice/redis";
import type { ServerOptions } from "sluice/server";
import type { Socket } from "socket.io-client";
import { signatureOf } from "../../src/middleware/signatures.ts";
import { type RedisPlace, redisKinds, redisSentinel } from "../redis/redis-kinds.ts";
import { until as eventually, hasRedis, RedisServer, redisTest } from "../redis/redis-server.ts";
import { atEnd, connected, gate, heard, type Live, refusalOf, serve, until } from "../server/live-server.ts";
import { Browser, SECRET } from "./browser.ts";

interface Values {
  visits: number;
  cart: string[];
  [other: string]: unknown;
}

const sessionOf = (scope: Scope<never, never>) => (scope as unknown as Scope).session as Session<Values>;

let pass: Promise<void> | undefined;
let began: () => void = () => {};

/** Whether who looks for a user waits, once, as what is slow does. */
let isLookingSlow = false;

async function findUser(id: string): Promise<{ readonly id: string }> {
  if (isLookingSlow) {
    isLookingSlow = false;
    began();
    await pass;
  }
  return { id };
}

/** What is slow waits for `open`, and says when it has begun. */
function slowly(): { readonly begun: Promise<void>; open(): void } {
  const { passed, open } = gate();
  pass = passed;
  const begun = new Promise<void>((resolve) => {
    began = resolve;
  });
  return { begun, open };
}

/** Ids of sessions that were renewed, or should have been. */
const renewed: string[] = [];

class Shop extends Consumer {
  override async receive(event: string, payload: unknown): Promise<unknown> {
    const own = sessionOf(this.scope as never);
    switch (event) {
      case "visit":
        own.data.visits = (own.data.visits ?? 0) + 1;
        return own.data.visits;
      case "set":
        Object.assign(own.data, payload);
        return "set";
      case "slow":
        began();
        await pass;
        Object.assign(own.data, payload);
        return "set";
      case "fail":
        own.data.visits = 1_000;
        this.deny(4403, "no");
        break;
      case "regenerate":
        await own.regenerate();
        return own.id;
      case "renew":
        began();
        await pass;
        try {
          await own.regenerate({ keepData: true });
        } finally {
          renewed.push(own.id);
        }
        return "renewed";
      case "id":
        return own.id;
      case "destroy":
        await own.destroy();
        return "destroyed";
      case "login":
        await login(this.scope, { id: String(payload) });
        return { user: this.scope.user, ticket: await own.ticket() };
      case "logout":
        await logout(this.scope);
        return "bye";
      case "who":
        return this.scope.user ?? null;
    }
    return { ...own.data };
  }
}

const scopeOf = (locals: Record<string, unknown>) => locals.scope as Scope;

function routes(): ApplicationOptions["routes"] {
  return [
    route("/shop", Shop),
    route("/members", Shop, { middleware: [requireUser()] }),
    sse("/stream", Shop, { middleware: [requireUser()] }),
    http("/login/:id", async (_request, response) => {
      const scope = scopeOf(response.locals);
      await login(scope, { id: scope.params.id });
      response.json({ id: sessionOf(scope as never).id });
    }),
    http("/slow-login/:id", async (_request, response) => {
      const scope = scopeOf(response.locals);
      began();
      await pass;
      await login(scope, { id: scope.params.id });
      response.json(sessionOf(scope as never).data);
    }),
    http("/new", async (_request, response) => {
      const own = sessionOf(scopeOf(response.locals) as never);
      const seen = [own.isNew];
      own.data.visits = 1;
      seen.push(own.isNew);
      await own.save();
      response.json([...seen, own.isNew]);
    }),
    http("/renew", async (_request, response) => {
      const own = sessionOf(scopeOf(response.locals) as never);
      began();
      await pass;
      await own.regenerate({ keepData: true });
      response.json(own.data);
    }),
    http("/logout", async (_request, response) => {
      await logout(scopeOf(response.locals));
      response.status(204).end();
    }),
    http("/who", (_request, response) => void response.json(scopeOf(response.locals).user ?? null)),
  ];
}

/** A node; those that share a store are nodes of one application. */
async function node(
  given: Partial<SessionOptions> = {},
  more: Partial<ApplicationOptions> = {},
  asked: AuthenticateOptions = {},
  server: ServerOptions = {},
): Promise<Live> {
  const sessions = session<Values>({ secret: SECRET, ...given });
  const part = given.store instanceof RedisSessions ? [given.store as ApplicationPart] : [];
  const live = await serve(
    {
      ...more,
      middleware: [sessions, authenticate(sessionUser(findUser), asked)],
      parts: part,
      routes: routes(),
    },
    server,
  );
  live.server.express.get("/page", sessions.express, (request, response) => {
    const data = request.session as unknown as Partial<Values>;
    data.visits = (data.visits ?? 0) + 1;
    response.json({ ...data, cookie: undefined });
  });
  live.server.express.get("/slow", sessions.express, async (request, response) => {
    began();
    await pass;
    (request.session as unknown as Partial<Values>).visits = 77;
    response.json("late");
  });
  live.server.express.post("/session", sessions.express, sessions.adopt);
  return live;
}

const places = new Map<string, RedisPlace>();
let prefixes = 0;
beforeAll(async () => {
  if (!hasRedis) return;
  for (const [kind, start] of redisKinds) places.set(kind, await start());
}, 60_000);
afterAll(() => Promise.all([...places.values()].map((place) => place.close())));

const prefixed = () => `test-${++prefixes}`;

type Make = (given?: Partial<SessionOptions>) => Promise<[Live, Live]>;
const forms: [string, typeof test, Make][] = [
  [
    "in memory",
    test,
    async (given) => {
      const one = await node(given);
      return [one, one];
    },
  ],
  ...redisKinds.map(([kind]): [string, typeof test, Make] => [
    `${kind}, on two nodes`,
    redisTest,
    async (given) => {
      const at = { ...places.get(kind)?.options, prefix: prefixed() };
      const make = () =>
        node({ ...given, store: new RedisSessions(at) }, { backplane: new RedisBackplane(at) });
      return [await make(), await make()];
    },
  ]),
];

describe.each(forms)("sessions %s", (_name, formTest, make) => {
  formTest(
    "Express and connections see and change the same, and a connection has what is newest",
    async () => {
      const [one, two] = await make();
      const browser = new Browser(one);
      expect(await (await browser.fetch("/page")).json()).toEqual({ visits: 1 });
      const socket = await new Browser(two, browser).open("/shop");
      expect(await socket.emitWithAck("visit")).toBe(2);
      expect(await (await browser.fetch("/page")).json()).toEqual({ visits: 3 });
      expect(await socket.emitWithAck("visit")).toBe(4);
    },
  );

  formTest("two that write at once keep what both wrote; of the same value the last wins", async () => {
    const [one, two] = await make();
    const browser = new Browser(one);
    await browser.fetch("/page");
    const slow = await browser.open("/shop");
    const quick = await new Browser(two, browser).open("/shop");
    const { begun, open } = slowly();
    const written = slow.emitWithAck("slow", { from: "slow", slow: 1 });
    await begun;
    expect(await quick.emitWithAck("set", { from: "quick", quick: 1 })).toBe("set");
    expect(await quick.emitWithAck("visit")).toBe(2);
    open();
    expect(await written).toBe("set");
    expect(await quick.emitWithAck("show")).toMatchObject({ visits: 2, from: "slow", slow: 1, quick: 1 });
  });

  formTest(
    "destroyed on one connection, others come back without it, and nobody brings it back",
    async () => {
      const [one, two] = await make();
      const browser = new Browser(one);
      await browser.fetch("/page");
      const [leaver, other] = [await browser.open("/shop"), await new Browser(two, browser).open("/shop")];
      const told = [leaver, other].map((socket) => heard(socket, "sluice.close"));
      expect(await leaver.emitWithAck("destroy")).toBe("destroyed");
      for (const close of told)
        expect(await close).toEqual([{ code: 4510, reason: "the session has ended" }]);
      const again = await browser.open("/shop");
      expect(await again.emitWithAck("show")).toEqual({});
      expect(await (await browser.fetch("/page")).json()).toEqual({ visits: 1 });
    },
  );

  formTest("a handler that still runs does not bring back what was destroyed", async () => {
    const [one, two] = await make();
    const browser = new Browser(one);
    await browser.fetch("/page");
    const { cookie } = browser;
    const socket = await new Browser(two, browser).open("/shop");
    const { begun, open } = slowly();
    socket.emit("slow", { visits: 99 });
    await begun;
    const gone = heard(socket, "disconnect");
    await fetch(`${one.url}/logout`, { headers: { cookie } });
    await gone;
    open();
    await until(() => two.app.sizes.connections === 0, "the handler has ended");
    const answer = await fetch(`${one.url}/page`, { headers: { cookie } });
    expect(await answer.json()).toEqual({ visits: 1 });
  });

  formTest("nor does a request that began before and answers late", async () => {
    const [one, two] = await make();
    const browser = new Browser(one);
    await browser.fetch("/page");
    const { cookie } = browser;
    const { begun, open } = slowly();
    const late = fetch(`${one.url}/slow`, { headers: { cookie } });
    await begun;
    await fetch(`${two.url}/logout`, { headers: { cookie } });
    open();
    expect(await (await late).json()).toBe("late");
    const answer = await fetch(`${one.url}/page`, { headers: { cookie } });
    expect(await answer.json()).toEqual({ visits: 1 });
  });

  formTest("whose session ends while it is being let in does not come in with it", async () => {
    const [one, two] = await make();
    const browser = new Browser(one);
    await browser.fetch("/login/ann");
    const { cookie } = browser;
    const { begun, open } = slowly();
    isLookingSlow = true;
    const socket = new Browser(two, browser).socket("/members");
    await begun;
    expect((await fetch(`${one.url}/logout`, { headers: { cookie } })).status).toBe(204);
    const refusal = refusalOf(socket);
    open();
    expect((await refusal).data).toEqual({ code: 4510, reason: "the session has ended" });
  });

  formTest("a request that answers late gives no new id to what was destroyed", async () => {
    const [one, two] = await make();
    const browser = new Browser(one);
    await browser.fetch("/login/ann");
    const { cookie } = browser;
    const { begun, open } = slowly();
    const late = browser.fetch("/renew");
    await begun;
    await fetch(`${two.url}/logout`, { headers: { cookie } });
    open();
    expect((await late).status).toBe(401);
    expect(await (await browser.fetch("/who")).json()).toBeNull();
  });

  formTest("who logs in while another tab logs out is in, and finds nothing of what was ended", async () => {
    const [one, two] = await make();
    const browser = new Browser(one);
    await browser.fetch("/login/ann");
    await browser.fetch("/page");
    const { cookie } = browser;
    const { begun, open } = slowly();
    const late = browser.fetch("/slow-login/ann");
    await begun;
    await fetch(`${two.url}/logout`, { headers: { cookie } });
    open();
    expect(await (await late).json()).not.toHaveProperty("visits");
    expect(await (await browser.fetch("/who")).json()).toEqual({ id: "ann" });
  });

  formTest(
    "who logs in has a new id, keeps the cart, and a cookie known before is worth nothing",
    async () => {
      const [one, two] = await make();
      const browser = new Browser(one);
      await browser.fetch("/page");
      const planted = browser.cookie;
      const tab = await new Browser(two, browser).open("/shop");
      const told = heard(tab, "sluice.close");
      await browser.fetch("/login/ann");
      expect(browser.cookie).not.toBe(planted);
      expect(await told).toEqual([{ code: 4510, reason: "the session has ended" }]);
      expect(await (await browser.fetch("/who")).json()).toEqual({ id: "ann" });
      expect(await (await browser.fetch("/page")).json()).toMatchObject({ visits: 2 });
      expect(await (await fetch(`${one.url}/who`, { headers: { cookie: planted } })).json()).toBeNull();
      // Somebody else on the same browser finds nothing of hers.
      await browser.fetch("/login/bob");
      expect(await (await browser.fetch("/page")).json()).toMatchObject({ visits: 1 });
    },
  );

  formTest("out in one tab is out in all tabs on all nodes; the same user elsewhere stays", async () => {
    const [one, two] = await make();
    const [laptop, phone] = [new Browser(one), new Browser(two)];
    await laptop.fetch("/login/ann");
    await phone.fetch("/login/ann");
    const tabs = [await laptop.open("/members"), await new Browser(two, laptop).open("/members")];
    const elsewhere = await phone.open("/members");
    const told = tabs.map((socket) => heard(socket, "sluice.close"));
    expect(await tabs[0]?.emitWithAck("logout")).toBe("bye");
    for (const close of told) expect(await close).toEqual([{ code: 4510, reason: "the session has ended" }]);
    expect(await refusalOf(laptop.socket("/members"))).toEqual({
      message: "log in first",
      data: { code: 4401, reason: "log in first" },
    });
    expect(await elsewhere.emitWithAck("who")).toEqual({ id: "ann" });
  });

  formTest(
    "who logs in over a connection is the user there at once, and its browser by a ticket",
    async () => {
      const [one, two] = await make();
      const browser = new Browser(one);
      await browser.fetch("/page");
      const planted = browser.cookie;
      const socket = await new Browser(two, browser).open("/shop");
      const { user, ticket } = (await socket.emitWithAck("login", "ann")) as {
        user: unknown;
        ticket: string;
      };
      expect(user).toEqual({ id: "ann" });
      expect(await socket.emitWithAck("who")).toEqual({ id: "ann" });
      expect(await (await browser.fetch("/who")).json()).toBeNull();
      // What was planted names nothing any more.
      const before = await fetch(`${one.url}/page`, { headers: { cookie: planted } });
      expect(await before.json()).toEqual({ visits: 1 });
      const headers = { "sluice-session": ticket };
      const stranger = new Browser(one);
      expect((await stranger.fetch("/session", { method: "POST", headers })).status).toBe(403);
      const forged = { "sluice-session": `${ticket.slice(0, -1)}${ticket.endsWith("A") ? "B" : "A"}` };
      const body = ticket.slice(0, ticket.lastIndexOf("."));
      // Whatever else was signed by the same secret is no ticket.
      const other = createHmac("sha256", SECRET).update(body).digest("base64url");
      for (const shown of [forged, { "sluice-session": `${body}.${other}` }]) {
        const back = { headers: { cookie: planted, ...shown }, method: "POST" };
        expect((await fetch(`${one.url}/session`, back)).status).toBe(403);
      }
      const own = await fetch(`${one.url}/session`, {
        method: "POST",
        headers: { cookie: planted, ...headers },
      });
      expect(own.status).toBe(204);
      const [cookie = ""] = own.headers.getSetCookie();
      const who = await fetch(`${one.url}/who`, { headers: { cookie: cookie.split(";")[0] as string } });
      expect(await who.json()).toEqual({ id: "ann" });
    },
  );
});

test("a ticket is good for a minute, and no longer than its session; its cookie is as secure as its way", async () => {
  const live = await node({}, {}, {}, { trustedProxies: 1 });
  const browser = new Browser(live);
  await browser.fetch("/page");
  const { cookie } = browser;
  const log = async (): Promise<{ ticket: string; socket: Socket }> => {
    const socket = await browser.open("/shop");
    return { socket, ...((await socket.emitWithAck("login", "ann")) as { ticket: string }) };
  };
  const adopt = (ticket: string) =>
    fetch(`${live.url}/session`, {
      method: "POST",
      headers: { cookie, "sluice-session": ticket, "x-forwarded-proto": "https" },
    });
  const [used, late, ended] = [await log(), await log(), await log()];
  const answer = await adopt(used.ticket);
  expect([answer.status, answer.headers.get("set-cookie")]).toEqual([
    204,
    expect.stringContaining("; Secure"),
  ]);
  await ended.socket.emitWithAck("destroy");
  expect((await adopt(ended.ticket)).status).toBe(403);
  const clock = jest.spyOn(Date, "now").mockReturnValue(Date.now() + 60_001);
  atEnd(() => clock.mockRestore());
  expect((await adopt(late.ticket)).status).toBe(403);
});

describe.each(forms)("sessions %s", (_name, formTest, make) => {
  formTest("whose time is up end all connections that have them, though these do nothing", async () => {
    const [one, two] = await make({ ttlMs: 1_500 });
    const browser = new Browser(one);
    await browser.fetch("/page");
    const tabs = [await browser.open("/shop"), await new Browser(two, browser).open("/shop")];
    const told = tabs.map((socket) => heard(socket, "sluice.close"));
    for (const close of told) expect(await close).toEqual([{ code: 4510, reason: "the session has ended" }]);
    expect(await (await browser.open("/shop")).emitWithAck("show")).toEqual({});
  });
});

/** Sessions that end when the test says so. */
class Lasting extends MemorySessions {
  hasEnded = false;
  reads = 0;

  override async read(id: string): Promise<string | undefined> {
    this.reads += 1;
    return this.hasEnded ? undefined : super.read(id);
  }

  override write(id: string, text: string): Promise<void> {
    return super.write(id, text, 60_000);
  }

  override async swap(...args: Parameters<MemorySessions["swap"]>): Promise<boolean> {
    return !this.hasEnded && super.swap(...args);
  }

  /** How often it is asked while nobody does anything. */
  async looks(count: number): Promise<void> {
    const before = this.reads;
    await until(() => this.reads >= before + count, "it is looked for");
  }
}

test("a connection that does nothing stays as long as its session does", async () => {
  const store = new Lasting();
  const live = await node({ store, ttlMs: 500 });
  const browser = new Browser(live);
  await browser.fetch("/page");
  const socket = await browser.open("/shop");
  await store.looks(5);
  expect(socket.connected).toBe(true);
  const close = heard(socket, "sluice.close");
  store.hasEnded = true;
  expect(await close).toEqual([{ code: 4510, reason: "the session has ended" }]);
});

test("a handler that runs when its session's time is up is told so, and its client as well", async () => {
  const store = new Lasting();
  const live = await node({ store, ttlMs: 500 });
  const browser = new Browser(live);
  await browser.fetch("/page");
  const socket = await browser.open("/shop");
  const { begun, open } = slowly();
  const answer = socket.emitWithAck("slow", { visits: 99 });
  await begun;
  store.hasEnded = true;
  await store.looks(2);
  expect(socket.connected).toBe(true);
  const close = heard(socket, "sluice.close");
  open();
  expect(await answer).toMatchObject({ error: { code: "connection_denied" } });
  expect(await close).toEqual([{ code: 4510, reason: "the session has ended" }]);
});

test("a stream has the session of its cookie, and ends with it", async () => {
  const live = await node();
  const browser = new Browser(live);
  await browser.fetch("/login/ann");
  const stream = await browser.fetch("/stream");
  const reader = (stream.body as ReadableStream<Uint8Array>).getReader();
  let text = "";
  const read = async (beginning: string) => {
    while (!text.includes(beginning)) {
      const { value, done } = await reader.read();
      if (done) throw new Error(`the stream ended before ${beginning}`);
      text += new TextDecoder().decode(value);
    }
  };
  await read("sluice.open");
  const [, key = ""] = /"connection":"([^"]+)"/.exec(text) ?? [];
  const post = (event: string, from = browser) =>
    from.fetch("/stream", {
      method: "POST",
      headers: { "content-type": "application/json", "sluice-connection": key },
      body: JSON.stringify({ event }),
    });
  expect(await (await post("visit")).json()).toBe(1);
  expect(await (await post("who")).json()).toEqual({ id: "ann" });
  expect((await post("who", new Browser(live))).status).toBe(401);
  expect(await (await browser.fetch("/page")).json()).toMatchObject({ visits: 2 });
  await browser.fetch("/logout");
  await read('data: {"code":4510,"reason":"the session has ended"}');
});

test("no cookie, session or ticket gets into the log", async () => {
  const live = await node();
  const lines: string[] = [];
  atEnd(logSignals(live.app.signals, createLogger("trace", { write: (line) => void lines.push(line) })));
  const browser = new Browser(live);
  await browser.fetch("/login/ann");
  const socket = await browser.open("/members");
  const { ticket } = (await socket.emitWithAck("login", "ann")) as { ticket: string };
  await new Browser(live).fetch("/session", { method: "POST", headers: { "sluice-session": ticket } });
  await socket.emitWithAck("logout");
  await refusalOf(browser.socket("/members"));
  await until(() => lines.some((line) => line.includes('"denied"')), "the refusal is logged");
  const [id = ""] = decodeURIComponent(browser.cookie).slice("connect.sid=s:".length).split(".");
  for (const secret of [id, ticket, ticket.split(".")[0] as string, SECRET]) {
    expect(secret.length).toBeGreaterThan(20);
    expect(lines.join("")).not.toContain(secret);
  }
});

test("a client without a cookie has a session of its connection's own, which fills no store", async () => {
  const store = new MemorySessions();
  const live = await node({ store });
  const socket = await connected(live.client("/shop"));
  expect(await socket.emitWithAck("visit")).toBe(1);
  expect(await socket.emitWithAck("visit")).toBe(2);
  expect(store.size).toBe(0);
  expect(await socket.emitWithAck("login", "ann")).toMatchObject({ user: { id: "ann" } });
  expect(await socket.emitWithAck("visit")).toBe(3);
  expect(store.size).toBe(1);
});

test("a handler gives no new id to a session of whose end its node has not heard yet", async () => {
  const store = new MemorySessions();
  const live = await node({ store });
  const browser = new Browser(live);
  const { id } = (await (await browser.fetch("/login/ann")).json()) as { id: string };
  const socket = await browser.open("/members");
  const { begun, open } = slowly();
  const close = heard(socket, "sluice.close");
  const answer = socket.emitWithAck("renew");
  await begun;
  expect(await store.remove(id)).toBe(true);
  open();
  expect(await answer).toMatchObject({ error: { code: "connection_denied" } });
  expect(await close).toEqual([{ code: 4510, reason: "the session has ended" }]);
  expect(await store.read(renewed.at(-1) as string)).toBeUndefined();
});

test("asked again, whose session is gone is told to come back, though its node was told nothing", async () => {
  const store = new MemorySessions();
  const live = await node({ store }, {}, { recheckMs: 10 });
  const browser = new Browser(live);
  const { id } = (await (await browser.fetch("/login/ann")).json()) as { id: string };
  const close = heard(await browser.open("/members"), "sluice.close");
  await store.remove(id);
  expect(await close).toEqual([{ code: 4510, reason: "the session has ended" }]);
});

test("a session of a request is new until it is saved, whatever is in it", async () => {
  const browser = new Browser(await node());
  expect(await (await browser.fetch("/new")).json()).toEqual([true, true, false]);
  expect(await (await browser.fetch("/new")).json()).toEqual([false, false, false]);
});

test("an id that was never given, or has ended, is nobody's again", async () => {
  const live = await node();
  const cookie = `connect.sid=${encodeURIComponent(`s:planted.${signatureOf("planted", SECRET)}`)}`;
  const socket = await connected(live.client("/shop", { extraHeaders: { cookie } }));
  const id = await socket.emitWithAck("id");
  expect(id).toHaveLength(32);
  expect(id).not.toBe("planted");
});

test("a new id takes nothing along that it is not told to; and a session has a bound", async () => {
  const live = await node({ maxBytes: 1_000 });
  const browser = new Browser(live);
  await browser.fetch("/page");
  const socket = await browser.open("/shop");
  expect(await socket.emitWithAck("set", { long: "x".repeat(1_000) })).toMatchObject({
    error: { code: "message_too_large" },
  });
  expect(await socket.emitWithAck("show")).toEqual({ visits: 1 });
  await socket.emitWithAck("regenerate");
  expect(await socket.emitWithAck("show")).toEqual({});
});

test("who has no session and ends it all the same fills no store", async () => {
  const store = new MemorySessions();
  const live = await node({ store });
  for (let i = 0; i < 3; i++) expect((await fetch(`${live.url}/logout`)).status).toBe(204);
  const socket = await connected(live.client("/shop"));
  expect(await socket.emitWithAck("destroy")).toBe("destroyed");
  expect(store.size).toBe(0);
});

redisTest("a store says whether it has removed something, and notes nothing else", async () => {
  const prefix = prefixed();
  const inRedis = [...places.values()].map(({ options }) => new RedisSessions({ ...options, prefix }));
  for (const store of inRedis) {
    await store.open();
    atEnd(() => store.end());
  }
  for (const store of [...inRedis, new MemorySessions()]) {
    expect(await store.remove("a")).toBe(false);
    await store.write("a", "{}", 60_000);
    expect(await store.read("a")).toBe("{}");
    expect([await store.remove("a"), await store.remove("a")]).toEqual([true, false]);
    // Who only uses it shortens nothing, either.
    await store.extend("a", 1);
    await store.write("b", "{}", 5);
    while ((await store.read("b")) !== undefined);
    await store.write("a", "{}", 60_000);
    expect(await store.read("a")).toBeUndefined();
  }
});

test("what a hook that fails has changed is not saved", async () => {
  const live = await node();
  const browser = new Browser(live);
  await browser.fetch("/page");
  const socket = await browser.open("/shop");
  expect(await socket.emitWithAck("fail")).toMatchObject({ error: { code: "connection_denied" } });
  expect(await (await browser.fetch("/page")).json()).toEqual({ visits: 2 });
});

test("a cookie without signature, or with a wrong one, is no session", async () => {
  const live = await node();
  const browser = new Browser(live);
  await browser.fetch("/login/ann");
  const [, value = ""] = /connect\.sid=(.*)/.exec(browser.cookie) ?? [];
  const signed = decodeURIComponent(value);
  const [id = "", signature = ""] = [
    signed.slice(2, signed.lastIndexOf(".")),
    signed.slice(signed.lastIndexOf(".") + 1),
  ];
  const wrong = `${signature[0] === "A" ? "B" : "A"}${signature.slice(1)}`;
  for (const cookie of [
    id,
    `s:${id}`,
    `s:${id}.`,
    `s:${id}.${wrong}`,
    `s:${id}.${signature}A`,
    `s:x.${signature}`,
  ]) {
    const extraHeaders = { cookie: `connect.sid=${encodeURIComponent(cookie)}` };
    const socket = await connected(live.client("/shop", { extraHeaders }));
    expect(await socket.emitWithAck("who")).toBeNull();
  }
  expect(await (await browser.open("/shop")).emitWithAck("who")).toEqual({ id: "ann" });
});

redisTest("a store of express-session, connect-redis here, works as well", async () => {
  const [redis] = (places.get("in Redis") as RedisPlace).servers as [RedisServer];
  const client = createClient({ url: redis.url });
  await client.connect();
  atEnd(() => client.destroy());
  const live = await node({ store: new RedisStore({ client, prefix: `${prefixed()}:` }) });
  const browser = new Browser(live);
  await browser.fetch("/login/ann");
  const socket = await browser.open("/members");
  expect(await socket.emitWithAck("visit")).toBe(1);
  expect(await (await browser.fetch("/page")).json()).toMatchObject({ visits: 2 });
  const told = heard(socket, "sluice.close");
  await browser.fetch("/logout");
  expect(await told).toEqual([{ code: 4510, reason: "the session has ended" }]);
});

test("a session in such a store lives on while a connection uses it", async () => {
  const kept = new Map<string, string>();
  const touched: number[] = [];
  const store = {
    get: (id, callback) => callback(null, JSON.parse(kept.get(id) ?? "null") as never),
    set: (id, data, callback) => {
      kept.set(id, JSON.stringify(data));
      callback?.();
    },
    destroy: (id, callback) => {
      kept.delete(id);
      callback?.();
    },
    touch: (_id, data: { readonly cookie: { readonly expires: Date } }, callback) => {
      touched.push(data.cookie.expires.getTime());
      callback?.();
    },
    // What express-session asks of each besides.
    on: () => {},
  } satisfies ExpressSessionStore & { on(): void };
  const lifeMs = 1_000;
  const live = await node({ store: store as ExpressSessionStore, cookie: { maxAge: lifeMs } });
  const browser = new Browser(live);
  await browser.fetch("/page");
  const [text = ""] = kept.values();
  const { cookie } = JSON.parse(text) as { readonly cookie: { readonly expires: string } };
  const socket = await browser.open("/shop");
  while (touched.length === 0) await socket.emitWithAck("show");
  expect(touched[0]).toBeGreaterThan(Date.parse(cookie.expires));
});

redisTest("after a failover sessions are there, and what was destroyed stays so", async () => {
  const place = await redisSentinel();
  atEnd(() => place.close());
  const [master, replica] = place.servers as [RedisServer, RedisServer];
  const store = new RedisSessions({ ...place.options, commandTimeoutMs: 300, connectTimeoutMs: 1_000 });
  const live = await node({ store });
  const [browser, leaver] = [new Browser(live), new Browser(live)];
  await browser.fetch("/page");
  await leaver.fetch("/page");
  const { cookie } = leaver;
  const socket = await browser.open("/shop");
  expect(await socket.emitWithAck("visit")).toBe(2);
  await leaver.fetch("/logout");
  // What the replica does not have yet is lost with the master.
  await eventually(async () => (await copied(master, place)) === 1);
  await master.end();
  expect(replica.pid).toBeGreaterThan(0);
  await eventually(async () => (await socket.emitWithAck("show")).visits === 2);
  expect(await socket.emitWithAck("visit")).toBe(3);
  const answer = await fetch(`${live.url}/page`, { headers: { cookie } });
  expect(await answer.json()).toEqual({ visits: 1 });
});

/** How many replicas have all that was written. */
async function copied({ port }: RedisServer, { options: { password = "" } }: RedisPlace): Promise<unknown> {
  const client = await createClient({ socket: { port }, password }).connect();
  // It waits for what was written by the same connection.
  await client.set("last", "1");
  const count = await client.sendCommand(["WAIT", "1", "1000"]);
  client.destroy();
  return count;
}

redisTest("without Redis a hook is refused with what is worth another try", async () => {
  const own = await RedisServer.start();
  atEnd(() => own.close());
  const store = new RedisSessions({ url: own.url, heartbeatMs: 50 });
  const live = await node({ store });
  const browser = new Browser(live);
  await browser.fetch("/page");
  const socket = await browser.open("/shop");
  await own.end();
  expect(await socket.emitWithAck("visit")).toMatchObject({ error: { code: "layer_unavailable" } });
});

test("a store in memory forgets what has ended, and the oldest beyond its bound", async () => {
  const store = new MemorySessions({ maxSessions: 3 });
  await store.write("short", "{}", 0);
  expect(await store.read("short")).toBeUndefined();
  for (const id of ["a", "b", "c", "d"]) await store.write(id, "{}", 60_000);
  expect(store.size).toBe(3);
  expect(await store.read("d")).toBe("{}");
  expect(await store.read("a")).toBeUndefined();
  // Whose time is up goes first.
  await store.write("short", "{}", 0);
  expect(await store.read("c")).toBe("{}");
  await store.write("e", "{}", 60_000);
  expect(await Promise.all(["c", "d", "e"].map((id) => store.read(id)))).toEqual(["{}", "{}", "{}"]);
  await store.remove("d");
  await store.write("d", "{}", 60_000);
  expect(await store.swap("d", "{}", "{}", 60_000)).toBe(false);
  expect(await store.read("d")).toBeUndefined();
});

test("secrets that are missing or short, and stores that are none, are told at once", () => {
  expect(() => session({ secret: "short" })).toThrow(/at least 32 characters/);
  expect(() => session({ secret: [] })).toThrow(/need a secret/);
  expect(() => session({ secret: SECRET, ttlMs: 0 })).toThrow(/ttlMs/);
});
