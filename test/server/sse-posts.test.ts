import { expect, test } from "@jest/globals";
import { include, type Middleware, type RouteEntry, sse } from "sluice";
import type { ServerOptions } from "sluice/server";
import { TestCluster } from "sluice/testing";
import { EventStream, openUnread } from "./event-stream.ts";
import { atEnd, connected, Echo, serve, until } from "./live-server.ts";

const GONE = { status: 410, body: { error: { code: "connection_closed", message: expect.any(String) } } };

/** A server and an open stream on it. */
async function scene(routes: readonly RouteEntry[] = [sse("/echo", Echo)], options: ServerOptions = {}) {
  const live = await serve({ routes }, options);
  const stream = await EventStream.open(`${live.url}/echo`);
  return { live, stream };
}

test("a post is an event, its answer the acknowledgement; no answer is 204", async () => {
  const seen: unknown[] = [];
  class Room extends Echo {
    override receive(event: string, payload: unknown): unknown {
      seen.push([event, payload]);
      return event === "quiet" ? undefined : super.receive(event, payload);
    }
  }
  const { stream } = await scene([sse("/echo", Room)]);
  expect(await stream.post({ event: "say", payload: { a: [1] } })).toEqual({
    status: 200,
    body: { event: "say", payload: { a: [1] } },
  });
  expect(await stream.post({ event: "say" })).toEqual({ status: 200, body: { event: "say" } });
  expect(await stream.post({ event: "quiet", payload: null })).toEqual({ status: 204, body: undefined });
  expect(seen).toEqual([
    ["say", { a: [1] }],
    ["say", undefined],
    ["quiet", null],
  ]);
});

test.each<[string, unknown, number, string]>([
  ["broken JSON", "{broken", 400, "bad_request"],
  ["text", '"text"', 400, "bad_request"],
  ["a list", [], 400, "invalid_message"],
  ["no event", {}, 400, "invalid_message"],
  ["a number for an event", { event: 7 }, 400, "invalid_message"],
  ["an empty event", { event: "" }, 400, "invalid_name"],
  ["an event of Socket.IO", { event: "disconnect" }, 400, "invalid_name"],
  ["an event with too long a name", { event: "x".repeat(100) }, 400, "invalid_name"],
  ["200 kB", { event: "say", payload: "x".repeat(200_000) }, 413, "message_too_large"],
])("a post of %s is refused, and the stream goes on", async (_what, body, status, code) => {
  const { stream } = await scene();
  expect(await stream.post(body)).toEqual({ status, body: { error: { code, message: expect.any(String) } } });
  expect((await stream.post({ event: "say" })).status).toBe(200);
});

test.each(["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonp"])(
  "a post as %s, which a foreign page's form could send, is refused",
  async (type) => {
    const { stream } = await scene();
    const answer = await stream.post({ event: "say" }, { headers: { "content-type": type } });
    const error = { code: "invalid_message", message: "send JSON, as application/json" };
    expect(answer).toEqual({ status: 400, body: { error } });
  },
);

test("without a key a post is 400; with one that is not, or no longer, right it is 410", async () => {
  const { live, stream } = await scene();
  const other = await EventStream.open(`${live.url}/echo`);
  const dot = stream.key.lastIndexOf(".");
  const [channel, secret] = [stream.key.slice(0, dot), stream.key.slice(dot + 1)];
  const post = (key: string) => stream.post({ event: "say" }, { headers: { "sluice-connection": key } });
  for (const key of ["", "x", ".", "a!b", `${channel}!x.${secret}`, "../../x"]) {
    expect(await post(key)).toMatchObject({ status: 400, body: { error: { code: "invalid_message" } } });
  }
  const forged = Buffer.from(secret, "base64url").map((byte) => byte ^ 1);
  for (const wrong of [other.key.slice(dot + 1), Buffer.from(forged).toString("base64url"), "", "AAAA"]) {
    expect(await post(`${channel}.${wrong}`)).toEqual(GONE);
  }
  expect(await post(`${live.app.node}!nobody.${secret}`)).toEqual(GONE);
  expect((await stream.post({ event: "say" })).status).toBe(200);
  const { key } = stream;
  stream.close();
  await until(() => live.app.sizes.connections === 1, "the stream has gone");
  expect(await other.post({ event: "say" }, { headers: { "sluice-connection": key } })).toEqual(GONE);
});

