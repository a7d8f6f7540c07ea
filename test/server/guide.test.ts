import { once } from "node:events";
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, jest, test } from "@jest/globals";
import { blockOf, type Program, Project } from "../guides.ts";
import { until } from "./live-server.ts";

jest.setTimeout(60_000);

let project: Project;
let program: Program;
let url = "";

/** The services that the program asks. */
let answer: (path: string, response: ServerResponse, request: IncomingMessage) => void;
const services = createHttpServer((request, response) => answer(String(request.url), response, request));

beforeAll(async () => {
  project = await Project.make();
  services.listen(0, "127.0.0.1");
  await once(services, "listening");
  await project.write("dashboard.js", await blockOf("docs/http.md", "js"));
  const SERVICES = `http://127.0.0.1:${(services.address() as AddressInfo).port}`;
  program = project.start(["dashboard.js"], { env: { PORT: "0", SERVICES } });
  url = await program.says(/^(http:\S+)$/m);
});

afterAll(async () => {
  services.closeAllConnections();
  services.close();
  await project.close();
});

const json = (response: ServerResponse, value: unknown) => {
  response.setHeader("Content-Type", "application/json").end(JSON.stringify(value));
};

test("the guide's page shows what came in time, and says what did not", async () => {
  const asked: string[] = [];
  answer = (path, response) => {
    asked.push(path);
    if (path.startsWith("/weather")) json(response, { degrees: 21 });
    else if (path.startsWith("/orders")) response.writeHead(500).end();
    // The news never come.
  };
  const page = await fetch(`${url}/dashboard/new%20york?token=secret`);
  expect(page.status).toBe(200);
  expect(await page.json()).toEqual(JSON.parse(await blockOf("docs/http.md", "json")));
  expect(asked.sort()).toEqual(["/news", "/orders/ann", "/weather/new%20york"]);
});

test("without any part it is an error of what stands behind, and without a token nothing is asked", async () => {
  let asked = 0;
  answer = (_path, response) => {
    asked += 1;
    response.destroy();
  };
  expect((await fetch(`${url}/dashboard/rome?token=secret`)).status).toBe(502);
  expect(asked).toBe(3);
  expect((await fetch(`${url}/dashboard/rome`)).status).toBe(401);
  expect(asked).toBe(3);
});

test("when the client leaves, the services are no longer asked, and nothing is logged as a bug", async () => {
  const left: string[] = [];
  const asked: string[] = [];
  answer = (path, _response, request) => {
    asked.push(path);
    request.socket.once("close", () => left.push(path));
  };
  const client = new AbortController();
  const page = fetch(`${url}/dashboard/rome?token=secret`, { signal: client.signal });
  await until(() => asked.length === 3, "all are asked");
  const before = program.output;
  client.abort();
  await expect(page).rejects.toThrow();
  await until(() => left.length === 3, "all connections are given up");
  expect(program.output).toBe(before);
});

test("an async route that throws is 500 without a stack, with one in the log", async () => {
  const page = await fetch(`${url}/broken`, { headers: { "X-Request-Id": "r-1" } });
  expect([page.status, page.headers.get("x-request-id")]).toEqual([500, "r-1"]);
  expect(await page.text()).not.toContain("secret");
  await program.says(/a secret/);
});
