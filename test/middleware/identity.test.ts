/** Who may come in, who may join, and what each middleware needs of the others. */
import { expect, test } from "@jest/globals";
import {
  type Application,
  type ApplicationOptions,
  Consumer,
  createApplication,
  deny,
  http,
  include,
  LayerUnavailable,
  type Middleware,
  mark,
  peer,
  peerNow,
  RateLimited,
  route,
  type Scope,
} from "sluice";
import {
  authenticate,
  bearerToken,
  cookies,
  limitConnections,
  requireOrigin,
  requireUser,
  session,
  sessionUser,
} from "sluice/middleware";
import { TestClient, type TestClientOptions } from "sluice/testing";
import { signatureOf } from "../../src/middleware/signatures.ts";
import { atEnd, connected, gate, heard, serve, until } from "../server/live-server.ts";
import { SECRET } from "./browser.ts";

interface User {
  readonly id: string;
  readonly rooms?: readonly string[];
}

/** By what a client says of itself; good enough for a test. */
const said = authenticate((scope: Scope) => scope.auth.user as User | undefined);

class Room extends Consumer {
  override async connect(): Promise<void> {
    for (const group of (this.scope.auth.join as string[] | undefined) ?? []) await this.groupAdd(group);
  }
  override async receive(event: string, payload: unknown): Promise<unknown> {
    if (event === "join") await this.groupAdd(String(payload));
    if (event === "say") await this.groupEmit(String(payload), "said", payload);
    if (event === "become") await this.scope.connection.change({ user: payload });
    return this.scope.user ?? null;
  }
}

function made(options: Omit<ApplicationOptions, "routes"> & Partial<ApplicationOptions>): Application {
  const app = createApplication({ routes: [route("/room", Room)], ...options } as ApplicationOptions);
  atEnd(() => app.stop());
  return app;
}

async function enter(
  app: Application,
  auth: object = {},
  options: TestClientOptions = {},
): Promise<TestClient> {
  const client = new TestClient(app, "/room", { auth: auth as Record<string, unknown>, ...options });
  await expect(client).toBeAccepted();
  return client;
}

const entry = (app: Application, options: TestClientOptions = {}, namespace = "/room") =>
  new TestClient(app, namespace, options).connect();

const members: ApplicationOptions = {
  routes: [route("/room", Room)],
  middleware: [said],
  groups: {
    "chat.*": {
      presence: true,
      mayJoin: (scope, group) => {
        const { rooms = [] } = (scope.user ?? {}) as User;
        if (rooms.includes("broken")) throw new Error("the database is down");
        return rooms.includes(group);
      },
    },
  },
};
const ann = { id: "ann", rooms: ["chat.a", "chat.b"] };

test("a group's policy says who may join it, whatever code asks; other groups are open", async () => {
  const app = made(members);
  const client = await enter(app, { user: ann, join: ["chat.a", "open"] });
  expect(await client.emit("join", "chat.c")).toEqual({
    error: { code: "join_refused", message: 'this connection may not join the group "chat.c"' },
  });
  expect(await client.emit("join", "chat.b")).toEqual(ann);
  await expect(app.layer.groupAdd("chat.c", client.channel)).rejects.toMatchObject({ code: "join_refused" });
  expect(app.layer.groupMembers("chat.c")).toEqual([]);
  expect(app.layer.groupMembers("chat.b")).toEqual([client.channel]);
  expect(await entry(app, { auth: { user: ann, join: ["chat.c"] } })).toMatchObject({
    accepted: false,
    code: 4403,
  });
  expect(
    await entry(app, { auth: { user: { id: "eve", rooms: ["broken"] }, join: ["chat.a"] } }),
  ).toMatchObject({
    accepted: false,
    code: 4500,
  });
  await client.disconnect();
  expect(app).toBeEmpty();
});

test("whoever becomes another user leaves what that one may not join, and is present as that one", async () => {
  const app = made(members);
  const client = await enter(app, { user: ann, join: ["chat.a", "chat.b", "open"] });
  const bob = { id: "bob", rooms: ["chat.b"] };
  expect(await client.emit("become", bob)).toEqual(bob);
  expect(app.layer.groupMembers("chat.a")).toEqual([]);
  expect(app.layer.groupMembers("chat.b")).toEqual([client.channel]);
  expect(app.layer.groupMembers("open")).toEqual([client.channel]);
  expect((await app.layer.presence("chat.b")).map(({ user }) => user)).toEqual(["bob"]);
  expect(await app.layer.presence("chat.a")).toEqual([]);
  await app.layer.closeUser("ann");
  expect(await client.emit("who")).toEqual(bob);
  await app.layer.closeUser("bob", 4401, "out");
  await expect(client).toBeClosedWith(4401, "out");
});