const byHeader: Middleware = ({ headers, cookies }, next) =>
  next({ user: { id: headers["x-user"] ?? cookies.get("user"), seenAt: Math.random() } });

test("only the user who opened a stream may post to it", async () => {
  const live = await serve({ routes: [sse("/echo", Echo)], middleware: [byHeader] });
  const ann = await EventStream.open(`${live.url}/echo`, { "x-user": "ann" });
  expect((await ann.post({ event: "say" })).status).toBe(200);
  expect((await ann.post({ event: "say" }, { headers: { "x-user": "", cookie: "user=ann" } })).status).toBe(
    410,
  );
  expect(await ann.post({ event: "say" }, { headers: { "x-user": "bob" } })).toEqual(GONE);
  const byCookie = await EventStream.open(`${live.url}/echo`, { cookie: "user=cid" });
  expect((await byCookie.post({ event: "say" })).status).toBe(200);
  expect(await byCookie.post({ event: "say" }, { headers: { cookie: "user=ann" } })).toEqual(GONE);
});

test("users are the same when userId says so, whatever else is known of them", async () => {
  const byMail: Middleware = ({ headers }, next) =>
    next({ user: { mail: headers["x-user"], seenAt: Math.random() } });
  const userId = (user: unknown) => (user as { readonly mail: string }).mail;
  const live = await serve({ routes: [sse("/echo", Echo)], middleware: [byMail], userId });
  const ann = await EventStream.open(`${live.url}/echo`, { "x-user": "ann@a.example" });
  expect((await ann.post({ event: "say" })).status).toBe(200);
  expect(await ann.post({ event: "say" }, { headers: { "x-user": "bob@a.example" } })).toEqual(GONE);
});

test("a middleware may refuse a post", async () => {
  const noPosts: Middleware = ({ headers }, next) => {
    if (headers["sluice-connection"] !== undefined) throw new Error("a secret");
    return next();
  };
  const { stream } = await scene([include("/", [sse("/echo", Echo)], { middleware: [noPosts] })]);
  expect(await stream.post({ event: "say" })).toEqual({
    status: 500,
    body: { error: { code: "internal_error", message: "internal error" } },
  });
});

test("a foreign page may neither open a stream nor post; an allowed one may, and reads the answers", async () => {
  const { live, stream } = await scene([sse("/echo", Echo)], { origins: ["https://app.example"] });
  const evil = { origin: "https://evil.example" };
  const refused = await fetch(`${live.url}/echo`, { headers: evil });
  expect(refused.status).toBe(403);
  expect(refused.headers.get("access-control-allow-origin")).toBeNull();
  expect(await stream.post({ event: "say" }, { headers: evil })).toMatchObject({ status: 403 });
  expect((await fetch(`${live.url}/echo`, { method: "OPTIONS", headers: evil })).status).toBe(403);

  const good = { origin: "https://app.example" };
  const preflight = await fetch(`${live.url}/echo`, { method: "OPTIONS", headers: good });
  expect(preflight.status).toBe(204);
  expect(preflight.headers.get("access-control-allow-headers")).toContain("sluice-connection");
  expect(preflight.headers.get("access-control-allow-origin")).toBe(good.origin);
  expect((await stream.post({ event: "say" }, { headers: good })).status).toBe(200);
  const allowed = await EventStream.open(`${live.url}/echo`, good);
  expect(allowed.headers.get("access-control-allow-origin")).toBe(good.origin);
  expect(allowed.headers.get("vary")).toContain("Origin");
});

test("other methods are 405", async () => {
  const { live } = await scene();
  for (const method of ["PUT", "DELETE", "PATCH"]) {
    const answer = await fetch(`${live.url}/echo`, { method });
    expect([answer.status, answer.headers.get("allow")]).toEqual([405, "GET, POST, OPTIONS"]);
  }
});

test("posts are limited like events: rate_limited is 429, and then the stream is cut with 4429", async () => {
  const live = await serve({
    routes: [sse("/echo", Echo)],
    limits: { eventsPerSecond: 1, floodEvents: 3 },
  });
  const stream = await EventStream.open(`${live.url}/echo`);
  const statuses: number[] = [];
  while (!stream.ended) statuses.push((await stream.post({ event: "say" })).status);
  expect(statuses.slice(0, 2)).toEqual([200, 200]);
  expect(statuses).toContain(429);
  expect(await stream.next("sluice.close")).toMatchObject({ data: { code: 4429 } });
});

