import { once } from "node:events";
import { connect } from "node:net";
import { describe, expect, test } from "@jest/globals";
import { type Answered, createApplication, http, route, sse } from "sluice";
import { createServer } from "sluice/server";
import { WebSocket } from "ws";
import { EventStream } from "./event-stream.ts";
import { connected, Diary, Echo, heard, type Live, requested, serve, until } from "./live-server.ts";

const routes = [
  route("/echo", Echo),
  sse("/stream", Echo),
  http("/page", (_request, response) => void response.send("page")),
  http("/", (request, response) => void response.send(`root ${request.query.x ?? "none"}`)),
];

/** A request with a Host header of one's own, which `fetch` does not send. */
async function statusAs(live: Live, host: string, path = "/page"): Promise<string> {
  const socket = connect(live.port, "127.0.0.1");
  let answer = "";
  socket.on("data", (data) => (answer += String(data)));
  socket.write(`GET ${path} HTTP/1.1\r\n${host === "" ? "" : `Host: ${host}\r\n`}Connection: close\r\n\r\n`);
  await new Promise((resolve) => socket.once("close", resolve));
  return answer.slice(9, 12);
}

test("below a root path everything answers as if there were none", async () => {
  const live = await serve({ routes }, { rootPath: "/app" });
  expect(await (await fetch(`${live.url}/app/page?x=1`)).text()).toBe("page");
  expect(await (await fetch(`${live.url}/page`)).text()).toBe("page");
  expect(await (await fetch(`${live.url}/app?x=1`)).text()).toBe("root 1");
  expect(await (await fetch(`${live.url}/app`)).text()).toBe("root none");
  for (const path of ["/apple/page", "/apppage"]) {
    expect([path, (await fetch(live.url + path)).status]).toEqual([path, 404]);
  }
  expect((await fetch(`${live.url}/app/livez`)).status).toBe(200);
  for (const transports of [["websocket"], ["polling"]]) {
    const client = live.client("/echo", { path: "/app/socket.io", transports });
    expect(await (await connected(client)).emitWithAck("say", 1)).toMatchObject({ payload: 1 });
  }
  const stream = await EventStream.open(`${live.url}/app/stream`);
  expect(stream.status).toBe(200);
});

test("a server that knows its names answers to no other", async () => {
  const live = await serve({ routes }, { hosts: ["app.example", "*.b.example", "127.0.0.1"] });
  for (const host of ["app.example", "APP.example:8443", "app.example.", "x.b.example", "127.0.0.1:1"]) {
    expect([host, await statusAs(live, host)]).toEqual([host, "200"]);
  }
  for (const host of [
    "other.example",
    "b.example",
    "xb.example",
    "app.example.evil",
    "evil@app.example",
    "[::1]",
  ]) {
    expect([host, await statusAs(live, host)]).toEqual([host, "400"]);
    expect([host, await statusAs(live, host, "/socket.io/?EIO=4&transport=polling")]).toEqual([host, "403"]);
  }
  // Who looks after health calls a node by its address.
  expect(await statusAs(live, "10.0.0.7", "/livez")).toBe("200");
  await connected(live.client("/echo"));
  const stranger = live.client("/echo", { extraHeaders: { host: "other.example" } });
  await expect(connected(stranger)).rejects.toThrow("websocket error");
});

test.each([
  [{ hosts: ["https://app.example"] }, /hosts: "https:\/\/app.example" is no name/],
  [{ hosts: ["app.example:80"] }, /without port/],
  [{ rootPath: "app" }, /rootPath must be a path/],
  [{ rootPath: "/app/" }, /rootPath must not end in/],
  [{ fd: 3, socketPath: "/tmp/s" }, /two places/],
  [{ maxAgeMs: -1 }, /maxAgeMs must be a whole number/],
])("%j is refused at the start", (options, words) => {
  expect(() => createServer(createApplication({ routes }), options)).toThrow(words);
});