test("on every channel layer a user's connections end, and a layer's own policies say who may join", async () => {
  class Archive extends Room {
    static override readonly layer = "archive";
  }
  const app = made({
    middleware: [said],
    layers: { archive: { groups: { "chat.*": { mayJoin: () => false } } } },
    routes: [route("/room", Room), route("/archive", Archive)],
  });
  const room = await enter(app, { user: ann, join: ["chat.a"] });
  const archive = new TestClient(app, "/archive", { auth: { user: ann } });
  await expect(archive).toBeAccepted();
  expect(await archive.emit("join", "chat.a")).toMatchObject({ error: { code: "join_refused" } });
  await app.closeUser("ann", 4401, "out");
  for (const client of [room, archive]) await expect(client).toBeClosedWith(4401, "out");
});

test("only a plain yes lets anybody join", async () => {
  for (const answer of ["yes", 1, {}, undefined, Promise.resolve("yes")]) {
    const app = made({ groups: { "chat.*": { mayJoin: () => answer as boolean } } });
    expect(await entry(app, { auth: { join: ["chat.a"] } })).toMatchObject({ accepted: false, code: 4403 });
  }
});

test("mayJoin must be a function", () => {
  const groups = { "chat.*": { mayJoin: "everybody" as never } };
  expect(() => made({ groups })).toThrow(/groups\["chat.\*"\].mayJoin must be a function/);
});

test("what a middleware needs of another is told at the start, route by route, for plain JavaScript", () => {
  const sessions = session({ secret: SECRET });
  const faultsOf = (options: unknown): readonly string[] => {
    try {
      createApplication(options as ApplicationOptions);
      return [];
    } catch (error) {
      return (error as { faults: readonly string[] }).faults;
    }
  };
  const guarded = [route("/a", Room, { middleware: [requireUser()] }), route("/b", Room)];
  expect(faultsOf({ routes: guarded })).toEqual([
    '"/a": the middleware "requireUser" needs scope.user; put one before it that adds it, such as authenticate(...) or bearerToken(...)',
  ]);
  const bySession = authenticate(sessionUser((id) => ({ id })));
  expect(faultsOf({ routes: guarded, middleware: [bySession, sessions] })).toEqual([
    '"/a": the middleware "authenticate" needs scope.session; put one before it that adds it, such as session(...)',
    '"/b": the middleware "authenticate" needs scope.session; put one before it that adds it, such as session(...)',
  ]);
  expect(faultsOf({ routes: guarded, middleware: [sessions, bySession] })).toEqual([]);
  expect(faultsOf({ routes: guarded, middleware: [said] })).toEqual([]);
  expect(faultsOf({ routes: [include("/x", guarded as never, { middleware: [said] as never })] })).toEqual(
    [],
  );
  expect(
    faultsOf({ routes: [http("/p", () => {}, { middleware: [limitConnections({ perUser: 1 })] })] }),
  ).toHaveLength(1);
  // Nobody knows what a plain function adds.
  const plain: Middleware = (_scope, next) => next({ user: "ann" });
  expect(faultsOf({ routes: guarded, middleware: [plain] })).toEqual([]);
  const tenant = mark<object, { readonly tenant: string }>({ requires: ["tenant"] }, plain);
  expect(faultsOf({ routes: guarded, middleware: [tenant] })[0]).toContain(
    'such as one marked as providing "tenant"',
  );
});

test("a strategy decides who it is, may refuse itself, and a broken one lets nobody in", async () => {
  const app = made({
    middleware: [
      authenticate(async ({ auth }: Scope) => {
        if (auth.key === "banned") deny(4403, "banned");
        if (auth.key === "broken") throw new Error("the database is down");
        return auth.key === "right" ? { id: "ann" } : undefined;
      }),
    ],
    routes: [route("/room", Room), route("/members", Room, { middleware: [requireUser()] })] as never,
  });
  const asked = async (key: string) => entry(app, { auth: { key } }, "/members");
  expect(await asked("right")).toEqual({ accepted: true });
  expect(await asked("wrong")).toEqual({ accepted: false, code: 4401, reason: "log in first" });
  expect(await asked("banned")).toEqual({ accepted: false, code: 4403, reason: "banned" });
  expect(await asked("broken")).toMatchObject({ accepted: false, code: 4500, reason: "internal error" });
  expect(() => authenticate("me" as never)).toThrow(/needs a strategy/);
  expect(() => authenticate(() => "me", { recheckMs: -1 })).toThrow(/recheckMs/);
});

