import { expect, jest, test } from "@jest/globals";
import { createApplication, deny, http, include, type Middleware, type Scope } from "sluice";
import { closedOf, createServer } from "sluice/server";
import { atEnd, serve, until } from "./live-server.ts";

const requireUser: Middleware = ({ headers }, next) => {
  const user = headers["x-user"];
  return user === undefined ? deny(4401, "who are you?") : next({ user });
};

const INTERNAL = { error: { code: "internal_error", message: "internal error" } };

test("an http route answers behind its middleware, and finds the scope they made", async () => {
  const scopes: Scope[] = [];
  const routes = [
    include(
      "/api",
      [
        http("/rooms/:id(int)", (_request, response) => {
          scopes.push(response.locals.scope as Scope);
          response.json({ fine: true });
        }),
      ],
      { middleware: [requireUser] },
    ),
  ];
  const live = await serve({ routes });
  const refused = await fetch(`${live.url}/api/rooms/7`);
  expect(refused.status).toBe(401);
  expect(await refused.json()).toEqual({
    error: { code: "connection_denied", message: "who are you?", closeCode: 4401 },
  });
  const headers = { "x-user": "ann", cookie: "sid=1" };
  const answer = await fetch(`${live.url}/api/rooms/7?tab=2`, { headers });
  expect(await answer.json()).toEqual({ fine: true });
  const [scope] = scopes;
  expect(scopes).toHaveLength(1);
  expect(scope).toMatchObject({ protocol: "http", path: "/api/rooms/7", params: { id: 7 }, user: "ann" });
  expect([scope?.query.get("tab"), scope?.cookies.get("sid")]).toEqual(["2", "1"]);
  await until(() => scope?.closed.aborted, "the scope ends with the answer");
  expect((await fetch(`${live.url}/api/rooms/x`, { headers })).status).toBe(404);
});

test("an http route answers its methods alone; what it does not match goes on to Express", async () => {
  const routes = [http("/form", (_request, response) => void response.send("got"), { methods: ["get"] })];
  const live = await serve({ routes });
  live.server.express.post("/form", (_request, response) => void response.send("posted"));
  expect(await (await fetch(`${live.url}/form`)).text()).toBe("got");
  expect((await fetch(`${live.url}/form`, { method: "HEAD" })).status).toBe(200);
  expect(await (await fetch(`${live.url}/form`, { method: "POST" })).text()).toBe("posted");
  expect((await fetch(`${live.url}/form`, { method: "PUT" })).status).toBe(404);
});

const failures: readonly [string, Parameters<typeof http>[1]][] = [
  [
    "throws",
    () => {
      throw new Error("a secret");
    },
  ],
  ["rejects", () => Promise.reject(new Error("a secret"))],
  ["calls next with an error", (_request, _response, next) => next(new Error("a secret"))],
  ["throws what is no error", () => Promise.reject("a secret")],
];

test.each(failures)(
  "a handler that %s is 500 as JSON, without a stack, and announced",
  async (_what, handler) => {
    const live = await serve({ routes: [http("/broken", handler)] });
    const errors: unknown[] = [];
    live.app.signals.failed.connect(({ hook, error }) => void errors.push([hook, error]));
    const answer = await fetch(`${live.url}/broken`);
    expect(answer.status).toBe(500);
    expect(answer.headers.get("content-type")).toContain("application/json");
    expect(await answer.json()).toEqual(INTERNAL);
    expect(errors).toHaveLength(1);
  },
);

test("a page of your own that throws is 500 without a stack, whenever it was added", async () => {
  const broken = () => {
    throw new Error("a secret");
  };
  const server = createServer(createApplication({ routes: [] }), { port: 0 });
  atEnd(() => server.stop());
  server.express.get("/before", broken);
  const { url } = await server.listen();
  server.express.get("/after", broken);
  // Express' last resort says it there.
  const said = jest.spyOn(console, "error").mockImplementation(() => {});
  atEnd(() => said.mockRestore());
  const before = await fetch(`${url}/before`);
  expect([before.status, await before.json()]).toEqual([500, INTERNAL]);
  const after = await fetch(`${url}/after`);
  expect(after.status).toBe(500);
  expect(await after.text()).not.toMatch(/secret|http-routes/);
  await until(() => said.mock.calls.length > 0, "the stack is in the log");
});

test("async middleware and pages of your own that reject are 500 alike, and announced", async () => {
  const app = createApplication({ routes: [] });
  const server = createServer(app, { port: 0 });
  atEnd(() => server.stop());
  const hooks: string[] = [];
  app.signals.failed.connect(({ hook }) => void hooks.push(hook));
  const broken = () => Promise.reject(new Error("a secret"));
  server.express.use("/guarded", broken, (_request, response) => void response.send("never"));
  server.express.get("/page", broken);
  server.express.get("/denied", async () => deny(4403, "no"));
  const { url } = await server.listen();
  for (const path of ["/guarded/x", "/page"]) {
    const answer = await fetch(url + path);
    expect([answer.status, await answer.json()]).toEqual([500, INTERNAL]);
  }
  expect((await fetch(`${url}/denied`)).status).toBe(403);
  expect(hooks).toEqual(["http", "http"]);
});

test("a page of your own hears when its client leaves, and when it has answered", async () => {
  const server = createServer(createApplication({ routes: [] }), { port: 0 });
  atEnd(() => server.stop());
  const signals = new Map<string, AbortSignal>();
  server.express.get("/:what", (request, response) => {
    signals.set(request.params.what, closedOf(response));
    if (request.params.what !== "never") response.send("here");
  });
  const { url } = await server.listen();
  const client = new AbortController();
  const left = fetch(`${url}/never`, { signal: client.signal });
  const isOpen = await until(() => signals.get("never"), "it is asked").then(({ aborted }) => !aborted);
  client.abort();
  await expect(left).rejects.toThrow();
  await until(() => signals.get("never")?.aborted, "it hears that the client has left");
  expect(isOpen).toBe(true);
  expect(signals.get("never")?.reason).toMatchObject({ kind: "transport", code: 4001 });
  await (await fetch(`${url}/answered`)).text();
  await until(() => signals.get("answered")?.aborted, "it ends with the answer");
});

test("a handler that denies, or says next, is told in JSON", async () => {
  const routes = [
    http("/denied", () => deny(4403, "no")),
    http("/next", (_request, _response, next) => next()),
  ];
  const live = await serve({ routes });
  const denied = await fetch(`${live.url}/denied`);
  expect([denied.status, await denied.json()]).toEqual([
    403,
    { error: { code: "connection_denied", message: "no", closeCode: 4403 } },
  ]);
  expect((await fetch(`${live.url}/next`)).status).toBe(404);
});

test("a handler that throws after it has begun to answer ends the answer", async () => {
  const routes = [
    http("/half", (_request, response) => {
      response.write("half");
      throw new Error("a secret");
    }),
  ];
  const live = await serve({ routes });
  await expect(fetch(`${live.url}/half`).then((answer) => answer.text())).rejects.toThrow();
});

test("a middleware that fails, or forgets to go on, is 500", async () => {
  const forgetful: Middleware = () => undefined;
  const handler = () => {
    throw new Error("never called");
  };
  const live = await serve({ routes: [http("/forgotten", handler, { middleware: [forgetful] })] });
  const errors: unknown[] = [];
  live.app.signals.failed.connect(({ error }) => void errors.push((error as Error).message));
  const answer = await fetch(`${live.url}/forgotten`);
  expect([answer.status, await answer.json()]).toEqual([500, INTERNAL]);
  expect(errors).toEqual([expect.stringContaining('middleware "forgetful"')]);
});
