import { expect, test } from "@jest/globals";
import { deny, include, type Middleware, route } from "sluice";
import { connected, Diary, Echo, gate, refusalOf, serve, until } from "./live-server.ts";

const pass: Middleware = (_scope, next) => next();

test("deny(code, reason) in connect reaches connect_error, and disconnect runs with that reason", async () => {
  const diary = new Diary();
  class Closed extends diary.Witness {
    override connect() {
      this.deny(4403, "members only");
    }
  }
  const live = await serve({ routes: [route("/closed", Closed)] });
  expect(await refusalOf(live.client("/closed"))).toEqual({
    message: "members only",
    data: { code: 4403, reason: "members only" },
  });
  expect(await diary.reason()).toEqual({ kind: "denied", code: 4403, message: "members only" });
  await live.empty();
});

test.each([0, 1, 2, 3])("deny in the middleware at depth %d reaches connect_error", async (depth) => {
  const diary = new Diary();
  const at = (level: number): Middleware => (level === depth ? () => deny(4401, `level ${level}`) : pass);
  const routes = [
    include(
      "/a",
      [include("/b", [route("/c", diary.Witness, { middleware: [at(3)] })], { middleware: [at(2)] })],
      {
        middleware: [at(1)],
      },
    ),
  ];
  const live = await serve({ routes, middleware: [at(0)] });
  const reason = `level ${depth}`;
  expect(await refusalOf(live.client("/a/b/c"))).toEqual({ message: reason, data: { code: 4401, reason } });
  expect(diary.made).toBe(0);
  await live.empty();
});

test("a stock client that was refused stays away", async () => {
  class Closed extends Echo {
    override connect() {
      this.deny();
    }
  }
  let refusals = 0;
  const live = await serve({ routes: [route("/closed", Closed), route("/open", Echo)] });
  live.app.signals.denied.connect(() => {
    refusals += 1;
  });
  const client = live.client("/closed", { reconnection: true });
  const neighbour = client.io.socket("/open", {});
  await refusalOf(client);
  await connected(neighbour);
  for (let i = 0; i < 20; i++) await neighbour.emitWithAck("say", i);
  expect(client.active).toBe(false);
  expect(refusals).toBe(1);
});

test("what a middleware or connect throws unmeant reaches the client as internal error alone", async () => {
  const broken: Middleware = () => {
    throw new Error("postgres://user:secret@host");
  };
  class Broken extends Echo {
    override async connect() {
      throw new TypeError("cannot read secrets of undefined");
    }
  }
  const live = await serve({
    routes: [route("/middleware", Echo, { middleware: [broken] }), route("/connect", Broken)],
  });
  const failures: string[] = [];
  live.app.signals.failed.connect(({ hook }) => void failures.push(hook));
  const refusal = { message: "internal error", data: { code: 4500, reason: "internal error" } };
  expect(await refusalOf(live.client("/middleware"))).toEqual(refusal);
  expect(await refusalOf(live.client("/connect"))).toEqual(refusal);
  expect(failures).toEqual(["middleware", "connect"]);
  await live.empty();
});

test("an unknown namespace is refused as Socket.IO refuses it, and / is closed unless it is routed", async () => {
  const live = await serve({ routes: [route("/echo", Echo)] });
  expect(await refusalOf(live.client("/nowhere"))).toEqual({ message: "Invalid namespace" });
  expect(await refusalOf(live.client("/"))).toEqual({ message: "Invalid namespace" });
  expect(await refusalOf(live.client("/echo/"))).toEqual({ message: "Invalid namespace" });
  expect(await refusalOf(live.client("/%E0%A4%A"))).toEqual({ message: "Invalid namespace" });
  const routed = await serve({ routes: [route("/", Echo)] });
  const client = await connected(routed.client("/"));
  expect(await client.emitWithAck("say", 1)).toEqual({ event: "say", payload: 1 });
});

test("a route param that makes an illegal group name refuses the connection", async () => {
  class Chat extends Echo {
    override connect() {
      return this.groupAdd(`chat.${this.scope.params.room}`);
    }
  }
  const live = await serve({ routes: [route("/chat/:room", Chat)] });
  await connected(live.client("/chat/lobby"));
  for (const room of ["a%20b", "%E2%82%AC", "a%00b", "x".repeat(200), "a!b"]) {
    expect(await refusalOf(live.client(`/chat/${room}`))).toMatchObject({ data: { code: 4400 } });
  }
});

