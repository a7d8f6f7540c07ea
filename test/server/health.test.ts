import { createServer as createHttpServer } from "node:http";
import { expect, test } from "@jest/globals";
import {
  type ApplicationPart,
  type Backplane,
  ConfigurationError,
  createApplication,
  http,
  MemoryBackplane,
  route,
} from "sluice";
import { createServer, type ServerOptions } from "sluice/server";
import { atEnd, connected, Echo, gate, serve } from "./live-server.ts";

type Listener = Parameters<Backplane["open"]>[0];

/** Goes down and comes back as the test wants it. */
class Fragile extends MemoryBackplane {
  listener: Listener | undefined;
  /** What `open` waits for. */
  opening = Promise.resolve();

  override async open(listener: Listener): Promise<void> {
    this.listener = listener;
    await this.opening;
    await super.open(listener);
  }
}

async function report(url: string): Promise<{ code: number; body: unknown }> {
  const response = await fetch(url);
  return { code: response.status, body: await response.json() };
}

/** An HTTP server of the user's, listening already. */
async function ownHttp(text?: string) {
  const own = createHttpServer();
  if (text !== undefined) own.on("request", (_request, response) => response.end(text));
  await new Promise<void>((resolve) => own.listen(0, "127.0.0.1", resolve));
  atEnd(() => {
    own.closeAllConnections();
    return new Promise((resolve) => own.close(resolve));
  });
  const { port } = own.address() as { port: number };
  return { own, url: `http://127.0.0.1:${port}` };
}

