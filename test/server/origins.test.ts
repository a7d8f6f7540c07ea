import { expect, test } from "@jest/globals";
import { Consumer, route, sse } from "sluice";
import type { ServerOptions } from "sluice/server";
import { Origins } from "../../src/origins.ts";
import { connected, Echo, heard, type Live, serve } from "./live-server.ts";

const APP = "https://app.example";

class Address extends Consumer {
  override connect(): void {
    this.send("address", this.scope.remoteAddress);
  }
}

function live(options: ServerOptions): Promise<Live> {
  const routes = [
    route("/echo", Echo),
    sse("/stream", Echo),
    route("/address", Address),
    sse("/from", Address),
  ];
  return serve({ routes }, options);
}

const polling = (url: string) => `${url}/socket.io/?EIO=4&transport=polling`;

/** Whether a page of that origin may connect: by polling, by WebSocket, and by an event stream and its posts. */
async function mayConnect(
  server: Live,
  origin: string | undefined,
  more: Readonly<Record<string, string>> = {},
): Promise<readonly boolean[]> {
  const headers = { ...more, ...(origin === undefined ? {} : { origin }) };
  const answer = await fetch(polling(server.url), { headers });
  expect([200, 403]).toContain(answer.status);
  const socket = await server.raw({ headers }).then(
    () => true,
    () => false,
  );
  const stream = await fetch(`${server.url}/stream`, { headers });
  await stream.body?.cancel();
  expect([200, 403]).toContain(stream.status);
  const post = await fetch(`${server.url}/stream`, { method: "POST", headers });
  // Without a key it is refused in any case, but later.
  expect([400, 403]).toContain(post.status);
  return [answer.status === 200, socket, stream.status === 200, post.status === 400];
}

const all = (allowed: boolean) => [allowed, allowed, allowed, allowed];

test.each<[readonly string[], string, boolean]>([
  [[], APP, false],
  [[], "null", false],
  [[APP], APP, true],
  [[APP], "http://app.example", false],
  [[APP], "https://app.example:8443", false],
  [[APP], "https://app.example.evil.example", false],
  [[APP], "https://evilapp.example", false],
  [[APP], "https://app.example@evil.example", false],
  [[APP], "null", false],
  [[APP], "", false],
  [["app.example"], "http://app.example", true],
  [["app.example:8443"], "https://app.example:8443", true],
  [["*.app.example"], "https://a.b.app.example", true],
  [["*.app.example"], "https://app.example", false],
  [["*.app.example"], "https://evilapp.example", false],
  [["*"], "https://anything.example", true],
  [["*"], "null", true],
  [["app.example"], "https://app.example:8443", false],
  [["app.example:443"], APP, true],
  [["https://app.example:443"], APP, true],
  [["http://app.example"], "http://app.example:80", true],
  [["https://app.example:8443"], "https://app.example:8443", true],
  [["https://app.example:8443"], APP, false],
  [["APP.example"], "https://App.Example", true],
  [["app.example"], "https://app.example.", false],
  [["app.example"], "https://xapp.example", false],
  [["*.app.example"], "https://a.app.example:8443", false],
  [["*.app.example:8443"], "https://a.app.example:8443", true],
  [["https://*.app.example"], "http://a.app.example", false],
  [[".app.example"], APP, true],
  [[".app.example"], "https://a.b.app.example", true],
  [[".app.example"], "https://evilapp.example", false],
  [["https://.app.example"], "http://app.example", false],
  [["[::1]"], "http://[::1]", true],
  [["[::1]:8443"], "https://[::1]:8443", true],
  [["[0:0:0:0:0:0:0:1]"], "http://[::1]", true],
  [["[::1]"], "http://[::2]", false],
  [["[::1]"], "http://[::1]:8443", false],
  [["127.0.0.1:3000"], "http://127.0.0.1:3000", true],
  [["null"], "null", true],
  [["null"], APP, false],
  [["null"], "NULL", false],
  [["*"], "rubbish", false],
  [["*"], "https://", false],
  [["*"], "https://app.example/", false],
  [["*"], "https://app.example/path", false],
  [["*"], "https://user@app.example", false],
  [["*"], "https://app.example, https://evil.example", false],
  [["*"], "https://app.example:99999", false],
  [["*"], "https://[::1", false],
  [["*"], "file://", false],
  [["*"], "chrome-extension://abc", false],
])("with the origins %j a page of %j may connect: %s", async (origins, origin, allowed) => {
  expect(await mayConnect(await live({ origins }), origin)).toEqual(all(allowed));
});

test("a page of the server's own origin may always connect", async () => {
  const server = await live({});
  expect(await mayConnect(server, server.url)).toEqual(all(true));
  // The name it was called by counts, not what it calls itself.
  const [, port] = server.url.split("//127.0.0.1:");
  expect(await mayConnect(server, `http://localhost:${port}`)).toEqual(all(false));
});