test("who it is is asked again at an interval: what changed is known, and who is nobody is out", async () => {
  let users = new Map([["k", { id: "ann", role: "guest" }]]);
  let asked = 0;
  const recheck = authenticate(
    ({ auth }: Scope) => {
      asked += 1;
      return users.get(String(auth.key));
    },
    { recheckMs: 10 },
  );
  const app = made({ middleware: [recheck] });
  const client = await enter(app, { key: "k" });
  const nobody = await enter(app, { key: "none" });
  users = new Map([["k", { id: "ann", role: "admin" }]]);
  const before = asked;
  await until(() => asked > before + 4, "both are asked again");
  expect(await client.emit("who")).toEqual({ id: "ann", role: "admin" });
  users = new Map([
    ["k", { id: "bob", role: "admin" }],
    ["none", { id: "eve", role: "admin" }],
  ]);
  await expect(client).toBeClosedWith(4403, "these credentials are somebody else's");
  await expect(nobody).toBeClosedWith(4510, "come back as who you are now");
  users = new Map([["k", { id: "bob", role: "admin" }]]);
  const bob = await enter(app, { key: "k" });
  users = new Map();
  await expect(bob).toBeClosedWith(4401, "log in again");
});

test("while nobody can say who it is, whoever is in stays in", async () => {
  let isDown = false;
  const store = authenticate(
    () => {
      if (isDown) throw new LayerUnavailable("the store of sessions is away");
      return { id: "ann" };
    },
    { recheckMs: 10 },
  );
  const app = made({ middleware: [store] });
  const failures: unknown[] = [];
  app.signals.failed.connect(({ error }) => failures.push(error));
  const client = await enter(app);
  isDown = true;
  await until(() => failures.length > 1, "it failed, and was asked again");
  expect(await client.emit("who")).toEqual({ id: "ann" });
});

test("nobody is nobody, whether undefined or null", async () => {
  const none: Middleware = (_scope, next) => next({ user: null });
  const app = made({ middleware: [none, requireUser()] });
  expect(await entry(app)).toEqual({ accepted: false, code: 4401, reason: "log in first" });
});

test("credentials are looked at one after the other", async () => {
  const { passed, open } = gate();
  const looking = gate();
  const byKey = authenticate(async ({ auth }: Scope) => {
    if (auth.key === "slow") {
      looking.open();
      await passed;
    }
    return { id: "ann" };
  });
  const client = await enter(made({ middleware: [byKey] }), { key: "old" });
  const slow = client.emit("sluice.auth", { key: "slow" });
  await looking.passed;
  expect(await client.emit("sluice.auth", { key: "next" })).toMatchObject({
    error: { code: "rate_limited" },
  });
  open();
  expect(await slow).toEqual({});
  expect(await client.emit("sluice.auth", { key: "next" })).toEqual({});
});

test("credentials that could not be looked at change nothing: the old ones still count", async () => {
  let asked = 0;
  const byKey = authenticate(
    ({ auth }: Scope) => {
      asked += 1;
      if (auth.key === "slow") throw new RateLimited("too many logins");
      return auth.key === "old" ? { id: "ann" } : undefined;
    },
    { recheckMs: 10 },
  );
  const client = await enter(made({ middleware: [byKey] }), { key: "old" });
  expect(await client.emit("sluice.auth", { key: "slow" })).toMatchObject({
    error: { code: "rate_limited" },
  });
  const before = asked;
  await until(() => asked > before + 2, "it is asked again");
  expect(await client.emit("who")).toEqual({ id: "ann" });
});

test("other credentials of the same user are taken in band, and asked with from then on", async () => {
  const keys = new Map([
    ["old", { id: "ann" }],
    ["new", { id: "ann" }],
    ["other", { id: "bob" }],
  ]);
  let asked = 0;
  const byKey = authenticate(
    ({ auth }: Scope) => {
      asked += 1;
      return keys.get(String(auth.key));
    },
    { recheckMs: 10 },
  );
  const live = await serve({ middleware: [byKey], routes: [route("/room", Room)] });
  const socket = await connected(live.client("/room", { auth: { key: "old" } }));
  expect(await socket.emitWithAck("sluice.auth", { key: "new" })).toEqual({});
  keys.delete("old");
  const before = asked;
  await until(() => asked > before + 1, "it is asked again, by the new key");
  const close = heard(socket, "sluice.close");
  expect(await socket.emitWithAck("sluice.auth", { key: "other" })).toMatchObject({
    error: { code: "connection_denied" },
  });
  expect(await close).toEqual([{ code: 4403, reason: "these credentials are somebody else's" }]);
});