test("a node that serves is alive and ready, says its name, and is not remembered by caches", async () => {
  const live = await serve({ routes: [route("/room", Echo)] });
  const ok = { status: "ok", node: live.app.node };
  for (const path of ["/livez", "/healthz", "/readyz", "/readyz?from=balancer"]) {
    const response = await fetch(live.url + path);
    expect([response.status, await response.json()]).toEqual([200, ok]);
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect(response.headers.get("content-type")).toBe("application/json; charset=utf-8");
    const head = await fetch(live.url + path, { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([200, ""]);
    expect(head.headers.get("content-length")).toBe(String(JSON.stringify(ok).length));
  }
});

test("whoever asks with another method or for another path is told so", async () => {
  const live = await serve({ routes: [route("/room", Echo)] });
  const posted = await fetch(`${live.url}/readyz`, { method: "POST", body: "x".repeat(10_000) });
  expect([posted.status, posted.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
  expect((await fetch(`${live.url}/readyz`, { method: "OPTIONS" })).status).toBe(405);
  expect((await fetch(`${live.url}/readyz/`)).status).toBe(404);
  expect((await fetch(`${live.url}/`)).status).toBe(404);
});

test("health is answered before routes and middleware of yours, whatever they match", async () => {
  let seen = 0;
  const live = await serve({
    routes: [http("/livez", (_request, response) => void response.send("a route")), route("/room", Echo)],
    middleware: [
      (_scope, next) => {
        seen += 1;
        return next();
      },
    ],
  });
  live.server.express.use((_request, response) => void response.send("a page"));
  expect((await report(`${live.url}/livez`)).body).toMatchObject({ status: "ok" });
  expect((await report(`${live.url}/readyz`)).body).toMatchObject({ status: "ok" });
  expect(seen).toBe(0);
  expect(await (await fetch(`${live.url}/other`)).text()).toBe("a page");
});

test("the paths can be others, or none at all", async () => {
  const live = await serve({ routes: [route("/room", Echo)] }, { livePath: "", readyPath: "/up/ready" });
  live.server.express.use((_request, response) => void response.send("a page"));
  expect((await report(`${live.url}/up/ready`)).body).toMatchObject({ status: "ok" });
  for (const path of ["/livez", "/healthz", "/readyz"]) {
    expect(await (await fetch(live.url + path)).text()).toBe("a page");
  }
});

test("while other nodes cannot be reached a node is degraded, but ready, and its clients go on", async () => {
  const backplane = new Fragile();
  const live = await serve({ routes: [route("/room", Echo)], backplane });
  const client = await connected(live.client("/room"));
  backplane.listener?.down("connection refused");
  const { node } = live.app;
  expect(await report(`${live.url}/readyz`)).toEqual({
    code: 200,
    body: { status: "degraded", node, causes: ["other nodes cannot be reached"] },
  });
  expect(await report(`${live.url}/livez`)).toEqual({ code: 200, body: { status: "ok", node } });
  expect(await client.emitWithAck("say", 1)).toEqual({ event: "say", payload: 1 });
  backplane.listener?.up();
  expect(await report(`${live.url}/readyz`)).toEqual({ code: 200, body: { status: "ok", node } });
});

test("all that is wrong is told, of each layer and each part, and nothing of where things are", async () => {
  const [main, extra] = [new Fragile(), new Fragile()];
  const part: ApplicationPart = {
    open: async () => {},
    close: async () => {},
    causes: () => ["the archive cannot be reached"],
  };
  const live = await serve({
    routes: [route("/room", Echo)],
    backplane: main,
    layers: { bulk: { backplane: extra } },
    parts: [part],
  });
  for (const { listener } of [main, extra]) listener?.down("redis://10.0.0.7: connection refused");
  const { code, body } = await report(`${live.url}/readyz`);
  expect([code, body]).toEqual([
    200,
    {
      status: "degraded",
      node: live.app.node,
      causes: [
        "other nodes cannot be reached over the layer bulk",
        "other nodes cannot be reached",
        "the archive cannot be reached",
      ],
    },
  ]);
  expect(live.app.causes).toHaveLength(3);
});

test("on an HTTP server of yours health is answered from the start to after the end, and your routes go on", async () => {
  const { own, url } = await ownHttp("mine");
  const backplane = new Fragile();
  const opened = gate();
  backplane.opening = opened.passed;
  const app = createApplication({ routes: [route("/room", Echo)], backplane });
  const server = createServer(app, { server: own });
  atEnd(() => server.stop());
  const { node } = app;
  const listening = server.listen();
  expect(await report(`${url}/readyz`)).toEqual({
    code: 503,
    body: { status: "starting", node, causes: ["not begun yet"] },
  });
  expect(await report(`${url}/livez`)).toEqual({ code: 200, body: { status: "ok", node } });
  opened.open();
  await listening;
  expect(await report(`${url}/readyz`)).toEqual({ code: 200, body: { status: "ok", node } });
  expect(await (await fetch(url)).text()).toBe("mine");
  await server.stop();
  expect(await report(`${url}/readyz`)).toEqual({
    code: 503,
    body: { status: "stopped", node, causes: ["has ended"] },
  });
  expect(await report(`${url}/livez`)).toEqual({ code: 200, body: { status: "ok", node } });
  expect(await (await fetch(url)).text()).toBe("mine");
});

test("on an HTTP server of yours that nothing handles yet, health and Express answer side by side", async () => {
  const { own, url } = await ownHttp();
  const live = await serve({ routes: [route("/room", Echo)] }, { server: own });
  live.server.express.get("/page", (_request, response) => void response.send("a page"));
  expect((await report(`${url}/readyz`)).code).toBe(200);
  expect(await (await fetch(`${url}/page`)).text()).toBe("a page");
});

test("a node whose start has failed is not ready", async () => {
  const { own, url } = await ownHttp("mine");
  const backplane = new Fragile();
  backplane.opening = Promise.reject(new ConfigurationError(["no way to the others"]));
  backplane.opening.catch(() => {});
  const server = createServer(createApplication({ routes: [route("/room", Echo)], backplane }), {
    server: own,
  });
  await expect(server.listen()).rejects.toThrow("no way to the others");
  expect(await report(`${url}/readyz`)).toMatchObject({ code: 503, body: { status: "stopped" } });
  await server.stop();
});

test.each<[ServerOptions, string[]]>([
  [
    { livePath: "livez", readyPath: "/ready?now" },
    [
      `server.livePath must be a path such as "/health" without a query, or "" for none, not 'livez'`,
      `server.readyPath must be a path such as "/health" without a query, or "" for none, not '/ready?now'`,
    ],
  ],
  [
    { livePath: "/up", readyPath: "/up" },
    ["server.livePath and server.readyPath must differ; both are '/up'"],
  ],
  [
    { path: "/live/", livePath: "/live/z" },
    [
      'server.livePath (/live/z) must not be below server.path (/live/), where Socket.IO answers; choose another, or "" for none',
    ],
  ],
])("%j is refused", (options, faults) => {
  const make = () => createServer(createApplication({ routes: [route("/room", Echo)] }), options);
  expect(make).toThrow(ConfigurationError);
  try {
    make();
  } catch (error) {
    expect((error as ConfigurationError).faults).toEqual(faults);
  }
});
