import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer as createHttpServer, type Server as HttpServer } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { ConfigurationError, createApplication, route, sse } from "sluice";
import { createServer, type ServerOptions } from "sluice/server";
import { WebSocket } from "ws";
import { certificate, key } from "./certificate.ts";
import { atEnd, connected, Echo, serve, stock } from "./live-server.ts";

const routes = [route("/echo", Echo), sse("/stream", Echo)];

/** An HTTP server of the test's own. */
async function own(http: HttpServer): Promise<HttpServer> {
  atEnd(() => {
    http.closeAllConnections();
    http.close();
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  return http;
}

test("a server of its own takes a free port and says where it is", async () => {
  const live = await serve({ routes });
  expect(live.url).toBe(`http://127.0.0.1:${live.port}`);
  expect(await live.server.listen()).toEqual({ url: live.url, port: live.port });
  expect((await fetch(`${live.url}/nowhere`)).status).toBe(404);
  expect((await fetch(`${live.url}/%E0%A4%A`)).status).toBe(404);
});

test("a server listens on IPv6, and on all interfaces is called localhost", async () => {
  const six = await serve({ routes }, { host: "::1" });
  expect(six.url).toBe(`http://[::1]:${six.port}`);
  await connected(stock(`${six.url}/echo`));
});

test("an HTTP server of yours without a request handler gets Express", async () => {
  const live = await serve({ routes }, { server: await own(createHttpServer()) });
  live.server.express.get("/page", (_request, response) => void response.send("page"));
  expect(await (await fetch(`${live.url}/page`)).text()).toBe("page");
  expect(await (await connected(live.client("/echo"))).emitWithAck("say", 1)).toMatchObject({ payload: 1 });
});

test("an HTTP server of yours with a request handler keeps it, and may hand on to Express", async () => {
  const http = await own(createHttpServer());
  const app = createApplication({ routes });
  const server = createServer(app, { server: http });
  http.on("request", (request, response) => {
    if (request.url === "/mine") response.end("mine");
    else server.express(request, response);
  });
  atEnd(() => server.stop());
  const { url } = await server.listen();
  expect(await (await fetch(`${url}/mine`)).text()).toBe("mine");
  expect((await fetch(`${url}/stream`, { method: "PUT" })).status).toBe(405);
  await connected(stock(`${url}/echo`, { transports: ["polling"] }));
  await server.stop();
  expect(await (await fetch(`${url}/mine`)).text()).toBe("mine");
});

test("HTTPS is spoken by an HTTPS server of yours", async () => {
  const live = await serve({ routes }, { server: await own(createHttpsServer({ cert: certificate, key })) });
  expect(live.url).toBe(`https://127.0.0.1:${live.port}`);
  for (const transport of ["websocket", "polling"] as const) {
    const client = await connected(
      live.client("/echo", { transports: [transport], rejectUnauthorized: false }),
    );
    expect(await client.emitWithAck("say", 1)).toEqual({ event: "say", payload: 1 });
  }
});

test("a unix socket serves as well as a port", async () => {
  const directory = mkdtempSync(join(tmpdir(), "sluice-"));
  atEnd(() => rmSync(directory, { recursive: true }));
  const socketPath = join(directory, "socket");
  const live = await serve({ routes }, { socketPath });
  expect(await live.server.listen()).toEqual({ url: socketPath, port: 0 });
  const client = new WebSocket(`ws+unix:${socketPath}:/socket.io/?EIO=4&transport=websocket`);
  atEnd(() => client.terminate());
  await once(client, "message");
  client.send("40/echo,");
  const [answer] = (await once(client, "message")) as [Buffer];
  expect(String(answer)).toMatch(/^40\/echo,/);
});

test("Socket.IO may answer elsewhere, and then answers nowhere else", async () => {
  const live = await serve({ routes }, { path: "/live" });
  await connected(live.client("/echo", { path: "/live" }));
  expect((await fetch(`${live.url}/socket.io/?EIO=4&transport=polling`)).status).toBe(404);
});

test("a port in use is a ConfigurationError that says so, and the server can still be stopped", async () => {
  const { port } = await serve({ routes });
  const second = createServer(createApplication({ routes }), { port });
  await expect(second.listen()).rejects.toThrow(ConfigurationError);
  await expect(second.listen()).rejects.toThrow(`127.0.0.1:${port} is in use already`);
  await second.stop();
});

test("an address that is not there is a ConfigurationError", async () => {
  const server = createServer(createApplication({ routes }), { host: "192.0.2.1", port: 0 });
  await expect(server.listen()).rejects.toThrow(ConfigurationError);
  await server.stop();
});

test("a server that never listened can be stopped", async () => {
  const server = createServer(createApplication({ routes }));
  await server.stop();
  await server.stop();
});

test.each<[object, string]>([
  [{ prot: 3000 }, 'server.prot is no option; did you mean "port"?'],
  [{ orgins: [] }, 'server.orgins is no option; did you mean "origins"?'],
  [{ limits: { maxPayloadByte: 1 } }, 'did you mean "maxPayloadBytes"?'],
  [{ cors: {} }, "server.cors is no option"],
  [{ port: 65_536 }, "server.port must be a port from 0 to 65535, not 65536"],
  [{ port: "3000" }, "server.port must be a port"],
  [{ trustedProxies: -1 }, "server.trustedProxies must be a whole number of proxies"],
  [{ pingIntervalMs: 0 }, "server.pingIntervalMs must be a whole number"],
  [{ pingTimeoutMs: 2 ** 31 }, "server.pingTimeoutMs must be a whole number"],
  [{ allowMissingOrigin: "yes" }, "server.allowMissingOrigin must be a boolean"],
  [{ origins: "https://app.example" }, "server.origins must be a list of text"],
  [{ origins: ["not an origin"] }, 'origins: "not an origin" is no origin'],
])("the options %j are refused: %s", (options, message) => {
  const app = createApplication({ routes });
  expect(() => createServer(app, options as ServerOptions)).toThrow(ConfigurationError);
  expect(() => createServer(app, options as ServerOptions)).toThrow(message);
});

test("all faults of the options are told at once", () => {
  const options = { prot: 1, hots: "x", limits: { connections: 1 } } as ServerOptions;
  expect(() => createServer(createApplication({ routes }), options)).toThrow("3 faults");
});