test("a user or an address may have so many connections, and another when one has ended", async () => {
  const app = made({ middleware: [said, limitConnections({ perUser: 2, perAddress: 3 })] });
  const from = (user: User | undefined, remoteAddress: string) =>
    ({ auth: { user }, remoteAddress }) as TestClientOptions;
  const first = new TestClient(app, "/room", from(ann, "10.0.0.1"));
  await expect(first).toBeAccepted();
  expect(await entry(app, from(ann, "10.0.0.2"))).toEqual({ accepted: true });
  expect(await entry(app, from(ann, "10.0.0.3"))).toMatchObject({ accepted: false, code: 4529 });
  expect(await entry(app, from({ id: "bob" }, "10.0.0.1"))).toEqual({ accepted: true });
  expect(await entry(app, from(undefined, "10.0.0.1"))).toEqual({ accepted: true });
  expect(await entry(app, from(undefined, "10.0.0.1"))).toMatchObject({ accepted: false, code: 4529 });
  await first.disconnect();
  expect(await entry(app, from(ann, "10.0.0.1"))).toEqual({ accepted: true });
  // One network of IPv6 counts as one address.
  for (const host of [1, 2, 3])
    expect(await entry(app, from(undefined, `2001:db8::${host}`))).toEqual({ accepted: true });
  expect(await entry(app, from(undefined, "2001:db8::4"))).toMatchObject({ accepted: false, code: 4529 });
  expect(() => limitConnections({})).toThrow(/needs a limit/);
  expect(() => limitConnections({ perAddress: 0 })).toThrow(/perAddress/);
});

test("what is refused counts no longer", async () => {
  const refuse: Middleware = (scope, next) => (scope.auth.no ? deny() : next());
  const app = made({ middleware: [limitConnections({ perAddress: 1 }), refuse] });
  for (let i = 0; i < 3; i++) expect(await entry(app, { auth: { no: true } })).toMatchObject({ code: 4403 });
  expect(await entry(app)).toEqual({ accepted: true });
});

test("a route may be stricter about origins than its server", async () => {
  const app = made({ middleware: [requireOrigin(["https://admin.example"])] });
  const of = (origin?: string) => entry(app, { headers: { host: "own.example", ...(origin && { origin }) } });
  expect(await of("https://admin.example")).toEqual({ accepted: true });
  expect(await of("https://own.example")).toEqual({ accepted: true });
  for (const origin of ["https://app.example", "null", "rubbish", undefined]) {
    expect(await of(origin)).toEqual({ accepted: false, code: 4403, reason: "this origin may not connect" });
  }
  expect(() => requireOrigin(["https://*"])).toThrow(/is no origin/);
});

test("only what this application has signed is a signed cookie", async () => {
  let seen: unknown;
  const older = "an older secret that was long enough too";
  const look: Middleware = (scope, next) => {
    seen = Object.fromEntries((scope.state.signedCookies as ReadonlyMap<string, string>) ?? []);
    return next();
  };
  const app = made({ middleware: [cookies({ secret: [SECRET, older] }), look] });
  const signed = (value: string, secret = SECRET) =>
    encodeURIComponent(`s:${value}.${signatureOf(value, secret)}`);
  const jar = {
    good: signed("a.b"),
    older: signed("old", older),
    empty: signed(""),
    bare: "a.b",
    unsigned: encodeURIComponent("s:a.b"),
    foreign: signed("a.b", "a secret of somebody else who is evil"),
    changed: signed("a.b").replace("a.b", "a.c"),
    short: signed("a.b").slice(0, -3),
    prefix: signed("a.b").replace("s%3A", "x%3A"),
    __proto__: signed("x"),
  };
  const cookie = Object.entries(jar)
    .map(([name, value]) => `${name}=${value}`)
    .join("; ");
  await entry(app, { headers: { cookie } });
  expect(seen).toEqual({ good: "a.b", older: "old", empty: "" });
  expect(() => cookies({ secret: [] })).toThrow(/need a secret/);
});

test("a package that is not installed is named, with what to do", async () => {
  const missing = Object.assign(new Error("Cannot find package 'jose' imported from x"), {
    code: "ERR_MODULE_NOT_FOUND",
  });
  await expect(peer("jose", () => Promise.reject(missing))).rejects.toThrow(
    "the package jose is not installed; run npm install jose",
  );
  expect(() => peerNow("no-such-package-at-all")).toThrow("run npm install no-such-package-at-all");
  expect(bearerToken({ secret: SECRET, audience: "a", issuer: "b" })).toBeInstanceOf(Function);
});