test("an image or a script of a foreign page, which has no origin, is refused where browsers say so", async () => {
  const server = await live({});
  const from = (site: string) => mayConnect(server, undefined, { "sec-fetch-site": site });
  for (const site of ["cross-site", "same-site"])
    expect([site, await from(site)]).toEqual([site, all(false)]);
  for (const site of ["same-origin", "none"]) expect([site, await from(site)]).toEqual([site, all(true)]);
  const anybodys = await live({ origins: ["*"] });
  expect(await mayConnect(anybodys, undefined, { "sec-fetch-site": "cross-site" })).toEqual(all(true));
});

test("JSONP, by which a script of any page could read what comes, is not served", async () => {
  const server = await live({});
  for (const query of ["&j=0", "&j=", "&j=0&j=1"]) {
    const answer = await fetch(polling(server.url) + query);
    expect([query, answer.status]).toEqual([query, 403]);
    expect(await answer.text()).not.toContain("sid");
  }
});

test("a client without an origin may connect unless that is switched off", async () => {
  expect(await mayConnect(await live({}), undefined)).toEqual(all(true));
  const strict = await live({ allowMissingOrigin: false });
  expect(await mayConnect(strict, undefined)).toEqual(all(false));
  expect(await mayConnect(strict, strict.url)).toEqual(all(true));
});

test("a rule that is none is told at the start, with all others", () => {
  const wrong = [
    "",
    "https://",
    "ftp://a",
    "a b",
    "*.",
    "**",
    "a*",
    "https://a/",
    "a:99999",
    "a:x",
    "u@a",
    "[::1",
    "*.[::1]",
    "..a",
    "a..b",
  ];
  const faults = () => new Origins(wrong, true);
  expect(faults).toThrow(/15 faults/);
  for (const rule of wrong) expect(faults).toThrow(`origins: "${rule}" is no origin`);
});

/** What a consumer takes for the client's address: by WebSocket, by polling, and by an event stream. */
async function addresses(server: Live, forwarded: string): Promise<readonly unknown[]> {
  const headers = { "x-forwarded-for": forwarded };
  const bySocket = (["websocket", "polling"] as const).map(async (transport) => {
    const client = server.client("/address", { transports: [transport], extraHeaders: headers });
    const [address] = await heard(client, "address");
    client.disconnect();
    return address;
  });
  const stream = await fetch(`${server.url}/from`, { headers });
  const reader = (stream.body as ReadableStream<Uint8Array>).getReader();
  let text = "";
  while (!text.includes("event: address")) text += new TextDecoder().decode((await reader.read()).value);
  await reader.cancel();
  const [, byStream] = /event: address\ndata: "(.*)"/.exec(text) ?? [];
  return [...(await Promise.all(bySocket)), byStream];
}

test.each([
  [0, "1.1.1.1", "127.0.0.1"],
  [1, "1.1.1.1", "1.1.1.1"],
  [1, "6.6.6.6, 1.1.1.1", "1.1.1.1"],
  [2, "6.6.6.6, 1.1.1.1, 10.0.0.8", "1.1.1.1"],
  [1, "2001:db8::1", "2001:db8::1"],
  [1, "6.6.6.6, rubbish", "127.0.0.1"],
  [1, "1.1.1.1:4711", "1.1.1.1"],
  [1, ",", "127.0.0.1"],
])(
  "behind %s trusted proxies %j means %s, whatever carries the client",
  async (trustedProxies, forwarded, address) => {
    expect(await addresses(await live({ trustedProxies }), forwarded)).toEqual([address, address, address]);
  },
);

test("a page that may connect may read the answers, with credentials; another may not", async () => {
  const server = await live({ origins: [APP] });
  const allowed = await fetch(polling(server.url), { headers: { origin: APP } });
  expect(allowed.headers.get("access-control-allow-origin")).toBe(APP);
  expect(allowed.headers.get("access-control-allow-credentials")).toBe("true");
  const foreign = await fetch(polling(server.url), { headers: { origin: "https://evil.example" } });
  expect(foreign.status).toBe(403);
  expect(foreign.headers.get("access-control-allow-origin")).toBeNull();
  const closed = await live({});
  const answer = await fetch(polling(closed.url), { headers: { origin: closed.url } });
  expect(answer.headers.get("access-control-allow-origin")).toBeNull();
});

test("a stock client with an allowed origin connects over polling and upgrades", async () => {
  const server = await live({ origins: [APP] });
  const client = server.client("/echo", {
    transports: ["polling", "websocket"],
    extraHeaders: { origin: APP },
  });
  const upgraded = new Promise((resolve) =>
    client.io.once("open", () => client.io.engine.once("upgrade", resolve)),
  );
  await connected(client);
  await upgraded;
  expect(await client.emitWithAck("say", 1)).toEqual({ event: "say", payload: 1 });
});