test("posts to a consumer that hangs are answered with 410 when the stream ends", async () => {
  class Hanging extends Echo {
    override receive(): unknown {
      return new Promise(() => {});
    }
  }
  const live = await serve({ routes: [sse("/echo", Hanging)], closeTimeoutMs: 100 });
  const stream = await EventStream.open(`${live.url}/echo`);
  const posts = [stream.post({ event: "a" }), stream.post({ event: "b" })];
  await until(() => !live.app.isIdle, "a handler hangs");
  stream.close();
  expect(await Promise.all(posts)).toEqual([GONE, GONE]);
  await live.empty();
});

test("a post to a stream that is closed but not read to its end is answered with 410", async () => {
  class Closing extends Echo {
    static override readonly groups = ["room"];
    override receive(): void {
      this.close(4410, "the room is shut");
    }
  }
  const live = await serve({ routes: [sse("/echo", Closing)] });
  const chunk = "x".repeat(64 * 1024);
  const send = async () => {
    await live.app.layer.groupEmit("room", "chunk", chunk);
    await new Promise((resolve) => setImmediate(resolve));
  };
  await openUnread(live.port, "/echo");
  let enough = 0;
  for (; live.app.sizes.connections > 0; enough++) await send();
  const { key } = await openUnread(live.port, "/echo");
  for (let i = 0; i < enough - 8; i++) await send();
  const post = () =>
    fetch(`${live.url}/echo`, {
      method: "POST",
      headers: { "content-type": "application/json", "sluice-connection": key },
      body: JSON.stringify({ event: "say" }),
    });
  expect((await post()).status).toBe(204);
  await until(() => live.app.sizes.connections === 0, "it is closed");
  expect((await post()).status).toBe(410);
});

test("an answer that is no JSON is 500, without saying why", async () => {
  class Odd extends Echo {
    override receive(): unknown {
      return { big: 1n };
    }
  }
  const { stream } = await scene([sse("/echo", Odd)]);
  expect(await stream.post({ event: "say" })).toEqual({
    status: 500,
    body: { error: { code: "internal_error", message: "internal error" } },
  });
});

test("a post that another node gets is answered by the node of the connection", async () => {
  const cluster = await TestCluster.start({ routes: [sse("/echo", Echo)], middleware: [byHeader] });
  atEnd(() => cluster.stop());
  const [here, there] = [await serve(cluster.node(1).app), await serve(cluster.node(2).app)];
  const stream = await EventStream.open(`${here.url}/echo`, { "x-user": "ann" });
  const url = `${there.url}/echo`;
  cluster.delay(2);
  const post = (...args: Parameters<EventStream["post"]>) => cluster.letPass(stream.post(...args));
  const answers = await Promise.all([1, 2, 3].map((n) => post({ event: "say", payload: n }, { url })));
  expect(answers).toEqual([1, 2, 3].map((payload) => ({ status: 200, body: { event: "say", payload } })));
  expect(await post({ event: "disconnect" }, { url })).toMatchObject({ status: 400 });
  expect(await post({ event: "say" }, { url, headers: { "x-user": "bob" } })).toEqual(GONE);
  stream.close();
  await here.empty();
  expect(await post({ event: "say" }, { url })).toEqual(GONE);
});

test("an event stream and a socket of one consumer live side by side", async () => {
  const { live } = await scene();
  await expect(connected(live.client("/echo"))).rejects.toThrow("Invalid namespace");
});

test("a post to another path than the stream's is answered with 410, whatever its key", async () => {
  const open = await serve({ routes: [sse("/guarded", Echo), sse("/open", Echo)] });
  const stream = await EventStream.open(`${open.url}/guarded`);
  const answer = await fetch(`${open.url}/open`, {
    method: "POST",
    headers: { "Content-Type": "application/json", "Sluice-Connection": stream.key },
    body: JSON.stringify({ event: "say", payload: 1 }),
  });
  expect(answer.status).toBe(410);
  expect(await stream.post({ event: "say", payload: 1 })).toMatchObject({ status: 200 });
  stream.close();
});