test("a client finds in its scope what it sent: auth, query, headers, cookies, params, address", async () => {
  const scopes: unknown[] = [];
  const look: Middleware = (
    { auth, query, headers, cookies, params, protocol, path, remoteAddress },
    next,
  ) => {
    const { room } = params;
    scopes.push({ auth, tab: query.get("tab"), agent: headers["x-agent"], sid: cookies.get("sid"), room });
    scopes.push({ protocol, path, remoteAddress });
    return next();
  };
  const live = await serve({ routes: [route("/chat/:room", Echo, { middleware: [look] })] });
  const options = {
    auth: { token: "t" },
    query: { tab: "1" },
    extraHeaders: { "x-agent": "me", cookie: "sid=abc; x=%20" },
  };
  await connected(live.client("/chat/lobby", options));
  expect(scopes).toEqual([
    { auth: { token: "t" }, tab: "1", agent: "me", sid: "abc", room: "lobby" },
    { protocol: "socket.io", path: "/socket.io/", remoteAddress: "127.0.0.1" },
  ]);
});

test("events sent before acceptance reach the client after it, in order, with those sent later", async () => {
  const accepted = gate();
  class Early extends Echo {
    override async connect() {
      for (let n = 0; n < 50; n++) this.send("n", n);
      await this.groupAdd("all");
      await this.groupEmit("all", "n", 50);
      await accepted.passed;
      this.send("n", 51);
    }
    override receive() {
      this.send("n", 52);
      return "done";
    }
  }
  const live = await serve({ routes: [route("/early", Early)] });
  const raw = await live.raw();
  raw.send("40/early,");
  await until(() => live.app.layer.groupMembers("all").length === 1, "it has joined");
  expect(raw.received).toHaveLength(1);
  accepted.open();
  await raw.hears("40/early,");
  raw.send('42/early,1["say"]');
  await raw.hears("43/early,1");
  const events = Array.from({ length: 53 }, (_, n) => `42/early,["n",${n}]`);
  expect(raw.received.slice(2)).toEqual([...events, '43/early,1["done"]']);
});

test("events sent before a refusal never reach the client", async () => {
  class Refusing extends Echo {
    override async connect() {
      this.send("secret", 1);
      await this.groupAdd("all");
      await this.groupEmit("all", "secret", 2);
      this.deny();
    }
  }
  const live = await serve({ routes: [route("/refusing", Refusing), route("/echo", Echo)] });
  const raw = await live.raw();
  raw.send("40/refusing,");
  await raw.hears("44/refusing,");
  await raw.enter("/echo");
  expect(raw.received.join()).not.toContain("secret");
});

test.each(["/connect", "/middleware"])("a %s that takes too long is refused with 4508", async (namespace) => {
  const diary = new Diary();
  const aborted = gate();
  class Slow extends diary.Witness {
    override connect() {
      this.scope.closed.addEventListener("abort", () => aborted.open());
      return aborted.passed;
    }
  }
  const slow: Middleware = () => new Promise(() => {});
  const live = await serve({
    routes: [route("/connect", Slow), route("/middleware", diary.Witness, { middleware: [slow] })],
    connectTimeoutMs: 100,
    closeTimeoutMs: 50,
  });
  expect(await refusalOf(live.client(namespace))).toEqual({
    message: "connect took too long",
    data: { code: 4508, reason: "connect took too long" },
  });
  if (namespace === "/connect") expect(await diary.reason()).toMatchObject({ kind: "denied", code: 4508 });
  await live.empty();
  expect(diary.reasons).toHaveLength(diary.made);
});

test("close in connect refuses with that code", async () => {
  const diary = new Diary();
  class Closing extends diary.Witness {
    override connect() {
      this.close(4499, "changed my mind");
    }
  }
  const live = await serve({ routes: [route("/closing", Closing)] });
  expect(await refusalOf(live.client("/closing"))).toMatchObject({ data: { code: 4499 } });
  expect(await diary.reason()).toMatchObject({ kind: "closed", code: 4499 });
});
