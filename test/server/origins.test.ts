import { expect, test } from "@jest/globals";
import { route } from "sluice";
import type { ServerOptions } from "sluice/server";
import { connected, Echo, type Live, serve } from "./live-server.ts";

const APP = "https://app.example";

function live(options: ServerOptions): Promise<Live> {
  return serve({ routes: [route("/echo", Echo)] }, options);
}

const polling = (url: string) => `${url}/socket.io/?EIO=4&transport=polling`;

/** Whether a page of that origin may connect, by polling and by WebSocket. */
async function mayConnect(server: Live, origin: string | undefined): Promise<readonly boolean[]> {
  const headers = origin === undefined ? {} : { origin };
  const answer = await fetch(polling(server.url), { headers });
  expect([200, 403]).toContain(answer.status);
  const socket = await server.raw({ headers }).then(
    () => true,
    () => false,
  );
  return [answer.status === 200, socket];
}

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
])("with the origins %j a page of %j may connect: %s", async (origins, origin, allowed) => {
  expect(await mayConnect(await live({ origins }), origin)).toEqual([allowed, allowed]);
});

test("a page of the server's own origin may always connect", async () => {
  const server = await live({});
  expect(await mayConnect(server, server.url)).toEqual([true, true]);
  // The name it was called by counts, not what it calls itself.
  const [, port] = server.url.split("//127.0.0.1:");
  expect(await mayConnect(server, `http://localhost:${port}`)).toEqual([false, false]);
});

test("a client without an origin may connect unless that is switched off", async () => {
  expect(await mayConnect(await live({}), undefined)).toEqual([true, true]);
  const strict = await live({ allowMissingOrigin: false });
  expect(await mayConnect(strict, undefined)).toEqual([false, false]);
  expect(await mayConnect(strict, strict.url)).toEqual([true, true]);
});

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