test("every answer is told, with its status and without its query", async () => {
  const live = await serve({ routes }, { trustedProxies: 1 });
  const told: Answered[] = [];
  live.app.signals.answered.connect((fact) => told.push(fact));
  await (
    await fetch(`${live.url}/page?ticket=secret`, { headers: { "X-Forwarded-For": "192.0.2.7" } })
  ).text();
  await (await fetch(`${live.url}/nowhere`, { method: "PUT" })).text();
  await until(() => told.length === 2, "both are told");
  const requestId = expect.stringMatching(/^[\w-]{8}-[0-9a-z]+$/);
  expect(told).toEqual([
    {
      requestId,
      method: "GET",
      path: "/page",
      status: 200,
      remoteAddress: "192.0.2.7",
      tookMs: expect.any(Number),
    },
    {
      requestId,
      method: "PUT",
      path: "/nowhere",
      status: 404,
      remoteAddress: "127.0.0.1",
      tookMs: expect.any(Number),
    },
  ]);
  const polling = await connected(live.client("/echo", { transports: ["polling"] }));
  polling.disconnect();
  await until(() => told.some(({ path }) => path === "/socket.io/"), "Socket.IO's own are told");
});

test("a client that left before there was an answer is told with status 0", async () => {
  const hangs = http("/hangs", () => {});
  const live = await serve({ routes: [...routes, hangs] });
  const told: Answered[] = [];
  live.app.signals.answered.connect((fact) => told.push(fact));
  const leaving = new AbortController();
  const arrived = requested(live, "/hangs");
  const asked = fetch(`${live.url}/hangs`, { signal: leaving.signal });
  await arrived;
  leaving.abort();
  await expect(asked).rejects.toThrow();
  await until(() => told.some(({ status }) => status === 0), "it is told");
});

test.each(["websocket", "polling"])(
  "an old connection ends with 4503 and its client comes back (%s)",
  async (transport) => {
    const diary = new Diary();
    const live = await serve({ routes: [route("/echo", diary.Witness)] }, { maxAgeMs: 300 });
    const client = live.client("/echo", { transports: [transport], reconnection: true });
    const close = heard<[{ code: number; reason: string }]>(client, "sluice.close");
    await connected(client);
    expect((await close)[0]).toMatchObject({ code: 4503, reason: expect.stringMatching(/maximum age/) });
    await until(() => diary.made > 1 && client.connected, "it is back");
    expect(diary.reasons[0]).toMatchObject({ kind: "limit", code: 4503 });
  },
);

test("an old event stream ends with 4503", async () => {
  const live = await serve({ routes }, { maxAgeMs: 100 });
  const stream = await EventStream.open(`${live.url}/stream`);
  await until(() => stream.ended, "it has ended");
  expect(stream.events.at(-1)).toMatchObject({ event: "sluice.close", data: { code: 4503 } });
});

describe("headers of the handshake", () => {
  const cookie = {
    headers: ({ url }: { url?: string | undefined }) => ({ "Set-Cookie": `seen=${url?.length}` }),
  };

  test.each(["websocket", "polling"])("reach the client with the first answer (%s)", async (transport) => {
    const live = await serve({ routes }, cookie);
    const base = `${live.url}/socket.io/?EIO=4&transport=${transport}`;
    if (transport === "polling") {
      expect((await fetch(base)).headers.get("set-cookie")).toMatch(/^seen=\d+$/);
      return;
    }
    const socket = new WebSocket(base.replace("http", "ws"));
    const [{ headers }] = (await once(socket, "upgrade")) as [{ headers: Record<string, string[]> }];
    expect(headers["set-cookie"]).toEqual([expect.stringMatching(/^seen=\d+$/)]);
    socket.close();
  });

  test("reach the client of an event stream", async () => {
    const live = await serve({ routes }, cookie);
    const stream = await EventStream.open(`${live.url}/stream`);
    expect(stream.headers.get("set-cookie")).toBe("seen=7");
    expect(stream.headers.get("content-type")).toBe("text/event-stream");
  });

  test.each([
    ["that split the answer", () => ({ "X-A": "1\r\nX-B: 2" })],
    [
      "whose function throws",
      () => {
        throw new Error("no headers");
      },
    ],
  ])("%s are left out and told, and the client gets in", async (_what, headers) => {
    const live = await serve({ routes }, { headers });
    const failures: string[] = [];
    live.app.signals.failed.connect(({ hook }) => failures.push(hook));
    await connected(live.client("/echo"));
    const stream = await EventStream.open(`${live.url}/stream`);
    expect(
      [...stream.headers.keys()].filter((name) => name.startsWith("x-") && name !== "x-accel-buffering"),
    ).toEqual([]);
    expect(failures).toEqual(["http", "http"]);
  });
});
