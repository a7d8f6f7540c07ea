import { expect, test } from "@jest/globals";
import { pino } from "pino";
import { Consumer, http, logSignals, route } from "sluice";
import { connected, serve, until } from "./live-server.ts";

class Room extends Consumer {
  override connect() {
    this.send("request", this.scope.requestId);
  }
}

const routes = [
  route("/room", Room),
  http("/page", (_request, response) => void response.send("a page")),
  http("/broken", () => {
    throw new Error("a bug");
  }),
];

async function logging(trustedProxies = 0) {
  const lines: Record<string, unknown>[] = [];
  const logger = pino({ level: "debug" }, { write: (line) => void lines.push(JSON.parse(line)) });
  const live = await serve({ routes }, { trustedProxies });
  logSignals(live.app.signals, logger);
  return { live, lines };
}

test("a request that fails has one name in its answer and in all lines about it", async () => {
  const { live, lines } = await logging();
  const answer = await fetch(`${live.url}/broken`);
  const id = answer.headers.get("x-request-id");
  expect(answer.status).toBe(500);
  await until(() => lines.some(({ msg }) => msg === "answered"), "its answer is told");
  const about = lines.filter(({ request }) => request === id);
  expect(about.map(({ msg, route: pattern, path }) => [msg, pattern ?? path])).toEqual([
    ["http failed", "/broken"],
    ["answered", "/broken"],
  ]);
  const other = await fetch(`${live.url}/page`);
  expect(other.headers.get("x-request-id")).not.toBe(id);
});

test.each([
  [0, "from-the-proxy", false],
  [1, "from-the-proxy", true],
  [1, "with a blank", false],
  [1, "x".repeat(101), false],
])("with %i trusted proxies the name %j is theirs: %s", async (trustedProxies, given, isTheirs) => {
  const { live, lines } = await logging(trustedProxies);
  const answer = await fetch(`${live.url}/page`, { headers: { "x-request-id": given } });
  const id = answer.headers.get("x-request-id");
  expect(id === given).toBe(isTheirs);
  if (!isTheirs) expect(id).toMatch(/^[\w-]{8}-[0-9a-z]+$/);
  await until(() => lines.some(({ request, msg }) => request === id && msg === "answered"), "it is told");
});

test("all routes of one connection name the request that it began with", async () => {
  const { live, lines } = await logging(1);
  const client = live.client("/room", { extraHeaders: { "x-request-id": "abc-1" } });
  const told = new Promise((resolve) => client.once("request", resolve));
  await connected(client);
  expect(await told).toBe("abc-1");
  client.disconnect();
  await until(() => lines.some(({ msg }) => msg === "disconnected"), "it has gone");
  const about = lines.filter(({ request }) => request === "abc-1").map(({ msg }) => msg);
  expect(about).toEqual(["connected", "disconnected"]);
});
